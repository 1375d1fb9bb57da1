//! What the formats of stdout have in common: when they are told what.
//!
//! A format words the block of one binary at a time and keeps what it needs for the end of that
//! block. It never sees two binaries at once, nor a program that is no harness.

use std::io::{self, Write};
use std::time::Duration;

use isotest_core::case::Case;
use isotest_core::outcome::Outcome;

use super::json::Json;
use super::libtest::Pretty;
use super::reporter::Options;
use super::suite::Suite;
use super::tally::Tally;
use super::terse::Terse;

/// The formats, by what `--format` calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatName {
    /// A line for each test.
    #[default]
    Pretty,
    /// A character for each test, `-q`.
    Terse,
    /// An object for each event.
    Json,
    /// The same, with what nextest adds of each binary.
    JsonPlus,
    /// isotest's own objects ([`messages`](super::messages)); a format has nothing to say.
    Messages,
}

impl FormatName {
    /// Whether nothing else may stand on stdout.
    pub fn is_for_programs(self) -> bool {
        match self {
            FormatName::Pretty | FormatName::Terse => false,
            FormatName::Json | FormatName::JsonPlus | FormatName::Messages => true,
        }
    }
}

/// Words the block of one binary after the other.
pub trait Format {
    /// The block starts.
    fn open(&mut self, suite: &Suite, out: &mut dyn Write) -> io::Result<()>;

    /// A case was started.
    fn started(&mut self, _case: &Case, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    /// A case has run for longer than a minute.
    fn slow(&mut self, _case: &Case, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    /// A case has ended.
    fn finished(&mut self, case: &Case, outcome: Outcome, out: &mut dyn Write) -> io::Result<()>;

    /// Every case of the block has ended, the first event and the last `elapsed` apart.
    fn close(
        &mut self,
        suite: &Suite,
        tally: &Tally,
        elapsed: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()>;
}

/// The format that was asked for.
pub fn choose(options: &Options) -> Box<dyn Format> {
    match options.format {
        FormatName::Pretty => Box::new(Pretty::new(options)),
        FormatName::Terse => Box::new(Terse::new(options)),
        FormatName::Json | FormatName::JsonPlus => Box::new(Json::new(options)),
        FormatName::Messages => Box::new(Silent),
    }
}

/// Says nothing.
struct Silent;

impl Format for Silent {
    fn open(&mut self, _suite: &Suite, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn finished(&mut self, _: &Case, _outcome: Outcome, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn close(
        &mut self,
        _suite: &Suite,
        _tally: &Tally,
        _elapsed: Duration,
        _out: &mut dyn Write,
    ) -> io::Result<()> {
        Ok(())
    }
}
