//! Waits that decide a race: of the calls that waited in a failing run with starved threads, the smallest set
//! that was found with which the test fails in most runs.

use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use isotest_core::diagnosis::Minimise;
use isotest_core::outcome::Outcome;
use isotest_core::perturbation::Hold;

use super::bench::Bench;
use super::fingerprint::Failure;
use super::ground::Asked;

/// Runs of each set, and how many of them fail with a set that is enough.
const RUNS: u64 = 6;
const ENOUGH: usize = 4;
/// Maximum number of sets that are tried, of waits of a run, and of those that decide.
const SETS: u64 = 60;
const LONGEST: usize = 1000;
const MOST: usize = 32;

/// Calls whose waiting makes a test fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidingWaits {
    /// The calls, in the order in which they waited.
    pub holds: Vec<Hold>,
    /// Runs that failed with nothing else changed, and all of these.
    pub rate: (u32, u32),
}

/// The deciding waits among those of a run that failed; `None` if the same waits do not make the test fail
/// again, or if too many are left when the time is up.
pub fn deciding(
    bench: &mut Bench<'_>,
    holds: &[Hold],
    fingerprint: u64,
    end: Instant,
) -> io::Result<Option<DecidingWaits>> {
    let whole: BTreeSet<usize> = (0..holds.len()).collect();
    let of = |set: &BTreeSet<usize>| set.iter().map(|it| holds[*it].clone()).collect::<Vec<Hold>>();
    let mut failed = |set: &BTreeSet<usize>, tried: u64| -> io::Result<usize> {
        // Its call chains are for the reader.
        let holds: Vec<Hold> = of(set).iter().map(Hold::without_place).collect();
        let seeds = tried * RUNS..(tried + 1) * RUNS;
        let asked = seeds.map(|seed| Asked { holds: holds.clone(), ..Asked::alone(seed) });
        let ran = bench.run(&asked.collect::<Vec<_>>())?;
        let is_same =
            |it: &&Outcome| it.verdict.is_failure() && Failure::of(it).fingerprint == fingerprint;
        Ok(ran.iter().flatten().filter(is_same).count())
    };
    if holds.len() > LONGEST {
        return Ok(None);
    }
    let mut count = failed(&whole, 0)?;
    if count < ENOUGH {
        return Ok(None);
    }
    let mut sets = Minimise::new(&whole);
    for tried in 1..SETS {
        let Some(set) = sets.next().filter(|_| Instant::now() < end) else { break };
        let seen = failed(&set, tried)?;
        sets.tell(seen >= ENOUGH);
        if seen >= ENOUGH {
            count = seen;
        }
    }
    let holds = of(&sets.result());
    let rate = (count as u32, RUNS as u32);
    Ok((holds.len() <= MOST).then_some(DecidingWaits { holds, rate }))
}
