//! Runs the command of a layer, in the sandbox of the cases that see it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isotest_core::case::CaseIndex;
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::plan::{Plan, StartBy};
use isotest_core::policy::{LayerWrites, Limits, Policy, StoredLayer};
use isotest_core::schedule::{Event, Interruption, Job, Options};
use isotest_core::signals::Signals;

use super::error::{LayerCause, LayerError, LayersError};
use crate::config::machine::{Machine, Variable};
use crate::config::{MadeOnce, RunTable};
use crate::discover::Project;
use crate::sandbox::factory::{FactoryError, SandboxBuilder, SandboxFactory};
use crate::sandbox::jobs;

/// Names the directory that the command fills.
const VARIABLE: &str = "ISOTEST_LAYER";
/// Maximum bytes of its output that are shown.
const OUTPUT: u64 = 1 << 20;

/// A layer, and what it is made with.
pub struct Making<'a> {
    /// Its definition.
    pub layer: &'a MadeOnce,
    /// The policy of its cases.
    pub policy: &'a Policy,
    /// The variables that its command is given.
    pub variables: &'a [Variable],
    /// The directory that it fills, empty.
    pub directory: PathBuf,
    /// The project.
    pub project: &'a Project,
    /// The surroundings of this process.
    pub machine: &'a Machine,
    /// The signals that end the run.
    pub signals: &'a Signals,
}

/// Runs the command. When it has succeeded the directory is whole, and nobody writes to it any more.
pub fn make(making: &Making<'_>) -> Result<(), LayersError> {
    let builder = SandboxBuilder::start(policy(making))?;
    let mut factory = builder.build_for(making.project, making.machine)?;
    factory.variables = making.variables.to_vec();
    factory.profile = None;
    let job = Job::once(CaseIndex { binary: 0, case: 0 }, plan(making, &factory));
    let ended = |event| match event {
        Event::Finished(_, outcome) => Some(Ok(outcome)),
        Event::Interrupted(Interruption::Signal(signal)) => {
            Some(Err(LayersError::Interrupted(signal)))
        }
        _ => None,
    };
    let jobs = vec![(&mut factory.warden, vec![job])];
    let outcome = jobs::run(jobs, Options::of(1), making.signals, Vec::new(), |events| {
        events.into_iter().find_map(ended)
    });
    let outcome = outcome.map_err(FactoryError::Host)?;
    let died = || LayerError::of(making.layer, LayerCause::WardenDied);
    judge(making.layer, *outcome.ok_or_else(died)??)
}

/// That of the cases, but what is written to the layer stays.
fn policy(making: &Making<'_>) -> Policy {
    let policy = making.policy.clone();
    Policy {
        stored: vec![StoredLayer {
            name: making.layer.name.clone(),
            source: making.directory.clone(),
            at: making.layer.at.clone(),
            mode: 0o755,
            writes: LayerWrites::Kept,
        }],
        write_back: Vec::new(),
        trace: false,
        // A limit of a test's time or output is none of it.
        limits: Limits { timeout: None, slow_timeout: None, output: OUTPUT, ..policy.limits },
        ..policy
    }
}

fn plan(making: &Making<'_>, factory: &SandboxFactory) -> Plan {
    let Making { layer, project, .. } = making;
    // A shell looks a program up in the sandbox.
    let arguments: Vec<&OsStr> = match &layer.run {
        RunTable::Script(text) => vec![OsStr::new("-c"), OsStr::new(text)],
        RunTable::Words(words) => {
            let shell = ["-c", "exec \"$@\"", "sh"].into_iter();
            shell.chain(words.iter().map(String::as_str)).map(OsStr::new).collect()
        }
    };
    let directory: &Path = project.workspace_root.as_std_path();
    let variables = [(VARIABLE.into(), layer.at.clone().into_os_string())];
    let start_by = StartBy::Exec("a single command");
    let shell = OsStr::new("/bin/sh");
    let spec = factory.spec(shell, &arguments, directory, &variables, start_by);
    Plan { timeout: layer.timeout, output_limit: OUTPUT, ..Plan::of(Arc::clone(&spec)) }
}

/// Fails unless the command has exited with 0.
fn judge(layer: &MadeOnce, outcome: Outcome) -> Result<(), LayersError> {
    let output = outcome.output.to_bytes();
    let cause = match outcome.verdict {
        Verdict::Passed => return Ok(()),
        Verdict::Failed { code } | Verdict::ExitedEarly { code } => {
            LayerCause::Exited(code, output)
        }
        Verdict::Signalled { signal } => LayerCause::Signalled(signal, output),
        Verdict::TimedOut { limit } => LayerCause::TimedOut(limit, output),
        Verdict::NotRun(NotRun::Sandbox(error)) => {
            return Err(FactoryError::Sandbox(error).into());
        }
        // A single command is neither flaky nor denied, and has no services.
        Verdict::NotRun(_)
        | Verdict::Flaky
        | Verdict::Denied(_)
        | Verdict::Unproven { .. }
        | Verdict::NothingRun
        | Verdict::Ignored => LayerCause::WardenDied,
    };
    Err(LayerError::of(layer, cause))
}
