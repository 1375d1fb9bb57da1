//! `cargo isotest repro`: makes the runs of a token again, until one fails in the same way.

use isotest_core::signals::Signals;

use crate::cli::ReproCommand;
use crate::commands::kept_diagnoses::latest_token;
use crate::commands::repetition::Repetition;
use crate::commands::suite::{Suite, with_suite};
use crate::config::machine::Machine;
use crate::diagnose::{Arrangement, Failure, Token};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Repeated};

/// Runs that are made at a time.
const AT_ONCE: u32 = 4;
/// A failure of the rate of the token is missed with this probability at the most.
const MISSED: f64 = 0.001;
/// Maximum number of runs, unless another one is given.
const MOST: u32 = 2000;

/// Reproduces a failure. The exit code is 0 only if it did.
pub fn repro(command: &ReproCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let token = match Token::is_like(&command.what) {
        true => Some(Token::read(&command.what)?),
        false => None,
    };
    let repeated = with_suite(&command.suite, machine, |suite| match &token {
        Some(token) => repeat(command, token, &suite),
        None => {
            let (test, ..) = suite.find(&command.what)?;
            repeat(command, &latest_token(&suite, test.index)?, &suite)
        }
    })?;
    report::reproduced(&repeated).map_err(Error::Report)?;
    Ok(match (repeated.failed > 0, Signals::asked()) {
        (true, _) => ExitCode::Passed,
        (false, Some(signal)) => ExitCode::Signal(signal),
        (false, None) => ExitCode::TestsFailed,
    })
}

fn repeat(command: &ReproCommand, token: &Token, suite: &Suite<'_>) -> Result<Repeated, Error> {
    let arrangement =
        Arrangement::of(token, &suite.groups, suite.cases)?.allowed(command.host_arms.into())?;
    let arrangement = &arrangement.with_waits(token, suite.cases).map_err(Error::Host)?;
    let most = command.runs.unwrap_or_else(|| runs(token));
    let seed = &|run| token.seed.unwrap_or(run);
    let is_same = &|failure: &Failure| failure.fingerprint == token.fingerprint;
    let verb = "Repeating";
    Repetition { arrangement, most, at_once: AT_ONCE, seed, is_same, verb }.run(suite)
}

/// Number of runs after which a failure of the token's rate has shown itself.
fn runs(token: &Token) -> u32 {
    let (failed, runs) = token.rate;
    let rate = (f64::from(failed) / f64::from(runs.max(1))).clamp(0.001, 0.9) / 2.0;
    let needed = MISSED.ln() / (1.0 - rate).ln();
    (needed.ceil() as u32).min(MOST)
}
