//! The line that shows where a diagnosis stands.

use std::time::Duration;

use indicatif::ProgressBar;
use isotest_core::escape::escape;

use super::progress::spinner;
use super::suite::TerminalStyle;

/// Where a diagnosis stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Runs so far.
    pub runs: u32,
    /// Failures among them.
    pub failures: u32,
    /// Interval of the rate of the arm that runs, 0 to 1.
    pub interval: (f64, f64),
    /// Words for the arm that runs.
    pub arm: String,
    /// Words for what is done.
    pub phase: &'static str,
    /// Time of the runs.
    pub took: Duration,
}

/// The line. It is taken off the screen when this is dropped.
pub struct DiagnosisLine {
    bar: Option<ProgressBar>,
    name: String,
}

impl DiagnosisLine {
    /// A line, where stderr is a terminal.
    pub fn new(style: TerminalStyle, name: &str) -> DiagnosisLine {
        let bar = style.progress.then(|| spinner("Diagnosing", style.stderr_colour));
        DiagnosisLine { bar, name: escape(name).into_owned() }
    }

    /// Shows where it stands.
    pub fn show(&mut self, standing: &Standing) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(standing));
            bar.tick();
        }
    }

    /// `: 412 runs, 7 failures, 11/s; sweep: the network shared (0.7–3.5 %)`
    fn message(&self, it: &Standing) -> String {
        let rate = f64::from(it.runs) / it.took.as_secs_f64().max(0.001);
        let (low, high) = (it.interval.0 * 100.0, it.interval.1 * 100.0);
        format!(
            " {}: {} runs, {} failures, {rate:.0}/s; {}: {} ({low:.1}–{high:.1} %)",
            self.name,
            it.runs,
            it.failures,
            it.phase,
            escape(&it.arm),
        )
    }
}

impl Drop for DiagnosisLine {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_runs_the_rate_and_the_arm() {
        let line = DiagnosisLine { bar: None, name: "a::b".to_owned() };
        let standing = Standing {
            runs: 412,
            failures: 7,
            interval: (0.007, 0.035),
            arm: "the network shared".to_owned(),
            phase: "sweep",
            took: Duration::from_secs(4),
        };
        let text = " a::b: 412 runs, 7 failures, 103/s; sweep: the network shared (0.7–3.5 %)";
        assert_eq!(line.message(&standing), text);
    }
}
