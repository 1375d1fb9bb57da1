//! Events of a run.

use std::time::Duration;

use crate::case::CaseIndex;
use crate::outcome::Outcome;
use crate::serialized;
use crate::snapshot::Snapshot;

/// One of the two output streams of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Event of a run; they come in their order.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Event {
    /// A case was handed to the warden.
    Started(CaseIndex),
    /// Output of a case whose output is passed through (`--nocapture`), as it arrives.
    Output(CaseIndex, Stream, #[serde(with = "serialized::bytes")] Vec<u8>),
    /// A case takes long: for how long it has run, and how often it has been told of, 1 for the
    /// first time.
    Slow(CaseIndex, Duration, u32),
    /// A case has failed and is going to be started again; the number of that attempt, 2 for the
    /// first retry, and how many there are at the most.
    Retried(CaseIndex, u32, u32),
    /// A case has ended for good, was ignored or could not be run.
    Finished(CaseIndex, Box<Outcome>),
    /// All that runs, oldest first: a signal has asked for it ([`Signals::ask_for_snapshots`](crate::signals::Signals::ask_for_snapshots)), or
    /// the run ends early.
    Running(Vec<Snapshot>),
    /// The run goes on after it was stopped with all its cases (SIGTSTP). For so long nothing ran:
    /// this time is in no duration.
    Resumed(Duration),
    /// The run ends early; what is in flight is being killed.
    Interrupted(Interruption),
}

/// Cause that ends a run before all its cases have ended, other than failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Interruption {
    /// This signal asked for it.
    Signal(i32),
    /// The time that the whole run may take is up.
    Timeout(Duration),
}

/// Maximum number of events that wait for a slow reader before the run waits for it too. One holds
/// at most 64 KiB of passed-through output, or the kept output of a case.
pub const BACKLOG: usize = 64;
