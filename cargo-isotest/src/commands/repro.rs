//! `cargo isotest repro`: makes the runs of a token again, until one fails in the same way.

use isotest_core::signals::Signals;

use crate::cli::ReproCommand;
use crate::commands::suite::{Suite, not_run, with_suite};
use crate::config::machine::Machine;
use crate::diagnose::{Arrangement, Bench, Failure, Token};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, DiagnosisLine, Repeated};

/// Runs that are made at a time.
const AT_ONCE: u32 = 4;
/// A failure of the rate of the token is missed with this probability at the most.
const MISSED: f64 = 0.001;
/// Maximum number of runs, unless another one is given.
const MOST: u32 = 2000;

/// Reproduces a failure. The exit code is 0 only if it did.
pub fn repro(command: &ReproCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let token = Token::read(&command.token)?;
    let repeated = with_suite(&command.suite, machine, |suite| repeat(command, &token, &suite))?;
    report::reproduced(&repeated).map_err(Error::Report)?;
    Ok(match (repeated.failed > 0, Signals::asked()) {
        (true, _) => ExitCode::Passed,
        (false, Some(signal)) => ExitCode::Signal(signal),
        (false, None) => ExitCode::TestsFailed,
    })
}

fn repeat(command: &ReproCommand, token: &Token, suite: &Suite<'_>) -> Result<Repeated, Error> {
    let found =
        Arrangement::of(token, &suite.groups, suite.cases)?.allowed(command.host_arms.into())?;
    let Suite { context, cases, .. } = suite;
    let (test, policy) = (found.test.clone(), found.policy.clone());
    let mut bench = Bench::new(*context, *cases, context.machine, policy, test.clone());
    bench.set_companions(found.companions.clone(), found.companions.len());
    let is_other_build = found.is_other_build(*cases).map_err(Error::Host)?;
    let most = command.runs.unwrap_or_else(|| runs(token));
    let mut line = DiagnosisLine::new(context.settings.report.style, &token.test);
    let mut repeated = Repeated::new(&token.binary, &token.test, is_other_build);
    while repeated.runs < most && repeated.failed == 0 && Signals::asked().is_none() {
        let first = u64::from(repeated.runs);
        let count = AT_ONCE.min(most - repeated.runs);
        let asked: Vec<_> = (0..u64::from(count))
            .map(|run| found.asked(token.seed.unwrap_or(first + run)))
            .collect();
        let ran = bench.run(&asked).map_err(Error::Host)?;
        if ran.iter().all(Option::is_none) {
            return match (bench.not_run(), Signals::asked()) {
                (Some(reason), None) => Err(not_run(reason)),
                _ => Ok(repeated),
            };
        }
        for outcome in ran.into_iter().flatten() {
            let failure = outcome.verdict.is_failure().then(|| Failure::of(&outcome));
            let is_same = failure.as_ref().is_some_and(|it| it.fingerprint == token.fingerprint);
            repeated.take(failure.map(|it| (it.place, it.message)), is_same);
        }
        line.show(&repeated.standing());
    }
    Ok(repeated)
}

/// Number of runs after which a failure of the token's rate has shown itself.
fn runs(token: &Token) -> u32 {
    let (failed, runs) = token.rate;
    let rate = (f64::from(failed) / f64::from(runs.max(1))).clamp(0.001, 0.9) / 2.0;
    let needed = MISSED.ln() / (1.0 - rate).ln();
    (needed.ceil() as u32).min(MOST)
}
