//! The search for the tests that must run before a test in one process to change its outcome. Pure: asked
//! for runs, told outcomes.

use std::collections::BTreeSet;

use isotest_core::diagnosis::Minimise;

/// Orders of all tests that are tried.
pub const ORDERS: u64 = 40;
/// Runs of the test alone.
const ALONE: u32 = 3;
/// Runs of the smallest set, all of which must have the effect.
const PROOF: u32 = 3;
/// Tests that are tried as cleaners, at most, and the most tests of a set for which they are.
const CLEANERS: usize = 40;
const FEW: usize = 4;

/// A run that is asked for: these tests in this order, then the test itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderRun {
    /// These run before the test, in this order where it can be had.
    Before(Vec<usize>),
    /// All tests run, in an order that follows from the seed; without one, in that of their names.
    All(Option<u64>),
}

impl OrderRun {
    /// Number of other tests; `None` for all.
    pub fn tests(&self) -> Option<usize> {
        match self {
            OrderRun::Before(before) => Some(before.len()),
            OrderRun::All(_) => None,
        }
    }
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderSeen {
    /// The tests that ran before the test, in their order.
    pub before: Vec<usize>,
    /// The test failed.
    pub failed: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderAnswer {
    /// The outcome of the test alone differs from run to run.
    FlakyAlone,
    /// The order made no difference, in so many orders. True if the test always failed.
    NoDifference(u64, bool),
    /// The same order did not have the same outcome twice.
    Unstable,
    /// These tests change the outcome.
    Found(OrderCause),
}

/// The tests that change an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderCause {
    /// The test fails after them and passes alone: they pollute. Otherwise they set something up.
    pub pollutes: bool,
    /// The tests, in an order in which they have the effect.
    pub tests: Vec<usize>,
    /// In the opposite order they have no effect.
    pub order_matters: bool,
    /// Tests that undo it, if they run in between.
    pub cleaners: Vec<usize>,
}

/// The search.
#[derive(Debug, Clone)]
pub struct OrderSearch {
    siblings: usize,
    seed: u64,
    phase: Phase,
    /// The outcome of the test alone.
    fails_alone: bool,
}

#[derive(Debug, Clone)]
enum Phase {
    Alone(u32),
    Orders(u64),
    /// An order with the effect runs once more.
    Again(u64, Vec<usize>),
    Halving(Vec<usize>, Minimise),
    Proof(Vec<usize>, u32),
    Reversed(Vec<usize>),
    Cleaners(OrderCause, Vec<usize>),
    Over(OrderAnswer),
}

impl OrderSearch {
    /// A search among so many other tests of its binary.
    pub fn new(siblings: usize, seed: u64) -> OrderSearch {
        OrderSearch { siblings, seed, phase: Phase::Alone(0), fails_alone: false }
    }

    /// The run that is made next; `None` once there is an answer.
    pub fn next(&self) -> Option<OrderRun> {
        Some(match &self.phase {
            Phase::Alone(_) => OrderRun::Before(Vec::new()),
            Phase::Orders(0) => OrderRun::All(None),
            Phase::Orders(number) => OrderRun::All(Some(self.seed.wrapping_add(*number))),
            Phase::Again(_, before) | Phase::Proof(before, _) => OrderRun::Before(before.clone()),
            Phase::Halving(order, search) => OrderRun::Before(picked(order, &search.next()?)),
            Phase::Reversed(before) => OrderRun::Before(before.iter().rev().copied().collect()),
            Phase::Cleaners(cause, left) => {
                let between = left.last()?;
                OrderRun::Before(cause.tests.iter().chain([between]).copied().collect())
            }
            Phase::Over(_) => return None,
        })
    }

    /// Takes the outcome of that run; `None` if it could not be had.
    pub fn tell(&mut self, seen: Option<OrderSeen>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over(OrderAnswer::Unstable));
        let has_effect = seen.as_ref().is_some_and(|seen| seen.failed != self.fails_alone);
        self.phase = match phase {
            Phase::Alone(runs) => self.after_alone(runs, seen),
            Phase::Orders(number) => self.after_order(number, seen.filter(|_| has_effect)),
            Phase::Again(_, before) if has_effect => halving(before),
            Phase::Again(number, _) => self.after_order(number, None),
            Phase::Halving(order, mut search) => {
                search.tell(has_effect);
                match search.next() {
                    Some(_) => Phase::Halving(order, search),
                    None => Phase::Proof(picked(&order, &search.result()), 0),
                }
            }
            Phase::Proof(..) if !has_effect => Phase::Over(OrderAnswer::Unstable),
            Phase::Proof(before, runs) if runs + 1 < PROOF => Phase::Proof(before, runs + 1),
            Phase::Proof(before, _) if before.len() > 1 => Phase::Reversed(before),
            Phase::Proof(before, _) => self.cleaners(before, false),
            Phase::Reversed(before) => self.cleaners(before, seen.is_some() && !has_effect),
            Phase::Cleaners(mut cause, mut left) => {
                let between = left.pop();
                if seen.is_some() && !has_effect {
                    cause.cleaners.extend(between);
                }
                over_or_cleaners(cause, left)
            }
            Phase::Over(answer) => Phase::Over(answer),
        };
    }

    /// The answer, once there is one.
    pub fn answer(&self) -> Option<&OrderAnswer> {
        match &self.phase {
            Phase::Over(answer) => Some(answer),
            _ => None,
        }
    }

    fn after_alone(&mut self, runs: u32, seen: Option<OrderSeen>) -> Phase {
        let Some(seen) = seen else { return Phase::Over(OrderAnswer::Unstable) };
        if runs == 0 {
            self.fails_alone = seen.failed;
        }
        match () {
            () if seen.failed != self.fails_alone => Phase::Over(OrderAnswer::FlakyAlone),
            () if runs + 1 < ALONE => Phase::Alone(runs + 1),
            () if self.siblings == 0 => Phase::Over(OrderAnswer::NoDifference(0, self.fails_alone)),
            () => Phase::Orders(0),
        }
    }

    fn after_order(&self, number: u64, effect: Option<OrderSeen>) -> Phase {
        match effect {
            Some(seen) if !seen.before.is_empty() => Phase::Again(number, seen.before),
            _ if number + 1 < ORDERS => Phase::Orders(number + 1),
            _ => Phase::Over(OrderAnswer::NoDifference(ORDERS, self.fails_alone)),
        }
    }

    fn cleaners(&self, tests: Vec<usize>, order_matters: bool) -> Phase {
        let left: Vec<usize> = match tests.len() <= FEW {
            true => (0..self.siblings).filter(|it| !tests.contains(it)).take(CLEANERS).collect(),
            false => Vec::new(),
        };
        let left = left.into_iter().rev().collect();
        let pollutes = !self.fails_alone;
        over_or_cleaners(OrderCause { pollutes, tests, order_matters, cleaners: Vec::new() }, left)
    }
}

fn halving(order: Vec<usize>) -> Phase {
    let search = Minimise::new(&(0..order.len()).collect());
    match search.next() {
        Some(_) => Phase::Halving(order, search),
        None => Phase::Proof(order, 0),
    }
}

fn over_or_cleaners(cause: OrderCause, left: Vec<usize>) -> Phase {
    match left.is_empty() {
        true => Phase::Over(OrderAnswer::Found(cause)),
        false => Phase::Cleaners(cause, left),
    }
}

/// Those of an order at these places.
fn picked(order: &[usize], places: &BTreeSet<usize>) -> Vec<usize> {
    places.iter().map(|place| order[*place]).collect()
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    /// Searches among so many tests, where this says of an order whether the test fails.
    fn search(siblings: usize, mut fails: impl FnMut(&[usize]) -> bool) -> (OrderAnswer, u32) {
        let mut search = OrderSearch::new(siblings, 9);
        let mut runs = 0;
        while let Some(run) = search.next() {
            let before = match run {
                OrderRun::Before(before) => before,
                OrderRun::All(None) => (0..siblings / 2).collect(),
                // Any order will do that differs from seed to seed.
                OrderRun::All(Some(seed)) => {
                    let mut all: Vec<usize> = (0..siblings).collect();
                    all.sort_by_cached_key(|it| {
                        let mut hasher = DefaultHasher::new();
                        (*it, seed).hash(&mut hasher);
                        hasher.finish()
                    });
                    all.truncate(seed as usize % (siblings + 1));
                    all
                }
            };
            let failed = fails(&before);
            search.tell(Some(OrderSeen { before, failed }));
            runs += 1;
            assert!(runs < 1000, "{search:?}");
        }
        (search.answer().expect("it is over").clone(), runs)
    }

    fn found(answer: OrderAnswer) -> OrderCause {
        match answer {
            OrderAnswer::Found(cause) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_polluter_is_found_among_many_with_its_cleaner() {
        // 3 leaves something behind that 7 removes.
        let fails = |before: &[usize]| {
            let last = before.iter().rfind(|it| [3, 7].contains(it));
            last == Some(&3)
        };
        let cause = found(search(20, fails).0);
        assert_eq!((cause.pollutes, cause.tests), (true, vec![3]));
        assert_eq!((cause.order_matters, cause.cleaners), (false, vec![7]));
    }

    #[test]
    fn a_test_that_fails_alone_has_state_setters() {
        let cause = found(search(12, |before| !before.contains(&5)).0);
        assert_eq!((cause.pollutes, cause.tests), (false, vec![5]));
        assert!(cause.cleaners.is_empty());
    }

    #[test]
    fn two_polluters_whose_order_matters_are_found_in_that_order() {
        let place = |before: &[usize], test| before.iter().position(|it| *it == test);
        let fails = |before: &[usize]| match (place(before, 8), place(before, 2)) {
            (Some(first), Some(second)) => first < second,
            _ => false,
        };
        let cause = found(search(12, fails).0);
        assert_eq!((cause.tests, cause.order_matters), (vec![8, 2], true));
    }

    #[test]
    fn an_order_that_makes_no_difference_is_said_to() {
        assert_eq!(search(5, |_| false).0, OrderAnswer::NoDifference(ORDERS, false));
        assert_eq!(search(5, |_| true).0, OrderAnswer::NoDifference(ORDERS, true));
        let (answer, runs) = search(0, |_| false);
        assert_eq!((answer, runs), (OrderAnswer::NoDifference(0, false), ALONE));
    }

    #[test]
    fn what_differs_without_a_cause_is_none() {
        let mut runs = 0;
        let mut nth = |number| {
            runs += 1;
            runs == number
        };
        assert_eq!(search(6, |_| nth(2)).0, OrderAnswer::FlakyAlone);
        // One failure that does not come again is no effect.
        runs = 0;
        let mut nth = |number| {
            runs += 1;
            runs == number
        };
        assert_eq!(search(6, |_| nth(9)).0, OrderAnswer::NoDifference(ORDERS, false));
    }

    #[test]
    fn runs_that_cannot_be_had_end_the_search_or_have_no_effect() {
        let mut search = OrderSearch::new(3, 1);
        search.tell(None);
        assert_eq!(search.answer(), Some(&OrderAnswer::Unstable));
        let mut search = OrderSearch::new(3, 1);
        (0..ALONE).for_each(|_| search.tell(Some(OrderSeen { before: vec![], failed: false })));
        (0..ORDERS).for_each(|_| search.tell(None));
        assert_eq!(search.answer(), Some(&OrderAnswer::NoDifference(ORDERS, false)));
    }
}
