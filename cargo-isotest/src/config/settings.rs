//! The command line and the machine become settings: the last place where defaults are chosen.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use isotest_core::policy::{Guard, Policy};
use isotest_core::schedule::{MaxFail, Repeat, Stacks};

use crate::cli::{
    CargoOptions, ExplainFailures, FailFast, Format, LayerOptions, LibtestOptions, ListedFindings,
    MessageFormat, PackageScope, RecordLimits, ReplayCommand, Rerun, RunCommand, RunIgnored,
    TimeoutStacks, TraceWhen, Unit, Values,
};
use crate::config::machine::{Machine, MissingDebugger};
use crate::discover::{BuildRequest, Scope, filter};
use crate::report::{FindingsShown, FormatName, Frame, Options, Order, TerminalStyle, Workflow};

/// For each processor, how many short cases more than one are in flight. A case goes from process
/// to process and through queues of the kernel's; a processor would wait meanwhile.
const SPARE: usize = 3;

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Layers and limits that are asked for.
    pub layers: LayerOptions,
    /// Layers and limits.
    pub policy: Policy,
    /// The build.
    pub request: BuildRequest,
    /// Selection of cases.
    pub filter: filter::Filter,
    /// Number of processors.
    pub processors: usize,
    /// Number of cases that run at a time.
    pub jobs: usize,
    /// Number of further cases while they are short; 0 if a number was requested.
    pub spare: usize,
    /// True if each runs on the main thread of its process, as under libtest with one thread.
    pub single_threaded: bool,
    /// After how many failures no more are started.
    pub max_fail: Option<MaxFail>,
    /// Time limit of the run, from its first case.
    pub global_timeout: Option<Duration>,
    /// Number of runs of each case.
    pub repeat: Repeat,
    /// Unit that gets a sandbox of its own.
    pub unit: Unit,
    /// True if output is passed through.
    pub pass_through: bool,
    /// The seed of the order in which cases start; `None` where they start in the order of the list.
    pub shuffle: Option<u64>,
    /// The workflow of GitHub Actions that this runs in.
    pub workflow: Option<Workflow>,
    /// How failed tests are explained.
    pub explain: ExplainFailures,
    /// The tests that are traced.
    pub trace: TraceWhen,
    /// True if the run is recorded.
    pub record: bool,
    /// Limits of the recorded runs.
    pub record_limits: RecordLimits,
    /// Path of the JUnit report.
    pub junit: Option<PathBuf>,
    /// Path of the SARIF log.
    pub sarif: Option<PathBuf>,
    /// Tool that captures the stacks of a case before it is killed for its time.
    pub stacks: Stacks,
    /// True if keys are read while cases run.
    pub keys: bool,
    /// Options that another run needs to be the same.
    pub rerun: Rerun,
    /// Options for harnesses that are not libtest.
    pub passed_on: Vec<String>,
    /// Options of the report.
    pub report: Options,
}

impl Settings {
    /// True if one test runs at a time by request, and not for want of processors.
    pub fn asks_for_one_thread(&self) -> bool {
        self.single_threaded && self.processors > 1
    }

    /// True if no further case starts after this many failures.
    pub fn is_over(&self, failures: usize) -> bool {
        self.max_fail.is_some_and(|most| failures >= most.failures.get())
    }

    /// Settings of `cargo isotest run`; `values` are those of flags and configuration.
    pub fn of_run(
        command: &RunCommand,
        values: Values,
        machine: &Machine,
    ) -> Result<Settings, MissingDebugger> {
        let libtest = &command.libtest;
        let Values { layers, run_options } = values;
        let trace = run_options.trace.unwrap_or_default();
        let policy = Policy { trace: trace == TraceWhen::Always, ..policy(&layers) };
        let stacks = machine.stacks(debugger_of(command, policy.guard))?;
        let asked = libtest.test_threads.or(run_options.test_threads);
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
            filter: match command.runs_failed() {
                true => selection_of_failed(libtest),
                false => selection(libtest),
            },
            processors: machine.cores,
            jobs: jobs.min(isotest_core::sandbox::SLOTS),
            spare: if asked.is_none() && jobs > 1 { SPARE * jobs } else { 0 },
            single_threaded: jobs == 1,
            max_fail: match run_options.fail_fast() {
                _ if libtest.fail_fast => Some(MaxFail::FIRST),
                Some(FailFast::After(limit)) => Some(limit),
                Some(FailFast::Never) | None => None,
            },
            global_timeout: run_options.global_timeout.and_then(Into::into),
            repeat: command.run.repeat(),
            unit: command.run.unit,
            pass_through,
            shuffle,
            workflow: machine.workflow(),
            explain: run_options.explain_failures.unwrap_or_default(),
            trace,
            record: run_options.is_recorded(),
            record_limits: run_options.record_limits(),
            junit: run_options.junit.as_ref().map(|path| machine.directory.join(path)),
            sarif: run_options.sarif.as_ref().map(|path| machine.directory.join(path)),
            stacks,
            keys: machine.stdin_terminal && !command.run.no_input_handler,
            rerun: Rerun::of(command),
            passed_on: libtest.unknown.clone(),
            report: report(command, machine, pass_through, shuffle),
        })
    }
}

/// Tool that captures stacks. The parser of a debugger runs with the user's id, so none is chosen
/// if the program may be hostile: a build that comes from elsewhere, the strict guard.
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

/// The build that cargo is asked for.
pub fn request(cargo: &CargoOptions) -> BuildRequest {
    BuildRequest {
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

/// Filter of cases.
pub fn selection(libtest: &LibtestOptions) -> filter::Filter {
    filter::Filter {
        filters: libtest.filters.clone(),
        skip: libtest.skip.clone(),
        exact: libtest.exact,
        run_ignored: match libtest.run_ignored {
            RunIgnored::No => filter::IgnoredCases::No,
            RunIgnored::Only => filter::IgnoredCases::Only,
            RunIgnored::Yes => filter::IgnoredCases::Yes,
        },
        mode: match (libtest.bench, libtest.test) {
            (false, _) => filter::CaseKinds::Test,
            (true, false) => filter::CaseKinds::Bench,
            (true, true) => filter::CaseKinds::Both,
        },
    }
}

/// The same where only what has failed runs: whatever is ignored among that has run before.
fn selection_of_failed(libtest: &LibtestOptions) -> filter::Filter {
    let selection = selection(libtest);
    let run_ignored = match selection.run_ignored {
        filter::IgnoredCases::No | filter::IgnoredCases::Yes => filter::IgnoredCases::Yes,
        filter::IgnoredCases::Only => filter::IgnoredCases::Only,
    };
    filter::Filter { run_ignored, ..selection }
}

/// Report options of a replay: those of the run, unless a flag says otherwise, on this terminal.
pub fn of_replay(command: &ReplayCommand, recorded: Options, machine: &Machine) -> Options {
    let format = command.message_format.and_then(message_format);
    let format = format.or(command.format.map(of_libtest));
    // As `-q` of cargo test.
    let format = format.or(command.quiet.then_some(FormatName::Terse));
    Options {
        format: format.unwrap_or(recorded.format),
        show_output: recorded.show_output || command.show_output,
        slowest: command.slowest.unwrap_or(recorded.slowest),
        findings: command.findings.map_or(recorded.findings, shown),
        quiet: recorded.quiet || command.quiet,
        style: TerminalStyle {
            stdout_colour: machine.colours(command.color, machine.stdout_terminal),
            stderr_colour: machine.colours(command.color, machine.stderr_terminal),
            progress: false,
        },
        ..recorded
    }
}

/// The findings that `--findings` names.
fn shown(findings: ListedFindings) -> FindingsShown {
    match findings {
        ListedFindings::All => FindingsShown::All,
        ListedFindings::Summary => FindingsShown::Summary,
        ListedFindings::None => FindingsShown::None,
    }
}

/// The format that `--message-format` names; none where `--format` does.
fn message_format(format: MessageFormat) -> Option<FormatName> {
    match format {
        MessageFormat::Human => None,
        MessageFormat::Json => Some(FormatName::Messages),
        MessageFormat::LibtestJson => Some(FormatName::Json),
        MessageFormat::LibtestJsonPlus => Some(FormatName::JsonPlus),
    }
}

/// The format that `--format` names.
fn of_libtest(format: Format) -> FormatName {
    match format {
        Format::Pretty => FormatName::Pretty,
        Format::Terse => FormatName::Terse,
        Format::Json => FormatName::Json,
    }
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
        order: if progress && machine.stdout_terminal { Order::ByCompletion } else { Order::Cargo },
        format: message_format(command.message_format).unwrap_or(of_libtest(libtest.format)),
        show_output: libtest.show_output,
        report_time: libtest.report_time,
        shuffle_seed,
        slowest: command.slowest,
        findings: shown(command.findings),
        quiet: command.cargo.quiet,
        frame: Frame::Isotest,
        style: TerminalStyle {
            // libtest colours nothing where output is passed through.
            stdout_colour: machine.colours(colour, machine.stdout_terminal && !pass_through),
            stderr_colour: machine.colours(cargo_colour, machine.stderr_terminal),
            progress,
        },
    }
}
