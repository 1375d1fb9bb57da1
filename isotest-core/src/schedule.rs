//! Scheduling: one queue of cases, one channel of events.

use crate::case::CaseIndex;
use crate::outcome::Outcome;

/// One of the two output streams of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// What happens during a run, in the order of happening.
#[derive(Debug)]
pub enum Event {
    /// A case was handed to the warden.
    Started(CaseIndex),
    /// Output of a case whose output is passed through (`--nocapture`), as it arrives.
    Output(CaseIndex, Stream, Vec<u8>),
    /// A case has run for longer than a minute.
    Slow(CaseIndex, std::time::Duration),
    /// A case has ended, was ignored or could not be run.
    Finished(CaseIndex, Outcome),
    /// A signal asked the run to end; what is in flight is being killed.
    Interrupted(i32),
}
