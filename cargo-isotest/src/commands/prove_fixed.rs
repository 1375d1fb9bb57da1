//! `cargo isotest prove-fixed`: as many clean runs as the old rate asks for.

use isotest_core::diagnosis::proof;
use isotest_core::signals::Signals;

use crate::cli::{ProveFixedCommand, ReportFormat};
use crate::commands::kept_diagnoses::latest_token;
use crate::commands::repetition::Repetition;
use crate::commands::suite::{Suite, with_suite};
use crate::config::machine::Machine;
use crate::diagnose::{Arrangement, CONFIDENCE, Token};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, ProvedFixed};

/// Runs that are made at a time.
const AT_ONCE: u32 = 8;
/// Minimum number of runs: a cause may be gone by chance.
const FEWEST: u32 = 10;

/// Makes runs until one fails, or there are enough. The exit code is 0 only if all passed.
pub fn prove_fixed(command: &ProveFixedCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let token = command.token.as_deref().map(Token::read).transpose()?;
    let proved = with_suite(&command.suite, machine, |suite| proved(command, token, &suite))?;
    let printed = match command.format {
        ReportFormat::Human => report::proved_fixed_for_people(&proved),
        ReportFormat::Json => report::proved_fixed_for_programs(&proved),
    };
    printed.map_err(Error::Report)?;
    Ok(match Signals::asked() {
        _ if proved.failed() > 0 => ExitCode::TestsFailed,
        Some(signal) => ExitCode::Signal(signal),
        None => ExitCode::Passed,
    })
}

fn proved(
    command: &ProveFixedCommand,
    token: Option<Token>,
    suite: &Suite<'_>,
) -> Result<ProvedFixed, Error> {
    let (test, policy, others) = suite.find(&command.case)?;
    // A rate alone is enough.
    let token = match (token, command.rate) {
        (None, None) => Some(latest_token(suite, test.index)?),
        (token, _) => token,
    };
    let arrangement = match &token {
        Some(token) => Arrangement::under(token, test, policy, &others, suite.cases)?
            .allowed(command.host_arms.into())?,
        None => Arrangement::alone(test, policy),
    };
    let of_token = token.as_ref().map(rate_of);
    let rate = command.rate.map(|rate| rate.get()).or(of_token).expect("there is one of them");
    let needed = proof::runs_needed(rate, CONFIDENCE).unwrap_or(u32::MAX).max(FEWEST);
    // The seed with which it failed, and others: a fix must not only move the failure.
    let seed = &|run| match token.as_ref().and_then(|token| token.seed) {
        Some(seed) if run % 2 == 0 => seed,
        _ => run,
    };
    let repetition = Repetition {
        arrangement: &arrangement,
        most: needed,
        at_once: AT_ONCE,
        seed,
        is_same: &|_| true,
        verb: "Proving",
    };
    let repeated = repetition.run(suite)?;
    let is_of_test = |token: &Token| {
        (&token.binary, &token.test) == (&repeated.binary, &repeated.test)
            && !repeated.is_other_build
    };
    Ok(ProvedFixed {
        needed,
        rate,
        bound: proof::bound(repeated.runs, CONFIDENCE),
        confidence: CONFIDENCE,
        words: arrangement.words(),
        is_unchanged: token.as_ref().is_some_and(is_of_test),
        repeated,
    })
}

/// The rate of a token, at its lowest: half of what was seen.
fn rate_of(token: &Token) -> f64 {
    let (failed, runs) = token.rate;
    (f64::from(failed) / f64::from(runs.max(1)) / 2.0).clamp(0.001, 0.9)
}
