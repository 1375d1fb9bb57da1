//! A fault: the two numbers by which a process tells where its set-up stopped.

use serde::{Deserialize, Serialize};

pub use super::child::start::{
    STEP_CLONE, STEP_DESCRIPTORS, STEP_DIRECTORY, STEP_EXEC, STEP_FORK, STEP_TRACE,
};

/// Step, in no list, that ends what is left in a lab.
pub const STEP_LAB: u32 = u32::MAX - 10;
/// Step, in no list, that has a library loaded before every program of a case.
pub const STEP_INTERPOSE: u32 = u32::MAX - 11;
/// Step, in no list, that makes the control group of a case.
pub const STEP_CGROUP: u32 = u32::MAX - 8;
/// Step, in no list, that makes the scratch which the warden hands over.
pub const STEP_SCRATCH: u32 = u32::MAX - 7;
/// Step, in no list, that writes the id maps of the warden.
pub const STEP_MAPS: u32 = u32::MAX - 5;
/// Step, in no list, that installs the guard.
pub const STEP_GUARD: u32 = u32::MAX - 4;

/// Step at which set-up stopped, and the kernel's errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The index of a step, or a `STEP_` number.
    pub step: u32,
    /// The errno; 0 where the process was killed at that step.
    pub errno: i32,
}
