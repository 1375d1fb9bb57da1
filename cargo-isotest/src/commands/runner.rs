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
use isotest_core::foreground::{self, Conclusion, Ended};
use isotest_core::host;
use isotest_core::plan::{Plan, StartBy};
use isotest_core::policy::Policy;
use isotest_core::sandbox::Exit;
use isotest_core::signals::Signals;

use crate::cli::{
    self, CargoOptions, ConfigOptions, LayerOptions, LibtestOptions, RunCommand, RunnerCommand,
};
use crate::commands::build::policy;
use crate::commands::caller::Caller;
use crate::commands::foreground::{exit_code, patience, plan_of};
use crate::commands::selected_tests::{Tests, reporter, run_and_report};
use crate::config::machine::Machine;
use crate::config::machine::Variable;
use crate::config::settings::{self, Settings};
use crate::config::{Config, Given, Needs, merged};
use crate::discover::filterset::Subject;
use crate::discover::{Call, Called, Declared, Harness, Purpose, called};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Documented, Frame, Summary};
use crate::run::case_plan::spec_with;
use crate::run::context::{Cases, Context};
use crate::run::explanations;
use crate::sandbox::coverage::collected;
use crate::sandbox::environment;
use crate::sandbox::factory::{SandboxBuilder, SandboxFactory};
use crate::sandbox::provision::{Provided, Provision};
use crate::sandbox::roots::InRoot;
use crate::select::listing;
use crate::select::narrow::Narrowing;

/// libtest's, for a failed test as for a command line that it does not understand.
const FAILED: ExitCode = ExitCode::Of(101);

/// Runs a program for cargo.
pub fn runner(command: &RunnerCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let words = &command.exec.command;
    let (program, arguments) = words.split_first().expect("clap requires one word");
    let program = machine.directory.join(program);
    let caller = Caller::of(&machine.variables);
    if !command.nested && steps_aside(machine) {
        return replace(&program, arguments, caller.is_rustdoc);
    }
    let mut called = describe(command, &program, &caller, machine)?;
    if is_untouched(&called, arguments, &caller) {
        return replace(&program, arguments, false);
    }
    let wanted = Wanted::of(&called, arguments);
    // `cargo test` alone says what is selected.
    let no_profile = ConfigOptions::default();
    let given = Given::of(&command.exec.layers, &no_profile);
    let config = Config::load(given, &CargoOptions::default(), machine)?.without_default_filter();
    if let Some(id) = config.packages.get(&called.binary.package_name) {
        called.binary.package_id.clone_from(id);
    }
    let program = Program { called: &called, arguments };
    collected(machine, |machine| match wanted {
        Wanted::Tests(options) => tests(&config, &options, program, machine),
        Wanted::Test(options) => {
            let once = !is_nextest(&caller);
            test(&config, &options, once, program, machine)
        }
        Wanted::Part => {
            let layers = config.layers();
            let limit = |_: &Policy| patience(&layers);
            itself(&layers, program, limit, nothing, machine)
        }
        Wanted::Program => itself(&config.layers(), program, limit_of, nothing, machine),
        Wanted::Nothing(message) => {
            report::error(&message);
            Ok(FAILED)
        }
    })
}

/// A program that cargo has built, and how it was called.
#[derive(Clone, Copy)]
struct Program<'a> {
    called: &'a Called,
    arguments: &'a [OsString],
}

/// The program that cargo has started, as cargo knows it.
fn describe(
    command: &RunnerCommand,
    program: &Path,
    caller: &Caller,
    machine: &Machine,
) -> Result<Called, Error> {
    let mut called = called(&Call {
        program,
        directory: &machine.directory,
        variables: &machine.variables,
        set: &caller.set,
    })?;
    if caller.is_rustdoc {
        called.binary.environment.push((MERGED.into(), program.to_owned().into_os_string()));
    }
    called.binary.runner.clone_from(&command.through);
    // Rustdoc keeps all that it reads.
    called.is_kept = (command.nested || caller.is_rustdoc) && !io::stderr().is_terminal();
    Ok(called)
}

/// The program runs as if isotest were not there.
fn is_untouched(called: &Called, arguments: &[OsString], caller: &Caller) -> bool {
    let is_foreign = called.binary.declared == Declared::NoHarness;
    match called.purpose {
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

/// Whether a test has started cargo, whose configuration names isotest as the runner: it is in a
/// sandbox already, and finds there what it would find without isotest. A variable names a runner
/// only where the test has set it: none is passed on.
fn steps_aside(machine: &Machine) -> bool {
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

/// What a call wants to be run in sandboxes.
enum Wanted {
    /// The tests of a binary, or some of them, each in a sandbox.
    Tests(Box<LibtestOptions>),
    /// One test, in one sandbox.
    Test(Box<LibtestOptions>),
    /// Another part of what a harness does, in one sandbox: its list, its measurements, its help.
    Part,
    /// All that a program does, in one sandbox.
    Program,
    /// What libtest does not understand, for this reason.
    Nothing(String),
}

impl Wanted {
    fn of(called: &Called, arguments: &[OsString]) -> Wanted {
        let harness = called.binary.declared == Declared::Harness;
        if called.purpose != Purpose::Test {
            return Wanted::Program;
        }
        if cli::asks_for_help(arguments) {
            return Wanted::Part;
        }
        match cli::libtest_options(arguments).map(named) {
            Ok(options) if harness && !options.unknown.is_empty() => {
                Wanted::Nothing(options.refusal().unwrap_or_default())
            }
            Ok(options) if options.list || options.bench => Wanted::Part,
            Ok(options) if is_one_test(&options) => Wanted::Test(Box::new(options)),
            Ok(options) => Wanted::Tests(Box::new(options)),
            // A harness of the project's own may understand it.
            Err(_) if !harness => Wanted::Program,
            Err(message) => Wanted::Nothing(message),
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
    let called = program.called;
    let mut run = RunCommand::default();
    run.libtest = options.clone();
    // The terminal is whose command this is part of.
    run.run.no_input_handler = true;
    let values = config.values();
    let layers = &values.layers;
    let name = layers.roots().into_iter().next();
    let policy = policy(layers, machine, true)?;
    let root = InRoot { name, label: None, policy: policy.clone() };
    let mut settings = Settings::of_run(&run, values, machine)?;
    settings.policy = policy.clone();
    settings.report.frame = Frame::Cargos;
    let builder = SandboxBuilder::start(policy)?;
    let signals = Signals::listen().map_err(Error::Host)?;
    let project = called.alone();
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
        return itself(&config.layers(), program, limit_of, nothing, machine);
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
    root: InRoot,
) -> Result<Option<Summary>, Error> {
    let (roots, narrowing) = ([root], Narrowing { part: None, failed: None });
    let tests = Tests::select(context, vec![builder], &roots, narrowing)?;
    if tests.selected.iter().all(|selected| selected.harness == Harness::None) {
        report::lists(&tests.suites, context.settings.report.style.stderr_colour);
        return Ok(None);
    }
    let provision = tests.provide(context)?;
    let Tests { mut batches, selected, suites, .. } = tests;
    let cases = Cases { selected: &selected, provision: &provision };
    let reporter = reporter(context, suites, &selected);
    let mut reporter = run_and_report(context, &mut batches, cases, reporter)?;
    let reruns = explanations::explain(context, &mut reporter, batches, cases)?;
    reporter.finish(reruns, Documented::default()).map(Some).map_err(Error::Report)
}

/// Whether nextest has started this program, as it does for each test.
fn is_nextest(caller: &Caller) -> bool {
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
    let called = program.called;
    let name = options.filters.concat();
    let case = Case::listed(name, Kind::Test, Ignore::No);
    let sources = config.sources_of(&Subject::of(&called.binary), &case);
    let (layers, mut needs) = (merged(&sources).layers, config.needs(&sources));
    let limit = |_: &Policy| patience(&layers);
    let provide = |factory: &mut SandboxFactory, signals: &Signals| {
        if needs == Needs::default() || !runs(options, called, factory, signals)? {
            return Ok(Provided::default());
        }
        if !once {
            let skipped = std::mem::take(&mut needs.setup);
            report::not_set_up(skipped.iter().map(|place| config.setup[*place].name.as_str()));
        }
        let needed = [(&factory.policy, &needs)].into_iter();
        let provision = Provision::prepare(config, needed, &called.project, machine, signals)?;
        Ok(provision.give(&needs))
    };
    itself(&layers, program, limit, provide, machine)
}

/// Whether the test is in the binary at all, and not ignored: `cargo test` calls each binary.
fn runs(
    options: &LibtestOptions,
    called: &Called,
    factory: &mut SandboxFactory,
    signals: &Signals,
) -> Result<bool, Error> {
    let project = called.alone();
    let listed = listing::list(factory, &project, 1, signals)?;
    let cases = listed.into_iter().flat_map(|listed| listed.cases).collect();
    let selected = settings::selection(options).select(cases, |_| true).cases;
    Ok(selected.iter().any(|case| case.ignore == Ignore::No))
}

/// For what needs nothing beside its sandbox.
fn nothing(_: &mut SandboxFactory, _: &Signals) -> Result<Provided, Error> {
    Ok(Provided::default())
}

/// Whether the process that is started is libtest's, which ends by the return of its `main`.
fn is_libtest(called: &Called) -> bool {
    called.purpose == Purpose::Test
        && called.binary.declared == Declared::Harness
        && called.binary.runner.is_empty()
}

/// Runs a program as it was called, in one sandbox, with what `provide` has for it.
fn itself(
    layers: &LayerOptions,
    program: Program<'_>,
    limit: impl FnOnce(&Policy) -> Option<Duration>,
    provide: impl FnOnce(&mut SandboxFactory, &Signals) -> Result<Provided, Error>,
    machine: &Machine,
) -> Result<ExitCode, Error> {
    let Program { called, arguments } = program;
    let builder = SandboxBuilder::start(policy(layers, machine, true)?)?;
    let signals = Signals::listen().map_err(Error::Host)?;
    let mut factory = builder.build_for(&called.alone(), machine)?;
    let provided = provide(&mut factory, &signals)?;
    let limit = limit(&factory.policy);
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let start_by = StartBy::Exec("it is one command");
    let spec = spec_with(&factory, &called.binary, &arguments, provided, start_by);
    let plan = plan_of(&factory, spec, limit);
    let conclusion = match called.is_kept {
        true => within_limit(&mut factory, &plan, &signals)?,
        false => foreground::run(&mut factory.warden, &plan, &signals)?,
    };
    end_of(conclusion, called)
}

/// Runs a program whose output somebody keeps: no more of it is passed on than may be kept.
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
fn end_of(conclusion: Conclusion, called: &Called) -> Result<ExitCode, Error> {
    match conclusion.ended {
        Ended::Exited(0) | Ended::Interrupted(_) | Ended::NotServed(_) => {}
        _ => report::services(&conclusion.services),
    }
    if conclusion.ended == Ended::Exited(0) && conclusion.exit == Exit::Early && is_libtest(called)
    {
        report::error(&"the test exited with code 0 before the harness reported a result");
        return Ok(FAILED);
    }
    // The caller sees the end that it would see without isotest.
    if let Ended::Signalled(signal) = conclusion.ended {
        return Ok(ExitCode::By(signal));
    }
    exit_code(conclusion)
}
