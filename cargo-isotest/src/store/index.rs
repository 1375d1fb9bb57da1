//! The index: what the recorded runs say together of each test, so that a run need not read them.
//!
//! It is made of the runs, and of nothing else. A run that ends adds its results; those of a run that
//! was killed are read when the index is read next. A file that cannot be read, or is another
//! version's, is made anew of the latest runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::{BinaryName, CaseState, EndedCase, Reporter, Results, Suite};
use crate::store::durations::Durations;
use crate::store::reader::results;
use crate::store::runs::{Store, Stored};

/// Name of the file, beside the runs.
const FILE: &str = "index.json";

/// The version of the file's format.
const VERSION: u32 = 1;

/// More than the file of a million tests has.
const MAX_BYTES: u64 = 256 << 20;

/// Maximum number of runs that are read for it.
const READ: usize = 20;

/// Names of tests, by binary.
pub type TestNames = BTreeMap<BinaryName, BTreeSet<String>>;

/// What recorded runs say of each test.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// The runs that it is made of, as far as they are kept.
    runs: BTreeSet<String>,
    /// The last duration of each test that was long.
    pub durations: Durations,
    /// The tests that have failed and not passed since.
    pub failed: TestNames,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    runs: BTreeSet<String>,
    durations: Durations,
    failed: Vec<FailedTests>,
}

#[derive(Serialize, Deserialize)]
struct FailedTests {
    #[serde(flatten)]
    binary: BinaryName,
    tests: BTreeSet<String>,
}

impl Store {
    /// The index. Results of runs that it does not have are added; one that is being written adds
    /// its own.
    pub fn index(&self) -> Index {
        let mut index = self.read_index().unwrap_or_default();
        let Ok(runs) = self.runs() else { return index };
        let mut unread = Vec::new();
        for run in runs.iter().filter(|run| !index.runs.contains(&run.id)) {
            if self.is_written(&run.id) {
                continue;
            }
            unread.push(run);
        }
        for (number, run) in unread.iter().enumerate().rev() {
            if number < READ {
                self.add(run, &mut index);
            }
            index.runs.insert(run.id.clone());
        }
        let kept: BTreeSet<&str> = runs.iter().map(|run| run.id.as_str()).collect();
        index.runs.retain(|run| kept.contains(run.as_str()));
        index
    }

    /// The durations in the index as it is written.
    pub fn durations(&self) -> Durations {
        self.read_index().map(|index| index.durations).unwrap_or_default()
    }

    /// Writes the index anew, whole or not at all.
    pub fn write_index(&self, index: &Index) -> io::Result<()> {
        let failed = index.failed.iter().filter(|(_, tests)| !tests.is_empty());
        let content = Content {
            version: VERSION,
            runs: index.runs.clone(),
            durations: index.durations.clone(),
            failed: failed
                .map(|(binary, tests)| FailedTests { binary: binary.clone(), tests: tests.clone() })
                .collect(),
        };
        let mut bytes = serde_json::to_vec(&content)?;
        bytes.push(b'\n');
        self.directory()?.replace_by(OsStr::new(FILE), 0o600, |file| file.write_all(&bytes))
    }

    fn read_index(&self) -> Option<Index> {
        let bytes = self.directory().ok()?.read(FILE, MAX_BYTES).ok()?;
        let content: Content = serde_json::from_slice(&bytes).ok()?;
        let Content { version, runs, durations, failed } = content;
        let failed = failed.into_iter().map(|failed| (failed.binary, failed.tests)).collect();
        (version == VERSION).then_some(Index { runs, durations, failed })
    }

    /// Adds the results of a run, where it can be read.
    fn add(&self, run: &Stored, index: &mut Index) {
        let path = self.path().join(&run.id);
        if let Ok(file) = self.open(&run.id)
            && let Ok(results) = results(file, &path)
        {
            index.add(&results);
        }
    }
}

/// End of a test, as far as later runs care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Failed,
    PassedOrIgnored,
    Unknown,
}

impl Index {
    /// Adds the results of a recorded run.
    fn add(&mut self, results: &Results) {
        for (binary, test, result) in results.tests() {
            let end = match result.verdict.as_str() {
                "" | "not-run" => End::Unknown,
                _ if result.is_left() => End::Failed,
                _ => End::PassedOrIgnored,
            };
            self.end(binary, test, end);
            match Duration::try_from_secs_f64(result.seconds) {
                Ok(took) if !took.is_zero() => self.durations.note(&binary.binary, test, took),
                Ok(_) | Err(_) => {}
            }
        }
        for (binary, results) in results.binaries.iter().filter(|(_, it)| it.filtered_out == 0) {
            if let Some(failed) = self.failed.get_mut(binary) {
                failed.retain(|test| results.tests.contains_key(test));
            }
        }
    }

    /// Adds the results of the run of this id, which has ended, with the durations that it has noted.
    pub fn add_run(&mut self, run: &str, reporter: &Reporter, durations: &Durations) {
        self.runs.insert(run.to_owned());
        self.durations.take_noted(durations);
        for EndedCase { suite, case, state, .. } in reporter.ended() {
            let end = match state {
                CaseState::Failed => End::Failed,
                CaseState::Passed => End::PassedOrIgnored,
                CaseState::NotEnded => End::Unknown,
            };
            if end == End::Failed || !self.failed.is_empty() {
                self.end(&name(suite), &case.name, end);
            }
        }
        for suite in reporter.suites().iter().filter(|suite| suite.filtered_out == 0) {
            if let Some(failed) = self.failed.get_mut(&name(suite)) {
                failed.retain(|test| suite.cases.iter().any(|case| case.name == *test));
            }
        }
    }

    fn end(&mut self, binary: &BinaryName, test: &str, end: End) {
        match (end, self.failed.get_mut(binary)) {
            (End::Failed, Some(failed)) => {
                failed.insert(test.to_owned());
            }
            (End::Failed, None) => {
                self.failed.insert(binary.clone(), BTreeSet::from([test.to_owned()]));
            }
            (End::PassedOrIgnored, Some(failed)) => {
                failed.remove(test);
            }
            (End::PassedOrIgnored, None) | (End::Unknown, _) => {}
        }
    }

    /// The places of binaries of which exactly what has failed in this run is known as failed, so that
    /// `--rerun-failed` runs the same again. One of several root filesystems has another name there
    /// when it is the only one.
    pub fn same_failures(&self, reporter: &Reporter) -> BTreeSet<usize> {
        let failed: BTreeSet<(&str, &str)> = reporter
            .ended()
            .filter(|ended| ended.state == CaseState::Failed)
            .map(|EndedCase { suite, case, .. }| (suite.id.as_str(), case.name.as_str()))
            .collect();
        let is_same = |suite: &Suite| {
            let known = self.failed.iter().filter(|(binary, _)| binary.binary == suite.id);
            let mut tests = known.flat_map(|(_, tests)| tests);
            suite.root.is_none()
                && tests.all(|test| failed.contains(&(suite.id.as_str(), test.as_str())))
        };
        let suites = reporter.suites().iter().enumerate();
        suites.filter(|(_, suite)| is_same(suite)).map(|(place, _)| place).collect()
    }
}

fn name(suite: &Suite) -> BinaryName {
    BinaryName { binary: suite.id.clone(), root: suite.root.clone() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::SystemTime;

    use serde_json::{Value, json};

    use super::*;

    /// Records a run of one binary with these verdicts, at a second.
    fn record(store: &Store, second: u64, filtered_out: usize, tests: &[(&str, &str)]) -> String {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let (id, mut writer) = store.create(time).expect("it is writable");
        let names: Vec<&str> = tests.iter().map(|(name, _)| *name).collect();
        let mut lines = vec![
            json!({ "type": "run-started", "at": 0, "format-version": 1, "tests": tests.len() }),
            json!({
                "type": "binary", "at": 0, "binary": "b", "tests": names,
                "filtered-out": filtered_out,
            }),
        ];
        lines.extend(tests.iter().map(|(test, verdict)| -> Value {
            json!({
                "type": "test-finished", "at": 1, "binary": "b", "test": test,
                "verdict": verdict, "seconds": 2, "flaky": false,
            })
        }));
        for line in lines {
            writeln!(writer, "{line}").expect("it is writable");
        }
        id
    }

    /// Waits until no process that another test has forked has a lock.
    fn index(store: &Store) -> Index {
        let runs = store.runs().expect("it can be read");
        while runs.iter().any(|run| store.is_written(&run.id)) {
            std::thread::yield_now();
        }
        store.index()
    }

    fn failed(index: &Index) -> Vec<&str> {
        index.failed.values().flatten().map(String::as_str).collect()
    }

    #[test]
    fn what_failed_is_known_until_it_passes_or_is_gone() {
        let place = tempfile::tempdir().expect("a directory");
        let store = Store::of(place.path());
        record(&store, 0, 0, &[("x", "failed"), ("y", "signalled"), ("z", "passed")]);
        assert_eq!(failed(&index(&store)), ["x", "y"]);
        record(&store, 1, 2, &[("x", "passed"), ("y", "not-run")]);
        assert_eq!(failed(&index(&store)), ["y"]);
        let index_of_two = index(&store);
        store.write_index(&index_of_two).expect("it is writable");
        record(&store, 2, 0, &[("z", "failed")]);
        let last = index(&store);
        assert_eq!(failed(&last), ["z"]);
        assert_eq!(last.durations.of("b", "x"), Duration::from_secs(2));
        assert_eq!(last.runs.len(), 3);
    }

    #[test]
    fn the_index_stays_when_its_runs_go_and_is_made_anew_when_it_is_damaged() {
        let place = tempfile::tempdir().expect("a directory");
        let store = Store::of(place.path());
        let id = record(&store, 0, 0, &[("x", "failed")]);
        record(&store, 1, 1, &[("y", "failed")]);
        store.write_index(&index(&store)).expect("it is writable");
        let file = format!("{id}.isotest");
        store.directory().and_then(|it| it.remove(OsStr::new(&file))).expect("it is writable");
        let kept = index(&store);
        assert_eq!((failed(&kept), kept.runs.len()), (vec!["x", "y"], 1));
        std::fs::write(store.path().join(FILE), "[1, {").expect("it is writable");
        assert_eq!(failed(&index(&store)), ["y"]);
    }
}
