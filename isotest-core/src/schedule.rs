//! Scheduling: one queue of cases, one loop, one channel of events.
//!
//! The loop waits on everything at once: the warden, the output pipes of what is in flight, the
//! signals, the next deadline. No thread per case, no polling. It knows nothing of reports; they
//! hear of a run by [`Event`]s.

mod attempts;
mod event;
mod flight;
mod job;
mod labs;
mod options;
mod queue;
mod rounds;
mod run;
mod stack_capture;
mod stacks;

pub use self::event::{BACKLOG, Event, Interruption, Stream};
pub use self::job::{Claim, Job, TestGroup};
pub use self::labs::{LabRuns, run_labs};
pub use self::options::{InFlight, MaxFail, Options, Stacks, WORTH_A_SERVER};
pub use self::rounds::Repeat;
pub use self::run::{run, run_all};
