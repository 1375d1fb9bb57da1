//! The selected tests: binaries with what was selected of each.

use isotest_core::case::{Case, CaseIndex};

use crate::discover::list::Note;
use crate::discover::{Binary, Harness, Selection};

/// A binary with what was selected of it.
#[derive(Clone)]
pub struct Selected {
    /// The binary.
    pub binary: Binary,
    /// Its harness.
    pub harness: Harness,
    /// Remarks on its list.
    pub notes: Vec<Note>,
    /// Number of cases that it lists.
    pub listed: usize,
    /// Its selected cases.
    pub selection: Selection,
    /// Options of the command line that it is given; empty for libtest.
    pub passed_on: Vec<String>,
}

impl Selected {
    /// A harness of which nothing is selected says so; a program that is none says nothing.
    pub fn takes_part(&self) -> bool {
        self.harness != Harness::None || !self.selection.cases.is_empty()
    }

    /// Takes cases out of a selection, as a filter would. `None` where nothing is left of it.
    pub fn narrow(mut self, keep: impl FnMut(&Case) -> bool) -> Option<Selected> {
        let selection = &mut self.selection;
        let before = selection.cases.len();
        selection.cases.retain(keep);
        selection.filtered_out += before - selection.cases.len();
        self.takes_part().then_some(self)
    }
}

/// The case of this index.
pub fn case(selected: &[Selected], index: CaseIndex) -> &Case {
    &selected[index.binary].selection.cases[index.case]
}
