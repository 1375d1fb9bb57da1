//! What of the selected tests is run: `--partition`, `--rerun-failed`.

use crate::cli::Part;
use crate::select::last_run::LastRun;
use crate::select::partition;
use crate::select::selected::Selected;

/// What leaves out some of the selected tests.
#[derive(Clone, Copy)]
pub struct RunSubset<'a> {
    /// The part of them that is run.
    pub part: Option<Part>,
    /// What has failed, where nothing else is run.
    pub failed: Option<&'a LastRun>,
}

impl RunSubset<'_> {
    /// Leaves out what is not this run's in one root filesystem.
    pub fn narrow(&self, mut selected: Vec<Selected>, root: Option<&str>) -> Vec<Selected> {
        if let Some(last_run) = self.failed {
            selected = last_run.narrow(selected, root);
        }
        match &self.part {
            Some(part) => partition::narrow(selected, part),
            None => selected,
        }
    }

    /// Whether documentation tests, which are selected as a whole, are this run's.
    pub fn has_doctests(&self) -> bool {
        self.failed.is_none() && self.part.is_none_or(|part| part.number.get() == 1)
    }
}
