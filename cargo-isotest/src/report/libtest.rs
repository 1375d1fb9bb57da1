//! libtest's pretty format: a line for each test.
//!
//! Bytes as `formatters/pretty.rs` (Rust 1.95) makes them when it runs more than one thread: a
//! line appears when its test has ended. Benchmarks are run once, as `cargo test` runs them, and
//! print like tests.

use std::io::{self, Write};
use std::time::Duration;

use isotest_core::case::Case;
use isotest_core::outcome::Outcome;

use super::category::Category;
use super::format::Format;
use super::options::Options;
use super::paint::{self, Word};
use super::sections::Sections;
use super::suite::Suite;
use super::tally::Tally;
use super::words;

/// The pretty format.
pub struct Pretty {
    colour: bool,
    report_time: bool,
    shuffle_seed: Option<u64>,
    sections: Sections,
}

impl Pretty {
    /// The format as the options want it.
    pub fn new(options: &Options) -> Self {
        Pretty {
            colour: options.style.stdout_colour,
            report_time: options.report_time,
            shuffle_seed: options.shuffle_seed,
            sections: Sections::new(options),
        }
    }

    /// The text after `...`; `None` if libtest prints no line at all.
    fn result(&self, case: &Case, outcome: &Outcome) -> Option<String> {
        let flaky = words::flaky(outcome).map_or(String::new(), |flaky| format!(", {flaky}"));
        let (word, text) = match Category::of(outcome) {
            Category::Passed if outcome.is_flaky() => (Word::Yellow, format!("ok{flaky}")),
            Category::Passed => (Word::Green, "ok".to_owned()),
            Category::Failed => (Word::Red, format!("FAILED{flaky}")),
            Category::Ignored => (Word::Yellow, ignored(words::ignore_reason(case, outcome))),
            // A result with which a run of cargo test passes as well.
            Category::Quarantined => (Word::Yellow, ignored(words::quarantine(outcome).as_deref())),
            Category::NotRun => (Word::Red, "NOT RUN".to_owned()),
            // As libtest under `--fail-fast`, which prints nothing of what it no longer ran.
            Category::Cancelled => return None,
        };
        Some(paint::word(self.colour, word, &text))
    }

    fn time(&self, outcome: &Outcome) -> String {
        if self.report_time && words::was_run(&outcome.verdict) {
            format!(" <{:.3}s>", outcome.duration.as_secs_f64())
        } else {
            String::new()
        }
    }
}

fn ignored(reason: Option<&str>) -> String {
    reason.map_or("ignored".to_owned(), |reason| format!("ignored, {reason}"))
}

/// `running 3 tests`, as pretty and terse start a block.
pub fn running(suite: &Suite, shuffle_seed: Option<u64>, out: &mut dyn Write) -> io::Result<()> {
    let tests = words::counted(suite.cases.len(), "test");
    writeln!(out, "\nrunning {tests}{}", words::shuffle_seed(shuffle_seed))
}

impl Format for Pretty {
    fn open(&mut self, suite: &Suite, out: &mut dyn Write) -> io::Result<()> {
        running(suite, self.shuffle_seed, out)
    }

    fn finished(&mut self, case: &Case, outcome: Outcome, out: &mut dyn Write) -> io::Result<()> {
        if let Some(result) = self.result(case, &outcome) {
            let time = self.time(&outcome);
            writeln!(out, "test {}{} ... {result}{time}", case.name, outcome.mode)?;
        }
        self.sections.keep(case, outcome);
        Ok(())
    }

    fn close(
        &mut self,
        suite: &Suite,
        tally: &Tally,
        elapsed: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.sections.write(suite, tally, elapsed, out)
    }
}
