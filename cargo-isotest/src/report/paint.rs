//! Colours: libtest's on stdout, cargo's on stderr.
//!
//! The caller decides whether there is colour; nothing here checks for a terminal.

use std::fmt::Display;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

/// Cargo's style for the verb of a status line.
pub const GOOD: Style = AnsiColor::BrightGreen.on_default().bold();
/// Cargo's style for `error`.
pub const ERROR: Style = AnsiColor::BrightRed.on_default().bold();
/// Cargo's style for `warning`.
pub const WARNING: Style = AnsiColor::BrightYellow.on_default().bold();
/// Cargo's style for `help` and the like.
pub const HINT: Style = AnsiColor::BrightCyan.on_default().bold();
/// Style of the important part of a line.
pub const STRONG: Style = Style::new().bold();

/// Decides whether all that `anstream` writes has colour. Otherwise it looks at each stream.
pub fn choose(has_colour: bool) {
    let choice = if has_colour { ColorChoice::AlwaysAnsi } else { ColorChoice::Never };
    choice.write_global();
}

/// The colours of libtest's result words, by their number in an escape sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `ok`.
    Green = 32,
    /// `FAILED`.
    Red = 31,
    /// `ignored`.
    Yellow = 33,
}

/// A result word as libtest colours it. It asks terminfo; these are the bytes for xterm and all
/// that call themselves compatible.
pub fn word(colour: bool, word: Word, text: &str) -> String {
    if colour { format!("\x1b[{}m{text}\x1b(B\x1b[m", word as u8) } else { text.to_owned() }
}

/// A text in a style of stderr.
pub fn styled(colour: bool, style: Style, text: impl Display) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_string() }
}

/// The verb of a status line, right-aligned in 12 columns as cargo's.
pub fn verb(colour: bool, style: Style, verb: &str) -> String {
    styled(colour, style, format_args!("{verb:>12}"))
}
