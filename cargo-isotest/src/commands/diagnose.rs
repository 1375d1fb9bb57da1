//! `cargo isotest diagnose`: runs one test under other conditions until its cause is known.

use std::time::Duration;

use isotest_core::signals::Signals;

use crate::cli::{Budget, DiagnoseCommand, ReportFormat};
use crate::commands::kept_diagnoses::keep;
use crate::commands::suite::{Suite, not_run, with_suite};
use crate::config::machine::Machine;
use crate::diagnose::{Bench, Limits, investigate, tell};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Diagnosed, DiagnosisLine};
use crate::run::traced::binary_hash;
use crate::select::selected::case;

/// Without a number of runs, time alone ends a diagnosis.
const MANY: u32 = 1_000_000;
/// Without a time, a number of runs alone ends it.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// The line that shows where a diagnosis stands, before the first runs that decide something.
const BEGINS: &str = "traces of this test and of others";

/// Diagnoses one test, and keeps the result.
pub fn diagnose(command: &DiagnoseCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let (diagnosed, is_kept) =
        with_suite(&command.suite, machine, |suite| diagnosed(command, &suite))?;
    let printed = match command.format {
        ReportFormat::Human => report::diagnosed_for_people(&diagnosed, is_kept),
        ReportFormat::Json => report::diagnosed_for_programs(&diagnosed),
    };
    printed.map_err(Error::Report)?;
    Ok(match Signals::asked() {
        Some(signal) => ExitCode::Signal(signal),
        None if diagnosed.has_failed() => ExitCode::TestsFailed,
        None => ExitCode::Passed,
    })
}

/// The diagnosis, and whether it is kept.
fn diagnosed(command: &DiagnoseCommand, suite: &Suite<'_>) -> Result<(Diagnosed, bool), Error> {
    let (test, policy, others) = suite.find(&command.case)?;
    let Suite { context, cases, .. } = suite;
    let mut bench = Bench::new(*context, *cases, context.machine, policy, test.clone());
    let name = case(cases.selected, test.index).name.clone();
    let mut line = DiagnosisLine::new(context.settings.report.style, "Diagnosing", &name, BEGINS);
    let limits = limits(command);
    let found = investigate(&mut bench, *cases, &test, &others, limits, &mut |progress| {
        line.show(progress);
    });
    drop(line);
    let found = found.map_err(Error::Host)?.map_err(|it| not_run(&it))?;
    let program = cases.selected[test.index.binary].binary.executable.as_std_path();
    let hash = binary_hash(program).map_err(Error::Host)?;
    let diagnosed = tell(&found, *cases, &test, &hash);
    let is_kept = keep(*context, [&diagnosed]);
    Ok((diagnosed, is_kept))
}

fn limits(command: &DiagnoseCommand) -> Limits {
    let (time, runs) = match command.budget {
        Budget::Time(time) => (time, MANY),
        Budget::Runs(runs) => (LONG, runs),
    };
    Limits { time, runs, seed: command.seed, host: command.host_arms.into() }
}
