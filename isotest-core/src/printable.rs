//! Names that a test has chosen, as they are printed.

use std::borrow::Cow;

/// The same text where every control character is escaped as in a string of Rust: printed as it is,
/// it could be a line of somebody else's, or a command to a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_nothing_else_is() {
        assert_eq!(printable("a\u{1b}[31m\nb\u{9b}\0"), "a\\u{1b}[31m\\nb\\u{9b}\\u{0}");
        assert!(matches!(printable("it's \\ “ä”"), Cow::Borrowed("it's \\ “ä”")));
    }
}
