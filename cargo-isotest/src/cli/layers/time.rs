//! Values of `--time`: `real`, or parts with commas between them.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat};
use isotest_core::perturbation::{Time, TimeOrigin};

const DAY: u64 = 24 * 60 * 60;

/// Reads `real`, or `start=` or `offset=`, `frozen` and `resolution=`, in any order.
pub(super) fn read(text: &str) -> Result<Time, String> {
    let mut time = Time::default();
    if text == "real" {
        return Ok(time);
    }
    let mut named: Vec<&str> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let name = part.split('=').next().unwrap_or_default();
        let other = match name {
            "start" => "offset",
            "offset" => "start",
            other => other,
        };
        if let Some(before) = named.iter().find(|before| [name, other].contains(before)) {
            return Err(format!("`{before}` and `{name}` cannot both be given"));
        }
        named.push(name);
        add(&mut time, part)?;
    }
    Ok(time)
}

fn add(time: &mut Time, part: &str) -> Result<(), String> {
    match part.split_once('=') {
        None if part == "frozen" => time.is_frozen = true,
        Some(("start", date)) => time.origin = TimeOrigin::At(instant(date)?),
        Some(("offset", offset)) => time.origin = TimeOrigin::Later(signed(offset)?),
        Some(("resolution", step)) => time.resolution = Some(resolution(step)?),
        None if part == "real" => return Err("`real` stands alone".to_owned()),
        _ => {
            return Err(format!(
                "`{part}` is none of `real`, `frozen`, `start=DATE`, `offset=DURATION` and \
                 `resolution=DURATION`"
            ));
        }
    }
    Ok(())
}

/// Nanoseconds since the Epoch at a date, with or without a time of the day: UTC unless it says
/// another zone.
fn instant(text: &str) -> Result<i64, String> {
    let of_date = |text| {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d");
        date.map(|date| date.and_time(NaiveTime::MIN))
    };
    let of_time = |text| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
    let utc = of_date(text).or_else(|_| of_time(text)).map(|time| time.and_utc());
    let instant = utc.or_else(|_| DateTime::parse_from_rfc3339(text).map(|it| it.to_utc()));
    let instant = instant
        .map_err(|_| format!("`{text}` is no date; try `2038-01-19` or `2038-01-19T03:14:07Z`"))?;
    instant.timestamp_nanos_opt().ok_or_else(|| format!("`{text}` is not between 1678 and 2262"))
}

/// Nanoseconds of a duration with a sign.
fn signed(text: &str) -> Result<i64, String> {
    let (sign, amount) = match text.split_at_checked(1) {
        Some(("-", amount)) => (-1, amount),
        Some(("+", amount)) => (1, amount),
        _ => (1, text),
    };
    let error = |cause: &str| format!("`{text}`: {cause}; try `+400d` or `-1h`");
    let amount = humantime::parse_duration(amount).map_err(|cause| error(&cause.to_string()))?;
    let amount = i64::try_from(amount.as_nanos()).map_err(|_| error("more than 292 years"))?;
    Ok(sign * amount)
}

fn resolution(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(DAY);
    let error = |cause: &str| format!("`{text}`: {cause}; try `16ms` or `1s`");
    let step = humantime::parse_duration(text).map_err(|cause| error(&cause.to_string()))?;
    match step {
        Duration::ZERO => Err(error("no clock has it")),
        step if step > MOST => Err(error("more than a day")),
        step => Ok(step),
    }
}

/// A value as it can be typed.
pub(super) fn written(time: Time) -> String {
    let origin = match time.origin {
        TimeOrigin::Now => None,
        TimeOrigin::At(at) | TimeOrigin::Before(at, _) => Some(format!("start={}", date(at))),
        TimeOrigin::Later(later) => {
            let sign = if later < 0 { '-' } else { '+' };
            Some(format!("offset={sign}{}", duration(Duration::from_nanos(later.unsigned_abs()))))
        }
    };
    let frozen = time.is_frozen.then(|| "frozen".to_owned());
    let resolution = time.resolution.map(|step| format!("resolution={}", duration(step)));
    let parts: Vec<String> = [origin, frozen, resolution].into_iter().flatten().collect();
    if parts.is_empty() { "real".to_owned() } else { parts.join(",") }
}

fn date(nanoseconds: i64) -> String {
    DateTime::from_timestamp_nanos(nanoseconds).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A duration of days and less: months and years of other lengths are no help.
fn duration(duration: Duration) -> String {
    let days = duration.as_secs() / DAY;
    let rest = duration - Duration::from_secs(days * DAY);
    let rest = match (days, rest) {
        (1.., Duration::ZERO) => String::new(),
        (_, rest) => humantime::format_duration(rest).to_string().replace(' ', ""),
    };
    if days == 0 { rest } else { format!("{days}d{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_was_read() {
        for (text, written_text) in [
            ("real", "real"),
            ("frozen", "frozen"),
            ("start=2038-01-19", "start=2038-01-19T00:00:00Z"),
            ("start=2038-01-19T03:14:07", "start=2038-01-19T03:14:07Z"),
            ("start=2038-01-19T03:14:07.5Z,frozen", "start=2038-01-19T03:14:07.500Z,frozen"),
            ("start=2038-01-19T03:14:07+01:00", "start=2038-01-19T02:14:07Z"),
            ("start=1969-12-31T23:59:59Z", "start=1969-12-31T23:59:59Z"),
            ("frozen, offset=+400d", "offset=+400d,frozen"),
            ("offset=400d 1h", "offset=+400d1h"),
            ("offset=-1h", "offset=-1h"),
            ("resolution=16ms", "resolution=16ms"),
            ("offset=-90m,resolution=1s,frozen", "offset=-1h30m,frozen,resolution=1s"),
        ] {
            let time = read(text).unwrap_or_else(|cause| panic!("{text}: {cause}"));
            assert_eq!(written(time), written_text);
            assert_eq!(read(written_text), Ok(time));
        }
        assert_eq!(
            read("start=1970-01-02").map(|it| it.origin),
            Ok(TimeOrigin::At(86_400_000_000_000))
        );
        assert_eq!(read("offset=-1s").map(|it| it.origin), Ok(TimeOrigin::Later(-1_000_000_000)));
    }

    #[test]
    fn what_is_no_time_is_told_with_a_remedy() {
        for (text, message) in [
            ("", "is none of `real`, `frozen`, `start=DATE`"),
            ("tomorrow", "`tomorrow` is none of"),
            ("real,frozen", "`real` stands alone"),
            ("start=19.1.2038", "is no date; try `2038-01-19`"),
            ("start=2038-02-30", "is no date"),
            ("start=3000-01-01", "is not between 1678 and 2262"),
            ("start=2038-01-19,offset=1d", "`start` and `offset` cannot both be given"),
            ("frozen,frozen", "`frozen` and `frozen` cannot both be given"),
            ("offset=soon", "try `+400d` or `-1h`"),
            ("offset=400000d", "more than 292 years"),
            ("resolution=0s", "no clock has it"),
            ("resolution=2d", "more than a day"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
