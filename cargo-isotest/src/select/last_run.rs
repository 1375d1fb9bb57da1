//! Tests that have failed and not passed since, kept in the target directory for `--rerun-failed`.
//!
//! A run adds the tests that fail in it and removes those that pass; the others stay. The next run
//! of a whole binary removes the tests that no longer exist.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::report::{CaseState, EndedCase, Reporter, Suite};
use crate::select::selected::Selected;
use crate::select::stored::IsotestDirectory;

const FILE: &str = "failed.json";

/// The version of the file's format.
const VERSION: u32 = 1;

/// A test that has failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FailedTest {
    /// The id of its binary.
    pub binary: String,
    /// The root filesystem it failed in, where the run had several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Its name.
    pub test: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct FailedTests {
    version: u32,
    failed: BTreeSet<FailedTest>,
}

/// Nothing is kept that has failed; where it would be kept.
#[derive(Debug)]
pub struct NothingFailed(PathBuf);

impl fmt::Display for NothingFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no failed tests to rerun\n\
             hint: failed tests are recorded in `{}`",
            self.0.display()
        )
    }
}

impl std::error::Error for NothingFailed {}

/// Tests that have failed, or were not run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished(BTreeSet<FailedTest>);

impl FromIterator<FailedTest> for Unfinished {
    fn from_iter<I: IntoIterator<Item = FailedTest>>(tests: I) -> Unfinished {
        Unfinished(tests.into_iter().collect())
    }
}

impl Unfinished {
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves out all others, in the root filesystem of that name.
    pub fn narrow(&self, selected: Vec<Selected>, root: Option<&str>) -> Vec<Selected> {
        let narrowed = selected.into_iter().filter_map(|selected| {
            let binary = selected.binary.id.clone();
            selected.narrow(|case| self.has(&binary, root, &case.name))
        });
        narrowed.collect()
    }

    fn has(&self, binary: &str, root: Option<&str>, test: &str) -> bool {
        let (binary, root) = (binary.to_owned(), root.map(str::to_owned));
        self.0.contains(&FailedTest { binary, root, test: test.to_owned() })
    }
}

/// The file and what is in it.
#[derive(Debug)]
pub struct LastRun {
    own: IsotestDirectory,
    /// Path of the file.
    path: PathBuf,
    /// Content of the file.
    kept: BTreeSet<FailedTest>,
    failed: Unfinished,
}

impl LastRun {
    /// Reads what is kept in a target directory. A file that cannot be read, or is another
    /// version's, counts as none: nothing hangs on it but what runs first.
    pub fn read(target_directory: &Path) -> LastRun {
        let own = IsotestDirectory::of(target_directory);
        let path = target_directory.join("isotest").join(FILE);
        let content: Option<FailedTests> = own.read(FILE);
        let known = content.filter(|content| content.version == VERSION);
        let kept = known.map(|content| content.failed).unwrap_or_default();
        LastRun { own, path, failed: Unfinished(kept.clone()), kept }
    }

    /// The tests; an error where there is none to run again.
    pub fn failed(&self) -> Result<&Unfinished, NothingFailed> {
        if self.failed.is_empty() {
            Err(NothingFailed(self.path.clone()))
        } else {
            Ok(&self.failed)
        }
    }

    /// Takes note of a run: what has failed is added, what has passed taken out, and what is not
    /// known to have ended stays as it was.
    pub fn update(&mut self, reporter: &Reporter) {
        for EndedCase { suite, case, state } in reporter.ended() {
            let (binary, root) = (suite.id.clone(), suite.root.clone());
            let failed = FailedTest { binary, root, test: case.name.clone() };
            match state {
                CaseState::Failed => {
                    self.failed.0.insert(failed);
                }
                CaseState::Passed => {
                    self.failed.0.remove(&failed);
                }
                CaseState::NotEnded => {}
            }
        }
        for suite in reporter.suites().iter().filter(|suite| suite.filtered_out == 0) {
            let is_there = |test: &str| suite.cases.iter().any(|case| case.name == test);
            let is_its = |it: &FailedTest| it.binary == suite.id && it.root == suite.root;
            self.failed.0.retain(|it| !is_its(it) || is_there(&it.test));
        }
    }

    /// The places of binaries of which exactly what has failed in this run is kept, so that
    /// `--rerun-failed` runs the same again. One of several root filesystems has another name there
    /// when it is the only one.
    pub fn recorded(&self, reporter: &Reporter) -> BTreeSet<usize> {
        let failed: BTreeSet<(&str, &str)> = reporter
            .ended()
            .filter(|ended| ended.state == CaseState::Failed)
            .map(|EndedCase { suite, case, .. }| (suite.id.as_str(), case.name.as_str()))
            .collect();
        let kept = |it: &FailedTest| failed.contains(&(it.binary.as_str(), it.test.as_str()));
        let is_exact = |suite: &Suite| {
            suite.root.is_none()
                && self.failed.0.iter().filter(|it| it.binary == suite.id).all(kept)
        };
        let suites = reporter.suites().iter().enumerate();
        suites.filter(|(_, suite)| is_exact(suite)).map(|(place, _)| place).collect()
    }

    /// Writes the file anew, whole or not at all; where nothing has changed it is left alone.
    pub fn write(&self) -> io::Result<()> {
        if self.failed.0 == self.kept {
            return Ok(());
        }
        let content = FailedTests { version: VERSION, failed: self.failed.0.clone() };
        self.own.replace(FILE, &content)
    }
}
