//! JSON whose text is what it looks like: characters that turn text around, or have no shape, are
//! written as `\u202e`. To a program the values are the same.

use std::io::{self, Write};

use isotest_core::escape::is_deceptive;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Writes a value in one line.
pub fn write(out: impl Write, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut Serializer::with_formatter(out, Plain))?)
}

struct Plain;

impl Formatter for Plain {
    /// Control characters that JSON has to escape are in no fragment.
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_deceptive) {
            let (before, found) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let character = found.chars().next().expect("one was found");
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &found[character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_stays_and_the_text_shows_it() {
        let value = ["é\u{202E}\"x\n", "\u{E0041}\u{9b}"];
        let mut text = Vec::new();
        write(&mut text, &value).expect("memory takes it");
        let text = String::from_utf8(text).expect("it is text");
        assert_eq!(text, r#"["é\u202e\"x\n","\udb40\udc41\u009b"]"#);
        assert_eq!(serde_json::from_str::<[String; 2]>(&text).expect("it is JSON"), value);
    }
}
