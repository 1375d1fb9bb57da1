//! The end of a block in libtest's pretty and terse formats: what the cases wrote, the list of
//! names, the result line.
//!
//! Bytes as libtest's `formatters/pretty.rs` and `formatters/terse.rs` (Rust 1.95) make them. The
//! only additions are the sections `flaky:`, of tests that passed at a retry, `quarantined:`, of tests
//! that failed and may, and `not run:`, shaped
//! like libtest's `failures (time limit exceeded):`.

use std::io::{self, Write};
use std::time::Duration;

use isotest_core::case::Case;
use isotest_core::outcome::Outcome;

use super::category::Category;
use super::options::Options;
use super::paint::{self, Word};
use super::suite::Suite;
use super::tally::Tally;
use super::words;

/// Content of the sections at the end of a block, in the order in which its cases ended.
#[derive(Debug)]
pub struct Sections {
    colour: bool,
    show_output: bool,
    successes: Vec<(String, Vec<u8>)>,
    flaky: Vec<(String, Vec<u8>)>,
    quarantined: Vec<(String, Vec<u8>)>,
    failures: Vec<(String, Vec<u8>)>,
    not_run: Vec<(String, Vec<u8>)>,
}

impl Sections {
    /// Sections without a case.
    pub fn new(options: &Options) -> Self {
        Sections {
            colour: options.style.stdout_colour,
            show_output: options.show_output,
            successes: Vec::new(),
            flaky: Vec::new(),
            quarantined: Vec::new(),
            failures: Vec::new(),
            not_run: Vec::new(),
        }
    }

    /// Keeps of a case what the end of the block shows.
    pub fn keep(&mut self, case: &Case, outcome: Outcome) {
        let section = match Category::of(&outcome) {
            Category::Passed if outcome.is_flaky() => &mut self.flaky,
            Category::Passed if self.show_output => &mut self.successes,
            Category::Passed | Category::Ignored | Category::Cancelled => return,
            Category::Quarantined => &mut self.quarantined,
            Category::NotRun => &mut self.not_run,
            Category::Failed => &mut self.failures,
        };
        section.push((case.name.clone(), words::failure_text(&outcome)));
    }

    /// Writes the sections and the result line, and forgets the block.
    pub fn write(
        &mut self,
        suite: &Suite,
        tally: &Tally,
        elapsed: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if self.show_output {
            section("successes", &mut self.successes, out)?;
        }
        if !self.flaky.is_empty() {
            section("flaky", &mut self.flaky, out)?;
        }
        if !self.quarantined.is_empty() {
            section("quarantined", &mut self.quarantined, out)?;
        }
        if !self.failures.is_empty() {
            section("failures", &mut self.failures, out)?;
        }
        if !self.not_run.is_empty() {
            section("not run", &mut self.not_run, out)?;
        }
        self.result_line(suite, tally, elapsed, out)
    }

    fn result_line(
        &self,
        suite: &Suite,
        tally: &Tally,
        elapsed: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let result = if tally.is_clean() {
            paint::word(self.colour, Word::Green, "ok")
        } else {
            paint::word(self.colour, Word::Red, "FAILED")
        };
        writeln!(
            out,
            "\ntest result: {result}. {} passed; {} failed; {} ignored; 0 measured; \
             {} filtered out; finished in {:.2}s\n",
            tally.passed,
            tally.failed,
            tally.ignored + tally.quarantined,
            suite.filtered_out,
            elapsed.as_secs_f64()
        )
    }
}

/// One section, and its cases are gone: outputs under the title, then the title again with the
/// sorted names.
fn section(title: &str, cases: &mut Vec<(String, Vec<u8>)>, out: &mut dyn Write) -> io::Result<()> {
    let mut names = Vec::with_capacity(cases.len());
    let mut first = true;
    write!(out, "\n{title}:\n")?;
    for (name, output) in cases.drain(..) {
        if !output.is_empty() {
            let gap = if first { "\n" } else { "" };
            first = false;
            let text = String::from_utf8_lossy(&output);
            writeln!(out, "{gap}---- {name} stdout ----\n{text}")?;
        }
        names.push(name);
    }
    names.sort();
    write!(out, "\n{title}:\n")?;
    for name in names {
        writeln!(out, "    {name}")?;
    }
    Ok(())
}
