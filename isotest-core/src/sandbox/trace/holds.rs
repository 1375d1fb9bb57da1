//! Which calls are held, and for how long. Pure: it is told the calls one by one, and what it chooses
//! follows from them and the seed.

use std::collections::HashMap;
use std::time::Duration;

use crate::perturbation::{HeldCalls, Hold, Holds};
use crate::seed;

/// Chooses the calls of a case that wait.
pub struct HoldChooser {
    holds: Holds,
    seed: u64,
    /// By id.
    threads: HashMap<i32, Thread>,
    /// The program of the case was executed.
    has_begun: bool,
}

/// A thread that has made a call that can be held.
struct Thread {
    number: u32,
    calls: u32,
    /// The call before was about what all threads of the process share.
    shared_before: bool,
    starvation: Option<Starvation>,
}

/// What is left of the time that a thread waits.
struct Starvation {
    /// The number of the first call that does.
    begin: u32,
    left: Duration,
}

impl HoldChooser {
    /// One that has seen no call yet.
    pub fn new(holds: Holds, seed: u64) -> HoldChooser {
        HoldChooser { holds, seed, threads: HashMap::new(), has_begun: false }
    }

    /// The hold of a call; `None` where it goes on at once. `is_main` tells whether the thread is the
    /// main one of its process, and is asked when it is new.
    pub fn choose(
        &mut self,
        thread: i32,
        (kind, name): (HeldCalls, &str),
        is_main: impl FnOnce() -> bool,
    ) -> Option<Hold> {
        if !self.has_begun {
            // Until then, and by this call, the sandbox is set up.
            self.has_begun = kind == HeldCalls::Execute;
            return None;
        }
        let number = self.threads.len() as u32;
        let (holds, seed) = (&self.holds, self.seed);
        let thread = self.threads.entry(thread).or_insert_with(|| {
            let starves = matches!(holds, Holds::Starvation);
            let starvation = starves.then(|| Starvation::choose(seed, number, is_main()));
            Thread { number, calls: 0, shared_before: false, starvation: starvation.flatten() }
        });
        let number = thread.calls;
        thread.calls += 1;
        let shared_before = thread.shared_before;
        thread.shared_before = kind == HeldCalls::Process;
        let held = match holds {
            Holds::Starvation => thread.starvation.as_mut()?.next(number)?,
            Holds::Each(kinds, held) => kinds.contains(&kind).then_some(*held)?,
            Holds::Half(kinds, held) => {
                let is_held = kinds.contains(&kind) && is_chosen(seed, thread.number, number);
                is_held.then_some(*held)?
            }
            Holds::AfterChanges(held) => {
                let is_held = shared_before && is_chosen(seed, thread.number, number);
                is_held.then_some(*held)?
            }
            Holds::Replay(list) => {
                let is_it = |hold: &&Hold| {
                    (hold.thread, hold.number, &*hold.call) == (thread.number, number, name)
                };
                list.iter().find(is_it)?.held
            }
        };
        let (thread, call) = (thread.number, name.to_owned());
        Some(Hold { thread, number, call, held, thread_name: String::new(), code: Vec::new() })
    }
}

impl Starvation {
    /// The choice for a thread, after rr's chaos mode.
    fn choose(seed: u64, thread: u32, is_main: bool) -> Option<Starvation> {
        let random = |number| random(seed, u64::from(thread), number);
        let tenths = if is_main { 3 } else { 1 };
        let left = Duration::from_millis(1 << (random(1) % 12));
        let begin = (random(3) % (1 << (random(2) % 8))) as u32;
        (random(0) % 10 < tenths).then_some(Starvation { begin, left })
    }

    /// How long a call waits.
    fn next(&mut self, number: u32) -> Option<Duration> {
        const LEAST: Duration = Duration::from_micros(250);
        if number < self.begin || self.left < LEAST {
            return None;
        }
        let held = if self.left < 2 * LEAST { self.left } else { self.left / 2 };
        self.left -= held;
        Some(held)
    }
}

/// The choice of every second call, on average.
fn is_chosen(seed: u64, thread: u32, number: u32) -> bool {
    // The first numbers of a thread choose its starvation.
    random(seed, u64::from(thread), 4 + u64::from(number)).is_multiple_of(2)
}

/// A number that follows from others.
fn random(seed: u64, thread: u64, number: u64) -> u64 {
    seed::nth(seed::nth(seed::mix(seed), thread), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXECUTE: (HeldCalls, &str) = (HeldCalls::Execute, "execve");
    const FUTEX: (HeldCalls, &str) = (HeldCalls::Futex, "futex");
    const READ: (HeldCalls, &str) = (HeldCalls::Receive, "read");

    fn begun(holds: Holds, seed: u64) -> HoldChooser {
        let mut chooser = HoldChooser::new(holds, seed);
        assert_eq!(chooser.choose(9, READ, || true), None);
        assert_eq!(chooser.choose(9, EXECUTE, || true), None);
        chooser
    }

    /// The holds of threads, the first of which is a main one, that make so many calls each in turn.
    fn run(holds: Holds, seed: u64, threads: i32, calls: usize) -> Vec<Hold> {
        let mut chooser = begun(holds, seed);
        let turns = (0..calls).flat_map(|_| 100..100 + threads);
        turns.filter_map(|id| chooser.choose(id, FUTEX, || id == 100)).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_choices_and_a_replay_as_well() {
        let mut all = Vec::new();
        for seed in 0..200 {
            let holds = run(Holds::Starvation, seed, 8, 200);
            assert_eq!(run(Holds::Starvation, seed, 8, 200), holds);
            assert_eq!(run(Holds::Replay(holds.clone()), 0, 8, 200), holds);
            all.push(holds);
        }
        all.dedup();
        assert!(all.len() > 100, "{}", all.len());
    }

    /// Exact binomial tails for these numbers of threads are below 1e-9.
    #[test]
    fn threads_starve_as_often_and_as_long_as_is_said() {
        let (mut mains, mut others, mut times) = (0, 0, [0; 12]);
        for seed in 0..10_000 {
            let holds = run(Holds::Starvation, seed, 2, 160);
            for thread in 0..2 {
                let held = holds.iter().filter(|hold| hold.thread == thread).map(|hold| hold.held);
                let total: Duration = held.sum();
                if total.is_zero() {
                    continue;
                }
                *(if thread == 0 { &mut mains } else { &mut others }) += 1;
                assert!(total.as_millis().is_power_of_two(), "{total:?}");
                times[total.as_millis().ilog2() as usize] += 1;
            }
        }
        assert!((2700..3300).contains(&mains) && (800..1200).contains(&others), "{mains} {others}");
        assert!(times.iter().all(|count| *count > 200), "{times:?}");
    }

    #[test]
    fn half_of_the_calls_are_held_and_a_seed_holds_the_same_ones() {
        let half = || Holds::Half(vec![HeldCalls::Futex], Duration::from_millis(1));
        let holds = run(half(), 7, 8, 1000);
        // An exact binomial tail for 8000 calls is below 1e-9.
        assert!((3700..4300).contains(&holds.len()), "{}", holds.len());
        assert_eq!(run(half(), 7, 8, 1000), holds);
        assert_ne!(run(half(), 8, 8, 1000), holds);
        assert_eq!(run(Holds::Half(vec![HeldCalls::Send], Duration::ZERO), 7, 8, 1000), []);
    }

    #[test]
    fn half_of_the_calls_after_a_change_are_held() {
        const CHANGE: (HeldCalls, &str) = (HeldCalls::Process, "chdir");
        let mut chooser = begun(Holds::AfterChanges(Duration::from_millis(1)), 7);
        let mut held = [0, 0, 0];
        for _ in 0..1000 {
            for (place, call) in [CHANGE, READ, FUTEX].into_iter().enumerate() {
                held[place] += usize::from(chooser.choose(7, call, || true).is_some());
            }
        }
        // An exact binomial tail for 1000 calls is below 1e-9.
        assert!((400..600).contains(&held[1]), "{held:?}");
        assert_eq!((held[0], held[2]), (0, 0), "nothing has changed before these");
    }

    #[test]
    fn calls_of_other_kinds_and_other_names_go_on() {
        let held = Duration::from_millis(3);
        let mut chooser = begun(Holds::Each(vec![HeldCalls::Execute], held), 0);
        assert_eq!(chooser.choose(7, READ, || true), None);
        let hold = chooser.choose(7, EXECUTE, || true).expect("it is held");
        assert_eq!((hold.thread, hold.number, &*hold.call, hold.held), (0, 1, "execve", held));
        let mut chooser = begun(Holds::Replay(vec![hold.clone()]), 0);
        assert_eq!(chooser.choose(7, READ, || true), None);
        assert_eq!(chooser.choose(8, EXECUTE, || true), None);
        assert_eq!(chooser.choose(7, EXECUTE, || true), Some(hold.clone()));
        let mut chooser = begun(Holds::Replay(vec![hold]), 0);
        assert_eq!(chooser.choose(7, READ, || true), None);
        assert_eq!(chooser.choose(7, READ, || true), None);
    }
}
