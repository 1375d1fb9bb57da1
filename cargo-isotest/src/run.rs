//! `cargo isotest run`: [`prepare`], plan, run, report.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use isotest_core::case::{Case, CaseIndex, Ignore};
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::plan::{Plan, Protocol, Setup};
use isotest_core::schedule::{self, Event, Job};
use isotest_core::signals::Signals;

use crate::cli::RunCommand;
use crate::doctests::{self, Documented};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::fork_server;
use crate::prepare::{self, Prepared, Selected};
use crate::report::{self, Reporter, Suite};
use crate::sandboxes::{Sandboxes, c_string};
use crate::second_look::second_look;
use crate::settings::{Machine, Settings, shown};

/// Builds the project's tests and runs each in a sandbox of its own.
pub fn run(command: &RunCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let mut settings = Settings::of_run(command, machine);
    prepare::find_root(&mut settings.policy, machine)?;
    if command.cargo.doc {
        let signals = Signals::listen().map_err(Error::Host)?;
        let documented = doctests::run(command, &settings, machine, &signals)?;
        return Ok(ExitCode::NothingToRun.with(documented));
    }
    let built = prepare::build(&settings.policy, &settings.request)?;
    if command.run.no_run {
        return Ok(ExitCode::Passed);
    }
    let signals = Signals::listen().map_err(Error::Host)?;
    let Prepared { mut sandboxes, selected, project } =
        prepare::select(built, machine, &settings.filter, settings.jobs, &signals)?;
    let suites: Vec<Suite> = selected.iter().map(|selected| suite(selected, machine)).collect();
    let documented = project.has_doctests && command.cargo.selects_doctests();
    if command.libtest.list {
        report::lists_as_libtest(&suites).map_err(Error::Report)?;
        if documented {
            doctests::run(command, &settings, machine, &signals)?;
        }
        return Ok(ExitCode::Passed);
    }
    let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
    let reporter = Reporter::new(suites, settings.report, stdout, stderr);
    let (ignored, jobs) = plan(&settings, &sandboxes, &selected);
    let mut reporter = execute(&settings, &mut sandboxes, jobs, ignored, &signals, reporter)?;
    reporter.end().map_err(Error::Report)?;
    let goes_on = reporter.interrupted().is_none() && !settings.is_over(reporter.failed().len());
    let documented = match documented && goes_on {
        true => doctests::run(command, &settings, machine, &signals)?,
        false => Documented::default(),
    };
    let shown = sandboxes.project();
    drop(sandboxes);
    let hints =
        second_look(&settings.policy, machine, &shown, &selected, &reporter.failed(), &signals)?;
    let summary = reporter.finish(hints, documented).map_err(Error::Report)?;
    let code = ExitCode::of_run(&summary).with(documented);
    if code == ExitCode::NothingToRun {
        report::error(&nothing_selected(&selected));
    }
    Ok(code)
}

/// Why exit code 4.
fn nothing_selected(selected: &[Selected]) -> String {
    let listed: usize = selected.iter().map(|selected| selected.listed).sum();
    match listed {
        0 => "cannot find any test in what was built".to_owned(),
        _ => format!(
            "cannot find a test that the filters select, among {listed}\n\
             hint: `cargo isotest list` prints all names"
        ),
    }
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
        let setup = setup(sandboxes, selected, settings.single_threaded);
        for (case, listed) in selected.selection.cases.iter().enumerate() {
            let index = CaseIndex { binary, case };
            match listed.ignore {
                Ignore::No => jobs.push(Job {
                    index,
                    plan: plan_of(sandboxes, &setup, selected, listed),
                    pass_through: settings.pass_through || !selected.harness,
                }),
                Ignore::Yes | Ignore::Because(_) => ignored.push(index),
            }
        }
    }
    (ignored, jobs)
}

/// The set-up that all cases of a binary share.
pub fn setup(sandboxes: &Sandboxes, selected: &Selected, single_threaded: bool) -> Arc<Setup> {
    let binary = &selected.binary;
    let mut arguments: Vec<&OsStr> = Vec::new();
    if selected.harness {
        // `--include-ignored`: whether it runs was decided when it was selected.
        arguments.extend(["--exact", "--nocapture", "--include-ignored"].map(OsStr::new));
        if single_threaded {
            arguments.push(OsStr::new("--test-threads=1"));
        }
    }
    let directory = binary.working_directory.as_std_path();
    let executed = match selected.harness {
        true => fork_server::unsuitable(binary.executable.as_std_path()),
        false => Some("it is no test harness"),
    };
    let program = binary.executable.as_os_str();
    sandboxes.setup(program, &arguments, directory, &binary.environment, executed)
}

/// The plan of one case.
pub fn plan_of(
    sandboxes: &Sandboxes,
    setup: &Arc<Setup>,
    selected: &Selected,
    case: &Case,
) -> Plan {
    let policy = &sandboxes.policy;
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
        environment: sandboxes.own_environment(),
        protocol,
        timeout: policy.limits.timeout,
        output_limit: policy.limits.output,
        write_back: sandboxes.write_back.clone(),
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
) -> Result<Reporter, Error> {
    let (events, heard) = mpsc::sync_channel(schedule::BACKLOG);
    let options = schedule::Options { jobs: settings.jobs, max_fail: settings.max_fail };
    let warden = &mut sandboxes.warden;
    thread::scope(|scope| {
        let engine = scope.spawn(move || {
            for index in ignored {
                let outcome = Outcome::without_run(Verdict::Ignored);
                // Where nobody hears it, the run hears of that as well.
                let _ = events.send(Event::Finished(index, Box::new(outcome)));
            }
            schedule::run(warden, jobs, options, signals, &events)
        });
        let reported = report(reporter, heard).map_err(Error::Report);
        if reported.is_err() {
            signals.tell_broken_pipe();
        }
        engine.join().expect("the engine has no panic path").map_err(Error::Host)?;
        reported
    })
}

/// Reports events until there are no more. The receiver is dropped where stdout is closed, which
/// ends the run.
fn report(mut reporter: Reporter, heard: Receiver<Event>) -> io::Result<Reporter> {
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
            Err(RecvTimeoutError::Disconnected) => return Ok(reporter),
        }
        reporter.idle()?;
    }
}
