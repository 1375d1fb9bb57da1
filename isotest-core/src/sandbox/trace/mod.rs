//! Traces: each traced case has a tracer, a copy of the warden that is notified of its system calls.
//!
//! In reading order: `calls`, the system calls that are traced; `memory`, what is read of a process;
//! `paths`, whether a path leads to something in a case; `log`, the events in a file in memory; `watch`, what is
//! read of each call; `held`, the calls that can be held; `holds`, which of them wait; `places`, where in the code
//! they were made; `tracer`, the process.
//!
//! A tracer may block: a page (userfaultfd(2)) and a filesystem (FUSE) may be a process of the case,
//! which need not answer. The warden does not wait for it, and ends it when its time is up.

mod calls;
mod held;
mod holds;
mod log;
pub mod memory;
pub mod paths;
mod places;
mod tracer;
mod watch;

pub use calls::rules;
pub use held::rules as held_rules;
pub use holds::HoldChooser;
pub use log::{Log, mark, read};
pub use tracer::{Tracer, TracerMessage};
