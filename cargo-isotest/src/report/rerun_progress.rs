//! The progress bar of failed tests that are run once more: under which values, how many have ended,
//! what takes long.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use isotest_core::case::CaseIndex;
use isotest_core::escape::escape;
use isotest_core::outcome::Outcome;
use isotest_core::schedule::Event;

use super::progress::{RunningCases, bar};
use super::reporter::Reporter;
use super::suite;

/// The bar. It is taken off the screen when this is dropped.
#[derive(Default)]
pub struct RerunProgress {
    bar: Option<ProgressBar>,
    /// The names of the failed cases.
    labels: BTreeMap<CaseIndex, String>,
    /// The values under which they run.
    step: String,
    running: RunningCases,
    ended: u64,
}

impl RerunProgress {
    /// A bar for these failed cases, where the report has one.
    pub fn new(reporter: &Reporter, failed: &[CaseIndex]) -> RerunProgress {
        let style = reporter.options().style;
        if !style.progress || failed.is_empty() {
            return RerunProgress::default();
        }
        let labels = failed.iter().map(|index| (*index, suite::label(reporter.suites(), *index)));
        let mut progress = RerunProgress::default();
        progress.labels = labels.collect();
        progress.bar = Some(bar("Explaining", 0, style.stderr_colour));
        progress
    }

    /// So many cases run under these values from now on.
    pub fn begin(&mut self, step: &str, cases: usize) {
        step.clone_into(&mut self.step);
        self.running = RunningCases::default();
        self.ended = 0;
        if let Some(bar) = &self.bar {
            bar.set_length(cases as u64);
        }
    }

    /// Draws the bar until there are no more events. Returns the outcomes.
    pub fn follow(&mut self, events: Receiver<Event>) -> Vec<(CaseIndex, Box<Outcome>)> {
        const TICK: Duration = Duration::from_millis(100);
        let mut finished = Vec::new();
        loop {
            match events.recv_timeout(TICK) {
                Ok(event) => {
                    self.observe(&event, Instant::now());
                    if let Event::Finished(index, outcome) = event {
                        finished.push((index, outcome));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return finished,
            }
            self.draw(Instant::now());
        }
    }

    fn observe(&mut self, event: &Event, now: Instant) {
        self.running.observe(event, now);
        self.ended += u64::from(matches!(event, Event::Finished(..)));
    }

    fn draw(&self, now: Instant) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(now));
            bar.set_position(self.ended);
            bar.tick();
        }
    }

    /// `, unchanged, 2 running: demo::it::hangs 2s`
    fn message(&self, now: Instant) -> String {
        let text = format!(", {}, {} running", escape(&self.step), self.running.count());
        let name = |(index, seconds)| Some(format!(": {} {seconds}s", self.labels.get(&index)?));
        text + &self.running.long(now).next().and_then(name).unwrap_or_default()
    }
}

impl Drop for RerunProgress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use isotest_core::outcome::Verdict;

    use super::*;

    #[test]
    fn a_step_names_its_values_and_what_takes_long() {
        let case = |case| CaseIndex { binary: 0, case };
        let start = Instant::now();
        let labels = BTreeMap::from([(case(0), "demo::hangs".to_owned())]);
        let mut progress = RerunProgress::default();
        progress.labels = labels;
        progress.begin("--init reaper", 2);
        progress.observe(&Event::Started(case(0)), start);
        progress.observe(&Event::Started(case(1)), start);
        assert_eq!(progress.message(start), ", --init reaper, 2 running");
        let ended = Box::new(Outcome::without_run(Verdict::Passed));
        progress.observe(&Event::Finished(case(1), ended), start);
        let later = start + Duration::from_millis(2100);
        assert_eq!(progress.message(later), ", --init reaper, 1 running: demo::hangs 2s");
        assert_eq!(progress.ended, 1);
        progress.begin("unchanged", 1);
        assert_eq!(
            (progress.message(later), progress.ended),
            (", unchanged, 0 running".to_owned(), 0)
        );
    }
}
