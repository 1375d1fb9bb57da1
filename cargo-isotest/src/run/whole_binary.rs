//! `--unit binary`: one sandbox for a whole test binary, with libtest's own threads inside.
//!
//! The schedule runs the binary as one case whose output is passed through. [`WholeBinaries`] reads
//! libtest's JSON in it and makes the events of each test of it, so that reports see no difference. What
//! libtest has not reported has not passed: where the process ends before its time, what was
//! running has failed with it, and what had not started was not run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use isotest_core::capture::Capture;
use isotest_core::capture::Captured;
use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::finding::{Codes, Finding};
use isotest_core::harness;
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::plan::Plan;
use isotest_core::policy::{Limits, Weakened};
use isotest_core::schedule::{Event, Job, MaxFail, Stream};
use memchr::memmem;
use serde::Deserialize;

use crate::config::settings::Settings;
use crate::run::policies::Member;
use crate::run::suite_plan::{self, LibtestOptions};
use crate::sandbox::factory::SandboxFactory;
use crate::sandbox::provision::CaseProvision;
use crate::select::selected::Selected;

/// libtest's, of a test that has failed.
const FAILED: i32 = 101;

/// Of a line that is longer, what is before a result is not kept until it ends.
const LONG_LINE: usize = 64 << 10;

/// Beginning of an event of libtest.
const EVENT: &[u8] = b"{ \"type\": \"";

/// The binaries that are run as a whole, by the case that stands for each in the schedule.
#[derive(Default)]
pub struct WholeBinaries {
    whole_binaries: HashMap<CaseIndex, WholeBinary>,
    /// Of binaries, with the codes that are denied.
    findings: BTreeMap<usize, (Vec<Finding>, Codes)>,
}

/// A binary that is run as a whole, while it is.
pub(super) struct WholeBinary {
    /// The id of the binary.
    binary: String,
    tests: Vec<(CaseIndex, String)>,
    by_name: HashMap<String, usize>,
    /// The names of those that libtest leaves out by itself.
    ignored: HashSet<String>,
    states: Vec<TestState>,
    /// The last result, which waits for the end of the process.
    last: Option<(CaseIndex, Box<Outcome>)>,
    counts: Counts,
    /// libtest's own counts at its end.
    summary: Option<Counts>,
    /// The first test that there was more than one result of.
    contradicted: Option<usize>,
    line: Vec<u8>,
    /// Output that neither is libtest's nor is captured by it, unless it is passed through.
    unattributed: Option<Capture>,
    output_limit: u64,
    weakened: Vec<Weakened>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TestState {
    Waiting,
    Running,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    passed: usize,
    failed: usize,
}

/// A line of libtest's JSON.
#[derive(Deserialize)]
struct LibtestEvent {
    r#type: String,
    event: String,
    name: Option<String>,
    /// In seconds; every result has it, by `--report-time`.
    exec_time: Option<f64>,
    stdout: Option<String>,
    message: Option<String>,
    passed: Option<usize>,
    failed: Option<usize>,
}

/// The job that runs these tests of a binary in one sandbox.
pub fn job(
    settings: &Settings,
    factory: &SandboxFactory,
    selected: &Selected,
    provided: CaseProvision,
    members: &[&Member],
    whole_binaries: &mut WholeBinaries,
) -> Option<Job> {
    let first = members.first()?.index;
    let options = LibtestOptions {
        threads: settings.jobs,
        pass_through: settings.pass_through,
        show_output: settings.report.show_output,
        shuffle_seed: settings.shuffle,
    };
    let plan = suite_plan::plan(factory, selected, provided, members);
    let arguments = suite_plan::arguments(&options, selected, members);
    // One binary runs at a time.
    let memory_share = Some(factory.host.memory).filter(|memory| *memory > 0);
    let unit = WholeBinary::new(selected, members, &factory.policy.weakened, settings.pass_through);
    whole_binaries.whole_binaries.insert(first, unit);
    let plan = Plan { arguments, memory_share, ..plan };
    Some(Job { pass_through: true, ..Job::once(first, plan) })
}

/// Keys that ask for something which the tests of a whole binary cannot have, and what holds
/// instead. The members are those that run so.
pub fn unsupported_keys<'a>(
    members: impl Iterator<Item = &'a Member> + Clone,
    max_fail: Option<MaxFail>,
) -> Vec<(&'static str, &'static str)> {
    let any = |asks: fn(&Member) -> bool| members.clone().any(asks);
    let mut limits: BTreeMap<usize, Vec<Option<Duration>>> = BTreeMap::new();
    for member in members.clone() {
        limits.entry(member.index.binary).or_default().push(member.terms.limits.timeout);
    }
    let differ = limits.values().any(|limits| limits.iter().any(|limit| *limit != limits[0]));
    let slow = Limits::default().slow_timeout;
    let keys = [
        (any(|one| one.terms.rules.retries.count > 0), "retries", "no test is started again"),
        (any(|one| one.terms.rules.threads_required.is_some()), "threads-required", ALONE),
        (any(|one| one.terms.rules.group.is_some()), "test-group", ALONE),
        (any(|one| one.terms.rules.priority != 0), "priority", "binaries run in cargo's order"),
        (
            members.clone().any(|one| one.terms.limits.slow_timeout != slow),
            "slow-timeout",
            "it is 1m",
        ),
        (differ, "timeout", "the longest of a binary applies to all its tests"),
        (
            max_fail.is_some_and(|most| most.failures > NonZeroUsize::MIN),
            "max-fail",
            "it counts binaries",
        ),
    ];
    keys.into_iter().filter(|(asked, ..)| *asked).map(|(_, key, instead)| (key, instead)).collect()
}

/// Reason why weights and groups have no effect.
const ALONE: &str = "one binary runs at a time, and its tests in parallel";

impl WholeBinaries {
    /// The events of the tests for one of the schedule, in its place.
    pub fn translate(&mut self, event: Event) -> Vec<Event> {
        match event {
            Event::Output(index, stream, bytes) => match self.whole_binaries.get_mut(&index) {
                Some(unit) => unit.take(index, stream, bytes),
                None => vec![Event::Output(index, stream, bytes)],
            },
            Event::Finished(index, outcome) => match self.whole_binaries.remove(&index) {
                Some(unit) => self.end(unit, index, *outcome),
                None => vec![Event::Finished(index, outcome)],
            },
            // libtest says it of each test.
            Event::Started(index) | Event::Slow(index, ..)
                if self.whole_binaries.contains_key(&index) =>
            {
                Vec::new()
            }
            event => vec![event],
        }
    }

    /// Findings of binaries, and those of their codes that are denied. The test that caused one is not
    /// known.
    pub fn findings(&self) -> impl Iterator<Item = (usize, (&[Finding], Codes))> {
        let findings = self.findings.iter();
        findings.map(|(binary, (findings, denied))| (*binary, (findings.as_slice(), *denied)))
    }

    fn end(&mut self, unit: WholeBinary, index: CaseIndex, mut outcome: Outcome) -> Vec<Event> {
        let findings = std::mem::take(&mut outcome.findings);
        if !findings.is_empty() {
            let (all, denied) = self.findings.entry(index.binary).or_default();
            all.extend(findings);
            if let Verdict::Denied(findings) = &outcome.verdict {
                *denied = denied.iter().chain(findings.iter().map(Finding::code)).collect();
                // No test of it has failed for what another one did.
                outcome.verdict = Verdict::Passed;
            }
        }
        unit.end(index, &outcome)
    }
}

impl WholeBinary {
    pub(super) fn new(
        selected: &Selected,
        members: &[&Member],
        weakened: &[Weakened],
        pass_through: bool,
    ) -> WholeBinary {
        let test = |member: &&Member| {
            let name = selected.selection.cases[member.index.case].name.clone();
            (member.index, name)
        };
        let tests: Vec<(CaseIndex, String)> = members.iter().map(test).collect();
        let cases = selected.selection.cases.iter();
        let ignored = cases.filter(|case| case.ignore != Ignore::No);
        let output_limit =
            members.iter().map(|member| member.terms.limits.output).max().unwrap_or(0);
        WholeBinary {
            ignored: ignored.map(|case| case.name.clone()).collect(),
            unattributed: (!pass_through).then(|| Capture::new(output_limit)),
            output_limit,
            weakened: weakened.to_vec(),
            ..WholeBinary::of(&selected.binary.id, tests)
        }
    }

    /// A binary of that id with these tests, whose output is not limited.
    pub(super) fn of(id: &str, tests: Vec<(CaseIndex, String)>) -> WholeBinary {
        WholeBinary {
            binary: id.to_owned(),
            by_name: tests.iter().zip(0..).map(|((_, name), at)| (name.clone(), at)).collect(),
            ignored: HashSet::new(),
            states: vec![TestState::Waiting; tests.len()],
            tests,
            last: None,
            counts: Counts::default(),
            summary: None,
            contradicted: None,
            line: Vec::new(),
            unattributed: Some(Capture::new(u64::MAX)),
            output_limit: u64::MAX,
            weakened: Vec::new(),
        }
    }

    /// Takes more of what the process writes.
    pub(super) fn take(&mut self, index: CaseIndex, stream: Stream, bytes: Vec<u8>) -> Vec<Event> {
        let mut events = Vec::new();
        if stream == Stream::Stderr {
            self.unattributed(index, stream, bytes, &mut events);
            return events;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > LONG_LINE && !piece.ends_with(b"\n") {
                // What cannot be libtest's is not kept.
                let event = harness::first_possible(&self.line, EVENT);
                let before: Vec<u8> = self.line.drain(..event).collect();
                if !before.is_empty() {
                    self.unattributed(index, stream, before, &mut events);
                }
            }
            if piece.ends_with(b"\n") || self.line.len() > self.longest_line() {
                let line = std::mem::take(&mut self.line);
                self.line(index, line, &mut events);
            }
        }
        events
    }

    /// A longer line is no result, whatever it begins with: of what a test has written so much is
    /// kept, and in JSON a byte may become six.
    fn longest_line(&self) -> usize {
        let most = usize::try_from(self.output_limit.saturating_mul(8)).unwrap_or(usize::MAX);
        most.max(LONG_LINE)
    }

    /// Takes a line. An event may stand behind what somebody else has written without a newline.
    fn line(&mut self, index: CaseIndex, mut line: Vec<u8>, events: &mut Vec<Event>) {
        let libtest = event(&line, |bytes| serde_json::from_slice(bytes).ok());
        if let Some((at, libtest)) = libtest
            && self.take_event(&libtest, events)
        {
            line.truncate(at);
        }
        if !line.is_empty() {
            self.unattributed(index, Stream::Stdout, line, events);
        }
    }

    /// Takes what libtest says; returns whether it is libtest's.
    fn take_event(&mut self, libtest: &LibtestEvent, events: &mut Vec<Event>) -> bool {
        if libtest.r#type == "suite" {
            if let (Some(passed), Some(failed)) = (libtest.passed, libtest.failed) {
                self.summary = Some(Counts { passed, failed });
            }
            return true;
        }
        let at = libtest.name.as_ref().and_then(|name| self.by_name.get(name)).copied();
        let Some(at) = at.filter(|_| libtest.r#type == "test") else {
            return libtest.name.as_ref().is_some_and(|name| self.ignored.contains(name));
        };
        let index = self.tests[at].0;
        match (libtest.event.as_str(), libtest.exec_time) {
            ("started", _) if self.states[at] == TestState::Waiting => {
                self.states[at] = TestState::Running;
                events.push(Event::Started(index));
            }
            ("timeout", _) => events.push(Event::Slow(index, Duration::from_secs(60), 1)),
            ("ok" | "failed", Some(seconds)) if self.states[at] == TestState::Running => {
                self.states[at] = TestState::Ended;
                let outcome = Box::new(self.outcome(libtest, seconds));
                if self.states.iter().all(|state| *state == TestState::Ended) {
                    self.last = Some((index, outcome));
                } else {
                    events.push(Event::Finished(index, outcome));
                }
            }
            ("ok" | "failed" | "started", _) => {
                self.contradicted.get_or_insert(at);
            }
            (_, _) => return false,
        }
        true
    }

    /// The outcome of a test that libtest reports.
    fn outcome(&mut self, libtest: &LibtestEvent, seconds: f64) -> Outcome {
        let has_passed = libtest.event == "ok";
        let count = if has_passed { &mut self.counts.passed } else { &mut self.counts.failed };
        *count += 1;
        let mut output = libtest.stdout.clone().unwrap_or_default();
        if let Some(message) = &libtest.message {
            output += &format!("note: {message}");
        }
        let verdict = if has_passed { Verdict::Passed } else { Verdict::Failed { code: FAILED } };
        Outcome {
            output: self.captured(output.as_bytes()),
            duration: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            weakened: self.weakened.clone(),
            ..Outcome::without_run(verdict)
        }
    }

    fn captured(&self, bytes: &[u8]) -> Captured {
        let mut capture = Capture::new(self.output_limit);
        capture.push(bytes);
        capture.finish()
    }

    /// Takes output that neither libtest has written nor a test whose output it captures.
    fn unattributed(
        &mut self,
        index: CaseIndex,
        stream: Stream,
        bytes: Vec<u8>,
        events: &mut Vec<Event>,
    ) {
        match &mut self.unattributed {
            Some(unattributed) => unattributed.push(&bytes),
            None => events.push(Event::Output(index, stream, bytes)),
        }
    }

    /// The process has ended: what has become of those that have no result.
    pub(super) fn end(mut self, index: CaseIndex, process: &Outcome) -> Vec<Event> {
        let mut events = Vec::new();
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.line(index, line, &mut events);
        }
        let unattributed = self.unattributed.take().map(Capture::finish).unwrap_or_default();
        let blamed = self.blamed(process);
        if blamed.is_empty() && !unattributed.is_empty() {
            events.push(Event::Output(index, Stream::Stdout, unattributed.to_bytes()));
        }
        let text = format!("{}{}", text(&unattributed), self.note(&blamed, process));
        let verdict = ended_early(&process.verdict);
        let last = self.last.take();
        for (at, (index, _)) in self.tests.iter().enumerate() {
            let outcome = match (&last, self.states[at]) {
                (Some((held, outcome)), _) if held == index => {
                    let mut outcome = outcome.clone();
                    if blamed.contains(&at) {
                        outcome.verdict = verdict.clone();
                        let before = self::text(&outcome.output);
                        outcome.output = self.captured(format!("{before}{text}").as_bytes());
                    }
                    outcome
                }
                (_, TestState::Ended) => continue,
                _ if blamed.contains(&at) => Box::new(Outcome {
                    output: self.captured(text.as_bytes()),
                    duration: process.duration,
                    weakened: self.weakened.clone(),
                    ..Outcome::without_run(verdict.clone())
                }),
                _ => Box::new(Outcome::without_run(match &process.verdict {
                    Verdict::NotRun(reason) => Verdict::NotRun(reason.clone()),
                    _ => Verdict::NotRun(NotRun::ProcessEnded),
                })),
            };
            events.push(Event::Finished(*index, outcome));
        }
        events
    }

    /// The tests that have ended as the process has: those that were running; where there are none,
    /// the next, or, where all had ended and libtest or the exit code says otherwise, the last.
    fn blamed(&self, process: &Outcome) -> Vec<usize> {
        let of = |wanted: TestState| {
            let states = self.states.iter().enumerate();
            states.filter(move |(_, state)| **state == wanted).map(|(at, _)| at)
        };
        let running: Vec<usize> = of(TestState::Running).collect();
        let exits_as_counted = match process.verdict {
            Verdict::Passed => self.counts.failed == 0,
            Verdict::Failed { code } => code == FAILED && self.counts.failed > 0,
            _ => false,
        };
        let is_whole = exits_as_counted
            && self.summary == Some(self.counts)
            && self.contradicted.is_none()
            && of(TestState::Ended).count() == self.tests.len();
        match &process.verdict {
            _ if is_whole => Vec::new(),
            Verdict::NotRun(_) if self.last.is_none() => Vec::new(),
            _ if !running.is_empty() => running,
            _ => {
                let last = self.last.as_ref().map(|(index, _)| *index);
                let last = self.tests.iter().position(|(index, _)| Some(*index) == last);
                of(TestState::Waiting).next().or(last).into_iter().collect()
            }
        }
    }

    /// The end of the process in words, for the end of its output.
    fn note(&self, blamed: &[usize], process: &Outcome) -> String {
        let names: Vec<&str> = blamed.iter().map(|at| self.tests[*at].1.as_str()).collect();
        let binary = &self.binary;
        let contradicted = self.contradicted.map(|at| self.tests[at].1.as_str());
        match (names.as_slice(), &self.last) {
            ([], _) => String::new(),
            (_, Some(_)) => match contradicted {
                Some(name) => format!(
                    "isotest: {binary} has printed more than one result of {name}: its result is \
                     not reliable\n"
                ),
                None => format!(
                    "isotest: all tests of {binary} had ended, but the end of its process says \
                     otherwise; the one that ended it is not known\n"
                ),
            },
            ([_], None) if self.states[blamed[0]] == TestState::Waiting => {
                format!("isotest: no test of {binary} was running when its process ended\n")
            }
            ([_], None) => String::new(),
            (names, None) => format!(
                "isotest: {} tests of {binary} were running when its process ended{}: {}\n",
                names.len(),
                match process.verdict {
                    Verdict::TimedOut { .. } => ": none had ended for that long",
                    _ => "; the one that ended it is not known",
                },
                names.join(", ")
            ),
        }
    }
}

/// The place of libtest's event in a line, and the event. libtest ends its lines, and quotes the
/// output of tests: so its event begins last, and no byte is parsed more than once.
fn event<T>(line: &[u8], mut parse: impl FnMut(&[u8]) -> Option<T>) -> Option<(usize, T)> {
    let at = memmem::rfind(line, EVENT)?;
    Some((at, parse(line.get(at..)?)?))
}

/// Verdict of a test whose process ended under it: the same, but no exit code is a result.
fn ended_early(process: &Verdict) -> Verdict {
    match process {
        Verdict::Passed => Verdict::ExitedEarly { code: 0 },
        Verdict::Failed { code } => Verdict::ExitedEarly { code: *code },
        other => other.clone(),
    }
}

/// The kept output, with an end of line.
fn text(kept: &Captured) -> String {
    let mut text = String::from_utf8_lossy(&kept.to_bytes()).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> Option<String> {
        serde_json::from_slice(bytes).ok().and_then(|libtest: LibtestEvent| libtest.name)
    }

    #[test]
    fn an_event_is_found_behind_what_others_have_written() {
        let real = r#"{ "type": "test", "event": "started", "name": "a" }"#;
        for before in ["", "a word", r#"{ "type": ""#, r#"{ "type": "a","z":["#, "{ { \"type\": "] {
            let line = format!("{before}{real}\n");
            let found = event(line.as_bytes(), name);
            assert_eq!(found, Some((before.len(), "a".to_owned())), "{line}");
        }
        let quoted =
            r#"{ "type": "test", "event": "ok", "name": "b", "stdout": "{ \"type\": \"" }"#;
        assert_eq!(event(quoted.as_bytes(), name), Some((0, "b".to_owned())));
        assert_eq!(event(format!("{real} and more\n").as_bytes(), name), None);
    }

    #[test]
    fn a_line_of_many_beginnings_is_parsed_once_at_the_most() {
        let mut line = r#"{ "type": "a","z":["#.repeat(110);
        line += &"1,".repeat(1 << 20);
        let mut parsed = 0;
        let found = event(line.as_bytes(), |bytes| {
            parsed += bytes.len();
            name(bytes)
        });
        assert_eq!(found, None);
        assert!(parsed > 0 && parsed <= line.len(), "{parsed} bytes of {}", line.len());
    }
}
