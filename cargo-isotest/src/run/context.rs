//! Surroundings of a run, which every step is given.

use std::sync::Arc;

use isotest_core::signals::Signals;

use crate::config::Config;
use crate::config::machine::Machine;
use crate::config::settings::Settings;
use crate::discover::Project;
use crate::run::gates::Gates;
use crate::run::kept::Kept;
use crate::sandbox::provision::Provision;
use crate::select::selected::Selected;

/// The surroundings of a run.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Settings of the run.
    pub settings: &'a Settings,
    /// The configuration, for what differs from test to test.
    pub config: &'a Config,
    /// The project, built.
    pub project: &'a Project,
    /// The surroundings of this process.
    pub machine: &'a Machine,
    /// The signals that end the run.
    pub signals: &'a Signals,
}

/// The selected cases, and what they need beside their sandboxes.
#[derive(Clone, Copy)]
pub struct Cases<'a> {
    /// The binaries with their selected cases.
    pub selected: &'a [Selected],
    /// Setup commands' variables, and services.
    pub provision: &'a Provision,
    /// Keeps what failed tests have written.
    pub kept: Option<&'a Arc<Kept>>,
    /// What their findings and failures mean for the run.
    pub gates: &'a Gates,
}
