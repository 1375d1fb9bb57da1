//! A case: one test as its binary lists it.
//!
//! Plain data. How a list is obtained stands in the front end; how a case is run, in
//! [`plan`](crate::plan) and [`sandbox`](crate::sandbox).

use serde::{Deserialize, Serialize};

/// What libtest says a case is; `cargo test` runs a benchmark once, as a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `NAME: test` in a terse list.
    Test,
    /// `NAME: benchmark` in a terse list.
    Benchmark,
}

/// Whether the harness skips the case unless it is asked not to.
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
    /// The name in the binary's list, as `module::test`.
    pub name: String,
    /// Test or benchmark.
    pub kind: Kind,
    /// Whether it is marked `#[ignore]`.
    pub ignore: Ignore,
}

/// Where a case stands in a run: the index of its binary and its index in that binary's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseIndex {
    /// Index of the binary in the run.
    pub binary: usize,
    /// Index of the case in that binary's list of selected cases.
    pub case: usize,
}
