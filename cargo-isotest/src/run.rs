//! `cargo isotest run`: build, list, select, plan, run, report.

use std::ffi::OsStr;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use isotest_core::case::{Case, CaseIndex, Ignore};
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::plan::{Plan, Protocol, Setup};
use isotest_core::schedule::{self, Event, Job};
use isotest_core::signals::Signals;

use crate::cli::RunCommand;
use crate::discover::{self, Binary, Selection};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::listing::{self, Listed};
use crate::report::{Reporter, Suite, Summary};
use crate::sandboxes::{self, Sandboxes, Unbuilt, c_string};
use crate::settings::{Machine, Settings, shown};

/// Builds the project's tests and runs each in a sandbox of its own.
pub fn run(command: &RunCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let settings = Settings::of_run(command, machine);
    let signals = Signals::listen().map_err(Error::Host)?;
    let unbuilt = Unbuilt::start(settings.policy.clone())?;
    let project = interruptible(&signals, discover::discover(&settings.request))?;
    if command.run.no_run {
        return Ok(ExitCode::Passed);
    }
    let shown = sandboxes::project_of(machine, &settings.policy, &project);
    let mut sandboxes = unbuilt.build(machine, shown)?;
    let lists = listing::list(&mut sandboxes, &project.binaries, settings.jobs, &signals)?;
    let selected = select(&settings, project.binaries, lists);
    let suites = selected.iter().map(|selected| suite(selected, machine)).collect();
    let reporter = Reporter::new(
        suites,
        settings.report,
        Box::new(io::stdout()),
        Box::new(io::stderr()),
    );
    let (ignored, jobs) = plan(&settings, &sandboxes, &selected);
    let summary = execute(&settings, &mut sandboxes, jobs, ignored, &signals, reporter)?;
    Ok(ExitCode::of_run(&summary))
}

/// A step that a signal to the whole process group ends: then the signal is the error.
pub fn interruptible<T, E: Into<Error>>(
    signals: &Signals,
    result: Result<T, E>,
) -> Result<T, Error> {
    match (result, signals.take()) {
        (_, Some(signal)) => Err(Error::Interrupted(signal)),
        (result, None) => result.map_err(Into::into),
    }
}

/// A binary with what was selected of it.
pub struct Selected {
    /// The binary.
    pub binary: Binary,
    /// Whether it is a test harness.
    pub harness: bool,
    /// How many cases it lists.
    pub listed: usize,
    /// Its selected cases.
    pub selection: Selection,
}

/// Selects among the cases of all binaries. A program that is no harness takes part where its
/// own name is selected.
pub fn select(settings: &Settings, binaries: Vec<Binary>, lists: Vec<Listed>) -> Vec<Selected> {
    let selected = binaries.into_iter().zip(lists).map(|(binary, list)| Selected {
        harness: list.harness,
        listed: list.cases.len(),
        selection: settings.filter.select(list.cases),
        binary,
    });
    selected.filter(|selected| selected.harness || !selected.selection.cases.is_empty()).collect()
}

fn suite(selected: &Selected, machine: &Machine) -> Suite {
    let binary = &selected.binary;
    let executable = shown(binary.executable.as_std_path(), machine);
    Suite {
        heading: format!("{} ({})", binary.description(), executable.display()),
        id: binary.id.clone(),
        rerun: binary.rerun_flag.clone(),
        harness: selected.harness,
        cases: selected.selection.cases.clone(),
        filtered_out: selected.selection.filtered_out,
    }
}

/// What is not run at all, and the plans of the rest.
fn plan(
    settings: &Settings,
    sandboxes: &Sandboxes,
    selected: &[Selected],
) -> (Vec<CaseIndex>, Vec<Job>) {
    let (mut ignored, mut jobs) = (Vec::new(), Vec::new());
    for (binary, selected) in selected.iter().enumerate() {
        let setup = setup(settings, sandboxes, selected);
        for (case, listed) in selected.selection.cases.iter().enumerate() {
            let index = CaseIndex { binary, case };
            match listed.ignore {
                Ignore::No => jobs.push(Job {
                    index,
                    plan: plan_of(settings, &setup, selected, listed),
                    pass_through: settings.pass_through || !selected.harness,
                }),
                Ignore::Yes | Ignore::Because(_) => ignored.push(index),
            }
        }
    }
    (ignored, jobs)
}

fn setup(settings: &Settings, sandboxes: &Sandboxes, selected: &Selected) -> Arc<Setup> {
    let binary = &selected.binary;
    let mut arguments: Vec<&OsStr> = Vec::new();
    if selected.harness {
        // `--include-ignored`: whether it runs was decided when it was selected.
        arguments.extend(["--exact", "--nocapture", "--include-ignored"].map(OsStr::new));
        if settings.single_threaded {
            arguments.push(OsStr::new("--test-threads=1"));
        }
    }
    let directory = binary.working_directory.as_std_path();
    sandboxes.setup(binary.executable.as_os_str(), &arguments, directory, &binary.environment)
}

/// The plan of one case.
pub fn plan_of(
    settings: &Settings,
    setup: &Arc<Setup>,
    selected: &Selected,
    case: &Case,
) -> Plan {
    let (arguments, protocol) = if selected.harness {
        let protocol =
            Protocol::Libtest { name: case.name.clone(), filtered_out: selected.listed - 1 };
        (vec![c_string(OsStr::new(&case.name))], protocol)
    } else {
        (Vec::new(), Protocol::ExitCode)
    };
    Plan {
        setup: Arc::clone(setup),
        arguments,
        environment: Vec::new(),
        protocol,
        timeout: settings.policy.limits.timeout,
        output_limit: settings.policy.limits.output,
    }
}

/// Runs the jobs on a thread of their own and reports on this one, which the warden's life hangs
/// on.
fn execute(
    settings: &Settings,
    sandboxes: &mut Sandboxes,
    jobs: Vec<Job>,
    ignored: Vec<CaseIndex>,
    signals: &Signals,
    reporter: Reporter,
) -> Result<Summary, Error> {
    let (events, heard) = mpsc::channel();
    for index in ignored {
        let outcome = Outcome::without_run(Verdict::Ignored);
        events.send(Event::Finished(index, outcome)).expect("the receiver is alive");
    }
    let options = schedule::Options { jobs: settings.jobs, max_fail: settings.max_fail };
    let warden = &mut sandboxes.warden;
    thread::scope(|scope| {
        let engine = scope.spawn(move || schedule::run(warden, jobs, options, signals, &events));
        let reported = report(reporter, heard).map_err(Error::Report);
        engine.join().expect("the engine has no panic path").map_err(Error::Host)?;
        reported
    })
}

/// Reports events until there are no more. The receiver is dropped where stdout is closed, which
/// ends the run.
fn report(mut reporter: Reporter, heard: Receiver<Event>) -> io::Result<Summary> {
    const TICK: Duration = Duration::from_millis(100);
    loop {
        match heard.recv_timeout(TICK) {
            Ok(event) => {
                reporter.event(event)?;
                for event in heard.try_iter() {
                    reporter.event(event)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return reporter.finish(),
        }
        reporter.idle()?;
    }
}
