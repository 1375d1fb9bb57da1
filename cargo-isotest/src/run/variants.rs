//! Values under which failed tests are run once more: those that isolate as well, what a failure
//! names or looks for in vain, and the host's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use isotest_core::case::CaseIndex;
use isotest_core::finding::Finding;
use isotest_core::plan;
use isotest_core::policy::{
    Directory, Env, Guard, Init, Namespace, Net, Policy, Scratch, User, Uts,
};
use toml::Value;

use crate::report::{self, Remedy};

/// Maximum number of different things that failures name and that are tried.
pub const NAMED: usize = 12;

/// Maximum number of changes of which each is said what tests have without it.
const MANY: usize = 4;

/// One difference from a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// `--net host`.
    Net,
    /// `--home host`.
    Home,
    /// `--tmp host`.
    Tmp,
    /// `--env host`.
    Env,
    /// `--pid host`.
    Pid,
    /// `--ipc host`.
    Ipc,
    /// `--uts host`.
    Uts,
    /// `--rw PATH`.
    Open(PathBuf),
    /// `--user root`.
    Capabilities,
    /// `--guard no-listener`.
    NoListener,
    /// `--guard io-uring`.
    IoUring,
    /// `--init reaper`.
    Init,
    /// `--scratch disk`.
    Scratch,
    /// `--pass-env NAME`.
    Pass(String),
    /// `--ro PATH`.
    Show(PathBuf),
}

/// How a change is written: `--KEY VALUE`, and `KEY = VALUE` or a list of values.
enum Written {
    One(&'static str, &'static str),
    OneOf(&'static str, String),
}

impl Change {
    fn written(&self) -> Written {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        match self {
            Change::Net => Written::One("net", "host"),
            Change::Home => Written::One("home", "host"),
            Change::Tmp => Written::One("tmp", "host"),
            Change::Env => Written::One("env", "host"),
            Change::Pid => Written::One("pid", "host"),
            Change::Ipc => Written::One("ipc", "host"),
            Change::Uts => Written::One("uts", "host"),
            Change::Capabilities => Written::One("user", "root"),
            Change::NoListener => Written::One("guard", "no-listener"),
            Change::IoUring => Written::One("guard", "io-uring"),
            Change::Init => Written::One("init", "reaper"),
            Change::Scratch => Written::One("scratch", "disk"),
            Change::Open(shown) => Written::OneOf("rw", path(shown)),
            Change::Show(shown) => Written::OneOf("ro", path(shown)),
            Change::Pass(name) => Written::OneOf("pass-env", name.clone()),
        }
    }

    /// The flag.
    pub fn flag(&self) -> String {
        match self.written() {
            Written::One(key, value) => format!("--{key} {value}"),
            Written::OneOf(key, value) => format!("--{key} {}", report::quoted(&value)),
        }
    }

    /// What tests have without it, as a sentence.
    fn why(&self) -> String {
        let text = match self {
            Change::Net => "the sandbox has a network of its own",
            Change::Home => "the home is empty",
            Change::Tmp => "the temporary directories are empty",
            Change::Env => "only some variables of the caller reach tests",
            Change::Pid => "the sandbox has processes of its own",
            Change::Ipc => "the sandbox has IPC objects of its own",
            Change::Uts => "the sandbox has a host name of its own",
            Change::Capabilities => "the sandbox gives no capabilities",
            Change::NoListener => "the guard has a seccomp listener, and there can be one only",
            Change::IoUring => "the guard refuses io_uring",
            Change::Init => "PID 1 of the sandbox is the test, not an init",
            Change::Scratch => "throwaway files lie in a tmpfs, not on a disk",
            Change::Open(path) | Change::Show(path) => {
                return format!("`{}` is not in the sandbox", path.display());
            }
            Change::Pass(name) => return format!("`{name}` does not reach tests"),
        };
        text.to_owned()
    }

    fn apply(&self, policy: &mut Policy) {
        match self {
            Change::Net => policy.net = Net::Host,
            Change::Home => policy.home = Directory::Host,
            Change::Tmp => policy.tmp = Directory::Host,
            Change::Env => policy.env = Env::Host,
            Change::Pid => policy.pid = Namespace::Host,
            Change::Ipc => policy.ipc = Namespace::Host,
            Change::Uts => policy.uts = Uts::Host,
            Change::Capabilities => policy.user = User::Root,
            Change::NoListener => policy.guard = Guard::NoListener,
            Change::IoUring => policy.guard = Guard::IoUring,
            Change::Init => policy.init = Init::Reaper,
            Change::Scratch => policy.scratch = Scratch::Disk,
            Change::Open(path) => policy.read_write.push(path.clone()),
            Change::Show(path) => policy.read_only.push(path.clone()),
            Change::Pass(name) => policy.pass_env.push(name.clone()),
        }
    }
}

/// A policy that differs from that of the run, and what differs.
#[derive(Debug)]
pub struct Variant {
    /// What differs, for the report.
    pub remedy: Remedy,
    /// The policy.
    pub policy: Policy,
}

impl Variant {
    /// The policy with these changes.
    pub fn of<'a>(policy: &Policy, changes: impl IntoIterator<Item = &'a Change>) -> Variant {
        let (mut policy, changes) = (policy.clone(), changes.into_iter().collect::<Vec<_>>());
        changes.iter().for_each(|change| change.apply(&mut policy));
        let flags: Vec<String> = changes.iter().map(|change| change.flag()).collect();
        let whys: Vec<String> = match changes.len() {
            0..=MANY => changes.iter().map(|change| change.why()).collect(),
            many => vec![format!("{many} layers of the sandbox differ from those of the machine")],
        };
        let remedy =
            Remedy { flag: flags.join(" "), why: whys.join(", and "), setting: setting(&changes) };
        Variant { remedy, policy }
    }
}

/// The keys of these changes, a line each.
fn setting(changes: &[&Change]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for change in changes {
        match change.written() {
            Written::One(key, value) => lines.push(format!("{key} = {}", Value::from(value))),
            Written::OneOf(key, value) => lists.entry(key).or_default().push(value),
        }
    }
    lines.extend(lists.into_iter().map(|(key, values)| format!("{key} = {}", Value::from(values))));
    lines.join("\n")
}

/// Changes that isolate as well.
pub fn isolating_changes(
    policy: &Policy,
    project: &plan::Project,
    by_root: bool,
) -> BTreeSet<Change> {
    let init = (policy.init == Init::None).then_some(Change::Init);
    let is_in_memory = policy.scratch == Scratch::Memory && project.scratch.is_some();
    let scratch = is_in_memory.then_some(Change::Scratch);
    // Started by root, uid 0 inside is uid 0 outside: that isolates less.
    let user = (policy.user == User::Same && !by_root).then_some(Change::Capabilities);
    init.into_iter().chain(scratch).chain(user).collect()
}

/// Values that isolate as well, one at a time.
pub fn isolating(policy: &Policy, project: &plan::Project, by_root: bool) -> Vec<Variant> {
    let changes = isolating_changes(policy, project, by_root);
    let order = [Change::Init, Change::Scratch, Change::Capabilities];
    let changes = order.iter().filter(|change| changes.contains(change));
    changes.map(|change| Variant::of(policy, [change])).collect()
}

/// Files that a failed test names and does not see, those that may be given, and, if `with_variables`,
/// such variables. A variable may hold a secret under any name, and a test chooses which names it
/// writes.
pub fn named_changes(
    findings: &[Finding],
    may_be_given: impl Fn(&Path) -> bool,
    with_variables: bool,
) -> BTreeSet<Change> {
    let mut changes = BTreeSet::new();
    for finding in findings {
        match finding {
            Finding::NotShown(hidden) => {
                let given = hidden.iter().filter(|path| may_be_given(path));
                changes.extend(given.cloned().map(Change::Show));
            }
            Finding::NotPassed(withheld) if with_variables => {
                changes.extend(withheld.iter().cloned().map(Change::Pass));
            }
            _ => {}
        }
    }
    changes
}

/// The cases of each set of changes.
pub fn grouped(
    cases: impl IntoIterator<Item = (CaseIndex, BTreeSet<Change>)>,
) -> BTreeMap<BTreeSet<Change>, Vec<CaseIndex>> {
    let mut sets: BTreeMap<BTreeSet<Change>, Vec<CaseIndex>> = BTreeMap::new();
    for (index, changes) in cases {
        sets.entry(changes).or_default().push(index);
    }
    sets
}

/// Layers that are the host's. A test may then have effects outside.
const HOSTS: [Change; 7] =
    [Change::Net, Change::Home, Change::Tmp, Change::Env, Change::Pid, Change::Ipc, Change::Uts];

/// All layers of the host at once, in as many sets as a guard has values that refuse less: a policy
/// has one of them. The project stays as it is.
pub fn all_of_host(policy: &Policy, project: &plan::Project) -> Vec<BTreeSet<Change>> {
    let mut all: BTreeSet<Change> = HOSTS.into_iter().collect();
    all.insert(Change::Show("/sys".into()));
    // By root as well: outside the test has the capabilities of root.
    all.extend(isolating_changes(policy, project, false));
    if policy.guard != Guard::Basic {
        return vec![all];
    }
    let guards = [Change::IoUring, Change::NoListener];
    guards.into_iter().map(|guard| all.iter().cloned().chain([guard]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_given_unasked_and_a_variable_is_not() {
        let findings = [
            Finding::NotShown(vec!["/srv/file".into(), "/srv/secret".into()]),
            Finding::NotPassed(vec!["A".to_owned()]),
        ];
        let changes = |all| named_changes(&findings, |path| path.ends_with("file"), all);
        let shown = Change::Show("/srv/file".into());
        assert_eq!(changes(false), [shown.clone()].into());
        assert_eq!(changes(true), [shown, Change::Pass("A".to_owned())].into());
    }

    #[test]
    fn cases_with_the_same_changes_are_tried_together() {
        let case = |case| CaseIndex { binary: 0, case };
        let sets = grouped([
            (case(0), [Change::Init].into()),
            (case(1), [Change::Init, Change::Net].into()),
            (case(2), [Change::Init].into()),
        ]);
        assert_eq!(sets[&[Change::Init].into()], [case(0), case(2)]);
        assert_eq!(sets[&[Change::Init, Change::Net].into()], [case(1)]);
    }

    #[test]
    fn several_changes_are_one_remedy() {
        let changes = [
            Change::Net,
            Change::Init,
            Change::Show("/srv/a b".into()),
            Change::Show("/srv/c".into()),
        ];
        let Variant { remedy, policy } = Variant::of(&Policy::default(), &changes);
        assert_eq!(remedy.flag, "--net host --init reaper --ro '/srv/a b' --ro /srv/c");
        assert_eq!(
            remedy.setting,
            "net = \"host\"\ninit = \"reaper\"\nro = [\"/srv/a b\", \"/srv/c\"]"
        );
        assert_eq!(
            remedy.why,
            "the sandbox has a network of its own, and PID 1 of the sandbox is the test, not an init, \
             and `/srv/a b` is not in the sandbox, and `/srv/c` is not in the sandbox"
        );
        assert_eq!((policy.net, policy.init), (Net::Host, Init::Reaper));
        assert_eq!(policy.read_only, [PathBuf::from("/srv/a b"), "/srv/c".into()]);
    }

    #[test]
    fn a_guard_has_one_value_in_each_set_of_all_layers() {
        let sets = all_of_host(&Policy::default(), &plan::Project::default());
        let has = |set: &BTreeSet<Change>, change| set.contains(&change);
        assert_eq!(sets.len(), 2);
        assert!(has(&sets[0], Change::IoUring) && !has(&sets[0], Change::NoListener));
        assert!(has(&sets[1], Change::NoListener) && !has(&sets[1], Change::IoUring));
        assert!(sets.iter().all(|set| HOSTS.iter().all(|host| set.contains(host))));
        let strict = Policy { guard: Guard::Strict, ..Policy::default() };
        assert_eq!(all_of_host(&strict, &plan::Project::default()).len(), 1);
    }
}
