//! Runs outside of every sandbox: a process for each test, as cargo nextest starts it, with all that
//! the user has. One at a time, so that no test meets what another one has left to itself.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use isotest_core::case::{Case, CaseIndex};
use isotest_core::host_command::{self, CommandEnd};
use isotest_core::signals::Signals;

use crate::config::machine::{Machine, Variable};
use crate::discover::Harness;
use crate::discover::list::NEXTEST_ENVIRONMENT;
use crate::run::case_plan;
use crate::sandbox::environment;
use crate::select::selected::Selected;

/// Results of the runs of one test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Results {
    /// Number of runs that passed.
    pub passed: u32,
    /// Number of runs that failed.
    pub failed: u32,
    /// The longest of them.
    pub longest: Duration,
}

/// A test that runs outside.
pub struct OutsideCase<'a> {
    /// Its place.
    pub index: CaseIndex,
    /// Its binary.
    pub selected: &'a Selected,
    /// The test.
    pub case: &'a Case,
    /// Variables that setup commands have made for it.
    pub variables: Vec<Variable>,
    /// Its time limit.
    pub timeout: Option<Duration>,
}

/// The run was ended by a signal, or could not go on.
#[derive(Debug)]
pub enum OutsideError {
    /// A signal has asked to end.
    Interrupted(i32),
    /// A program could not be started.
    Start(OsString, io::Error),
}

/// Runs each test this many times; returns their results in the same order.
pub fn run_outside(
    cases: &[OutsideCase<'_>],
    runs: u32,
    machine: &Machine,
    signals: &Signals,
) -> Result<Vec<Results>, OutsideError> {
    let mut results = vec![Results::default(); cases.len()];
    for _ in 0..runs {
        for (case, results) in cases.iter().zip(&mut results) {
            let started = std::time::Instant::now();
            match run(case, machine, signals)? {
                true => results.passed += 1,
                false => results.failed += 1,
            }
            results.longest = results.longest.max(started.elapsed());
        }
    }
    Ok(results)
}

/// Runs one test; returns whether its process exited with 0.
fn run(
    OutsideCase { selected, case, variables, timeout, .. }: &OutsideCase<'_>,
    machine: &Machine,
    signals: &Signals,
) -> Result<bool, OutsideError> {
    let (program, words) = selected.binary.command();
    let error = |cause| OutsideError::Start(program.to_owned(), cause);
    let mut command = Command::new(program);
    command.args(words);
    if selected.harness == Harness::Libtest {
        command.args(["--exact", "--include-ignored"]);
    }
    command.args(case_plan::arguments(selected, case));
    command.current_dir(selected.binary.working_directory.as_std_path());
    command.env_clear().envs(variables_of(selected, machine)).envs(variables.iter().cloned());
    // A pipe, as in every run of cargo nextest and of isotest.
    let (mut output, written) = io::pipe().map_err(error)?;
    let both = written.try_clone().map_err(error)?;
    command.stdin(Stdio::null()).stdout(written).stderr(both);
    // What the test leaves behind may hold on to the pipe: nobody waits for this thread.
    thread::spawn(move || {
        let mut part = [0; 1 << 12];
        while output.read(&mut part).is_ok_and(|length| length > 0) {}
    });
    let ended = host_command::run(&mut command, *timeout, signals).map_err(error)?;
    match ended {
        CommandEnd::Exited(status) => Ok(status.success()),
        CommandEnd::TimedOut(_) => Ok(false),
        CommandEnd::Interrupted(signal) => Err(OutsideError::Interrupted(signal)),
    }
}

/// The caller's variables, and those that cargo sets.
fn variables_of(selected: &Selected, machine: &Machine) -> Vec<Variable> {
    // A test that runs cargo must not come back here.
    let is_passed = |(name, _): &&Variable| !environment::is_runner(name);
    let mut all: Vec<Variable> = machine.variables.iter().filter(is_passed).cloned().collect();
    let binary = &selected.binary;
    for (name, value) in environment::unless_passed(&binary.environment, &binary.presets, &all) {
        environment::set(&mut all, name, value);
    }
    if selected.harness == Harness::Foreign {
        for (name, value) in NEXTEST_ENVIRONMENT {
            environment::set(&mut all, name.into(), value.into());
        }
    }
    all
}
