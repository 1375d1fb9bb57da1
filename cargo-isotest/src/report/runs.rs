//! The list of recorded runs.

use std::io::{self, Write};

use anstyle::Style;
use isotest_core::escape::escape;
use serde::Serialize;

use super::messages::{Counts, Message, Verdict};
use super::paint::{ERROR, GOOD, STRONG, WARNING};
use super::plain_json;
use super::words::counted;

/// State of a recorded run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Its last line is there.
    Ended,
    /// A signal, or its time limit, ended it early.
    Interrupted,
    /// It is being written.
    Running,
    /// It has no end.
    Killed,
    /// Its file cannot be read to the end.
    Damaged,
}

/// A recorded run in the list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listing {
    /// Its id.
    pub run: String,
    /// The time of its start in UTC (RFC 3339).
    pub time: Option<String>,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// Its state.
    pub state: RunState,
    /// The time that the tests took, or that is recorded, in seconds.
    pub seconds: f64,
    /// Number of selected tests.
    pub selected: usize,
    /// Number of tests by verdict.
    pub tests: Counts,
    /// Size of its file.
    pub bytes: u64,
}

impl Listing {
    /// A run of which nothing is known but its file.
    pub fn new(run: String, bytes: u64) -> Listing {
        Listing {
            run,
            time: None,
            commit: None,
            state: RunState::Killed,
            seconds: 0.0,
            selected: 0,
            tests: Counts::default(),
            bytes,
        }
    }

    /// Takes a message of its record, which is so many seconds behind the start.
    pub fn take(&mut self, message: &Message, at: f64) {
        self.seconds = at;
        match message {
            Message::RunStarted { time, commit, tests, .. } => {
                (self.time, self.commit) = (time.clone(), commit.clone());
                self.selected = *tests;
            }
            Message::TestFinished(finished) => self.count(&finished.last.verdict, finished.flaky),
            Message::Interrupted { .. } | Message::RunTimedOut { .. } => {
                self.state = RunState::Interrupted;
            }
            Message::RunFinished { seconds, tests, .. } => {
                if self.state == RunState::Killed {
                    self.state = RunState::Ended;
                }
                (self.seconds, self.tests) = (*seconds, tests.clone());
            }
            Message::Binary(_)
            | Message::TestStarted { .. }
            | Message::TestOutput { .. }
            | Message::TestSlow { .. }
            | Message::TestRetried { .. }
            | Message::Running { .. }
            | Message::Resumed { .. } => {}
        }
    }

    /// Counts a test of a run whose own counts are missing.
    fn count(&mut self, verdict: &Verdict, is_flaky: bool) {
        self.tests.flaky += usize::from(is_flaky);
        let counter = match verdict {
            Verdict::Passed => &mut self.tests.passed,
            Verdict::Ignored { .. } => &mut self.tests.ignored,
            Verdict::NotRun { .. } => &mut self.tests.not_run,
            Verdict::Failed { .. }
            | Verdict::Signalled { .. }
            | Verdict::TimedOut { .. }
            | Verdict::ExitedEarly { .. }
            | Verdict::NothingRun
            | Verdict::Flaky => &mut self.tests.failed,
        };
        *counter += 1;
    }

    /// Its result in words, and how they are shown.
    fn result(&self) -> (String, Style) {
        let tests = &self.tests;
        let counts = [
            (tests.passed, "passed"),
            (tests.failed, "failed"),
            (tests.flaky, "flaky"),
            (tests.ignored, "ignored"),
            (tests.not_run.saturating_add(tests.cancelled), "not run"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut words: Vec<String> =
            counts.map(|(count, what)| format!("{count} {what}")).collect();
        if words.is_empty() {
            words.push(counted(0, "test"));
        }
        let state = match self.state {
            RunState::Ended => None,
            RunState::Interrupted => Some("interrupted"),
            RunState::Running => Some("running"),
            RunState::Killed => Some("killed"),
            RunState::Damaged => Some("damaged file"),
        };
        words.extend(state.map(str::to_owned));
        let style = match self.state {
            _ if tests.failed > 0 => ERROR,
            RunState::Ended | RunState::Running => GOOD,
            RunState::Interrupted | RunState::Killed | RunState::Damaged => WARNING,
        };
        (words.join(", "), style)
    }
}

/// Prints a table of runs.
pub fn runs_for_people(runs: &[Listing]) -> io::Result<()> {
    let mut out = anstream::stdout();
    let rows: Vec<(&Listing, String, Style)> = runs
        .iter()
        .map(|run| {
            let (result, style) = run.result();
            (run, result, style)
        })
        .collect();
    let wide = |width: fn(&(&Listing, String, Style)) -> usize| rows.iter().map(width).max();
    let id = wide(|(run, ..)| run.run.len()).unwrap_or(0).max(3);
    let result = wide(|(_, result, _)| result.len()).unwrap_or(0).max(6);
    writeln!(
        out,
        "{STRONG}{:<id$}  {:<20}  {:<8}  {:>9}  {:<result$}{STRONG:#}",
        "RUN", "TIME", "COMMIT", "DURATION", "RESULT"
    )?;
    for (run, words, style) in rows {
        let time = escape(&run.time.as_deref().map_or("-".to_owned(), short_time)).into_owned();
        let commit = run.commit.as_deref().map_or("-", |commit| commit.get(..8).unwrap_or(commit));
        let commit = escape(commit);
        let seconds = format!("{:.2}s", run.seconds);
        writeln!(
            out,
            "{:<id$}  {time:<20}  {commit:<8}  {seconds:>9}  {style}{words}{style:#}",
            run.run
        )?;
    }
    Ok(())
}

/// `2026-11-30T09:30:12.345Z` without its `T` and fraction.
fn short_time(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => seconds.replace('T', " ") + "Z",
        None => time.to_owned(),
    }
}

/// Prints an object a run.
pub fn runs_for_programs(runs: &[Listing]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for run in runs {
        plain_json::write(&mut out, run)?;
        writeln!(out)?;
    }
    Ok(())
}
