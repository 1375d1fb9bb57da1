//! Runs commands, each as PID 1 of fresh user, pid, mount, network, IPC and UTS namespaces on a
//! throwaway root filesystem, rootless.
//!
//! This is the engine of `cargo isotest`, usable on its own. It never prints, never reads an
//! environment variable and knows nothing of cargo. Values flow one way:
//!
//! [`policy`] and [`host`] → [`plan`] → [`sandbox`] → [`collect`] → [`outcome`], driven by [`schedule`].

pub mod case;
pub mod finding;
pub mod outcome;
pub mod policy;

pub mod host;
pub mod plan;
pub mod sandbox;

pub mod foreground;

pub mod collect;
pub mod harness;
pub mod schedule;
pub mod signals;
pub mod write_back;
