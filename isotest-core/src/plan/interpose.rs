//! The library that shows a case other clocks, random bytes, orders of directories and capacities of
//! pipes: what the case has of it, and where it cannot work.
//!
//! The dynamic loader loads it before every program that `/etc/ld.so.preload` holds for (ld.so(8)), whatever
//! the environment of the program. Its settings are a file of the case, which the warden writes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::builder::Steps;
use super::layout::SCRATCH;
use crate::perturbation::{Perturbations, Time};
use crate::policy::{Guard, Init, Namespace, Policy, Weakened};

/// The library (`build.rs`).
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/interpose.so"));
/// Directory of `/etc` with the library and the settings.
const DIRECTORY: &str = "isotest";
/// Files of `/etc` that name what is loaded first, and the directory above; the second is that of glibc
/// as NixOS has it.
pub const PRELOADED: [&str; 3] = ["ld.so.preload", "ld-nix.so.preload", DIRECTORY];
/// Path of the library in a case.
pub const INTERPOSED_PATH: &str = "/etc/isotest/interpose.so";
/// Path of the settings in a case.
pub const SETTINGS_PATH: &str = "/etc/isotest/case";
/// Name of the settings in the scratch of a case.
pub const SETTINGS_NAME: &str = "interpose";

/// What the library changes for a case. The seed is the case's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Interposed {
    /// The clocks.
    pub time: Time,
    /// Random bytes follow from the seed.
    pub seeded_entropy: bool,
    /// Directories are listed in an order that follows from the seed.
    pub shuffled_directories: bool,
    /// Bytes that a new pipe holds.
    pub pipe_capacity: Option<u32>,
    /// The tracer is told of environment variables.
    pub told_variables: bool,
    /// The process id of the test in its pid namespace.
    pub first_process: u32,
}

impl Interposed {
    /// True if the library changes something: programs that it cannot be loaded before are then refused.
    pub fn changes(&self) -> bool {
        let Interposed { time, seeded_entropy, shuffled_directories, pipe_capacity, .. } = self;
        let is_seeded = *seeded_entropy || *shuffled_directories;
        is_seeded || pipe_capacity.is_some() || *time != Time::default()
    }
}

/// What the library changes for the cases of a policy; `None` where that is nothing, and they do not
/// have it.
pub fn interposed(policy: &Policy) -> Option<Interposed> {
    let Policy { time, perturbations, .. } = policy;
    let Perturbations {
        seeded_entropy, shuffled_directories, pipe_capacity, told_variables, ..
    } = *perturbations;
    let under_init = match policy.init {
        Init::Reaper => 2,
        Init::None => 1,
    };
    let interposed = Interposed {
        time: *time,
        seeded_entropy,
        shuffled_directories,
        pipe_capacity,
        told_variables,
        first_process: perturbations.process_id.unwrap_or(under_init),
    };
    (told_variables || interposed.changes()).then_some(interposed)
}

/// Reason why the library cannot do for a policy what it asks for; `None` if it can, or is not needed.
pub fn not_interposed(policy: &Policy) -> Option<&'static str> {
    let interposed = interposed(policy).filter(Interposed::changes)?;
    let shares_processes = policy.pid != Namespace::New || policy.weakened.contains(&Weakened::Pid);
    if policy.guard == Guard::NoListener {
        return Some("with `--guard no-listener` a static program would not be noticed");
    }
    if interposed.seeded_entropy && shares_processes {
        return Some(
            "random bytes cannot follow from a seed where process ids differ: use `--pid new`",
        );
    }
    None
}

/// Shows the library, in the `/etc` that is being made at `etc`.
pub fn show_library(steps: &mut Steps, policy: &Policy, etc: &Path) {
    if interposed(policy).is_none() {
        return;
    }
    let directory = etc.join(DIRECTORY);
    let name = |path: &str| directory.join(Path::new(path).file_name().unwrap_or_default());
    steps.directory(&directory, 0o755, "what the preloaded library needs");
    steps.file(&name(INTERPOSED_PATH), LIBRARY, 0o444, "shows other clocks and the like");
    steps.file(&name(SETTINGS_PATH), b"", 0o444, "mount point");
    for list in PRELOADED.iter().filter(|name| **name != DIRECTORY) {
        let line = format!("{INTERPOSED_PATH}\n");
        steps.file(&etc.join(list), line.as_bytes(), 0o444, "the library is loaded first");
    }
}

/// Shows the settings of a case, which are in its scratch.
pub fn show_settings(steps: &mut Steps, policy: &Policy) {
    if interposed(policy).is_some() {
        let settings = Path::new(SCRATCH).join(SETTINGS_NAME);
        steps.bind_read_only(&settings, Path::new(SETTINGS_PATH), "settings of that library");
    }
}
