//! Interface of the formats of stdout.
//!
//! A format words the block of one binary at a time and keeps what it needs for the end of that
//! block. It never sees two binaries at once, nor a program that is no harness.

use std::io::{self, Write};
use std::time::Duration;

use isotest_core::case::Case;
use isotest_core::outcome::Outcome;

use super::suite::Suite;
use super::tally::Tally;

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
