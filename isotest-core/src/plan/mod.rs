//! Plans: everything needed to run one case, made before any process exists.
//!
//! Pure: no I/O, no descriptors, no environment. [`Project`] and [`Host`](crate::host::Host) say
//! what there is, a [`Policy`](crate::policy::Policy) says what is wanted; `template` and `case`
//! turn them into the two lists of steps, and [`SandboxSpec`] is what the warden keeps per binary.

mod project;
mod service;
mod spec;
mod steps;

mod execution;

mod build;

mod layout;
mod template;

mod case;
mod ids;
mod lab;
mod namespaces;

mod server;

mod debugger;

mod etc;
mod interpose;
mod perturbed;
mod read_only;
mod roots;

mod builder;

mod visible;

pub use build::{CommandSpec, Template, sandbox_spec, template, upper_layers, watched};
pub use debugger::{TracedProcess, confinement};
pub use execution::{HarnessProcess, Plan, ScratchReader, VerdictSource};
pub use ids::Ids;
pub use interpose::{
    INTERPOSED_PATH, Interposed, SETTINGS_NAME, SETTINGS_PATH, interposed, not_interposed,
};
pub use layout::{LIBRARY_PATH, NEW_TMP, SCRATCH};
pub use project::{Access, Exposure, Project, Uncopied};
pub(crate) use service::line;
pub use service::{Readiness, Service};
pub use spec::{GroupLimits, SandboxSpec, ScratchMount, StartBy};
pub use steps::{Op, Step, inodes};
pub use visible::{Visible, normalised};

#[cfg(test)]
mod tests;
