//! From a plan to a running case.
//!
//! In reading order: [`steps`], what can be done; `child`, what runs between clone and exec;
//! `guard`, the seccomp filter; `cgroup`, limits for all
//! processes of a case together; `keeper`, what removes them
//! whatever happens; `warden`, the process that starts cases; [`client`], the
//! caller's end of it.

pub mod client;
pub mod error;
pub mod protocol;
pub mod steps;

mod cgroup;
mod child;
mod guard;
mod keeper;
mod look;
mod sys;
mod warden;

pub use cgroup::Limits as GroupLimits;
pub use child::AFTER_CLONE;
pub use client::{Notice, Warden};
pub use error::{Fault, SandboxError};
pub use protocol::{End, Start};
pub use steps::{Op, Step, inodes};
pub use warden::SLOTS;
