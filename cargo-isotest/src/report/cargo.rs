//! Lines of `cargo test` itself on stderr around the blocks.
//!
//! As cargo prints them with `--no-fail-fast`, since every binary is run.

use std::io::{self, Write};

use isotest_core::outcome::Verdict;

use super::paint::{self, ERROR, GOOD};
use super::suite::Suite;
use super::tally::Tally;
use super::words;

/// The line before the block of a binary.
pub fn running(suite: &Suite, colour: bool, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "{} {}", paint::verb(colour, GOOD, "Running"), suite.heading)
}

/// The line of a binary that is built and not run.
pub fn executable(heading: &str, colour: bool, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "{} {heading}", paint::verb(colour, GOOD, "Executable"))
}

/// The line after the block of a binary in which something failed; nothing otherwise.
pub fn failed(suite: &Suite, tally: &Tally, colour: bool, err: &mut dyn Write) -> io::Result<()> {
    let what = match (tally.failed, tally.not_run) {
        (0, 0) => return Ok(()),
        (0, _) => "test not run",
        _ => "test failed",
    };
    let error = paint::styled(colour, ERROR, "error");
    writeln!(err, "{error}: {what}, to rerun pass `{}`", suite.rerun)
}

/// The failure of a program that is no harness, below the line of [`failed`]. As with cargo, 101 is
/// not mentioned.
pub fn cause(verdict: &Verdict, err: &mut dyn Write) -> io::Result<()> {
    let cause = match verdict {
        Verdict::Failed { code: 101 } => None,
        Verdict::Failed { code } => Some(format!("exited with code {code}")),
        Verdict::Passed
        | Verdict::Ignored
        | Verdict::Signalled { .. }
        | Verdict::TimedOut { .. }
        | Verdict::ExitedEarly { .. }
        | Verdict::NothingRun
        | Verdict::Denied(_)
        | Verdict::Unproven { .. }
        | Verdict::Flaky
        | Verdict::NotRun(_) => words::explain(verdict),
    };
    match cause {
        Some(cause) => writeln!(err, "\nCaused by:\n  {cause}"),
        None => Ok(()),
    }
}

/// The last lines of cargo: which targets failed; nothing where none did.
pub fn targets_failed(failed: &[&Suite], colour: bool, err: &mut dyn Write) -> io::Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let error = paint::styled(colour, ERROR, "error");
    writeln!(err, "{error}: {} failed:", words::counted(failed.len(), "target"))?;
    for suite in failed {
        writeln!(err, "    `{}`", suite.rerun)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::suite::example;

    fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes).expect("a Vec takes all");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn lines_are_cargos_to_the_escape_sequence() {
        let suite = example(&["a"]);
        let text = written(|err| running(&suite, true, err));
        let expected = "\x1b[1m\x1b[92m     Running\x1b[0m \
                        tests/it.rs (target/debug/deps/it-2c77)\n";
        assert_eq!(text, expected);
        let tally = Tally { failed: 1, ..Tally::default() };
        let text = written(|err| failed(&suite, &tally, true, err));
        let expected = "\x1b[1m\x1b[91merror\x1b[0m: test failed, to rerun pass `--test it`\n";
        assert_eq!(text, expected);
        let text = written(|err| targets_failed(&[&suite], false, err));
        assert_eq!(text, "error: 1 target failed:\n    `--test it`\n");
    }
}
