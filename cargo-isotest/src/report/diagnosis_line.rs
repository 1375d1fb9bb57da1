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
    /// Runs of the arm that runs.
    pub arm_runs: u32,
    /// Failures among them.
    pub arm_failures: u32,
    /// Exact interval of the rate of that arm (95 %), 0 to 1.
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
    /// A line, where stderr is a terminal. It says `begins` until runs have ended.
    pub fn new(style: TerminalStyle, verb: &str, name: &str, begins: &str) -> DiagnosisLine {
        let bar = style.progress.then(|| spinner(verb, style.stderr_colour));
        let name = escape(name).into_owned();
        if let Some(bar) = &bar {
            bar.set_message(format!(" {begins} · {name}"));
            bar.tick();
        }
        DiagnosisLine { bar, name }
    }

    /// Shows where it stands.
    pub fn show(&mut self, standing: &Standing) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(standing));
            bar.tick();
        }
    }

    /// ` 412 runs, 103/s; conditions: 3 of 40 fail (2–20 %), only the network shared · a::b`
    fn message(&self, it: &Standing) -> String {
        let speed = f64::from(it.runs) / it.took.as_secs_f64().max(0.001);
        let (low, high) = (it.interval.0 * 100.0, it.interval.1 * 100.0);
        let digits = usize::from(high < 10.0);
        format!(
            " {} runs, {speed:.0}/s; {}: {} of {} fail ({low:.digits$}–{high:.digits$} %), {} · {}",
            it.runs,
            it.phase,
            it.arm_failures,
            it.arm_runs,
            escape(&it.arm),
            self.name,
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
        let mut standing = Standing {
            runs: 412,
            arm_runs: 40,
            arm_failures: 3,
            interval: (0.016, 0.204),
            arm: "the network shared".to_owned(),
            phase: "conditions",
            took: Duration::from_secs(4),
        };
        let text = " 412 runs, 103/s; conditions: 3 of 40 fail (2–20 %), the network shared · a::b";
        assert_eq!(line.message(&standing), text);
        standing = Standing { arm_runs: 400, arm_failures: 0, interval: (0.0, 0.0092), ..standing };
        assert!(line.message(&standing).contains(": 0 of 400 fail (0.0–0.9 %), "));
    }
}
