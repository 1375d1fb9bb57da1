//! `cargo isotest prove-fixed`: as many clean runs as the old rate asks for.

use isotest_core::diagnosis::proof;
use isotest_core::signals::Signals;

use crate::cli::{ProveFixedCommand, ReportFormat};
use crate::commands::suite::{Suite, not_run, with_suite};
use crate::config::machine::Machine;
use crate::diagnose::{Arrangement, Bench, CONFIDENCE, Failure, Token};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, DiagnosisLine, ProvedFixed, Repeated};

/// Runs that are made at a time.
const AT_ONCE: u32 = 8;
/// Rate of failures, if nothing says which.
const RATE: f64 = 0.01;
/// Minimum number of runs: a cause may be gone by chance.
const FEWEST: u32 = 10;

/// Makes runs until one fails, or there are enough. The exit code is 0 only if all passed.
pub fn prove_fixed(command: &ProveFixedCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let token = command.token.as_deref().map(Token::read).transpose()?;
    let proved =
        with_suite(&command.suite, machine, |suite| proved(command, token.as_ref(), &suite))?;
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
    token: Option<&Token>,
    suite: &Suite<'_>,
) -> Result<ProvedFixed, Error> {
    let (test, policy, others) = suite.find(&command.case)?;
    let found = match token {
        Some(token) => Arrangement::under(token, test, policy, &others, suite.cases)?
            .allowed(command.host_arms.into())?,
        None => Arrangement::alone(test, policy),
    };
    let Suite { context, cases, .. } = suite;
    let mut bench =
        Bench::new(*context, *cases, context.machine, found.policy.clone(), found.test.clone());
    bench.set_companions(found.companions.clone(), found.companions.len());
    let rate = command.rate.map_or_else(|| token.map_or(RATE, rate_of), |rate| rate.get());
    let needed = proof::runs_needed(rate, CONFIDENCE).unwrap_or(u32::MAX).max(FEWEST);
    let mut line = DiagnosisLine::new(context.settings.report.style, &command.case);
    let (binary, name) = found.names(*cases);
    let mut repeated = Repeated::new(&binary, &name, false);
    while repeated.runs < needed && repeated.failed == 0 && Signals::asked().is_none() {
        let first = u64::from(repeated.runs);
        let count = u64::from(AT_ONCE.min(needed - repeated.runs));
        // The seed with which it failed, and others: a fix must not only move the failure.
        let seed = |run| match token.and_then(|token| token.seed) {
            Some(seed) if run % 2 == 0 => seed,
            _ => run,
        };
        let asked: Vec<_> = (0..count).map(|run| found.asked(seed(first + run))).collect();
        let ran = bench.run(&asked).map_err(Error::Host)?;
        if ran.iter().all(Option::is_none) {
            match (bench.not_run(), Signals::asked()) {
                (Some(reason), None) => return Err(not_run(reason)),
                _ => break,
            }
        }
        for outcome in ran.into_iter().flatten() {
            let failure = outcome.verdict.is_failure().then(|| Failure::of(&outcome));
            let is_failure = failure.is_some();
            repeated.take(failure.map(|it| (it.place, it.message)), is_failure);
        }
        line.show(&repeated.standing());
    }
    let bound = proof::bound(repeated.runs, CONFIDENCE);
    Ok(ProvedFixed { repeated, needed, rate, bound, confidence: CONFIDENCE, words: found.words() })
}

/// The rate of a token, at its lowest: half of what was seen.
fn rate_of(token: &Token) -> f64 {
    let (failed, runs) = token.rate;
    (f64::from(failed) / f64::from(runs.max(1)) / 2.0).clamp(0.001, 0.9)
}
