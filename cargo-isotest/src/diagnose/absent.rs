//! Absent things: what a test that always fails looked for in vain, and passes with.

use std::io;
use std::path::Path;

use isotest_core::trace::Trace;

use super::bench::Bench;
use super::ground::Asked;
use crate::report::{CauseCode, Rate};
use crate::run::evidence::{Given, evidence};
use crate::run::variants::{Change, Variant};

/// Number of runs with what was absent.
const RUNS: u64 = 7;

/// What a test needs and does not have.
#[derive(Debug, Clone, PartialEq)]
pub struct Absent {
    /// The meaning.
    pub code: CauseCode,
    /// The things, as text.
    pub things: Vec<String>,
    /// The flags that give them.
    pub flag: String,
    /// The runs with them, none of which failed.
    pub clean: Rate,
}

/// What of this machine the test looked for in vain, if it passes with it each time.
pub fn absent(bench: &mut Bench<'_>, trace: &Trace) -> io::Result<Option<Absent>> {
    let Some(outside) = bench.machine_outside() else { return Ok(None) };
    let needs = evidence(trace, &outside).needs;
    let given = needs.iter().filter(|need| need.given == Given::Unasked);
    let changes: std::collections::BTreeSet<Change> =
        given.clone().map(|need| need.change.clone()).collect();
    if changes.is_empty() {
        return Ok(None);
    }
    let variant = Variant::of(bench.policy(), &changes);
    let asked: Vec<Asked> = (0..RUNS).map(Asked::alone).collect();
    let outcomes = bench.run_under(variant.policy, &asked)?;
    let runs = outcomes.iter().flatten().count() as u32;
    let failed = outcomes.iter().flatten().filter(|it| it.verdict.is_failure()).count() as u32;
    if u64::from(runs) < RUNS || failed > 0 {
        return Ok(None);
    }
    let things: Vec<String> = given.map(|need| need.what.clone()).collect();
    let home = bench.home();
    let is_below_home = |thing: &String| {
        let path = thing.trim_matches('`');
        path.starts_with('~')
            || home.as_deref().is_some_and(|home| Path::new(path).starts_with(home))
    };
    let code = match things.iter().any(is_below_home) {
        true => CauseCode::ReadsHome,
        false => CauseCode::ReadsUndeclared,
    };
    let high = isotest_core::diagnosis::proof::bound(runs, 0.975);
    let clean = Rate { failed, other: 0, runs, low: 0.0, high };
    Ok(Some(Absent { code, things, flag: variant.remedy.flag, clean }))
}
