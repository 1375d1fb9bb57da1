//! The part of the selected tests that runs: `--partition`, `--rerun-failed`, `rerun`.

use crate::cli::Part;
use crate::select::partition;
use crate::select::selected::Selected;
use crate::select::unfinished::Unfinished;

/// A part of the selected tests.
#[derive(Clone, Copy)]
pub struct RunSubset<'a> {
    /// The part of them that is run.
    pub part: Option<Part>,
    /// The last run, if only its failed tests run.
    pub failed: Option<&'a Unfinished>,
}

impl RunSubset<'_> {
    /// Leaves out what is not this run's in one root filesystem.
    pub fn narrow(&self, mut selected: Vec<Selected>, root: Option<&str>) -> Vec<Selected> {
        if let Some(failed) = self.failed {
            selected = failed.narrow(selected, root);
        }
        match &self.part {
            Some(part) => partition::narrow(selected, part),
            None => selected,
        }
    }

    /// True if documentation tests, which are selected as a whole, belong to this part.
    pub fn has_doctests(&self) -> bool {
        self.failed.is_none() && self.part.is_none_or(|part| part.number.get() == 1)
    }
}
