//! `cargo isotest diff`: runs one test, and prints the files that it has changed.

use std::sync::{Arc, Mutex, PoisonError};

use isotest_core::case::CaseIndex;
use isotest_core::changes::Watched;
use isotest_core::finding::FileChange;
use isotest_core::outcome::{NotRun, Verdict};
use isotest_core::plan::{Plan, ScratchReader};
use isotest_core::schedule::{Event, Interruption, Job, Options};
use isotest_core::untrusted::Dir;

use crate::cli::{DiffCommand, ReportFormat};
use crate::commands::build::Build;
use crate::commands::one_case::{CaseRequest, OneCase};
use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;
use crate::run::case_plan;
use crate::sandbox::jobs;
use crate::sandbox::provision::Provision;

/// Changes of a test, once it has ended.
#[derive(Debug)]
struct Changes {
    watched: Arc<Watched>,
    read: Mutex<(Vec<FileChange>, bool)>,
}

impl ScratchReader for Changes {
    fn read(&self, scratch: &Dir, _: bool) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = self.watched.changes(scratch);
    }
}

/// Runs one test, and prints its changes. The exit code is 0 however the test ends.
pub fn diff(command: &DiffCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let build = Build::open(&command.reuse, &command.cargo, machine)?;
    let named =
        CaseRequest { case: &command.case, layers: &command.layers, config: &command.config };
    let OneCase { mut factory, selected, case, limits, config, needs, project, signals, .. } =
        OneCase::find(&build, &named, machine)?;
    let needed = [(&factory.policy, &needs)].into_iter();
    let provision = Provision::prepare(&config, needed, &project, machine, &signals)?;
    let spec = case_plan::spec(&factory, &selected, provision.give(&needs));
    let watched = Arc::clone(&factory.watched);
    let changes = Arc::new(Changes { watched, read: Mutex::default() });
    let reader: Arc<dyn ScratchReader> = Arc::clone(&changes) as _;
    let plan = case_plan::plan_of(&factory, &spec, &selected, &case, &limits);
    let job =
        Job::once(CaseIndex { binary: 0, case: 0 }, Plan { scratch_reader: Some(reader), ..plan });
    let ended = |event| match event {
        Event::Finished(_, outcome) => Some(Ok(outcome)),
        Event::Interrupted(Interruption::Signal(signal)) => Some(Err(Error::Interrupted(signal))),
        _ => None,
    };
    let jobs = vec![(&mut factory.warden, vec![job])];
    let outcome = jobs::run(jobs, Options::of(1), &signals, Vec::new(), |events| {
        events.into_iter().find_map(ended)
    });
    let outcome = outcome.map_err(Error::Host)?.ok_or(Error::WardenDied)??;
    match outcome.verdict {
        Verdict::NotRun(NotRun::Sandbox(error)) => return Err(Error::Sandbox(error)),
        Verdict::NotRun(NotRun::Service(error)) => return Err(Error::Service(error)),
        Verdict::NotRun(NotRun::WardenSilent) => return Err(Error::WardenSilent),
        Verdict::NotRun(_) => return Err(Error::WardenDied),
        _ => report::verdict(&case, &outcome).map_err(Error::Report)?,
    }
    let (changes, more) = &*changes.read.lock().unwrap_or_else(PoisonError::into_inner);
    match command.format {
        ReportFormat::Human => report::changes(changes, *more),
        ReportFormat::Json => {
            report::changes_as_json(&selected.binary.id, &case.name, changes, *more)
        }
    }
    .map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}
