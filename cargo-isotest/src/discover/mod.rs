//! Discovery: what cargo builds and what the test binaries hold.
//!
//! [`discover`] runs cargo and yields a [`Project`]: its test binaries in cargo's order, each with
//! the environment that cargo would start it in; [`built_program()`] does so for one program that cargo has
//! built and started itself. [`list`] reads what a binary prints when it is asked for its cases,
//! [`filter`] selects among them as libtest does, and [`filterset`] by nextest's filter expressions.
//! Running a binary for its
//! list is not done here: that happens in a sandbox, like every other run of project code.

pub mod filter;
pub mod filterset;
pub mod list;

mod assemble;
mod built;
mod built_program;
mod cargo;
mod case_name;
mod compiler;
mod config;
mod environment;
mod error;
mod layout;
mod manifest;
mod messages;
mod metadata;
mod process;
mod project;
mod reused;
mod runners;
mod search_path;

pub use built::Built;
pub use built_program::{BuiltProgram, ProgramCall, Purpose, built_program, project_around};
pub use cargo::{
    BuildRequest, build_for_archive, discover, runner, target_directory, workspace_root,
};
pub use case_name::is_named;
pub use error::DiscoverError;
pub use filter::Selection;
pub use project::{Binary, BuildOrigin, Declared, Harness, Project, Scope};
pub use reused::{RemapPaths, Reused};
