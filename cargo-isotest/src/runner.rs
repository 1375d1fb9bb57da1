//! `cargo isotest runner`: what cargo's `target.<triple>.runner` calls, and nextest and rustdoc too.
//!
//! Called for a whole test binary, it is that binary to the caller: it takes libtest's command line
//! and prints what libtest prints, but runs each test in a sandbox of its own. Called for one test,
//! for a list or for measuring, it runs the binary as it is in one sandbox. What was not built to be
//! tested it runs as if it were not there.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use isotest_core::policy::Policy;
use isotest_core::signals::Signals;

use crate::caller::Caller;
use crate::cli::{self, CargoOptions, ExecCommand, LibtestOptions, RunCommand};
use crate::config::{Config, Given};
use crate::discover::{Call, Called, Purpose, called};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::inspect::{attend, patience, policy};
use crate::prepare::{self, InRoot};
use crate::profiles::collected;
use crate::report::{self, Frame};
use crate::run;
use crate::sandboxes::Unbuilt;
use crate::settings::{Machine, Settings};

/// libtest's, for a failed test as for a command line that it does not understand.
const FAILED: ExitCode = ExitCode::Of(101);

/// Runs a program for cargo.
pub fn runner(command: &ExecCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let (program, arguments) = command.command.split_first().expect("clap requires one word");
    let program = machine.directory.join(program);
    let caller = Caller::of(&machine.variables);
    let mut called = called(&Call {
        program: &program,
        directory: &machine.directory,
        variables: &machine.variables,
        set: &caller.set,
    })?;
    if caller.is_rustdoc {
        // It runs merged ones as threads of one process where it finds a runner, unless this
        // program names theirs (rust-lang/rust#141064).
        let merged = ("RUSTDOC_DOCTEST_BIN_PATH".into(), program.clone().into_os_string());
        called.binary.environment.push(merged);
    }
    let untouched = match called.purpose {
        _ if caller.is_rustdoc => false,
        Purpose::Use => true,
        // What measures must not be disturbed, and keeps what it has measured.
        Purpose::Test => !called.binary.harness && arguments.iter().any(|word| word == "--bench"),
        Purpose::Unknown => false,
    };
    if untouched {
        let cause = Command::new(&program).args(arguments).exec();
        return Err(Error::Execute(program, cause));
    }
    let wanted = Wanted::of(&called, arguments);
    // `cargo test` alone says what is selected.
    let given = Given {
        layers: &command.layers,
        course: None,
        profile: None,
        filterset: None,
        reused: None,
    };
    let config = Config::load(given, &CargoOptions::default(), machine)?.without_default_filter();
    collected(machine, |machine| match wanted {
        Wanted::Tests(options) => tests(&config, &options, &called, arguments, machine),
        Wanted::Part => {
            let limit = |_: &Policy| patience(&config.layers());
            itself(&config, &called, arguments, limit, machine)
        }
        Wanted::Program => {
            let limit = |policy: &Policy| policy.limits.timeout;
            itself(&config, &called, arguments, limit, machine)
        }
        Wanted::Nothing(message) => {
            report::error(&message);
            Ok(FAILED)
        }
    })
}

/// What a call wants to be run in sandboxes.
enum Wanted {
    /// The tests of a binary, or some of them, each in a sandbox.
    Tests(Box<LibtestOptions>),
    /// A part of what a harness does, in one sandbox: one test, its list, its measurements, its help.
    Part,
    /// All that a program does, in one sandbox.
    Program,
    /// What libtest does not understand, for this reason.
    Nothing(String),
}

impl Wanted {
    fn of(called: &Called, arguments: &[OsString]) -> Wanted {
        let harness = called.binary.harness;
        if called.purpose != Purpose::Test {
            return Wanted::Program;
        }
        if cli::asks_for_help(arguments) {
            return Wanted::Part;
        }
        match cli::libtest_options(arguments) {
            Ok(options) if options.list || options.bench || is_one_test(&options) => Wanted::Part,
            Ok(options) => Wanted::Tests(Box::new(options)),
            // A harness of the project's own may understand it.
            Err(_) if !harness => Wanted::Program,
            Err(message) => Wanted::Nothing(message),
        }
    }
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
    called: &Called,
    arguments: &[OsString],
    machine: &Machine,
) -> Result<ExitCode, Error> {
    let mut run = RunCommand::default();
    run.libtest = options.clone();
    // The terminal is whose command this is part of.
    run.run.no_input_handler = true;
    let values = config.values();
    let layers = &values.layers;
    let name = layers.root.first().cloned();
    let policy = policy(layers, machine, true)?;
    let root = InRoot { name, label: None, policy: policy.clone() };
    let mut settings = Settings::of_run(&run, values, machine);
    settings.policy = policy.clone();
    settings.report.frame = Frame::Cargos;
    let unbuilt = Unbuilt::start(policy)?;
    let signals = Signals::listen().map_err(Error::Host)?;
    let mut project = called.project.clone();
    project.binaries.push(called.binary.clone());
    let asked = (&settings, config);
    let Some(summary) = run::run_built(unbuilt, root, &project, asked, machine, &signals)? else {
        drop(signals);
        let limit = |policy: &Policy| policy.limits.timeout;
        return itself(config, called, arguments, limit, machine);
    };
    Ok(match ExitCode::of_run(&summary) {
        ExitCode::NothingToRun => ExitCode::Passed,
        ExitCode::TestsFailed => FAILED,
        other => other,
    })
}

/// Runs a program as it was called, in one sandbox.
fn itself(
    config: &Config,
    called: &Called,
    arguments: &[OsString],
    limit: impl FnOnce(&Policy) -> Option<Duration>,
    machine: &Machine,
) -> Result<ExitCode, Error> {
    let unbuilt = Unbuilt::start(policy(&config.layers(), machine, true)?)?;
    let signals = Signals::listen().map_err(Error::Host)?;
    let mut sandboxes = prepare::sandboxes(unbuilt, &called.project, machine)?;
    let limit = limit(&sandboxes.policy);
    let binary = &called.binary;
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let setup = sandboxes.setup(
        binary.executable.as_os_str(),
        &arguments,
        binary.working_directory.as_std_path(),
        &binary.environment,
        Some("it is one command"),
    );
    attend(&mut sandboxes, setup, limit, &signals)
}
