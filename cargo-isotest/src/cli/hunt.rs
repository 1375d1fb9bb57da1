//! The commands that look for flaky tests in a whole suite, as they are typed.

use std::time::Duration;

use clap::Args;

use super::diagnose::SuiteOptions;
use super::formats::ReportFormat;
use super::quantity;

const HUNT: &str = "\
All tests run again and again: alone, all at once with every layer shared, in one process for each
binary, and under other conditions (random numbers, directory order, processor, limits, clock). A test
that passes and fails is a candidate. Candidates that fail for one reason are one group, and the groups
that fail most in ordinary runs are diagnosed: half of the time is for that. Ctrl-C ends the hunt and
prints what was found.

With `--time-bombs` the tests run at later dates instead: tomorrow, the end of a month, the day on which
clocks change, in a year, in ten years, and in 2038, where 32-bit times end. Of each test that fails later the
first date is found.

Exit codes: 0 if there is no candidate, 100 if there is one, 4 if no test is selected.";

const VERIFY: &str = "\
Each test runs twice, each alone: the second run has another clock, other random numbers, another
process id, another order of directories, and a busy machine. Its verdict, its output and the files that
it leaves are the same if the test is hermetic. Numbers and paths in the output do not count.

Exit codes: 0 if all runs are the same, 100 if one differs, 4 if no test is selected.";

const BISECT: &str = "\
The tests of one binary run in one process, one after the other. If CASE fails after other tests and
passes alone, the smallest set of them that makes it fail is found: the polluters. If it fails alone and
passes after other tests, the set that makes it pass: the state setters. Then the tests that prevent the
failure when they run in between are found: the cleaners.

Exit codes: 0 if the order makes no difference, 100 if it does.";

/// `cargo isotest hunt`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = HUNT)]
pub struct HuntCommand {
    /// Run only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
    /// End after this time, `90s`, `1h`
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    pub budget: Duration,
    /// Look for tests that fail from a certain date on
    #[arg(long)]
    pub time_bombs: bool,
    /// Seed of all that is random: orders, random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print what was found in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// Configuration and build options.
    #[command(flatten)]
    pub suite: SuiteOptions,
}

/// `cargo isotest verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = VERIFY)]
pub struct VerifyCommand {
    /// Run only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
    /// Seed of what differs in the second run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print the result in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// Configuration and build options.
    #[command(flatten)]
    pub suite: SuiteOptions,
}

/// `cargo isotest bisect-order`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = BISECT)]
pub struct BisectOrderCommand {
    /// Name of the test, or a unique part of it
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Seed of the orders that are tried
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print the result in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// Configuration and build options.
    #[command(flatten)]
    pub suite: SuiteOptions,
}

fn time(text: &str) -> Result<Duration, String> {
    match quantity::duration(text) {
        Ok(time) if time.is_zero() => Err("no time finds nothing; try `10m`".to_owned()),
        Ok(time) => Ok(time),
        Err(_) => Err("not a time; try `10m`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_time() {
        assert_eq!(time("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["0s", "", "ten", "-1s"] {
            assert!(time(wrong).is_err_and(|error| error.ends_with("try `10m`")), "{wrong}");
        }
    }
}
