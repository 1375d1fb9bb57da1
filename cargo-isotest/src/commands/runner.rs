//! `cargo isotest runner`: what cargo's `target.<triple>.runner` calls, and nextest and rustdoc too.
//!
//! Called for a whole test binary, it is that binary to the caller: it takes libtest's command line
//! and prints what libtest prints, but runs each test in a sandbox of its own. Called for one test,
//! for a list or for measuring, it runs the binary as it is in one sandbox; for one test with what
//! the configuration has for it. What was not built to be tested it runs as if it were not there,
//! and so it runs everything within a sandbox.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use isotest_core::case::{Case, Ignore, Kind};
use isotest_core::foreground::{self, Conclusion, ForegroundEnd};
use isotest_core::host;
use isotest_core::plan::{Plan, StartBy};
use isotest_core::policy::Policy;
use isotest_core::sandbox::Exit;
use isotest_core::signals::Signals;

use crate::cli::{
    self, CargoOptions, ConfigOptions, LayerOptions, LibtestOptions, RunCommand, RunnerCommand,
};
use crate::commands::build::policy;
use crate::commands::foreground::{exit_code, plan_of, timeout_of};
use crate::commands::runner_environment::RunnerEnvironment;
use crate::commands::selected_tests::{SelectedTests, reporter, run_and_report};
use crate::config::machine::Machine;
use crate::config::machine::Variable;
use crate::config::settings::{self, Settings};
use crate::config::{Config, FlagValues, Needs, merged};
use crate::discover::filterset::FilterSubject;
use crate::discover::{BuiltProgram, Declared, Harness, ProgramCall, Purpose, built_program};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, DoctestSummary, Frame, Summary};
use crate::run::case_plan::spec_with;
use crate::run::context::{Cases, Context};
use crate::run::explanations;
use crate::run::gates::Gates;
use crate::sandbox::coverage::collected;
use crate::sandbox::environment;
use crate::sandbox::factory::{SandboxBuilder, SandboxFactory};
use crate::sandbox::provision::{CaseProvision, Provision};
use crate::sandbox::roots::RootFilesystem;
use crate::sandbox::stored_layers::Layers;
use crate::select::listing;
use crate::select::subset::RunSubset;
use crate::store::Store;

/// libtest's, for a failed test as for a command line that it does not understand.
const FAILED: ExitCode = ExitCode::Of(101);

/// Runs a program for cargo.
pub fn runner(command: &RunnerCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let words = &command.exec.command;
    let (program, arguments) = words.split_first().expect("clap requires one word");
    let program = machine.directory.join(program);
    let caller = RunnerEnvironment::of(&machine.variables);
    if !command.nested && is_nested(machine) {
        return replace(&program, arguments, caller.is_rustdoc);
    }
    let mut built = describe(command, &program, &caller, machine)?;
    if runs_without_sandbox(&built, arguments, &caller) {
        return replace(&program, arguments, false);
    }
    let wanted = Invocation::of(&built, arguments);
    // `cargo test` alone says what is selected.
    let no_profile = ConfigOptions::default();
    let given = FlagValues::of(&command.exec.layers, &no_profile);
    let config = Config::load(given, &CargoOptions::default(), machine)?.without_default_filter();
    if let Some(id) = config.packages.get(&built.binary.package_name) {
        built.binary.package_id.clone_from(id);
    }
    let program = Program { built: &built, arguments };
    collected(machine, |machine| match wanted {
        Invocation::Tests(options) => tests(&config, &options, program, machine),
        Invocation::Test(options) => {
            let once = !is_nextest(&caller);
            test(&config, &options, once, program, machine)
        }
        Invocation::Part => {
            let layers = config.layers();
            let limit = |_: &Policy| timeout_of(&layers);
            run_program(&layers, program, limit, nothing, machine)
        }
        Invocation::Program => run_program(&config.layers(), program, limit_of, nothing, machine),
        Invocation::Nothing(message) => {
            report::error(&message);
            Ok(FAILED)
        }
    })
}

/// A program that cargo has built, and how it was called.
#[derive(Clone, Copy)]
struct Program<'a> {
    built: &'a BuiltProgram,
    arguments: &'a [OsString],
}

/// The program that cargo has started, as cargo knows it.
fn describe(
    command: &RunnerCommand,
    program: &Path,
    caller: &RunnerEnvironment,
    machine: &Machine,
) -> Result<BuiltProgram, Error> {
    let mut built = built_program(&ProgramCall {
        program,
        directory: &machine.directory,
        variables: &machine.variables,
        set: &caller.set,
    })?;
    if caller.is_rustdoc {
        built.binary.environment.push((MERGED.into(), program.to_owned().into_os_string()));
    }
    built.binary.runner.clone_from(&command.through);
    // Rustdoc keeps all that it reads.
    built.is_kept = (command.nested || caller.is_rustdoc) && !io::stderr().is_terminal();
    Ok(built)
}

/// The program runs as if isotest were not there.
fn runs_without_sandbox(
    built: &BuiltProgram,
    arguments: &[OsString],
    caller: &RunnerEnvironment,
) -> bool {
    let is_foreign = built.binary.declared == Declared::NoHarness;
    match built.purpose {
        _ if caller.is_rustdoc => false,
        Purpose::Use => true,
        // What measures must not be disturbed, and keeps what it has measured.
        Purpose::Test => is_foreign && arguments.iter().any(|word| word == "--bench"),
        Purpose::Unknown => false,
    }
}

/// The limit of a test.
fn limit_of(policy: &Policy) -> Option<Duration> {
    policy.limits.timeout
}

/// Names the program of merged documentation tests. Rustdoc runs these as threads of one process
/// where it finds a runner, unless the runner sets this (rust-lang/rust#141064).
const MERGED: &str = "RUSTDOC_DOCTEST_BIN_PATH";

/// True if a test has started cargo, whose configuration names isotest as the runner. Such a
/// program is in a sandbox already, and has to run as it would without isotest. A variable names a
/// runner only if the test has set it: none is passed on.
fn is_nested(machine: &Machine) -> bool {
    let is_named = machine.variables.iter().any(|(name, _)| environment::is_runner(name));
    !is_named && host::is_sandbox()
}

/// Runs a program as if isotest were not there.
fn replace(program: &Path, arguments: &[OsString], merges: bool) -> Result<ExitCode, Error> {
    let mut command = Command::new(program);
    if merges {
        command.env(MERGED, program);
    }
    Err(Error::Execute(program.to_owned(), command.args(arguments).exec()))
}

/// The part of a call that runs in sandboxes.
enum Invocation {
    /// The tests of a binary, or some of them, each in a sandbox.
    Tests(Box<LibtestOptions>),
    /// One test, in one sandbox.
    Test(Box<LibtestOptions>),
    /// Another part of what a harness does, in one sandbox: its list, its measurements, its help.
    Part,
    /// All that a program does, in one sandbox.
    Program,
    /// libtest does not understand the arguments, for this reason.
    Nothing(String),
}

impl Invocation {
    fn of(built: &BuiltProgram, arguments: &[OsString]) -> Invocation {
        let harness = built.binary.declared == Declared::Harness;
        if built.purpose != Purpose::Test {
            return Invocation::Program;
        }
        if cli::asks_for_help(arguments) {
            return Invocation::Part;
        }
        match cli::libtest_options(arguments).map(named) {
            Ok(options) if harness && !options.unknown.is_empty() => {
                Invocation::Nothing(options.refusal().unwrap_or_default())
            }
            Ok(options) if options.list || options.bench => Invocation::Part,
            Ok(options) if is_one_test(&options) => Invocation::Test(Box::new(options)),
            Ok(options) => Invocation::Tests(Box::new(options)),
            // A harness of the project's own may understand it.
            Err(_) if !harness => Invocation::Program,
            Err(message) => Invocation::Nothing(message),
        }
    }
}

/// A name that begins with `-` is one all the same where nextest calls for it.
fn named(mut options: LibtestOptions) -> LibtestOptions {
    if options.exact && options.no_capture && options.filters.is_empty() {
        options.filters.extend(options.unknown.drain(..1.min(options.unknown.len())));
    }
    options
}

/// `--exact NAME --nocapture`: how nextest calls for each test, and editors for the one that is
/// looked at.
fn is_one_test(options: &LibtestOptions) -> bool {
    options.exact && options.no_capture && options.filters.len() == 1 && options.skip.is_empty()
}

/// Runs the selected tests of a harness, or a program that has no list of tests.
fn tests(
    config: &Config,
    options: &LibtestOptions,
    program: Program<'_>,
    machine: &Machine,
) -> Result<ExitCode, Error> {
    let built = program.built;
    let mut run = RunCommand::default();
    run.libtest = options.clone();
    // The terminal is whose command this is part of.
    run.run.no_input_handler = true;
    let values = config.values();
    let layers = &values.layers;
    let name = layers.roots().into_iter().next();
    let policy = policy(layers, machine, true)?;
    let root = RootFilesystem { name, label: None, policy: policy.clone() };
    let mut settings = Settings::of_run(&run, values, machine)?;
    settings.policy = policy.clone();
    settings.report.frame = Frame::Cargo;
    let builder = SandboxBuilder::start(policy)?;
    let signals = Signals::listen().map_err(Error::Host)?;
    let project = built.alone();
    let context =
        Context { settings: &settings, config, project: &project, machine, signals: &signals };
    let summary = match run_built(context, builder, root) {
        // As libtest does where cargo asks it.
        Err(error @ Error::Unrecognized(_)) => {
            report::error(&error);
            return Ok(FAILED);
        }
        summary => summary?,
    };
    let Some(summary) = summary else {
        drop(signals);
        return run_program(&config.layers(), program, limit_of, nothing, machine);
    };
    Ok(match ExitCode::of_run(&summary) {
        ExitCode::NothingToRun => ExitCode::Passed,
        ExitCode::TestsFailed => FAILED,
        other => other,
    })
}

/// Runs what is selected of the binary, in one root filesystem, and reports it as the settings say.
/// `None` where it is no harness: nothing has been run.
fn run_built(
    context: Context<'_>,
    builder: SandboxBuilder,
    root: RootFilesystem,
) -> Result<Option<Summary>, Error> {
    let (roots, subset) = ([root], RunSubset { part: None, failed: None });
    let tests = SelectedTests::select(context, vec![builder], &roots, subset)?;
    if tests.selected.iter().all(|selected| selected.harness == Harness::None) {
        report::lists(&tests.suites, context.settings.report.style.stderr_colour);
        return Ok(None);
    }
    let provision = tests.provide(context)?;
    let SelectedTests { mut batches, selected, suites, .. } = tests;
    let gates = Gates::default();
    let cases = Cases { selected: &selected, provision: &provision, gates: &gates, kept: None };
    let reporter = reporter(context, suites, &selected);
    let store = Store::of(context.project.target_directory.as_std_path());
    let mut durations = store.durations();
    let mut reporter = run_and_report(context, &mut batches, cases, &mut durations, reporter)?;
    let reruns = explanations::explain(context, &mut reporter, batches, cases)?;
    reporter.finish(reruns, DoctestSummary::default()).map(Some).map_err(Error::Report)
}

/// True if nextest has started this program, as it does for each test.
fn is_nextest(caller: &RunnerEnvironment) -> bool {
    let mode =
        |(name, value): &Variable| name == "NEXTEST_EXECUTION_MODE" && value == "process-per-test";
    caller.set.iter().any(mode)
}

/// Runs the one test that is called for, with what the configuration has for it. Its setup
/// commands are run where this is done `once`; else it is told that they are not.
fn test(
    config: &Config,
    options: &LibtestOptions,
    once: bool,
    program: Program<'_>,
    machine: &Machine,
) -> Result<ExitCode, Error> {
    let built = program.built;
    let name = options.filters.concat();
    let case = Case::listed(name, Kind::Test, Ignore::No);
    let sources = config.sources_of(&FilterSubject::of(&built.binary), &case);
    let (layers, mut needs) = (merged(&sources).layers, config.needs(&sources));
    let shown = config.layers_of(&FilterSubject::of(&built.binary), &case);
    let limit = |_: &Policy| timeout_of(&layers);
    let provide = |factory: &mut SandboxFactory, signals: &Signals| {
        let needs_nothing = needs == Needs::default() && shown.is_empty();
        if needs_nothing || !runs(options, built, factory, signals)? {
            return Ok(CaseProvision::default());
        }
        if !shown.is_empty() {
            let project = &built.project;
            let layers = Layers { config, project, machine, signals };
            let policy = layers.provide(factory.policy.clone(), &shown)?;
            *factory = SandboxBuilder::start(policy)?.build_for(&built.alone(), machine)?;
        }
        if !once {
            let skipped = std::mem::take(&mut needs.setup);
            report::not_set_up(skipped.iter().map(|place| config.setup[*place].name.as_str()));
        }
        let needed = [(&factory.policy, &needs)].into_iter();
        let provision = Provision::prepare(config, needed, &built.project, machine, signals)?;
        Ok(provision.give(&needs))
    };
    run_program(&layers, program, limit, provide, machine)
}

/// True if the binary has the test, and it is not ignored: `cargo test` calls each binary.
fn runs(
    options: &LibtestOptions,
    built: &BuiltProgram,
    factory: &mut SandboxFactory,
    signals: &Signals,
) -> Result<bool, Error> {
    let project = built.alone();
    let listed = listing::list(factory, &project, 1, signals)?;
    let cases = listed.into_iter().flat_map(|listed| listed.cases).collect();
    let selected = settings::selection(options).select(cases, |_| true).cases;
    Ok(selected.iter().any(|case| case.ignore == Ignore::No))
}

/// For what needs nothing beside its sandbox.
fn nothing(_: &mut SandboxFactory, _: &Signals) -> Result<CaseProvision, Error> {
    Ok(CaseProvision::default())
}

/// True if the process is libtest's, which ends when its `main` returns.
fn is_libtest(built: &BuiltProgram) -> bool {
    built.purpose == Purpose::Test
        && built.binary.declared == Declared::Harness
        && built.binary.runner.is_empty()
}

/// Runs a program as it was called, in one sandbox, with what `provide` has for it.
fn run_program(
    layers: &LayerOptions,
    program: Program<'_>,
    limit: impl FnOnce(&Policy) -> Option<Duration>,
    provide: impl FnOnce(&mut SandboxFactory, &Signals) -> Result<CaseProvision, Error>,
    machine: &Machine,
) -> Result<ExitCode, Error> {
    let Program { built, arguments } = program;
    let builder = SandboxBuilder::start(policy(layers, machine, true)?)?;
    let signals = Signals::listen().map_err(Error::Host)?;
    let mut factory = builder.build_for(&built.alone(), machine)?;
    let provided = provide(&mut factory, &signals)?;
    let limit = limit(&factory.policy);
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let start_by = StartBy::Exec("a single command");
    let spec = spec_with(&factory, &built.binary, &arguments, provided, start_by);
    let plan = plan_of(&factory, spec, limit);
    let conclusion = match built.is_kept {
        true => within_limit(&mut factory, &plan, &signals)?,
        false => foreground::run(&mut factory.warden, &plan, &signals)?,
    };
    end_of(conclusion, built)
}

/// Runs a program whose output is kept: no more of it is passed on than may be kept.
fn within_limit(
    factory: &mut SandboxFactory,
    plan: &Plan,
    signals: &Signals,
) -> Result<Conclusion, Error> {
    let (conclusion, discarded) = foreground::run_within_limit(&mut factory.warden, plan, signals)?;
    if discarded > 0 {
        report::warning(&format_args!(
            "{discarded} bytes of output are not passed on, beyond the limit of {} for each \
             stream; raise it with `--output-limit`",
            plan.output_limit
        ));
    }
    Ok(conclusion)
}

/// The end of a program as this program's.
fn end_of(conclusion: Conclusion, built: &BuiltProgram) -> Result<ExitCode, Error> {
    match conclusion.ended {
        ForegroundEnd::Exited(0) | ForegroundEnd::Interrupted(_) | ForegroundEnd::NotServed(_) => {}
        _ => report::services(&conclusion.services),
    }
    // rustdoc shows what a documentation test wrote to nobody, or compares it.
    if built.purpose == Purpose::Test && !built.is_kept {
        report::findings(&conclusion.findings);
    }
    if conclusion.ended == ForegroundEnd::Exited(0)
        && conclusion.exit == Exit::Early
        && is_libtest(built)
    {
        report::error(&"the test exited with code 0 before the harness reported a result");
        return Ok(FAILED);
    }
    // The caller sees the end that it would see without isotest.
    if let ForegroundEnd::Signalled(signal) = conclusion.ended {
        return Ok(ExitCode::By(signal));
    }
    exit_code(conclusion)
}
