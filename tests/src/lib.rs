//! Parts that the tests share: the real program, projects to run it on, and results of a run.
//!
//! In reading order: [`program`] builds `cargo-isotest`, [`project`] copies a fixture or makes a
//! project, [`call`] runs a command line there, [`run`] has its result. A test is a few lines: a
//! project, a command line, [`Run::check`]. A failed check prints command, output and listing.

pub mod call;
pub mod normalise;
pub mod processes;
pub mod program;
pub mod project;
pub mod run;
pub mod skip;
mod terminal;
pub mod wait;

pub use call::{Call, word};
pub use project::Project;
pub use run::{Run, Running};
pub use skip::{missing, refused, skipped, unavailable};
pub use wait::until;
