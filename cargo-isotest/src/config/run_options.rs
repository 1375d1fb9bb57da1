//! The table form of `retries`, and test groups: keys of the file that are no flags of `run`.

use std::collections::BTreeMap;

use isotest_core::retry::{Backoff, Growth, Retries};
use schemars::JsonSchema;
use toml::de::DeTable;

use super::document::{Node, Reader};
use super::error::{ConfigError, nearest};
use crate::cli::{self, Threads, threads_schema};

/// The group that is none.
pub const GLOBAL: &str = nextest_metadata::GLOBAL_TEST_GROUP;

/// Tests of which only some run at a time.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TestGroup {
    /// Maximum number of tests of the group that run at a time: a number, `num-cpus`, or `-N` for
    /// all processors but N
    #[schemars(schema_with = "threads_schema")]
    pub max_threads: Threads,
    /// The line of its name.
    #[schemars(skip)]
    pub line: usize,
}

impl<'t> Reader<'t> {
    /// The table form of `retries`: a number, and the pauses.
    pub(super) fn retries(&self, table: &DeTable<'t>) -> Result<Retries, ConfigError> {
        const KEYS: [&str; 5] = ["count", "backoff", "delay", "max-delay", "jitter"];
        let (mut count, mut backoff) = (None, Backoff::default());
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "count" => count = Some(self.count(value)?),
                "backoff" => backoff.growth = self.growth(value)?,
                "delay" => backoff.delay = self.duration("delay", value)?,
                "max-delay" => backoff.max_delay = Some(self.duration("max-delay", value)?),
                "jitter" => backoff.jitter = self.boolean("jitter", value)?,
                _ => return Err(self.unknown(key, "`retries`", KEYS.into_iter())),
            }
        }
        let span = |key: &str| table.keys().find(|known| known.get_ref() == key).map(|k| k.span());
        if let (Growth::Fixed, Some(span)) = (backoff.growth, span("max-delay")) {
            let hint = "write `backoff = \"exponential\"` too";
            return Err(self.error("`max-delay` needs growing pauses", span).hint(Some(hint)));
        }
        if let (Growth::Exponential, true, Some(span)) =
            (backoff.growth, backoff.delay.is_zero(), span("backoff"))
        {
            let hint = "write `delay = \"1s\"`, the first of them";
            return Err(self.error("missing `delay`", span).hint(Some(hint)));
        }
        let Some(count) = count else {
            let start = table.keys().map(|key| key.span().start).min().unwrap_or_default();
            let hint = "write `count = 2`, the number of retries";
            return Err(self.error("`retries` without `count`", start..start).hint(Some(hint)));
        };
        Ok(Retries { count, backoff, ..Retries::default() })
    }

    fn count(&self, value: &Node<'t>) -> Result<u32, ConfigError> {
        let number = self.scalar(value).and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.wrong_type("count", "a number of retries", value))
    }

    fn growth(&self, value: &Node<'t>) -> Result<Growth, ConfigError> {
        match value.get_ref().as_str() {
            Some("fixed") => Ok(Growth::Fixed),
            Some("exponential") => Ok(Growth::Exponential),
            _ => Err(self.wrong_type("backoff", "`\"fixed\"` or `\"exponential\"`", value)),
        }
    }

    fn duration(&self, key: &str, value: &Node<'t>) -> Result<std::time::Duration, ConfigError> {
        let text = self.scalar(value).unwrap_or_default();
        cli::duration(&text).map_err(|cause| self.error(format!("`{key}`: {cause}"), value.span()))
    }

    fn boolean(&self, key: &str, value: &Node<'t>) -> Result<bool, ConfigError> {
        value.get_ref().as_bool().ok_or_else(|| self.wrong_type(key, "`true` or `false`", value))
    }

    /// The groups of `[test-groups]`.
    pub(super) fn test_groups(
        &self,
        value: &Node<'t>,
    ) -> Result<BTreeMap<String, TestGroup>, ConfigError> {
        let mut groups = BTreeMap::new();
        for (name, value) in self.table(value, "`test-groups` must be a table")? {
            if name.get_ref().starts_with('@') {
                let what =
                    format!("`{}` is not a valid group name: nextest reserves `@`", name.get_ref());
                return Err(self.error(what, name.span()));
            }
            let hint = "write `max-threads = 1`, the number of its tests that may run at a time";
            let mut max_threads = None;
            for (key, value) in
                self.table(value, "a test group must be a table: `{ max-threads = 1 }`")?
            {
                if key.get_ref() != "max-threads" {
                    let known = ["max-threads"].into_iter();
                    return Err(self.unknown(key, "a test group", known));
                }
                let text = self.scalar(value).unwrap_or_default();
                let threads = cli::threads(&text)
                    .map_err(|cause| self.error(format!("`max-threads`: {cause}"), value.span()))?;
                max_threads = Some(threads);
            }
            let max_threads = max_threads.ok_or_else(|| {
                self.error("missing `max-threads` in a test group", name.span()).hint(Some(hint))
            })?;
            let line = self.line(name.span().start);
            groups.insert(name.get_ref().to_string(), TestGroup { max_threads, line });
        }
        Ok(groups)
    }

    /// Fails where the group that a table names is not there.
    pub(super) fn check_group(
        &self,
        groups: &BTreeMap<String, TestGroup>,
        value: &Node<'t>,
    ) -> Result<(), ConfigError> {
        let name = self.string(value)?.text;
        if name == GLOBAL || groups.contains_key(&name) {
            return Ok(());
        }
        let known = groups.keys().map(String::as_str);
        let hint = match nearest(&name, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                format!("define it: `[test-groups]`, and below it `{name} = {{ max-threads = 1 }}`")
            }
        };
        Err(self.error(format!("unknown test group `{name}`"), value.span()).hint(Some(hint)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use isotest_core::retry::Growth;

    use super::super::file::{File, read};

    fn read_file(lines: &str) -> Result<File, String> {
        read("c.toml", lines).map_err(|error| error.to_string())
    }

    #[test]
    fn retries_are_a_number_or_a_table() {
        let retries = |value: &str| {
            let file = read_file(&format!("[profile.default]\nretries = {value}\n")).expect(value);
            file.profile["default"].values.run_options.retries.expect("it is given")
        };
        assert_eq!(retries("3").count, 3);
        let table = r#"{ backoff = "exponential", count = 4, delay = "2s", max-delay = "10s", jitter = true }"#;
        let read = retries(table);
        assert_eq!((read.count, read.backoff.growth), (4, Growth::Exponential));
        assert_eq!(read.backoff.max_delay, Some(Duration::from_secs(10)));
        assert!(read.backoff.jitter);
        assert_eq!(retries("{ count = 1, delay = 1 }").backoff.delay, Duration::from_secs(1));
    }

    #[test]
    fn wrong_retries_are_pointed_at() {
        let refused = |value: &str| {
            read_file(&format!("[profile.default]\nretries = {value}\n")).expect_err(value)
        };
        for (value, texts) in [
            ("-1", ["`retries`: invalid value `-1`: not a number of retries", "2:11"]),
            ("true", ["`retries` takes a number, or a table", "2:11"]),
            ("{ count = 1, dealy = 1 }", ["unknown key `dealy` in `retries`", "mean `delay`?"]),
            ("{ delay = 1 }", ["`retries` without `count`", "2:13"]),
            ("{ count = \"x\" }", ["`count` takes a number of retries", "2:21"]),
            ("{ count = 1, backoff = \"no\" }", ["`backoff` takes `\"fixed\"` or", "2:34"]),
            ("{ count = 1, backoff = \"exponential\" }", ["missing `delay`", "2:24"]),
            (
                "{ count = 1, delay = 1, max-delay = 2 }",
                ["`max-delay` needs growing pauses", "2:35"],
            ),
            ("{ count = 1, delay = \"soon\" }", ["`delay`: ", "2:32"]),
            ("{ count = 1, jitter = 1 }", ["`jitter` takes `true` or `false`", "2:33"]),
        ] {
            let error = refused(value);
            for text in texts {
                assert!(error.contains(text), "{value}: {text}\n{error}");
            }
        }
    }

    #[test]
    fn test_groups_are_read_wherever_they_stand() {
        let text = "[profile.default]\n[[profile.default.override]]\nfilter = \"all()\"\n\
                    test-group = \"db\"\n[[profile.default.override]]\nfilter = \"all()\"\n\
                    test-group = \"@global\"\n[test-groups]\ndb = { max-threads = 2 }\n\
                    cpu.max-threads = \"num-cpus\"\n";
        let file = read_file(text).expect("it is right");
        assert_eq!(file.test_groups["db"].max_threads.count(8), 2);
        assert_eq!(file.test_groups["cpu"].max_threads.count(8), 8);
        assert_eq!(file.test_groups["cpu"].line, 10);
        let group = &file.profile["default"].overrides[0].values.run_options.test_group;
        assert_eq!(group.as_deref(), Some("db"));
    }

    #[test]
    fn wrong_test_groups_are_pointed_at() {
        let refused = |text: &str| read_file(text).expect_err(text);
        for (text, texts) in [
            ("test-groups = 1", ["`test-groups` must be a table", "1:15"]),
            (
                "[test-groups]\n\"@x\" = { max-threads = 1 }",
                ["`@x` is not a valid group name", "2:1"],
            ),
            ("[test-groups]\na = 1", ["a test group must be a table", "2:5"]),
            ("[test-groups]\na = {}", ["missing `max-threads` in a test group", "2:1"]),
            ("[test-groups]\na = { max-threads = 0 }", ["no test could run then", "2:21"]),
            ("[test-groups]\na = { max = 1 }", ["unknown key `max` in a test group", "2:7"]),
            ("[profile.a]\ntest-group = \"db\"", ["unknown test group `db`", "define it: "]),
            (
                "[test-groups]\ndb = { max-threads = 1 }\n[profile.a]\ntest-group = \"d\"",
                ["unknown test group `d`", "did you mean `db`?"],
            ),
        ] {
            let error = refused(text);
            for wanted in texts {
                assert!(error.contains(wanted), "{text}: {wanted}\n{error}");
            }
        }
    }
}
