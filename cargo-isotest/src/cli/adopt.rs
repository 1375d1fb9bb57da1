//! `cargo isotest adopt`, as it is typed.

use clap::{Args, ValueEnum};

use super::cargo::CargoOptions;
use super::config::ConfigOptions;

const HELP: &str = "\
Tests that fail isolated run three times outside of every sandbox, as cargo test runs them. Those that
pass there run isolated with grants, until the smallest set is found. Overrides that adopt has written
before have a reason that begins with `adopt: `; all others stay as they are. The exit code is 100 if
no grants help a test.";

/// `cargo isotest adopt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(after_help = HELP)]
pub struct AdoptCommand {
    /// Do not ask before tests run outside of every sandbox
    #[arg(short, long)]
    pub yes: bool,
    /// Write nothing; exit with 100 if a grant is missing or no longer needed
    #[arg(long)]
    pub check: bool,
    /// Write nothing; print the tests that need the network, for a package of a distribution
    #[arg(long, value_name = "DISTRIBUTION", conflicts_with = "check")]
    pub format: Option<Distribution>,
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Build options.
    #[command(flatten)]
    pub cargo: CargoOptions,
}

/// Distribution whose packages leave out tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// `checkFlags` of `rustPlatform.buildRustPackage`
    Nix,
    /// `override_dh_auto_test` of `debian/rules`
    Debian,
    /// `#:cargo-test-flags` of `cargo-build-system`
    Guix,
}
