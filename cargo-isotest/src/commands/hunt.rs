//! `cargo isotest hunt`: finds the flaky tests of a suite, and diagnoses them.

use isotest_core::signals::Signals;

use crate::cli::{HuntCommand, ReportFormat};
use crate::commands::kept_diagnoses::keep;
use crate::commands::suite::{NO_TEST, Suite, not_run, with_suite};
use crate::config::machine::Machine;
use crate::diagnose::{HuntOptions, Hunter};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Hunted};

/// Hunts among the selected tests.
pub fn hunt(command: &HuntCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let hunted = with_suite(&command.suite, machine, |suite| {
        let hunted = hunted(command, &suite)?;
        let groups = hunted.iter().flat_map(|hunted| &hunted.groups);
        keep(suite.context, groups.filter_map(|group| group.diagnosis.as_ref()));
        Ok(hunted)
    })?;
    let Some(hunted) = hunted else {
        return Err(Error::Case(NO_TEST.to_owned()));
    };
    let printed = match command.format {
        ReportFormat::Human => report::hunted_for_people(&hunted),
        ReportFormat::Json => report::hunted_for_programs(&hunted),
    };
    printed.map_err(Error::Report)?;
    Ok(match Signals::asked() {
        Some(signal) => ExitCode::Signal(signal),
        None if hunted.candidates() > 0 => ExitCode::TestsFailed,
        None => ExitCode::Passed,
    })
}

fn hunted(command: &HuntCommand, suite: &Suite<'_>) -> Result<Option<Hunted>, Error> {
    let HuntCommand { filters, budget, seed, time_bombs, .. } = command;
    let options = HuntOptions { filters, budget: *budget, seed: *seed };
    let Some(hunter) = Hunter::new(suite.context, suite.cases, &suite.groups, options) else {
        return Ok(None);
    };
    let hunted = match time_bombs {
        true => hunter.time_bombs(),
        false => hunter.hunt(),
    };
    hunted.map_err(Error::Host)?.map_err(|it| not_run(&it)).map(Some)
}
