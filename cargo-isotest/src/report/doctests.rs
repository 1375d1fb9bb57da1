//! Documentation tests, which rustdoc reports itself: what is known of them all together.

/// What a run of documentation tests came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DoctestSummary {
    /// Whether one failed, or could not be built.
    pub failed: bool,
    /// How many were selected.
    pub selected: usize,
    /// How many passed.
    pub passed: usize,
}
