//! libtest's terse format, `-q`: a character for each test.
//!
//! Bytes as `formatters/terse.rs` (Rust 1.95) makes them: a line holds 87 characters and ends
//! with the count so far; a failure stands on a line of its own.

use std::io::{self, Write};
use std::time::Duration;

use isotest_core::case::{Case, Ignore};
use isotest_core::outcome::Outcome;

use super::category::Category;
use super::format::Format;
use super::libtest::running;
use super::options::Options;
use super::paint::{self, Word};
use super::sections::Sections;
use super::suite::Suite;
use super::tally::Tally;
use super::words;

/// Number of characters of a line; after them there is room for ` 11704/12853`.
const LINE: usize = 87;

/// The terse format.
pub struct Terse {
    colour: bool,
    shuffle_seed: Option<u64>,
    sections: Sections,
    total: usize,
    done: usize,
    column: usize,
}

impl Terse {
    /// The format as the options want it.
    pub fn new(options: &Options) -> Self {
        Terse {
            colour: options.style.stdout_colour,
            shuffle_seed: options.shuffle_seed,
            sections: Sections::new(options),
            total: 0,
            done: 0,
            column: 0,
        }
    }

    fn character(&mut self, word: Word, text: &str, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{}", paint::word(self.colour, word, text))?;
        self.done += 1;
        self.column += 1;
        if self.column == LINE {
            self.end_line(out)?;
        }
        Ok(())
    }

    fn own_line(&mut self, case: &Case, text: &str, out: &mut dyn Write) -> io::Result<()> {
        if self.column != 0 {
            self.end_line(out)?;
        }
        self.done += 1;
        let word = paint::word(self.colour, Word::Red, text);
        writeln!(out, "{} --- {word}", case.name)
    }

    fn end_line(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.column = 0;
        writeln!(out, " {}/{}", self.done, self.total)
    }
}

impl Format for Terse {
    fn open(&mut self, suite: &Suite, out: &mut dyn Write) -> io::Result<()> {
        self.total = suite.cases.len();
        self.done = 0;
        self.column = 0;
        running(suite, self.shuffle_seed, out)
    }

    fn finished(&mut self, case: &Case, outcome: Outcome, out: &mut dyn Write) -> io::Result<()> {
        match Category::of(&outcome) {
            Category::Passed | Category::Failed if outcome.is_flaky() => {
                self.own_line(case, &words::flaky(&outcome).unwrap_or_default(), out)?;
            }
            Category::Passed => self.character(Word::Green, ".", out)?,
            Category::Ignored => self.character(Word::Yellow, "i", out)?,
            Category::Failed => self.own_line(case, "FAILED", out)?,
            Category::Quarantined => self.own_line(case, "QUARANTINED", out)?,
            Category::NotRun => self.own_line(case, "NOT RUN", out)?,
            Category::Cancelled => {}
        }
        self.sections.keep(case, outcome);
        Ok(())
    }

    fn close(
        &mut self,
        suite: &Suite,
        tally: &Tally,
        elapsed: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.sections.write(suite, tally, elapsed, out)?;
        match suite.cases.as_slice() {
            [Case { name, ignore: Ignore::Because(reason), .. }] if tally.ignored == 1 => {
                writeln!(out, "test: {name}, ignore_message: {reason}\n")
            }
            _ => Ok(()),
        }
    }
}
