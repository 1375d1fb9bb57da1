//! Facts: what a test looks at and does, read from one traced run. A condition that it cannot observe
//! need not be tried.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use isotest_core::finding::{Code, Finding};
use isotest_core::outcome::Outcome;
use isotest_core::trace::{
    Act, Change, Footprint, OpenMode, ProcessProperty, Surrounding, Trace, TraceEvent,
};

/// Facts about a test.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Files, addresses and surroundings.
    pub footprint: Footprint,
    /// Numbers of random bytes that it asked for.
    pub entropy: Vec<u64>,
    /// It lists directories.
    pub lists: bool,
    /// It executes other programs.
    pub executes: bool,
    /// Number of threads that libtest and it start; libtest starts one.
    pub threads: usize,
    /// It waits for a time, or with a time-out.
    pub waits: bool,
    /// It makes or changes files.
    pub writes: bool,
    /// It changes permissions or other attributes of files.
    pub changes_attributes: bool,
    /// Programs that it executes.
    pub executed: BTreeSet<String>,
    /// Properties of its process that it changes.
    pub process: BTreeSet<ProcessProperty>,
    /// Environment variables that it reads.
    pub variables: BTreeSet<String>,
    /// Findings of its run.
    pub findings: Vec<Finding>,
    /// Nothing is missing in the trace.
    pub is_whole: bool,
    /// Directories of the project.
    pub project: Vec<PathBuf>,
    /// The home directory of the user.
    pub home: Option<PathBuf>,
}

impl Facts {
    /// Facts of one traced run of a test of a project, whose directories these are, and of a user with
    /// this home directory.
    pub fn of(outcome: &Outcome, project: Vec<PathBuf>, home: Option<PathBuf>) -> Facts {
        let findings = outcome.findings.clone();
        let mut facts = Facts { project, home, findings, ..Facts::default() };
        if let Some(trace) = outcome.trace.as_deref() {
            facts.read(trace);
        }
        facts
    }

    fn read(&mut self, trace: &Trace) {
        let events = trace.test_events().cloned().collect();
        self.footprint = Trace { events, ..Trace::default() }.footprint();
        self.is_whole = trace.gaps.is_empty() && trace.dropped == 0;
        let main = trace.main_process();
        for event in trace.test_events() {
            self.take(event, main);
        }
    }

    fn take(&mut self, TraceEvent { process, act, .. }: &TraceEvent, main: Option<i32>) {
        match act {
            Act::ThreadStarted if Some(*process) == main => self.threads += 1,
            Act::Entropy { bytes } => self.entropy.push(*bytes),
            Act::Waited => self.waits = true,
            Act::Opened { mode: OpenMode::List, .. } => self.lists = true,
            Act::Opened { mode: OpenMode::Write | OpenMode::Create, path, .. } => {
                self.writes |= !path.starts_with("/dev/");
            }
            Act::Executed { program, .. } => {
                self.executes |= Some(*process) != main;
                self.executed.insert(program.clone());
            }
            Act::VariableRead { name } if Some(*process) == main => {
                self.variables.insert(name.clone());
            }
            Act::ProcessChanged(property) if Some(*process) == main => {
                self.process.insert(property.clone());
            }
            Act::Changed { change, .. } => {
                self.writes = true;
                self.changes_attributes |= *change == Change::Attributes;
            }
            _ => {}
        }
    }

    /// True if it looks at this property of its surroundings, or nothing is known.
    pub fn sees(&self, surrounding: Surrounding) -> bool {
        !self.is_whole || self.footprint.surroundings.contains(&surrounding)
    }

    /// True if it used a path of which this holds, or nothing is known.
    pub fn uses(&self, holds: impl Fn(&str) -> bool) -> bool {
        let Footprint { reads, missing, writes, .. } = &self.footprint;
        !self.is_whole || reads.iter().chain(missing).chain(writes).any(|path| holds(path))
    }

    /// True if it used a path of which this holds, other than of the project and of tools, or nothing is
    /// known.
    pub fn meets(&self, holds: impl Fn(&str) -> bool) -> bool {
        let is_own = |path: &str| self.project.iter().any(|top| Path::new(path).starts_with(top));
        self.uses(|path| holds(path) && !is_of_tool(path) && !is_own(path))
    }

    /// True if a path is in a home directory.
    pub fn is_of_home(&self, path: &str) -> bool {
        let is_own = |home: &PathBuf| home.parent().is_some() && Path::new(path).starts_with(home);
        HOMES.iter().any(|top| path.starts_with(top)) || self.home.as_ref().is_some_and(is_own)
    }

    /// Variables of its process that another test changes, and that this one reads or changes.
    pub fn variables_shared_with<'a>(
        &'a self,
        other: &'a Facts,
    ) -> impl Iterator<Item = &'a String> {
        other.changed_variables().filter(|name| {
            self.variables.contains(*name) || self.changed_variables().any(|own| own == *name)
        })
    }

    /// Environment variables of its process that it changes.
    pub fn changed_variables(&self) -> impl Iterator<Item = &String> {
        self.process.iter().filter_map(|it| match it {
            ProcessProperty::Variable(name) => Some(name),
            _ => None,
        })
    }

    /// True if another test changes what all tests of a process share. A variable counts if both use it.
    pub fn may_be_changed_by(&self, other: &Facts) -> bool {
        let is_whole = |it: &ProcessProperty| !matches!(it, ProcessProperty::Variable(_));
        other.process.iter().any(is_whole) || self.variables_shared_with(other).next().is_some()
    }

    /// True if all random bytes that it asked for are keys of hash maps, which std asks for 16 bytes
    /// at a time.
    pub fn hashes_only(&self) -> bool {
        !self.entropy.is_empty() && self.entropy.iter().all(|bytes| *bytes == 16)
    }

    /// True if it has a finding of this code.
    pub fn has(&self, code: Code) -> bool {
        self.findings.iter().any(|finding| finding.code() == code)
    }

    /// True if another process could meet it: at an address, a process, or a file that is not its own.
    pub fn may_meet(&self) -> bool {
        !self.footprint.binds.is_empty()
            || !self.footprint.dials.is_empty()
            || self.meets(|path| {
                SHARED.iter().any(|top| path.starts_with(top)) || self.is_of_home(path)
            })
            || self.sees_processes()
    }

    /// True if all that another process could meet it at is a file, whose path is known.
    pub fn meets_at_files_only(&self) -> bool {
        let Footprint { binds, dials, .. } = &self.footprint;
        self.is_whole
            && binds.is_empty()
            && dials.is_empty()
            && !self.lists
            && !self.sees_processes()
    }

    /// True if it looks at processes that are not its own.
    pub fn sees_processes(&self) -> bool {
        self.uses(|path| path == "/proc" || is_of_process(path))
    }

    /// True if it starts processes or threads: what it waits for may be late.
    pub fn is_concurrent(&self) -> bool {
        self.executes || self.threads > 1
    }

    /// True if it tried to reach the network, or wrote outside of its own directories: with layers of
    /// the machine it could have effects.
    pub fn reaches_out(&self) -> bool {
        [Code::NetAttempt, Code::DnsAttempt, Code::SendsMulticast, Code::WritesOutside]
            .into_iter()
            .any(|code| self.has(code))
    }
}

/// Directories that are the same for all tests, if they are not isolated.
const SHARED: [&str; 4] = ["/tmp/", "/var/tmp/", "/run/", "/dev/shm/"];
/// Where home directories usually are.
const HOMES: [&str; 2] = ["/home/", "/root/"];
/// Directories of a home that programs and libraries are found in.
const TOOLS: [&str; 2] = ["/.cargo/", "/.rustup/"];

/// True if a path is one of cargo's or rustup's.
fn is_of_tool(path: &str) -> bool {
    TOOLS.iter().any(|tool| path.contains(tool))
}

/// True if a path is that of a process, by its id.
fn is_of_process(path: &str) -> bool {
    let rest = path.strip_prefix("/proc/").unwrap_or_default();
    rest.split('/')
        .next()
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|it| it.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_test_may_have_made_is_told_from_tools_and_the_project() {
        let may_meet = |path: &str| {
            let reads = [path.to_owned()].into();
            let footprint = Footprint { reads, ..Footprint::default() };
            let project = vec!["/home/me/app".into(), "/tmp/target".into()];
            let home = Some("/var/lib/ci".into());
            Facts { footprint, project, home, is_whole: true, ..Facts::default() }.may_meet()
        };
        let shared =
            ["/tmp/x", "/dev/shm/app", "/home/me/.app", "/home/me/apple", "/var/lib/ci/.app"];
        let own = [
            "/home/me/.cargo/bin/cargo",
            "/usr/lib/x",
            "/var/lib/cis",
            "/home/me/app/x",
            "/tmp/target/x",
        ];
        assert!(shared.into_iter().all(may_meet));
        assert!(!own.into_iter().any(may_meet));
        assert!(is_of_process("/proc/12/stat") && is_of_process("/proc/1"));
        assert!(!is_of_process("/proc/self/maps") && !is_of_process("/proc/cpuinfo"));
    }
}
