//! Lists of the closing block.

use std::io::{self, Write};

use super::paint::{self, WARNING};
use super::words::more;

/// Maximum number of cases that are listed for one thing.
pub const LINES: usize = 10;

/// The cases that one thing is said of: how many, and the first lines.
#[derive(Debug, Default)]
pub struct GroupLines {
    /// Number of cases.
    pub count: usize,
    /// The first of them.
    pub lines: Vec<String>,
}

impl GroupLines {
    /// Takes one more.
    pub fn add(&mut self, line: impl FnOnce() -> String) {
        self.count += 1;
        if self.lines.len() < LINES {
            self.lines.push(line());
        }
    }

    /// Writes them below a title.
    pub fn write(&self, title: &str, colour: bool, err: &mut dyn Write) -> io::Result<()> {
        self.write_as(&paint::styled(colour, WARNING, "warning"), title, err)
    }

    /// The same, with another word before the title.
    pub fn write_as(&self, word: &str, title: &str, err: &mut dyn Write) -> io::Result<()> {
        writeln!(err, "\n{word}: {title}")?;
        for line in &self.lines {
            writeln!(err, "    {line}")?;
        }
        write_more(self.count - self.lines.len(), err)
    }
}

/// Writes the number of entries that are not listed.
pub fn write_more(count: usize, err: &mut dyn Write) -> io::Result<()> {
    match more(count) {
        None => Ok(()),
        Some(more) => writeln!(err, "    {more}"),
    }
}
