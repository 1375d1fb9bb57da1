//! Tests together: chosen tests of a binary in one process with libtest's threads, as often as wanted.
//!
//! What tests of one process share (variables, working directory, statics, signal handlers) shows in
//! no sandbox of a test by itself. [`Together`] is planned once; each of its jobs is a run with an index
//! of its own, so that many may be in flight. [`TogetherRuns`] reads their events.

use std::collections::{BTreeMap, HashMap};

use isotest_core::case::CaseIndex;
use isotest_core::outcome::Outcome;
use isotest_core::plan::Plan;
use isotest_core::schedule::{Event, Job, Stream};

use crate::run::policies::Member;
use crate::run::suite_plan::{self, LibtestOptions};
use crate::run::whole_binary::WholeBinary;
use crate::sandbox::factory::SandboxFactory;
use crate::sandbox::provision::CaseProvision;
use crate::select::selected::Selected;

/// Tests of a binary that run in one process.
pub struct Together<'a> {
    selected: &'a Selected,
    members: Vec<&'a Member>,
    plan: Plan,
}

/// Options of a run of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TogetherOptions {
    /// Number of tests that run at once. One by one they run in their order.
    pub threads: usize,
    /// Seed of their order; without one it is that of their names.
    pub shuffle_seed: Option<u64>,
}

/// Runs in flight.
#[derive(Default)]
pub struct TogetherRuns {
    /// By the index of the job.
    runs: HashMap<CaseIndex, RunInFlight>,
}

struct RunInFlight {
    binary: WholeBinary,
    tests: TestResults,
}

/// Results of the tests of a process, which come one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestResults {
    /// Those that libtest has started, in that order.
    pub order: Vec<CaseIndex>,
    /// The outcome of each: the verdict, and the output that libtest has captured.
    pub outcomes: BTreeMap<CaseIndex, Outcome>,
    /// Output of the process that libtest has captured for no test.
    pub unattributed: Vec<u8>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct TogetherResult {
    /// The index of its job.
    pub run: CaseIndex,
    /// Results of its tests: each has an outcome.
    pub tests: TestResults,
}

/// What an event has come to.
#[derive(Debug)]
pub enum Taken {
    /// It is one of a run in flight.
    Running,
    /// It is the end of a run.
    Ended(Box<TogetherResult>),
    /// It is none of a run's.
    Other,
}

impl<'a> Together<'a> {
    /// These tests of a binary of libtest's, at least one, all of which may be run.
    pub fn new(
        factory: &SandboxFactory,
        selected: &'a Selected,
        members: Vec<&'a Member>,
        provided: CaseProvision,
    ) -> Together<'a> {
        let plan = suite_plan::plan(factory, selected, provided, &members);
        Together { selected, members, plan }
    }

    /// The job of a run, for a warden of that factory or of another one with the same policy. No other job
    /// in flight has this index, which need not be a test's.
    pub fn job(
        &self,
        factory: &SandboxFactory,
        run: CaseIndex,
        options: TogetherOptions,
        runs: &mut TogetherRuns,
    ) -> Job {
        let TogetherOptions { threads, shuffle_seed } = options;
        let options =
            LibtestOptions { threads, pass_through: false, show_output: true, shuffle_seed };
        let weakened = &self.plan.weakened;
        let binary = WholeBinary::new(self.selected, &self.members, weakened, false);
        runs.runs.insert(run, RunInFlight { binary, tests: TestResults::default() });
        let plan = Plan {
            arguments: suite_plan::arguments(&options, self.selected, &self.members),
            environment: factory.own_environment(),
            seed: shuffle_seed.unwrap_or(self.plan.seed),
            ..self.plan.clone()
        };
        Job { pass_through: true, ..Job::once(run, plan) }
    }
}

impl TogetherRuns {
    /// Takes an event of a schedule.
    pub fn take(&mut self, event: Event) -> Taken {
        match event {
            Event::Output(run, stream, bytes) => self.read(run, stream, bytes),
            Event::Finished(run, process) => match self.runs.remove(&run) {
                Some(RunInFlight { binary, mut tests }) => {
                    tests.add(binary.end(run, &process));
                    Taken::Ended(Box::new(TogetherResult { run, tests }))
                }
                None => Taken::Other,
            },
            Event::Started(run) | Event::Slow(run, ..) if self.runs.contains_key(&run) => {
                Taken::Running
            }
            _ => Taken::Other,
        }
    }

    fn read(&mut self, run: CaseIndex, stream: Stream, bytes: Vec<u8>) -> Taken {
        match self.runs.get_mut(&run) {
            Some(RunInFlight { binary, tests }) => {
                tests.add(binary.take(run, stream, bytes));
                Taken::Running
            }
            None => Taken::Other,
        }
    }
}

impl TestResults {
    fn add(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Started(test) => self.order.push(test),
                Event::Finished(test, outcome) => {
                    self.outcomes.insert(test, *outcome);
                }
                Event::Output(_, _, bytes) => self.unattributed.extend(bytes),
                Event::Slow(..)
                | Event::Retried(..)
                | Event::Running(_)
                | Event::Resumed(_)
                | Event::Interrupted(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use isotest_core::outcome::{NotRun, Verdict};

    use super::*;

    fn index(binary: usize, case: usize) -> CaseIndex {
        CaseIndex { binary, case }
    }

    /// Runs of the tests `a` and `b`, numbers 0 and 1 of binary 7.
    fn begun(runs: &[CaseIndex]) -> TogetherRuns {
        let in_flight = |run: &CaseIndex| {
            let tests = vec![(index(7, 0), "a".to_owned()), (index(7, 1), "b".to_owned())];
            let binary = WholeBinary::of("demo", tests);
            (*run, RunInFlight { binary, tests: TestResults::default() })
        };
        TogetherRuns { runs: runs.iter().map(in_flight).collect() }
    }

    fn write(runs: &mut TogetherRuns, run: CaseIndex, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        let taken = runs.take(Event::Output(run, Stream::Stdout, bytes));
        assert!(matches!(taken, Taken::Running), "{taken:?}");
    }

    fn started(name: &str) -> String {
        format!(r#"{{ "type": "test", "event": "started", "name": "{name}" }}"#)
    }

    fn ended(name: &str, event: &str, stdout: &str) -> String {
        format!(
            r#"{{ "type": "test", "name": "{name}", "event": "{event}", "exec_time": 0.5, "stdout": "{stdout}" }}"#
        )
    }

    fn summary(event: &str, passed: usize, failed: usize) -> String {
        format!(
            r#"{{ "type": "suite", "event": "{event}", "passed": {passed}, "failed": {failed}, "ignored": 0 }}"#
        )
    }

    fn end(runs: &mut TogetherRuns, run: CaseIndex, verdict: Verdict) -> TogetherResult {
        match runs.take(Event::Finished(run, Box::new(Outcome::without_run(verdict)))) {
            Taken::Ended(result) => *result,
            other => panic!("it has not ended: {other:?}"),
        }
    }

    fn verdicts(result: &TogetherResult) -> Vec<(usize, Verdict)> {
        let outcomes = result.tests.outcomes.iter();
        outcomes.map(|(test, outcome)| (test.case, outcome.verdict.clone())).collect()
    }

    /// Their output comes in pieces, one between the other.
    #[test]
    fn results_are_those_of_their_run() {
        let (one, other) = (index(100, 0), index(101, 0));
        let mut runs = begun(&[one, other]);
        assert!(matches!(runs.take(Event::Started(one)), Taken::Running));
        write(&mut runs, one, &started("a"));
        write(&mut runs, other, &started("b"));
        write(&mut runs, one, &started("b"));
        write(&mut runs, other, &started("a"));
        write(&mut runs, one, &ended("b", "failed", "panicked at src/lib.rs"));
        write(&mut runs, other, &ended("b", "ok", "words of b"));
        write(&mut runs, other, &ended("a", "ok", ""));
        write(&mut runs, one, &ended("a", "ok", ""));
        write(&mut runs, one, &summary("failed", 1, 1));
        write(&mut runs, other, &summary("ok", 2, 0));
        let failed = Verdict::Failed { code: 101 };
        let first = end(&mut runs, one, failed.clone());
        assert_eq!((first.run, &first.tests.order), (one, &vec![index(7, 0), index(7, 1)]));
        assert_eq!(verdicts(&first), [(0, Verdict::Passed), (1, failed.clone())]);
        let output = &first.tests.outcomes[&index(7, 1)].output;
        assert_eq!(output.to_bytes(), b"panicked at src/lib.rs");
        let second = end(&mut runs, other, Verdict::Passed);
        assert_eq!(second.tests.order, [index(7, 1), index(7, 0)]);
        assert_eq!(verdicts(&second), [(0, Verdict::Passed), (1, Verdict::Passed)]);
        assert_eq!(second.tests.outcomes[&index(7, 1)].output.to_bytes(), b"words of b");
    }

    #[test]
    fn a_process_that_ends_early_takes_the_running_test_along() {
        let run = index(100, 0);
        let mut runs = begun(&[run]);
        write(&mut runs, run, &started("b"));
        let result = end(&mut runs, run, Verdict::Signalled { signal: 11 });
        let expected =
            [(0, Verdict::NotRun(NotRun::ProcessEnded)), (1, Verdict::Signalled { signal: 11 })];
        assert_eq!(verdicts(&result), expected);
        assert_eq!(result.tests.order, [index(7, 1)]);
    }

    #[test]
    fn a_run_that_is_refused_has_no_failed_test() {
        let run = index(100, 0);
        let mut runs = begun(&[run]);
        let refused = Verdict::NotRun(NotRun::WardenDied);
        let result = end(&mut runs, run, refused.clone());
        assert_eq!(verdicts(&result), [(0, refused.clone()), (1, refused)]);
    }

    #[test]
    fn events_of_others_are_left_to_others() {
        let mut runs = begun(&[index(100, 0)]);
        for index in [index(7, 0), index(100, 1)] {
            let taken = runs.take(Event::Started(index));
            assert!(matches!(taken, Taken::Other), "{taken:?}");
            let output = Event::Output(index, Stream::Stdout, b"text".to_vec());
            assert!(matches!(runs.take(output), Taken::Other));
        }
    }
}
