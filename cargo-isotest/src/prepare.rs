//! What every command that looks at a project's tests does first: build, list, select.

use isotest_core::policy::{Policy, Root};
use isotest_core::signals::Signals;

use crate::discover::{self, Binary, Request, Selection, filter::Filter};
use crate::error::Error;
use crate::exposures;
use crate::listing::{self, Listed};
use crate::root;
use crate::sandboxes::{Sandboxes, Unbuilt};
use crate::settings::Machine;

/// A built project, its tests selected, and the sandboxes to run them in.
pub struct Prepared {
    /// The warden and what is planned with.
    pub sandboxes: Sandboxes,
    /// The project, without its binaries.
    pub project: discover::Project,
    /// The binaries with their selected cases, in cargo's order.
    pub selected: Vec<Selected>,
}

/// A binary with what was selected of it.
pub struct Selected {
    /// The binary.
    pub binary: Binary,
    /// Whether it is a test harness.
    pub harness: bool,
    /// How many cases it lists.
    pub listed: usize,
    /// Its selected cases.
    pub selection: Selection,
}

/// Makes a directory of what `--root` names.
pub fn find_root(policy: &mut Policy, machine: &Machine) -> Result<(), Error> {
    if let Root::Directory(named) = &policy.root {
        let found =
            root::find(&machine.directory.join(named), machine.cache_directory().as_deref())?;
        let is_host = found.parent().is_none();
        policy.root = if is_host { Root::Host } else { Root::Directory(found) };
    }
    Ok(())
}

/// Builds the project. The warden starts before, while this process is small. Signals are not
/// taken over yet: one that ends this process ends a build.
pub fn build(policy: &Policy, request: &Request) -> Result<(Unbuilt, discover::Project), Error> {
    let unbuilt = Unbuilt::start(policy.clone())?;
    Ok((unbuilt, discover::discover(request)?))
}

/// Builds the template, asks the binaries for their lists, and selects.
pub fn select(
    (unbuilt, mut project): (Unbuilt, discover::Project),
    machine: &Machine,
    filter: &Filter,
    jobs: usize,
    signals: &Signals,
) -> Result<Prepared, Error> {
    let shown = exposures::of_project(machine, unbuilt.host(), unbuilt.policy(), &project)?;
    let mut sandboxes = unbuilt.build(machine, shown)?;
    let binaries = std::mem::take(&mut project.binaries);
    let lists = listing::list(&mut sandboxes, &binaries, jobs, signals)?;
    let selected = select_cases(filter, binaries, lists);
    Ok(Prepared { sandboxes, project, selected })
}

/// Selects among the cases of all binaries. A program that is no harness takes part where its
/// own name is selected.
fn select_cases(filter: &Filter, binaries: Vec<Binary>, lists: Vec<Listed>) -> Vec<Selected> {
    let selected = binaries.into_iter().zip(lists).map(|(binary, list)| Selected {
        harness: list.harness,
        listed: list.cases.len(),
        selection: filter.select(list.cases),
        binary,
    });
    selected.filter(|selected| selected.harness || !selected.selection.cases.is_empty()).collect()
}
