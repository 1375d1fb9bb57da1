//! The changes of one test, as `diff` prints them.

use std::io::{self, Write};

use isotest_core::case::Case;
use isotest_core::escape::escape;
use isotest_core::finding::{ChangeKind, FileChange};
use isotest_core::outcome::Outcome;
use serde::Serialize;

use super::message_findings::{self, Change};
use super::paint::{ERROR, GOOD, WARNING, styled};
use super::words;

/// Changes of a test as JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Changes<'a> {
    binary: &'a str,
    test: &'a str,
    changes: Vec<Change>,
    /// There are more than were read.
    more: bool,
}

/// Tells on stderr how a test has ended; with its output, if it has failed.
pub fn verdict(case: &Case, outcome: &Outcome) -> io::Result<()> {
    let mut err = anstream::stderr().lock();
    if outcome.verdict.is_failure() {
        err.write_all(&words::failure_text(outcome))?;
    }
    let (style, word) = if outcome.verdict.is_failure() { (ERROR, "FAILED") } else { (GOOD, "ok") };
    writeln!(err, "test {} ... {}", escape(&case.name), styled(true, style, word))
}

/// Prints the changes of a test, a line each: kind, size, path.
pub fn changes(changes: &[FileChange], more: bool) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for FileChange { kind, path, size } in changes {
        let style = match kind {
            ChangeKind::Added => GOOD,
            ChangeKind::Changed => WARNING,
            ChangeKind::Deleted => ERROR,
        };
        let letter = styled(true, style, kind.letter().to_string());
        let path = path.to_string_lossy();
        writeln!(out, "{letter} {size:>10} {}", escape(&path))?;
    }
    if more {
        writeln!(
            anstream::stderr(),
            "{}: there are more changes",
            styled(true, WARNING, "warning")
        )?;
    }
    Ok(())
}

/// Prints them as JSON.
pub fn changes_as_json(
    binary: &str,
    test: &str,
    changes: &[FileChange],
    more: bool,
) -> io::Result<()> {
    let changes = changes.iter().map(message_findings::change).collect();
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &Changes { binary, test, changes, more })?;
    writeln!(out)
}
