//! The format that the options ask for, and the one that prints nothing.

use std::io::{self, Write};
use std::time::Duration;

use isotest_core::case::Case;
use isotest_core::outcome::Outcome;

use super::format::Format;
use super::json::Json;
use super::libtest::Pretty;
use super::options::{FormatName, Options};
use super::suite::Suite;
use super::tally::Tally;
use super::terse::Terse;

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
