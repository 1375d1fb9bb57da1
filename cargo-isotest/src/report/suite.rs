//! Input of a report before a run starts: the binaries, and the properties of the terminal.
//!
//! Plain data, filled from discovery and from the settings. Nothing here is decided from the
//! environment.

use isotest_core::case::{Case, CaseIndex};
use isotest_core::escape::is_deceptive;
use serde::{Deserialize, Serialize};

use crate::discover::list::Note;

/// One test binary of a run, with its selected cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// The text that cargo prints after `Running`: `unittests src/lib.rs
    /// (target/debug/deps/demo-b8d0)`.
    pub heading: String,
    /// The binary's id, `demo::it`.
    pub id: String,
    /// The name of its package.
    pub package: String,
    /// The name of its target.
    pub target: String,
    /// The kind of its target, as nextest names it.
    pub kind: String,
    /// Its main source file, relative to the workspace; empty where it is not known.
    #[serde(default)]
    pub source: String,
    /// The cargo arguments that select this binary again: `-p demo --test it`.
    pub rerun: String,
    /// The part before `--` of the command that runs some of its cases again, in this build and
    /// under these layers.
    pub again: String,
    /// The flags behind `--` of that command.
    pub again_behind: Vec<String>,
    /// Options of the command line that the harness was given.
    pub passed_on: Vec<String>,
    /// The root filesystem that it runs in, where the run has several.
    pub root: Option<String>,
    /// Every layer and limit that its cases have: name and value.
    pub layers: Vec<(String, String)>,
    /// True if it is a test harness, and not a program of the project's own.
    pub harness: bool,
    /// Remarks on its list.
    pub notes: Vec<Note>,
    /// The selected cases; [`CaseIndex::case`] points into them.
    pub cases: Vec<Case>,
    /// Number of cases of the binary that were filtered out.
    pub filtered_out: usize,
    /// Its cases share a sandbox.
    #[serde(default)]
    pub shared: bool,
}

impl Suite {
    /// True if nothing of it that is printed has control or format characters, as what isotest
    /// makes has none.
    pub fn is_printable(&self) -> bool {
        let Suite { heading, id, rerun, again, again_behind, passed_on, root, cases, .. } = self;
        let texts = [heading, id, rerun, again].into_iter().chain(root);
        let lists = again_behind.iter().chain(passed_on);
        let names = cases.iter().map(|case| &case.name);
        !texts.chain(lists).chain(names).any(|text| text.contains(is_deceptive))
    }

    /// The name of a case in the whole run: `demo::it::module::test`, and behind it ` in ROOT` where
    /// the run has several root filesystems.
    pub fn label(&self, case: &Case) -> String {
        match &self.root {
            None => format!("{}::{}", self.id, case.name),
            Some(root) => format!("{}::{} in {root}", self.id, case.name),
        }
    }
}

/// The name of a case in the whole run.
pub(super) fn label(suites: &[Suite], index: CaseIndex) -> String {
    let suite = &suites[index.binary];
    suite.label(&suite.cases[index.case])
}

/// Colours and the progress bar of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TerminalStyle {
    /// Colour on stdout; libtest's own rule is: a terminal, and no `--nocapture`.
    pub stdout_colour: bool,
    /// Colour on stderr.
    pub stderr_colour: bool,
    /// A progress bar on stderr, which has to be a terminal.
    pub progress: bool,
}

/// A suite as unit tests of this module use it.
#[cfg(test)]
pub(super) fn example(names: &[&str]) -> Suite {
    use isotest_core::case::{Ignore, Kind};

    let case = |name: &&str| Case::listed((*name).to_owned(), Kind::Test, Ignore::No);
    Suite {
        heading: "tests/it.rs (target/debug/deps/it-2c77)".to_owned(),
        id: "demo::it".to_owned(),
        package: "demo".to_owned(),
        target: "it".to_owned(),
        kind: "test".to_owned(),
        source: "tests/it.rs".to_owned(),
        rerun: "--test it".to_owned(),
        again: "--test it".to_owned(),
        again_behind: Vec::new(),
        passed_on: Vec::new(),
        root: None,
        layers: Vec::new(),
        harness: true,
        notes: Vec::new(),
        cases: names.iter().map(case).collect(),
        filtered_out: 0,
        shared: false,
    }
}
