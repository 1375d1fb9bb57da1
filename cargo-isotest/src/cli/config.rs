//! Options that choose the configuration, and filter expressions.

use clap::Args;

use super::cargo::CargoOptions;
use super::layers::LayerOptions;

/// Options that choose the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigOptions {
    /// Take the profile NAME of .config/isotest.toml (`--profile` is cargo's)
    #[arg(id = "isotest_profile", short = 'P', long = "isotest-profile", value_name = "NAME")]
    pub profile: Option<String>,
}

/// Filter expressions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Test selection")]
pub struct FiltersetOptions {
    /// Run only tests that this expression selects, in nextest's language: `package(api) & test(/^net::/)`
    #[arg(short = 'E', long = "filterset", value_name = "EXPR", conflicts_with = "doc")]
    pub filterset: Vec<String>,
    /// Run also tests that the `default-filter` of the profile leaves out
    #[arg(long)]
    pub ignore_default_filter: bool,
}

/// `cargo isotest show-config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ShowConfigCommand {
    /// Print the JSON Schema of .config/isotest.toml instead
    #[arg(long)]
    pub schema: bool,
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Layers and limits.
    #[command(flatten)]
    pub layers: LayerOptions,
    /// Options that locate the workspace.
    #[command(flatten)]
    pub cargo: CargoOptions,
}

/// `cargo isotest import-nextest`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ImportNextestCommand {
    /// Replace a .config/isotest.toml that is there already
    #[arg(long)]
    pub force: bool,
    /// Print the file instead of writing it
    #[arg(long, conflicts_with = "force")]
    pub dry_run: bool,
    /// Options that locate the workspace.
    #[command(flatten)]
    pub cargo: CargoOptions,
}
