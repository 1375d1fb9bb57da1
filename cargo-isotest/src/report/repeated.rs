//! Runs of one test that are made again and again: `repro`, `prove-fixed`.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use isotest_core::diagnosis::proof;
use isotest_core::escape::escape;
use serde::Serialize;

use super::diagnosed_text::percent;
use super::diagnosis_line::Standing;
use super::paint::{self, ERROR, GOOD, STRONG, WARNING};
use super::plain_json;
use super::words::counted;

/// Runs of one test.
#[derive(Debug, Clone, Serialize)]
pub struct Repeated {
    /// The id of its binary.
    pub binary: String,
    /// The test.
    pub test: String,
    /// Runs.
    pub runs: u32,
    /// Runs that failed in the way that is looked for.
    pub failed: u32,
    /// Runs that failed in another way.
    pub other: u32,
    /// The first failure: place and message.
    pub failure: Option<(String, String)>,
    /// The binary is not the one in which the failure was seen.
    pub is_other_build: bool,
    /// Maximum number of runs.
    #[serde(skip)]
    most: u32,
    #[serde(skip)]
    began: Instant,
}

impl Repeated {
    /// No run yet.
    pub fn new(binary: &str, test: &str, is_other_build: bool, most: u32) -> Repeated {
        Repeated {
            binary: binary.to_owned(),
            test: test.to_owned(),
            runs: 0,
            failed: 0,
            other: 0,
            failure: None,
            is_other_build,
            most,
            began: Instant::now(),
        }
    }

    /// Takes a run; of a failure its place and message.
    pub fn take(&mut self, failure: Option<(String, String)>, is_same: bool) {
        self.runs += 1;
        self.failed += u32::from(is_same);
        self.other += u32::from(failure.is_some() && !is_same);
        if is_same || self.failure.is_none() {
            self.failure = failure.or(self.failure.take());
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        Standing {
            runs: self.runs,
            arm_runs: self.runs,
            arm_failures: self.failed,
            interval: proof::interval(self.failed, self.runs),
            arm: format!("{} at the most", counted(self.most as usize, "run")),
            phase: "so far",
            took: self.took(),
        }
    }

    fn took(&self) -> Duration {
        self.began.elapsed()
    }
}

/// The runs after a fix.
#[derive(Debug, Clone, Serialize)]
pub struct ProvedFixed {
    /// The runs.
    #[serde(flatten)]
    pub repeated: Repeated,
    /// Number of clean runs that are enough.
    pub needed: u32,
    /// The old rate, 0 to 1.
    pub rate: f64,
    /// The rate is below this, 0 to 1.
    pub bound: f64,
    /// With this confidence, 0 to 1.
    pub confidence: f64,
    /// Words for the conditions.
    pub words: String,
    /// The binary is the one in which the failure was seen.
    pub is_unchanged: bool,
}

impl ProvedFixed {
    /// Runs that failed.
    pub fn failed(&self) -> u32 {
        self.repeated.failed + self.repeated.other
    }
}

/// Tells which diagnosis a token is of.
pub fn token_found(time: &str, cause: Option<&str>, colour: bool) -> io::Result<()> {
    let verb = paint::verb(colour, GOOD, "Token");
    let cause = cause.map_or(String::new(), |cause| format!(" ({})", escape(cause)));
    writeln!(anstream::stderr().lock(), "{verb} of the diagnosis of {}{cause}", escape(time))
}

/// Prints whether a failure was reproduced.
pub fn reproduced(it: &Repeated) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let runs = counted(it.runs as usize, "run");
    let name = escape(&it.test);
    match it.failed {
        0 => writeln!(
            out,
            "{WARNING}DID NOT REPRODUCE{WARNING:#}  {STRONG}{name}{STRONG:#}  in {runs}"
        )?,
        _ => writeln!(
            out,
            "{ERROR}REPRODUCED{ERROR:#}  {STRONG}{name}{STRONG:#}  in run {}",
            it.runs
        )?,
    }
    write_failure(&mut out, it)?;
    if it.failed == 0 && it.other > 0 {
        writeln!(out, "  {} failed in another way", counted(it.other as usize, "run"))?;
    }
    if it.is_other_build {
        writeln!(
            out,
            "  The token is of another build of `{}`: the code has changed since.",
            escape(&it.binary)
        )?;
    }
    Ok(())
}

fn write_failure(out: &mut impl Write, it: &Repeated) -> io::Result<()> {
    let Some((place, message)) = &it.failure else { return Ok(()) };
    let place = if place.is_empty() { String::new() } else { format!("{}: ", escape(place)) };
    for (number, line) in message.lines().take(5).enumerate() {
        let place = if number == 0 { place.as_str() } else { "" };
        writeln!(out, "  {place}{}", escape(line))?;
    }
    Ok(())
}

/// Prints whether a test is fixed.
pub fn proved_fixed_for_people(it: &ProvedFixed) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let name = escape(&it.repeated.test);
    let runs = counted(it.repeated.runs as usize, "run");
    let confidence = percent(it.confidence);
    let told = match it.failed() {
        0 if it.repeated.runs >= it.needed => {
            writeln!(out, "{GOOD}FIXED{GOOD:#}  {STRONG}{name}{STRONG:#}")?;
            writeln!(out, "  passes  {runs} of {}  {}", it.repeated.runs, escape(&it.words))?;
            writeln!(
                out,
                "  It fails in less than {} of its runs (with a confidence of {confidence}); before it was {}.",
                percent(it.bound),
                percent(it.rate)
            )
        }
        0 => {
            writeln!(out, "{WARNING}UNDECIDED{WARNING:#}  {STRONG}{name}{STRONG:#}")?;
            writeln!(out, "  passes  {runs}, of {} that are needed", it.needed)
        }
        failed => {
            writeln!(out, "{ERROR}NOT FIXED{ERROR:#}  {STRONG}{name}{STRONG:#}")?;
            writeln!(out, "  fails  {failed} of {runs}  {}", escape(&it.words))?;
            write_failure(&mut out, &it.repeated)
        }
    };
    told?;
    if it.is_unchanged {
        writeln!(out, "  The binary is the one that was diagnosed: nothing has changed since.")?;
    }
    Ok(())
}

/// Prints whether a test is fixed as one line of JSON.
pub fn proved_fixed_for_programs(it: &ProvedFixed) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    plain_json::write(&mut out, it)?;
    writeln!(out)
}
