//! The progress bar on stderr: how far the run is, what failed, what takes long.
//!
//! There is one only where the caller says so; without it every call does nothing. It is drawn by
//! whoever calls [`Progress::draw`], not by a thread of its own, and text is written only inside
//! [`Progress::suspend`].

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use isotest_core::case::CaseIndex;
use isotest_core::schedule::Event;

use super::paint::{self, ERROR, GOOD};
use super::suite::{self, Suite, TerminalStyle};
use super::tally::Tally;

/// A case that has run for so long is named.
const LONG: Duration = Duration::from_millis(500);
/// Maximum number of cases that are named.
const NAMED: usize = 3;

/// The bar and what it tells.
pub struct Progress {
    bar: Option<ProgressBar>,
    colour: bool,
    running: RunningCases,
    start: Instant,
}

/// The cases that are running, oldest first.
#[derive(Default)]
pub(super) struct RunningCases(Vec<(CaseIndex, Instant)>);

impl RunningCases {
    /// Takes note of an event that came at `now`.
    pub(super) fn observe(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Started(index) => self.0.push((*index, now)),
            Event::Finished(index, _) => self.0.retain(|(running, _)| running != index),
            Event::Resumed(stopped) => {
                self.0.iter_mut().for_each(|(_, since)| *since += *stopped);
            }
            Event::Output(..)
            | Event::Slow(..)
            | Event::Retried(..)
            | Event::Running(_)
            | Event::Interrupted(_) => {}
        }
    }

    /// Their number.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that have run for long, with the seconds.
    pub(super) fn long(&self, now: Instant) -> impl Iterator<Item = (CaseIndex, u64)> {
        let ages = self
            .0
            .iter()
            .map(move |(index, since)| (*index, now.saturating_duration_since(*since)));
        ages.take_while(|(_, age)| *age >= LONG).map(|(index, age)| (index, age.as_secs()))
    }
}

impl Progress {
    /// A bar for so many cases, or none where the look has none.
    pub fn new(total: usize, style: TerminalStyle, now: Instant) -> Self {
        Progress {
            bar: style.progress.then(|| bar("Testing", total, style.stderr_colour)),
            colour: style.stderr_colour,
            running: RunningCases::default(),
            start: now,
        }
    }

    /// True if there is a bar on the screen.
    pub fn is_shown(&self) -> bool {
        self.bar.as_ref().is_some_and(|bar| !bar.is_hidden())
    }

    /// Takes note of an event that came at `now`.
    pub fn observe(&mut self, event: &Event, now: Instant) {
        self.running.observe(event, now);
        if let Event::Resumed(stopped) = event {
            self.start += *stopped;
        }
    }

    /// Draws the bar anew.
    pub fn draw(&self, suites: &[Suite], tally: &Tally, now: Instant) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(suites, tally, now));
            bar.set_position(tally.total() as u64);
            bar.tick();
        }
    }

    /// Runs `write` with the bar out of the way.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar off the screen for good.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// `, 2 failed, 4 running, 3.2s: demo::it::slow 2.1s`
    fn message(&self, suites: &[Suite], tally: &Tally, now: Instant) -> String {
        let mut text = String::new();
        for (count, what) in [(tally.failed, "failed"), (tally.not_run, "not run")] {
            if count > 0 {
                let count = format_args!("{count} {what}");
                text += &format!(", {}", paint::styled(self.colour, ERROR, count));
            }
        }
        let elapsed = (now - self.start).as_secs_f64();
        text += &format!(", {} running, {elapsed:.1}s", self.running.count());
        for (position, (index, seconds)) in self.running.long(now).take(NAMED).enumerate() {
            let gap = if position == 0 { ": " } else { ", " };
            text += &format!("{gap}{} {seconds}s", suite::label(suites, index));
        }
        text
    }
}

/// A bar behind this verb.
pub fn bar(verb: &str, total: usize, colour: bool) -> ProgressBar {
    let verb = paint::verb(colour, GOOD, verb);
    let template = format!("{verb} [{{bar:20}}] {{pos}}/{{len}}{{wide_msg}}");
    let style = ProgressStyle::with_template(&template)
        .expect("the template is our own")
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
    bar.with_style(style)
}

/// A line with a message and no end. Two columns stay free: after Ctrl-C a terminal writes `^C` behind the
/// line, which must not begin another.
pub fn spinner(verb: &str, colour: bool) -> ProgressBar {
    let verb = paint::verb(colour, GOOD, verb);
    let style = ProgressStyle::with_template(&format!("{verb}{{wide_msg}}  "))
        .expect("the template is our own");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::suite::example;

    #[test]
    fn what_runs_longest_is_named_first() {
        let start = Instant::now();
        let later = |millis| start + Duration::from_millis(millis);
        let suites = [example(&["old", "young", "new"])];
        let mut progress = Progress::new(3, TerminalStyle::default(), start);
        for (case, millis) in [(0, 0), (1, 1000), (2, 2900)] {
            let index = CaseIndex { binary: 0, case };
            progress.observe(&Event::Started(index), later(millis));
        }
        let tally = Tally { failed: 2, ..Tally::default() };
        let message = progress.message(&suites, &tally, later(3000));
        let expected = ", 2 failed, 3 running, 3.0s: demo::it::old 3s, demo::it::young 2s";
        assert_eq!(message, expected);
    }
}
