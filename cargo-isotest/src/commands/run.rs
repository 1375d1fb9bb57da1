//! `cargo isotest run`: [`prepare`], plan, run, report.

use std::io;

use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::policy::Policy;
use isotest_core::schedule::Repeat;
use isotest_core::signals::Signals;

use crate::archive;
use crate::cli::{NoTests, Part, RunCommand, Unit};
use crate::commands::debug::{self, Tool};
use crate::config::machine::Machine;
use crate::config::settings::Settings;
use crate::config::{self, Config, Given};
use crate::discover::{Harness, Project, Reused};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{
    self, Documented, Options, Reporter, SecondLook, Stress, Suite, Summary, Trace, Withheld,
};
use crate::run::batch::{Batch, batches, needs};
use crate::run::doctests;
use crate::run::execute::execute;
use crate::run::policies::{self, Member};
use crate::run::rerun;
use crate::run::rerun_variants::second_look;
use crate::run::traces::{Unexplained, traces};
use crate::run::unit;
use crate::run::withheld::withheld;
use crate::sandbox::factory::SandboxBuilder;
use crate::sandbox::provision::Provision;
use crate::sandbox::trial;
use crate::select::last_run::LastRun;
use crate::select::narrow::Narrowing;
use crate::select::partition;
use crate::select::prepare::{self, InRoot, Prepared, Selected, Selecting, case};
use crate::select::remembered::Durations;

/// Builds the project's tests and runs each in a sandbox of its own.
pub fn run(command: &RunCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let part = partition::resolve(command.libtest.partition, machine)?;
    let opened = archive::open(&command.reuse, machine, command.cargo.quiet)?;
    let reused = opened.as_ref().map(|opened| &opened.build);
    let mut config = config(command, reused, machine)?;
    config.take_flags(opened.iter().flat_map(|opened| opened.flags.iter().cloned()));
    config.take_flags((command.run.unit == Unit::Binary).then(|| "--unit binary".to_owned()));
    let mut settings = Settings::of_run(command, config.values(), machine)?;
    settings.policy = trial::weaken(settings.policy, &settings.layers.allow_weaker(), machine);
    let named = &settings.layers.roots();
    let roots = prepare::in_roots(&settings.policy, named, machine, command.cargo.quiet)?;
    if command.cargo.doc {
        // rustdoc's harness is libtest.
        if let Some(option) = settings.passed_on.first() {
            return Err(Error::Unrecognized(option.clone()));
        }
        let signals = Signals::listen().map_err(Error::Host)?;
        let documented = doctests::run(command, &settings, roots.iter(), machine, &signals)?;
        return Ok(ExitCode::NothingToRun.with(documented));
    }
    let policies = roots.iter().map(|root| root.policy.clone());
    let (wardens, project) = prepare::build(policies, &settings.request, reused, &config)?;
    if command.run.no_run {
        return executables(&project, settings.report, machine);
    }
    let signals = Signals::listen().map_err(Error::Host)?;
    let mut last_run = LastRun::read(project.target_directory.as_std_path());
    if command.run.rerun_failed {
        last_run.check()?;
    }
    let narrowing = Narrowing { part, failed: command.run.rerun_failed.then_some(&last_run) };
    let Batches { mut batches, selected, suites, in_roots: in_all, refused } =
        prepare_all(wardens, &roots, &project, (&settings, &config), narrowing, machine, &signals)?;
    if let (Some(refused), []) = (&refused, batches.as_slice()) {
        return Ok(refused.code);
    }
    let left_out = project.has_doctests && command.cargo.leaves_out_doctests();
    let documented = project.has_doctests
        && command.cargo.selects_doctests()
        && !config.selects_by_expression()
        && narrowing.has_doctests();
    if command.libtest.list {
        report::lists_as_libtest(&suites, settings.report.format).map_err(Error::Report)?;
        if documented {
            doctests::run(command, &settings, in_all, machine, &signals)?;
        }
        return Ok(ExitCode::Passed.or_refused(refused.map(|refused| refused.code)));
    }
    // Before any setup command is run for it.
    let tool = Tool::of(command);
    let debugged = tool.map(|tool| debug::find(tool, &batches, &selected)).transpose()?;
    let needed = needs(&batches, &selected);
    let provision = Provision::prepare(&config, needed, &project, machine, &signals)?;
    if settings.unit == Unit::Binary {
        report::unheeded(&unheeded(&batches, &selected, &settings));
    }
    if let Some(debugged) = debugged {
        let needed = (selected.as_slice(), &provision);
        return debug::run(&debugged, &mut batches, needed, machine, &signals);
    }
    let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
    let mut durations = Durations::read(&project);
    let needed = (selected.as_slice(), &provision);
    if settings.repeat != Repeat::Once {
        let stress = Stress::new(suites, settings.report, stdout, stderr);
        let stress =
            execute(&settings, &mut batches, needed, &mut durations, (machine, &signals), stress)?;
        let summary = stress.finish().map_err(Error::Report)?;
        tell_not_written(&batches);
        return Ok(ExitCode::of_run(&summary));
    }
    let mut reporter = Reporter::new(suites, settings.report, stdout, stderr);
    reporter.take_grants(policies::grants(&config, &selected));
    if let Some(workflow) = &settings.workflow {
        let workspace = project.workspace_root.as_std_path();
        let told = reporter.with_github(workflow.clone(), workspace);
        reporter = told.map_err(Error::Report)?;
    }
    if let Some(path) = &settings.junit {
        // The target directory is often in the workspace, and may be a link of the user's own.
        let roots = [&project.target_directory, &project.workspace_root];
        let roots = roots.map(|root| root.as_std_path());
        reporter = reporter.with_junit(path, &roots, &properties(&settings, part))?;
    }
    let mut reporter =
        execute(&settings, &mut batches, needed, &mut durations, (machine, &signals), reporter)?;
    durations.write();
    reporter.end().map_err(Error::Report)?;
    tell_not_written(&batches);
    let goes_on = reporter.interrupted().is_none() && !settings.is_over(reporter.failures());
    let documented = match documented && goes_on {
        true => doctests::run(command, &settings, in_all, machine, &signals)?,
        false => Documented::default(),
    };
    reporter.take_traces(named_by(&reporter, &selected, &batches, machine));
    let needed = (selected.as_slice(), &provision);
    let second_look = match settings.unit {
        Unit::Test => look_again(batches, machine, needed, &reporter.failed(), &signals)?,
        // Alone a test passes that another one of its process makes fail.
        Unit::Binary => SecondLook::default(),
    };
    reporter.take_withheld(missed(&reporter, &selected, &settings.policy, machine));
    last_run.update(&reporter);
    match last_run.write() {
        Ok(()) => reporter.take_recorded(last_run.recorded(&reporter)),
        Err(error) => report::not_kept(&error),
    }
    let summary = reporter.finish(second_look, documented).map_err(Error::Report)?;
    if let Err(error) = reporter.summarize() {
        report::not_summarized(&error);
    }
    reporter.write_junit()?;
    let mut code = ExitCode::of_run(&summary).with(documented);
    if code == ExitCode::NothingToRun {
        let nothing = prepare::nothing_selected(&selected, part.as_ref(), left_out);
        code = match command.run.no_tests {
            NoTests::Auto | NoTests::Fail => {
                report::error(&nothing);
                code
            }
            NoTests::Warn => {
                report::warning(&nothing);
                ExitCode::Passed
            }
            NoTests::Pass => ExitCode::Passed,
        };
    }
    // The reasons stand far above.
    if let Some(Refused { roots, .. }) = &refused {
        report::error(&format_args!("no test was run in {}", roots.join(", ")));
    }
    Ok(code.or_refused(refused.map(|refused| refused.code)))
}

/// Runs what is selected of binaries that cargo has built, in one root filesystem, and reports it
/// as the settings say. `None` where it is no harness: nothing has been run.
pub fn run_built(
    builder: SandboxBuilder,
    root: InRoot,
    project: &Project,
    (settings, config): (&Settings, &Config),
    machine: &Machine,
    signals: &Signals,
) -> Result<Option<Summary>, Error> {
    let roots = [root];
    let narrowing = Narrowing { part: None, failed: None };
    let (wardens, asked) = (vec![builder], (settings, config));
    let Batches { mut batches, selected, suites, .. } =
        prepare_all(wardens, &roots, project, asked, narrowing, machine, signals)?;
    if selected.iter().all(|selected| selected.harness == Harness::None) {
        report::lists(&suites, settings.report.look.stderr_colour);
        return Ok(None);
    }
    let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
    let mut reporter = Reporter::new(suites, settings.report, stdout, stderr);
    reporter.take_grants(policies::grants(config, &selected));
    let mut durations = Durations::read(project);
    let needed = needs(&batches, &selected);
    let provision = Provision::prepare(config, needed, project, machine, signals)?;
    let needed = (selected.as_slice(), &provision);
    let mut reporter =
        execute(settings, &mut batches, needed, &mut durations, (machine, signals), reporter)?;
    durations.write();
    reporter.end().map_err(Error::Report)?;
    tell_not_written(&batches);
    reporter.take_traces(named_by(&reporter, &selected, &batches, machine));
    let needed = (selected.as_slice(), &provision);
    let second_look = look_again(batches, machine, needed, &reporter.failed(), signals)?;
    reporter.take_withheld(missed(&reporter, &selected, &settings.policy, machine));
    reporter.finish(second_look, Documented::default()).map(Some).map_err(Error::Report)
}

/// Names the test binaries, as cargo does with `--no-run`.
fn executables(project: &Project, options: Options, machine: &Machine) -> Result<ExitCode, Error> {
    let colour = options.look.stderr_colour;
    for binary in project.binaries.iter().filter(|_| !options.quiet) {
        let heading = prepare::heading(binary, machine);
        report::executable(&heading, colour, &mut io::stderr()).map_err(Error::Report)?;
    }
    Ok(ExitCode::Passed)
}

/// Tells which files could not be put into the project when the tests had ended.
fn tell_not_written(batches: &[Batch]) {
    let plans = batches.iter().filter_map(|batch| batch.factory.write_back.as_ref());
    plans.flat_map(|plan| plan.failed()).for_each(|finding| report::warning(&finding));
}

/// What is asked for, by whom.
fn config(
    command: &RunCommand,
    reused: Option<&Reused>,
    machine: &Machine,
) -> Result<Config, Error> {
    let given = Given {
        layers: &command.layers,
        course: Some(&command.course()),
        profile: command.config.profile.as_deref(),
        filterset: Some(&command.filterset),
        reused,
    };
    Ok(Config::load(given, &command.cargo, machine)?)
}

/// What runs in all of them.
struct Batches<'a> {
    batches: Vec<Batch>,
    selected: Vec<Selected>,
    /// What is told of each that was selected.
    suites: Vec<Suite>,
    /// The root filesystems in which tests run.
    in_roots: Vec<&'a InRoot>,
    refused: Option<Refused>,
}

/// Those of several root filesystems in which the tests cannot be listed.
struct Refused {
    /// Their names, in backticks.
    roots: Vec<String>,
    /// The exit code that says so.
    code: ExitCode,
}

/// Lists and selects in each root filesystem. One of several in which the tests cannot be listed
/// is told of, and has no batch: they may need what only the others have.
fn prepare_all<'a>(
    wardens: Vec<SandboxBuilder>,
    roots: &'a [InRoot],
    project: &Project,
    (settings, config): (&Settings, &Config),
    narrowing: Narrowing<'_>,
    machine: &Machine,
    signals: &Signals,
) -> Result<Batches<'a>, Error> {
    let mut all = Batches {
        batches: Vec::new(),
        selected: Vec::new(),
        suites: Vec::new(),
        in_roots: Vec::new(),
        refused: None,
    };
    for (builder, root) in wardens.into_iter().zip(roots) {
        let (filter, passed_on) = (&settings.filter, settings.passed_on.as_slice());
        let selecting = Selecting { filter, config, passed_on };
        let prepared =
            prepare::select(builder, project, machine, selecting, settings.jobs, signals);
        let Prepared { factory, selected } = match (prepared.map_err(Error::from), &root.label) {
            (Ok(prepared), _) => prepared,
            (Err(error @ (Error::Listing(_) | Error::Sandbox(_))), Some(label)) => {
                let name = format!("`{label}`");
                report::error(&format_args!("no test is run in {name}: {error}"));
                let code = error.exit_code();
                let known = all.refused.get_or_insert(Refused { roots: Vec::new(), code });
                known.code = known.code.or_refused(Some(code));
                known.roots.push(name);
                continue;
            }
            (Err(error), _) => return Err(error),
        };
        let first = all.selected.len();
        let selected = narrowing.narrow(selected, root.label.as_deref());
        let groups = policies::groups(config, &factory.policy, &selected, first, machine);
        all.batches.extend(batches(factory, groups, project, machine)?);
        all.suites.extend(
            selected.iter().map(|selected| suite(selected, root, (settings, config), machine)),
        );
        all.selected.extend(selected);
        all.in_roots.push(root);
    }
    Ok(all)
}

/// What of the configuration does not hold, since binaries run as a whole.
fn unheeded(
    batches: &[Batch],
    selected: &[Selected],
    settings: &Settings,
) -> Vec<(&'static str, &'static str)> {
    let is_whole = |member: &&Member| {
        selected[member.index.binary].harness == Harness::Libtest
            && case(selected, member.index).ignore == Ignore::No
    };
    let members = batches.iter().flat_map(|batch| &batch.members).filter(is_whole);
    unit::unheeded(members, settings.max_fail)
}

/// The second look in each batch.
fn look_again(
    batches: Vec<Batch>,
    machine: &Machine,
    needed: (&[Selected], &Provision),
    failed: &[CaseIndex],
    signals: &Signals,
) -> Result<SecondLook, Error> {
    let mut all = SecondLook::default();
    for Batch { factory, members } in batches {
        let members = members.into_iter();
        let failed: Vec<Member> = members.filter(|one| failed.contains(&one.index)).collect();
        let (policy, shown) = (factory.policy.clone(), factory.project());
        drop(factory);
        let SecondLook { flaky, hints } =
            second_look(&policy, machine, &shown, needed, failed, signals).map_err(Error::Host)?;
        all.flaky.extend(flaky);
        for hint in hints {
            match all.hints.iter_mut().find(|known| known.flag == hint.flag) {
                Some(known) => known.cases.extend(hint.cases),
                None => all.hints.push(hint),
            }
        }
    }
    Ok(all)
}

/// What the programs name of which a test has failed, with nothing to explain it.
fn named_by(
    reporter: &Reporter,
    selected: &[Selected],
    batches: &[Batch],
    machine: &Machine,
) -> Vec<Trace> {
    let unexplained = reporter.unexplained().map(|(place, lacks)| {
        let binary = &selected[place].binary;
        Unexplained { id: &binary.id, program: binary.executable.as_std_path(), lacks }
    });
    let unexplained: Vec<Unexplained<'_>> = unexplained.collect();
    // Of several policies the first: it is that of the command line.
    batches
        .first()
        .map_or_else(Vec::new, |Batch { factory, .. }| traces(factory, machine, &unexplained))
}

/// The variables that a failed test may have missed.
fn missed(
    reporter: &Reporter,
    selected: &[Selected],
    policy: &Policy,
    machine: &Machine,
) -> Withheld {
    let programs = reporter.failed_binaries();
    let programs = programs.map(|place| selected[place].binary.executable.as_std_path());
    match programs.collect::<Vec<_>>().as_slice() {
        [] => Withheld::default(),
        programs => withheld(machine, policy, programs),
    }
}

/// What a JUnit report tells of the whole run.
fn properties(settings: &Settings, part: Option<Part>) -> Vec<(&'static str, String)> {
    let seed = settings.shuffle.map(|seed| ("isotest.shuffle-seed", seed.to_string()));
    let part = part.map(|part| ("isotest.partition", part.to_string()));
    seed.into_iter().chain(part).collect()
}

/// The command that runs a suite again names its root filesystem, also where it is the only one,
/// and the profile.
fn suite(
    selected: &Selected,
    root: &InRoot,
    (settings, config): (&Settings, &Config),
    machine: &Machine,
) -> Suite {
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
        kind: binary.kind.as_str(),
        rerun: format!("{flags}{}", binary.rerun_flag),
        again: rerun::before(settings, config, root, binary),
        again_behind: settings.rerun.behind.clone(),
        passed_on: selected.passed_on.clone(),
        root: root.label.clone(),
        layers: layers.into_iter().map(|row| (row.name, row.value)).collect(),
        harness: selected.harness != Harness::None,
        notes: selected.notes.clone(),
        cases: selected.selection.cases.clone(),
        filtered_out: selected.selection.filtered_out,
    }
}
