//! Options of a run.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::rounds::Repeat;

/// Below so many cases of a set-up a fork server costs more than it saves.
pub const WORTH_A_SERVER: u32 = 3;

/// Options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of cases in flight at once, at least 1, where each weighs one.
    pub jobs: usize,
    /// Number of additional ones while cases are short: much of a short case is the kernel's
    /// waiting.
    pub spare: usize,
    /// Failures that end the run.
    pub max_fail: Option<MaxFail>,
    /// Maximum time from the first case on; then the run is ended as by a signal.
    pub timeout: Option<Duration>,
    /// Number of runs of each case. [`Event::Finished`](super::Event::Finished) comes for each
    /// time.
    pub repeat: Repeat,
    /// Reader of the stacks of a case that has timed out.
    pub stacks: Stacks,
    /// From how many cases of a set-up on a fork server starts them, [`WORTH_A_SERVER`] as a rule.
    pub served_from: u32,
    /// After so many bytes of one stream a case whose output is passed through is killed, where that is
    /// limited: [`NotRun::Cancelled`](crate::outcome::NotRun).
    pub most_passed: Option<u64>,
}

impl Options {
    /// So many at once, each once, whatever fails.
    pub fn of(jobs: usize) -> Options {
        Options {
            jobs,
            spare: 0,
            max_fail: None,
            timeout: None,
            repeat: Repeat::Once,
            stacks: Stacks::None,
            served_from: WORTH_A_SERVER,
            most_passed: None,
        }
    }
}

/// Failures that end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxFail {
    /// After this many no further case is started.
    pub failures: NonZeroUsize,
    /// Treatment of those in flight.
    pub in_flight: InFlight,
}

impl MaxFail {
    /// The first failure; what is in flight runs to its end.
    pub const FIRST: MaxFail = MaxFail { failures: NonZeroUsize::MIN, in_flight: InFlight::Wait };
}

/// Treatment of the cases in flight when failures have ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// They run to their ends.
    Wait,
    /// They are killed.
    Kill,
}

/// Reader of the stacks of a case that has timed out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stacks {
    /// Nobody.
    #[default]
    None,
    /// This process, by /proc: what each thread waits for.
    Proc,
    /// gdb(1), at this path.
    Gdb(PathBuf),
    /// eu-stack(1) of elfutils, at this path.
    EuStack(PathBuf),
}
