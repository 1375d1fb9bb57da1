//! Nextest's configuration becomes isotest's: what means the same is taken over, and every other key
//! is named with the reason why it is not.
//!
//! Text in, text out. Nextest's keys are those of its repository configuration reference.

use std::fmt::Write as _;
use std::path::PathBuf;

use toml::{Table, Value};

use super::error::ConfigError;
use super::file;

/// Result of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The text of `.config/isotest.toml`.
    pub text: String,
    /// Settings that are not imported, each with a reason, one per line.
    pub notes: Vec<String>,
}

/// Imports the text of nextest's configuration, which goes by `name`.
pub fn import(name: &str, text: &str) -> Result<Imported, Box<ConfigError>> {
    let table: Table = toml::from_str(text).map_err(|error| {
        let end = text.len();
        let message = format!("cannot read `{name}`: {}", error.message());
        ConfigError::new(message).at(name, text, error.span().unwrap_or(end..end))
    })?;
    let store = table.get("store").and_then(|store| store.get("dir")).and_then(Value::as_str);
    let mut import = Import {
        text: String::new(),
        notes: Vec::new(),
        setups: Vec::new(),
        store: store.unwrap_or("target/nextest").to_owned(),
    };
    // What profiles name comes first.
    if let Some(scripts) = table.get("scripts") {
        import.scripts(scripts);
    }
    for (key, value) in table.iter().filter(|(key, _)| *key != "scripts") {
        match (key.as_str(), value) {
            ("profile", Value::Table(profiles)) => {
                for (profile, value) in profiles {
                    import.profile(profile, value);
                }
            }
            ("test-groups", Value::Table(groups)) => import.groups(groups),
            // Of use where a profile has a report.
            ("store", Value::Table(_)) => {}
            (key, _) => import.leave(key, key),
        }
    }
    let head = format!("# What `{name}` means to isotest.\n");
    let notes = import.notes.iter().map(|note| format!("#   {note}\n"));
    let notes: String = notes.collect();
    let left = if notes.is_empty() { "" } else { "# Not converted:\n" };
    let text = format!("{head}{left}{notes}{}", import.text);
    // Never write what would be refused.
    file::read(super::contents::PATH, &text)?;
    Ok(Imported { text, notes: import.notes })
}

pub(super) struct Import {
    pub(super) text: String,
    pub(super) notes: Vec<String>,
    /// The names of setup commands that were taken over.
    pub(super) setups: Vec<String>,
    /// Directory in which nextest puts the reports of each profile.
    store: String,
}

impl Import {
    fn profile(&mut self, name: &str, value: &Value) {
        let at = format!("profile.{}", key(name));
        let Value::Table(table) = value else { return };
        let mut lines = self.settings(&at, table);
        for key in ["inherits", "default-filter"] {
            if let Some(Value::String(text)) = table.get(key) {
                lines.insert(0, format!("{key} = {}", quoted(text)));
            }
        }
        if let Some(Value::Table(junit)) = table.get("junit") {
            lines.extend(self.junit(name, &at, junit));
        }
        let _ = write!(self.text, "\n[{at}]\n");
        for line in lines {
            let _ = writeln!(self.text, "{line}");
        }
        if let Some(scripts) = table.get("scripts") {
            self.bound_scripts(&at, scripts);
        }
        if let Some(Value::Array(overrides)) = table.get("overrides") {
            for (index, value) in overrides.iter().enumerate() {
                if let Value::Table(table) = value {
                    self.one_override(&at, index + 1, table);
                }
            }
        }
    }

    fn one_override(&mut self, profile: &str, number: usize, table: &Table) {
        let at = format!("{profile}.overrides {number}");
        if table.contains_key("platform") {
            self.notes.push(format!("{at}: `platform`: isotest has no settings per platform"));
            return;
        }
        let lines = self.settings(&at, table);
        let (Some(Value::String(filter)), false) = (table.get("filter"), lines.is_empty()) else {
            return;
        };
        let filter = quoted(filter);
        let _ = write!(self.text, "\n[[{profile}.override]]\nfilter = {filter}\n");
        for line in lines {
            let _ = writeln!(self.text, "{line}");
        }
    }

    /// The lines for what profiles and overrides may both hold.
    fn settings(&mut self, at: &str, table: &Table) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, value) in table {
            match key.as_str() {
                "filter" | "overrides" | "scripts" | "inherits" | "default-filter" | "junit" => {}
                "archive" => lines.extend(included(value)),
                "slow-timeout" => lines.extend(self.timeout(at, value).into_iter().flatten()),
                "fail-fast" => lines.extend(Import::fail_fast(value)),
                "retries" | "flaky-result" | "threads-required" | "test-group" | "test-threads"
                | "priority" | "global-timeout" => {
                    lines.push(format!("{key} = {value}"));
                }
                key => self.leave(at, key),
            }
        }
        lines
    }

    /// The report where nextest writes it, and what reads it looks for it.
    fn junit(&mut self, profile: &str, at: &str, table: &Table) -> Option<String> {
        for key in table.keys().filter(|key| *key != "path") {
            self.leave(&format!("{at}.junit"), key);
        }
        let path = table.get("path")?.as_str()?;
        let path = [self.store.as_str(), profile, path].iter().collect::<PathBuf>();
        Some(format!("junit = {}", quoted(&path.to_string_lossy())))
    }

    fn groups(&mut self, groups: &Table) {
        let _ = write!(self.text, "\n[test-groups]\n");
        for (name, group) in groups {
            let _ = writeln!(self.text, "{} = {group}", key(name));
        }
    }

    /// Nextest has the number, and what becomes of those that run, in a table of this name.
    fn fail_fast(value: &Value) -> Option<String> {
        let Value::Table(table) = value else { return Some(format!("fail-fast = {value}")) };
        let most = table.get("max-fail")?;
        Some(match (most, table.get("terminate").and_then(Value::as_str)) {
            (Value::Integer(most), Some(when)) => format!("max-fail = \"{most}:{when}\""),
            (most, _) => format!("max-fail = {most}"),
        })
    }

    pub(super) fn leave(&mut self, at: &str, key: &str) {
        let at = if at == key { String::new() } else { format!("{at}: ") };
        self.notes.push(format!("{at}`{key}`: {}", why_not(key)));
    }

    /// After `period` a test is slow, after `terminate-after` of them it is ended.
    pub(super) fn timeout(&mut self, at: &str, value: &Value) -> Option<[String; 2]> {
        let table = value.as_table();
        let text = match table {
            Some(table) => table.get("period")?.as_str()?,
            None => value.as_str()?,
        };
        let Ok(period) = humantime::parse_duration(text) else {
            self.notes.push(format!("{at}: `slow-timeout`: `{text}` is no duration"));
            return None;
        };
        let times = table.and_then(|table| table.get("terminate-after")?.as_integer());
        for key in ["grace-period", "on-timeout"] {
            if table.is_some_and(|table| table.contains_key(key)) {
                self.leave(at, key);
            }
        }
        let limit = times.and_then(|times| period.checked_mul(u32::try_from(times).ok()?));
        // Without `terminate-after` a slow test is reported, and never ended.
        let limit =
            limit.map_or("none".to_owned(), |limit| humantime::format_duration(limit).to_string());
        Some([format!("slow-timeout = {}", quoted(text)), format!("timeout = {}", quoted(&limit))])
    }
}

/// Reason why a key is not imported.
fn why_not(key: &str) -> &'static str {
    match key {
        "run-extra-args" => "pass them after `--`",
        "leak-timeout" => "isotest kills and reports leftover processes",
        "grace-period" => "with `init = \"reaper\"` SIGTERM comes 2 seconds before SIGKILL",
        "on-timeout" => "a test that times out has failed",
        "report-name" => "isotest names its reports itself",
        "store-success-output" | "store-failure-output" | "flaky-fail-status" => {
            "a report has the output of failed tests; with `--show-output` that of all tests"
        }
        "wrapper" | "list-wrapper" | "run-wrapper" => {
            "isotest has no wrapper scripts: the sandbox is built in"
        }
        "platform" => "isotest has no settings per platform",
        "capture-stdout" | "capture-stderr" => "the output of a setup command is shown if it fails",
        "success-output" | "failure-output" | "status-level" | "final-status-level" => {
            "isotest prints what `cargo test` prints"
        }
        "experimental" | "nextest-version" => "only nextest uses it",
        _ => "isotest has no equivalent",
    }
}

/// Files that archives include.
fn included(archive: &Value) -> Option<String> {
    Some(format!("archive.include = {}", archive.get("include")?))
}

pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A part of a dotted key.
pub(super) fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use isotest_core::retry::{FlakyResult, Growth};

    use super::*;
    use crate::cli::Values;

    #[test]
    fn what_means_the_same_is_taken_over_and_the_rest_is_named() {
        let text = r#"
            nextest-version = "0.9.50"
            [profile.default]
            retries = 2
            fail-fast = false
            slow-timeout = "30s"
            default-filter = 'not test("slow")'
            [profile.ci]
            inherits = "default"
            fail-fast = { max-fail = 3, terminate = "immediate" }
            global-timeout = "1h 30m"
            archive.include = [{ path = "data", relative-to = "target", depth = 2 }]
            test-threads = -1
            flaky-result = "fail"
            junit = { path = "junit.xml", report-name = "ours" }
            slow-timeout = { period = "45s", terminate-after = 2, grace-period = "5s" }
            [[profile.ci.overrides]]
            filter = "test(/^live_/)"
            slow-timeout = { period = "2m", terminate-after = 1 }
            threads-required = 4
            test-group = "db"
            priority = -7
            [[profile.ci.overrides]]
            platform = "cfg(windows)"
            slow-timeout = "1s"
            [[profile.ci.overrides]]
            filter = "test(only_retries)"
            retries = { backoff = "exponential", count = 3, delay = "1s", jitter = true }
            [test-groups]
            db = { max-threads = 2 }
            [store]
            dir = "reports"
        "#;
        let Imported { text, notes } = import("n.toml", text).expect("it can be imported");
        let file = file::read("c.toml", &text).expect("it can be read");
        let (default, ci) = (&file.profile["default"], &file.profile["ci"]);
        let time = |seconds| Some(Some(Duration::from_secs(seconds)));
        let limits = |values: &Values| {
            let layers = &values.layers;
            let limits = layers.apply(isotest_core::policy::Policy::default()).limits;
            let times = [("timeout", limits.timeout), ("slow-timeout", limits.slow_timeout)];
            times.map(|(name, limit)| layers.has(name).then_some(limit))
        };
        let filter = default.default_filter.as_ref().map(|filter| filter.text.as_str());
        assert_eq!(filter, Some("not test(\"slow\")"));
        assert_eq!(limits(&default.values), [Some(None), time(30)]);
        assert_eq!(default.values.run_options.retries().count, 2);
        assert_eq!(default.values.run_options.fail_fast, Some(false));
        assert_eq!(ci.inherits.as_ref().map(|name| name.text.as_str()), Some("default"));
        assert_eq!(limits(&ci.values), [time(90), time(45)]);
        let max_fail = ci.values.run_options.max_fail.map(|most| most.to_string());
        assert_eq!(max_fail.as_deref(), Some("3:immediate"));
        assert_eq!(ci.values.run_options.test_threads.map(|threads| threads.count(8)), Some(7));
        assert_eq!(ci.values.run_options.retries().flaky, FlakyResult::Fail);
        let [live, retried] = ci.overrides.as_slice() else { panic!("{text}") };
        assert_eq!(live.filter.text, "test(/^live_/)");
        assert_eq!(limits(&live.values), [time(120); 2]);
        assert_eq!(live.values.run_options.threads_required.map(|n| n.count(8, 8)), Some(4));
        assert_eq!(live.values.run_options.priority, Some(-7));
        assert_eq!(ci.archive.as_ref().map(|archive| archive.include.len()), Some(1));
        let limit = ci.values.run_options.global_timeout.and_then(Into::into);
        assert_eq!(limit, Some(Duration::from_secs(5400)));
        assert_eq!(live.values.run_options.test_group.as_deref(), Some("db"));
        let backoff = retried.values.run_options.retries().backoff;
        assert_eq!((backoff.growth, backoff.jitter), (Growth::Exponential, true));
        assert_eq!(file.test_groups["db"].max_threads.count(8), 2);
        assert_eq!(ci.values.run_options.junit.as_deref(), Some(Path::new("reports/ci/junit.xml")));
        let reported = |at: &str| notes.iter().any(|note| note.starts_with(at));
        for at in [
            "`nextest-version`",
            "profile.ci: `grace-period`",
            "profile.ci.junit: `report-name`",
            "profile.ci.overrides 2: `platform`",
        ] {
            assert!(reported(at), "{at}: {notes:#?}");
        }
        assert_eq!(notes.len(), 4, "{notes:#?}");
    }

    #[test]
    fn what_is_no_toml_is_pointed_at() {
        let error = import("n.toml", "[profile\n").expect_err("it is wrong").to_string();
        assert!(error.contains("--> n.toml:1:"), "{error}");
    }
}
