//! Tests that have failed, or were not run: `--rerun-failed`, `rerun`.

use crate::report::BinaryName;
use crate::select::selected::Selected;
use crate::store::TestNames;

/// Tests that have failed, or were not run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished(TestNames);

impl From<TestNames> for Unfinished {
    fn from(tests: TestNames) -> Unfinished {
        Unfinished(tests)
    }
}

impl Unfinished {
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|tests| tests.is_empty())
    }

    /// Leaves out all others, in the root filesystem of that name.
    pub fn narrow(&self, selected: Vec<Selected>, root: Option<&str>) -> Vec<Selected> {
        let narrowed = selected.into_iter().filter_map(|selected| {
            let (binary, root) = (selected.binary.id.clone(), root.map(str::to_owned));
            let tests = self.0.get(&BinaryName { binary, root })?;
            selected.narrow(|case| tests.contains(&case.name))
        });
        narrowed.collect()
    }
}
