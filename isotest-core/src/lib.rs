//! Runs commands, each as PID 1 of fresh user, pid, mount, network, IPC and UTS namespaces on a
//! throwaway root filesystem, rootless, in about a millisecond.
//!
//! ```no_run
//! use isotest_core::Sandbox;
//!
//! # fn main() -> Result<(), isotest_core::command::Error> {
//! // The template is built once and serves any number of commands.
//! let sandbox = Sandbox::new()?;
//! let output = sandbox.command("ls").arg("/").env("LC_ALL", "C").current_dir("/").output()?;
//! println!("{}", String::from_utf8_lossy(&output.stdout));
//! assert!(output.status.success() && output.findings.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! [`Sandbox`] and [`Command`] are the front door; `examples/` has three programs. This is also the
//! engine of `cargo isotest`. It never prints, never reads an environment variable and knows
//! nothing of cargo. Values flow one way:
//!
//! [`policy`] and [`host`] → [`plan`] → [`sandbox`] → [`collect`] → [`outcome`], driven by
//! [`schedule`] for many cases, by [`foreground`] for one program at a terminal, or by [`command`].
//!
//! Linux 5.12 or newer, glibc; `docs/environments.md` says where it was tried.

#![deny(missing_docs)]

pub mod command;

pub use command::{Command, Output, Sandbox};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod errno;
pub mod escape;
mod poll_timeout;
pub mod seed;
pub mod serialized;
pub mod wait_status;

pub mod capture;
pub mod case;
pub mod diagnosis;
pub mod finding;
pub mod outcome;
pub mod perturbation;
pub mod policy;
pub mod refusal;
pub mod retry;
pub mod trace;

pub mod host;
pub mod plan;
pub mod sandbox;

pub mod file_lock;
pub mod foreground;
pub mod host_command;
pub mod service_monitor;
pub mod streams;

pub mod changes;
pub mod untrusted;

pub mod collect;
pub mod foreign;
pub mod harness;
mod merge;
pub mod schedule;
pub mod signals;
pub mod snapshot;
pub mod terminal;
pub mod word_search;
pub mod write_back;

mod interleaved;
