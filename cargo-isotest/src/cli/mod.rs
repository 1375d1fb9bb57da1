//! The command line: flags as typed.
//!
//! Pure: it reads no file, clock, terminal or environment, and chooses no default that something
//! else than the command line may also choose. It starts at [`parse()`]; what the options mean
//! together with configuration and machine is decided by the stage after it.

mod adopt;
mod cargo;
mod command;
mod config;
mod deny;
mod diagnose;
mod formats;
mod getopts;
mod hunt;
mod keys;
mod layers;
mod libtest;
mod looking;
mod parse;
mod partition;
mod quantity;
mod repeat;
mod rerun;
mod reuse;
mod run_flags;
mod run_options;
mod store;
mod trace;

pub use adopt::{AdoptCommand, Distribution};
pub use cargo::{CargoOptions, PackageScope};
pub use command::{
    Cli, Command, DoctorCommand, ExecCommand, ListCommand, RunCommand, RunnerCommand, command,
    completed,
};
pub use config::{ConfigOptions, FiltersetOptions, ImportNextestCommand, ShowConfigCommand};
pub use deny::name as deny_name;
pub use diagnose::{
    Budget, DiagnoseCommand, HostArms, ProveFixedCommand, ReproCommand, SuiteOptions,
};
pub use formats::{ListedFindings, MessageFormat, ReportFormat};
pub use hunt::{BisectOrderCommand, HuntCommand, VerifyCommand};
pub use keys::{Key, Shape, Values, keys, read as read_key};
pub use layers::{Layer, LayerOptions, layers_as_shown};
pub use libtest::{
    Color, Format, LibtestOptions, RunIgnored, asks_for_help, libtest_options, unrecognized,
};
pub use looking::{DiffCommand, ExplainCommand, ShellCommand};
pub use parse::parse;
pub use partition::{Part, Partition, Scheme};
pub use quantity::{Threads, deadline as read_deadline, duration, threads};
pub use repeat::RecordedOptions;
pub use rerun::Rerun;
pub use reuse::{ArchiveCommand, ReuseOptions};
pub use run_flags::{CommandLine, NoTests, TimeoutStacks, Unit};
pub use run_options::{
    ExplainFailures, FailFast, RecordLimits, RunOptions, ThreadsRequired, TraceWhen, retries_name,
    threads_schema,
};
pub use store::{
    BaselineCommand, ConflictsCommand, ExportFormat, HistoryCommand, ProjectOptions, Recorded,
    ReplayCommand, RunsAct, RunsCommand,
};
pub use trace::TraceCommand;
