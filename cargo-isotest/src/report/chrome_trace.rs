//! A recorded run in the Trace Event Format, which Perfetto and `chrome://tracing` open: its attempts by
//! slot, and by binary.
//!
//! The record does not have slots. A slot here is the first one that is free when an attempt starts, so
//! there are as many as attempts ran at a time.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::fact::{Fact, Finished, Started, TestBinary};
use super::message_test::Test;
use super::plain_json;
use super::results::shown_binary;

/// Maximum number of attempts of a test.
const ATTEMPTS: usize = 1000;

/// The process of the trace that has a thread for each slot. Perfetto marks the thread with the number
/// of its process as a main thread, and no slot is one.
const SLOTS: u32 = 0;

/// The process of the trace that has a thread for each binary, and more where attempts of one ran at
/// the same time.
const BINARIES: u32 = 1;

/// The first thread of the binaries. Viewers may take threads of two processes that have the same
/// number for one.
const FIRST_THREAD: usize = 1_000_000;

/// Gathers the attempts of a run.
#[derive(Debug, Default)]
pub struct ChromeTrace {
    started: Started,
    /// By id and root filesystem: the place of a binary in the run.
    binaries: BTreeMap<(String, Option<String>), usize>,
    /// The tests of each binary.
    tests: Vec<BTreeMap<String, Progress>>,
    attempts: Vec<Attempt>,
    /// The time of the last line, in microseconds.
    end: u64,
}

/// Progress of a test.
#[derive(Debug, Clone)]
enum Progress {
    Waits,
    /// When it was started, and when its failed attempts ended.
    Runs(u64, Vec<u64>),
    Ended,
}

/// An attempt, its times in microseconds since the start of the run.
#[derive(Debug)]
struct Attempt {
    start: u64,
    end: u64,
    binary: usize,
    test: String,
    verdict: String,
    number: usize,
    of: usize,
    /// Its measured duration, if it has ended.
    seconds: Option<f64>,
    findings: Vec<String>,
}

/// A complete event.
#[derive(Serialize)]
struct Slice<'a> {
    name: &'a str,
    cat: &'a str,
    ph: &'static str,
    ts: u64,
    dur: u64,
    pid: u32,
    tid: usize,
    args: &'a Value,
}

impl ChromeTrace {
    /// That of a run.
    pub fn of(started: Started) -> ChromeTrace {
        ChromeTrace { started, ..ChromeTrace::default() }
    }

    /// Takes a line of the record, which is so many seconds behind the start.
    pub fn take(&mut self, at: f64, fact: Fact) {
        let at = microseconds(at).max(self.end);
        self.end = at;
        match fact {
            Fact::Binary(TestBinary { binary, root, tests, .. }) => {
                self.binaries.entry((binary, root)).or_insert(self.tests.len());
                self.tests.push(tests.into_iter().map(|test| (test, Progress::Waits)).collect());
            }
            Fact::TestStarted(test) => {
                if let Some((_, progress @ Progress::Waits)) = self.progress(test) {
                    *progress = Progress::Runs(at, Vec::new());
                }
            }
            Fact::TestRetried(test) => {
                if let Some((_, Progress::Runs(_, ends))) = self.progress(test)
                    && ends.len() < ATTEMPTS
                {
                    ends.push(at);
                }
            }
            Fact::TestFinished(finished) => self.finish(at, *finished),
            Fact::Started(_)
            | Fact::TestTraced(_)
            | Fact::Interrupted
            | Fact::RunFinished(_)
            | Fact::Other => {}
        }
    }

    fn progress(&mut self, test: Test) -> Option<(usize, &mut Progress)> {
        let binary = *self.binaries.get(&(test.binary, test.root))?;
        Some((binary, self.tests[binary].get_mut(&test.test)?))
    }

    /// Adds the attempts of a test that has ended. One that was not started has none.
    fn finish(&mut self, at: u64, finished: Finished) {
        let Finished { binary, root, test, verdict, seconds, findings, failed_attempts, .. } =
            finished;
        let named = Test { binary, root, test: test.clone() };
        let Some((binary, progress)) = self.progress(named) else { return };
        let Progress::Runs(mut start, ends) = std::mem::replace(progress, Progress::Ended) else {
            return;
        };
        let of = ends.len() + 1;
        let failed = ends.into_iter().zip(failed_attempts);
        let failed = failed.map(|(end, failed)| (end, failed.verdict, failed.seconds, Vec::new()));
        let findings = findings.into_iter().map(|finding| finding.finding).collect();
        let last = (at, verdict, seconds, findings);
        for (number, (end, verdict, seconds, findings)) in (1..).zip(failed.chain([last])) {
            if number > 1 {
                // A retry may wait before it starts.
                start = start.max(end.saturating_sub(microseconds(seconds)));
            }
            let (test, seconds) = (test.clone(), Some(seconds));
            self.attempts.push(Attempt {
                start,
                end,
                binary,
                test,
                verdict,
                number,
                of,
                seconds,
                findings,
            });
            start = end;
        }
    }

    /// Writes the trace. Attempts that have not ended last until the end of the record.
    pub fn write(mut self, out: &mut impl Write) -> io::Result<()> {
        self.add_running();
        self.attempts.sort_by_key(|attempt| attempt.start);
        let names: BTreeMap<usize, (&str, Option<&str>)> = self
            .binaries
            .iter()
            .map(|((binary, root), place)| (*place, (binary.as_str(), root.as_deref())))
            .collect();
        let Started { run, time, commit, .. } = &self.started;
        write!(out, "{{\"displayTimeUnit\":\"ms\",\"otherData\":")?;
        plain_json::write(&mut *out, &json!({ "run": run, "time": time, "commit": commit }))?;
        write!(out, ",\"traceEvents\":[")?;
        for (pid, name) in [(SLOTS, "slots"), (BINARIES, "binaries")] {
            out.write_all(if pid == SLOTS { b"\n" } else { b",\n" })?;
            plain_json::write(&mut *out, &metadata("process_name", pid, 0, name))?;
        }
        let mut slots = Lanes::default();
        let mut lanes: BTreeMap<usize, Lanes> = BTreeMap::new();
        // The thread of each lane of a binary.
        let mut threads: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for attempt in &self.attempts {
            let (slot, is_new) = slots.take(attempt);
            if is_new {
                // Viewers print the number of a thread behind its name.
                write_named(out, SLOTS, slot + 1, "slot")?;
            }
            let (lane, _) = lanes.entry(attempt.binary).or_default().take(attempt);
            let next = FIRST_THREAD + threads.len();
            let thread = *threads.entry((attempt.binary, lane)).or_insert(next);
            let (binary, root) = names[&attempt.binary];
            if thread == next {
                let name = shown_binary(binary, root);
                let name = if lane == 0 { name } else { format!("{name} ({})", lane + 1) };
                write_named(out, BINARIES, thread, &name)?;
                let order = attempt.binary * (1 << 16) + lane;
                out.write_all(b",\n")?;
                let order = json!({
                    "name": "thread_sort_index", "ph": "M", "pid": BINARIES, "tid": thread,
                    "args": { "sort_index": order },
                });
                plain_json::write(&mut *out, &order)?;
            }
            let (name, args) = (attempt.name(), attempt.arguments(binary, root));
            for (pid, tid) in [(SLOTS, slot + 1), (BINARIES, thread)] {
                out.write_all(b",\n")?;
                let slice = Slice {
                    name: &name,
                    cat: binary,
                    ph: "X",
                    ts: attempt.start,
                    dur: attempt.end - attempt.start,
                    pid,
                    tid,
                    args: &args,
                };
                plain_json::write(&mut *out, &slice)?;
            }
        }
        writeln!(out, "\n]}}")
    }

    fn add_running(&mut self) {
        for (binary, tests) in self.tests.iter().enumerate() {
            for (test, progress) in tests {
                let Progress::Runs(start, ends) = progress else { continue };
                self.attempts.push(Attempt {
                    start: ends.last().copied().unwrap_or(*start),
                    end: self.end,
                    binary,
                    test: test.clone(),
                    verdict: "not-ended".to_owned(),
                    number: ends.len() + 1,
                    of: ends.len() + 1,
                    seconds: None,
                    findings: Vec::new(),
                });
            }
        }
    }
}

impl Attempt {
    /// The name of its slice: viewers show no verdict otherwise.
    fn name(&self) -> String {
        match self.verdict.as_str() {
            "passed" => self.test.clone(),
            verdict => format!("{} ({})", self.test, verdict.replace('-', " ")),
        }
    }

    fn arguments(&self, binary: &str, root: Option<&str>) -> Value {
        let mut arguments = json!({
            "binary": binary,
            "test": self.test,
            "verdict": self.verdict,
            "attempt": self.number,
            "attempts": self.of,
        });
        if let Some(root) = root {
            arguments["root"] = root.into();
        }
        if let Some(seconds) = self.seconds {
            arguments["seconds"] = seconds.into();
        }
        if !self.findings.is_empty() {
            arguments["findings"] = self.findings.clone().into();
        }
        arguments
    }
}

/// Lanes in which attempts do not overlap: the end of the last one in each.
#[derive(Debug, Default)]
struct Lanes(Vec<u64>);

impl Lanes {
    /// The first lane that is free; true if it is new. Later attempts follow in the order of their
    /// starts.
    fn take(&mut self, attempt: &Attempt) -> (usize, bool) {
        let free = self.0.iter().position(|end| *end <= attempt.start);
        let lane = free.unwrap_or(self.0.len());
        match free {
            Some(lane) => self.0[lane] = attempt.end,
            None => self.0.push(attempt.end),
        }
        (lane, free.is_none())
    }
}

fn metadata(what: &str, pid: u32, tid: usize, name: &str) -> Value {
    json!({ "name": what, "ph": "M", "pid": pid, "tid": tid, "args": { "name": name } })
}

fn write_named(out: &mut impl Write, pid: u32, tid: usize, name: &str) -> io::Result<()> {
    out.write_all(b",\n")?;
    plain_json::write(out, &metadata("thread_name", pid, tid, name))
}

/// Seconds in microseconds; ten years at most.
fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round().clamp(0.0, 3e14) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complete events of a run with these lines.
    fn slices(lines: &[Value]) -> Vec<Value> {
        let mut trace = ChromeTrace::of(Started::default());
        for line in lines {
            let line = serde_json::to_vec(line).expect("plain data");
            let (at, fact) = Fact::read(&line).expect("a fact");
            trace.take(at, fact);
        }
        let mut text = Vec::new();
        trace.write(&mut text).expect("memory takes it");
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        let events = value["traceEvents"].as_array().expect("events").clone();
        events.into_iter().filter(|event| event["ph"] == "X").collect()
    }

    fn started(at: f64, test: &str) -> Value {
        json!({ "type": "test-started", "at": at, "binary": "b", "test": test })
    }

    fn ended(at: f64, test: &str, seconds: f64, failed: &[f64]) -> Value {
        let failed: Vec<Value> = failed
            .iter()
            .map(|seconds| json!({ "verdict": "failed", "seconds": seconds }))
            .collect();
        json!({
            "type": "test-finished", "at": at, "binary": "b", "test": test, "verdict": "passed",
            "seconds": seconds, "flaky": false, "failed-attempts": failed,
        })
    }

    fn binary(tests: &[&str]) -> Value {
        json!({ "type": "binary", "at": 0, "binary": "b", "tests": tests, "filtered-out": 0 })
    }

    #[test]
    fn a_binary_that_a_foreign_record_has_twice_is_the_first() {
        let lines =
            [binary(&["a"]), binary(&["b", "c"]), started(1.0, "c"), ended(2.0, "c", 1.0, &[])];
        slices(&lines);
        let lines = [binary(&["a"]), binary(&["b"]), started(1.0, "a"), ended(2.0, "a", 1.0, &[])];
        assert!(!slices(&lines).is_empty());
    }

    /// Thread, start and duration in milliseconds of the slices of the slots.
    fn in_slots(slices: &[Value]) -> Vec<(u64, u64, u64)> {
        let number = |slice: &Value, key: &str| slice[key].as_u64().expect("a number");
        let slots = slices.iter().filter(|slice| slice["pid"] == SLOTS);
        let times = slots.map(|slice| {
            (number(slice, "tid"), number(slice, "ts") / 1000, number(slice, "dur") / 1000)
        });
        times.collect()
    }

    #[test]
    fn a_slot_that_is_free_again_is_used_again() {
        let found = slices(&[
            binary(&["x", "y", "z"]),
            started(1.0, "x"),
            started(1.0, "y"),
            ended(2.0, "x", 0.9, &[]),
            started(2.0, "z"),
            ended(3.0, "y", 1.9, &[]),
            ended(4.0, "z", 1.9, &[]),
        ]);
        assert_eq!(in_slots(&found), [(1, 1000, 1000), (2, 1000, 2000), (1, 2000, 2000)]);
        assert_eq!(found[0]["args"]["seconds"], 0.9);
    }

    #[test]
    fn each_attempt_is_a_slice() {
        let found = slices(&[
            binary(&["x"]),
            started(1.0, "x"),
            json!({
                "type": "test-retried", "at": 2, "binary": "b", "test": "x", "attempt": 2,
                "attempts": 2,
            }),
            ended(5.0, "x", 1.0, &[0.9]),
        ]);
        assert_eq!(in_slots(&found), [(1, 1000, 1000), (1, 4000, 1000)]);
        assert_eq!(found[0]["name"], "x (failed)");
        assert_eq!((&found[2]["name"], &found[2]["args"]["attempt"]), (&"x".into(), &2.into()));
    }

    #[test]
    fn a_test_that_has_not_ended_lasts_until_the_end() {
        let found = slices(&[binary(&["x", "y"]), started(1.0, "x"), started(3.0, "y")]);
        assert_eq!(in_slots(&found), [(1, 1000, 2000), (1, 3000, 0)]);
        assert_eq!(found[0]["name"], "x (not ended)");
    }

    #[test]
    fn lines_that_do_not_fit_have_no_slice() {
        let found = slices(&[
            binary(&["x"]),
            started(-1e300, "x"),
            started(1.0, "other"),
            ended(1e300, "x", 1e300, &[1.0]),
            ended(9.0, "x", 1.0, &[]),
            ended(9.0, "other", 1.0, &[]),
        ]);
        assert_eq!(in_slots(&found).len(), 1);
    }
}
