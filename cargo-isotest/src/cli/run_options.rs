//! Run options: retries, threads, the end of a run, reports.
//!
//! The configuration has all of them as keys. Most are flags of `run` too, which
//! [`run_flags`](super::run_flags) and [`libtest`](super::libtest) define.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum, value_parser};
use isotest_core::finding::Codes;
use isotest_core::retry::{self, Growth, Retries};
use isotest_core::schedule::{InFlight, MaxFail};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::deny::{self, DenyWord};
use super::quantity::{self, Deadline, Threads, deadline, threads};

/// Keys that all tests of a run have in common.
pub(super) const OF_A_RUN: [&str; 12] = [
    "fail-fast",
    "max-fail",
    "global-timeout",
    "test-threads",
    "junit",
    "sarif",
    "trace",
    "explain-failures",
    "record",
    "max-records",
    "max-records-age",
    "max-records-size",
];

/// Limits of the recorded runs of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Maximum number of runs.
    pub count: NonZeroUsize,
    /// Maximum age of a run; none where it does not count.
    pub age: Option<Duration>,
    /// Maximum size of all files together, in bytes.
    pub bytes: u64,
}

impl Default for RecordLimits {
    fn default() -> Self {
        RecordLimits {
            count: NonZeroUsize::new(100).expect("it is not zero"),
            age: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            bytes: 512 << 20,
        }
    }
}

/// Run options from one source: flags, a variable, an override or a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, JsonSchema)]
#[schemars(rename_all = "kebab-case", default)]
pub struct RunOptions {
    /// Retry a failed test: a number, or a table with pauses
    #[arg(long, value_parser = retries)]
    #[schemars(schema_with = "retries_schema")]
    pub retries: Option<Retries>,
    /// Result of a test that passes only at a retry
    #[arg(long)]
    pub flaky_result: Option<FlakyResult>,
    /// Slots that the test takes: a number, `num-cpus`, or `num-test-threads` (it runs alone)
    #[arg(long, value_parser = threads_required)]
    #[schemars(schema_with = "threads_required_schema")]
    pub threads_required: Option<ThreadsRequired>,
    /// Test group; `@global` is none
    #[arg(long)]
    pub test_group: Option<String>,
    /// Priority from -100 to 100: tests with a higher one start first; 0 by default
    #[arg(long, value_parser = value_parser!(i8).range(-100..=100))]
    #[schemars(range(min = -100, max = 100))]
    pub priority: Option<i8>,
    /// Codes of findings with which a test does not pass: `leaves-process`; `all`; `none`
    #[arg(long, value_parser = deny::parser(), hide_possible_values = true)]
    #[schemars(schema_with = "deny::schema")]
    pub deny: Option<Vec<DenyWord>>,
    /// Start no further test after the first failure
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub fail_fast: Option<bool>,
    /// Start no further test after so many failures, and with `N:immediate` kill those that run; `all`
    /// runs every test
    #[arg(long, value_parser = max_fail)]
    #[schemars(schema_with = "max_fail_schema")]
    pub max_fail: Option<FailFast>,
    /// End the run after this time (`90s`, `30m`, `none`), counted from the first test
    #[arg(long, value_parser = deadline)]
    #[schemars(schema_with = "quantity::schema")]
    pub global_timeout: Option<Deadline>,
    /// Maximum number of tests at a time: a number, `num-cpus`, or `-N` for all processors but N
    #[arg(long, value_parser = threads)]
    #[schemars(schema_with = "threads_schema")]
    pub test_threads: Option<Threads>,
    /// Write a JUnit XML report of the run to this file; a relative path starts at the workspace's
    /// root
    #[arg(long)]
    #[schemars(with = "Option<String>")]
    pub junit: Option<PathBuf>,
    /// Write the findings as a SARIF log to this file; a relative path starts at the workspace's root
    #[arg(long)]
    #[schemars(with = "Option<String>")]
    pub sarif: Option<PathBuf>,
    /// Trace tests, and record what they read, write and bind
    #[arg(long)]
    pub trace: Option<TraceWhen>,
    /// Run failed tests once more under other layers, and print those with which they pass
    #[arg(long)]
    pub explain_failures: Option<ExplainFailures>,
    /// Record the run
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub record: Option<bool>,
    /// Maximum number of recorded runs; 100 by default
    #[arg(long)]
    pub max_records: Option<NonZeroUsize>,
    /// Maximum age of a recorded run (`30d`, `none`); 30 days by default
    #[arg(long, value_parser = deadline)]
    #[schemars(schema_with = "quantity::schema")]
    pub max_records_age: Option<Deadline>,
    /// Maximum size of all recorded runs together (`1GiB`); 512 MiB by default
    #[arg(long, value_parser = quantity::bytes)]
    #[schemars(schema_with = "quantity::schema")]
    pub max_records_size: Option<u64>,
}

/// Effect of a failed case on those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailFast {
    /// All of them run.
    Never,
    /// Nothing more is started after this many failures.
    After(MaxFail),
}

/// `--flaky-result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum FlakyResult {
    /// As passed
    #[default]
    Pass,
    /// As failed
    Fail,
}

/// `--trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum TraceWhen {
    /// No test
    #[default]
    Never,
    /// Run each test that has failed once more, traced
    OnFailure,
    /// Run each test that was retried once more, traced
    OnRetry,
    /// Trace every test
    Always,
}

/// `--explain-failures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum ExplainFailures {
    /// Layers that isolate as well, and files that the failure names
    #[default]
    Auto,
    /// None
    Never,
    /// Variables that it names, too, and the host's layers: a test may then have effects outside
    Always,
}

impl From<FlakyResult> for retry::FlakyResult {
    fn from(result: FlakyResult) -> Self {
        match result {
            FlakyResult::Pass => retry::FlakyResult::Pass,
            FlakyResult::Fail => retry::FlakyResult::Fail,
        }
    }
}

/// Number of slots that a test takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadsRequired {
    /// So many.
    Count(NonZeroUsize),
    /// As many as there are processors.
    Processors,
    /// As many as run at a time.
    TestThreads,
}

impl ThreadsRequired {
    /// The number, where there are so many processors and so many tests run at a time.
    pub fn count(self, processors: usize, test_threads: usize) -> usize {
        match self {
            ThreadsRequired::Count(count) => count.get(),
            ThreadsRequired::Processors => processors,
            ThreadsRequired::TestThreads => test_threads,
        }
    }
}

impl RunOptions {
    /// These options; `lower` fills the gaps. `fail-fast` and `max-fail` are one value.
    pub fn over(&self, lower: RunOptions) -> RunOptions {
        let says = self.fail_fast.is_some() || self.max_fail.is_some();
        let (fail_fast, max_fail) = match says {
            true => (self.fail_fast, self.max_fail),
            false => (lower.fail_fast, lower.max_fail),
        };
        RunOptions {
            retries: self.retries.or(lower.retries),
            flaky_result: self.flaky_result.or(lower.flaky_result),
            threads_required: self.threads_required.or(lower.threads_required),
            test_group: self.test_group.clone().or(lower.test_group),
            priority: self.priority.or(lower.priority),
            deny: self.deny.clone().or(lower.deny),
            fail_fast,
            max_fail,
            global_timeout: self.global_timeout.or(lower.global_timeout),
            test_threads: self.test_threads.or(lower.test_threads),
            junit: self.junit.clone().or(lower.junit),
            sarif: self.sarif.clone().or(lower.sarif),
            trace: self.trace.or(lower.trace),
            explain_failures: self.explain_failures.or(lower.explain_failures),
            record: self.record.or(lower.record),
            max_records: self.max_records.or(lower.max_records),
            max_records_age: self.max_records_age.or(lower.max_records_age),
            max_records_size: self.max_records_size.or(lower.max_records_size),
        }
    }

    /// The codes of findings with which a test does not pass.
    pub fn deny(&self) -> Codes {
        deny::codes(self.deny.as_deref().unwrap_or_default())
    }

    /// Retries of a failed test.
    pub fn retries(&self) -> Retries {
        let flaky = self.flaky_result.unwrap_or_default().into();
        Retries { flaky, ..self.retries.unwrap_or_default() }
    }

    /// True if the run is recorded.
    pub fn is_recorded(&self) -> bool {
        self.record.unwrap_or(true)
    }

    /// Limits of the recorded runs.
    pub fn record_limits(&self) -> RecordLimits {
        let RecordLimits { count, age, bytes } = RecordLimits::default();
        RecordLimits {
            count: self.max_records.unwrap_or(count),
            age: self.max_records_age.map_or(age, Into::into),
            bytes: self.max_records_size.unwrap_or(bytes),
        }
    }

    /// Number of failures that ends the run; `None` if no option sets it.
    pub fn fail_fast(&self) -> Option<FailFast> {
        let first = |fail_fast| match fail_fast {
            true => FailFast::After(MaxFail::FIRST),
            false => FailFast::Never,
        };
        self.max_fail.or(self.fail_fast.map(first))
    }
}

fn retries(text: &str) -> Result<Retries, String> {
    let count = text.parse().map_err(|cause| format!("not a number of retries: {cause}"))?;
    Ok(Retries { count, ..Retries::default() })
}

fn threads_required(text: &str) -> Result<ThreadsRequired, String> {
    match text {
        "num-cpus" => Ok(ThreadsRequired::Processors),
        "num-test-threads" => Ok(ThreadsRequired::TestThreads),
        number => number.parse().map(ThreadsRequired::Count).map_err(|_| {
            "not a number of tests; try `2`, `num-cpus` or `num-test-threads`".to_owned()
        }),
    }
}

/// Reads `3`, `3:wait`, `3:immediate` and `all`, as nextest does.
pub(super) fn max_fail(text: &str) -> Result<FailFast, String> {
    if text == "all" {
        return Ok(FailFast::Never);
    }
    let (number, in_flight) = match text.split_once(':') {
        None => (text, Some(InFlight::Wait)),
        Some((number, "wait")) => (number, Some(InFlight::Wait)),
        Some((number, "immediate")) => (number, Some(InFlight::Kill)),
        Some(_) => (text, None),
    };
    let after = number.parse().ok().zip(in_flight);
    let after = after.map(|(failures, in_flight)| FailFast::After(MaxFail { failures, in_flight }));
    after.ok_or_else(|| "not a number of failures; try `3`, `3:immediate` or `all`".to_owned())
}

impl fmt::Display for FailFast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailFast::Never => write!(f, "all"),
            FailFast::After(MaxFail { failures, in_flight: InFlight::Wait }) => {
                write!(f, "{failures}")
            }
            FailFast::After(MaxFail { failures, in_flight: InFlight::Kill }) => {
                write!(f, "{failures}:immediate")
            }
        }
    }
}

impl fmt::Display for ThreadsRequired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThreadsRequired::Count(count) => write!(f, "{count}"),
            ThreadsRequired::Processors => write!(f, "num-cpus"),
            ThreadsRequired::TestThreads => write!(f, "num-test-threads"),
        }
    }
}

/// `3`, or `3, exponential from 1s to 10s, with jitter`: the number of retries and their pauses.
pub fn retries_name(retries: &Retries) -> String {
    let (backoff, mut name) = (retries.backoff, retries.count.to_string());
    let delay = humantime::format_duration(backoff.delay);
    match backoff.growth {
        _ if backoff.delay.is_zero() => return name,
        Growth::Fixed => name += &format!(", {delay} apart"),
        Growth::Exponential => name += &format!(", exponential from {delay}"),
    }
    if let Some(most) = backoff.max_delay {
        name += &format!(" to {}", humantime::format_duration(most));
    }
    name + if backoff.jitter { ", with jitter" } else { "" }
}

fn retries_schema(_: &mut SchemaGenerator) -> Schema {
    let duration = json_schema!({ "type": ["string", "integer"], "minimum": 0 });
    json_schema!({
        "type": ["integer", "object"],
        "minimum": 0,
        "additionalProperties": false,
        "required": ["count"],
        "properties": {
            "count": { "description": "How many retries", "type": "integer", "minimum": 0 },
            "backoff": {
                "description": "Whether each pause is twice the one before",
                "enum": ["fixed", "exponential"],
            },
            "delay": described(&duration, "The pause before the first retry"),
            "max-delay": described(&duration, "No pause is longer"),
            "jitter": {
                "description": "Cut each pause to a random part of it, a half or more",
                "type": "boolean",
            },
        },
    })
}

fn described(schema: &Schema, description: &str) -> Schema {
    let mut schema = schema.clone();
    schema.insert("description".to_owned(), description.into());
    schema
}

fn threads_required_schema(_: &mut SchemaGenerator) -> Schema {
    number_or(&["num-cpus", "num-test-threads"], 1)
}

fn max_fail_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^(all|[1-9][0-9]*(:wait|:immediate)?)$" },
        ],
    })
}

/// Schema of [`Threads`] in a configuration file.
pub fn threads_schema(_: &mut SchemaGenerator) -> Schema {
    number_or(&["num-cpus"], i64::MIN)
}

fn number_or(words: &[&str], minimum: i64) -> Schema {
    let mut number = json_schema!({ "type": "integer" });
    if minimum > i64::MIN {
        number.insert("minimum".to_owned(), minimum.into());
    }
    json_schema!({ "anyOf": [number, { "enum": words }] })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use isotest_core::retry::Backoff;

    use super::*;

    #[test]
    fn fail_fast_is_a_limit_of_one() {
        let run_options = |fail_fast| RunOptions { fail_fast, ..RunOptions::default() };
        assert_eq!(run_options(Some(true)).fail_fast(), max_fail("1").ok());
        assert_eq!(run_options(Some(false)).fail_fast(), max_fail("all").ok());
        assert_eq!(run_options(None).fail_fast(), None);
    }

    #[test]
    fn what_runs_is_waited_for_or_killed() {
        let name = |text| max_fail(text).map(|fail_fast| fail_fast.to_string());
        assert_eq!(name("3:wait").as_deref(), Ok("3"));
        assert_eq!(name("3:immediate").as_deref(), Ok("3:immediate"));
        for text in ["0", "3:never", "all:wait", ":wait", ""] {
            assert!(name(text).expect_err(text).ends_with("or `all`"), "{text}");
        }
    }

    #[test]
    fn who_says_when_a_run_ends_says_all_of_it() {
        let three = RunOptions { max_fail: max_fail("3").ok(), ..RunOptions::default() };
        let never = RunOptions { fail_fast: Some(false), ..RunOptions::default() };
        assert_eq!(never.over(three.clone()).fail_fast(), Some(FailFast::Never));
        assert_eq!(three.over(never.clone()).fail_fast(), three.fail_fast());
        assert_eq!(RunOptions::default().over(never.clone()), never);
    }

    #[test]
    fn a_test_weighs_a_number_or_all() {
        let weight = |text| threads_required(text).map(|required| required.count(8, 3));
        assert_eq!(weight("2"), Ok(2));
        assert_eq!(weight("num-cpus"), Ok(8));
        assert_eq!(weight("num-test-threads"), Ok(3));
        for text in ["0", "-1", "many"] {
            assert!(weight(text).expect_err(text).ends_with("or `num-test-threads`"), "{text}");
        }
    }

    #[test]
    fn pauses_are_named() {
        let second = Duration::from_secs(1);
        let backoff = Backoff { delay: second, ..Backoff::default() };
        let name = |backoff| retries_name(&Retries { count: 3, backoff, ..Retries::default() });
        assert_eq!(name(Backoff::default()), "3");
        assert_eq!(name(backoff), "3, 1s apart");
        let growing = Backoff {
            growth: Growth::Exponential,
            max_delay: Some(9 * second),
            jitter: true,
            ..backoff
        };
        assert_eq!(name(growing), "3, exponential from 1s to 9s, with jitter");
    }
}
