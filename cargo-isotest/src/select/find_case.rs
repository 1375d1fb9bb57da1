//! Finds the one case that a name on the command line means.

use std::fmt;

use isotest_core::case::Case;
use isotest_core::escape::escape;

use crate::discover::is_named;
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
    let all = selected.iter().flat_map(|selected| {
        let cases = selected.selection.cases.iter();
        cases.map(move |case| (selected.binary.id.as_str(), case.name.as_str(), (selected, case)))
    });
    let found = choose(all, name)?;
    found.ok_or_else(|| unknown_case(name))
}

/// The error for a name that no test has.
pub fn unknown_case(name: &str) -> FindCaseError {
    FindCaseError(format!(
        "cannot find a test named `{name}`\nhint: `cargo isotest list` prints all names"
    ))
}

/// The one of these that `name` means, each with the id of its binary and its name; none where it
/// means none.
pub fn choose<'a, T>(
    all: impl Iterator<Item = (&'a str, &'a str, T)>,
    name: &str,
) -> Result<Option<T>, FindCaseError> {
    let (exact, rest): (Vec<_>, Vec<_>) =
        all.partition(|(binary, case, _)| is_named(binary, case, name));
    let mut found = match exact.is_empty() {
        true => rest.into_iter().filter(|(_, case, _)| case.contains(name)).collect(),
        false => exact,
    };
    match found.len() {
        0 | 1 => Ok(found.pop().map(|(.., found)| found)),
        count => {
            let lines = found
                .iter()
                .map(|(binary, case, _)| format!("\"{} {}\"", escape(binary), escape(case)));
            Err(FindCaseError(format!(
                "cannot choose among {count} tests for `{name}`: name one of them{}",
                first_lines(lines)
            )))
        }
    }
}
