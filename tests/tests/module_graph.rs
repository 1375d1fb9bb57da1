//! The graph of modules of both crates, computed from their sources: no import circle between two
//! files, or between two rooms.
//!
//! An edge is a path in the code (`crate::`, `super::`, `self::`, or a `use` of a child) that leads
//! to an item of another file, through re-exports. So where a module and those below it are apart,
//! a parent that re-exports the items of its children has no items that they use.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::{Source, sources};
use isotest_tests::program::workspace;

type Path = Vec<String>;
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The crates.
const CRATES: [&str; 2] = ["isotest-core", "cargo-isotest"];

/// A node of the graph.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// A file.
    File,
    /// A folder or file at the top.
    Room,
}

/// The modules of a crate, by their paths: the names that each brings in, and all paths it has.
struct Modules(BTreeMap<Path, Module>);

#[derive(Default)]
struct Module {
    /// Names that `use` declares here, with the path behind each.
    names: BTreeMap<String, Path>,
    /// All paths in the code.
    paths: BTreeSet<Path>,
}

impl Modules {
    fn read<'a>(files: impl IntoIterator<Item = (Path, &'a str)>) -> Modules {
        let files: Vec<(Path, &str)> = files.into_iter().collect();
        let known: BTreeSet<Path> = files.iter().map(|(path, _)| path.clone()).collect();
        let modules = files.into_iter().map(|(path, code)| {
            let module = Module::read(&path, code, &known);
            (path, module)
        });
        Modules(modules.collect())
    }

    /// The module that has the item of this path.
    fn home(&self, path: &[String], depth: usize) -> Option<&Path> {
        let lengths = (0..=path.len()).rev();
        let (home, module) = lengths.filter_map(|at| self.0.get_key_value(&path[..at])).next()?;
        let (Some(name), true) = (path.get(home.len()), depth < 8) else { return Some(home) };
        match module.names.get(name).filter(|target| target.as_slice() != path) {
            Some(target) => self.home(target, depth + 1).or(Some(home)),
            None => Some(home),
        }
    }

    /// Imports of each unit.
    fn graph(&self, unit: Unit) -> Graph {
        let name = |path: &Path| match unit {
            Unit::File => path.join("::"),
            Unit::Room => path[..1].join("::"),
        };
        let mut graph = Graph::new();
        for (from, module) in self.0.iter().filter(|(path, _)| !path.is_empty()) {
            let is_other = |to: &&Path| match unit {
                Unit::File => !to.is_empty(),
                Unit::Room => !to.starts_with(from) && !from.starts_with(to),
            };
            let targets = module.paths.iter().filter_map(|path| self.home(path, 0));
            let known = graph.entry(name(from)).or_default();
            known.extend(targets.filter(is_other).map(name).filter(|to| *to != name(from)));
        }
        graph
    }
}

impl Module {
    fn read(at: &Path, code: &str, known: &BTreeSet<Path>) -> Module {
        let mut module = Module::default();
        let words = tokens(code);
        let mut place = 0;
        while place < words.len() {
            let is_use = words[place] == "use";
            let start = place + usize::from(is_use);
            let starts_path = |word: &str| {
                let child: Path = at.iter().cloned().chain([word.to_owned()]).collect();
                ["crate", "super", "self"].contains(&word) || known.contains(&child)
            };
            let follows = words.get(start + 1) == Some(&"::");
            if (is_use || follows) && words.get(start).is_some_and(|word| starts_path(word)) {
                let mut found = Vec::new();
                place = tree(&words, start, &Path::new(), &mut found).max(place + 1);
                for (path, alias) in found {
                    let Some(path) = resolve(at, &path) else { continue };
                    if let (true, Some(name)) = (is_use, alias.or(path.last().cloned())) {
                        module.names.insert(name, path.clone());
                    }
                    module.paths.insert(path);
                }
            } else {
                place += 1;
            }
        }
        module
    }
}

/// Names, `::`, and single signs.
fn tokens(code: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), code);
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            _ if rest.starts_with("::") => 2,
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (word, behind) = rest.split_at(length);
        if !first.is_whitespace() {
            words.push(word);
        }
        rest = behind;
    }
    words
}

/// The paths of a tree of imports, with their aliases. Returns the place behind it.
fn tree(
    words: &[&str],
    mut place: usize,
    before: &Path,
    found: &mut Vec<(Path, Option<String>)>,
) -> usize {
    let mut path = before.clone();
    loop {
        match words.get(place) {
            Some(&"{") => {
                place += 1;
                while words.get(place).is_some_and(|word| *word != "}") {
                    place = tree(words, place, &path, found).max(place + 1);
                    place += usize::from(words.get(place) == Some(&","));
                }
                return place + 1;
            }
            Some(&"*") => {
                found.push((path, None));
                return place + 1;
            }
            Some(name) if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push((*name).to_owned());
                place += 1;
            }
            Some(_) | None => return place,
        }
        match words.get(place) {
            Some(&"::") => place += 1,
            Some(&"as") => {
                found.push((path, words.get(place + 1).map(|name| (*name).to_owned())));
                return place + 2;
            }
            Some(_) | None => {
                found.push((path, None));
                return place;
            }
        }
    }
}

/// A path from the root of the crate.
fn resolve(at: &Path, path: &[String]) -> Option<Path> {
    let mut base = at.clone();
    let mut rest = path;
    loop {
        match rest.first().map(String::as_str) {
            Some("crate") => base.clear(),
            Some("super") => drop(base.pop()?),
            Some("self") => {}
            Some(_) | None => break,
        }
        rest = &rest[1..];
    }
    // `use super::{self, …}` is the module itself.
    let rest = rest.iter().filter(|word| *word != "self").cloned();
    Some(base.into_iter().chain(rest).collect())
}

/// The largest sets in which everyone reaches everyone.
fn circles(graph: &Graph) -> Vec<Vec<&str>> {
    let reached = |start: &str| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![start.to_owned()]);
        while let Some(next) = open.pop() {
            let targets = graph.get(&next).into_iter().flatten();
            open.extend(targets.filter(|to| reached.insert((*to).clone())).cloned());
        }
        reached
    };
    let reach: BTreeMap<&str, _> =
        graph.keys().map(|name| (name.as_str(), reached(name))).collect();
    let mut circles = BTreeSet::new();
    for (name, all) in reach.iter().filter(|(name, all)| all.contains(**name)) {
        let back = |other: &&str| all.contains(*other) && reach[other].contains(*name);
        circles.insert(reach.keys().copied().filter(back).collect::<Vec<_>>());
    }
    circles.into_iter().collect()
}

/// The path of the module of a source.
fn module_of(source: &Source, crate_name: &str) -> Path {
    let root = workspace().join(crate_name).join("src");
    let path = source.path.strip_prefix(&root).expect("it lies there").with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| !["mod", "lib", "main"].contains(&part.as_str())).collect()
}

fn modules(sources: &[Source], crate_name: &str) -> Modules {
    Modules::read(sources.iter().map(|one| (module_of(one, crate_name), one.code.as_str())))
}

#[test]
fn no_two_modules_import_each_other() {
    let mut all = Vec::new();
    for crate_name in CRATES {
        let sources = sources(crate_name);
        let modules = modules(&sources, crate_name);
        for graph in [modules.graph(Unit::File), modules.graph(Unit::Room)] {
            let edges: usize = graph.values().map(BTreeSet::len).sum();
            assert!(edges > 10, "{crate_name}: the imports were found: {graph:#?}");
            let found = circles(&graph);
            all.extend(found.iter().map(|c| c.iter().map(ToString::to_string).collect::<Vec<_>>()));
        }
    }
    assert!(all.is_empty(), "import circles: {all:#?}");
}

#[test]
fn a_circle_is_seen_through_re_exports_and_trees() {
    let path = |path: &str| path.split("::").map(str::to_owned).collect::<Path>();
    let code = |back: &'static str| {
        [
            (path("a"), "pub mod one; pub use one::{Thing, other as Same};"),
            (path("a::one"), "use super::super::b::{self, two::{Deep, Flat}};"),
            (path("b"), "pub mod two; mod three;"),
            (path("b::two"), back),
            (path("b::three"), "use super::two::Deep; fn f() { crate::c::g() }"),
            (path("c"), "pub fn g() {}"),
        ]
    };
    let found = |back| {
        let modules = Modules::read(code(back));
        let graph = modules.graph(Unit::File);
        circles(&graph).into_iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(found("use crate::c::g;"), none);
    assert_eq!(found("use crate::a::Thing;"), ["a::one b::two"]);
    assert_eq!(found("fn f(same: crate::a::Same) {}"), ["a::one b::two"]);
    assert_eq!(found("use super::three;"), ["b::three b::two"]);
}

#[test]
fn a_parent_and_its_child_are_two_files() {
    let path = |path: &str| path.split("::").map(str::to_owned).collect::<Path>();
    let parent = "mod child; pub use child::Thing; pub const MOST: usize = 1;";
    let check = |child, expected: &[&str]| {
        let modules = Modules::read([(path("a"), parent), (path("a::child"), child)]);
        let graph = modules.graph(Unit::File);
        let found: Vec<String> = circles(&graph).iter().map(|circle| circle.join(" ")).collect();
        assert_eq!(found, expected);
    };
    check("use super::MOST;", &["a a::child"]);
    check("pub struct Thing;", &[]);
}
