//! From a plan to a running case.
//!
//! In reading order: `compile`, which makes system calls of the steps of a plan;
//! `child`, what runs between clone and the program; `guard`, the seccomp filter; `cgroup`, limits
//! for all processes of a case together; `keeper`, what removes them whatever happens; `servers`,
//! fork servers; `interpose`, the library that shows a case other clocks; [`service`] and `service_supervisor`, what runs beside a test and who starts it;
//! `trace`, the process that reads the system calls of a traced case; `warden`, the process that starts
//! cases; [`client`], the caller's end of it; `debugger`, who reads
//! the stacks of a case.

pub mod client;
pub(crate) mod debugger;
pub mod error;
pub mod fault;
pub mod protocol;
pub mod service;

mod cgroup;
mod child;
mod compile;
mod counters;
mod dns;
mod guard;
mod interpose;
mod ipc_objects;
mod keeper;
pub(crate) mod procfs;
mod remedy;
mod resolver;
mod servers;
mod service_supervisor;
mod sock_diag;
mod sys;
mod trace;
mod warden;

pub use child::start::AFTER_CLONE;
pub use client::{Notice, Warden};
pub use error::{describe, describe_errno};
pub use fault::Fault;
pub use protocol::{Channel, Disk, End, Exit, GuardRecord, Packets, Start};
pub use service::{ServiceEvent, ServiceFault};
pub use warden::SLOTS;
