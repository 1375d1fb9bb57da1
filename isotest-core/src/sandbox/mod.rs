//! From a plan to a running case.
//!
//! In reading order: [`steps`], what can be done; `compile`, which makes system calls of it;
//! `child`, what runs between clone and the program; `guard`, the seccomp filter; `cgroup`, limits
//! for all processes of a case together; `keeper`, what removes them whatever happens; `servers`,
//! fork servers; [`service`] and `service_supervisor`, what runs beside a test and who starts it;
//! `warden`, the process that starts cases; [`client`], the caller's end of it.

pub mod client;
pub mod error;
pub mod protocol;
pub mod service;
pub mod steps;

mod cgroup;
mod child;
mod compile;
mod guard;
mod keeper;
pub(crate) mod procfs;
mod remedy;
mod servers;
mod service_supervisor;
mod sys;
mod warden;

pub use cgroup::Limits as GroupLimits;
pub use child::start::AFTER_CLONE;
pub use client::{Notice, Warden};
pub use error::{Fault, SandboxError};
pub use protocol::{Channel, Disk, End, Exit, KeptScratch, Packets, Seen, Start};
pub use servers::LIBRARY;
pub use service::{Ready, Service, ServiceError, ServiceFault, Told};
pub use steps::{Op, Step, inodes};
pub use sys::pipe;
pub use warden::SLOTS;
