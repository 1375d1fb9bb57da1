//! Runs commands, each as PID 1 of fresh user, pid, mount, network, IPC and UTS namespaces on a
//! throwaway root filesystem, rootless.
//!
//! This is the engine of `cargo isotest`, usable on its own. It never prints, never reads an
//! environment variable and knows nothing of cargo. Values flow one way:
//!
//! [`policy`] and [`host`] → [`plan`] → [`sandbox`] → [`collect`] → [`outcome`], driven by
//! [`schedule`] for many cases or by [`foreground`] for one command:
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use isotest_core::foreground;
//! use isotest_core::host::Host;
//! use isotest_core::plan::{self, Command, Plan, Project, StartBy};
//! use isotest_core::policy::Policy;
//! use isotest_core::sandbox::Warden;
//! use isotest_core::signals::Signals;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (host, project, policy) =
//!     (Host::read(Path::new("/"))?, Project::default(), Policy::default());
//! // One warden and one template serve any number of commands.
//! let mut warden = Warden::start(&host, &policy)?;
//! warden.build(&plan::template(&host, &project, &policy), None)?;
//! let command = Command {
//!     program: c"/bin/ls".to_owned(),
//!     arguments: vec![c"ls".to_owned(), c"/".to_owned()],
//!     environment: vec![c"PATH=/usr/bin:/bin".to_owned()],
//!     directory: c"/".to_owned(),
//!     start_by: StartBy::Exec("it is one command"),
//! };
//! let spec = Arc::new(plan::sandbox_spec(&host, &project, &policy, command));
//! let conclusion = foreground::run(&mut warden, &Plan::of(spec), &Signals::listen()?)?;
//! println!("{:?}", conclusion.ended);
//! # Ok(())
//! # }
//! ```

mod errno;
mod poll_timeout;
pub mod printable;
pub mod wait_status;

pub mod capture;
pub mod case;
pub mod finding;
pub mod outcome;
pub mod policy;
pub mod refusal;
pub mod retry;

pub mod host;
pub mod plan;
pub mod sandbox;

pub mod foreground;
pub mod outside;
pub mod service_monitor;
pub mod streams;

pub mod untrusted;

pub mod collect;
pub mod foreign;
pub mod harness;
pub mod keyboard;
mod merge;
pub mod schedule;
pub mod signals;
pub mod snapshot;
pub mod write_back;

mod interleaved;
