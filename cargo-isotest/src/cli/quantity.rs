//! Amounts as people type them: `30s`, `2m`, `256M`, `1GiB`.
//!
//! Text in, number out; the wording of the errors is clap's, which puts flag and value before it.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Time limit of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// As long as it likes.
    Never,
    /// Then it is killed.
    After(Duration),
}

impl From<Deadline> for Option<Duration> {
    fn from(deadline: Deadline) -> Self {
        match deadline {
            Deadline::Never => None,
            Deadline::After(limit) => Some(limit),
        }
    }
}

/// Reads `90s`, `1m 30s`, `90` (seconds); `0` and `none` mean never.
pub fn deadline(text: &str) -> Result<Deadline, String> {
    if text == "none" {
        return Ok(Deadline::Never);
    }
    let limit = read(text).map_err(|cause| format!("{cause}; try `90s`, `2m` or `none`"))?;
    Ok(if limit.is_zero() { Deadline::Never } else { Deadline::After(limit) })
}

/// The same where events are told of, each time that it has passed: seldom enough to be read.
pub(super) fn period(text: &str) -> Result<Deadline, String> {
    const MIN_PERIOD: Duration = Duration::from_millis(10);
    match deadline(text)? {
        Deadline::After(period) if period < MIN_PERIOD => Err("less than `10ms`".to_owned()),
        period => Ok(period),
    }
}

/// Reads `90s`, `1m 30s`, `90` (seconds).
pub fn duration(text: &str) -> Result<Duration, String> {
    read(text).map_err(|cause| format!("{cause}; try `90s` or `2m`"))
}

fn read(text: &str) -> Result<Duration, humantime::DurationError> {
    text.parse().map(Duration::from_secs).or_else(|_| humantime::parse_duration(text))
}

/// Number of tests that run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// So many.
    Count(NonZeroUsize),
    /// So many less than there are processors; 0 for as many.
    LessThanProcessors(usize),
}

impl Threads {
    /// The number, where there are so many processors: one at the least.
    pub fn count(self, processors: usize) -> usize {
        match self {
            Threads::Count(count) => count.get(),
            Threads::LessThanProcessors(less) => processors.saturating_sub(less).max(1),
        }
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Threads::Count(count) => write!(f, "{count}"),
            Threads::LessThanProcessors(0) => write!(f, "num-cpus"),
            Threads::LessThanProcessors(less) => write!(f, "-{less}"),
        }
    }
}

/// Reads `4`, `-1` (all processors but one) and `num-cpus`, as nextest does.
pub fn threads(text: &str) -> Result<Threads, String> {
    const FORMS: &str = "try `4`, `-1` (all processors but one) or `num-cpus`";
    if text == "num-cpus" {
        return Ok(Threads::LessThanProcessors(0));
    }
    let number: isize = text.parse().map_err(|_| format!("not a number of tests; {FORMS}"))?;
    match (NonZeroUsize::new(number.unsigned_abs()), number > 0) {
        (Some(count), true) => Ok(Threads::Count(count)),
        (Some(less), false) => Ok(Threads::LessThanProcessors(less.get())),
        (None, _) => Err(format!("no test could run then; {FORMS}")),
    }
}

/// Reads `4096`, `64K`, `256M`, `1GiB`: powers of 1024, except `kB`, `MB`, `GB`, `TB`, which are
/// powers of 1000.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| "not a number of bytes; try `256M` or `1GiB`".to_owned())?;
    let factor = unit_factor(unit.trim_start())
        .ok_or_else(|| format!("unknown unit `{unit}`; try `256M` or `1GiB`"))?;
    number.checked_mul(factor).ok_or_else(|| "more than 16 EiB".to_owned())
}

/// Schema of both in a configuration file.
pub(super) fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "integer"], "minimum": 0 })
}

fn unit_factor(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_binary_and_decimal_units() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("256M"), Ok(256 << 20));
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("1 MB"), Ok(1_000_000));
    }

    #[test]
    fn bytes_refuse_what_is_no_amount() {
        assert!(bytes("").is_err());
        assert!(bytes("M").is_err());
        assert!(bytes("1Q").unwrap_err().contains("`Q`"));
        assert!(bytes("99999999999T").is_err());
    }

    #[test]
    fn deadlines_take_units_bare_seconds_and_never() {
        assert_eq!(deadline("90"), Ok(Deadline::After(Duration::from_secs(90))));
        assert_eq!(deadline("1m 30s"), Ok(Deadline::After(Duration::from_secs(90))));
        assert_eq!(deadline("0"), Ok(Deadline::Never));
        assert_eq!(deadline("none"), Ok(Deadline::Never));
        assert!(deadline("soon").is_err());
        assert!(period("9ms").is_err());
        assert_eq!(period("0"), Ok(Deadline::Never));
    }

    #[test]
    fn threads_are_counted_up_or_down_from_the_processors() {
        let counted = |text| threads(text).map(|threads| threads.count(8));
        assert_eq!(counted("3"), Ok(3));
        assert_eq!(counted("num-cpus"), Ok(8));
        assert_eq!(counted("-1"), Ok(7));
        assert_eq!(counted("-9"), Ok(1));
        for text in ["0", "-0", "many", "1.5", ""] {
            assert!(counted(text).expect_err(text).ends_with("or `num-cpus`"), "{text}");
        }
    }
}
