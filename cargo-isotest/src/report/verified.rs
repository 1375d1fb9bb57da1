//! What `verify` has found, printed for people and for programs.

use std::io::{self, Write};

use anstyle::Style;
use isotest_core::escape::escape;
use serde::Serialize;

use super::paint::{ERROR, GOOD, STRONG, WARNING};
use super::plain_json;
use super::words::{counted, more};

/// The version of the JSON.
pub const FORMAT: u32 = 1;

const DIM: Style = Style::new().dimmed();
/// Maximum number of tests that were not run that are named.
const NAMED: usize = 5;
/// Maximum characters of a line that are printed.
const WIDTH: usize = 100;

/// A way in which the two runs of a test differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// `verdict`, `output`, `files` or `findings`.
    pub what: &'static str,
    /// The first run.
    pub first: String,
    /// The second run.
    pub second: String,
}

/// A test whose runs differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// The id of its binary.
    pub binary: String,
    /// The test.
    pub test: String,
    /// The ways in which they differ.
    pub differs: Vec<Differs>,
    /// Two runs under the same conditions differ as well; `None` if that is not known.
    pub also_unchanged: Option<bool>,
}

/// What `verify` has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// The version of this format.
    pub format: u32,
    /// Tests whose runs differ.
    pub differing: Vec<Differing>,
    /// Number of tests whose runs are the same.
    pub same: usize,
    /// Tests that were not run twice, by binary and name.
    pub not_run: Vec<(String, String)>,
    /// Runs.
    pub runs: u32,
    /// Time in all.
    pub seconds: f64,
    /// It was interrupted.
    pub is_interrupted: bool,
}

/// Prints it as one line of JSON.
pub fn verified_for_programs(verified: &Verified) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    plain_json::write(&mut out, verified)?;
    writeln!(out)
}

/// Prints it.
pub fn verified_for_people(verified: &Verified) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    write(&mut out, verified)
}

fn write(out: &mut impl Write, it: &Verified) -> io::Result<()> {
    for test in &it.differing {
        write_test(out, test)?;
    }
    if !it.not_run.is_empty() {
        writeln!(out, "{WARNING}{}{WARNING:#} not run twice", counted(it.not_run.len(), "test"))?;
        for (binary, test) in it.not_run.iter().take(NAMED) {
            writeln!(out, "     {} {}", escape(binary), escape(test))?;
        }
        if let Some(more) = more(it.not_run.len().saturating_sub(NAMED)) {
            writeln!(out, "     {more}")?;
        }
        writeln!(out)?;
    }
    let compared = counted(it.same + it.differing.len(), "test");
    match it.differing.len() {
        0 => writeln!(out, "{GOOD}HERMETIC{GOOD:#}  both runs of {compared} are the same")?,
        differing => writeln!(
            out,
            "{ERROR}NOT HERMETIC{ERROR:#}  {differing} of {compared}: `cargo isotest diagnose` finds out why"
        )?,
    }
    let interrupted = if it.is_interrupted { ", interrupted" } else { "" };
    let runs = counted(it.runs as usize, "run");
    writeln!(out, "  {DIM}{runs} in {:.1} s{interrupted}{DIM:#}", it.seconds)
}

fn write_test(out: &mut impl Write, it: &Differing) -> io::Result<()> {
    let (binary, test) = (escape(&it.binary), escape(&it.test));
    let when = match it.also_unchanged {
        Some(true) => "differs from run to run",
        Some(false) => "differs under other conditions",
        None => "differs",
    };
    writeln!(out, "{STRONG}{binary} {test}{STRONG:#}  {when}")?;
    for Differs { what, first, second } in &it.differs {
        writeln!(out, "  {what:<9} first   {}", shortened(first))?;
        writeln!(out, "  {:<9} second  {}", "", shortened(second))?;
    }
    writeln!(out)
}

fn shortened(line: &str) -> String {
    let escaped = escape(line);
    match escaped.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(verified: &Verified) -> String {
        let mut out = Vec::new();
        write(&mut out, verified).expect("memory takes it");
        anstream::adapter::strip_str(&String::from_utf8_lossy(&out)).to_string()
    }

    #[test]
    fn each_test_that_differs_has_both_runs() {
        let differs =
            Differs { what: "verdict", first: "passed".to_owned(), second: "failed: x".to_owned() };
        let mut verified = Verified {
            format: FORMAT,
            differing: vec![Differing {
                binary: "demo::it".to_owned(),
                test: "a".to_owned(),
                differs: vec![differs],
                also_unchanged: Some(false),
            }],
            same: 2,
            not_run: vec![],
            runs: 7,
            seconds: 0.5,
            is_interrupted: false,
        };
        let expected = "\
demo::it a  differs under other conditions
  verdict   first   passed
            second  failed: x

NOT HERMETIC  1 of 3 tests: `cargo isotest diagnose` finds out why
  7 runs in 0.5 s
";
        assert_eq!(printed(&verified), expected);
        verified.differing.clear();
        let text = printed(&verified);
        assert_eq!(text, "HERMETIC  both runs of 2 tests are the same\n  7 runs in 0.5 s\n");
    }
}
