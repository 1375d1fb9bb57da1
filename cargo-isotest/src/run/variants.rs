//! Values under which failed tests are run once more: those that isolate as well, those that a
//! failure names, and the host's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use isotest_core::case::CaseIndex;
use isotest_core::finding::Finding;
use isotest_core::plan;
use isotest_core::policy::{
    Directory, Env, Guard, Init, Namespace, Net, Policy, Scratch, User, Uts,
};
use isotest_core::untrusted;
use toml::Value;

use crate::report::Remedy;

/// Maximum number of different things that failures name and that are tried.
const NAMED: usize = 8;

/// A policy that differs from that of the run, and what differs.
pub struct Variant {
    /// What differs, for the report.
    pub remedy: Remedy,
    /// The policy.
    pub policy: Policy,
}

fn variant(flag: String, why: &str, setting: String, policy: Policy) -> Variant {
    Variant { remedy: Remedy { flag, why: why.to_owned(), setting }, policy }
}

/// A variant of one layer: `--LAYER VALUE`.
fn layer(layer: &str, value: &str, why: &str, policy: Policy) -> Variant {
    let setting = format!("{layer} = {}", Value::from(value));
    variant(format!("--{layer} {value}"), why, setting, policy)
}

/// Values that isolate as well.
pub fn isolating(policy: &Policy, project: &plan::Project, by_root: bool) -> Vec<Variant> {
    let mut variants = Vec::new();
    if policy.init == Init::None {
        let other = Policy { init: Init::Reaper, ..policy.clone() };
        variants.push(layer("init", "reaper", "an init is PID 1 instead of the test", other));
    }
    if policy.scratch == Scratch::Memory && project.scratch.is_some() {
        let why = "throwaway files lie on the disk, not in a tmpfs";
        let other = Policy { scratch: Scratch::Disk, ..policy.clone() };
        variants.push(layer("scratch", "disk", why, other));
    }
    // Started by root, uid 0 inside is uid 0 outside: that isolates less.
    if policy.user == User::Same && !by_root {
        let why = "the test has every capability inside its namespaces";
        let other = Policy { user: User::Root, ..policy.clone() };
        variants.push(layer("user", "root", why, other));
    }
    variants
}

/// Files and, if `with_variables`, variables that failed tests name and do not see, each set with those
/// tests. A file that is shown read-only cannot be changed; at the other end of a socket somebody
/// listens, so nothing but regular files is tried. A variable may hold a secret under any name, and a
/// test chooses which names it writes.
pub fn named(
    policy: &Policy,
    evidence: &BTreeMap<CaseIndex, Vec<Finding>>,
    with_variables: bool,
) -> Vec<(Variant, Vec<CaseIndex>)> {
    let is_file = |path: &PathBuf| untrusted::file(path).is_ok();
    let mut sets: BTreeMap<(Vec<&Path>, Vec<&str>), Vec<CaseIndex>> = BTreeMap::new();
    for (index, findings) in evidence {
        let (mut paths, mut names) = (Vec::new(), Vec::new());
        for finding in findings {
            match finding {
                Finding::NotShown(hidden) => {
                    paths.extend(hidden.iter().filter(|path| is_file(path)).map(PathBuf::as_path));
                }
                Finding::NotPassed(withheld) if with_variables => {
                    names.extend(withheld.iter().map(String::as_str))
                }
                _ => {}
            }
        }
        if !(paths.is_empty() && names.is_empty()) {
            sets.entry((paths, names)).or_default().push(*index);
        }
    }
    sets.into_iter()
        .take(NAMED)
        .map(|((paths, names), cases)| (give(policy, &paths, &names), cases))
        .collect()
}

/// A policy that shows these files and passes these variables.
fn give(policy: &Policy, paths: &[&Path], names: &[&str]) -> Variant {
    let mut other = policy.clone();
    other.read_only.extend(paths.iter().map(|path| path.to_path_buf()));
    other.pass_env.extend(names.iter().map(|name| (*name).to_owned()));
    let paths: Vec<String> = paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let flags = |flag: &str, values: &[String]| -> Vec<String> {
        values.iter().map(|value| format!("--{flag} {}", crate::report::quoted(value))).collect()
    };
    let flag = [flags("ro", &paths), flags("pass-env", &names)].concat().join(" ");
    let setting = |key: &str, values: &[String]| {
        (!values.is_empty()).then(|| format!("{key} = {}", Value::from(values.to_vec())))
    };
    let setting = setting("ro", &paths).into_iter().chain(setting("pass-env", &names));
    let why = match (paths.is_empty(), names.is_empty()) {
        (false, true) => "it names a file that tests do not see",
        (true, _) => "it names a variable that does not reach tests",
        (false, false) => "it names a file and a variable that tests do not have",
    };
    variant(flag, why, setting.collect::<Vec<_>>().join("\n"), other)
}

/// A layer that is the host's, one at a time. A test may then have effects outside.
pub fn hosts(policy: &Policy) -> Vec<Variant> {
    let host = |name: &str, why: &str, change: fn(&mut Policy)| {
        let mut other = policy.clone();
        change(&mut other);
        layer(name, "host", why, other)
    };
    let mut variants = vec![
        host("uts", "it has the name of this machine", |it| it.uts = Uts::Host),
        host("ipc", "it has the IPC objects of this machine", |it| it.ipc = Namespace::Host),
        host("pid", "it sees the processes of this machine", |it| it.pid = Namespace::Host),
        host("env", "it has all variables of the caller", |it| it.env = Env::Host),
        host("tmp", "it has the temporary directories of this machine", |it| {
            it.tmp = Directory::Host;
        }),
        host("home", "it has the home of the caller", |it| it.home = Directory::Host),
        host("net", "it has the network of this machine", |it| it.net = Net::Host),
    ];
    if policy.guard == Guard::Basic {
        let guards = [
            ("io-uring", "it may use io_uring", Guard::IoUring),
            ("no-listener", "it may have a seccomp listener of its own", Guard::NoListener),
        ];
        let guard =
            |(value, why, guard)| layer("guard", value, why, Policy { guard, ..policy.clone() });
        variants.extend(guards.map(guard));
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(case: usize) -> CaseIndex {
        CaseIndex { binary: 0, case }
    }

    #[test]
    fn tests_that_name_the_same_are_tried_together() {
        let own = std::env::current_exe().expect("it is there");
        let evidence = BTreeMap::from([
            (case(0), vec![Finding::NotShown(vec![own.clone()])]),
            (case(1), vec![Finding::NotPassed(vec!["A".to_owned(), "B".to_owned()])]),
            (case(2), vec![Finding::NotShown(vec![own.clone()])]),
            // A directory may hold sockets.
            (case(3), vec![Finding::NotShown(vec!["/usr".into()])]),
        ]);
        assert_eq!(named(&Policy::default(), &evidence, false).len(), 1, "no variable unasked");
        let tried = named(&Policy::default(), &evidence, true);
        let told: Vec<_> = tried
            .iter()
            .map(|(it, cases)| {
                (it.remedy.flag.as_str(), it.remedy.setting.as_str(), cases.as_slice())
            })
            .collect();
        let path = own.to_str().expect("text");
        assert_eq!(
            told,
            [
                ("--pass-env A --pass-env B", "pass-env = [\"A\", \"B\"]", &[case(1)][..]),
                (
                    format!("--ro {path}").as_str(),
                    format!("ro = [\"{path}\"]").as_str(),
                    &[case(0), case(2)][..]
                ),
            ]
        );
        assert_eq!(tried[1].0.policy.read_only, [own]);
    }
}
