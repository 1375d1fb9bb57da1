//! `cargo isotest conflicts`: what tests of a traced run would share if they were not isolated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::rc::Rc;

use anstyle::Style;
use isotest_core::escape::escape;
use serde::Serialize;

use super::fact::TracedSets;
use super::paint::{GOOD, STRONG};
use super::plain_json;
use super::words::{counted, more};

const DIM: Style = Style::new().dimmed();

/// Maximum number of tests that are named for one use of a resource.
const NAMED: usize = 8;

/// Use of a resource by a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// It writes the file, or changes the directory.
    Writes,
    /// It reads the file, or looks whether it is there.
    Reads,
    /// It binds the address.
    Binds,
    /// It connects or sends to the address.
    Dials,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Resource {
    Port(String),
    Socket(String),
    File(String),
}

/// The tests that use a resource, by how they use it.
type Uses = BTreeMap<Use, BTreeSet<Rc<str>>>;

/// The tests of a run that were traced, by what they use.
#[derive(Debug, Default)]
pub struct Conflicts {
    run: String,
    /// Tests, by name.
    tests: BTreeSet<Rc<str>>,
    uses: BTreeMap<Resource, Uses>,
}

impl Conflicts {
    /// Nothing is known yet of the run of this id.
    pub fn of(run: &str) -> Conflicts {
        Conflicts { run: run.to_owned(), ..Conflicts::default() }
    }

    /// Number of tests that were traced.
    pub fn traced(&self) -> usize {
        self.tests.len()
    }

    /// Takes a test.
    pub fn take(&mut self, traced: &TracedSets) {
        let root = traced.root.as_ref().map(|root| format!(" ({root})")).unwrap_or_default();
        let test: Rc<str> = format!("{} {}{root}", traced.binary, traced.test).into();
        let mut add = |resource: Option<Resource>, how: Use| {
            let Some(resource) = resource else { return };
            let uses = self.uses.entry(resource).or_default();
            uses.entry(how).or_default().insert(Rc::clone(&test));
        };
        traced.writes.iter().for_each(|path| add(file(path), Use::Writes));
        traced.reads.iter().chain(&traced.missing).for_each(|path| add(file(path), Use::Reads));
        traced.binds.iter().for_each(|address| add(endpoint(address), Use::Binds));
        traced.dials.iter().for_each(|address| add(endpoint(address), Use::Dials));
        self.tests.insert(test);
    }

    /// Resources that could clash: one test changes or binds it, and another one uses it.
    fn clashes(&self) -> Vec<(&Resource, &Uses)> {
        let clashes = |uses: &Uses| {
            let owners: BTreeSet<&Rc<str>> = [Use::Writes, Use::Binds]
                .iter()
                .filter_map(|how| uses.get(how))
                .flatten()
                .collect();
            let all: BTreeSet<&Rc<str>> = uses.values().flatten().collect();
            !owners.is_empty() && all.len() > 1
        };
        self.uses.iter().filter(|(_, uses)| clashes(uses)).collect()
    }
}

/// A path that a test could find changed by another one.
fn file(path: &str) -> Option<Resource> {
    const DEVICES: [&str; 4] = ["/dev/", "/proc/", "/sys/", "/"];
    let is_own = path == "/dev/shm" || path.starts_with("/dev/shm/");
    let is_device = DEVICES[..3].iter().any(|top| path.starts_with(top)) || path == DEVICES[3];
    (is_own || !is_device).then(|| Resource::File(path.to_owned()))
}

/// A port, or a socket with a name. Addresses of one port are one resource.
fn endpoint(address: &str) -> Option<Resource> {
    let (transport, rest) = address.split_once(' ')?;
    match transport {
        "tcp" | "udp" => {
            let (_, port) = rest.rsplit_once(':')?;
            (port != "0").then(|| Resource::Port(format!("{transport} {port}")))
        }
        "unix" => Some(Resource::Socket(rest.to_owned())),
        _ => None,
    }
}

/// Prints the resources that could clash, with their tests.
pub fn conflicts_for_people(conflicts: &Conflicts) -> io::Result<()> {
    let mut out = anstream::stdout();
    let clashes = conflicts.clashes();
    let traced = counted(conflicts.traced(), "traced test");
    let run = escape(&conflicts.run);
    if clashes.is_empty() {
        return writeln!(
            out,
            "{GOOD}no conflict{GOOD:#}: {traced} of run {run} would share no file, port or socket"
        );
    }
    let resources = counted(clashes.len(), "resource");
    writeln!(out, "{traced} of run {run} would share {resources} if they were not isolated")?;
    for (resource, uses) in clashes {
        let (kind, name) = match resource {
            Resource::Port(port) => ("port", port),
            Resource::Socket(name) => ("socket", name),
            Resource::File(path) => ("file", path),
        };
        writeln!(out, "\n{STRONG}{kind} {}{STRONG:#}", escape(name))?;
        for (how, tests) in uses {
            let how = match how {
                Use::Writes => "writes",
                Use::Reads => "reads",
                Use::Binds => "binds",
                Use::Dials => "dials",
            };
            for test in tests.iter().take(NAMED) {
                writeln!(out, "    {how:6}  {}", escape(test))?;
            }
            if let Some(more) = more(tests.len().saturating_sub(NAMED)) {
                writeln!(out, "    {how:6}  {DIM}{more}{DIM:#}")?;
            }
        }
    }
    Ok(())
}

/// Prints them as one object.
pub fn conflicts_for_programs(conflicts: &Conflicts) -> io::Result<()> {
    #[derive(Serialize)]
    struct Conflict<'a> {
        #[serde(flatten)]
        resource: &'a Resource,
        #[serde(flatten)]
        uses: &'a Uses,
    }
    #[derive(Serialize)]
    struct All<'a> {
        run: &'a str,
        traced: usize,
        conflicts: Vec<Conflict<'a>>,
    }
    let clashes = conflicts.clashes().into_iter();
    let all = All {
        run: &conflicts.run,
        traced: conflicts.traced(),
        conflicts: clashes.map(|(resource, uses)| Conflict { resource, uses }).collect(),
    };
    let mut out = io::stdout().lock();
    plain_json::write(&mut out, &all)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str, sets: [&[&str]; 4]) -> TracedSets {
        let [reads, writes, binds, dials] =
            sets.map(|set| set.iter().map(|text| (*text).to_owned()).collect());
        let (binary, test) = ("a::b".to_owned(), name.to_owned());
        TracedSets { binary, test, reads, writes, binds, dials, ..TracedSets::default() }
    }

    fn clashing(tests: &[TracedSets]) -> Vec<Resource> {
        let mut conflicts = Conflicts::of("r");
        tests.iter().for_each(|test| conflicts.take(test));
        conflicts.clashes().into_iter().map(|(resource, _)| resource.clone()).collect()
    }

    #[test]
    fn two_tests_clash_where_one_changes_what_both_use() {
        let one = test("one", [&["/etc/hosts", "/tmp/a"], &["/tmp/b"], &["tcp 127.0.0.1:80"], &[]]);
        let two =
            test("two", [&["/etc/hosts", "/tmp/b"], &[], &["tcp [::]:80", "udp [::]:0"], &[]]);
        let clashes = [Resource::Port("tcp 80".into()), Resource::File("/tmp/b".into())];
        assert_eq!(clashing(&[one.clone(), two]), clashes);
        assert_eq!(clashing(&[one.clone(), one]), []);
    }

    #[test]
    fn devices_and_outside_addresses_are_nobodys() {
        let both = ["one", "two"].map(|name| {
            test(
                name,
                [&[], &["/dev/null", "/proc/self/x"], &["udp 0.0.0.0:0"], &["tcp 192.0.2.1:443"]],
            )
        });
        assert_eq!(clashing(&both), []);
        let both = ["one", "two"].map(|name| test(name, [&[], &["/dev/shm/x"], &["unix @a"], &[]]));
        assert_eq!(
            clashing(&both),
            [Resource::Socket("@a".into()), Resource::File("/dev/shm/x".into())]
        );
    }
}
