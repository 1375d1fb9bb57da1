//! The last words of a command that cannot go on.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// Prints `error: …` on stderr, as cargo does. `anstream` decides about colour.
pub fn error(error: &impl Display) {
    let bold = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    anstream::eprintln!("{bold}error{bold:#}: {error}");
}
