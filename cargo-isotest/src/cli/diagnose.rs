//! The commands that find out why tests are flaky, as they are typed.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::cargo::CargoOptions;
use super::config::ConfigOptions;
use super::formats::ReportFormat;
use super::quantity;

const DIAGNOSE: &str = "\
The test runs many times: alone, together with other tests, with each layer shared, and under other
conditions (processor, clock, zone, order, limits). What decides whether it fails is the cause. Nothing
of this machine is changed: if the test tries the network or writes outside of its directories, it never
runs on layers of the machine, unless `--host-arms always` is given.

The result is kept in the target directory. The next steps find it by the name of the test:
    cargo isotest repro CASE         makes the test fail again
    cargo isotest prove-fixed CASE   shows that a fix works

Exit codes: 0 if no run failed, 100 if one did, 96 if the test could not be run, 130 after Ctrl-C.";

const PROVE: &str = "\
The test runs under the conditions in which it failed, as its latest diagnosis found them, and so often
that it would fail at least once if it still failed as often as before (confidence 99 %). With `--rate`
alone it runs alone, as in an ordinary run, which takes more runs.

Exit codes: 0 if all runs passed, 100 if one failed.";

/// `cargo isotest diagnose`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = DIAGNOSE)]
pub struct DiagnoseCommand {
    /// Name of the test, or a unique part of it
    #[arg(value_name = "CASE")]
    pub case: String,
    /// End after this time, `90s`, or after so many runs, `5000`
    #[arg(long, value_name = "TIME|RUNS", default_value = "60s", value_parser = budget)]
    pub budget: Budget,
    /// Try layers of the machine: its network, home directory and environment
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub host_arms: HostArms,
    /// Seed of all that is random: orders, starvation, random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print the diagnosis in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// Configuration and build options.
    #[command(flatten)]
    pub suite: SuiteOptions,
}

/// `cargo isotest repro`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReproCommand {
    /// Token that `diagnose` has printed, or the test whose latest diagnosis has it
    #[arg(value_name = "TOKEN|CASE")]
    pub what: String,
    /// Maximum number of runs; by default as many as the rate asks for
    #[arg(long, value_name = "N")]
    pub runs: Option<u32>,
    /// Allow layers of the machine that the token names
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub host_arms: HostArms,
    /// Configuration and build options.
    #[command(flatten)]
    pub suite: SuiteOptions,
}

/// `cargo isotest prove-fixed`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = PROVE)]
pub struct ProveFixedCommand {
    /// Name of the test, or a unique part of it
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Token that `diagnose` printed before the fix; by default that of the latest diagnosis
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Rate of failures before the fix, `0.05`: no diagnosis is needed then
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub rate: Option<Share>,
    /// Allow layers of the machine that the token names
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub host_arms: HostArms,
    /// Print the result in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// Configuration and build options.
    #[command(flatten)]
    pub suite: SuiteOptions,
}

/// Configuration and build of all tests of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct SuiteOptions {
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Build options.
    #[command(flatten)]
    pub cargo: CargoOptions,
}

/// Limit of a diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// So much time.
    Time(Duration),
    /// So many runs.
    Runs(u32),
}

/// Use of layers of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostArms {
    /// If the test neither tries the network nor writes outside of its directories
    Auto,
    /// Never
    Never,
    /// Always: tests may change the machine
    Always,
}

/// A share between 0 and 1, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// It as a number.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

fn budget(text: &str) -> Result<Budget, String> {
    if let Ok(runs) = text.parse::<u32>() {
        return match runs {
            0 => Err("no run decides nothing; try `60s` or `5000`".to_owned()),
            runs => Ok(Budget::Runs(runs)),
        };
    }
    match quantity::duration(text) {
        Ok(time) if time.is_zero() => {
            Err("no time decides nothing; try `60s` or `5000`".to_owned())
        }
        Ok(time) => Ok(Budget::Time(time)),
        Err(_) => Err("neither a time nor a number of runs; try `60s` or `5000`".to_owned()),
    }
}

fn rate(text: &str) -> Result<Share, String> {
    let (number, is_percent) = match text.trim().strip_suffix('%') {
        Some(number) => (number.trim(), true),
        None => (text.trim(), false),
    };
    let value = number.parse::<f64>().map_err(|_| "not a number; try `0.05` or `5%`".to_owned())?;
    let value = if is_percent { value / 100.0 } else { value };
    match (1e-6..1.0).contains(&value) {
        true => Ok(Share((value * 1e6).round() as u32)),
        false => Err("not between 0 and 1; try `0.05` or `5%`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_time_or_a_number_of_runs() {
        assert_eq!(budget("90s"), Ok(Budget::Time(Duration::from_secs(90))));
        assert_eq!(budget("2m"), Ok(Budget::Time(Duration::from_secs(120))));
        assert_eq!(budget("500"), Ok(Budget::Runs(500)));
        for wrong in ["0", "0s", "soon", "-1"] {
            assert!(budget(wrong).is_err_and(|error| error.contains("try `60s`")), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_a_share_or_a_percentage() {
        assert_eq!(rate("0.05").map(Share::get), Ok(0.05));
        assert_eq!(rate("5%").map(Share::get), Ok(0.05));
        for wrong in ["0", "1", "2", "x", "NaN", "-0.1"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
