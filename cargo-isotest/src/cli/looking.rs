//! The commands that look at one test, as they are typed.

use std::ffi::OsString;

use clap::Args;

use super::cargo::CargoOptions;
use super::config::ConfigOptions;
use super::formats::ReportFormat;
use super::layers::LayerOptions;
use super::reuse::ReuseOptions;

/// `cargo isotest explain`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ExplainCommand {
    /// Name of the test, or a unique part of it
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Build options.
    #[command(flatten)]
    pub cargo: CargoOptions,
    /// A build that was made before.
    #[command(flatten)]
    pub reuse: ReuseOptions,
    /// Layers and limits.
    #[command(flatten)]
    pub layers: LayerOptions,
}

/// `cargo isotest shell`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ShellCommand {
    /// Name of the test, or a unique part of it
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Run the test first; the shell sees what it leaves: files, processes, sockets
    #[arg(long)]
    pub after: bool,
    /// What to run there; without it, a shell
    #[arg(value_name = "CMD", last = true)]
    pub command: Vec<OsString>,
    /// Build options.
    #[command(flatten)]
    pub cargo: CargoOptions,
    /// A build that was made before.
    #[command(flatten)]
    pub reuse: ReuseOptions,
    /// Layers and limits.
    #[command(flatten)]
    pub layers: LayerOptions,
}

/// `cargo isotest diff`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DiffCommand {
    /// Name of the test, or a unique part of it
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: ReportFormat,
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Build options.
    #[command(flatten)]
    pub cargo: CargoOptions,
    /// A build that was made before.
    #[command(flatten)]
    pub reuse: ReuseOptions,
    /// Layers and limits.
    #[command(flatten)]
    pub layers: LayerOptions,
}
