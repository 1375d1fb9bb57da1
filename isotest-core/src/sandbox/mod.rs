//! From a plan to a running case.
//!
//! In reading order: [`steps`], what can be done; `child`, what runs between clone and exec;
//! `guard`, the seccomp filter; `warden`, the process that starts cases; [`client`], the
//! caller's end of it.

pub mod client;
pub mod error;
pub mod protocol;
pub mod steps;

mod child;
mod guard;
mod look;
mod sys;
mod warden;

pub use child::AFTER_CLONE;
pub use client::{Notice, Warden};
pub use error::{Fault, SandboxError};
pub use protocol::{End, Seen, Start};
pub use steps::{Op, Step, inodes};
pub use warden::SLOTS;
