//! `[[profile.NAME.quarantine]]`: tests that may fail for some time.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::document::{Node, Reader, SpannedText};
use super::error::ConfigError;
use crate::discover::filterset::Expression;

/// Keys of an entry.
const KEYS: [&str; 4] = ["filter", "reason", "until", "token"];

/// Tests that may fail: the run does not fail with them
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Quarantine")]
pub struct QuarantineTable {
    /// The tests, as a filter expression
    #[schemars(with = "String")]
    pub filter: SpannedText,
    /// Reason why they may fail
    pub reason: String,
    /// The last day on which they may, in UTC: `2026-12-31`
    #[schemars(schema_with = "day_schema")]
    pub until: Day,
    /// A mark of whatever tracks the failure: a ticket, an address
    pub token: Option<String>,
    /// The line that it starts in.
    #[schemars(skip)]
    pub line: usize,
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Its year.
    pub year: u16,
    /// Its month, 1 to 12.
    pub month: u8,
    /// Its day of the month.
    pub day: u8,
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Day { year, month, day } = self;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// An entry in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Its tests.
    pub tests: Expression,
    /// The reason.
    pub reason: String,
    /// Its last day.
    pub until: Day,
    /// Its token.
    pub token: Option<String>,
    /// Its file and line.
    pub place: String,
    /// Its filter expression.
    pub filter: String,
}

// A TOML date has no type of JSON; editors read it as text.
fn day_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "format": "date" })
}

impl<'t> Reader<'t> {
    /// Entries of `quarantine`.
    pub(super) fn quarantine(&self, value: &Node<'t>) -> Result<Vec<QuarantineTable>, ConfigError> {
        let DeValue::Array(entries) = value.get_ref() else {
            let what = "entries must be tables: `[[profile.NAME.quarantine]]`";
            return Err(self.error(what, value.span()));
        };
        entries.iter().map(|entry| self.quarantine_entry(entry)).collect()
    }

    fn quarantine_entry(&self, value: &Node<'t>) -> Result<QuarantineTable, ConfigError> {
        let table = self.table(value, "an entry must be a table: `[[profile.NAME.quarantine]]`")?;
        let (mut filter, mut reason, mut until, mut token) = (None, None, None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "filter" => filter = Some(self.string(value)?),
                "reason" => reason = Some(self.reason(value)?),
                "until" => until = Some(self.day(value)?),
                "token" => token = Some(self.string(value)?.text),
                _ => return Err(self.unknown(key, "a quarantine entry", KEYS.into_iter())),
            }
        }
        let missing = |key, hint: &str| {
            let what = format!("missing `{key}` in a quarantine entry");
            self.error(what, value.span()).hint(Some(hint))
        };
        let filter = filter.ok_or_else(|| {
            missing("filter", "add a filter expression: `filter = \"test(/^live_/)\"`")
        })?;
        let reason = reason.ok_or_else(|| {
            missing("reason", "add why: `reason = \"the port is taken at times\"`")
        })?;
        let until =
            until.ok_or_else(|| missing("until", "add the last day: `until = 2026-12-31`"))?;
        Ok(QuarantineTable { filter, reason, until, token, line: self.line(value.span().start) })
    }

    fn day(&self, value: &Node<'t>) -> Result<Day, ConfigError> {
        let datetime = value.get_ref().as_datetime();
        match datetime.map(|it| (it.date, it.time)) {
            Some((Some(date), None)) => {
                Ok(Day { year: date.year, month: date.month, day: date.day })
            }
            _ => {
                Err(self.wrong_type("until", "a date without quotation marks: `2026-12-31`", value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::read;
    use super::*;

    fn refused(lines: &str) -> String {
        let text = format!("[[profile.default.quarantine]]\n{lines}");
        read("c.toml", &text).expect_err(lines).to_string()
    }

    #[test]
    fn an_entry_is_read() {
        let text = "[[profile.ci.quarantine]]\nfilter = \"all()\"\nreason = \"why\"\n\
                    until = 2026-02-28\ntoken = \"#7\"\n";
        let file = read("c.toml", text).expect("it is right");
        let [entry] = &file.profile["ci"].quarantine[..] else { panic!("one entry") };
        assert_eq!((entry.until.to_string().as_str(), entry.line), ("2026-02-28", 1));
        assert_eq!((entry.reason.as_str(), entry.token.as_deref()), ("why", Some("#7")));
        assert!(entry.until < Day { year: 2026, month: 3, day: 1 });
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_pointed_at() {
        let whole = "filter = \"all()\"\nreason = \"why\"\nuntil = 2026-02-28\n";
        for (text, wanted) in [
            (
                "filter = \"all()\"\nreason = \"why\"\n".to_owned(),
                ["missing `until`", "2026-12-31"],
            ),
            (
                "filter = \"all()\"\nuntil = 2026-02-28\n".to_owned(),
                ["missing `reason`", "add why"],
            ),
            (
                "reason = \"why\"\nuntil = 2026-02-28\n".to_owned(),
                ["missing `filter`", "add a filter"],
            ),
            (whole.replace("2026-02-28", "\"2026-02-28\""), ["`until` takes a date", "c.toml:4:9"]),
            (whole.replace("2026-02-28", "2026-02-30"), ["cannot read `c.toml`", "c.toml:4:"]),
            (whole.replace("2026-02-28", "2026-02-28T00:00:00"), ["`until` takes a date", "4:9"]),
            (whole.replace("\"why\"", "\" \""), ["the reason is empty", "c.toml:3:10"]),
            (format!("{whole}tokn = 1\n"), ["unknown key `tokn`", "did you mean `token`?"]),
        ] {
            let error = refused(&text);
            wanted.iter().for_each(|part| assert!(error.contains(part), "{text}\n{error}"));
        }
    }
}
