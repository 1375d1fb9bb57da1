//! What is seen while a hunt runs: a line for each candidate, and one that shows where the hunt stands.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use isotest_core::escape::escape;

use super::hunted::{Candidate, Showing};
use super::hunted_text::shows;
use super::paint::{self, ERROR, WARNING};
use super::progress::spinner;
use super::suite::TerminalStyle;
use super::words::counted;

/// The line is written again after this time.
const REFRESH: Duration = Duration::from_millis(100);

/// Where a hunt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HuntStanding {
    /// Rounds that have ended.
    pub rounds: u64,
    /// Runs, those of this round included.
    pub runs: u32,
    /// Candidates.
    pub candidates: usize,
    /// Words for the conditions of this round.
    pub words: String,
    /// Time since the hunt began, and its budget.
    pub time: (Duration, Duration),
}

/// The lines on stderr.
pub struct HuntScreen {
    bar: Option<ProgressBar>,
    colour: bool,
    quiet: bool,
    shown: Option<Instant>,
}

impl HuntScreen {
    /// Lines on stderr; the one that moves only where it is a terminal.
    pub fn new(style: TerminalStyle, quiet: bool, verb: &str) -> HuntScreen {
        let bar = (style.progress && !quiet).then(|| spinner(verb, style.stderr_colour));
        HuntScreen { bar, colour: style.stderr_colour, quiet, shown: None }
    }

    /// Shows where the hunt stands.
    pub fn show(&mut self, standing: impl FnOnce() -> HuntStanding) {
        let Some(bar) = &self.bar else { return };
        if self.shown.is_none_or(|shown| shown.elapsed() >= REFRESH) {
            bar.set_message(message(&standing()));
            bar.tick();
            self.shown = Some(Instant::now());
        }
    }

    /// Tells of a new candidate.
    pub fn found(&self, candidate: &Candidate) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        let (style, verb) = match &candidate.shows {
            Showing::Flaky => (ERROR, "Flaky"),
            Showing::FailsUnder(_) | Showing::PassesUnder(_) => (WARNING, "Candidate"),
            Showing::FailsFrom(_) | Showing::FailsOn(_) => (ERROR, "Time bomb"),
        };
        let verb = paint::verb(self.colour, style, verb);
        let (binary, test) = (escape(&candidate.binary), escape(&candidate.test));
        let words = shows(candidate);
        let line = format!("{verb} {binary} {test}: {}", escape(&words));
        let write = || writeln!(anstream::stderr().lock(), "{line}");
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for HuntScreen {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// ` 12 rounds, 4812 runs (321/s), 3 candidates; 15 of 600 s: one processor`
fn message(it: &HuntStanding) -> String {
    let (took, budget) = it.time;
    let rate = f64::from(it.runs) / took.as_secs_f64().max(0.001);
    format!(
        " {}, {} runs ({rate:.0}/s), {}; {} of {} s: {}",
        counted(it.rounds as usize, "round"),
        it.runs,
        counted(it.candidates, "candidate"),
        took.as_secs(),
        budget.as_secs(),
        it.words
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_runs_the_time_and_the_condition() {
        let standing = HuntStanding {
            rounds: 1,
            runs: 400,
            candidates: 2,
            words: "one processor".to_owned(),
            time: (Duration::from_secs(4), Duration::from_secs(600)),
        };
        let expected = " 1 round, 400 runs (100/s), 2 candidates; 4 of 600 s: one processor";
        assert_eq!(message(&standing), expected);
    }
}
