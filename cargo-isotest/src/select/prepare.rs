//! What every command that looks at a project's tests does first: build, list, select.

use std::path::{Path, PathBuf};

use isotest_core::case::{Case, CaseIndex};
use isotest_core::policy::{Policy, Root};
use isotest_core::signals::Signals;

use crate::cli::Part;
use crate::config::machine::Machine;
use crate::config::{Config, LoadError};
use crate::discover::list::Note;
use crate::discover::{
    self, Binary, DiscoverError, Harness, Request, Reused, Selection, filter::Filter,
};
use crate::report;
use crate::sandbox::factory::{FactoryError, SandboxBuilder, SandboxFactory};
use crate::sandbox::root::{self, RootError};
use crate::select::listing::{self, Listed, ListingError};

/// The tests could not be built, listed or selected.
#[derive(Debug)]
pub enum PrepareError {
    /// The project could not be built, or its configuration not be used.
    Load(LoadError),
    /// There are no sandboxes.
    Factory(FactoryError),
    /// The tests could not be listed.
    Listing(ListingError),
    /// An option behind `--` that libtest does not know, and no other harness is there.
    Unrecognized(String),
}

impl From<LoadError> for PrepareError {
    fn from(error: LoadError) -> Self {
        PrepareError::Load(error)
    }
}

impl From<DiscoverError> for PrepareError {
    fn from(error: DiscoverError) -> Self {
        PrepareError::Load(error.into())
    }
}

impl From<FactoryError> for PrepareError {
    fn from(error: FactoryError) -> Self {
        PrepareError::Factory(error)
    }
}

impl From<ListingError> for PrepareError {
    fn from(error: ListingError) -> Self {
        PrepareError::Listing(error)
    }
}

/// One of the root filesystems that a run is asked for.
pub struct InRoot {
    /// As `--root` names it; `None` where nothing does.
    pub name: Option<PathBuf>,
    /// What a report calls it; `None` where it is the only one.
    pub label: Option<String>,
    /// The policy there.
    pub policy: Policy,
}

/// The selected tests of a built project, and the sandboxes to run them in.
pub struct Prepared {
    /// The warden and what is planned with.
    pub factory: SandboxFactory,
    /// The binaries with their selected cases, in cargo's order.
    pub selected: Vec<Selected>,
}

/// A binary with what was selected of it.
#[derive(Clone)]
pub struct Selected {
    /// The binary.
    pub binary: Binary,
    /// Its harness.
    pub harness: Harness,
    /// What is to be told of its list.
    pub notes: Vec<Note>,
    /// How many cases it lists.
    pub listed: usize,
    /// Its selected cases.
    pub selection: Selection,
    /// What of the command line it is given; nothing where it is libtest.
    pub passed_on: Vec<String>,
}

impl Selected {
    /// A harness of which nothing is selected says so; a program that is none says nothing.
    fn takes_part(&self) -> bool {
        self.harness != Harness::None || !self.selection.cases.is_empty()
    }
}

/// What cargo prints of a binary behind `Running`.
pub fn heading(binary: &Binary, machine: &Machine) -> String {
    let executable = machine.shown(binary.executable.as_std_path());
    format!("{} ({})", binary.description(), executable.display())
}

/// Takes cases out of a selection, as a filter would. `None` where nothing is left of it.
pub fn narrow(mut selected: Selected, keep: impl FnMut(&Case) -> bool) -> Option<Selected> {
    let selection = &mut selected.selection;
    let before = selection.cases.len();
    selection.cases.retain(keep);
    selection.filtered_out += before - selection.cases.len();
    selected.takes_part().then_some(selected)
}

/// The case of this index.
pub fn case(selected: &[Selected], index: CaseIndex) -> &Case {
    &selected[index.binary].selection.cases[index.case]
}

/// Why exit code 4; `left_out` tells whether there are documentation tests that a name has left out.
pub fn nothing_selected(selected: &[Selected], part: Option<&Part>, left_out: bool) -> String {
    let documented = match left_out {
        true => {
            "\nhint: a name before `--` takes no documentation tests, as with cargo test; `-- NAME` \
             takes them too, `--doc NAME` them alone"
        }
        false => "",
    };
    let listed: usize = selected.iter().map(|selected| selected.listed).sum();
    let part = part.map(|Part { number, total, .. }| format!(" in part {number} of {total}"));
    let part = part.unwrap_or_default();
    match listed {
        0 => format!("cannot find any test in what was built{documented}"),
        _ => format!(
            "cannot find a test that the filters select{part}, among {listed}\n\
             hint: `cargo isotest list` prints all names{documented}"
        ),
    }
}

/// The policy in each root filesystem that `named` names, or in the host's where nothing does.
/// One that is named twice counts once.
pub fn in_roots(
    policy: &Policy,
    named: &[PathBuf],
    machine: &Machine,
    quiet: bool,
) -> Result<Vec<InRoot>, RootError> {
    if named.is_empty() {
        return Ok(vec![InRoot { name: None, label: None, policy: policy.clone() }]);
    }
    let mut roots: Vec<InRoot> = Vec::new();
    for name in named {
        let policy = Policy { root: find_root(name, machine, quiet)?, ..policy.clone() };
        if roots.iter().all(|known| known.policy.root != policy.root) {
            roots.push(InRoot { name: Some(name.clone()), label: None, policy });
        }
    }
    if let [_, _, ..] = roots.as_slice() {
        for root in &mut roots {
            root.label = root.name.as_ref().map(|name| name.display().to_string());
        }
    }
    Ok(roots)
}

/// The policy in the one root filesystem that `named` names, or in the host's.
pub fn in_root(
    policy: Policy,
    named: &[PathBuf],
    machine: &Machine,
    quiet: bool,
) -> Result<Policy, RootError> {
    match named {
        [] => Ok(policy),
        [name, ..] => Ok(Policy { root: find_root(name, machine, quiet)?, ..policy }),
    }
}

/// The directory that a value of `--root` names or is unpacked to.
fn find_root(named: &Path, machine: &Machine, quiet: bool) -> Result<Root, RootError> {
    let tell = || {
        if !quiet {
            report::unpacking(named);
        }
    };
    let cache = machine.cache_directory();
    let found = root::find(&machine.directory.join(named), cache.as_deref(), &tell)?;
    let is_host = found.parent().is_none();
    // It is read outside of that root, where the link would lead elsewhere.
    if !is_host && found.join("etc").is_symlink() {
        return Err(RootError::Link(found.join("etc")));
    }
    Ok(if is_host { Root::Host } else { Root::Directory(found) })
}

/// Builds the project, unless it was built before. A warden starts before for each policy, while
/// this process is small. Signals are not taken over yet: one that ends this process ends a build.
pub fn build(
    policies: impl IntoIterator<Item = Policy>,
    request: &Request,
    reused: Option<&Reused>,
    config: &Config,
) -> Result<(Vec<SandboxBuilder>, discover::Project), PrepareError> {
    let wardens = policies.into_iter().map(SandboxBuilder::start).collect::<Result<_, _>>()?;
    let project = match reused {
        Some(reused) => reused.project()?,
        None => discover::discover(request)?,
    };
    config.check(project.workspace_root.as_std_path())?;
    Ok((wardens, project))
}

/// What selects cases: by name, and by filter expression.
#[derive(Clone, Copy)]
pub struct Selecting<'a> {
    /// By name.
    pub filter: &'a Filter,
    /// By filter expression.
    pub config: &'a Config,
    /// What is passed on to harnesses that are not libtest.
    pub passed_on: &'a [String],
    /// The number of binaries that are asked for their lists at once.
    pub jobs: usize,
}

/// Builds the template, asks the binaries for their lists, and selects.
pub fn select(
    builder: SandboxBuilder,
    project: &discover::Project,
    machine: &Machine,
    selecting: Selecting<'_>,
    signals: &Signals,
) -> Result<Prepared, PrepareError> {
    let mut factory = builder.build_for(project, machine)?;
    report::uncopied(&factory.project.uncopied);
    let lists = listing::list(&mut factory, project, selecting.jobs, signals)?;
    let selected = select_cases(selecting, &project.binaries, lists);
    check_passed_on(selecting.passed_on, &selected)?;
    Ok(Prepared { factory, selected })
}

/// Selects among the cases of all binaries. A program that is no harness takes part where its
/// own name is selected.
fn select_cases(
    selecting: Selecting<'_>,
    binaries: &[Binary],
    lists: Vec<Listed>,
) -> Vec<Selected> {
    let Selecting { filter, config, passed_on, .. } = selecting;
    let selected = binaries.iter().zip(lists).map(|(binary, list)| Selected {
        passed_on: match list.harness {
            Harness::Libtest => Vec::new(),
            Harness::Foreign | Harness::None => passed_on.to_vec(),
        },
        harness: list.harness,
        notes: list.notes,
        listed: list.cases.len(),
        selection: filter.select(list.cases, config.selection(binary)),
        binary: binary.clone(),
    });
    selected.filter(Selected::takes_part).collect()
}

/// What libtest does not know needs a harness that may. Where there are both it is told that libtest
/// is not given it: it may be a flag of libtest's that is spelt wrong.
fn check_passed_on(passed_on: &[String], selected: &[Selected]) -> Result<(), PrepareError> {
    let Some(first) = passed_on.first() else { return Ok(()) };
    let is_libtest = |selected: &Selected| selected.harness == Harness::Libtest;
    if selected.iter().all(is_libtest) {
        return Err(PrepareError::Unrecognized(first.clone()));
    }
    if selected.iter().any(is_libtest) {
        report::passed_on(passed_on);
    }
    Ok(())
}
