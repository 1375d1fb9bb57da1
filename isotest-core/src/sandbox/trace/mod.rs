//! Traces: each traced case has a tracer, a copy of the warden that is notified of its system calls.
//!
//! In reading order: `calls`, the system calls that are traced; `memory`, what is read of a process;
//! `paths`, whether a path leads to something in a case; `log`, the events in a file in memory; `tracer`, the process.
//!
//! A tracer may block: a page (userfaultfd(2)) and a filesystem (FUSE) may be a process of the case,
//! which need not answer. The warden does not wait for it, and ends it when its time is up.

mod calls;
mod log;
pub mod memory;
pub mod paths;
mod tracer;

pub use calls::rules;
pub use log::{Log, mark, read};
pub use tracer::{Tracer, TracerMessage};
