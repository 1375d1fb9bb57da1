//! Flags of `run` under the heading "Running", and `--no-tests` and `--rerun-failed`.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};
use isotest_core::retry::Retries;
use isotest_core::schedule::Repeat;

use super::deny::{self, DenyWord};
use super::layers::LayerOptions;
use super::quantity::{Deadline, deadline, duration};
use super::run_options::{ExplainFailures, FailFast, FlakyResult, RunOptions, TraceWhen, max_fail};

/// Flags that control a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Running")]
pub struct RunFlags {
    /// Build, but run nothing
    #[arg(long)]
    pub no_run: bool,
    /// Run every test, whatever fails
    #[arg(long, visible_alias = "nff", overrides_with = "fail_fast")]
    no_fail_fast: bool,
    /// Start no further test after the first failure
    #[arg(long, visible_alias = "ff", overrides_with = "no_fail_fast")]
    fail_fast: bool,
    /// Start no further test after N failures, and with `N:immediate` kill those that run; `all`: run
    /// every test
    #[arg(long, value_name = "N", value_parser = max_fail)]
    #[arg(conflicts_with_all = ["fail_fast", "no_fail_fast"])]
    max_fail: Option<FailFast>,
    /// End the run after this time (`90s`, `30m`, `none`), counted from the first test
    #[arg(long, value_name = "DURATION", value_parser = deadline)]
    global_timeout: Option<Deadline>,
    /// Unit that gets a sandbox: each test, or a whole binary with threads as in cargo test
    #[arg(long, value_name = "UNIT", default_value = "test")]
    pub unit: Unit,
    /// Retry a failed test up to N times
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Result of a test that passes only at a retry [default: pass]
    #[arg(long, value_name = "RESULT")]
    flaky_result: Option<FlakyResult>,
    /// Fail tests that have findings with one of these codes: `leaves-process,net-attempt`, `all`
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = deny::parser())]
    #[arg(hide_possible_values = true)]
    deny: Option<Vec<DenyWord>>,
    /// Run tests that the base run does not have N times, several copies at once, before they count;
    /// `1%`: as often as it takes to see a failure that happens in 1 % of runs
    #[arg(long, value_name = "N|P%", value_parser = proving_runs)]
    #[arg(conflicts_with_all = ["stress_count", "stress_duration", "debugger", "tracer", "no_run"])]
    pub prove_new: Option<NonZeroU32>,
    /// Base run of `--prove-new` [default: the latest recorded run of all tests]
    #[arg(long, value_name = "RUN|FILE", requires = "prove_new")]
    pub prove_against: Option<String>,
    /// Run each test N times, several copies at once
    #[arg(long, value_name = "N", conflicts_with_all = ["junit", "sarif"])]
    pub stress_count: Option<NonZeroU32>,
    /// Run each test as often as it can be started in this time (`30s`, `10m`)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[arg(conflicts_with_all = ["stress_count", "junit", "sarif"])]
    pub stress_duration: Option<Duration>,
    /// Start the tests in a random order; SEED repeats it
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true)]
    pub shuffle: Option<Option<u64>>,
    /// Run one test under this debugger, in its sandbox: `rust-gdb --args`
    #[arg(long, value_name = "COMMAND", value_parser = words)]
    #[arg(conflicts_with_all = ["tracer", "stress_count", "stress_duration", "junit", "sarif", "no_run"])]
    pub debugger: Option<CommandLine>,
    /// Run one test under this tracer, which reads no input: `strace -f`
    #[arg(long, value_name = "COMMAND", value_parser = words)]
    #[arg(conflicts_with_all = ["stress_count", "stress_duration", "junit", "sarif", "no_run"])]
    pub tracer: Option<CommandLine>,
    /// Tool that captures stack traces when a test times out
    #[arg(long, value_name = "WHO", default_value = "auto")]
    pub timeout_stacks: TimeoutStacks,
    /// Read no keys from the terminal (`t` or Enter shows the running tests)
    #[arg(long)]
    pub no_input_handler: bool,
    /// Keep what failed tests have written below the target directory
    #[arg(long, conflicts_with_all = ["stress_count", "stress_duration", "debugger", "tracer"])]
    pub keep: bool,
    /// Trace tests, and record what they read, write and bind
    #[arg(long, value_name = "WHEN")]
    trace: Option<TraceWhen>,
    /// Run failed tests once more under other layers, and print those with which they pass
    #[arg(long, value_name = "WHEN")]
    explain_failures: Option<ExplainFailures>,
    /// Record the run (the default), whatever the configuration says
    #[arg(long, overrides_with = "no_record")]
    record: bool,
    /// Do not record the run
    #[arg(long, overrides_with = "record")]
    no_record: bool,
    /// What to do when no tests are selected
    #[arg(long, value_name = "ACTION", default_value = "auto", help_heading = "Test selection")]
    pub no_tests: NoTests,
    /// Run only tests that failed and have not passed since
    #[arg(long, help_heading = "Test selection")]
    pub rerun_failed: bool,
}

/// `--no-tests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum NoTests {
    /// As `fail`.
    #[default]
    Auto,
    /// Exit code 0, and nothing is said of it.
    Pass,
    /// Exit code 0, with a warning.
    Warn,
    /// Exit code 4.
    Fail,
}

/// `--unit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Unit {
    /// Each test.
    #[default]
    Test,
    /// Each test binary.
    Binary,
}

/// Maximum number of runs of a new test.
const PROVING_RUNS: u32 = 100_000;

/// Reads a number of runs, or the share of runs that fail: in so many runs one of them fails with a
/// probability of 95 %.
fn proving_runs(text: &str) -> Result<NonZeroU32, String> {
    let runs = match text.strip_suffix('%') {
        None => text.parse().ok(),
        Some(percent) => {
            let share = percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0);
            let share = share.filter(|share| (1e-9..1.0).contains(share));
            share.map(|share| (0.05_f64.ln() / (-share).ln_1p()).ceil().min(1e9) as u32)
        }
    };
    let runs = runs.filter(|runs| *runs <= PROVING_RUNS).and_then(NonZeroU32::new);
    runs.ok_or_else(|| format!("not a number of runs from 1 to {PROVING_RUNS}; try `20` or `1%`"))
}

/// A command line in one argument: its words, one at the least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine(pub Vec<String>);

/// Reads a command line as a shell would part it.
fn words(text: &str) -> Result<CommandLine, String> {
    match shell_words::split(text) {
        Ok(words) if words.is_empty() => Err("it is empty".to_owned()),
        Ok(words) => Ok(CommandLine(words)),
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
    /// No tool.
    None,
}

impl RunFlags {
    /// Fails where a whole binary cannot do what single tests can.
    pub(super) fn check_unit(&self, measures: bool, layers: &LayerOptions) -> Result<(), String> {
        if self.unit == Unit::Test {
            return Ok(());
        }
        let refused = [
            (self.starts_again(), "--retries", "a test of it cannot be started again by itself"),
            (
                self.flaky_result.is_some(),
                "--flaky-result",
                "a test of it cannot be started again by itself",
            ),
            (layers.has("slow-timeout"), "--slow-timeout", "libtest tells of it after 60 s"),
            (self.repeat() != Repeat::Once, "a stress run", "copies of a test do not meet in it"),
            (self.max_fail.is_some(), "--max-fail", "it does not end in the middle of its tests"),
            (self.prove_new.is_some(), "--prove-new", "copies of a test do not meet in it"),
            (
                self.trace.is_some_and(|when| when != TraceWhen::Never),
                "--trace",
                "what a test of it does is not told from what the others do",
            ),
            (measures, "--bench", "what is measured must not be disturbed"),
        ];
        match refused.into_iter().find(|(given, ..)| *given) {
            None => Ok(()),
            Some((_, what, why)) => {
                let flag = if what.starts_with('-') { format!("`{what}`") } else { what.into() };
                Err(format!("{flag} does not go with `--unit binary`, one process: {why}"))
            }
        }
    }

    /// Number of runs of each test.
    pub fn repeat(&self) -> Repeat {
        match (self.stress_count, self.stress_duration) {
            (Some(times), _) => Repeat::Times(times),
            (None, Some(time)) => Repeat::For(time),
            (None, None) => Repeat::Once,
        }
    }

    /// The flag `--deny` by which another run has the same.
    pub fn deny_flag(&self) -> Option<String> {
        let codes = deny::codes(self.deny.as_deref()?);
        Some(format!("--deny={}", deny::name(codes).replace(' ', ",")))
    }

    /// True if a failed test is started again.
    pub(super) fn starts_again(&self) -> bool {
        self.retries.is_some_and(|count| count > 0)
    }

    /// The flags that are configuration keys too.
    pub fn run_options(&self) -> RunOptions {
        RunOptions {
            retries: self.retries.map(|count| Retries { count, ..Retries::default() }),
            flaky_result: self.flaky_result,
            deny: self.deny.clone(),
            fail_fast: (self.fail_fast || self.no_fail_fast).then_some(self.fail_fast),
            max_fail: self.max_fail,
            global_timeout: self.global_timeout,
            trace: self.trace,
            explain_failures: self.explain_failures,
            record: (self.record || self.no_record).then_some(self.record),
            ..RunOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_typed_means_nothing_asked_for() {
        assert_eq!(RunFlags::default().run_options(), RunOptions::default());
    }

    #[test]
    fn a_share_of_failures_is_a_number_of_runs() {
        let runs = |text| proving_runs(text).map(NonZeroU32::get);
        // 0.99 ^ 299 = 0.0495…
        assert_eq!([runs("20"), runs("1%"), runs("50%")], [Ok(20), Ok(299), Ok(5)]);
        for text in ["0", "x", "0%", "100%", "-1%", "0.0001%", "100001"] {
            assert!(proving_runs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_fail_fast_is_asked_for_too() {
        let options = RunFlags { no_fail_fast: true, ..RunFlags::default() };
        assert_eq!(options.run_options().fail_fast(), Some(FailFast::Never));
    }
}
