//! Waits that decide a race: of the calls that waited in a failing run with starved threads, the smallest set
//! that was found with which the test fails in most runs.

use std::io;
use std::iter;
use std::time::Instant;

use isotest_core::outcome::Outcome;
use isotest_core::perturbation::Hold;

use super::bench::Bench;
use super::fingerprint::Failure;
use super::ground::Asked;

/// Runs of each set, and how many of them fail with a set that is enough.
const RUNS: usize = 6;
const ENOUGH: usize = 4;
/// Maximum number of sets that are tried.
const SETS: usize = 60;

/// Calls whose waiting makes a test fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidingWaits {
    /// The calls, in the order in which they waited.
    pub holds: Vec<Hold>,
    /// Runs that failed with nothing else changed, and all of these.
    pub rate: (u32, u32),
}

/// The deciding waits among those of a run that failed; `None` if the same waits do not make the test fail
/// again.
pub fn deciding(
    bench: &mut Bench<'_>,
    holds: &[Hold],
    fingerprint: u64,
    end: Instant,
) -> io::Result<Option<DecidingWaits>> {
    let mut seeds = 0..;
    let mut tried = 0;
    let mut rate = (0, 0);
    let mut fail = |sets: &[Vec<Hold>]| -> io::Result<Vec<bool>> {
        tried += sets.len();
        if tried > SETS || Instant::now() >= end {
            return Ok(vec![false; sets.len()]);
        }
        let each = sets.iter().flat_map(|holds| iter::repeat_n(holds, RUNS));
        let asked = each.zip(&mut seeds);
        let asked = asked.map(|(holds, seed)| Asked { holds: holds.clone(), ..Asked::alone(seed) });
        let ran = bench.run(&asked.collect::<Vec<_>>())?;
        let failed = |run: &&Option<Outcome>| {
            run.as_ref().is_some_and(|it| {
                it.verdict.is_failure() && Failure::of(it).fingerprint == fingerprint
            })
        };
        let counts = ran.chunks(RUNS).map(|runs| runs.iter().filter(failed).count());
        let counts: Vec<usize> = counts.collect();
        if let Some(count) = counts.iter().find(|count| **count >= ENOUGH) {
            rate = (*count as u32, RUNS as u32);
        }
        Ok(counts.into_iter().map(|count| count >= ENOUGH).collect())
    };
    if !fail(&[holds.to_vec()])?[0] {
        return Ok(None);
    }
    let holds = smallest(holds, &mut fail)?;
    Ok(Some(DecidingWaits { holds, rate }))
}

/// Delta debugging: the whole has the effect; the result has it too, and is small. Of several sets at a time
/// `has_effect` says which have it.
fn smallest<T: Clone, E>(
    whole: &[T],
    has_effect: &mut impl FnMut(&[Vec<T>]) -> Result<Vec<bool>, E>,
) -> Result<Vec<T>, E> {
    let mut set = whole.to_vec();
    let mut parts = 2;
    while set.len() > 1 {
        let size = set.len().div_ceil(parts);
        let chunks: Vec<Vec<T>> = set.chunks(size).map(<[T]>::to_vec).collect();
        let without = |at: usize| {
            let others = chunks.iter().enumerate().filter(|(number, _)| *number != at);
            others.flat_map(|(_, chunk)| chunk.clone()).collect::<Vec<T>>()
        };
        let found = |is_enough: Vec<bool>| is_enough.into_iter().position(|it| it);
        if let Some(at) = found(has_effect(&chunks)?) {
            set = chunks[at].clone();
            parts = 2;
            continue;
        }
        // Of two parts the others are the other part.
        let rests: Vec<Vec<T>> = match chunks.len() {
            0..=2 => Vec::new(),
            count => (0..count).map(without).collect(),
        };
        let rest = if rests.is_empty() { None } else { found(has_effect(&rests)?) };
        match rest {
            Some(at) => {
                set = rests[at].clone();
                parts = (parts - 1).max(2);
            }
            None if parts >= set.len() => break,
            None => parts = (2 * parts).min(set.len()),
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn found(count: u32, needed: &[u32]) -> Vec<u32> {
        let mut has_effect = |sets: &[Vec<u32>]| -> Result<Vec<bool>, Infallible> {
            let has = |set: &Vec<u32>| needed.iter().all(|it| set.contains(it));
            Ok(sets.iter().map(has).collect())
        };
        let whole: Vec<u32> = (0..count).collect();
        smallest(&whole, &mut has_effect).expect("it cannot fail")
    }

    #[test]
    fn the_smallest_set_with_the_effect_is_found() {
        assert_eq!(found(1, &[0]), [0]);
        assert_eq!(found(40, &[17]), [17]);
        assert_eq!(found(40, &[3, 38]), [3, 38]);
        assert_eq!(found(7, &[0, 3, 6]), [0, 3, 6]);
    }
}
