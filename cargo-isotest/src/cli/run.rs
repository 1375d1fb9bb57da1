//! When a run stops early, and whether it starts at all.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::{Args, ValueEnum};
use isotest_core::retry::{self, Retries};
use isotest_core::schedule::Repeat;

use super::quantity::duration;

/// What a failing case means for those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailFast {
    /// All of them run.
    Never,
    /// Nothing more is started after this many failures.
    After(NonZeroUsize),
}

/// Flags for the course of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Running")]
pub struct RunOptions {
    /// Build, but run nothing
    #[arg(long)]
    pub no_run: bool,
    /// Run every test, whatever fails
    #[arg(long, overrides_with = "fail_fast")]
    pub no_fail_fast: bool,
    /// Start no further test after the first failure
    #[arg(long, overrides_with = "no_fail_fast")]
    pub fail_fast: bool,
    /// Start no further test after N failures
    #[arg(long, value_name = "N", conflicts_with_all = ["fail_fast", "no_fail_fast"])]
    pub max_fail: Option<NonZeroUsize>,
    /// Start a test that fails again, up to N times
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub retries: u32,
    /// What a test counts as that passes only at a retry
    #[arg(long, value_name = "RESULT", default_value = "pass")]
    pub flaky_result: FlakyResult,
    /// Run each test N times, copies of it beside each other
    #[arg(long, value_name = "N", conflicts_with_all = ["retries", "junit"])]
    pub stress_count: Option<NonZeroU32>,
    /// Run each test as often as it can be started in this time (`30s`, `10m`)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[arg(conflicts_with_all = ["stress_count", "retries", "junit"])]
    pub stress_duration: Option<Duration>,
    /// Start the tests in a random order, that of SEED
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true)]
    pub shuffle: Option<Option<u64>>,
    /// Run one test under this debugger, in its sandbox: `rust-gdb --args`
    #[arg(long, value_name = "COMMAND", value_parser = words)]
    #[arg(conflicts_with_all = ["tracer", "stress_count", "stress_duration", "junit", "no_run"])]
    pub debugger: Option<Words>,
    /// Run one test under this tracer, which reads no input: `strace -f`
    #[arg(long, value_name = "COMMAND", value_parser = words)]
    #[arg(conflicts_with_all = ["stress_count", "stress_duration", "junit", "no_run"])]
    pub tracer: Option<Words>,
    /// Who reads the stacks of a test before it is killed for its time
    #[arg(long, value_name = "WHO", default_value = "auto")]
    pub timeout_stacks: TimeoutStacks,
    /// Read no keys (`t` or Enter: what is running) from the terminal
    #[arg(long)]
    pub no_input_handler: bool,
    /// Run only what has failed and not passed since
    #[arg(long, help_heading = "Test selection")]
    pub rerun_failed: bool,
}

/// A command line in one argument: its words, one at the least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

/// Reads a command line as a shell would part it.
fn words(text: &str) -> Result<Words, String> {
    match shell_words::split(text) {
        Ok(words) if words.is_empty() => Err("it is empty".to_owned()),
        Ok(words) => Ok(Words(words)),
        Err(error) => Err(error.to_string()),
    }
}

/// `--timeout-stacks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TimeoutStacks {
    /// gdb, eu-stack or /proc, the first that is there.
    #[default]
    Auto,
    /// gdb.
    Gdb,
    /// eu-stack, of elfutils.
    EuStack,
    /// isotest, by /proc: the system call of each thread.
    Proc,
    /// Nobody.
    None,
}

/// `--flaky-result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FlakyResult {
    /// As passed.
    #[default]
    Pass,
    /// As failed.
    Fail,
}

impl RunOptions {
    /// How often each test is run.
    pub fn repeat(&self) -> Repeat {
        match (self.stress_count, self.stress_duration) {
            (Some(times), _) => Repeat::Times(times),
            (None, Some(time)) => Repeat::For(time),
            (None, None) => Repeat::Once,
        }
    }

    /// What follows where a test fails.
    pub fn retries(&self) -> Retries {
        let flaky = match self.flaky_result {
            FlakyResult::Pass => retry::FlakyResult::Pass,
            FlakyResult::Fail => retry::FlakyResult::Fail,
        };
        Retries { count: self.retries, flaky, ..Retries::default() }
    }

    /// What was asked for; `None` where the command line says nothing.
    pub fn fail_fast(&self) -> Option<FailFast> {
        if let Some(limit) = self.max_fail {
            return Some(FailFast::After(limit));
        }
        if self.fail_fast {
            return Some(FailFast::After(NonZeroUsize::MIN));
        }
        self.no_fail_fast.then_some(FailFast::Never)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_typed_means_nothing_asked_for() {
        assert_eq!(RunOptions::default().fail_fast(), None);
    }

    #[test]
    fn fail_fast_is_a_limit_of_one() {
        let options = RunOptions { fail_fast: true, ..RunOptions::default() };
        assert_eq!(options.fail_fast(), Some(FailFast::After(NonZeroUsize::MIN)));
    }
}
