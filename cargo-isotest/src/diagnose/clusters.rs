//! Clusters: candidates that fail for one reason. Pure.
//!
//! Tests that fail at the same place with the same words, and tests that fail in the same runs more often
//! than chance allows (Fisher's exact test).

use std::collections::{BTreeMap, BTreeSet};

use isotest_core::diagnosis::proof;

use super::amplifier::Amplifier;

/// The share of the rounds in which one of two tests failed that both failed in (Jaccard 1901), in
/// percent.
const SIMILAR: usize = 60;
/// Two tests of a hunt are put together by chance with this probability at the most.
const CHANCE: f64 = 0.01;

/// The clusters of some candidates, each sorted; in the order of their first members. `places` has the
/// fingerprint of each candidate whose failure has a place.
pub fn clusters(
    candidates: &[usize],
    places: &BTreeMap<usize, u64>,
    rounds: &[(Amplifier, BTreeSet<usize>)],
) -> Vec<Vec<usize>> {
    let mut clusters: Vec<Vec<usize>> = Vec::new();
    let failing: Vec<Failing> = candidates.iter().map(|case| failing(*case, rounds)).collect();
    let together = Together::new(rounds, candidates.len());
    let is_one = |one: usize, other: usize| {
        let place = places.get(&candidates[one]);
        let is_same_place = place.is_some() && place == places.get(&candidates[other]);
        is_same_place || together.fail(&failing[one], &failing[other])
    };
    for place in 0..candidates.len() {
        let (mut own, rest): (Vec<_>, Vec<_>) = clusters
            .into_iter()
            .partition(|cluster: &Vec<usize>| cluster.iter().any(|other| is_one(place, *other)));
        clusters = rest;
        let mut joined: Vec<usize> = own.drain(..).flatten().collect();
        joined.push(place);
        joined.sort_unstable();
        clusters.push(joined);
    }
    clusters.sort_unstable();
    let named = |cluster: Vec<usize>| cluster.into_iter().map(|it| candidates[it]).collect();
    clusters.into_iter().map(named).collect()
}

/// The rounds in which a test failed.
type Failing = BTreeMap<Amplifier, BTreeSet<usize>>;

fn failing(case: usize, rounds: &[(Amplifier, BTreeSet<usize>)]) -> Failing {
    let mut failing = Failing::new();
    for (number, (amplifier, failed)) in rounds.iter().enumerate() {
        if failed.contains(&case) {
            failing.entry(*amplifier).or_default().insert(number);
        }
    }
    failing
}

/// Judges which tests fail together.
struct Together {
    /// Rounds of each amplifier.
    totals: BTreeMap<Amplifier, usize>,
    /// The probability that two tests are put together wrongly.
    chance: f64,
}

impl Together {
    fn new(rounds: &[(Amplifier, BTreeSet<usize>)], candidates: usize) -> Together {
        let mut totals = BTreeMap::new();
        for (amplifier, _) in rounds {
            *totals.entry(*amplifier).or_default() += 1;
        }
        // Every pair is a question of its own, under each amplifier (Bonferroni).
        let questions = candidates * candidates.saturating_sub(1) / 2 * totals.len();
        Together { totals, chance: CHANCE / (questions.max(1) as f64) }
    }

    fn fail(&self, one: &Failing, other: &Failing) -> bool {
        self.totals.iter().any(|(amplifier, total)| {
            let (Some(one), Some(other)) = (one.get(amplifier), other.get(amplifier)) else {
                return false;
            };
            let joint = one.intersection(other).count();
            joint * 100 >= SIMILAR * one.union(other).count()
                && by_chance(*total, one.len(), other.len(), joint) <= self.chance
        })
    }
}

/// The probability that two independent tests, which failed so often in all, fail together so often or
/// more often.
fn by_chance(total: usize, one: usize, other: usize, joint: usize) -> f64 {
    let [total, one, other, joint] =
        [total, one, other, joint].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    proof::by_chance(total, one, other, joint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(amplifier: Amplifier, failed: &[&[usize]]) -> Vec<(Amplifier, BTreeSet<usize>)> {
        failed.iter().map(|cases| (amplifier, cases.iter().copied().collect())).collect()
    }

    #[test]
    fn failures_of_one_place_are_one_cluster() {
        let places = BTreeMap::from([(1, 7), (4, 7), (5, 8)]);
        let found = clusters(&[1, 2, 3, 4, 5], &places, &[]);
        assert_eq!(found, [vec![1, 4], vec![2], vec![3], vec![5]]);
    }

    /// Forty rounds, of which the first are these.
    fn forty(first: &[&[usize]]) -> Vec<(Amplifier, BTreeSet<usize>)> {
        let mut all = first.to_vec();
        all.resize(40, &[]);
        rounds(Amplifier::Crowd, &all)
    }

    #[test]
    fn tests_that_fail_in_the_same_runs_are_one_cluster() {
        let rounds = forty(&[&[1, 2], &[1, 2], &[1, 2, 3], &[1, 2], &[3], &[1, 2], &[2], &[3]]);
        assert_eq!(clusters(&[1, 2, 3], &BTreeMap::new(), &rounds), [vec![1, 2], vec![3]]);
    }

    #[test]
    fn tests_that_fail_in_all_runs_of_an_amplifier_are_not() {
        let failed: [&[usize]; 40] = [&[1, 2]; 40];
        let rounds = rounds(Amplifier::Crowd, &failed);
        assert_eq!(clusters(&[1, 2], &BTreeMap::new(), &rounds), [vec![1], vec![2]]);
    }

    #[test]
    fn joint_failures_that_may_be_chance_are_not() {
        let failed: [&[usize]; 7] = [&[1, 2], &[], &[1, 2], &[1], &[1, 2], &[2], &[]];
        let rounds = rounds(Amplifier::Crowd, &failed);
        assert_eq!(clusters(&[1, 2], &BTreeMap::new(), &rounds), [vec![1], vec![2]]);
    }

    #[test]
    fn clusters_that_a_later_test_links_become_one() {
        let mut places = BTreeMap::from([(1, 7), (3, 7), (2, 9)]);
        let failed: [&[usize]; 6] = [&[2, 3]; 6];
        let rounds = forty(&failed);
        assert_eq!(clusters(&[1, 2, 3], &places, &rounds), [vec![1, 2, 3]]);
        places.remove(&1);
        assert_eq!(clusters(&[1, 2, 3], &places, &rounds), [vec![1], vec![2, 3]]);
    }
}
