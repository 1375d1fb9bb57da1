//! Commands that read recorded runs.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::formats::{ListedFindings, MessageFormat, ReportFormat};
use super::libtest::{Color, Format};

/// The project whose runs are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ProjectOptions {
    /// Path to Cargo.toml
    #[arg(long, value_name = "PATH", global = true)]
    pub manifest_path: Option<PathBuf>,
    /// Directory for all that cargo builds
    #[arg(long, value_name = "DIRECTORY", global = true)]
    pub target_dir: Option<PathBuf>,
}

/// `cargo isotest runs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunsCommand {
    /// Action; without it, the runs are listed.
    #[command(subcommand)]
    pub act: Option<RunsAct>,
    /// Print the list in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// The project.
    #[command(flatten)]
    pub project: ProjectOptions,
}

/// `cargo isotest runs ACT`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum RunsAct {
    /// Write a run to a file that is read wherever a RUN is asked for, or as a timeline
    Export {
        /// The run: the end or the beginning of its id, `latest`, or a file
        #[arg(value_name = "RUN")]
        run: String,
        /// The file to write, which must not exist
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The format of the file
        #[arg(long, value_name = "FORMAT", default_value = "isotest")]
        format: ExportFormat,
    },
    /// Compare two runs: failures, fixes, flaky and slower tests, findings
    #[command(override_usage = "cargo isotest runs diff [OPTIONS] [A] [B]")]
    Diff {
        /// The first run [default: the one before the latest]
        #[arg(value_name = "A")]
        a: Option<String>,
        /// The second run [default: the latest]
        #[arg(value_name = "B")]
        b: Option<String>,
        /// Print the differences in this format
        #[arg(long, value_name = "FORMAT")]
        format: Option<ReportFormat>,
    },
}

/// Format of an exported run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ExportFormat {
    /// A recorded run, for isotest
    #[default]
    Isotest,
    /// A timeline for Perfetto and chrome://tracing
    ChromeTrace,
}

/// `cargo isotest conflicts`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ConflictsCommand {
    /// The run: the end or the beginning of its id, or a file [default: the latest run]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print the conflicts in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// The project.
    #[command(flatten)]
    pub project: ProjectOptions,
}

/// `cargo isotest history`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HistoryCommand {
    /// Name of the test, or a unique part of it; it need not exist any more
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Maximum number of runs, the latest ones
    #[arg(long, value_name = "N", default_value = "20")]
    pub runs: NonZeroUsize,
    /// Print the history in this format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// The project.
    #[command(flatten)]
    pub project: ProjectOptions,
}

/// The recorded run that `rerun` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Its name as it was typed; the latest run without.
    pub name: Option<String>,
}

/// `cargo isotest baseline`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BaselineCommand {
    /// The run: the end or the beginning of its id, or a file [default: the latest run]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Write nothing; print what would change, and exit with 100 if anything would
    #[arg(long)]
    pub check: bool,
    /// The project.
    #[command(flatten)]
    pub project: ProjectOptions,
}

/// `cargo isotest replay`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ReplayCommand {
    /// The run: the end or the beginning of its id, or a file [default: the latest run]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Exit with the exit code of the run
    #[arg(long)]
    pub exit_code: bool,
    /// Print the output of passed tests too
    #[arg(long)]
    pub show_output: bool,
    /// Print results in this format [default: that of the run]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Print all events of the run as JSON, or results as nextest does
    #[arg(long, value_name = "FORMAT", conflicts_with = "format")]
    pub message_format: Option<MessageFormat>,
    /// Name the N slowest tests [default: that of the run]
    #[arg(long, value_name = "N")]
    pub slowest: Option<usize>,
    /// Findings that the summary lists: each, a few lines of each kind, or none [default: as of the
    /// run]
    #[arg(long, value_name = "WHICH")]
    pub findings: Option<ListedFindings>,
    /// Write a JUnit XML report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the findings as a SARIF log
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Print no lines of cargo's, and no summary of a run without trouble
    #[arg(short, long)]
    pub quiet: bool,
    /// When to use colours
    #[arg(long, value_name = "WHEN")]
    pub color: Option<Color>,
    /// The project.
    #[command(flatten)]
    pub project: ProjectOptions,
}
