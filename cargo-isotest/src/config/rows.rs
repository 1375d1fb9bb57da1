//! Every key as it is in force, with where its value comes from.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use isotest_core::policy::Policy;

use super::layer_tables::MadeOnce;
use super::run_options::GLOBAL;
use super::source::{Origin, Source, merged};
use crate::cli::{self, FailFast, RunOptions, Threads, retries_name};
use crate::report::{EffectiveValue, Overriding};

/// The rows of a policy that these sources made, the first first.
pub fn rows(policy: &Policy, sources: &[&Source]) -> Vec<EffectiveValue> {
    let row = |layer: &cli::Layer| EffectiveValue {
        name: layer.name,
        value: layer.show(policy),
        source: origin(policy, sources, layer),
    };
    cli::layers_as_shown().into_iter().map(row).chain(needed(sources)).collect()
}

/// The rows of what is needed beside a sandbox.
fn needed(sources: &[&Source]) -> [EffectiveValue; 2] {
    let row = |name, of: fn(&Source) -> &Vec<String>| {
        let giving = sources.iter().filter(|source| !of(source).is_empty());
        let (names, origins): (Vec<_>, Vec<_>) =
            giving.map(|source| (of(source).join(" "), source.origin.to_string())).unzip();
        let source = if origins.is_empty() { DEFAULT.to_owned() } else { origins.join("; ") };
        EffectiveValue { name, value: list(&names), source }
    };
    [row("services", |source| &source.services), row("setup", |source| &source.setup)]
}

/// Row of a layer that a case sees.
pub fn layer_row(layer: &MadeOnce) -> EffectiveValue {
    let value = format!("{} at {}", layer.name, layer.at.display());
    EffectiveValue { name: "layer", value, source: layer.place.clone() }
}

/// Row of an override.
pub fn given(source: &Source) -> Overriding {
    let filter = match &source.origin {
        Origin::Override { filter, .. } => filter.clone(),
        Origin::Flag | Origin::Environment | Origin::Profile { .. } => String::new(),
    };
    let policy = source.values.layers.apply(Policy::default());
    let layers = cli::layers_as_shown().into_iter();
    let given = layers.filter(|layer| source.values.layers.has(layer.name));
    let run_options = &source.values.run_options;
    let run_options = of_case(run_options)
        .into_iter()
        .chain(of_run(run_options))
        .filter(|row| (row.2)(run_options));
    let values = given.map(|layer| (layer.name, layer.show(&policy)));
    let values = values.chain(run_options.map(|(name, value, _)| (name, value)));
    let needed = needed(&[source]).into_iter().filter(|row| row.value != "none");
    let values = values.chain(needed.map(|row| (row.name, row.value)));
    let values = values.map(|(name, value)| format!("{name:<16} {value}")).collect();
    Overriding { origin: source.origin.to_string(), filter, values }
}

fn origin(policy: &Policy, sources: &[&Source], layer: &cli::Layer) -> String {
    if policy.weakened.iter().any(|weakened| weakened.name() == layer.name) {
        return "--allow-weaker: this machine refuses another".to_owned();
    }
    let mut giving = sources.iter().filter(|source| source.values.layers.has(layer.name));
    // What the rest says counts only where values add up.
    match layer.adds_up() {
        true => {
            let all: Vec<String> = giving.map(|source| source.origin.to_string()).collect();
            if all.is_empty() { DEFAULT.to_owned() } else { all.join("; ") }
        }
        false => first(giving.next()),
    }
}

const DEFAULT: &str = "default";

fn first(giving: Option<&&Source>) -> String {
    giving.map_or(DEFAULT.to_owned(), |source| source.origin.to_string())
}

/// Test whether a source sets a run option.
type Directs = fn(&RunOptions) -> bool;

type RunRow = (&'static str, String, Directs);

/// Rows of the run options of one case, by these sources in order of precedence.
pub fn case_rows(sources: &[&Source]) -> Vec<EffectiveValue> {
    rows_of(of_case(&merged(sources).run_options), sources)
}

/// Rows of the options that all cases of a run share.
pub fn run_rows(sources: &[&Source]) -> Vec<EffectiveValue> {
    rows_of(of_run(&merged(sources).run_options), sources)
}

fn rows_of(rows: Vec<RunRow>, sources: &[&Source]) -> Vec<EffectiveValue> {
    let row = |(name, value, directs): RunRow| {
        let giving = sources.iter().find(|source| directs(&source.values.run_options));
        EffectiveValue { name, value, source: first(giving) }
    };
    rows.into_iter().map(row).collect()
}

fn of_case(options: &RunOptions) -> Vec<RunRow> {
    let flaky = options.retries().flaky;
    let required = options.threads_required.map_or("1".to_owned(), |threads| threads.to_string());
    let priority = options.priority.unwrap_or_default().to_string();
    let group = options.test_group.as_deref().unwrap_or(GLOBAL).to_owned();
    vec![
        ("retries", retries_name(&options.retries()), |given| given.retries.is_some()),
        ("flaky-result", word(&flaky), |given| given.flaky_result.is_some()),
        ("threads-required", required, |given| given.threads_required.is_some()),
        ("test-group", group, |given| given.test_group.is_some()),
        ("priority", priority, |given| given.priority.is_some()),
        ("deny", cli::deny_name(options.deny()), |given| given.deny.is_some()),
    ]
}

fn of_run(options: &RunOptions) -> Vec<RunRow> {
    let most = options.fail_fast().unwrap_or(FailFast::Never).to_string();
    let timeout = time(options.global_timeout.and_then(Into::into));
    let file = |path: &Option<PathBuf>| {
        path.as_ref().map_or("none".to_owned(), |path| path.display().to_string())
    };
    let threads = options.test_threads.unwrap_or(Threads::LessThanProcessors(0)).to_string();
    let limits = options.record_limits();
    vec![
        ("max-fail", most, |given| given.fail_fast().is_some()),
        ("global-timeout", timeout, |given| given.global_timeout.is_some()),
        ("test-threads", threads, |given| given.test_threads.is_some()),
        ("junit", file(&options.junit), |given| given.junit.is_some()),
        ("sarif", file(&options.sarif), |given| given.sarif.is_some()),
        ("explain-failures", word(&options.explain_failures.unwrap_or_default()), |given| {
            given.explain_failures.is_some()
        }),
        ("trace", word(&options.trace.unwrap_or_default()), |given| given.trace.is_some()),
        ("record", options.is_recorded().to_string(), |given| given.record.is_some()),
        ("max-records", limits.count.to_string(), |given| given.max_records.is_some()),
        ("max-records-age", time(limits.age), |given| given.max_records_age.is_some()),
        ("max-records-size", limits.bytes.to_string(), |given| given.max_records_size.is_some()),
    ]
}

fn time(value: Option<Duration>) -> String {
    value.map_or("none".to_owned(), |time| humantime::format_duration(time).to_string())
}

/// The name of a variant, as it is typed.
fn word(value: &dyn Debug) -> String {
    let mut word = String::new();
    for character in format!("{value:?}").chars() {
        if character.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(character.to_ascii_lowercase());
    }
    word
}

fn list(values: &[String]) -> String {
    if values.is_empty() { "none".to_owned() } else { values.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn every_key_has_a_row() {
        let rows = [rows(&Policy::default(), &[]), case_rows(&[]), run_rows(&[])].concat();
        for key in cli::keys() {
            let known = rows.iter().any(|row| row.name == key.name);
            assert!(
                known || ["allow-weaker", "fail-fast"].contains(&key.name.as_str()),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn a_value_names_who_gave_it() {
        let read = |key, value: &str| cli::read_key(key, &[value.to_owned()]).expect("a value");
        let source = |origin, values, services: &[&str]| {
            let services = services.iter().map(|name| (*name).to_owned()).collect();
            Source { services, ..Source::typed(origin, values) }
        };
        let flag = source(Origin::Flag, read("pass-env", "A"), &[]);
        let values = read("pass-env", "B").over(read("net", "host")).over(read("retries", "2"));
        let profile = Origin::Profile {
            name: "ci".to_owned(),
            place: "c.toml:1".to_owned(),
            reason: Some("why".to_owned()),
        };
        let sources = [&flag, &source(profile, values, &["redis"])];
        let rows = rows(&Policy::default(), &sources);
        let source = |name: &str| {
            let row = rows.iter().find(|row| row.name == name).expect("a layer");
            row.source.as_str()
        };
        assert_eq!(source("net"), "profile `ci` (c.toml:1): why");
        assert_eq!(source("pass-env"), "flag; profile `ci` (c.toml:1): why");
        assert_eq!(source("pid"), "default");
        assert_eq!(source("services"), "profile `ci` (c.toml:1): why");
        assert_eq!(source("setup"), "default");
        let (retries, threads) = (&case_rows(&sources)[0], &run_rows(&sources)[2]);
        assert_eq!((retries.name, retries.value.as_str()), ("retries", "2"));
        assert_eq!(retries.source, "profile `ci` (c.toml:1): why");
        assert_eq!((threads.name, threads.value.as_str()), ("test-threads", "num-cpus"));
        assert_eq!(threads.source, "default");
    }
}
