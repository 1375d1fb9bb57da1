//! What later readers of a record need to know of its lines: results, without output.
//!
//! A [`Fact`] is read from the message of a line alone. It takes no memory for what it does not have,
//! and keys, types and verdicts that a newer isotest may add are no error. Nothing here is
//! `#[serde(flatten)]`, which would keep all keys of a line.

use isotest_core::escape::escape;
use serde::{Deserialize, Serialize};

use super::message_test::Test;
use super::messages::Counts;

/// A line of a record, by the type of its message.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The first line.
    Started(Started),
    /// A binary, with the names of its selected tests.
    Binary(TestBinary),
    /// A test was started.
    TestStarted(Test),
    /// An attempt of a test failed, and it is started again.
    TestRetried(Test),
    /// A test has ended for good.
    TestFinished(Box<Finished>),
    /// A test was traced.
    TestTraced(Box<TracedSets>),
    /// A signal, or its time limit, ends the run.
    Interrupted,
    /// The last line.
    RunFinished(RunFinished),
    /// Anything else.
    Other,
}

/// What a test read, wrote, bound and dialled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TracedSets {
    /// The id of its binary.
    pub binary: String,
    /// The root filesystem that it runs in, where there are several.
    pub root: Option<String>,
    /// Its name.
    pub test: String,
    /// Files that it read, and that were there.
    pub reads: Vec<String>,
    /// Paths that it looked up, and that were missing.
    pub missing: Vec<String>,
    /// Paths that it wrote.
    pub writes: Vec<String>,
    /// Addresses that it bound.
    pub binds: Vec<String>,
    /// Addresses that it connected or sent to.
    pub dials: Vec<String>,
}

/// The start of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Started {
    /// The version of the format.
    pub format_version: u32,
    /// Number of selected tests.
    pub tests: usize,
    /// The id of the run.
    pub run: Option<String>,
    /// The time of its start in UTC (RFC 3339).
    pub time: Option<String>,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// Options that choose what is built, and the profile.
    #[serde(default)]
    pub repeated_options: Vec<String>,
    /// Names of other options that may matter.
    #[serde(default)]
    pub other_options: Vec<String>,
}

/// A test binary.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TestBinary {
    /// Its id.
    pub binary: String,
    /// The root filesystem that it runs in, where there are several.
    pub root: Option<String>,
    /// The names of its selected tests.
    pub tests: Vec<String>,
    /// Number of tests that were filtered out.
    pub filtered_out: usize,
    /// Its tests shared a sandbox.
    #[serde(default)]
    pub shared: bool,
}

/// A test that has ended.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finished {
    /// The id of its binary.
    pub binary: String,
    /// The root filesystem that it ran in, where there are several.
    pub root: Option<String>,
    /// Its name.
    pub test: String,
    /// Its verdict.
    pub verdict: String,
    /// From the start of its set-up to its end, in seconds.
    pub seconds: f64,
    /// True if it passed, but not at the first attempt.
    pub flaky: bool,
    /// The entry by which it may fail.
    #[serde(default)]
    pub quarantine: Option<QuarantineFact>,
    /// Findings of its last attempt.
    #[serde(default)]
    pub findings: Vec<FindingFact>,
    /// The attempts before.
    #[serde(default)]
    pub failed_attempts: Vec<FailedAttempt>,
}

/// An entry by which a test may fail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QuarantineFact {
    /// Its standing.
    pub standing: String,
}

impl Finished {
    /// True if the run does not fail with it, whatever its verdict is.
    pub fn may_fail(&self) -> bool {
        self.quarantine.as_ref().is_some_and(|entry| entry.standing == "holds")
    }

    /// What its verdict counts as.
    pub fn state(&self) -> State {
        match self.verdict.as_str() {
            _ if self.flaky => State::Flaky,
            "passed" => State::Passed,
            "ignored" => State::Ignored,
            "not-run" => State::NotRun,
            _ => State::Failed,
        }
    }
}

/// What a verdict counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Passed at the first attempt.
    Passed,
    /// Passed, but not at the first attempt.
    Flaky,
    /// Failed in whatever way.
    Failed,
    /// Ignored.
    Ignored,
    /// Not run.
    #[default]
    NotRun,
}

impl State {
    /// The verdict in words, which counts as this.
    pub fn words(self, verdict: Option<&str>) -> String {
        match (self, verdict) {
            (State::Flaky, _) => "flaky".to_owned(),
            (_, Some(verdict)) => escape(verdict).replace('-', " "),
            (_, None) => "not ended".to_owned(),
        }
    }

    /// True if it passed at some attempt.
    pub fn is_passed(self) -> bool {
        match self {
            State::Passed | State::Flaky => true,
            State::Failed | State::Ignored | State::NotRun => false,
        }
    }
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FindingFact {
    /// Its kind.
    pub finding: String,
    /// The same in words.
    #[serde(default)]
    pub text: String,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct FailedAttempt {
    /// Its verdict.
    pub verdict: String,
    /// Its duration in seconds.
    pub seconds: f64,
    /// Its findings.
    #[serde(default)]
    pub findings: Vec<FindingFact>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunFinished {
    /// Time that the tests took together, in seconds.
    pub seconds: f64,
    /// Number of tests by result.
    pub tests: Counts,
    /// Findings of binaries whose tests shared a sandbox.
    #[serde(default)]
    pub binary_findings: Vec<BinaryFact>,
}

/// Findings of a binary.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BinaryFact {
    /// The id of the binary.
    pub binary: String,
    /// The findings.
    pub findings: Vec<FindingFact>,
}

impl Fact {
    /// Reads a line. Returns the seconds since the start, too.
    pub fn read(line: &[u8]) -> serde_json::Result<(f64, Fact)> {
        #[derive(Deserialize)]
        struct Head {
            r#type: String,
            at: f64,
        }
        let Head { r#type, at } = serde_json::from_slice(line)?;
        let fact = match r#type.as_str() {
            "run-started" => Fact::Started(serde_json::from_slice(line)?),
            "binary" => Fact::Binary(serde_json::from_slice(line)?),
            "test-started" => Fact::TestStarted(serde_json::from_slice(line)?),
            "test-retried" => Fact::TestRetried(serde_json::from_slice(line)?),
            "test-finished" => Fact::TestFinished(serde_json::from_slice(line)?),
            "test-traced" => Fact::TestTraced(serde_json::from_slice(line)?),
            "interrupted" | "run-timed-out" => Fact::Interrupted,
            "run-finished" => Fact::RunFinished(serde_json::from_slice(line)?),
            _ => Fact::Other,
        };
        Ok((at, fact))
    }
}

#[cfg(test)]
mod tests {
    use isotest_core::case::CaseIndex;
    use isotest_core::finding::Finding;
    use isotest_core::outcome::{self, Outcome};
    use isotest_core::schedule::Event;

    use super::*;
    use crate::report::messages;
    use crate::report::suite::example;

    fn line(message: &messages::Message) -> Vec<u8> {
        let mut value = serde_json::to_value(message).expect("plain data");
        value["at"] = 1.5.into();
        serde_json::to_vec(&value).expect("plain data")
    }

    #[test]
    fn facts_are_those_of_the_messages() {
        let suites = [example(&["a"])];
        let first = messages::first(&suites, None, None);
        let facts = first.iter().map(|message| Fact::read(&line(message)).expect("a fact"));
        let facts: Vec<(f64, Fact)> = facts.collect();
        assert!(matches!(&facts[0], (1.5, Fact::Started(started)) if started.tests == 1));
        assert!(matches!(&facts[1].1, Fact::Binary(binary) if binary.tests == ["a"]));
        let mut outcome = Outcome::without_run(outcome::Verdict::Signalled { signal: 6 });
        outcome.findings.push(Finding::NetworkTried(2));
        outcome.earlier = vec![outcome.clone()];
        let index = CaseIndex { binary: 0, case: 0 };
        let event = Event::Finished(index, Box::new(outcome));
        let (_, fact) = Fact::read(&line(&messages::of_event(&suites, &event))).expect("a fact");
        let Fact::TestFinished(finished) = fact else { panic!("{fact:?}") };
        assert_eq!((finished.test.as_str(), finished.verdict.as_str()), ("a", "signalled"));
        assert_eq!(finished.findings[0].finding, "net-attempt");
        assert_eq!(finished.failed_attempts[0].verdict, "signalled");
    }

    #[test]
    fn what_a_newer_isotest_adds_is_no_error() {
        let line = br#"{"type":"test-finished","binary":"b","test":"t","verdict":"new","seconds":1,
            "flaky":false,"findings":[{"finding":"new","key":[[1]]}],"at":1,"exact":[[[]]]}"#;
        assert!(matches!(Fact::read(line).expect("a fact").1, Fact::TestFinished(_)));
        assert_eq!(Fact::read(br#"{"type":"new","at":1}"#).expect("a fact").1, Fact::Other);
    }
}
