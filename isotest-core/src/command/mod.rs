//! Commands in sandboxes, in the manner of [`std::process`].
//!
//! A [`Sandbox`] is the template: it is built once and serves any number of [`Command`]s. Each
//! command runs as PID 1 of namespaces of its own, on a root filesystem that nobody else writes
//! to. Commands of one sandbox share nothing but what the policy shows of the host.
//!
//! This module is the front door of the crate. What it does is done by [`plan`](crate::plan) and
//! [`Warden`](crate::sandbox::Warden), which are public too.

mod builder;
mod child;
mod error;
mod invocation;
mod running;
mod sandbox;

pub use self::builder::SandboxBuilder;
pub use self::child::Child;
pub use self::error::Error;
pub use self::invocation::{Command, PATH};
pub use self::running::Output;
pub use self::sandbox::Sandbox;
