//! `cargo isotest run`: builds the project's tests and runs each in a sandbox of its own.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use isotest_core::schedule::Repeat;
use isotest_core::signals::Signals;

use crate::cli::{NoTests, PackageScope, Part, RunCommand, Unit};
use crate::commands::build::Build;
use crate::commands::debug::{self, Tool};
use crate::commands::kept_diagnoses::known_diagnoses;
use crate::commands::prove::{ProveOptions, prove_new};
use crate::commands::quarantine;
use crate::commands::recorded;
use crate::commands::selected_tests::{
    RefusedRoots, SelectedTests, reporter, run_and_report, tell_not_written,
};
use crate::config::machine::Machine;
use crate::config::settings::Settings;
use crate::config::{Config, FlagValues};
use crate::discover::Project;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, DoctestSummary, ReportFileError, Reporter, Stress, Suite, Summary};
use crate::run::context::{Cases, Context};
use crate::run::execute::execute;
use crate::run::gates::{self, Gates};
use crate::run::kept::Kept;
use crate::run::{doctests, explanations, traced};
use crate::sandbox::factory::SandboxBuilder;
use crate::sandbox::roots::{self, RootFilesystem};
use crate::sandbox::trial;
use crate::select::partition;
use crate::select::prepare;
use crate::select::selected::Selected;
use crate::select::subset::RunSubset;
use crate::select::unfinished::Unfinished;
use crate::store::{Durations, Index, Store, StoreError};

/// Modes of a run.
enum Mode<'a> {
    /// `--doc`: runs the documentation tests alone.
    Doctests,
    /// `--no-run`: builds, and names the test binaries.
    NoRun,
    /// `-- --list`: lists the tests as libtest does.
    List,
    /// `--debugger`, `--tracer`: runs one test under another command.
    Debug(Tool<'a>),
    /// `--stress-count`, `--stress-duration`: runs the tests again and again.
    Stress,
    /// Runs the tests.
    Run,
}

impl<'a> Mode<'a> {
    fn of(command: &'a RunCommand) -> Mode<'a> {
        match Tool::of(command) {
            _ if command.cargo.doc => Mode::Doctests,
            _ if command.run.no_run => Mode::NoRun,
            _ if command.libtest.list => Mode::List,
            Some(tool) => Mode::Debug(tool),
            None if command.run.repeat() != Repeat::Once => Mode::Stress,
            None => Mode::Run,
        }
    }
}

/// Runs the project's tests as the command line says.
pub fn run(command: &RunCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let repeated = match &command.of {
        Some(run) if !command.reuse.is_reused() => recorded::repeat(command, run, machine)?,
        Some(_) | None => command.clone(),
    };
    let command = &repeated;
    let part = partition::resolve(command.libtest.partition, machine)?;
    let build = Build::open(&command.reuse, &command.cargo, machine)?;
    let config = config(command, &build)?;
    let mut settings = Settings::of_run(command, config.values(), machine)?;
    settings.policy = trial::weaken(settings.policy, &settings.layers.allow_weaker(), machine);
    let (named, quiet) = (settings.layers.roots(), command.cargo.quiet);
    let roots = roots::in_roots(&settings.policy, &named, machine, quiet)?;
    let run = Run { command, machine, part, build, config, settings, roots };
    match Mode::of(command) {
        Mode::Doctests => run.doctests(),
        Mode::NoRun => run.executables(),
        Mode::List => run.list(),
        Mode::Debug(tool) => run.debug(tool),
        Mode::Stress => run.stress(),
        Mode::Run => run.tests(),
    }
}

/// The configuration, with the flags by which another run is the same.
fn config(command: &RunCommand, build: &Build<'_>) -> Result<Config, Error> {
    let given = FlagValues {
        run_options: Some(&command.run_options()),
        filterset: Some(&command.filterset),
        ..FlagValues::of(&command.layers, &command.config)
    };
    let mut config = build.config(given)?;
    config.take_flags(build.flags());
    config.take_flags(command.run.deny_flag());
    config.take_flags((command.run.unit == Unit::Binary).then(|| "--unit binary".to_owned()));
    Ok(config)
}

/// All that a run is asked for.
struct Run<'a> {
    command: &'a RunCommand,
    machine: &'a Machine,
    /// The part of the selected tests that runs.
    part: Option<Part>,
    build: Build<'a>,
    config: Config,
    settings: Settings,
    /// The root filesystems in which tests run.
    roots: Vec<RootFilesystem>,
}

/// A project that is built.
struct BuiltProject {
    project: Project,
    signals: Signals,
    /// Durations in earlier runs.
    durations: Durations,
    /// The only tests that run: those that have failed before.
    unfinished: Option<Unfinished>,
    /// Recorded runs.
    store: Store,
}

impl Run<'_> {
    /// Builds the project. A warden is started before, for each root filesystem.
    fn build(&self) -> Result<(Vec<SandboxBuilder>, Project), Error> {
        let policies = self.roots.iter().map(|root| root.policy.clone());
        let (request, reused) = (&self.settings.request, self.build.reused());
        Ok(prepare::build(policies, request, reused, &self.config)?)
    }

    /// Builds the project, then takes over the signals and reads what has failed before.
    fn begin(&self) -> Result<(Vec<SandboxBuilder>, BuiltProject), Error> {
        let (builders, project) = self.build()?;
        let signals = Signals::listen().map_err(Error::Host)?;
        let store = Store::of(project.target_directory.as_std_path());
        let Index { durations, failed, .. } = store.index();
        let unfinished = match &self.command.of {
            Some(run) => Some(recorded::unfinished(&store, run, self.machine)?),
            None if self.command.run.rerun_failed => {
                let failed = Unfinished::from(failed);
                if failed.is_empty() {
                    return Err(StoreError::NoFailures(store.path().to_owned()).into());
                }
                Some(failed)
            }
            None => None,
        };
        Ok((builders, BuiltProject { project, signals, durations, unfinished, store }))
    }

    /// The surroundings of this run of the built project.
    fn context<'b>(&'b self, project: &'b Project, signals: &'b Signals) -> Context<'b> {
        let Run { settings, config, machine, .. } = self;
        Context { settings, config, project, machine, signals }
    }

    /// The part of the selected tests that runs.
    fn subset<'b>(&self, failed: Option<&'b Unfinished>) -> RunSubset<'b> {
        RunSubset { part: self.part, failed }
    }

    /// Lists and selects the tests.
    fn select(
        &self,
        context: Context<'_>,
        builders: Vec<SandboxBuilder>,
        failed: Option<&Unfinished>,
    ) -> Result<SelectedTests<'_>, Error> {
        SelectedTests::select(context, builders, &self.roots, self.subset(failed))
    }

    /// Documentation tests are run, too.
    fn has_doctests(&self, project: &Project, failed: Option<&Unfinished>) -> bool {
        project.has_doctests
            && self.command.cargo.selects_doctests()
            && !self.config.selects_by_expression()
            && self.subset(failed).has_doctests()
    }

    /// Runs the documentation tests in these root filesystems. `take` is given what rustdoc prints.
    fn run_doctests<'r>(
        &self,
        roots: impl IntoIterator<Item = &'r RootFilesystem>,
        signals: &Signals,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<DoctestSummary, Error> {
        Ok(doctests::run(self.command, &self.settings, roots, self.machine, signals, take)?)
    }

    /// Runs the documentation tests alone.
    fn doctests(&self) -> Result<ExitCode, Error> {
        // rustdoc's harness is libtest.
        if let Some(option) = self.settings.passed_on.first() {
            return Err(Error::Unrecognized(option.clone()));
        }
        let signals = Signals::listen().map_err(Error::Host)?;
        Ok(ExitCode::NothingToRun.with(self.run_doctests(&self.roots, &signals, &mut |_| ())?))
    }

    /// Builds, and names the test binaries as cargo does with `--no-run`.
    fn executables(&self) -> Result<ExitCode, Error> {
        let (_, project) = self.build()?;
        let options = &self.settings.report;
        for binary in project.binaries.iter().filter(|_| !options.quiet) {
            let heading = prepare::heading(binary, self.machine);
            report::executable(&heading, options.style.stderr_colour, &mut io::stderr())
                .map_err(Error::Report)?;
        }
        Ok(ExitCode::Passed)
    }

    /// Lists the tests as libtest does.
    fn list(&self) -> Result<ExitCode, Error> {
        let (builders, BuiltProject { project, signals, unfinished, .. }) = self.begin()?;
        let context = self.context(&project, &signals);
        let tests = self.select(context, builders, unfinished.as_ref())?;
        report::lists_as_libtest(&tests.suites, self.settings.report.format)
            .map_err(Error::Report)?;
        if self.has_doctests(&project, unfinished.as_ref()) {
            self.run_doctests(tests.in_roots.iter().copied(), &signals, &mut |_| ())?;
        }
        Ok(or_refused(ExitCode::Passed, tests.refused.as_ref()))
    }

    /// Runs the one selected test under another command.
    fn debug(&self, tool: Tool<'_>) -> Result<ExitCode, Error> {
        let (builders, BuiltProject { project, signals, unfinished, .. }) = self.begin()?;
        let context = self.context(&project, &signals);
        let mut tests = self.select(context, builders, unfinished.as_ref())?;
        // Before any setup command is run for it.
        let debugged = debug::find(tool, &tests.batches, &tests.selected)?;
        let provision = tests.provide(context)?;
        let gates = Gates::default();
        let cases =
            Cases { selected: &tests.selected, provision: &provision, gates: &gates, kept: None };
        debug::run(context, &debugged, &mut tests.batches, cases)
    }

    /// Runs the tests again and again, and counts.
    fn stress(&self) -> Result<ExitCode, Error> {
        let (builders, built) = self.begin()?;
        let BuiltProject { project, signals, mut durations, unfinished, .. } = built;
        let context = self.context(&project, &signals);
        let mut tests = self.select(context, builders, unfinished.as_ref())?;
        let provision = tests.provide(context)?;
        let gates = Gates::default();
        let cases =
            Cases { selected: &tests.selected, provision: &provision, gates: &gates, kept: None };
        let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
        let stress = Stress::new(tests.suites, self.settings.report, stdout, stderr);
        let stress = execute(context, &mut tests.batches, cases, &mut durations, stress)?;
        let summary = stress.finish().map_err(Error::Report)?;
        tell_not_written(&tests.batches);
        Ok(ExitCode::of_run(&summary))
    }

    /// Runs the tests, then the documentation tests, and explains what failed.
    fn tests(&self) -> Result<ExitCode, Error> {
        let (builders, built) = self.begin()?;
        let BuiltProject { project, signals, mut durations, unfinished, store } = built;
        let context = self.context(&project, &signals);
        let has_doctests = self.has_doctests(&project, unfinished.as_ref());
        let tests = self.select(context, builders, unfinished.as_ref())?;
        let provision = tests.provide(context)?;
        let SelectedTests { mut batches, selected, suites, in_roots, refused } = tests;
        let kept = self.keep(&project)?;
        let mut gates = self.gates(&store, &selected, unfinished.as_ref());
        if let Some(options) = self.proving() {
            let none = Gates::default();
            let cases =
                Cases { selected: &selected, provision: &provision, gates: &none, kept: None };
            let base = (&store, &mut durations, options);
            prove_new(context, &mut batches, &selected, cases, base, &mut gates)?;
        }
        let cases = Cases {
            selected: &selected,
            provision: &provision,
            gates: &gates,
            kept: kept.as_ref(),
        };
        let mut reporter = self.reporter(context, suites, &selected)?;
        reporter = reporter.with_binary_hashes(traced::hashes(self.settings.trace, &selected));
        reporter = reporter.with_diagnoses(known_diagnoses(context, &selected));
        let mut recorded = None;
        if self.settings.record {
            (reporter, recorded) =
                recorded::record(reporter, &store, &project, self.command.recorded_options());
        }
        let mut reporter = run_and_report(context, &mut batches, cases, &mut durations, reporter)?;
        let in_roots = if has_doctests && self.goes_on(&reporter) { in_roots } else { Vec::new() };
        let mut take = |bytes: &[u8]| reporter.take_documentation(bytes);
        let doctests = self.run_doctests(in_roots, &signals, &mut take)?;
        let reruns = explanations::explain(context, &mut reporter, batches, cases)?;
        if let Some(id) = &recorded {
            recorded::index(&store, id, &durations, &mut reporter);
        }
        if self.command.run.unit == Unit::Test {
            let gone = gates::gone(&self.config.baseline, &reporter);
            reporter.take_gone(gone);
        }
        let summary = reporter.finish(reruns, doctests).map_err(Error::Report)?;
        if reporter.traced() > 0 && !self.settings.report.quiet {
            report::traced(reporter.traced());
        }
        if recorded.is_some() {
            recorded::finish(&mut reporter, &store, self.settings.record_limits);
        }
        write_files(&mut reporter)?;
        kept.iter().for_each(|kept| tell_kept(kept));
        let code = self.exit_code(&summary, doctests, &selected, &project);
        tell_refused(refused.as_ref());
        Ok(or_refused(code, refused.as_ref()))
    }

    /// The directory in which failed tests leave what they have written.
    fn keep(&self, project: &Project) -> Result<Option<Arc<Kept>>, Error> {
        if !self.command.run.keep {
            return Ok(None);
        }
        let target = project.target_directory.as_std_path();
        let now = DateTime::<Utc>::from(SystemTime::now()).format("%Y%m%d-%H%M%S").to_string();
        let kept = Kept::make(target, &now);
        Ok(Some(Arc::new(kept.map_err(|error| Error::Keep(target.to_owned(), error))?)))
    }

    /// How new tests are proved, where they are.
    fn proving(&self) -> Option<ProveOptions<'_>> {
        let run = &self.command.run;
        let against = run.prove_against.as_deref();
        run.prove_new.map(|runs| ProveOptions { against, runs })
    }

    /// The gates of these tests.
    fn gates(&self, store: &Store, selected: &[Selected], failed: Option<&Unfinished>) -> Gates {
        let cargo = &self.command.cargo;
        let is_whole = cargo.package_scope() == PackageScope::Workspace
            || (cargo.package_scope() == PackageScope::Default && self.config.packages.len() == 1);
        let knows_all =
            is_whole && cargo.selects_doctests() && self.part.is_none() && failed.is_none();
        quarantine::gates(&self.config, store, selected, knows_all, SystemTime::now())
    }

    /// The report of the tests, with all files that it writes.
    fn reporter(
        &self,
        context: Context<'_>,
        suites: Vec<Suite>,
        selected: &[Selected],
    ) -> Result<Reporter, Error> {
        let Context { settings, project, .. } = context;
        let mut reporter = reporter(context, suites, selected);
        if let Some(workflow) = &settings.workflow {
            let workspace = project.workspace_root.as_std_path();
            let told = reporter.with_github(workflow.clone(), workspace);
            reporter = told.map_err(Error::Report)?;
        }
        // The target directory is often in the workspace, and may be a link of the user's own.
        let roots = [&project.target_directory, &project.workspace_root];
        let roots = roots.map(|root| root.as_std_path());
        if let Some(path) = &settings.sarif {
            let workspace = project.workspace_root.as_std_path();
            let workflow = settings.workflow.as_ref();
            let repository = workflow.and_then(|workflow| workflow.repository.as_deref());
            reporter = reporter.with_sarif(path, &roots, workspace, repository)?;
        }
        if let Some(path) = &settings.junit {
            reporter = reporter.with_junit(path, &roots, &properties(settings, self.part))?;
        }
        Ok(reporter)
    }

    /// Neither a signal nor failures have ended the run.
    fn goes_on(&self, reporter: &Reporter) -> bool {
        reporter.interrupted().is_none() && !self.settings.is_over(reporter.failures())
    }

    /// The exit code of the finished run. Where nothing ran, says why.
    fn exit_code(
        &self,
        summary: &Summary,
        doctests: DoctestSummary,
        selected: &[Selected],
        project: &Project,
    ) -> ExitCode {
        let code = ExitCode::of_run(summary).with(doctests);
        if code != ExitCode::NothingToRun {
            return code;
        }
        let left_out = project.has_doctests && self.command.cargo.leaves_out_doctests();
        let nothing = prepare::nothing_selected(selected, self.part.as_ref(), left_out);
        match self.command.run.no_tests {
            NoTests::Auto | NoTests::Fail => {
                report::error(&nothing);
                code
            }
            NoTests::Warn => {
                report::warning(&nothing);
                ExitCode::Passed
            }
            NoTests::Pass => ExitCode::Passed,
        }
    }
}

/// Tells where the files of failed tests are kept.
fn tell_kept(kept: &Kept) {
    let (attempts, failed) = kept.finish();
    if attempts > 0 {
        report::kept_files(attempts, &kept.path());
    }
    if let Some((label, error)) = failed {
        let path = kept.path();
        let path = path.display();
        report::warning(&format_args!("the files of {label} cannot be kept in {path}: {error}"));
    }
}

/// Tells in which root filesystems no test ran. The reasons stand far above.
fn tell_refused(refused: Option<&RefusedRoots>) {
    if let Some(RefusedRoots { roots, .. }) = refused {
        report::error(&format_args!("no tests ran in {}", roots.join(", ")));
    }
}

/// The same code, unless root filesystems were refused.
fn or_refused(code: ExitCode, refused: Option<&RefusedRoots>) -> ExitCode {
    code.or_refused(refused.map(|refused| refused.code))
}

/// Writes the step summary of GitHub Actions and the reports in files, where they are asked for.
fn write_files(reporter: &mut Reporter) -> Result<(), ReportFileError> {
    if let Err(error) = reporter.summarize() {
        report::not_summarized(&error);
    }
    reporter.write_files()
}

/// Properties of the whole run in a JUnit report.
fn properties(settings: &Settings, part: Option<Part>) -> Vec<(&'static str, String)> {
    let seed = settings.shuffle.map(|seed| ("isotest.shuffle-seed", seed.to_string()));
    let part = part.map(|part| ("isotest.partition", part.to_string()));
    seed.into_iter().chain(part).collect()
}
