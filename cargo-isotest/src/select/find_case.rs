//! Finds the one case that a name on the command line means.

use std::fmt;

use isotest_core::case::Case;

use crate::report::first_lines;
use crate::select::selected::Selected;

/// A name fits no test, or more than one.
#[derive(Debug)]
pub struct FindCaseError(String);

impl fmt::Display for FindCaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for FindCaseError {}

/// The case that `name` means: its name, or its binary's id and its name (`demo::it tests::a`, as
/// `list` prints them), or a part of the name that no other case has.
pub fn find_case<'a>(
    selected: &'a [Selected],
    name: &str,
) -> Result<(&'a Selected, &'a Case), FindCaseError> {
    let all = || {
        selected
            .iter()
            .flat_map(|selected| selected.selection.cases.iter().map(move |case| (selected, case)))
    };
    let whole = |(selected, case): &(&Selected, &Case)| {
        let prefixed = name.strip_prefix(selected.binary.id.as_str());
        let rest = prefixed.map(|rest| rest.trim_start_matches([':', ' ', '$']));
        case.name == name || rest == Some(case.name.as_str())
    };
    let exact: Vec<_> = all().filter(whole).collect();
    let found = if exact.is_empty() {
        all().filter(|(_, case)| case.name.contains(name)).collect()
    } else {
        exact
    };
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(FindCaseError(format!(
            "cannot find a test named `{name}`\nhint: `cargo isotest list` prints all names"
        ))),
        many => Err(FindCaseError(ambiguous(name, many))),
    }
}

fn ambiguous(name: &str, found: &[(&Selected, &Case)]) -> String {
    let lines =
        found.iter().map(|(selected, case)| format!("\"{} {}\"", selected.binary.id, case.name));
    let lines = first_lines(lines);
    format!("cannot choose among {} tests for `{name}`: name one of them{lines}", found.len())
}
