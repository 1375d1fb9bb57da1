//! Errors of the configuration, with their wording: object, place, the line with a caret below it,
//! and a hint.

use std::fmt;
use std::ops::Range;

use crate::discover::DiscoverError;

/// A configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// True if a filter expression is wrong.
    pub in_filter: bool,
    message: String,
    excerpt: Option<Excerpt>,
    hint: Option<String>,
}

/// A configuration could not be loaded: it cannot be used, or cargo could not tell where it is.
#[derive(Debug)]
pub enum LoadError {
    /// The configuration, or a filter expression, cannot be used.
    Config(Box<ConfigError>),
    /// The workspace could not be read.
    Discover(DiscoverError),
}

impl From<ConfigError> for LoadError {
    fn from(error: ConfigError) -> Self {
        LoadError::Config(Box::new(error))
    }
}

impl From<Box<ConfigError>> for LoadError {
    fn from(error: Box<ConfigError>) -> Self {
        LoadError::Config(error)
    }
}

impl From<DiscoverError> for LoadError {
    fn from(error: DiscoverError) -> Self {
        LoadError::Discover(error)
    }
}

/// Place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    name: String,
    text: String,
    span: Range<usize>,
}

impl ConfigError {
    /// An error that stands nowhere in a text.
    pub fn new(message: impl Into<String>) -> ConfigError {
        let message = message.into();
        ConfigError { in_filter: false, message, excerpt: None, hint: None }
    }

    /// The same, at these bytes of a text that goes by `name`.
    pub fn at(self, name: &str, text: &str, span: Range<usize>) -> ConfigError {
        let excerpt = Excerpt { name: name.to_owned(), text: text.to_owned(), span };
        ConfigError { excerpt: Some(excerpt), ..self }
    }

    /// The same, with what to do.
    pub fn hint(self, hint: Option<impl Into<String>>) -> ConfigError {
        ConfigError { hint: hint.map(Into::into), ..self }
    }

    /// The same without a word of the file, which goes by `name` and is not the project's.
    pub fn withheld(self, name: &str) -> ConfigError {
        let place = self.excerpt.as_ref().map_or(String::new(), |Excerpt { name, text, span }| {
            format!(" ({name}:{})", line_of(text, span.start))
        });
        let message = format!(
            "cannot use `{name}`: it links to a file outside the workspace that has an error{place}"
        );
        let hint = "replace the link by the file itself to see the error";
        ConfigError { message, excerpt: None, hint: Some(hint.to_owned()), ..self }
    }

    /// The same, of a filter expression.
    pub fn in_filter(self) -> ConfigError {
        ConfigError { in_filter: true, ..self }
    }
}

/// The line, 1 being the first, that a byte of a text is in.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt { name, text, span } = self;
        let before = text.get(..span.start).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let (number, column) = (line_of(text, span.start), before[start..].chars().count());
        let marked = text.get(span.clone()).and_then(|marked| marked.lines().next());
        let carets = "^".repeat(marked.map_or(1, |marked| marked.chars().count().max(1)));
        // What a tab takes is the terminal's business: the caret stands behind the same ones.
        let indent: String =
            before[start..].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let margin = " ".repeat(number.to_string().len());
        writeln!(f, "{margin}--> {name}:{number}:{}", column + 1)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {line}")?;
        write!(f, "{margin} | {indent}{carets}")
    }
}

/// The closest known word, if one is close enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.7;
    let known = known.into_iter().map(|known| (strsim::jaro_winkler(word, known), known));
    let near = known.filter(|(likeness, _)| *likeness > ALIKE);
    near.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_line_with_a_caret() {
        let text = "[profile.default]\nnett = \"host\"\n";
        let error = ConfigError::new("unknown key `nett`").at("c.toml", text, 18..22);
        let error = error.hint(Some("did you mean `net`?"));
        let expected = "unknown key `nett`\n --> c.toml:2:1\n  |\n2 | nett = \"host\"\n  | ^^^^\nhint: did you mean `net`?";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_error_at_the_end_of_a_text_has_a_caret_too() {
        let error = ConfigError::new("more is wanted").at("c.toml", "a =", 3..3);
        assert!(error.to_string().ends_with("c.toml:1:4\n  |\n1 | a =\n  |    ^"), "{error}");
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        let error = ConfigError::new("x").at("c.toml", "é = ü", 5..7);
        assert!(error.to_string().contains("c.toml:1:5\n"), "{error}");
        assert!(error.to_string().ends_with("  |     ^"), "{error}");
    }

    #[test]
    fn what_is_alike_is_suggested_and_nothing_else() {
        assert_eq!(nearest("timout", ["net", "timeout"]), Some("timeout"));
        assert_eq!(nearest("zzz", ["net", "timeout"]), None);
    }
}
