//! The queue: which case is started next, and whether there is room for it.
//!
//! Cases are started in their order, with two exceptions: one whose group is full lets those behind
//! it pass, and a retry goes before the rest. Nothing passes a case that weighs more than is free:
//! what is in flight ends, and then there is room.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::job::{Claim, Job, TestGroup};
use super::rounds::{Repeat, Rounds};

/// Maximum of cases in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    /// Number of cases, where each weighs one: at least 1.
    pub jobs: usize,
    /// Number of additional cases, where each weighs one.
    pub spare: usize,
}

impl Capacity {
    /// True if a case can be started besides those in flight.
    fn has(self, claim: Claim, in_flight: impl Iterator<Item = Claim> + Clone) -> bool {
        let is_heavy = in_flight.clone().chain([claim]).any(|claim| claim.threads > 1);
        let most = if is_heavy { self.jobs } else { self.jobs + self.spare };
        weight(in_flight, self.jobs) + claim.threads.min(self.jobs) <= most
    }
}

/// True if the case's group has no room for it besides those in flight.
fn is_full(claim: Claim, in_flight: impl Iterator<Item = Claim>) -> bool {
    claim.group.is_some_and(|TestGroup { number, max_threads }| {
        let is_member = |claim: &Claim| claim.group.is_some_and(|group| group.number == number);
        let taken = weight(in_flight.filter(is_member), max_threads);
        taken + claim.threads.min(max_threads) > max_threads
    })
}

/// Weight of cases together where none weighs more than `most`.
fn weight(claims: impl Iterator<Item = Claim>, most: usize) -> usize {
    claims.map(|claim| claim.threads.min(most)).sum()
}

/// Takes the first one out, where this holds for it.
fn pop_if(jobs: &mut VecDeque<Job>, holds: impl FnOnce(&Job) -> bool) -> Option<Job> {
    if jobs.front().is_some_and(holds) { jobs.pop_front() } else { None }
}

/// Jobs that were not started.
pub(super) struct Queue {
    waiting: VecDeque<Job>,
    /// By group: those whose turn has come while it was full.
    held: BTreeMap<usize, VecDeque<Job>>,
    rounds: Rounds,
}

impl Queue {
    /// All jobs, in their order, so often.
    pub fn new(jobs: Vec<Job>, repeat: Repeat) -> Queue {
        let rounds = Rounds::after_first(&jobs, repeat);
        Queue { waiting: jobs.into(), held: BTreeMap::new(), rounds }
    }

    /// The next case to start; `None` where there is none, or no room for it besides those in
    /// flight. With none in flight there is room for each.
    pub fn next(
        &mut self,
        room: Capacity,
        in_flight: impl Iterator<Item = Claim> + Clone,
    ) -> Option<Job> {
        let is_full = |job: &Job| is_full(job.claim, in_flight.clone());
        let has_room = |job: &Job| room.has(job.claim, in_flight.clone());
        let free = |held: &VecDeque<Job>| held.front().is_some_and(|job| !is_full(job));
        if let Some(held) = self.held.values_mut().find(|held| free(held)) {
            return pop_if(held, has_room);
        }
        self.refill();
        while let Some(full) = pop_if(&mut self.waiting, is_full) {
            let group = full.claim.group.map_or(0, |group| group.number);
            self.held.entry(group).or_default().push_back(full);
        }
        pop_if(&mut self.waiting, has_room)
    }

    /// The next round, where this one is used up.
    fn refill(&mut self) {
        if self.waiting.is_empty() && self.held.values().all(VecDeque::is_empty) {
            self.waiting = self.rounds.next().into();
        }
    }

    /// Takes a case that is retried: it comes next.
    pub fn again(&mut self, job: Job) {
        self.waiting.push_front(job);
    }

    /// Lets the time of all rounds end so much later.
    pub fn postpone(&mut self, stopped: Duration) {
        self.rounds.postpone(stopped);
    }

    /// There are no more rounds.
    pub fn end_rounds(&mut self) {
        self.rounds.end();
    }

    /// Takes out all; there are no more rounds.
    pub fn drain(&mut self) -> Vec<Job> {
        self.rounds.end();
        let held = std::mem::take(&mut self.held).into_values().flatten();
        held.chain(self.waiting.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use super::*;
    use crate::case::CaseIndex;

    use crate::plan::{Plan, SandboxSpec};

    const ROOM: Capacity = Capacity { jobs: 4, spare: 0 };

    fn heavy(threads: usize) -> Claim {
        Claim { threads, group: None }
    }

    fn grouped(number: usize, max_threads: usize) -> Claim {
        Claim { threads: 1, group: Some(TestGroup { number, max_threads }) }
    }

    const LIGHT: Claim = Claim { threads: 1, group: None };

    /// A queue, and what of it is in flight.
    struct Run {
        queue: Queue,
        flights: Vec<(usize, Claim)>,
    }

    impl Run {
        fn repeated(claims: &[Claim], repeat: Repeat) -> Run {
            let jobs = claims.iter().enumerate().map(|(case, claim)| Job {
                claim: *claim,
                ..Job::once(
                    CaseIndex { binary: 0, case },
                    Plan::of(Arc::new(SandboxSpec::default())),
                )
            });
            Run { queue: Queue::new(jobs.collect(), repeat), flights: Vec::new() }
        }

        fn of(claims: &[Claim]) -> Run {
            Run::repeated(claims, Repeat::Once)
        }

        /// Starts what there is room for: the cases.
        fn start(&mut self, room: Capacity) -> Vec<usize> {
            let mut started = Vec::new();
            while let Some(job) =
                self.queue.next(room, self.flights.iter().map(|(_, claim)| *claim))
            {
                started.push(job.index.case);
                self.flights.push((job.index.case, job.claim));
            }
            started
        }

        /// Ends a case and starts what there is room for then.
        fn end(&mut self, case: usize, room: Capacity) -> Vec<usize> {
            let known = self.flights.iter().position(|(known, _)| *known == case);
            self.flights.remove(known.expect("it is in flight"));
            self.start(room)
        }
    }

    #[test]
    fn light_cases_fill_the_room_and_what_is_spare() {
        let mut run = Run::of(&[LIGHT; 9]);
        assert_eq!(run.start(ROOM), [0, 1, 2, 3]);
        assert_eq!(run.start(Capacity { jobs: 4, spare: 2 }), [4, 5]);
        assert_eq!(run.end(0, ROOM), []);
        assert_eq!(run.end(1, ROOM), []);
        assert_eq!(run.end(2, ROOM), [6]);
    }

    #[test]
    fn a_heavy_case_takes_the_room_of_several() {
        let mut run = Run::of(&[heavy(3), LIGHT, LIGHT, LIGHT]);
        assert_eq!(run.start(ROOM), [0, 1]);
        assert_eq!(run.end(0, ROOM), [2, 3]);
    }

    #[test]
    fn a_case_that_is_heavier_than_the_whole_runs_alone() {
        let mut run = Run::of(&[LIGHT, heavy(99), LIGHT]);
        assert_eq!(run.start(ROOM), [0]);
        assert_eq!(run.end(0, ROOM), [1]);
        assert_eq!(run.end(1, ROOM), [2]);
    }

    #[test]
    fn nothing_passes_a_heavy_case_that_waits() {
        let mut run = Run::of(&[LIGHT, LIGHT, heavy(4), LIGHT, LIGHT]);
        assert_eq!(run.start(ROOM), [0, 1]);
        assert_eq!(run.end(0, ROOM), []);
        assert_eq!(run.end(1, ROOM), [2]);
        assert_eq!(run.end(2, ROOM), [3, 4]);
    }

    #[test]
    fn what_is_spare_is_not_for_heavy_cases_nor_for_those_beside_them() {
        let room = Capacity { jobs: 4, spare: 6 };
        let mut run = Run::of(&[LIGHT, LIGHT, LIGHT, heavy(2), LIGHT, LIGHT, LIGHT]);
        assert_eq!(run.start(room), [0, 1, 2]);
        assert_eq!(run.end(0, room), [3]);
        assert_eq!(run.end(1, room), [4]);
        assert_eq!(run.end(3, room), [5, 6]);
    }

    #[test]
    fn those_behind_pass_a_case_whose_group_is_full() {
        let (a, b) = (grouped(0, 1), grouped(1, 2));
        let mut run = Run::of(&[a, a, a, b, b, b, LIGHT]);
        assert_eq!(run.start(Capacity { jobs: 9, spare: 0 }), [0, 3, 4, 6]);
        assert_eq!(run.end(3, ROOM), [5]);
        assert_eq!(run.end(0, ROOM), [1]);
        assert_eq!(run.end(1, ROOM), [2]);
    }

    #[test]
    fn who_waits_for_a_group_goes_before_those_that_passed() {
        let a = grouped(0, 1);
        let mut run = Run::of(&[a, a, LIGHT, LIGHT]);
        let room = Capacity { jobs: 2, spare: 0 };
        assert_eq!(run.start(room), [0, 2]);
        assert_eq!(run.end(0, room), [1]);
        assert_eq!(run.end(1, room), [3]);
    }

    #[test]
    fn a_heavy_case_takes_the_room_of_several_in_its_group_too() {
        let group = Some(TestGroup { number: 0, max_threads: 3 });
        let (one, two, many) =
            (grouped(0, 3), Claim { threads: 2, group }, Claim { threads: 9, group });
        let room = Capacity { jobs: 8, spare: 0 };
        let mut run = Run::of(&[two, two, one]);
        assert_eq!(run.start(room), [0, 2]);
        assert_eq!(run.end(0, room), [1]);
        let mut run = Run::of(&[one, many]);
        assert_eq!(run.start(room), [0]);
        assert_eq!(run.end(0, room), [1]);
    }

    #[test]
    fn a_round_is_used_up_before_the_next_one() {
        let twice = Repeat::Times(NonZeroU32::new(2).expect("it is 2"));
        let mut run = Run::repeated(&[grouped(0, 1), grouped(0, 1), LIGHT], twice);
        assert_eq!(run.start(ROOM), [0, 2]);
        assert_eq!(run.end(2, ROOM), []);
        assert_eq!(run.end(0, ROOM), [1, 2]);
        assert_eq!(run.end(1, ROOM), [0]);
        assert_eq!(run.queue.drain().len(), 1);
        assert_eq!(run.end(0, ROOM), []);
    }

    #[test]
    fn a_retry_comes_next() {
        let mut run = Run::of(&[LIGHT, LIGHT, LIGHT]);
        let room = Capacity { jobs: 1, spare: 0 };
        let first = run.queue.next(room, [].into_iter()).expect("there is room");
        run.queue.again(first);
        assert_eq!(run.start(room), [0]);
        assert_eq!(run.end(0, room), [1]);
    }
}
