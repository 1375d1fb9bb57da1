//! The list of recorded runs.

use std::io::{self, Write};

use anstyle::Style;
use isotest_core::escape::escape;
use serde::Serialize;

use super::fact::{Fact, Finished, Started, State};
use super::messages::Counts;
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

    /// Takes a line of its record, which is so many seconds behind the start.
    pub fn take(&mut self, fact: &Fact, at: f64) {
        self.seconds = at;
        match fact {
            Fact::Started(Started { time, commit, tests, .. }) => {
                (self.time, self.commit) = (time.clone(), commit.clone());
                self.selected = *tests;
            }
            Fact::TestFinished(finished) => self.count(finished),
            Fact::Interrupted => self.state = RunState::Interrupted,
            Fact::RunFinished(finished) => {
                if self.state == RunState::Killed {
                    self.state = RunState::Ended;
                }
                (self.seconds, self.tests) = (finished.seconds, finished.tests.clone());
            }
            Fact::Binary(_)
            | Fact::TestStarted(_)
            | Fact::TestRetried(_)
            | Fact::TestTraced(_)
            | Fact::Other => {}
        }
    }

    /// Counts a test of a run whose own counts are missing.
    fn count(&mut self, finished: &Finished) {
        self.tests.flaky += usize::from(finished.flaky);
        let counter = match finished.state() {
            // It may count as a failure.
            State::Flaky if finished.verdict != "passed" => &mut self.tests.failed,
            State::Passed | State::Flaky => &mut self.tests.passed,
            State::Failed => &mut self.tests.failed,
            State::Ignored => &mut self.tests.ignored,
            State::NotRun => &mut self.tests.not_run,
        };
        *counter += 1;
    }

    /// The run in one line.
    pub fn line(&self) -> String {
        let (result, style) = self.result();
        let (time, commit) = (self.shown_time(), self.shown_commit());
        format!("{}  {time}  {commit}  {style}{result}{style:#}", escape(&self.run))
    }

    /// Its time for people.
    pub fn shown_time(&self) -> String {
        escape(&self.time.as_deref().map_or("-".to_owned(), short_time)).into_owned()
    }

    /// The beginning of its commit.
    pub fn shown_commit(&self) -> String {
        let commit = self.commit.as_deref().unwrap_or("-");
        escape(commit.get(..8).unwrap_or(commit)).into_owned()
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
        let (time, commit) = (run.shown_time(), run.shown_commit());
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
