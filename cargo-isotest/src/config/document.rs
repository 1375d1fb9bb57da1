//! TOML values with their places: what is of the wrong type or unknown is pointed at.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, line_of, nearest};

/// A text with its place in the file, quotation marks included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpannedText {
    /// The text.
    pub text: String,
    /// The bytes of the file.
    pub span: Range<usize>,
}

/// A value of the file.
pub type Node<'t> = Spanned<DeValue<'t>>;

/// The text of a file, by whose bytes errors point at their places.
pub struct Reader<'t> {
    /// The name of the file.
    pub name: &'t str,
    /// Its text.
    pub text: &'t str,
}

impl<'t> Reader<'t> {
    /// An error at these bytes of the file.
    pub fn error(&self, cause: impl std::fmt::Display, span: Range<usize>) -> ConfigError {
        let message = format!("cannot read `{}`: {cause}", self.name);
        ConfigError::new(message).at(self.name, self.text, span)
    }

    /// The line of a byte of the file, counted from 1.
    pub fn line(&self, byte: usize) -> usize {
        line_of(self.text, byte)
    }

    /// A key that `part` has not; what was probably meant.
    pub fn unknown<'k>(
        &self,
        key: &Spanned<impl AsRef<str>>,
        part: &str,
        known: impl Iterator<Item = &'k str>,
    ) -> ConfigError {
        let known: Vec<&str> = known.collect();
        let word = key.get_ref().as_ref();
        let hint = match nearest(word, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("expected one of: {}", known.join(", ")),
        };
        self.error(format!("unknown key `{word}` in {part}"), key.span()).hint(Some(hint))
    }

    /// A value of the wrong type.
    pub fn wrong_type(&self, key: &str, wanted: &str, value: &Node<'t>) -> ConfigError {
        self.error(format!("`{key}` takes {wanted}"), value.span())
    }

    /// A text or a whole number, as it would be typed.
    pub fn scalar(&self, value: &Node<'t>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
            }
            _ => None,
        }
    }

    /// A text with its place.
    pub fn string(&self, value: &Node<'t>) -> Result<SpannedText, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(SpannedText { text: text.to_string(), span: value.span() }),
            _ => Err(self.error("expected a string in quotation marks", value.span())),
        }
    }

    /// A list of names.
    pub fn names(&self, value: &Node<'t>) -> Result<Vec<SpannedText>, ConfigError> {
        match value.get_ref() {
            DeValue::Array(values) => values.iter().map(|value| self.string(value)).collect(),
            _ => Err(self.error("expected a list of names: `[\"…\", \"…\"]`", value.span())),
        }
    }

    /// A table; `what` says which is wanted where it is none.
    pub fn table<'v>(
        &self,
        value: &'v Node<'t>,
        what: &str,
    ) -> Result<&'v DeTable<'t>, ConfigError> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.error(what, value.span())),
        }
    }
}
