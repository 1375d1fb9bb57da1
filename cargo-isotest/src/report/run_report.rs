//! The report of a run, as those who feed and read it see it.

use std::io;

use isotest_core::case::Case;
use isotest_core::finding::{Codes, Finding};
use isotest_core::schedule::{Event, Interruption};

use super::closing::CaseState;
use super::suite::Suite;
use super::tally::Tally;

/// Result of a run, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The counts of the whole run.
    pub tally: Tally,
    /// The cause that ended it early.
    pub interrupted: Option<Interruption>,
}

/// A case once the run has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedCase<'a> {
    /// Its binary.
    pub suite: &'a Suite,
    /// The case.
    pub case: &'a Case,
    /// Its state.
    pub state: CaseState,
    /// The codes of its findings.
    pub codes: Codes,
}

/// Takes the events of a run.
pub trait Report {
    /// Takes an event.
    fn event(&mut self, event: Event) -> io::Result<()>;

    /// Takes what a binary did that is not hermetic, whose tests share a sandbox, with the codes that
    /// are denied.
    fn take_shared(&mut self, binary: usize, findings: &[Finding], deny: Codes);

    /// Writes what has gathered and draws what is live anew: no event is waiting.
    fn idle(&mut self) -> io::Result<()>;
}
