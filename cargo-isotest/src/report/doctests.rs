//! Documentation tests, which rustdoc reports itself: what is known of them all together.

/// Result of the documentation tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct DoctestSummary {
    /// True if one failed, or could not be built.
    pub failed: bool,
    /// Number of selected tests.
    pub selected: usize,
    /// Number of passed tests.
    pub passed: usize,
}
