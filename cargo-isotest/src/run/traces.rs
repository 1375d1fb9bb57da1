//! Clues in the programs of failed tests to what tests lack: why a test fails only here, if its
//! output does not say so.
//!
//! A program that looks for network interfaces calls getifaddrs(3), one that reads `/sys` has paths
//! of it, and one that starts another has its name. That is no proof, so it is told of no binary
//! whose failed tests are explained already.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use isotest_core::plan::Visible;
use isotest_core::policy::{Net, Policy, User};
use isotest_core::untrusted;
use isotest_core::word_search::search;

use crate::config::machine::Machine;
use crate::report::{self, Trace};
use crate::run::private_path::is_private;
use crate::run::programs::enough;
use crate::sandbox::factory::SandboxFactory;
use crate::sandbox::fork_server;

/// Functions that tell of interfaces: getifaddrs(3), if_nameindex(3).
const INTERFACES: [&str; 2] = ["getifaddrs", "if_nameindex"];
/// Directories of sysfs(5), without those that the standard library and allocators name.
const SYS: [&str; 6] =
    ["/sys/block/", "/sys/bus/", "/sys/class/", "/sys/dev/", "/sys/devices/", "/sys/firmware/"];
/// Names that stand in a program which deals with capabilities(7).
const CAPABILITIES: [&str; 3] = ["CAP_SETPCAP", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"];
/// Maximum number of programs of one directory of `PATH` that are known.
const PROGRAMS: usize = 4096;
/// The name of a program that is shorter stands in others by chance.
const MIN_NAME: usize = 5;

/// A binary of which a test has failed, and nothing is known of why.
pub struct Unexplained<'a> {
    /// Its id.
    pub id: &'a str,
    /// The file.
    pub program: &'a Path,
    /// True if a failed test of it has written that something does not exist.
    pub lacks: bool,
}

/// A clue: the words to look for, their meaning, what to show or the flag.
struct Clue {
    words: Vec<String>,
    what: String,
    give: Give,
}

/// How tests get what they lack.
enum Give {
    /// By this flag.
    Flag(String),
    /// The program at this path is shown, with what it belongs to.
    Program(PathBuf),
}

impl Give {
    /// The flag; `None` where it is not known which is enough.
    fn flag(&self, visible: &Visible) -> Option<String> {
        let program = match self {
            Give::Flag(flag) => return Some(flag.clone()),
            Give::Program(program) => program,
        };
        let shown = enough(program, visible)?;
        // More programs of one directory are one line of configuration.
        let is_file = shown == *program && !program.is_symlink();
        let shown = program.parent().filter(|_| is_file).map_or(shown.clone(), Path::to_owned);
        Some(format!("--ro {}", report::quoted(&shown.to_string_lossy())))
    }
}

/// Clues in these binaries.
pub fn traces(
    factory: &SandboxFactory,
    machine: &Machine,
    unexplained: &[Unexplained<'_>],
) -> Vec<Trace> {
    if unexplained.is_empty() {
        return Vec::new();
    }
    let visible = Visible::new(&factory.host, &factory.project, &factory.policy);
    let mut all = of_host(&visible, &factory.policy, machine.is_root);
    let first_program = all.len();
    if unexplained.iter().any(|it| it.lacks) {
        all.extend(of_path(&visible, factory, machine));
    }
    let words: Vec<&str> =
        all.iter().flat_map(|wanted| wanted.words.iter().map(String::as_str)).collect();
    let mut reported: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for Unexplained { id, program, lacks } in unexplained {
        // A static one has the names of the C library's functions, called or not.
        if fork_server::unsuitable(program).is_some() {
            continue;
        }
        let mut found = vec![false; words.len()];
        // One that cannot be read has been run, and has nothing to say here.
        let _ = untrusted::file(program).and_then(|mut file| search(&mut file, &words, &mut found));
        let mut found = found.into_iter();
        for (place, wanted) in all.iter().enumerate() {
            let is_named = found.by_ref().take(wanted.words.len()).filter(|found| *found).count();
            if is_named > 0 && (place < first_program || *lacks) {
                reported.entry(place).or_default().push((*id).to_owned());
            }
        }
    }
    let reported = reported.into_iter();
    reported
        .filter_map(|(place, binaries)| {
            let Clue { what, give, .. } = &all[place];
            Some(Trace { what: what.clone(), flag: give.flag(&visible)?, binaries })
        })
        .collect()
}

/// Parts of the host that these cases lack.
fn of_host(visible: &Visible, policy: &Policy, by_root: bool) -> Vec<Clue> {
    let wanted = |words: &[&str], what: &str, flag: &str| Clue {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        what: what.to_owned(),
        give: Give::Flag(flag.to_owned()),
    };
    let interfaces = (policy.net != Net::Host)
        .then(|| wanted(&INTERFACES, "network interfaces (tests have only `lo`)", "--net host"));
    let sys = visible
        .hides(Path::new("/sys"))
        .then(|| wanted(&SYS, "`/sys`, which tests do not have", "--ro /sys"));
    // Started by others, failed tests are run once more with them.
    let capabilities = (by_root && policy.user != User::Root)
        .then(|| wanted(&CAPABILITIES, "capabilities, which tests do not have", "--user root"));
    interfaces.into_iter().chain(sys).chain(capabilities).collect()
}

/// Programs that lie in directories of `PATH` that tests are not shown, and in no other.
fn of_path(visible: &Visible, factory: &SandboxFactory, machine: &Machine) -> Vec<Clue> {
    let directories: Vec<PathBuf> =
        env::split_paths(machine.variable("PATH").unwrap_or_default()).collect();
    let is_hidden = |path: &&PathBuf| visible.hides(path);
    let shown: Vec<&PathBuf> = directories.iter().filter(|path| !is_hidden(path)).collect();
    let mut all: BTreeMap<String, Clue> = BTreeMap::new();
    for directory in directories.iter().filter(is_hidden) {
        let home = machine.home();
        if factory.host.is_remote(directory) || is_private(directory, home.as_deref()) {
            continue;
        }
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(PROGRAMS);
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            if name.len() < MIN_NAME || shown.iter().any(|path| path.join(&name).exists()) {
                continue;
            }
            let file = directory.join(&name);
            all.entry(name.clone()).or_insert_with(|| Clue {
                what: format!("`{name}`, in a directory of `PATH` that tests do not see"),
                give: Give::Program(file),
                words: vec![name],
            });
        }
    }
    all.into_values().collect()
}
