//! First steps of every command that needs a project's tests: build, list, select.

use isotest_core::policy::Policy;
use isotest_core::signals::Signals;

use crate::cli::Part;
use crate::config::machine::Machine;
use crate::config::{Config, LoadError};
use crate::discover::{self, Binary, BuildRequest, DiscoverError, Harness, Reused, filter::Filter};
use crate::report;
use crate::sandbox::factory::{FactoryError, SandboxBuilder, SandboxFactory};
use crate::select::listing::{self, BinaryList, ListingError};
use crate::select::selected::Selected;

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

/// The selected tests of a built project, and the sandboxes to run them in.
pub struct Prepared {
    /// The warden and what is planned with.
    pub factory: SandboxFactory,
    /// The binaries with their selected cases, in cargo's order.
    pub selected: Vec<Selected>,
}

/// The text that cargo prints after `Running`.
pub fn heading(binary: &Binary, machine: &Machine) -> String {
    let executable = machine.shown(binary.executable.as_std_path());
    format!("{} ({})", binary.description(), executable.display())
}

/// Message of exit code 4; `left_out` is true if a name has left out documentation tests.
pub fn nothing_selected(selected: &[Selected], part: Option<&Part>, left_out: bool) -> String {
    let documented = match left_out {
        true => {
            "\nhint: a name before `--` excludes documentation tests, as in cargo test; `-- NAME` \
             includes them, `--doc NAME` selects only them"
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

/// Builds the project, unless it was built before. A warden starts before for each policy, while
/// this process is small. Signals are not taken over yet: one that ends this process ends a build.
pub fn build(
    policies: impl IntoIterator<Item = Policy>,
    request: &BuildRequest,
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

/// Selection of cases: by name, and by filter expression.
#[derive(Clone, Copy)]
pub struct SelectOptions<'a> {
    /// By name.
    pub filter: &'a Filter,
    /// By filter expression.
    pub config: &'a Config,
    /// Options for harnesses that are not libtest.
    pub passed_on: &'a [String],
    /// The number of binaries that are asked for their lists at once.
    pub jobs: usize,
}

/// Builds the template, asks the binaries for their lists, and selects.
pub fn select(
    builder: SandboxBuilder,
    project: &discover::Project,
    machine: &Machine,
    selecting: SelectOptions<'_>,
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
    selecting: SelectOptions<'_>,
    binaries: &[Binary],
    lists: Vec<BinaryList>,
) -> Vec<Selected> {
    let SelectOptions { filter, config, passed_on, .. } = selecting;
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

/// Fails if libtest does not know an option and there is no other harness. If there are both, a
/// warning says that libtest does not get it: it may be a misspelt flag of libtest.
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
