//! Every key as it is in force, with where its value comes from.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use isotest_core::policy::{Directory, Policy, Root, Uts};

use super::course::GLOBAL;
use super::effective::{Origin, Source, merged};
use crate::cli::{CourseOptions, FailFast, LayerOptions, Threads, propagation_name, retries_name};
use crate::report::{Layer, Overriding};

/// Whether a source has a say in a layer.
type Gives = fn(&LayerOptions) -> bool;

/// The rows of a policy that these sources made, the first first.
pub fn rows(policy: &Policy, sources: &[&Source]) -> Vec<Layer> {
    let rows = namespaces(policy).into_iter().chain(files(policy)).chain(limits(policy));
    rows.map(|(name, value, gives)| Layer {
        name,
        value,
        source: origin(policy, sources, name, gives),
    })
    .chain(needed(sources))
    .collect()
}

/// The rows of what is needed beside a sandbox.
fn needed(sources: &[&Source]) -> [Layer; 2] {
    let row = |name, of: fn(&Source) -> &Vec<String>| {
        let giving = sources.iter().filter(|source| !of(source).is_empty());
        let (names, origins): (Vec<_>, Vec<_>) =
            giving.map(|source| (of(source).join(" "), source.origin.to_string())).unzip();
        let source = if origins.is_empty() { DEFAULT.to_owned() } else { origins.join("; ") };
        Layer { name, value: list(&names), source }
    };
    [row("services", |source| &source.services), row("setup", |source| &source.setup)]
}

/// What an override asks for.
pub fn given(source: &Source) -> Overriding {
    let filter = match &source.origin {
        Origin::Override { filter, .. } => filter.clone(),
        Origin::Flag | Origin::Environment | Origin::Profile { .. } => String::new(),
    };
    let policy = source.values.layers.apply(Policy::default());
    let rows = namespaces(&policy).into_iter().chain(files(&policy)).chain(limits(&policy));
    let given = rows.filter(|(_, _, gives)| gives(&source.values.layers));
    let course = &source.values.course;
    let course = of_case(course).into_iter().chain(of_run(course)).filter(|row| (row.2)(course));
    let values = given.map(|(name, value, _)| (name, value));
    let values = values.chain(course.map(|(name, value, _)| (name, value)));
    let needed = needed(&[source]).into_iter().filter(|row| row.value != "none");
    let values = values.chain(needed.map(|row| (row.name, row.value)));
    let values = values.map(|(name, value)| format!("{name:<16} {value}")).collect();
    Overriding { origin: source.origin.to_string(), filter, values }
}

fn origin(policy: &Policy, sources: &[&Source], name: &str, gives: Gives) -> String {
    if policy.weakened.iter().any(|layer| layer.name() == name) {
        return "--allow-weaker: this machine refuses another".to_owned();
    }
    let mut giving = sources.iter().filter(|source| gives(&source.values.layers));
    // What the rest says counts only where values add up.
    match LISTS.contains(&name) {
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

/// Whether a source has a say in the course of a run.
type Directs = fn(&CourseOptions) -> bool;

type CourseRow = (&'static str, String, Directs);

/// The rows of a case's part in the course of a run, as these sources ask for it, the first first.
pub fn case_rows(sources: &[&Source]) -> Vec<Layer> {
    course_rows(of_case(&merged(sources).course), sources)
}

/// The rows of what a whole run has of its course.
pub fn run_rows(sources: &[&Source]) -> Vec<Layer> {
    course_rows(of_run(&merged(sources).course), sources)
}

fn course_rows(rows: Vec<CourseRow>, sources: &[&Source]) -> Vec<Layer> {
    let row = |(name, value, directs): CourseRow| {
        let giving = sources.iter().find(|source| directs(&source.values.course));
        Layer { name, value, source: first(giving) }
    };
    rows.into_iter().map(row).collect()
}

fn of_case(course: &CourseOptions) -> Vec<CourseRow> {
    let flaky = course.retries().flaky;
    let required = course.threads_required.map_or("1".to_owned(), |threads| threads.to_string());
    let priority = course.priority.unwrap_or_default().to_string();
    let group = course.test_group.as_deref().unwrap_or(GLOBAL).to_owned();
    vec![
        ("retries", retries_name(&course.retries()), |given| given.retries.is_some()),
        ("flaky-result", word(&flaky), |given| given.flaky_result.is_some()),
        ("threads-required", required, |given| given.threads_required.is_some()),
        ("test-group", group, |given| given.test_group.is_some()),
        ("priority", priority, |given| given.priority.is_some()),
    ]
}

fn of_run(course: &CourseOptions) -> Vec<CourseRow> {
    let most = course.fail_fast().unwrap_or(FailFast::Never).to_string();
    let timeout = time(course.global_timeout.and_then(Into::into));
    let junit = course.junit.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
    let threads = course.test_threads.unwrap_or(Threads::LessThanProcessors(0)).to_string();
    vec![
        ("max-fail", most, |given| given.fail_fast().is_some()),
        ("global-timeout", timeout, |given| given.global_timeout.is_some()),
        ("test-threads", threads, |given| given.test_threads.is_some()),
        ("junit", junit, |given| given.junit.is_some()),
    ]
}

/// Their values add up.
const LISTS: [&str; 4] = ["write-back", "pass-env", "ro", "rw"];

type Row = (&'static str, String, Gives);

fn namespaces(policy: &Policy) -> Vec<Row> {
    let uts = match &policy.uts {
        Uts::Name(name) => format!("new, `{name}`"),
        Uts::Host => "host".to_owned(),
    };
    vec![
        ("user", word(&policy.user), |given| given.user.is_some()),
        ("pid", word(&policy.pid), |given| given.pid.is_some()),
        ("init", word(&policy.init), |given| given.init.is_some()),
        ("net", word(&policy.net), |given| given.net.is_some()),
        ("ipc", word(&policy.ipc), |given| given.ipc.is_some()),
        ("uts", uts, |given| given.uts.is_some()),
        ("env", word(&policy.env), |given| given.env.is_some()),
        ("pass-env", list(&policy.pass_env), |given| !given.pass_env.is_empty()),
        ("guard", word(&policy.guard), |given| given.guard.is_some()),
        ("no-fork-server", (!policy.fork_server).to_string(), |given| given.no_fork_server),
    ]
}

fn files(policy: &Policy) -> Vec<Row> {
    let root = match &policy.root {
        Root::Host => "host".to_owned(),
        Root::Directory(directory) => directory.display().to_string(),
    };
    let home = match policy.home {
        Directory::Fresh => "empty",
        Directory::Host => "host",
    };
    let propagation = propagation_name(policy.propagation).to_owned();
    vec![
        ("workspace", word(&policy.workspace), |given| given.workspace.is_some()),
        ("write-back", list(&policy.write_back), |given| !given.write_back.is_empty()),
        ("scratch", word(&policy.scratch), |given| given.scratch.is_some()),
        ("root", root, |given| !given.root.is_empty()),
        ("tmp", word(&policy.tmp), |given| given.tmp.is_some()),
        ("home", home.to_owned(), |given| given.home.is_some()),
        ("ro", paths(&policy.read_only), |given| !given.read_only.is_empty()),
        ("rw", paths(&policy.read_write), |given| !given.read_write.is_empty()),
        ("propagation", propagation, |given| given.propagation.is_some()),
    ]
}

fn limits(policy: &Policy) -> Vec<Row> {
    let limits = &policy.limits;
    let number = |value: Option<u64>| value.map_or("none".to_owned(), |value| value.to_string());
    vec![
        ("timeout", time(limits.timeout), |given| given.timeout.is_some()),
        ("slow-timeout", time(limits.slow_timeout), |given| given.slow_timeout.is_some()),
        ("output-limit", limits.output.to_string(), |given| given.output_limit.is_some()),
        ("tmp-size", limits.tmp_size.to_string(), |given| given.tmp_size.is_some()),
        ("memory", number(limits.memory), |given| given.memory.is_some()),
        ("processes", limits.processes.to_string(), |given| given.processes.is_some()),
        ("open-files", limits.open_files.to_string(), |given| given.open_files.is_some()),
        ("file-size", number(limits.file_size), |given| given.file_size.is_some()),
        ("cpu-time", number(limits.cpu_time), |given| given.cpu_time.is_some()),
        ("address-space", number(limits.address_space), |given| given.address_space.is_some()),
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

fn paths(values: &[PathBuf]) -> String {
    list(&values.iter().map(|path| path.display().to_string()).collect::<Vec<_>>())
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
