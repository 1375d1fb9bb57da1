//! Variables that the caller set for this program alone, from `/proc`.
//!
//! Cargo names no list of the variables that it sets for a test: those of build scripts and of its
//! configuration have any name. So the environment is compared with that of the process which set
//! it up, as it was when that process started (`/proc/PID/environ`, proc_pid_environ(5)).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::parent_id;

use crate::config::machine::Variable;
use crate::sandbox::environment;

/// Set only by the process that starts a test for cargo, to another value for each package.
const MARK: &str = "CARGO_MANIFEST_DIR";

/// Variables of the process that started this program through `target.runner`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunnerEnvironment {
    /// Variables that it set and had not been given itself.
    pub set: Vec<Variable>,
    /// True if rustdoc is among the parents, so that this is a documentation test.
    pub is_rustdoc: bool,
}

impl RunnerEnvironment {
    /// Looks for the nearest process above that was not itself started for the same package:
    /// between may stand rustdoc, or a shell. Where none can be read nothing is known to be set.
    pub fn of(variables: &[Variable]) -> RunnerEnvironment {
        let mut caller = RunnerEnvironment::default();
        let Some(mark) = variables.iter().find(|(name, _)| name == MARK) else { return caller };
        let mut pid = parent_id();
        while let Some(process) = Process::read(pid) {
            caller.is_rustdoc |= process.name == "rustdoc";
            if !process.environment.contains(mark) {
                let is_new = |variable: &&Variable| {
                    !process.environment.contains(variable) && !environment::is_runner(&variable.0)
                };
                caller.set = variables.iter().filter(is_new).cloned().collect();
                break;
            }
            pid = process.parent;
        }
        caller
    }
}

/// A living process.
struct Process {
    name: String,
    parent: u32,
    /// Its initial environment.
    environment: Vec<Variable>,
}

impl Process {
    /// `None` where there is none, or it belongs to another user.
    fn read(pid: u32) -> Option<Process> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        Some(Process {
            name: field("Name:")?.to_owned(),
            parent: field("PPid:")?.parse().ok()?,
            environment: environment.split(|byte| *byte == 0).filter_map(variable).collect(),
        })
    }
}

fn variable(text: &[u8]) -> Option<Variable> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let bytes = |part: &[u8]| OsString::from_vec(part.to_vec());
    Some((bytes(&text[..equals]), bytes(&text[equals + 1..])))
}
