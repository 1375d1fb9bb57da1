//! `cargo isotest verify`: runs each test twice under conditions that differ, and compares.

use isotest_core::signals::Signals;

use crate::cli::{ReportFormat, VerifyCommand};
use crate::commands::suite::{NO_TEST, not_run, with_suite};
use crate::config::machine::Machine;
use crate::diagnose;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;

/// Verifies the selected tests.
pub fn verify(command: &VerifyCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let asked = (command.filters.as_slice(), command.seed);
    let verified = with_suite(&command.suite, machine, |suite| {
        let verified = diagnose::verify(suite.context, suite.cases, &suite.groups, asked);
        match verified.map_err(Error::Host)? {
            None => Err(Error::Case(NO_TEST.to_owned())),
            Some(verified) => verified.map_err(|it| not_run(&it)),
        }
    })?;
    let printed = match command.format {
        ReportFormat::Human => report::verified_for_people(&verified),
        ReportFormat::Json => report::verified_for_programs(&verified),
    };
    printed.map_err(Error::Report)?;
    Ok(match Signals::asked() {
        Some(signal) => ExitCode::Signal(signal),
        None if !verified.differing.is_empty() => ExitCode::TestsFailed,
        None if !verified.not_run.is_empty() => ExitCode::SandboxFailed,
        None => ExitCode::Passed,
    })
}
