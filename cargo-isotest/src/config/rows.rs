//! Every layer and limit as it is in force, with where its value comes from.

use std::fmt::Debug;
use std::path::PathBuf;

use isotest_core::policy::{Directory, Policy, Root, Uts};

use super::effective::{Origin, Source};
use crate::cli::{LayerOptions, propagation_name};
use crate::report::Overriding;
use crate::settings::Layer;

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
        let giving: Vec<&&Source> =
            sources.iter().filter(|source| !of(source).is_empty()).collect();
        let origins: Vec<String> = giving.iter().map(|source| source.origin.to_string()).collect();
        let names: Vec<String> = giving.iter().flat_map(|source| of(source)).cloned().collect();
        let source = if origins.is_empty() { "default".to_owned() } else { origins.join("; ") };
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
    let policy = source.layers.apply(Policy::default());
    let rows = namespaces(&policy).into_iter().chain(files(&policy)).chain(limits(&policy));
    let given = rows.filter(|(_, _, gives)| gives(&source.layers));
    let given = given.map(|(name, value, _)| (name, value));
    let needed = needed(&[source]).into_iter().filter(|row| row.value != "none");
    let given = given.chain(needed.map(|row| (row.name, row.value)));
    let values = given.map(|(name, value)| format!("{name:<14} {value}")).collect();
    Overriding { origin: source.origin.to_string(), filter, values }
}

fn origin(policy: &Policy, sources: &[&Source], name: &str, gives: Gives) -> String {
    if policy.weakened.iter().any(|layer| layer.name() == name) {
        return "--allow-weaker: this machine refuses another".to_owned();
    }
    let giving: Vec<String> = sources
        .iter()
        .filter(|source| gives(&source.layers))
        .map(|source| source.origin.to_string())
        .collect();
    // What the rest says counts only where values add up.
    match (giving.as_slice(), LISTS.contains(&name)) {
        ([], _) => "default".to_owned(),
        (all, true) => all.join("; "),
        ([first, ..], false) => first.clone(),
    }
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
    let timeout = limits
        .timeout
        .map_or("none".to_owned(), |timeout| humantime::format_duration(timeout).to_string());
    vec![
        ("timeout", timeout, |given| given.timeout.is_some()),
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

fn word(value: &dyn Debug) -> String {
    format!("{value:?}").to_lowercase()
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
        let rows = rows(&Policy::default(), &[]);
        for key in cli::keys() {
            let known = rows.iter().any(|row| row.name == key.name);
            assert!(known || key.name == "allow-weaker", "{}", key.name);
        }
    }

    #[test]
    fn a_value_names_who_gave_it() {
        let read = |key, value: &str| cli::read_key(key, &[value.to_owned()]).expect("a value");
        let source = |origin, layers, services: &[&str]| {
            let services = services.iter().map(|name| (*name).to_owned()).collect();
            Source { origin, layers, services, setup: Vec::new() }
        };
        let flag = source(Origin::Flag, read("pass-env", "A"), &[]);
        let layers = read("pass-env", "B").over(read("net", "host"));
        let profile = Origin::Profile {
            name: "ci".to_owned(),
            place: "c.toml:1".to_owned(),
            reason: Some("why".to_owned()),
        };
        let sources = [&flag, &source(profile, layers, &["redis"])];
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
    }
}
