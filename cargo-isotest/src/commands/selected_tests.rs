//! The selected tests of a run, in each of its root filesystems.

use std::io;

use isotest_core::case::Ignore;

use crate::cli::Unit;
use crate::config;
use crate::discover::{Binary, Harness, Project};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Reporter, Suite};
use crate::run::batch::{Batch, batches, needs};
use crate::run::context::{Cases, Context};
use crate::run::execute::{ExecuteError, execute};
use crate::run::policies::{self, Member, PolicyGroup};
use crate::run::rerun;
use crate::run::whole_binary;
use crate::sandbox::factory::SandboxBuilder;
use crate::sandbox::provision::{Provision, ProvisionError};
use crate::sandbox::roots::RootFilesystem;
use crate::sandbox::stored_layers::{Layers, LayersError};
use crate::select::prepare::{self, Prepared, SelectOptions};
use crate::select::selected::{Selected, case};
use crate::select::subset::RunSubset;
use crate::store::Durations;

/// The tests that run in all root filesystems.
#[derive(Default)]
pub struct SelectedTests<'a> {
    /// The cases, and the sandboxes that they run in.
    pub batches: Vec<Batch>,
    /// The binaries with their selected cases.
    pub selected: Vec<Selected>,
    /// The binaries, as the report needs them.
    pub suites: Vec<Suite>,
    /// The root filesystems in which tests run.
    pub in_roots: Vec<&'a RootFilesystem>,
    /// The root filesystems in which no test can run.
    pub refused: Option<RefusedRoots>,
}

/// Root filesystems of a run in which the tests cannot be listed.
pub struct RefusedRoots {
    /// Their names, in backticks.
    pub roots: Vec<String>,
    /// The exit code that says so.
    pub code: ExitCode,
}

impl<'a> SelectedTests<'a> {
    /// Lists and selects in each root filesystem. One of several in which the tests cannot be listed
    /// is told of, and has no batch: they may need what only the others have.
    pub fn select(
        context: Context<'_>,
        builders: Vec<SandboxBuilder>,
        roots: &'a [RootFilesystem],
        subset: RunSubset<'_>,
    ) -> Result<SelectedTests<'a>, Error> {
        let mut all = SelectedTests::default();
        for (builder, root) in builders.into_iter().zip(roots) {
            match (prepare(context, builder), &root.label) {
                (Ok(prepared), _) => all.add(context, prepared, root, subset)?,
                (Err(error @ (Error::Listing(_) | Error::Sandbox(_))), Some(label)) => {
                    all.refuse(label, &error);
                }
                (Err(error), _) => return Err(error),
            }
        }
        match (&all.refused, all.batches.as_slice()) {
            (Some(refused), []) => Err(Error::Refused(refused.code)),
            _ => Ok(all),
        }
    }

    /// Adds the tests of one root filesystem.
    fn add(
        &mut self,
        context: Context<'_>,
        prepared: Prepared,
        root: &'a RootFilesystem,
        subset: RunSubset<'_>,
    ) -> Result<(), Error> {
        let Prepared { factory, selected } = prepared;
        let first = self.selected.len();
        let selected = subset.narrow(selected, root.label.as_deref());
        let mut groups = policies::groups(context, &factory.policy, &selected, first);
        show_layers(context, &mut groups, &selected, first)?;
        self.batches.extend(batches(context, factory, groups)?);
        self.suites.extend(selected.iter().map(|selected| suite(context, selected, root)));
        self.selected.extend(selected);
        self.in_roots.push(root);
        Ok(())
    }

    /// Notes that no test runs in the root filesystem of this name.
    fn refuse(&mut self, label: &str, error: &Error) {
        let name = format!("`{label}`");
        report::error(&format_args!("cannot run tests in {name}: {error}"));
        let code = error.exit_code();
        let refused = self.refused.get_or_insert(RefusedRoots { roots: Vec::new(), code });
        refused.code = refused.code.or_refused(Some(code));
        refused.roots.push(name);
    }

    /// Runs the setup commands that the cases need; tells what of the configuration does not hold.
    pub fn provide(&self, context: Context<'_>) -> Result<Provision, ProvisionError> {
        let Context { settings, config, project, machine, signals } = context;
        let needed = needs(&self.batches, &self.selected);
        let provision = Provision::prepare(config, needed, project, machine, signals)?;
        if settings.unit == Unit::Binary {
            let members = self.batches.iter().flat_map(|batch| &batch.members);
            let whole = members.filter(|member| self.is_whole(member));
            report::unsupported_keys(&whole_binary::unsupported_keys(whole, settings.max_fail));
        }
        Ok(provision)
    }

    /// The case runs, with `--unit binary`, in one process with the others of its binary.
    fn is_whole(&self, member: &Member) -> bool {
        self.selected[member.index.binary].harness == Harness::Libtest
            && case(&self.selected, member.index).ignore == Ignore::No
    }
}

/// Shows the cases of each group their layers, of which those that are not kept are made. Cases that do
/// not run need none.
fn show_layers(
    context: Context<'_>,
    groups: &mut [PolicyGroup],
    selected: &[Selected],
    first: usize,
) -> Result<(), LayersError> {
    let Context { config, project, machine, signals, .. } = context;
    let layers = Layers { config, project, machine, signals };
    let runs = |member: &Member| {
        let index = member.index;
        selected[index.binary - first].selection.cases[index.case].ignore == Ignore::No
    };
    for group in groups.iter_mut().filter(|group| group.members.iter().any(runs)) {
        group.policy = layers.provide(group.policy.clone(), &group.layers)?;
    }
    Ok(())
}

/// Lists and selects in one root filesystem.
fn prepare(context: Context<'_>, builder: SandboxBuilder) -> Result<Prepared, Error> {
    let Context { settings, config, project, machine, signals } = context;
    let (filter, jobs) = (&settings.filter, settings.jobs);
    let selecting = SelectOptions { filter, config, passed_on: &settings.passed_on, jobs };
    Ok(prepare::select(builder, project, machine, selecting, signals)?)
}

/// The report of these tests, on stdout and stderr.
pub fn reporter(context: Context<'_>, suites: Vec<Suite>, selected: &[Selected]) -> Reporter {
    let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
    let mut reporter = Reporter::new(suites, context.settings.report, stdout, stderr);
    reporter.take_grants(policies::grants(context.config, selected));
    reporter
}

/// Runs the tests, and reports each.
pub fn run_and_report(
    context: Context<'_>,
    batches: &mut [Batch],
    cases: Cases<'_>,
    durations: &mut Durations,
    reporter: Reporter,
) -> Result<Reporter, ExecuteError> {
    let mut reporter = execute(context, batches, cases, durations, reporter)?;
    reporter.end().map_err(ExecuteError::Report)?;
    tell_not_written(batches);
    Ok(reporter)
}

/// Tells which files could not be put into the project when the tests had ended.
pub fn tell_not_written(batches: &[Batch]) {
    let plans = batches.iter().filter_map(|batch| batch.factory.write_back.as_ref());
    plans.flat_map(|plan| plan.failed()).for_each(|finding| report::warning(&finding));
}

/// The command that runs a suite again names its root filesystem, also where it is the only one,
/// and the profile.
fn suite(context: Context<'_>, selected: &Selected, root: &RootFilesystem) -> Suite {
    let Context { settings, config, machine, .. } = context;
    let layers = config::rows(&root.policy, &config.sources());
    let binary = &selected.binary;
    let behind = root.label.as_ref().map_or(String::new(), |label| format!(" in {label}"));
    let name = root.name.as_ref().map(|name| report::quoted(&name.to_string_lossy()));
    let flag = name.map_or(String::new(), |name| format!("--root {name} "));
    let flags: String =
        config.flags().iter().map(|flag| format!("{flag} ")).chain([flag]).collect();
    Suite {
        heading: format!("{}{behind}", prepare::heading(binary, machine)),
        id: binary.id.clone(),
        package: binary.package_name.clone(),
        target: binary.target_name.clone(),
        kind: binary.kind.as_str().to_owned(),
        source: source(binary, context.project),
        rerun: format!("{flags}{}", binary.rerun_flag),
        again: rerun::before(settings, config, root, binary),
        again_behind: settings.rerun.behind.iter().map(|flag| (*flag).to_owned()).collect(),
        passed_on: selected.passed_on.clone(),
        root: root.label.clone(),
        layers: layers.into_iter().map(|row| (row.name.to_owned(), row.value)).collect(),
        harness: selected.harness != Harness::None,
        notes: selected.notes.clone(),
        cases: selected.selection.cases.clone(),
        filtered_out: selected.selection.filtered_out,
        shared: settings.unit == Unit::Binary && selected.harness == Harness::Libtest,
    }
}

/// The main source file of a binary, relative to the workspace.
fn source(binary: &Binary, project: &Project) -> String {
    if binary.source.as_str().is_empty() {
        return String::new();
    }
    let path = binary.working_directory.join(&binary.source);
    path.strip_prefix(&project.workspace_root).map_or(String::new(), |path| path.to_string())
}
