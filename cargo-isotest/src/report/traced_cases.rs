//! Cases of a run that were traced, or may be traced once more.

use isotest_core::case::CaseIndex;

/// Cases that were traced, or may be.
#[derive(Debug, Default)]
pub struct TracedCases {
    /// The cases that were retried.
    pub retried: Vec<CaseIndex>,
    /// Number of cases whose traces were taken.
    pub count: usize,
    /// Hashes of the binaries, where cases are traced.
    pub hashes: Vec<Option<String>>,
}
