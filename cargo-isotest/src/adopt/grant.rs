//! Grants: keys of the configuration by which a test gets more of the host, or what isolates as
//! well but is not the default.

use std::path::Path;

use isotest_core::escape::is_deceptive;
use isotest_core::policy::Policy;

use crate::cli::{self, Values};
use crate::config::Source;
use crate::sandbox::environment::has_secret;

/// One grant: a key and a value. They are ordered by how much they give.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    rank: usize,
    /// The key.
    pub key: &'static str,
    /// Its value; of a list, one element.
    pub value: String,
}

/// The grants that are known without evidence, by how much they give. The first two isolate as well
/// as the default does.
const LAYERS: [(&str, &str); 12] = [
    ("init", "reaper"),
    ("scratch", "disk"),
    ("uts", "host"),
    ("guard", "io-uring"),
    ("guard", "no-listener"),
    ("ipc", "host"),
    ("user", "root"),
    ("env", "host"),
    ("pid", "host"),
    ("tmp", "host"),
    ("home", "host"),
    ("net", "host"),
];
/// Place of a file among them, of a variable, of a directory.
const FILE: usize = 2;
const VARIABLE: usize = 3;
const DIRECTORY: usize = 5;
/// Keys that take a list.
const LISTS: [&str; 2] = ["ro", "pass-env"];
/// Places of evidence between the layers, which move those behind them.
const EVIDENCE: [usize; 3] = [FILE, VARIABLE, DIRECTORY];

impl Grant {
    /// The layers that a policy does not give yet.
    pub fn layers(policy: &Policy) -> Vec<Grant> {
        let all = LAYERS.iter().map(|(key, value)| Grant::layer(key, value));
        all.filter(|grant| grant.is_new(policy)).collect()
    }

    fn layer(key: &'static str, value: &str) -> Grant {
        let ranks = (0..).filter(|rank| !EVIDENCE.contains(rank));
        let known = LAYERS.iter().zip(ranks).find(|(known, _)| **known == (key, value));
        let rank = known.map_or(usize::MAX, |(_, rank)| rank);
        Grant { rank, key, value: value.to_owned() }
    }

    /// A path of the host, read-only. `None` if a reader of the file would not see all of it.
    pub fn path(path: &Path, is_directory: bool) -> Option<Grant> {
        let rank = if is_directory { DIRECTORY } else { FILE };
        let value = path.to_str().filter(|path| !path.contains(is_deceptive))?.to_owned();
        Some(Grant { rank, key: "ro", value })
    }

    /// A variable of the caller.
    pub fn variable(name: &str) -> Grant {
        Grant { rank: VARIABLE, key: "pass-env", value: name.to_owned() }
    }

    /// True if it passes a variable that may hold a secret: nobody but the user writes it.
    pub fn is_secret(&self) -> bool {
        self.key == "pass-env" && has_secret(&self.value)
    }

    /// Those of an override; `None` if it has anything else.
    pub fn of(source: &Source) -> Option<Vec<Grant>> {
        let Source { values, services, setup, .. } = source;
        let mut grants = Vec::new();
        for key in ["init", "scratch", "uts", "guard", "ipc", "user", "env", "pid", "tmp", "home"] {
            for value in values.layers.values(key) {
                grants.push(Grant::layer(key, value.to_str()?));
            }
        }
        for value in values.layers.values("net") {
            grants.push(Grant::layer("net", value.to_str()?));
        }
        for path in values.layers.values("ro") {
            grants.push(Grant::path(Path::new(path), Path::new(path).is_dir())?);
        }
        for name in values.layers.values("pass-env") {
            grants.push(Grant::variable(name.to_str()?));
        }
        let is_whole = services.is_empty()
            && setup.is_empty()
            && !grants.is_empty()
            && grants.iter().all(|grant| grant.rank < usize::MAX)
            && Grant::values(&grants) == *values;
        grants.sort();
        is_whole.then_some(grants)
    }

    /// True if the policy has it not.
    fn is_new(&self, policy: &Policy) -> bool {
        Grant::apply(std::slice::from_ref(self), policy.clone()) != *policy
    }

    /// The values of the configuration that these are.
    pub fn values(grants: &[Grant]) -> Values {
        let lists = LISTS.iter().map(|key| {
            let of_key = grants.iter().filter(|grant| grant.key == *key);
            (*key, of_key.map(|grant| grant.value.clone()).collect::<Vec<_>>())
        });
        let lists = lists.filter(|(_, values)| !values.is_empty());
        let single = grants.iter().filter(|grant| !LISTS.contains(&grant.key));
        let single = single.map(|grant| (grant.key, vec![grant.value.clone()]));
        // A value that cannot be read is no value; the search then finds that it helps nobody.
        lists
            .chain(single)
            .filter_map(|(key, values)| cli::read_key(key, &values).ok())
            .fold(Values::default(), |all, one| one.over(all))
    }

    /// The policy with these.
    pub fn apply(grants: &[Grant], policy: Policy) -> Policy {
        Grant::values(grants).layers.apply(policy)
    }

    /// Lines of an override: `net = "host"`.
    pub fn lines(grants: &[Grant]) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for key in LISTS {
            let of_key = grants.iter().filter(|grant| grant.key == key);
            let values: Vec<String> = of_key.map(|grant| grant.value.clone()).collect();
            if !values.is_empty() {
                lines.push(format!("{key} = {}", toml::Value::from(values)));
            }
        }
        let single = grants.iter().filter(|grant| !LISTS.contains(&grant.key));
        lines.extend(
            single.map(|grant| {
                format!("{} = {}", grant.key, toml::Value::from(grant.value.as_str()))
            }),
        );
        lines
    }

    /// True if its key takes one value, so that another source may have set it.
    pub fn is_single(&self) -> bool {
        !LISTS.contains(&self.key)
    }

    /// True if a test with it can have no effect outside.
    pub fn is_harmless(&self) -> bool {
        matches!(self.key, "init" | "scratch" | "ro" | "pass-env")
    }

    /// True if two of them cannot stand in one override, or not in one sandbox.
    pub fn excludes(&self, other: &Grant) -> bool {
        let is = |grant: &Grant, key: &str, value: &str| grant.key == key && grant.value == value;
        let either = |one: (&str, &str), two: (&str, &str)| {
            (is(self, one.0, one.1) && is(other, two.0, two.1))
                || (is(other, one.0, one.1) && is(self, two.0, two.1))
        };
        // An init is PID 1 of a new pid namespace; uid 0 inside has no rights over another one.
        let is_same_key = self.key == other.key && self != other && self.is_single();
        is_same_key
            || either(("init", "reaper"), ("pid", "host"))
            || either(("user", "root"), ("pid", "host"))
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = Grant::lines(std::slice::from_ref(self));
        f.write_str(&lines.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use isotest_core::policy::{Net, Scratch};

    use super::*;

    #[test]
    fn grants_are_ordered_by_how_much_they_give() {
        let mut grants = Grant::layers(&Policy::default());
        grants.extend(Grant::path(Path::new("/srv/x"), false));
        grants.extend(Grant::path(Path::new("/sys"), true));
        grants.push(Grant::variable("API"));
        grants.sort();
        let told: Vec<String> = grants.iter().map(Grant::to_string).collect();
        let expected = [
            "init = \"reaper\"",
            "scratch = \"disk\"",
            "ro = [\"/srv/x\"]",
            "pass-env = [\"API\"]",
            "uts = \"host\"",
            "ro = [\"/sys\"]",
            "guard = \"io-uring\"",
            "guard = \"no-listener\"",
            "ipc = \"host\"",
            "user = \"root\"",
            "env = \"host\"",
            "pid = \"host\"",
            "tmp = \"host\"",
            "home = \"host\"",
            "net = \"host\"",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_policy_that_has_a_layer_needs_no_grant_of_it() {
        let policy = Policy { net: Net::Host, scratch: Scratch::Disk, ..Policy::default() };
        let layers = Grant::layers(&policy);
        assert!(!layers.iter().any(|grant| ["net", "scratch"].contains(&grant.key)));
        assert_eq!(layers.len(), LAYERS.len() - 2);
    }

    #[test]
    fn grants_are_values_of_a_policy_and_lines_of_a_file() {
        let grants = [
            Grant::path(Path::new("/srv/\"x\""), false).expect("text"),
            Grant::variable("A"),
            Grant::variable("B"),
            Grant::layer("net", "host"),
        ];
        let policy = Grant::apply(&grants, Policy::default());
        assert_eq!((policy.net, policy.pass_env.len()), (Net::Host, 2));
        let lines = Grant::lines(&grants);
        assert_eq!(lines, ["ro = ['/srv/\"x\"']", "pass-env = [\"A\", \"B\"]", "net = \"host\""]);
    }

    #[test]
    fn some_exclude_each_other() {
        let all = Grant::layers(&Policy::default());
        let grant = |key, value| Grant::layer(key, value);
        let excluded: Vec<String> = all
            .iter()
            .filter(|one| one.excludes(&grant("pid", "host")))
            .map(Grant::to_string)
            .collect();
        assert_eq!(excluded, ["init = \"reaper\"", "user = \"root\""]);
        assert!(grant("guard", "io-uring").excludes(&grant("guard", "no-listener")));
    }
}
