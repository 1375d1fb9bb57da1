//! What `cargo isotest baseline` prints.

use std::io::{self, Write};

use isotest_core::escape::escape;

use super::paint::HINT;
use super::words::counted;

/// Tells which entries are new, which are gone, and how many the file has.
pub fn baseline(
    path: &str,
    added: &[String],
    removed: &[String],
    all: usize,
    is_check: bool,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (sign, entries) in [('+', added), ('-', removed)] {
        for entry in entries {
            writeln!(out, "{sign} {}", escape(entry))?;
        }
    }
    let path = escape(path);
    let findings = counted(all, "known finding");
    match (added.len(), removed.len(), is_check) {
        (0, 0, true) => writeln!(out, "`{path}` is up to date: {findings}"),
        (new, gone, true) => {
            writeln!(out, "`{path}` would change: {new} new, {gone} no longer occur")
        }
        (0, 0, false) => writeln!(out, "wrote `{path}`: {findings}, as before"),
        (new, gone, false) => {
            writeln!(out, "wrote `{path}`: {findings}, {new} new, {gone} no longer occurred")
        }
    }?;
    out.flush()
}

/// Tells that tests were filtered out of the run: nothing is known of theirs.
pub fn filtered_out_of_baseline(tests: usize) {
    let (tests, were) = (counted(tests, "test"), if tests == 1 { "was" } else { "were" });
    anstream::eprintln!(
        "{HINT}note{HINT:#}: in this run {tests} {were} filtered out; their entries stay as they were"
    );
}
