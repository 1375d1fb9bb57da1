//! The command line and the machine become settings: the last place where defaults are chosen.
//!
//! [`Machine`] is all that is read of the process's surroundings; but for `discover`, which does
//! as cargo does, nothing after this module asks for an environment variable or whether a stream
//! is a terminal.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use isotest_core::policy::{Guard, Policy};
use isotest_core::schedule::{MaxFail, Repeat, Stacks};

use crate::cli::{
    CargoOptions, Color, FailFast, Format, LayerOptions, LibtestOptions, MessageFormat,
    PackageScope, Rerun, RunCommand, RunIgnored, TimeoutStacks, Unit, Values,
};
use crate::discover::{Request, Scope, filter};
use crate::report::{FormatName, Frame, Look, Options, Order, Workflow};
use crate::sandbox::environment::Variable;

/// The surroundings of this process.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The environment.
    pub variables: Vec<Variable>,
    /// The working directory.
    pub directory: PathBuf,
    /// Whether stdin is a terminal.
    pub stdin_terminal: bool,
    /// Whether stdout is a terminal.
    pub stdout_terminal: bool,
    /// Whether stderr is a terminal.
    pub stderr_terminal: bool,
    /// How many processors this process may use.
    pub cores: usize,
    /// Whether this process is the superuser's.
    pub is_root: bool,
    /// The directory that tests write coverage profiles to.
    pub profiles: Option<PathBuf>,
}

impl Machine {
    /// Looks around.
    pub fn read() -> io::Result<Machine> {
        Ok(Machine {
            variables: env::vars_os().collect(),
            directory: env::current_dir()?,
            stdin_terminal: io::stdin().is_terminal(),
            stdout_terminal: io::stdout().is_terminal(),
            stderr_terminal: io::stderr().is_terminal(),
            is_root: isotest_core::host::is_root(),
            profiles: None,
            cores: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        })
    }

    /// An environment variable; an empty one counts as unset.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// `$HOME`, where it is an absolute path.
    pub fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
    }

    /// `$XDG_CACHE_HOME`, or its default (XDG Base Directory Specification).
    pub fn cache_directory(&self) -> Option<PathBuf> {
        let given = self.variable("XDG_CACHE_HOME").map(PathBuf::from);
        let default = || self.home().map(|home| home.join(".cache"));
        given.filter(|path| path.is_absolute()).or_else(default)
    }

    /// `$CARGO_HOME`, or its default.
    pub fn cargo_home(&self) -> Option<PathBuf> {
        let default = || self.home().map(|home| home.join(".cargo"));
        self.variable("CARGO_HOME").map(PathBuf::from).or_else(default)
    }

    /// `$RUSTUP_HOME`, or its default.
    pub fn rustup_home(&self) -> Option<PathBuf> {
        let default = || self.home().map(|home| home.join(".rustup"));
        self.variable("RUSTUP_HOME").map(PathBuf::from).or_else(default)
    }

    /// Cargo's files with tokens, there or not.
    pub fn credentials(&self) -> Vec<PathBuf> {
        let home = self.cargo_home().and_then(|home| home.canonicalize().ok());
        let files = ["credentials.toml", "credentials"];
        home.iter().flat_map(|home| files.map(|file| home.join(file))).collect()
    }

    /// Whether a program is on `PATH`.
    fn has(&self, program: &str) -> bool {
        let paths = env::split_paths(self.variable("PATH").unwrap_or_default());
        paths.map(|directory| directory.join(program)).any(|path| path.is_file())
    }

    /// Who reads the stacks of a case before it is killed for its time.
    fn stacks(&self, asked: TimeoutStacks) -> Result<Stacks, MissingDebugger> {
        let known = |program: &'static str, stacks| match self.has(program) {
            true => Ok(stacks),
            false => Err(MissingDebugger(program)),
        };
        match asked {
            TimeoutStacks::Auto if self.has("gdb") => Ok(Stacks::Gdb),
            TimeoutStacks::Auto if self.has("eu-stack") => Ok(Stacks::EuStack),
            TimeoutStacks::Auto | TimeoutStacks::Proc => Ok(Stacks::Proc),
            TimeoutStacks::Gdb => known("gdb", Stacks::Gdb),
            TimeoutStacks::EuStack => known("eu-stack", Stacks::EuStack),
            TimeoutStacks::None => Ok(Stacks::None),
        }
    }

    /// The workflow of GitHub Actions that this process is started by.
    fn workflow(&self) -> Option<Workflow> {
        let path = |name| self.variable(name).map(PathBuf::from);
        self.variable("GITHUB_ACTIONS").filter(|value| *value == "true")?;
        Some(Workflow {
            repository: path("GITHUB_WORKSPACE"),
            summary: path("GITHUB_STEP_SUMMARY"),
        })
    }

    /// Whether a stream is coloured: by flag, then `NO_COLOR`, then `CARGO_TERM_COLOR`.
    fn colours(&self, flag: Option<Color>, terminal: bool) -> bool {
        let cargo = self.variable("CARGO_TERM_COLOR").and_then(OsStr::to_str);
        match (flag, cargo) {
            (Some(Color::Always), _) => true,
            (Some(Color::Never), _) => false,
            (None | Some(Color::Auto), _) if self.variable("NO_COLOR").is_some() => false,
            (None | Some(Color::Auto), Some("always")) => true,
            (None | Some(Color::Auto), Some("never")) => false,
            (None | Some(Color::Auto), _) => {
                terminal && self.variable("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }

    fn shows_progress(&self) -> bool {
        match self.variable("CARGO_TERM_PROGRESS_WHEN").and_then(OsStr::to_str) {
            Some("always") => true,
            Some("never") => false,
            Some(_) | None => {
                self.stderr_terminal
                    && self.variable("CI").is_none()
                    && self.variable("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// A debugger that is asked to read stacks, and is not on `PATH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingDebugger(&'static str);

impl fmt::Display for MissingDebugger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.0;
        write!(
            f,
            "cannot use `--timeout-stacks {program}`: there is no `{program}` on PATH\n\
             hint: install it; `--timeout-stacks proc` needs no debugger, and `auto` takes what is there"
        )
    }
}

impl std::error::Error for MissingDebugger {}

/// For each processor, how many short cases more than one are in flight. A case goes from process
/// to process and through queues of the kernel's; a processor would wait meanwhile.
const SPARE: usize = 3;

/// Everything that a run is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Layers and limits that are asked for.
    pub layers: LayerOptions,
    /// Layers and limits.
    pub policy: Policy,
    /// What is built.
    pub request: Request,
    /// Which cases run.
    pub filter: filter::Filter,
    /// How many processors there are.
    pub processors: usize,
    /// How many at once.
    pub jobs: usize,
    /// How many more while they are short: none where a number was asked for.
    pub spare: usize,
    /// Whether each runs on the main thread of its process, as under libtest with one thread.
    pub single_threaded: bool,
    /// After how many failures no more are started.
    pub max_fail: Option<MaxFail>,
    /// How long the run may take, but for what is done before the first case.
    pub global_timeout: Option<Duration>,
    /// How often each case is run.
    pub repeat: Repeat,
    /// What has a sandbox of its own.
    pub unit: Unit,
    /// Whether output is passed through.
    pub pass_through: bool,
    /// The seed of the order in which cases start; `None` where they start in the order of the list.
    pub shuffle: Option<u64>,
    /// The workflow of GitHub Actions that this runs in.
    pub workflow: Option<Workflow>,
    /// Where a JUnit report is written.
    pub junit: Option<PathBuf>,
    /// Who reads the stacks of a case before it is killed for its time.
    pub stacks: Stacks,
    /// Whether keys are read while cases run.
    pub keys: bool,
    /// What another run is given to be this one.
    pub rerun: Rerun,
    /// What is passed on to harnesses that are not libtest.
    pub passed_on: Vec<String>,
    /// How it is reported.
    pub report: Options,
}

impl Settings {
    /// Whether one test runs at a time since somebody wants it, and not for want of processors.
    pub fn asks_for_one_thread(&self) -> bool {
        self.single_threaded && self.processors > 1
    }

    /// Whether no more is started after this many failures.
    pub fn is_over(&self, failures: usize) -> bool {
        self.max_fail.is_some_and(|most| failures >= most.failures.get())
    }

    /// What `cargo isotest run` is told; `values` is what flags and configuration ask for together.
    pub fn of_run(
        command: &RunCommand,
        values: Values,
        machine: &Machine,
    ) -> Result<Settings, MissingDebugger> {
        let libtest = &command.libtest;
        let Values { layers, course } = values;
        let policy = policy(&layers);
        let stacks = machine.stacks(debugger_of(command, policy.guard))?;
        let asked = libtest.test_threads.or(course.test_threads);
        let asked = asked.map(|threads| threads.count(machine.cores));
        let jobs = asked.unwrap_or(machine.cores);
        let shuffle =
            command.run.shuffle.or(libtest.shuffle).map(|seed| seed.unwrap_or_else(random));
        let pass_through = libtest.no_capture
            || machine.variable("RUST_TEST_NOCAPTURE").is_some_and(|value| value != "0");
        Ok(Settings {
            policy,
            layers,
            request: request(&command.cargo),
            filter: match command.run.rerun_failed {
                true => selection_of_failed(libtest),
                false => selection(libtest),
            },
            processors: machine.cores,
            jobs: jobs.min(isotest_core::sandbox::SLOTS),
            spare: if asked.is_none() && jobs > 1 { SPARE * jobs } else { 0 },
            single_threaded: jobs == 1,
            max_fail: match course.fail_fast() {
                _ if libtest.fail_fast => Some(MaxFail::FIRST),
                Some(FailFast::After(limit)) => Some(limit),
                Some(FailFast::Never) | None => None,
            },
            global_timeout: course.global_timeout.and_then(Into::into),
            repeat: command.run.repeat(),
            unit: command.run.unit,
            pass_through,
            shuffle,
            workflow: machine.workflow(),
            junit: course.junit.as_ref().map(|path| machine.directory.join(path)),
            stacks,
            keys: machine.stdin_terminal && !command.run.no_input_handler,
            rerun: Rerun::of(command),
            passed_on: libtest.unknown.clone(),
            report: report(command, machine, pass_through, shuffle),
        })
    }
}

/// Who reads stacks. A debugger opens files of the host that the program names, so none is chosen where
/// the program is not trusted with that: a build that comes from elsewhere, the strict guard.
fn debugger_of(command: &RunCommand, guard: Guard) -> TimeoutStacks {
    match command.run.timeout_stacks {
        TimeoutStacks::Auto if command.reuse.is_reused() || guard == Guard::Strict => {
            TimeoutStacks::Proc
        }
        asked => asked,
    }
}

/// A random number.
fn random() -> u64 {
    // The keys of a `RandomState` are random, and so is the hash of anything.
    RandomState::new().hash_one(0_u8)
}

/// The policy that the layer flags ask for.
pub fn policy(layers: &LayerOptions) -> Policy {
    layers.apply(Policy::default())
}

/// What cargo is asked to build.
pub fn request(cargo: &CargoOptions) -> Request {
    Request {
        build_arguments: cargo.to_arguments(),
        metadata_arguments: cargo.to_metadata_arguments(),
        target_dir: cargo.target_dir.clone(),
        config: cargo.config.clone(),
        scope: match cargo.package_scope() {
            PackageScope::Default => Scope::Default,
            PackageScope::Workspace => Scope::Workspace,
            PackageScope::Named => Scope::Named,
        },
    }
}

/// What selects cases.
pub fn selection(libtest: &LibtestOptions) -> filter::Filter {
    filter::Filter {
        filters: libtest.filters.clone(),
        skip: libtest.skip.clone(),
        exact: libtest.exact,
        run_ignored: match libtest.run_ignored {
            RunIgnored::No => filter::RunIgnored::No,
            RunIgnored::Only => filter::RunIgnored::Only,
            RunIgnored::Yes => filter::RunIgnored::Yes,
        },
        mode: match (libtest.bench, libtest.test) {
            (false, _) => filter::Mode::Test,
            (true, false) => filter::Mode::Bench,
            (true, true) => filter::Mode::Both,
        },
    }
}

/// The same where only what has failed runs: whatever is ignored among that has run before.
fn selection_of_failed(libtest: &LibtestOptions) -> filter::Filter {
    let selection = selection(libtest);
    let run_ignored = match selection.run_ignored {
        filter::RunIgnored::No | filter::RunIgnored::Yes => filter::RunIgnored::Yes,
        filter::RunIgnored::Only => filter::RunIgnored::Only,
    };
    filter::Filter { run_ignored, ..selection }
}

fn report(
    command: &RunCommand,
    machine: &Machine,
    pass_through: bool,
    shuffle_seed: Option<u64>,
) -> Options {
    let libtest = &command.libtest;
    let (cargo_colour, colour) = (command.cargo.color, libtest.color.or(command.cargo.color));
    let progress = machine.shows_progress() && !pass_through && !command.cargo.quiet;
    Options {
        // Where a bar tells how all goes on, whole blocks are told as they come. Without it one is
        // told as it goes on; and what is no terminal gets what cargo test prints, in its order.
        order: if progress && machine.stdout_terminal { Order::Ends } else { Order::Cargos },
        format: match (command.message_format, libtest.format) {
            (MessageFormat::Json, _) => FormatName::Messages,
            (MessageFormat::LibtestJson, _) => FormatName::Json,
            (MessageFormat::LibtestJsonPlus, _) => FormatName::JsonPlus,
            (MessageFormat::Human, Format::Pretty) => FormatName::Pretty,
            (MessageFormat::Human, Format::Terse) => FormatName::Terse,
            (MessageFormat::Human, Format::Json) => FormatName::Json,
        },
        show_output: libtest.show_output,
        report_time: libtest.report_time,
        shuffle_seed,
        slowest: command.slowest,
        quiet: command.cargo.quiet,
        frame: Frame::Ours,
        look: Look {
            // libtest colours nothing where output is passed through.
            stdout_colour: machine.colours(colour, machine.stdout_terminal && !pass_through),
            stderr_colour: machine.colours(cargo_colour, machine.stderr_terminal),
            progress,
        },
    }
}

/// A path as cargo prints it: relative to the working directory where it lies below it.
pub fn shown(path: &Path, machine: &Machine) -> OsString {
    path.strip_prefix(&machine.directory).unwrap_or(path).as_os_str().to_owned()
}

/// One layer or limit as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Where the value comes from.
    pub source: String,
}
