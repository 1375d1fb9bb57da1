//! The last words of a command that cannot go on.

use std::fmt::Display;
use std::io::Write;

use anstyle::{AnsiColor, Style};

/// Prints `error: …` on stderr, as cargo does. `anstream` decides about colour.
pub fn error(error: &impl Display) {
    let bold = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    // Where stderr is closed, as a terminal can be, nobody can be told.
    let _ = writeln!(anstream::stderr(), "{bold}error{bold:#}: {error}");
}
