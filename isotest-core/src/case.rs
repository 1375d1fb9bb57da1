//! A case: one test as its binary lists it.
//!
//! Plain data. How a list is obtained stands in the front end; how a case is run, in
//! [`plan`](crate::plan) and [`sandbox`](crate::sandbox).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::escape::escape;

/// Kind of a case, as libtest lists it; `cargo test` runs a benchmark once, as a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `NAME: test` in a terse list.
    Test,
    /// `NAME: benchmark` in a terse list, or `NAME: bench`.
    Benchmark,
}

/// Ignore mark of a case: its harness skips it unless it is asked not to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Ignore {
    /// Runs by default.
    #[default]
    No,
    /// `#[ignore]`.
    Yes,
    /// `#[ignore = "REASON"]`.
    Because(String),
}

/// One test as its binary lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The name in the binary's list, as `module::test`; with escapes where it has control or format
    /// characters.
    pub name: String,
    /// Test or benchmark.
    pub kind: Kind,
    /// It is left out for its mark.
    pub ignore: Ignore,
    /// Its mark in the list, `#[ignore]`, which may not count in a run.
    #[serde(default)]
    pub mark: Ignore,
    /// Name in its harness, where [`name`](Case::name) has escapes.
    #[serde(default)]
    pub raw: Option<String>,
    /// Name that selects it in its harness, where that differs from the name that the harness
    /// prints.
    #[serde(default)]
    pub selector: Option<String>,
}

impl Case {
    /// A case as it is listed. Control and format characters in its name are escaped: they could pass
    /// for something else on a terminal or in a log.
    pub fn listed(name: String, kind: Kind, ignore: Ignore) -> Case {
        let mark = ignore.clone();
        match escape(&name) {
            Cow::Owned(escaped) => {
                Case { name: escaped, kind, ignore, mark, raw: Some(name), selector: None }
            }
            Cow::Borrowed(_) => Case { name, kind, ignore, mark, raw: None, selector: None },
        }
    }

    /// Name in its harness.
    pub fn called(&self) -> &str {
        self.raw.as_deref().unwrap_or(&self.name)
    }

    /// Name that selects it, and no other case, in its harness.
    pub fn selector(&self) -> &str {
        self.selector.as_deref().unwrap_or(self.called())
    }
}

/// Position of a case in a run: the index of its binary and its index in that binary's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CaseIndex {
    /// Index of the binary in the run.
    pub binary: usize,
    /// Index of the case in that binary's list of selected cases.
    pub case: usize,
}
