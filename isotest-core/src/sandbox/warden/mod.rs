//! The warden: the small single-threaded process that owns the template and starts cases in it.
//!
//! It runs in user and mount namespaces of its own, as PID 1 of a pid namespace of its own, so
//! that its death, however it comes about, takes every process of every case with it. It builds
//! the template once, then serves requests until the socket to isotest closes. It decides
//! nothing about cases: verdicts are made in [`collect`](crate::collect).

mod competitor;
mod cycle;
mod cycles;
mod exits;
mod lab;
mod notifications;
mod observe;
mod scratch;
mod serve;
mod services;
mod signals;
mod slots;
mod start;
mod state;
mod tracers;
mod tracing;

pub use serve::run;
pub use slots::SLOTS;
