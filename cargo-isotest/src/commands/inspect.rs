//! `cargo isotest list`, `explain`, `shell` and `exec`: looking at a case instead of running all.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use isotest_core::case;
use isotest_core::foreground::{self, Conclusion, Ended};
use isotest_core::plan::{self, Plan, Protocol, Setup};
use isotest_core::policy::{Limits, Policy, Root};
use isotest_core::signals::Signals;
use signal_hook::consts::SIGKILL;

use crate::archive;
use crate::cli::{
    CargoOptions, ConfigOptions, ExecCommand, ExplainCommand, LayerOptions, ListCommand,
    ReportFormat, ShellCommand,
};
use crate::config::settings::{self, Machine};
use crate::config::{self, Config, Given, Needs, Source};
use crate::discover::filter::{Filter, RunIgnored};
use crate::discover::filterset::Subject;
use crate::discover::{Project, Reused};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Explanation, Options};
use crate::run::case_plan;
use crate::run::policies;
use crate::sandbox::exposures;
use crate::sandbox::factory::{Sandboxes, Unbuilt, c_string};
use crate::sandbox::owners::Look;
use crate::sandbox::provision::Provision;
use crate::sandbox::root::{Links, follow};
use crate::sandbox::trial;
use crate::select::find_case::choose;
use crate::select::partition;
use crate::select::prepare::{self, Prepared, Selected, Selecting};

/// Names the test binaries, as cargo does with `--no-run`.
pub fn executables(
    project: &Project,
    options: Options,
    machine: &Machine,
) -> Result<ExitCode, Error> {
    let colour = options.look.stderr_colour;
    for binary in project.binaries.iter().filter(|_| !options.quiet) {
        let heading = prepare::heading(binary, machine);
        report::executable(&heading, colour, &mut io::stderr()).map_err(Error::Report)?;
    }
    Ok(ExitCode::Passed)
}

/// Lists the selected cases.
pub fn list(command: &ListCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let opened = archive::open(&command.reuse, machine, command.cargo.quiet)?;
    let reused = opened.as_ref().map(|opened| &opened.build);
    let given = Given {
        layers: &command.layers,
        course: None,
        profile: command.config.profile.as_deref(),
        filterset: Some(&command.filterset),
        reused,
    };
    let config = Config::load(given, &command.cargo, machine)?;
    let filter = settings::selection(&command.libtest);
    let part = partition::resolve(command.libtest.partition, machine)?;
    let (mut prepared, project, _signals) = prepare_with(
        &config,
        (&command.cargo, reused),
        (&filter, &command.libtest.unknown),
        machine,
    )?;
    if let Some(part) = &part {
        prepared.selected = partition::narrow(prepared.selected, part);
    }
    let printed = match command.format {
        ReportFormat::Human => report::list_for_people(&prepared.selected),
        ReportFormat::Json => report::list_for_programs(&project, &prepared.selected),
    };
    printed.map_err(Error::Report)?;
    let empty = prepared.selected.iter().all(|selected| selected.selection.cases.is_empty());
    Ok(if empty { ExitCode::NothingToRun } else { ExitCode::Passed })
}

/// Prints the plan of one case.
pub fn explain(command: &ExplainCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let opened = archive::open(&command.reuse, machine, command.cargo.quiet)?;
    let given = Named { case: &command.case, layers: &command.layers, config: &command.config };
    let tests = (&command.cargo, opened.as_ref().map(|opened| &opened.build));
    let Case { sandboxes, selected, case, sources, limits, config, needs, .. } =
        prepare_case(given, tests, machine)?;
    let provided = Provision::of(&config).give(&needs);
    let setup = case_plan::setup(&sandboxes, &selected, provided);
    let sources: Vec<&Source> = sources.iter().collect();
    let explanation = Explanation {
        id: &selected.binary.id,
        case: &case.name,
        plan: &case_plan::plan_of(&sandboxes, &setup, &selected, &case, &limits),
        template: &plan::template(&sandboxes.host, &sandboxes.project, &sandboxes.policy),
        layers: &config::rows(&Policy { limits, ..sandboxes.policy.clone() }, &sources),
        course: &config::case_rows(&sources),
    };
    report::explain(&explanation).map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}

/// Runs a shell, or a command, in the sandbox of one case.
pub fn shell(command: &ShellCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let opened = archive::open(&command.reuse, machine, command.cargo.quiet)?;
    let given = Named { case: &command.case, layers: &command.layers, config: &command.config };
    let tests = (&command.cargo, opened.as_ref().map(|opened| &opened.build));
    let Case { mut sandboxes, selected, case, limits, config, needs, project, signals, .. } =
        prepare_case(given, tests, machine)?;
    let needed = [(&sandboxes.policy, &needs)].into_iter();
    let provision = Provision::prepare(&config, needed, &project, machine, &signals)?;
    let test = case_plan::setup(&sandboxes, &selected, provision.give(&needs));
    let plan = case_plan::plan_of(&sandboxes, &test, &selected, &case, &limits);
    report::test_command(&plan).map_err(Error::Report)?;
    let policy = &sandboxes.policy;
    let words = match command.command.as_slice() {
        [] => vec![find_shell(policy, machine)?],
        words => words.to_vec(),
    };
    let setup = with_program(&test, &words, policy, machine)?;
    attend(&mut sandboxes, Arc::new(setup), patience(&command.layers), &signals)
}

/// A case that the command line names.
struct Named<'a> {
    case: &'a str,
    layers: &'a LayerOptions,
    config: &'a ConfigOptions,
}

/// One case, and the sandboxes that it is run in.
struct Case {
    sandboxes: Sandboxes,
    selected: Selected,
    case: case::Case,
    /// Who was asked for its policy.
    sources: Vec<Source>,
    limits: Limits,
    /// What is asked for, and what of it this case needs.
    config: Config,
    needs: Needs,
    project: Project,
    signals: Signals,
}

fn prepare_case(named: Named<'_>, tests: Tests<'_>, machine: &Machine) -> Result<Case, Error> {
    let profile = named.config.profile.as_deref();
    let (cargo, reused) = tests;
    let given = Given { layers: named.layers, course: None, profile, filterset: None, reused };
    let config = Config::load(given, cargo, machine)?.without_default_filter();
    let (prepared, project, signals) = prepare_with(&config, tests, (&every_case(), &[]), machine)?;
    let Prepared { mut sandboxes, selected } = prepared;
    let (selected, case) = choose(&selected, named.case)?;
    let policy = policies::of_case(&config, &sandboxes.policy, selected, case, machine);
    let limits = policy.limits.clone();
    if !policies::shares_warden(&policy, &sandboxes.policy) {
        sandboxes = prepare::sandboxes(Unbuilt::start(policy)?, &project, machine)?;
    }
    let sources = config.sources_of(&Subject::of(&selected.binary), case);
    let needs = config.needs(&sources);
    let sources = sources.into_iter().cloned().collect();
    let (selected, case) = (selected.clone(), case.clone());
    Ok(Case { sandboxes, selected, case, sources, limits, config, needs, project, signals })
}

/// Runs any command in a sandbox.
pub fn exec(command: &ExecCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let signals = Signals::listen().map_err(Error::Host)?;
    let layers = Config::without_file(&command.layers, machine)?.layers();
    let policy = policy(&layers, machine, false)?;
    let program = find_program(&command.command, &policy, machine)?;
    let unbuilt = Unbuilt::start(policy)?;
    let shown =
        exposures::of_command(machine, unbuilt.host(), unbuilt.policy(), &program, Look::Short)?;
    report::uncopied(&shown.uncopied);
    let mut sandboxes = unbuilt.build(machine, shown)?;
    let rest: Vec<&OsStr> = command.command.iter().skip(1).map(OsString::as_os_str).collect();
    let program = program.as_os_str();
    let setup = sandboxes.setup(program, &rest, &machine.directory, &[], Some("it is one command"));
    attend(&mut sandboxes, setup, patience(&layers), &signals)
}

/// What is built, or was built before.
type Tests<'a> = (&'a CargoOptions, Option<&'a Reused>);

fn prepare_with(
    config: &Config,
    (cargo, reused): Tests<'_>,
    (filter, passed_on): (&Filter, &[String]),
    machine: &Machine,
) -> Result<(Prepared, Project, Signals), Error> {
    let policy = policy(&config.layers(), machine, cargo.quiet)?;
    let (mut wardens, project) =
        prepare::build([policy], &settings::request(cargo), reused, config)?;
    let unbuilt = wardens.pop().expect("there is one for each policy");
    let signals = Signals::listen().map_err(Error::Host)?;
    let selecting = Selecting { filter, config, passed_on };
    let prepared = prepare::select(unbuilt, &project, machine, selecting, machine.cores, &signals)?;
    Ok((prepared, project, signals))
}

/// The policy for one root filesystem, which these layers ask for.
pub fn policy(layers: &LayerOptions, machine: &Machine, quiet: bool) -> Result<Policy, Error> {
    let policy = trial::weaken(settings::policy(layers), &layers.allow_weaker, machine);
    prepare::in_root(policy, &layers.root, machine, quiet)
}

fn every_case() -> Filter {
    Filter { run_ignored: RunIgnored::Yes, ..Filter::default() }
}

/// The same sandbox with another program.
pub fn with_program(
    test: &Setup,
    words: &[OsString],
    policy: &Policy,
    machine: &Machine,
) -> Result<Setup, Error> {
    let program = find_program(words, policy, machine)?;
    Ok(Setup {
        program: c_string(program.as_os_str()),
        arguments: words.iter().map(|word| c_string(word)).collect(),
        ..test.clone()
    })
}

/// What execvp(3) would find for the first of these words.
fn find_program(words: &[OsString], policy: &Policy, machine: &Machine) -> Result<PathBuf, Error> {
    let name = words.first().map_or(OsStr::new(""), OsString::as_os_str);
    if Path::new(name).components().count() > 1 {
        return Ok(machine.directory.join(name));
    }
    let path = machine.variable("PATH").unwrap_or(OsStr::new("/usr/bin:/bin"));
    let mut paths = env::split_paths(path).map(|directory| directory.join(name));
    let found = paths.find(|path| is_program(path, policy, machine));
    found.ok_or_else(|| Error::Command(name.to_owned()))
}

/// Whether a program is at this path of the root filesystem.
fn is_program(path: &Path, policy: &Policy, machine: &Machine) -> bool {
    let executable = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    match &policy.root {
        Root::Host => executable(path),
        Root::Directory(root) => {
            // Cargo's home is shown in every root filesystem, nothing else of the host's is.
            let is_tool = machine.cargo_home().is_some_and(|home| path.starts_with(home));
            let inside = follow(root, path, Links::Inside).is_ok_and(|path| executable(&path));
            inside || (is_tool && executable(path))
        }
    }
}

/// `$SHELL`, which another root filesystem may not have, or `/bin/sh`.
fn find_shell(policy: &Policy, machine: &Machine) -> Result<OsString, Error> {
    let usual = machine.variable("SHELL").filter(|shell| Path::new(shell).is_absolute());
    let mut shells = usual.into_iter().chain([OsStr::new("/bin/sh")]);
    let found = shells.find(|shell| is_program(Path::new(shell), policy, machine));
    found.map(OsStr::to_owned).ok_or_else(|| Error::Shell(usual.map(OsStr::to_owned)))
}

/// How long a command may take: without `--timeout`, as long as it wants.
pub fn patience(layers: &LayerOptions) -> Option<Duration> {
    layers.timeout.and_then(|deadline| deadline.into())
}

/// Runs a set-up in the foreground, for so long at most.
pub fn attend(
    sandboxes: &mut Sandboxes,
    setup: Arc<Setup>,
    timeout: Option<Duration>,
    signals: &Signals,
) -> Result<ExitCode, Error> {
    let plan = plan_of(sandboxes, setup, timeout);
    let conclusion = foreground::run(&mut sandboxes.warden, &plan, signals);
    exit_code(conclusion?)
}

/// The plan of one command, for so long at most.
pub fn plan_of(sandboxes: &Sandboxes, setup: Arc<Setup>, timeout: Option<Duration>) -> Plan {
    Plan {
        setup,
        arguments: Vec::new(),
        environment: sandboxes.own_environment(),
        protocol: Protocol::ExitCode,
        timeout,
        slow_timeout: None,
        output_limit: sandboxes.policy.limits.output,
        write_back: sandboxes.write_back.clone(),
        weakened: sandboxes.policy.weakened.clone(),
    }
}

/// The end of a command as this program's.
pub fn exit_code(conclusion: Conclusion) -> Result<ExitCode, Error> {
    conclusion.not_written.iter().for_each(report::warning);
    match conclusion.ended {
        Ended::Exited(code) => Ok(ExitCode::Of(code)),
        Ended::Signalled(signal) | Ended::Interrupted(signal) => Ok(ExitCode::Signal(signal)),
        Ended::TimedOut => {
            report::error(
                &"timed out; every process of the command was killed (`--timeout` gives it more)",
            );
            Ok(ExitCode::Signal(SIGKILL))
        }
        Ended::NotRun(error) => Err(Error::Sandbox(error)),
        Ended::NotServed(error) => {
            report::services(&conclusion.services);
            Err(Error::Service(error))
        }
        Ended::WardenDied => Err(Error::WardenDied),
        Ended::WardenSilent => Err(Error::WardenSilent),
    }
}
