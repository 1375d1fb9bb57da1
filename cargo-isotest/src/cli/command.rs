//! The subcommands, and their options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use isotest_core::schedule::Repeat;

use super::adopt::AdoptCommand;
use super::cargo::CargoOptions;
use super::config::{ConfigOptions, FiltersetOptions, ImportNextestCommand, ShowConfigCommand};
use super::diagnose::{DiagnoseCommand, ProveFixedCommand, ReproCommand};
use super::formats::{ListedFindings, MessageFormat, ReportFormat};
use super::hunt::{BisectOrderCommand, HuntCommand, VerifyCommand};
use super::layers::{LayerOptions, workspace_layer};
use super::libtest::{Color, Format, LibtestOptions, OutputFlags, SelectionFlags};
use super::looking::{DiffCommand, ExplainCommand, ShellCommand};
use super::reuse::{ArchiveCommand, ReuseOptions};
use super::run_flags::RunFlags;
use super::run_options::RunOptions;
use super::store::{
    BaselineCommand, ConflictsCommand, HistoryCommand, Recorded, ReplayCommand, RunsCommand,
};
use super::trace::TraceCommand;

const EXIT_CODES: &str = "\
Exit codes:
    0  all passed                      101  the build failed
    2  usage                           102  cargo metadata failed
    4  nothing to run                  103  an archive could not be written
   94  bad filter expression           104  the tests could not be listed
   96  a sandbox could not be set up   105  a setup command failed
  100  some test failed                110  a report could not be written
  128+n  ended by signal n";

const RERUN: &str = "\
RUN is the end or the beginning of a run's id, or a file that `runs export` has written; without it,
the latest run. `cargo isotest runs` lists the runs. The other options are those of `run`. Packages,
targets, features and profiles are those of the recorded run, unless others are given.";

const RUNNER: &str = "\
Each option is also a variable of the environment, ISOTEST_NET=host for --net=host; a flag goes
before it. It is meant to be called by cargo:
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=\"cargo-isotest runner\" cargo test";

const USAGE: &str = "cargo isotest [run] [OPTIONS] [FILTER]... [-- LIBTEST ARGS]\n       \
                     cargo isotest <COMMAND>";

/// cargo test, with every test alone: PID 1 of fresh namespaces on a throwaway root filesystem
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "cargo-isotest",
    bin_name = "cargo isotest",
    version,
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Build and run the tests (the default command)
    #[command(override_usage = "cargo isotest [run] [OPTIONS] [FILTER]... [-- LIBTEST ARGS]")]
    #[command(after_help = EXIT_CODES)]
    Run(Box<RunCommand>),
    /// Run the tests that failed, or never ran, in a recorded run
    #[command(override_usage = "cargo isotest rerun [RUN] [OPTIONS] [-- LIBTEST ARGS]")]
    #[command(after_help = RERUN)]
    Rerun(Box<RunCommand>),
    /// Print a recorded run again
    Replay(ReplayCommand),
    /// List the recorded runs, compare two, or export one
    Runs(RunsCommand),
    /// Print the results of a test in recorded runs
    History(HistoryCommand),
    /// Find the grants that tests need to pass isolated, and write them to .config/isotest.toml
    Adopt(Box<AdoptCommand>),
    /// Find out why a test is flaky: the cause, the other party, the fix
    Diagnose(Box<DiagnoseCommand>),
    /// Find the flaky tests of the suite, and diagnose them
    Hunt(Box<HuntCommand>),
    /// Run each test twice under conditions that differ, and compare
    Verify(Box<VerifyCommand>),
    /// Find the tests that must run before a test in one process to make it fail, or pass
    BisectOrder(Box<BisectOrderCommand>),
    /// Make a flaky test fail again, by the token that `diagnose` printed
    Repro(Box<ReproCommand>),
    /// Run a test as often as it takes to show that it is no longer flaky
    ProveFixed(Box<ProveFixedCommand>),
    /// Write the findings of a recorded run as known ones, which `--deny` lets pass
    Baseline(BaselineCommand),
    /// Print which files, ports and sockets the tests of a traced run would share without isolation
    Conflicts(ConflictsCommand),
    /// Build the tests into an archive that runs without cargo
    Archive(Box<ArchiveCommand>),
    /// List the tests
    #[command(override_usage = "cargo isotest list [OPTIONS] [FILTER]... [-- LIBTEST ARGS]")]
    List(Box<ListCommand>),
    /// Try every kernel feature that isolation needs
    Doctor(DoctorCommand),
    /// Print how a test is run: layers, steps, mounts, environment
    Explain(Box<ExplainCommand>),
    /// Run a test once and print what it asked the kernel for: files, addresses, processes
    Trace(Box<TraceCommand>),
    /// Open a shell, or run a command, in the sandbox of a test
    Shell(Box<ShellCommand>),
    /// Run a test, and print the files that it adds (A), changes (C) and deletes (D)
    Diff(Box<DiffCommand>),
    /// Run any command in a sandbox
    #[command(override_usage = "cargo isotest exec [OPTIONS] [--] CMD [ARGS]...")]
    Exec(Box<ExecCommand>),
    /// Run a program that cargo starts through `target.<triple>.runner`, its tests isolated
    #[command(override_usage = "cargo-isotest runner [OPTIONS] BIN [ARGS]...")]
    #[command(after_help = RUNNER)]
    Runner(Box<RunnerCommand>),
    /// Print the effective configuration, each value with its source
    ShowConfig(Box<ShowConfigCommand>),
    /// Convert .config/nextest.toml to .config/isotest.toml
    ImportNextest(Box<ImportNextestCommand>),
    /// Remove unpacked root filesystems and layers that no run uses, and old runs of the project
    Prune,
    /// Print completions for a shell
    Completions(CompletionsCommand),
    /// Print the manual page
    Man,
}

impl Command {
    /// What `--color` says.
    pub fn colour(&self) -> Option<Color> {
        match self {
            Command::Run(it) | Command::Rerun(it) => it.cargo.color,
            Command::Replay(it) => it.color,
            Command::Adopt(it) => it.cargo.color,
            Command::Diagnose(it) => it.suite.cargo.color,
            Command::Hunt(it) => it.suite.cargo.color,
            Command::Verify(it) => it.suite.cargo.color,
            Command::BisectOrder(it) => it.suite.cargo.color,
            Command::Repro(it) => it.suite.cargo.color,
            Command::ProveFixed(it) => it.suite.cargo.color,
            Command::Archive(it) => it.cargo.color,
            Command::List(it) => it.cargo.color,
            Command::Explain(it) => it.cargo.color,
            Command::Trace(it) => it.cargo.color,
            Command::Shell(it) => it.cargo.color,
            Command::Diff(it) => it.cargo.color,
            Command::ShowConfig(it) => it.cargo.color,
            Command::ImportNextest(it) => it.cargo.color,
            Command::Runs(_)
            | Command::History(_)
            | Command::Baseline(_)
            | Command::Conflicts(_)
            | Command::Doctor(_)
            | Command::Exec(_)
            | Command::Runner(_)
            | Command::Prune
            | Command::Completions(_)
            | Command::Man => None,
        }
    }
}

/// `cargo isotest run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunCommand {
    #[command(flatten)]
    pub(super) selection: SelectionFlags,
    /// Filter expressions.
    #[command(flatten)]
    pub filterset: FiltersetOptions,
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Flags that control the run.
    #[command(flatten)]
    pub run: RunFlags,
    /// Layers and limits.
    #[command(flatten)]
    pub layers: LayerOptions,
    #[command(flatten)]
    pub(super) output: OutputFlags,
    /// Name the N slowest tests
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    #[arg(help_heading = "Output")]
    pub slowest: usize,
    /// Findings that the summary lists: each, a few lines of each kind, or none
    #[arg(long, value_name = "WHICH", default_value = "summary", help_heading = "Output")]
    pub findings: ListedFindings,
    /// Print all events of the run as JSON, or results as nextest does
    #[arg(long, value_name = "FORMAT", default_value = "human", conflicts_with = "format")]
    #[arg(help_heading = "Output")]
    pub message_format: MessageFormat,
    /// Write a JUnit XML report
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    junit: Option<PathBuf>,
    /// Write the findings as a SARIF log
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    sarif: Option<PathBuf>,
    /// Build options.
    #[command(flatten)]
    pub cargo: CargoOptions,
    /// A build that was made before.
    #[command(flatten)]
    pub reuse: ReuseOptions,
    /// Selection of tests and format of results.
    #[arg(skip)]
    pub libtest: LibtestOptions,
    /// The recorded run whose failed tests alone run (`rerun`).
    #[arg(skip)]
    pub of: Option<Recorded>,
}

impl RunCommand {
    /// A run of all tests of a build, as its configuration says.
    pub fn of(cargo: CargoOptions, config: ConfigOptions) -> RunCommand {
        RunCommand { cargo, config, ..RunCommand::default() }
    }

    /// True if stdout has messages for programs only.
    pub fn has_messages(&self) -> bool {
        self.message_format != MessageFormat::Human
    }

    /// True if it runs only tests that have failed before.
    pub fn runs_failed(&self) -> bool {
        self.run.rerun_failed || self.of.is_some()
    }

    /// The flags that are configuration keys too.
    pub fn run_options(&self) -> RunOptions {
        let (junit, sarif) = (self.junit.clone(), self.sarif.clone());
        RunOptions { junit, sarif, ..self.run.run_options() }
    }

    /// Fails for options that contradict each other.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let is_stress = self.run.repeat() != Repeat::Once;
        if is_stress && self.run.starts_again() {
            return Err(
                "a stress run cannot retry failed tests: remove `--retries`, or set it to 0",
            );
        }
        let alone = "`--message-format` needs one sandbox for each test";
        if self.libtest.list && self.libtest.format == Format::Json {
            return Err("`--list` has no JSON; `cargo isotest list --format json` has nextest's");
        }
        match (self.has_messages(), is_stress, self.cargo.doc, self.libtest.list) {
            (true, true, ..) => Err("a stress run has no results in JSON"),
            (true, _, true, _) | (true, _, _, true) => Err(alone),
            (false, true, ..) if self.libtest.format == Format::Json => {
                Err("a stress run has no results in JSON")
            }
            _ => Ok(()),
        }
    }
}

/// `cargo isotest list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ListCommand {
    #[command(flatten)]
    pub(super) selection: SelectionFlags,
    /// Filter expressions.
    #[command(flatten)]
    pub filterset: FiltersetOptions,
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Print the list in this format
    #[arg(long, visible_alias = "message-format", value_name = "FORMAT", default_value = "human")]
    #[arg(help_heading = "Output")]
    pub format: ReportFormat,
    /// Build options.
    #[command(flatten)]
    pub cargo: CargoOptions,
    /// A build that was made before.
    #[command(flatten)]
    pub reuse: ReuseOptions,
    /// Layers and limits: binaries are asked for their lists in a sandbox.
    #[command(flatten)]
    pub layers: LayerOptions,
    /// Selection of tests.
    #[arg(skip)]
    pub libtest: LibtestOptions,
}

/// `cargo isotest doctor`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DoctorCommand {
    /// Print the result in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
}

/// `cargo isotest runner`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunnerCommand {
    /// Do not step aside in a sandbox: `run` says so for documentation tests
    #[arg(long, hide = true)]
    pub nested: bool,
    /// A word of the runner that the project has for itself, which starts the program
    #[arg(long, hide = true)]
    pub through: Vec<OsString>,
    /// The program and its layers.
    #[command(flatten)]
    pub exec: ExecCommand,
}

/// `cargo isotest exec`; `runner` has more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ExecCommand {
    /// Layers and limits.
    #[command(flatten)]
    pub layers: LayerOptions,
    /// Effect of writes to the project of the current directory
    #[arg(long, value_name = "VALUE", value_parser = workspace_layer())]
    #[arg(help_heading = "Isolation layers")]
    pub(super) workspace: Option<OsString>,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// `cargo isotest completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CompletionsCommand {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The whole command, for help, completions and the manual page: `run`'s options stand at the top.
pub fn command() -> clap::Command {
    let cli = Cli::command();
    let about = cli.get_about().cloned().unwrap_or_default();
    // One line an option on `--help` too: the long form takes three for each.
    let help = Arg::new("help")
        .short('h')
        .long("help")
        .help("Print help")
        .help_heading(None::<&str>)
        .action(ArgAction::HelpShort)
        .global(true);
    RunCommand::augment_args(cli)
        .about(about)
        .disable_help_flag(true)
        .arg(help)
        .override_usage(USAGE)
        .after_help(EXIT_CODES)
}

/// The same for completions: behind `isotest` stands a command or an option. What is none of them is
/// for `run`, and the scripts say so.
pub fn completed() -> clap::Command {
    let run = RunCommand::augment_args(clap::Command::new("run"));
    let options = run.get_arguments().filter(|argument| !argument.is_positional()).cloned();
    Cli::command().args(options)
}
