//! `--message-format json`: everything that is known of a run, a JSON object a line, as it happens.
//!
//! The types are the format; `docs/messages.schema.json` is made of them. A key may be added at any
//! time. Where one goes, or changes its meaning, [`VERSION`] is counted up. Text that is not UTF-8
//! has U+FFFD where it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use isotest_core::case::{Case, CaseIndex};
use isotest_core::finding::{self as found, Codes};
use isotest_core::outcome::{self, NotRun, Outcome};
use isotest_core::schedule::{Event, Interruption, Stream};
use isotest_core::snapshot::{Process, Snapshot};
use isotest_core::trace::Trace;
use isotest_core::wait_status::signal_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::doctests::DoctestSummary;
use super::footprint::FootprintText;
use super::hints::Reruns;
use super::known::KnownDiagnosis;
use super::message_findings::{self, BinaryFindings, Finding, Quarantine, finding};
use super::message_hints::{Suggestion, Wanted, suggestion, wanted};
use super::message_test::{Test, test};
use super::start::Start;
use super::suite::Suite;
use super::tally::Tally;
use super::words;

/// The version of the format.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Message {
    /// The first line.
    RunStarted {
        /// The version of this format.
        format_version: u32,
        /// The version of isotest.
        isotest_version: String,
        /// Number of binaries, each counted in each root filesystem.
        binaries: usize,
        /// Number of selected tests.
        tests: usize,
        /// The id of the run, in its record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
        /// The time of its start in UTC (RFC 3339), in its record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<String>,
        /// The commit that was checked out, in its record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        /// Its options that `rerun` repeats, in its record.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        repeated_options: Vec<String>,
        /// The names of its other options that may matter, in its record.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        other_options: Vec<String>,
        /// The seed of the order in which tests start, where it is random.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shuffle_seed: Option<u64>,
    },
    /// A binary, before any of its tests is started.
    Binary(Box<Binary>),
    /// A test was started.
    TestStarted {
        /// The test.
        #[serde(flatten)]
        test: Test,
    },
    /// A test wrote, and its output is passed through.
    TestOutput {
        /// The test.
        #[serde(flatten)]
        test: Test,
        /// `stdout` or `stderr`.
        stream: String,
        /// The output.
        text: String,
    },
    /// A test has run for longer than a minute.
    TestSlow {
        /// The test.
        #[serde(flatten)]
        test: Test,
        /// For how many seconds it has run.
        seconds: f64,
    },
    /// A test has failed and is started again.
    TestRetried {
        /// The test.
        #[serde(flatten)]
        test: Test,
        /// The number of the attempt that starts, 2 for the first retry.
        attempt: u32,
        /// Maximum number of attempts.
        attempts: u32,
    },
    /// A test has ended for good, is ignored or was not run.
    TestFinished(Box<Finished>),
    /// What a test read, wrote, bound and looked at, if it was traced.
    TestTraced(Box<Traced>),
    /// What an earlier diagnosis of the same binary has found of a test that has failed, or passed on a
    /// retry only. Follows the end of the test.
    TestDiagnosed(Box<DiagnosedBefore>),
    /// All that runs, oldest first: on a signal or a key, or because the run ends early.
    Running {
        /// The tests.
        tests: Vec<Running>,
    },
    /// The run was stopped (Ctrl-Z) and goes on. This time is in no other number.
    Resumed {
        /// For how many seconds it was stopped.
        seconds: f64,
    },
    /// A signal ends the run.
    Interrupted {
        /// Its name.
        signal: String,
    },
    /// The time that the run may take is up, which ends it.
    RunTimedOut {
        /// Time since it started, in seconds.
        seconds: f64,
    },
    /// The last line. It is missing where the run could not go on.
    RunFinished {
        /// Time that the tests took together, in seconds.
        seconds: f64,
        /// Number of tests per result.
        tests: Counts,
        /// The documentation tests, which rustdoc reports.
        documentation_tests: DocumentationTests,
        /// Failed tests that passed when they were run once more, unchanged.
        #[serde(default)]
        passed_again: Vec<Test>,
        /// Flags with which other failed tests pass.
        hints: Vec<Suggestion>,
        /// What failed tests without a hint looked for, and were not given.
        #[serde(default)]
        untried: Vec<Wanted>,
        /// Failed tests that fail with all layers of the host as well.
        #[serde(default)]
        fail_with_all_layers: Vec<Test>,
        /// Findings of binaries whose tests share a sandbox.
        #[serde(default)]
        binary_findings: Vec<BinaryFindings>,
    },
}

/// A test binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Binary {
    /// Its id, as nextest's: `demo::it`.
    pub binary: String,
    /// The root filesystem that it runs in, as it was typed, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The name of its package.
    pub package: String,
    /// The name of its target.
    pub target: String,
    /// The kind of its target, as nextest's: `lib`, `test`.
    pub kind: String,
    /// The text that cargo prints after `Running`.
    pub heading: String,
    /// The options of `cargo isotest` that select it.
    pub select: String,
    /// True if it is a test harness. Otherwise the program is its one test.
    pub harness: bool,
    /// Every layer and limit that its tests have, but for what an override says of some of them.
    pub layers: BTreeMap<String, String>,
    /// The names of its selected tests.
    pub tests: Vec<String>,
    /// Number of tests that were filtered out.
    pub filtered_out: usize,
    /// True if its tests share a sandbox (`--unit binary`).
    #[serde(default)]
    pub shared: bool,
}

/// A test that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Finished {
    /// The test.
    #[serde(flatten)]
    pub test: Test,
    /// Its last attempt.
    #[serde(flatten)]
    pub last: Attempt,
    /// The number of that attempt, 1 for the first.
    pub attempt: usize,
    /// Maximum number of attempts.
    pub attempts: u32,
    /// True if it passed, but not at the first attempt.
    pub flaky: bool,
    /// The entry of the configuration by which it may fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
    /// The attempts before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<Attempt>,
}

/// A test that was traced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Traced {
    /// The test.
    #[serde(flatten)]
    pub test: Test,
    /// Hash of the contents of its binary (XXH64).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_hash: Option<String>,
    /// What it read, wrote, bound and looked at.
    #[serde(flatten)]
    pub footprint: FootprintText,
}

/// A test that has failed, and was diagnosed before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiagnosedBefore {
    /// The test.
    #[serde(flatten)]
    pub test: Test,
    /// The result of the diagnosis.
    pub diagnosis: KnownDiagnosis,
}

/// Result of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// Its verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// From the start of its set-up to its end, in seconds.
    pub seconds: f64,
    /// Resources that it used.
    pub usage: Usage,
    /// Its output, stdout and stderr in the order of writing; empty if it is passed through. If it
    /// did not pass, the output of its services follows.
    pub output: String,
    /// Number of discarded bytes of its output. The output marks the place.
    pub output_cut: u64,
    /// Findings: acts that are not hermetic.
    pub findings: Vec<Finding>,
    /// The layers that it shared with the host since the machine refuses others.
    pub weakened: Vec<String>,
    /// Stacks of its threads, if it timed out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stacks: String,
}

/// Verdict of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Verdict {
    /// It passed.
    Passed,
    /// The harness said so, or a program that is none exited so.
    Failed {
        /// The exit code.
        exit_code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// Its name.
        signal: String,
    },
    /// Its time was up.
    TimedOut {
        /// The limit, in seconds.
        limit: f64,
    },
    /// The process exited before the harness printed a result.
    ExitedEarly {
        /// The exit code.
        exit_code: i32,
    },
    /// Its harness, which is not libtest, ran no test and exited with 0.
    NothingRun,
    /// It passed, and findings of it are denied.
    Denied {
        /// The codes of these findings.
        codes: Vec<String>,
    },
    /// It passed, and is new and failed in some of the runs before (`--prove-new`).
    Unproven {
        /// Number of runs that failed.
        failures: u32,
        /// Number of runs.
        runs: u32,
    },
    /// It passed only on a retry, which counts as a failure.
    Flaky,
    /// It is marked `#[ignore]`, or its harness ignored it when it was run.
    Ignored {
        /// The reason, if the attribute or the harness gives one.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It could not be run; never a failure.
    NotRun {
        /// The cause.
        cause: NotRunCause,
        /// The same in words.
        reason: String,
        /// A remedy, if one is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// Cause that prevented a test from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotRunCause {
    /// Its sandbox could not be set up.
    Sandbox,
    /// A service that it needs could not be had.
    Service,
    /// The run ended first.
    Cancelled,
    /// The warden died, or did not answer and was ended.
    WardenDied,
    /// The process of its binary had ended (`--unit binary`).
    ProcessEnded,
}

/// Resources that an attempt used. Times are in seconds, memory is in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// Processor time in user mode.
    pub user: f64,
    /// Processor time in kernel mode.
    pub system: f64,
    /// The largest resident set of one process.
    pub max_rss: u64,
    /// The largest resident set of the test's own process, known where it exited by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_max_rss: Option<u64>,
    /// The most memory of all processes together, known where it had a control group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
    /// Voluntary context switches.
    pub voluntary_switches: u64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
}

/// A test that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Running {
    /// The test.
    #[serde(flatten)]
    pub test: Test,
    /// For how many seconds it has run.
    pub seconds: f64,
    /// Its processes, PID 1 first.
    pub processes: Vec<RunningProcess>,
    /// The last of what it has written; empty where that is passed through.
    pub output: String,
}

/// A process of a test that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningProcess {
    /// Its id on the host.
    pub pid: i32,
    /// A line for each of its threads, and below it its stack in the kernel, where that is shown.
    pub threads: String,
}

/// Number of tests per result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Passed, the flaky ones among them.
    pub passed: usize,
    /// Passed, but not at the first attempt; those that count as failed too.
    pub flaky: usize,
    /// Failed in whatever way.
    pub failed: usize,
    /// Failed by a signal.
    pub signalled: usize,
    /// Failed by a time-out.
    pub timed_out: usize,
    /// Failed by exiting early.
    pub exited_early: usize,
    /// Failed by denied findings.
    #[serde(default)]
    pub denied: usize,
    /// Failed in quarantine; not among the failed ones.
    #[serde(default)]
    pub quarantined: usize,
    /// Ignored.
    pub ignored: usize,
    /// Not run because of the sandbox.
    pub not_run: usize,
    /// Not run, or not to the end, since the run ended first.
    pub cancelled: usize,
}

/// Result of the documentation tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentationTests {
    /// Number of selected tests.
    pub selected: usize,
    /// Number of passed tests.
    pub passed: usize,
    /// True if one failed, or could not be built.
    pub failed: bool,
}

/// The first lines of a run; `start` is of one that is recorded.
pub fn first(suites: &[Suite], shuffle_seed: Option<u64>, start: Option<&Start>) -> Vec<Message> {
    let started = Message::RunStarted {
        format_version: VERSION,
        isotest_version: env!("CARGO_PKG_VERSION").to_owned(),
        binaries: suites.len(),
        tests: suites.iter().map(|suite| suite.cases.len()).sum(),
        run: start.map(|start| start.id.clone()),
        time: start.map(|start| start.time.clone()),
        commit: start.and_then(|start| start.commit.clone()),
        repeated_options: start.map_or(Vec::new(), |start| start.repeated_options.clone()),
        other_options: start.map_or(Vec::new(), |start| start.other_options.clone()),
        shuffle_seed,
    };
    let binaries = suites.iter().map(|suite| Message::Binary(Box::new(binary(suite))));
    [started].into_iter().chain(binaries).collect()
}

/// Message of an event.
pub fn of_event(suites: &[Suite], event: &Event) -> Message {
    match event {
        Event::Started(index) => Message::TestStarted { test: test(suites, *index) },
        Event::Output(index, stream, bytes) => Message::TestOutput {
            test: test(suites, *index),
            stream: match stream {
                Stream::Stdout => "stdout".to_owned(),
                Stream::Stderr => "stderr".to_owned(),
            },
            text: text(bytes),
        },
        Event::Slow(index, age, _) => {
            Message::TestSlow { test: test(suites, *index), seconds: age.as_secs_f64() }
        }
        Event::Retried(index, attempt, attempts) => Message::TestRetried {
            test: test(suites, *index),
            attempt: *attempt,
            attempts: *attempts,
        },
        Event::Finished(index, outcome) => {
            Message::TestFinished(Box::new(finished(suites, *index, outcome)))
        }
        Event::Running(snapshots) => Message::Running {
            tests: snapshots.iter().map(|snapshot| running(suites, snapshot)).collect(),
        },
        Event::Resumed(stopped) => Message::Resumed { seconds: stopped.as_secs_f64() },
        Event::Interrupted(Interruption::Signal(signal)) => {
            Message::Interrupted { signal: signal_name(*signal) }
        }
        Event::Interrupted(Interruption::Timeout(limit)) => {
            Message::RunTimedOut { seconds: limit.as_secs_f64() }
        }
    }
}

/// The trace of a test.
pub fn traced(
    suites: &[Suite],
    index: CaseIndex,
    trace: &Trace,
    binary_hash: Option<String>,
) -> Message {
    let footprint = FootprintText::from(trace);
    Message::TestTraced(Box::new(Traced { test: test(suites, index), binary_hash, footprint }))
}

/// What is known of a test that has failed.
pub fn diagnosed(suites: &[Suite], index: CaseIndex, known: &KnownDiagnosis) -> Message {
    let diagnosis = known.clone();
    Message::TestDiagnosed(Box::new(DiagnosedBefore { test: test(suites, index), diagnosis }))
}

/// The last line of a run.
pub fn last(
    suites: &[Suite],
    tally: &Tally,
    wall: Duration,
    doctests: DoctestSummary,
    reruns: &Reruns,
    shared: &[(usize, Vec<found::Finding>, Codes)],
) -> Message {
    Message::RunFinished {
        seconds: wall.as_secs_f64(),
        tests: Counts {
            passed: tally.passed,
            flaky: tally.flaky,
            failed: tally.failed,
            signalled: tally.signalled,
            timed_out: tally.timed_out,
            exited_early: tally.exited_early,
            denied: tally.denied,
            quarantined: tally.quarantined,
            ignored: tally.ignored,
            not_run: tally.not_run,
            cancelled: tally.cancelled,
        },
        documentation_tests: DocumentationTests {
            selected: doctests.selected,
            passed: doctests.passed,
            failed: doctests.failed,
        },
        passed_again: reruns.flaky.iter().map(|index| test(suites, *index)).collect(),
        hints: reruns.hints.iter().map(|hint| suggestion(suites, hint)).collect(),
        untried: reruns.untried.iter().map(|untried| wanted(suites, untried)).collect(),
        fail_with_all_layers: reruns.unaffected.iter().map(|index| test(suites, *index)).collect(),
        binary_findings: message_findings::of_binaries(suites, shared),
    }
}

fn binary(suite: &Suite) -> Binary {
    let layers = suite.layers.iter();
    Binary {
        binary: suite.id.clone(),
        root: suite.root.clone(),
        package: suite.package.clone(),
        target: suite.target.clone(),
        kind: suite.kind.clone(),
        heading: suite.heading.clone(),
        select: suite.rerun.clone(),
        harness: suite.harness,
        layers: layers.cloned().collect(),
        tests: suite.cases.iter().map(|case| case.name.clone()).collect(),
        filtered_out: suite.filtered_out,
        shared: suite.shared,
    }
}

fn finished(suites: &[Suite], index: CaseIndex, outcome: &Outcome) -> Finished {
    let case = &suites[index.binary].cases[index.case];
    Finished {
        test: test(suites, index),
        last: attempt(case, outcome),
        attempt: outcome.attempt(),
        attempts: outcome.attempts,
        flaky: outcome.is_flaky(),
        quarantine: outcome.quarantine.as_deref().map(message_findings::quarantine),
        failed_attempts: outcome.earlier.iter().map(|earlier| attempt(case, earlier)).collect(),
    }
}

fn attempt(case: &Case, outcome: &Outcome) -> Attempt {
    let usage = &outcome.usage;
    Attempt {
        verdict: verdict(case, outcome),
        seconds: outcome.duration.as_secs_f64(),
        usage: Usage {
            user: usage.user.as_secs_f64(),
            system: usage.system.as_secs_f64(),
            max_rss: usage.max_rss,
            own_max_rss: usage.own_max_rss,
            memory_peak: usage.memory_peak,
            voluntary_switches: usage.voluntary_switches,
            involuntary_switches: usage.involuntary_switches,
        },
        output: text(&words::written(outcome)),
        output_cut: outcome.output.cut,
        findings: outcome.findings.iter().map(finding).collect(),
        weakened: outcome.weakened.iter().map(|layer| layer.name().to_owned()).collect(),
        stacks: outcome.stacks.clone(),
    }
}

pub(super) fn verdict(case: &Case, outcome: &Outcome) -> Verdict {
    match &outcome.verdict {
        outcome::Verdict::Passed => Verdict::Passed,
        outcome::Verdict::Failed { code } => Verdict::Failed { exit_code: *code },
        outcome::Verdict::Signalled { signal } => {
            Verdict::Signalled { signal: signal_name(*signal) }
        }
        outcome::Verdict::TimedOut { limit } => Verdict::TimedOut { limit: limit.as_secs_f64() },
        outcome::Verdict::ExitedEarly { code } => Verdict::ExitedEarly { exit_code: *code },
        outcome::Verdict::NothingRun => Verdict::NothingRun,
        outcome::Verdict::Denied(findings) => Verdict::Denied {
            codes: findings.iter().map(|it| it.code().name().to_owned()).collect(),
        },
        outcome::Verdict::Unproven { failures, runs } => {
            Verdict::Unproven { failures: *failures, runs: *runs }
        }
        outcome::Verdict::Flaky => Verdict::Flaky,
        outcome::Verdict::Ignored => {
            Verdict::Ignored { reason: words::ignore_reason(case, outcome).map(str::to_owned) }
        }
        outcome::Verdict::NotRun(reason) => Verdict::NotRun {
            cause: match reason {
                NotRun::Sandbox(_) => NotRunCause::Sandbox,
                NotRun::Service(_) => NotRunCause::Service,
                NotRun::Cancelled => NotRunCause::Cancelled,
                NotRun::WardenDied | NotRun::WardenSilent => NotRunCause::WardenDied,
                NotRun::ProcessEnded => NotRunCause::ProcessEnded,
            },
            reason: words::not_run(reason),
            hint: match reason {
                NotRun::Sandbox(error) => error.hint.clone(),
                NotRun::Service(_)
                | NotRun::Cancelled
                | NotRun::WardenDied
                | NotRun::WardenSilent
                | NotRun::ProcessEnded => None,
            },
        },
    }
}

fn running(suites: &[Suite], snapshot: &Snapshot) -> Running {
    let process = |process: &Process| RunningProcess {
        pid: process.pid,
        threads: process.to_string().trim_end().to_owned(),
    };
    Running {
        test: test(suites, snapshot.index),
        seconds: snapshot.elapsed.as_secs_f64(),
        processes: snapshot.processes.iter().map(process).collect(),
        output: text(&snapshot.output),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;
    use crate::report::suite::example;

    #[test]
    fn a_failed_test_is_one_flat_object_that_can_be_read_again() {
        let mut outcome = Outcome::without_run(outcome::Verdict::Failed { code: 101 });
        outcome.output.head = b"text\n".to_vec();
        outcome.findings.push(isotest_core::finding::Finding::NetworkTried(2));
        outcome.earlier = vec![outcome.clone()];
        outcome.attempts = 2;
        let index = CaseIndex { binary: 0, case: 0 };
        let message = of_event(&[example(&["a"])], &Event::Finished(index, Box::new(outcome)));
        let line = serde_json::to_string(&message).expect("plain data");
        let start = r#"{"type":"test-finished","binary":"demo::it","test":"a","verdict":"failed","exit-code":101,"seconds":0.0,"#;
        assert!(line.starts_with(start), "{line}");
        assert!(line.contains(r#""findings":[{"finding":"net-attempt","packets":2,"text":"#));
        assert_eq!(serde_json::from_str::<Message>(&line).expect("it was just written"), message);
    }

    #[test]
    fn the_schema_in_the_book_is_that_of_the_types() {
        let schema = schemars::schema_for!(Message);
        let made = serde_json::to_string_pretty(&schema).expect("plain data") + "\n";
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/messages.schema.json");
        if env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(file, &made).expect("it is writable");
        }
        let kept = fs::read_to_string(file).expect("it is there");
        assert!(kept == made, "run this test again with `UPDATE_EXPECT=1`");
    }
}
