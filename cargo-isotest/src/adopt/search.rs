//! The search for the smallest set of grants with which one test passes: asked which to try, told
//! whether the test passed with them. Pure, so that all ways through it can be tested.
//!
//! It must fail with none, before the search and after it: a flaky test would pass with any by chance.
//! Each grant alone comes first, the smallest first: a test that passes with one needs no other.
//! Then all together; where it passes, one is taken away at a time, the largest first, until none can
//! be. What is found must pass once more.

use super::grant::Grant;

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It passes with these, and with none of them less.
    Grants(Vec<Grant>),
    /// It has passed with these once, and then not.
    Unsteady(Vec<Grant>),
    /// It has passed with none.
    Flaky,
    /// It fails whatever it is given.
    Nothing,
}

/// The search for one test.
#[derive(Debug, Clone)]
pub struct Search {
    /// Sorted, the smallest first.
    candidates: Vec<Grant>,
    /// Grants that it has needed before.
    known: Option<Vec<Grant>>,
    step: Step,
}

/// What is tried next.
#[derive(Debug, Clone)]
enum Step {
    /// None.
    Unchanged,
    /// Grants that it has needed before.
    Known(Vec<Grant>),
    /// The candidate at this place alone.
    One(usize),
    /// Candidates that can stand together; those at other places of the list come later.
    Many(Vec<Vec<Grant>>),
    /// These without the one at this place; whether one was taken away since all were tried.
    Less { kept: Vec<Grant>, without: usize, changed: bool },
    /// These once more.
    Again(Vec<Grant>),
    /// None once more; these were found.
    Without(Vec<Grant>),
    /// Nothing.
    Done(Found),
}

impl Search {
    /// Among these candidates. `known` are the grants that it has needed before, if any.
    pub fn new(mut candidates: Vec<Grant>, known: Option<Vec<Grant>>) -> Search {
        candidates.sort();
        candidates.dedup();
        Search { candidates, known, step: Step::Unchanged }
    }

    /// The grants to try; none at the end.
    pub fn next(&self) -> Option<Vec<Grant>> {
        match &self.step {
            Step::Unchanged | Step::Without(_) => Some(Vec::new()),
            Step::Known(grants) | Step::Again(grants) => Some(grants.clone()),
            Step::One(place) => Some(vec![self.candidates[*place].clone()]),
            Step::Many(sets) => sets.first().cloned(),
            Step::Less { kept, without, .. } => Some(less(kept, *without)),
            Step::Done(_) => None,
        }
    }

    /// Takes whether the test has passed with them.
    pub fn tell(&mut self, passed: bool) {
        let step = std::mem::replace(&mut self.step, Step::Done(Found::Nothing));
        self.step = match (step, passed) {
            (Step::Unchanged | Step::Without(_), true) => Step::Done(Found::Flaky),
            (Step::Unchanged, false) => match self.known.take() {
                Some(known) => Step::Known(known),
                None => self.one(0),
            },
            (Step::Without(grants), false) => Step::Done(Found::Grants(grants)),
            (Step::Known(grants), true) => reduce(grants),
            (Step::Known(_), false) => self.one(0),
            (Step::One(place), true) => Step::Again(vec![self.candidates[place].clone()]),
            (Step::One(place), false) => self.one(place + 1),
            (Step::Many(sets), true) => reduce(sets.into_iter().next().unwrap_or_default()),
            (Step::Many(sets), false) => many(sets.into_iter().skip(1).collect()),
            (Step::Less { kept, without, .. }, true) => go_on(less(&kept, without), without, true),
            (Step::Less { kept, without, changed }, false) => go_on(kept, without, changed),
            (Step::Again(grants), true) => Step::Without(grants),
            (Step::Again(grants), false) => Step::Done(Found::Unsteady(grants)),
            (Step::Done(found), _) => Step::Done(found),
        };
    }

    /// What was found, at the end.
    pub fn found(self) -> Found {
        match self.step {
            Step::Done(found) => found,
            Step::Unchanged
            | Step::Known(_)
            | Step::One(_)
            | Step::Many(_)
            | Step::Less { .. }
            | Step::Again(_)
            | Step::Without(_) => Found::Nothing,
        }
    }

    fn one(&self, place: usize) -> Step {
        if place < self.candidates.len() {
            return Step::One(place);
        }
        many(self.together())
    }

    /// The largest sets of candidates that do not exclude each other.
    fn together(&self) -> Vec<Vec<Grant>> {
        let mut sets = Vec::new();
        split(self.candidates.clone(), &mut sets);
        sets.retain(|set| set.len() > 1);
        sets
    }
}

/// Splits a set at two that exclude each other: each of the parts has one of them.
fn split(set: Vec<Grant>, sets: &mut Vec<Vec<Grant>>) {
    let pair = set.iter().enumerate().find_map(|(place, one)| {
        let other = set.iter().skip(place + 1).position(|other| one.excludes(other))?;
        Some((place, place + 1 + other))
    });
    match pair {
        Some((one, other)) => {
            split(less(&set, one), sets);
            split(less(&set, other), sets);
        }
        None => {
            let holds = |all: &[Grant], few: &[Grant]| few.iter().all(|it| all.contains(it));
            if !sets.iter().any(|known| holds(known, &set)) {
                sets.retain(|known| !holds(&set, known));
                sets.push(set);
            }
        }
    }
}

fn many(sets: Vec<Vec<Grant>>) -> Step {
    match sets.is_empty() {
        true => Step::Done(Found::Nothing),
        false => Step::Many(sets),
    }
}

/// All but the one at this place.
fn less(grants: &[Grant], without: usize) -> Vec<Grant> {
    let (before, after) = (grants.iter().take(without), grants.iter().skip(without + 1));
    before.chain(after).cloned().collect()
}

/// Starts to take grants away, the largest first. It has failed with none.
fn reduce(grants: Vec<Grant>) -> Step {
    match grants.len() {
        0 => Step::Done(Found::Nothing),
        1 => Step::Again(grants),
        count => Step::Less { kept: grants, without: count - 1, changed: false },
    }
}

/// The step after the one at `without` was tried: the next smaller one, and from the start again
/// after a change.
fn go_on(kept: Vec<Grant>, without: usize, changed: bool) -> Step {
    match (kept.len(), without, changed) {
        (1, ..) | (_, 0, false) => Step::Again(kept),
        (count, 0, true) => Step::Less { kept, without: count - 1, changed: false },
        (_, place, changed) => Step::Less { kept, without: place - 1, changed },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use isotest_core::policy::Policy;

    use super::*;

    fn all() -> Vec<Grant> {
        let mut grants = Grant::layers(&Policy::default());
        grants.extend(["A", "B", "C"].map(Grant::variable));
        grants.sort();
        grants
    }

    /// What is found, and how many runs that took.
    fn found(
        known: Option<Vec<Grant>>,
        passes: impl Fn(&[Grant], usize) -> bool,
    ) -> (Found, usize) {
        let mut search = Search::new(all(), known);
        let mut runs = 0;
        while let Some(grants) = search.next() {
            runs += 1;
            assert!(runs < 500, "it comes to no end");
            search.tell(passes(&grants, runs));
        }
        (search.found(), runs)
    }

    fn needs(wanted: &[Grant]) -> impl Fn(&[Grant], usize) -> bool {
        move |given, _| wanted.iter().all(|grant| given.contains(grant))
    }

    #[test]
    fn every_set_of_grants_that_can_stand_together_is_found_and_no_larger_one() {
        let all = all();
        for one in &all {
            assert_eq!(
                found(None, needs(std::slice::from_ref(one))).0,
                Found::Grants(vec![one.clone()])
            );
            for two in all.iter().filter(|two| one < two && !one.excludes(two)) {
                let both = vec![one.clone(), two.clone()];
                assert_eq!(found(None, needs(&both)).0, Found::Grants(both));
            }
        }
        let three: Vec<Grant> =
            all.iter().filter(|it| ["pass-env"].contains(&it.key)).cloned().collect();
        assert_eq!(found(None, needs(&three)).0, Found::Grants(three));
    }

    #[test]
    fn of_two_grants_that_both_help_the_smaller_is_found() {
        let all = all();
        let (small, large) = (all[1].clone(), all[all.len() - 1].clone());
        let either = |given: &[Grant], _| given.contains(&small) || given.contains(&large);
        assert_eq!(found(None, either).0, Found::Grants(vec![small.clone()]));
    }

    #[test]
    fn a_test_that_fails_whatever_it_is_given_has_none() {
        let (nothing, runs) = found(None, |_, _| false);
        assert_eq!(nothing, Found::Nothing);
        let sets = Search::new(all(), None).together();
        assert_eq!(runs, 1 + all().len() + sets.len());
        assert_eq!(sets.len(), 4, "with either guard, with the pid namespace or what excludes it");
        let covered: BTreeSet<&Grant> = sets.iter().flatten().collect();
        assert_eq!(covered.len(), all().len(), "each is tried with others");
        for set in &sets {
            assert!(!set.iter().any(|one| set.iter().any(|two| one.excludes(two))), "{set:?}");
        }
    }

    #[test]
    fn what_passes_once_by_chance_is_not_granted() {
        let (unsteady, _) = found(None, |_, run| run == 4);
        assert!(matches!(unsteady, Found::Unsteady(grants) if grants.len() == 1));
    }

    #[test]
    fn a_test_that_passes_with_none_is_flaky() {
        assert_eq!(found(None, |_, _| true), (Found::Flaky, 1));
        // With the first grant, once more, and then without it.
        assert_eq!(found(None, |_, run| run > 1), (Found::Flaky, 4));
    }

    #[test]
    fn grants_that_are_known_are_tried_first_and_made_smaller() {
        let all = all();
        let (one, two) = (all[2].clone(), all[all.len() - 1].clone());
        let known = Some(vec![one.clone(), two.clone()]);
        assert_eq!(
            found(known.clone(), needs(&[one.clone(), two.clone()])).0,
            Found::Grants(known.clone().unwrap())
        );
        assert_eq!(
            found(known.clone(), needs(std::slice::from_ref(&two))).0,
            Found::Grants(vec![two.clone()])
        );
        let known_alone = Some(vec![two.clone()]);
        assert_eq!(
            found(known_alone, needs(std::slice::from_ref(&two))),
            (Found::Grants(vec![two]), 4)
        );
        let other = all[4].clone();
        assert_eq!(found(known, needs(std::slice::from_ref(&other))).0, Found::Grants(vec![other]));
    }
}
