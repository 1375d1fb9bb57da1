//! The results of a recorded run: of each test its verdict, its duration and its findings.

use std::collections::BTreeMap;

use isotest_core::escape::escape;
use serde::{Deserialize, Serialize};

use super::fact::{Fact, Finished, State, TestBinary};
use super::runs::Listing;

/// Maximum bytes of names and findings in one run.
const NAMES: usize = 256 << 20;

/// A test binary, in one root filesystem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BinaryName {
    /// Its id.
    pub binary: String,
    /// The root filesystem that it ran in, where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// A test binary for people.
pub fn shown_binary(binary: &str, root: Option<&str>) -> String {
    let root = root.map_or(String::new(), |root| format!(" (in {})", escape(root)));
    format!("{}{root}", escape(binary))
}

/// Results of a run.
#[derive(Debug, Clone)]
pub struct Results {
    /// The run, as it is listed.
    pub run: Listing,
    /// Its binaries.
    pub binaries: BTreeMap<BinaryName, BinaryResults>,
    /// Bytes of names and findings.
    names: usize,
}

/// Results of a binary.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BinaryResults {
    /// Its selected tests.
    pub tests: BTreeMap<String, TestResult>,
    /// Number of tests that were filtered out.
    pub filtered_out: usize,
}

/// Result of a test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TestResult {
    /// What it counts as.
    pub state: State,
    /// Its verdict, as `--message-format json` has it; empty if it has not ended.
    pub verdict: String,
    /// Its duration in seconds.
    pub seconds: f64,
    /// The run does not fail with it.
    pub may_fail: bool,
    /// Its findings: each code with words.
    pub findings: BTreeMap<String, String>,
}

impl TestResult {
    /// True if it has neither passed nor is ignored nor may fail: it failed, or never ran.
    pub fn is_left(&self) -> bool {
        !self.may_fail && !matches!(self.verdict.as_str(), "passed" | "ignored")
    }
}

/// The tests of a run have too long names.
#[derive(Debug)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its names have more than {NAMES} bytes")
    }
}

impl Results {
    /// Those of a run of which nothing was read yet.
    pub fn new(run: Listing) -> Results {
        Results { run, binaries: BTreeMap::new(), names: 0 }
    }

    /// Takes a line of the record, which is so many seconds behind the start.
    pub fn take(&mut self, at: f64, fact: Fact) -> Result<(), TooLong> {
        self.run.take(&fact, at);
        match fact {
            Fact::Binary(binary) => self.add(binary),
            Fact::TestFinished(finished) => self.end(*finished),
            Fact::Started(_)
            | Fact::TestStarted(_)
            | Fact::TestRetried(_)
            | Fact::Interrupted
            | Fact::RunFinished(_)
            | Fact::TestTraced(_)
            | Fact::Other => Ok(()),
        }
    }

    /// All tests, by binary and name.
    pub fn tests(&self) -> impl Iterator<Item = (&BinaryName, &str, &TestResult)> {
        self.binaries.iter().flat_map(|(binary, results)| {
            results.tests.iter().map(move |(test, result)| (binary, test.as_str(), result))
        })
    }

    /// Result of a test.
    pub fn of(&self, binary: &BinaryName, test: &str) -> Option<&TestResult> {
        self.binaries.get(binary).and_then(|binary| binary.tests.get(test))
    }

    fn add(&mut self, binary: TestBinary) -> Result<(), TooLong> {
        let TestBinary { binary, root, tests, filtered_out, .. } = binary;
        let names = tests.iter().map(|test| test.len() + size_of::<TestResult>());
        self.count(names.sum::<usize>() + binary.len())?;
        let results = self.binaries.entry(BinaryName { binary, root }).or_default();
        results.filtered_out = filtered_out;
        results.tests.extend(tests.into_iter().map(|test| (test, TestResult::default())));
        Ok(())
    }

    fn end(&mut self, finished: Finished) -> Result<(), TooLong> {
        let findings = &finished.findings;
        let bytes = findings.iter().map(|finding| finding.finding.len() + finding.text.len());
        self.count(finished.verdict.len() + bytes.sum::<usize>())?;
        let state = finished.state();
        let may_fail = state == State::Failed && finished.may_fail();
        let name = BinaryName { binary: finished.binary, root: finished.root };
        let results = self.binaries.get_mut(&name);
        if let Some(result) = results.and_then(|results| results.tests.get_mut(&finished.test)) {
            let findings = finished.findings.into_iter();
            *result = TestResult {
                state,
                verdict: finished.verdict,
                seconds: finished.seconds,
                may_fail,
                findings: findings.map(|finding| (finding.finding, finding.text)).collect(),
            };
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), TooLong> {
        self.names = self.names.saturating_add(bytes);
        if self.names <= NAMES { Ok(()) } else { Err(TooLong) }
    }
}
