//! `cargo isotest trace`, as it is typed.

use clap::Args;

use super::cargo::CargoOptions;
use super::config::ConfigOptions;
use super::formats::ReportFormat;
use super::layers::LayerOptions;
use super::reuse::ReuseOptions;

/// `cargo isotest trace`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TraceCommand {
    /// Name of the test, or a unique part of it
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Print every event; nothing is put together or left out
    #[arg(long)]
    pub full: bool,
    /// Print the trace in this format; json has every event
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
