//! Names that a test has chosen, as they are printed.

use std::borrow::Cow;

/// Characters without a shape of their own that change how others are shown: Unicode's category Cf,
/// the ones that change the direction of text among them (CVE-2021-42574), and its line and
/// paragraph separators. Emoji of several persons lose their joiners to it.
const FORMATS: [(char, char); 20] = [
    ('\u{AD}', '\u{AD}'),
    ('\u{600}', '\u{605}'),
    ('\u{61C}', '\u{61C}'),
    ('\u{6DD}', '\u{6DD}'),
    ('\u{70F}', '\u{70F}'),
    ('\u{890}', '\u{891}'),
    ('\u{8E2}', '\u{8E2}'),
    ('\u{180E}', '\u{180E}'),
    ('\u{200B}', '\u{200F}'),
    ('\u{2028}', '\u{202E}'),
    ('\u{2060}', '\u{206F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFF9}', '\u{FFFB}'),
    ('\u{110BD}', '\u{110BD}'),
    ('\u{110CD}', '\u{110CD}'),
    ('\u{13430}', '\u{1343F}'),
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D173}', '\u{1D17A}'),
    ('\u{E0001}', '\u{E0001}'),
    ('\u{E0020}', '\u{E007F}'),
];

/// True if a character in a name could pass for something else on a terminal or in a log.
pub fn is_deceptive(character: char) -> bool {
    let formats = || FORMATS.iter().any(|(first, last)| (*first..=*last).contains(&character));
    character.is_control() || (!character.is_ascii() && formats())
}

/// The same text where every control or format character is escaped as in a string of Rust: printed as
/// it is, it could be a line of somebody else's, or a command to a terminal, or read as another text.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_deceptive(character) {
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
        assert_eq!(escape("a\u{1b}[31m\nb\u{9b}\0"), "a\\u{1b}[31m\\nb\\u{9b}\\u{0}");
        assert!(matches!(escape("it's \\ “ä” שלום 测试 é"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_turns_text_around_or_has_no_shape_is_escaped() {
        let turned = "a\u{202E}b\u{2066}c\u{200B}d\u{FEFF}e\u{2028}f\u{E0041}";
        let expected = "a\\u{202e}b\\u{2066}c\\u{200b}d\\u{feff}e\\u{2028}f\\u{e0041}";
        assert_eq!(escape(turned), expected);
    }
}
