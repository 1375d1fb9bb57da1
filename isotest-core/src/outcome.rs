//! Outcome of a case: its verdict, its output, its figures.
//!
//! Plain data made by [`collect`](crate::collect) and read by reports. A verdict is never
//! guessed: see [`Verdict`] for what each one rests on.

use std::sync::Arc;
use std::time::Duration;

use crate::capture::Captured;
use crate::finding::{Codes, Finding};
use crate::perturbation::Hold;
use crate::policy::Weakened;
use crate::refusal::{SandboxError, ServiceError};
use crate::trace::Trace;

/// Verdict on a case.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Verdict {
    /// The harness ended the process, with 0.
    Passed,
    /// libtest said so; another harness, or a program that is none, exited with `code`.
    Failed {
        /// The exit code; libtest's is 101.
        code: i32,
    },
    /// A signal ended the test: the one that really caused its death.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// The deadline passed; every process of the case was killed.
    TimedOut {
        /// The limit that it ran into.
        limit: Duration,
    },
    /// Something else than the harness ended the process.
    ExitedEarly {
        /// The exit code.
        code: i32,
    },
    /// Passed after it had failed, where that counts as a failure
    /// ([`FlakyResult::Fail`](crate::retry::FlakyResult)).
    Flaky,
    /// Passed, with findings that are denied ([`Gate`]): these.
    Denied(Vec<Finding>),
    /// Passed, but is new and failed in some of many runs before ([`Proof`]).
    Unproven {
        /// Number of runs that failed.
        failures: u32,
        /// Number of runs.
        runs: u32,
    },
    /// A harness that is not libtest exited with 0 and said that it had run no test.
    NothingRun,
    /// Marked `#[ignore]` and not asked for, and nothing was run; or ignored by its harness when it
    /// was run ([`Outcome::reason`]).
    Ignored,
    /// The case could not be run. Never a test failure.
    NotRun(NotRun),
}

/// Consequences of what a case does, beside its own verdict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gate {
    /// The codes of findings with which it does not pass.
    pub deny: Codes,
    /// The entry by which it may fail.
    pub quarantine: Option<Arc<Quarantine>>,
    /// Runs of it before this one, of which some failed.
    pub proof: Option<Arc<Proof>>,
}

/// Runs of a case, several at once, before it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Number of runs that failed.
    pub failures: u32,
    /// Number of runs.
    pub runs: u32,
    /// Output of the first that failed.
    pub output: Captured,
}

/// An entry of a configuration by which cases may fail for some time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quarantine {
    /// The reason.
    pub reason: String,
    /// Its last day, as it was written.
    pub until: String,
    /// The mark of whatever tracks the failure.
    pub token: Option<String>,
    /// The place of the entry.
    pub place: String,
    /// Its standing for this case.
    pub standing: Standing,
}

/// Standing of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Standing {
    /// The case may fail.
    Holds,
    /// Its last day is over.
    Expired,
    /// The case has failed in each of so many runs.
    Broken(u32),
}

/// Reason why a case was not run, or why its end is not known.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NotRun {
    /// Its sandbox could not be set up.
    Sandbox(SandboxError),
    /// A service that it needs could not be had.
    Service(ServiceError),
    /// The run ended first: Ctrl-C, `--fail-fast`, `--max-fail`.
    Cancelled,
    /// The warden died while the case was running.
    WardenDied,
    /// The warden did not answer while the case was running, and was ended.
    WardenSilent,
    /// The process that it shares with other tests had ended before its turn.
    ProcessEnded,
}

impl Verdict {
    /// True if the case is a failed test.
    pub fn is_failure(&self) -> bool {
        match self {
            Verdict::Failed { .. }
            | Verdict::Signalled { .. }
            | Verdict::TimedOut { .. }
            | Verdict::ExitedEarly { .. }
            | Verdict::NothingRun
            | Verdict::Denied(_)
            | Verdict::Unproven { .. }
            | Verdict::Flaky => true,
            Verdict::Passed | Verdict::Ignored | Verdict::NotRun(_) => false,
        }
    }
}

/// Resource usage of the case, by wait4(2): PID 1 and all the descendants that it waited for; and
/// by its control group, where it had one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in kernel mode.
    pub system: Duration,
    /// Largest resident set of one process, in bytes.
    pub max_rss: u64,
    /// That of the test's own process, in bytes. Known where it exited by itself, and the guard has
    /// heard it.
    pub own_max_rss: Option<u64>,
    /// The most memory that all its processes used together, what they wrote to a tmpfs and read
    /// into the page cache included, in bytes. Known where it had a control group.
    pub memory_peak: Option<u64>,
    /// Voluntary context switches.
    pub voluntary_switches: u64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
}

/// Output of one service.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServiceOutput {
    /// The service.
    pub name: String,
    /// Its output, both streams in the order of writing.
    pub output: Captured,
    /// Words for its end, behind its name, where it was not ended with the case.
    pub ended: Option<String>,
}

/// Verdict, output, figures and findings of one case.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// Its verdict.
    pub verdict: Verdict,
    /// Text that libtest prints behind the name, `" - should panic"` for example; often empty.
    pub mode: String,
    /// Reason for which its harness ignored it when it was run, if that harness prints one.
    pub reason: Option<String>,
    /// Output of the test, stdout and stderr in the order of writing; the harness's own lines are
    /// taken out. Empty where the output was passed through.
    pub output: Captured,
    /// From the start of its set-up until it was reaped.
    pub duration: Duration,
    /// Output of its services, in the order of starting.
    pub services: Vec<ServiceOutput>,
    /// Its resource usage.
    pub usage: Usage,
    /// Actions that are not hermetic.
    pub findings: Vec<Finding>,
    /// The layers that it shared with the host since this machine refuses others.
    pub weakened: Vec<Weakened>,
    /// Stacks of its threads if it timed out, a line or more for each; empty if they were not read.
    pub stacks: String,
    /// Its trace, where it was traced. No record of a run has it.
    #[serde(skip)]
    pub trace: Option<Box<Trace>>,
    /// The calls that waited by [`Holds`](crate::perturbation::Holds), in their order.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// The attempts before this one, all of which failed; none where it was not retried.
    pub earlier: Vec<Outcome>,
    /// Maximum number of its attempts.
    pub attempts: u32,
    /// The entry by which it may fail, whatever its verdict is.
    #[serde(default)]
    pub quarantine: Option<Arc<Quarantine>>,
}

impl Outcome {
    /// An outcome for a case that was never started.
    pub fn without_run(verdict: Verdict) -> Self {
        Outcome {
            verdict,
            mode: String::new(),
            reason: None,
            output: Captured::default(),
            duration: Duration::ZERO,
            services: Vec::new(),
            usage: Usage::default(),
            findings: Vec::new(),
            weakened: Vec::new(),
            stacks: String::new(),
            trace: None,
            holds: Vec::new(),
            earlier: Vec::new(),
            attempts: 1,
            quarantine: None,
        }
    }

    /// Adds findings. Objects of interprocess communication are one, wherever they were found.
    pub fn add(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            let objects = self.findings.iter_mut().find_map(|known| match known {
                Finding::IpcLeft(objects) => Some(objects),
                _ => None,
            });
            match (finding, objects) {
                (Finding::IpcLeft(more), Some(objects)) => objects.extend(more),
                (finding, _) => self.findings.push(finding),
            }
        }
    }

    /// The same where this gate holds: it does not pass with denied findings, nor where it failed
    /// before. The output is that of the failure then.
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.quarantine.clone_from(&gate.quarantine);
        let is_denied = |finding: &&Finding| gate.deny.contains(finding.code());
        let denied: Vec<Finding> = self.findings.iter().filter(is_denied).cloned().collect();
        if self.verdict == Verdict::Passed && !denied.is_empty() {
            self.verdict = Verdict::Denied(denied);
        }
        if let (Verdict::Passed, Some(proof)) = (&self.verdict, &gate.proof) {
            let Proof { failures, runs, output } = &**proof;
            self.verdict = Verdict::Unproven { failures: *failures, runs: *runs };
            self.output.clone_from(output);
        }
        self
    }

    /// True if it failed and may fail.
    pub fn is_quarantined(&self) -> bool {
        let holds = |entry: &Arc<Quarantine>| entry.standing == Standing::Holds;
        self.verdict.is_failure() && self.quarantine.as_ref().is_some_and(holds)
    }

    /// True if the run fails with it.
    pub fn fails_run(&self) -> bool {
        self.verdict.is_failure() && !self.is_quarantined()
    }

    /// The number of this attempt: 1 for the first.
    pub fn attempt(&self) -> usize {
        self.earlier.len() + 1
    }

    /// True if it passed, but not at the first attempt.
    pub fn is_flaky(&self) -> bool {
        let passed = matches!(self.verdict, Verdict::Passed | Verdict::Flaky);
        passed && !self.earlier.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Code;

    fn with(verdict: Verdict, findings: Vec<Finding>) -> Outcome {
        Outcome { findings, ..Outcome::without_run(verdict) }
    }

    #[test]
    fn a_denied_finding_fails_what_passed_and_nothing_else() {
        let deny: Codes = [Code::SignalDiscarded].into_iter().collect();
        let gate = Gate { deny, ..Gate::default() };
        let (denied, other) = (Finding::SignalDiscarded(15), Finding::IoUringRefused);
        let verdict = |outcome: Outcome| outcome.behind(&gate).verdict;
        let both = with(Verdict::Passed, vec![other.clone(), denied.clone()]);
        assert_eq!(verdict(both.clone()), Verdict::Denied(vec![denied.clone()]));
        assert_eq!(verdict(with(Verdict::Passed, vec![other])), Verdict::Passed);
        assert_eq!(both.behind(&Gate::default()).verdict, Verdict::Passed);
        for verdict_before in [Verdict::Failed { code: 101 }, Verdict::NothingRun, Verdict::Ignored]
        {
            let outcome = with(verdict_before.clone(), vec![denied.clone()]);
            assert_eq!(verdict(outcome), verdict_before);
        }
    }

    #[test]
    fn a_case_in_quarantine_fails_and_the_run_does_not() {
        let entry = |standing| {
            let (reason, until, place) =
                ("r".to_owned(), "2026-01-01".to_owned(), "c:1".to_owned());
            Some(Arc::new(Quarantine { reason, until, token: None, place, standing }))
        };
        let failed = |standing| {
            let gate = Gate { quarantine: entry(standing), ..Gate::default() };
            with(Verdict::Failed { code: 101 }, Vec::new()).behind(&gate)
        };
        assert!(failed(Standing::Holds).is_quarantined() && !failed(Standing::Holds).fails_run());
        assert!(failed(Standing::Expired).fails_run() && failed(Standing::Broken(10)).fails_run());
        let gate = Gate { quarantine: entry(Standing::Holds), ..Gate::default() };
        let passed = with(Verdict::Passed, Vec::new()).behind(&gate);
        assert!(!passed.is_quarantined() && !passed.fails_run());
    }
}
