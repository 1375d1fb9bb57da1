//! The report of a stress run: how often each case failed, and how sure that is.
//!
//! There are no blocks: every case runs many times. A live line on stderr counts; at the end each
//! case has a line on stdout, and the first failure of each is shown.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use isotest_core::case::CaseIndex;
use isotest_core::diagnosis::proof;
use isotest_core::finding::{Codes, Finding};
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::schedule::{Event, Interruption, Stream};
use isotest_core::snapshot::Snapshot;

use super::options::Options;
use super::paint::{self, ERROR, GOOD, Word};
use super::run_report::{Report, Summary};
use super::running;
use super::suite::{Suite, TerminalStyle};
use super::tally::Tally;
use super::words::{self, counted};

/// Counts of the runs of one case, or of all.
#[derive(Debug, Default)]
struct Runs {
    count: u64,
    failures: u64,
    /// Their durations together, and the longest.
    total: Duration,
    longest: Duration,
    /// The number of the first run that failed, and what it wrote.
    first_failure: Option<(u64, Vec<u8>)>,
}

/// The report of a stress run.
pub struct Stress {
    suites: Vec<Suite>,
    style: TerminalStyle,
    start: Instant,
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    line: Option<ProgressBar>,
    all: Runs,
    /// By binary and case.
    cases: Vec<Vec<Runs>>,
    not_run: Option<NotRun>,
    tally: Tally,
    interrupted: Option<Interruption>,
}

impl Stress {
    /// The report of a run that starts now.
    pub fn new(
        suites: Vec<Suite>,
        options: Options,
        stdout: Box<dyn Write>,
        stderr: Box<dyn Write>,
    ) -> Self {
        let runs = |suite: &Suite| suite.cases.iter().map(|_| Runs::default()).collect();
        Stress {
            style: options.style,
            start: Instant::now(),
            stdout,
            stderr,
            line: options.style.progress.then(live_line),
            all: Runs::default(),
            cases: suites.iter().map(runs).collect(),
            not_run: None,
            tally: Tally::default(),
            interrupted: None,
            suites,
        }
    }

    /// Prints what the run came to.
    pub fn finish(mut self) -> io::Result<Summary> {
        let elapsed = self.start.elapsed();
        if let Some(line) = self.line.take() {
            line.finish_and_clear();
        }
        self.write_cases()?;
        self.write_failures()?;
        self.stdout.flush()?;
        let colour = self.style.stderr_colour;
        let style = if self.tally.failed > 0 { ERROR } else { GOOD };
        let verb = paint::verb(colour, style, "Summary");
        writeln!(self.stderr, "\n{verb} {}", self.all.line(elapsed))?;
        let error = paint::styled(colour, ERROR, "error");
        if let Some(reason) = &self.not_run {
            writeln!(self.stderr, "\n{error}: a test was not run: {}", words::not_run(reason))?;
        }
        if let Some(cause) = self.interrupted {
            let (cause, hint) = words::interruption(cause);
            writeln!(self.stderr, "\n{error}: {cause}{hint}")?;
        }
        self.stderr.flush()?;
        Ok(Summary { tally: self.tally, interrupted: self.interrupted })
    }

    fn write_cases(&mut self) -> io::Result<()> {
        writeln!(self.stdout)?;
        for (suite, runs) in self.suites.iter().zip(&self.cases) {
            for (case, runs) in suite.cases.iter().zip(runs).filter(|(_, runs)| runs.count > 0) {
                let (word, text) = match runs.failures {
                    0 => (Word::Green, "ok"),
                    _ => (Word::Red, "FAILED"),
                };
                let result = paint::word(self.style.stdout_colour, word, text);
                let counts = runs.counts();
                writeln!(self.stdout, "test {} ... {result}, {counts}", suite.label(case))?;
            }
        }
        Ok(())
    }

    fn write_failures(&mut self) -> io::Result<()> {
        for (suite, runs) in self.suites.iter().zip(&self.cases) {
            for (case, runs) in suite.cases.iter().zip(runs) {
                if let Some((number, output)) = &runs.first_failure {
                    let (label, text) = (suite.label(case), String::from_utf8_lossy(output));
                    writeln!(self.stdout, "\n---- {label}, run {number} ----\n{text}")?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, CaseIndex { binary, case }: CaseIndex, outcome: &Outcome) {
        self.tally.count(outcome);
        if let Verdict::NotRun(reason) = &outcome.verdict
            && *reason != NotRun::Cancelled
        {
            self.not_run.get_or_insert_with(|| reason.clone());
        }
        if words::was_run(&outcome.verdict) {
            self.all.count(outcome);
            let runs = &mut self.cases[binary][case];
            runs.count(outcome);
            if outcome.verdict.is_failure() && runs.first_failure.is_none() {
                runs.first_failure = Some((runs.count, words::failure_text(outcome)));
            }
        }
    }

    fn show(&mut self, snapshots: &[Snapshot]) -> io::Result<()> {
        let (ended, colour) = (self.all.count as usize, self.style.stderr_colour);
        let mut text = Vec::new();
        running::write(&self.suites, snapshots, ended, colour, &mut text)?;
        self.pass_on(Stream::Stderr, &text)
    }

    fn pass_on(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let target = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        target.write_all(bytes)?;
        target.flush()
    }
}

impl Report for Stress {
    fn event(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Finished(index, outcome) => self.count(index, &outcome),
            Event::Output(_, stream, bytes) => self.pass_on(stream, &bytes)?,
            Event::Interrupted(cause) => self.interrupted = Some(cause),
            Event::Resumed(stopped) => self.start += stopped,
            Event::Running(snapshots) => self.show(&snapshots)?,
            Event::Started(_) | Event::Slow(..) | Event::Retried(..) => {}
        }
        Ok(())
    }

    // A stress run reports no findings.
    fn take_shared(&mut self, _binary: usize, _findings: &[Finding], _deny: Codes) {}

    fn idle(&mut self) -> io::Result<()> {
        if let Some(line) = &self.line {
            line.set_message(self.all.line(self.start.elapsed()));
            line.tick();
        }
        Ok(())
    }
}

impl Runs {
    fn count(&mut self, outcome: &Outcome) {
        self.count += 1;
        self.failures += u64::from(outcome.verdict.is_failure());
        self.total += outcome.duration;
        self.longest = self.longest.max(outcome.duration);
    }

    /// `412 runs · 7 failures (1.7 %, 95 %: 0.7–3.5 %) · 38 ms avg, 210 max`.
    fn counts(&self) -> String {
        let runs = counted(self.count as usize, "run");
        let failures = counted(self.failures as usize, "failure");
        let average = self.total.div_f64(self.count.max(1) as f64);
        let rate = match self.count {
            0 => String::new(),
            count => {
                let of_runs = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
                let (low, high) = proof::interval(of_runs(self.failures), of_runs(count));
                let percent = 100.0 * self.failures as f64 / count as f64;
                format!(" ({percent:.1} %, 95 %: {:.1}–{:.1} %)", 100.0 * low, 100.0 * high)
            }
        };
        let (average, longest) = (average.as_millis(), self.longest.as_millis());
        format!("{runs} · {failures}{rate} · {average} ms avg, {longest} max")
    }

    /// The same, and how many a second.
    fn line(&self, elapsed: Duration) -> String {
        let rate = self.count as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
        format!("{} · {rate:.0}/s", self.counts())
    }
}

fn live_line() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}").expect("the template is our own");
    let target = ProgressDrawTarget::stderr();
    ProgressBar::with_draw_target(None, target).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_counts_shares_and_times() {
        let mut runs = Runs::default();
        for number in 0..412 {
            let passed = number % 59 != 0;
            let verdict = if passed { Verdict::Passed } else { Verdict::Failed { code: 101 } };
            let mut outcome = Outcome::without_run(verdict);
            outcome.duration = Duration::from_millis(if number == 7 { 210 } else { 38 });
            runs.count(&outcome);
        }
        let expected = "412 runs · 7 failures (1.7 %, 95 %: 0.7–3.5 %) · 38 ms avg, 210 max · 11/s";
        assert_eq!(runs.line(Duration::from_millis(37_454)), expected);
    }
}
