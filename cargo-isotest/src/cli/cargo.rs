//! The options of `cargo test` that choose what is built and how.
//!
//! They are read only to be handed back to cargo, which knows what they mean and says so when they
//! mean nothing. The one exception is [`PackageScope`], which cargo's advice on rerunning a binary
//! depends on.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::layers::workspace_of_cargo;
use super::libtest::Color;

/// Packages that the command line selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackageScope {
    /// None: cargo takes the workspace's default members.
    #[default]
    Default,
    /// `--workspace` alone.
    Workspace,
    /// `--package`, or `--workspace` with `--exclude`.
    Named,
}

/// Every option that `cargo test` hands to the build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Cargo options")]
pub struct CargoOptions {
    /// Test only this package
    #[arg(short, long, value_name = "SPEC", num_args = 0..=1, default_missing_value = "")]
    pub package: Vec<String>,
    /// Test all packages; with overlay, readonly or shared: effect of writes to the project
    #[arg(
        id = "cargo_workspace",
        long = "workspace",
        visible_alias = "all",
        value_name = "VALUE",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        value_parser = workspace_of_cargo(),
        action = ArgAction::Append
    )]
    pub(super) workspace_flags: Vec<OsString>,
    /// `--workspace` was given without a value.
    #[arg(skip)]
    pub workspace: bool,
    /// The first test name before `--`, cargo's TESTNAME. Without a named target it makes cargo take
    /// all test targets, and no documentation tests.
    #[arg(skip)]
    pub test_name: Option<String>,
    /// Leave this package out
    #[arg(long, value_name = "SPEC", num_args = 0..=1, default_missing_value = "")]
    pub exclude: Vec<String>,
    /// Test only the library
    #[arg(long)]
    pub lib: bool,
    /// Test only this binary
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub bin: Vec<String>,
    /// Test all binaries
    #[arg(long)]
    pub bins: bool,
    /// Test only this integration test
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub test: Vec<String>,
    /// Test all targets that have `test = true`
    #[arg(long)]
    pub tests: bool,
    /// Test only this example
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub example: Vec<String>,
    /// Test all examples
    #[arg(long)]
    pub examples: bool,
    /// Test only this benchmark
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub bench: Vec<String>,
    /// Test all targets that have `bench = true`
    #[arg(long)]
    pub benches: bool,
    /// Test all targets
    #[arg(long)]
    pub all_targets: bool,
    /// Only the documentation tests
    #[arg(long, conflicts_with_all = ["lib", "bin", "bins", "test", "tests", "example", "examples", "bench", "benches", "all_targets"])]
    pub doc: bool,
    /// Activate these features, separated by spaces or commas
    #[arg(short = 'F', long, value_name = "FEATURES")]
    pub features: Vec<String>,
    /// Activate all features
    #[arg(long)]
    pub all_features: bool,
    /// Do not activate the `default` feature
    #[arg(long)]
    pub no_default_features: bool,
    /// Build with optimisations
    #[arg(short, long)]
    pub release: bool,
    /// Build with this profile of Cargo.toml
    #[arg(long, value_name = "NAME", visible_alias = "cargo-profile")]
    pub profile: Option<String>,
    /// Build for this target triple
    #[arg(long, value_name = "TRIPLE", num_args = 0..=1, default_missing_value = "")]
    pub target: Vec<String>,
    /// Put everything built here
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// The Cargo.toml to start from
    #[arg(long, value_name = "PATH")]
    pub manifest_path: Option<PathBuf>,
    /// Fail where Cargo.lock would change
    #[arg(long)]
    pub locked: bool,
    /// Build without the network
    #[arg(long)]
    pub offline: bool,
    /// `--locked` and `--offline`
    #[arg(long)]
    pub frozen: bool,
    /// How many build jobs at a time (for tests: --test-threads)
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub jobs: Option<String>,
    /// Override a value of cargo's configuration
    #[arg(long, value_name = "KEY=VALUE|PATH")]
    pub config: Vec<OsString>,
    /// Unstable flags of cargo
    #[arg(short = 'Z', value_name = "FLAG")]
    pub unstable: Vec<String>,
    /// Ignore `rust-version` of the packages
    #[arg(long)]
    pub ignore_rust_version: bool,
    /// Report what a future compiler will refuse
    #[arg(long)]
    pub future_incompat_report: bool,
    /// Write a report of how long each crate took to build
    #[arg(long, value_name = "FORMATS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub timings: Option<String>,
    /// Print no log messages of cargo; one character a test
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Print more of what cargo does
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// Colour the output
    #[arg(long, value_name = "WHEN", help_heading = "Output")]
    pub color: Option<Color>,
}

impl CargoOptions {
    /// True if packages are named.
    pub(super) fn names_packages(&self) -> bool {
        self.package_scope() != PackageScope::Default
    }

    /// True if targets are named.
    pub(super) fn names_targets(&self) -> bool {
        let mut targets = Arguments::default();
        self.push_targets(&mut targets);
        !targets.0.is_empty()
    }

    /// Takes cargo's meaning of `--workspace`. Returns the values of the layer.
    pub(super) fn settle_workspace(&mut self) -> Vec<OsString> {
        let (cargos, layers): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.workspace_flags).into_iter().partition(|flag| flag == "all");
        self.workspace |= !cargos.is_empty();
        layers
    }

    /// True if documentation tests are selected: by `--doc`, or if neither a target nor a test is
    /// named.
    pub fn selects_doctests(&self) -> bool {
        self.doc || (!self.names_targets() && self.test_name.is_none())
    }

    /// True if documentation tests are left out only because a test is named.
    pub fn leaves_out_doctests(&self) -> bool {
        let unnamed = CargoOptions { test_name: None, ..self.clone() };
        !self.selects_doctests() && unnamed.selects_doctests()
    }

    /// The options as `cargo test --doc` takes them: no target is named.
    pub fn to_doctest_arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        self.push_packages(&mut arguments);
        self.push_features(&mut arguments);
        self.push_compilation(&mut arguments);
        self.push_manifest(&mut arguments);
        self.push_output(&mut arguments);
        arguments.0
    }

    /// The options as cargo takes them. Values are glued to their flags, so that none can be read
    /// as a flag of its own.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments(self.to_build_arguments());
        self.push_output(&mut arguments);
        arguments.0.extend(self.test_name.as_ref().map(OsString::from));
        arguments.0
    }

    /// The packages as they are named.
    pub(super) fn to_package_arguments(&self) -> Vec<OsString> {
        let named = self.package.iter().flat_map(|spec| ["-p".into(), spec.into()]);
        let mut arguments = Arguments(named.collect());
        arguments.flag("--workspace", self.workspace);
        arguments.optional_values("--exclude", &self.exclude);
        arguments.0
    }

    /// True if exactly one package is named, and not by a pattern.
    pub(super) fn names_one_package(&self) -> bool {
        let alone = !self.workspace && self.exclude.is_empty();
        matches!(self.package.as_slice(), [spec] if alone && !spec.contains(['*', '?', '[']))
    }

    /// The targets as they are named. Where only a test is, cargo takes all test targets.
    pub(super) fn to_target_arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        self.push_targets(&mut arguments);
        if arguments.0.is_empty() {
            arguments.flag("--tests", self.test_name.is_some());
        }
        arguments.0
    }

    /// The options without which other targets are built, or the same ones differently.
    pub(super) fn to_rerun_arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        self.push_features(&mut arguments);
        self.push_profile(&mut arguments);
        self.push_manifest(&mut arguments);
        arguments.0
    }

    /// The options that select what is built, and how.
    pub(super) fn to_build_arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        self.push_packages(&mut arguments);
        self.push_targets(&mut arguments);
        self.push_features(&mut arguments);
        self.push_compilation(&mut arguments);
        self.push_manifest(&mut arguments);
        arguments.0
    }

    /// The options that `cargo metadata --no-deps` takes too.
    pub fn to_metadata_arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        self.push_manifest(&mut arguments);
        arguments.0
    }

    /// Packages that the command line selects.
    pub fn package_scope(&self) -> PackageScope {
        if !self.package.is_empty() || !self.exclude.is_empty() {
            PackageScope::Named
        } else if self.workspace {
            PackageScope::Workspace
        } else {
            PackageScope::Default
        }
    }

    fn push_packages(&self, arguments: &mut Arguments) {
        arguments.optional_values("--package", &self.package);
        arguments.flag("--workspace", self.workspace);
        arguments.optional_values("--exclude", &self.exclude);
    }

    fn push_targets(&self, arguments: &mut Arguments) {
        arguments.flag("--lib", self.lib);
        arguments.optional_values("--bin", &self.bin);
        arguments.flag("--bins", self.bins);
        arguments.optional_values("--test", &self.test);
        arguments.flag("--tests", self.tests);
        arguments.optional_values("--example", &self.example);
        arguments.flag("--examples", self.examples);
        arguments.optional_values("--bench", &self.bench);
        arguments.flag("--benches", self.benches);
        arguments.flag("--all-targets", self.all_targets);
    }

    fn push_features(&self, arguments: &mut Arguments) {
        for features in &self.features {
            arguments.value("--features", features);
        }
        arguments.flag("--all-features", self.all_features);
        arguments.flag("--no-default-features", self.no_default_features);
    }

    fn push_profile(&self, arguments: &mut Arguments) {
        arguments.flag("--release", self.release);
        arguments.values("--profile", &self.profile);
        arguments.optional_values("--target", &self.target);
        arguments.values("--target-dir", &self.target_dir);
        arguments.flag("--ignore-rust-version", self.ignore_rust_version);
    }

    fn push_compilation(&self, arguments: &mut Arguments) {
        self.push_profile(arguments);
        arguments.values("--jobs", &self.jobs);
        arguments.flag("--future-incompat-report", self.future_incompat_report);
        arguments.optional_values("--timings", self.timings.as_slice());
    }

    fn push_manifest(&self, arguments: &mut Arguments) {
        arguments.values("--manifest-path", &self.manifest_path);
        arguments.flag("--locked", self.locked);
        arguments.flag("--offline", self.offline);
        arguments.flag("--frozen", self.frozen);
        arguments.values("--config", &self.config);
        for flag in &self.unstable {
            arguments.0.push(format!("-Z{flag}").into());
        }
    }

    fn push_output(&self, arguments: &mut Arguments) {
        arguments.flag("--quiet", self.quiet);
        for _ in 0..self.verbose {
            arguments.flag("--verbose", true);
        }
        if let Some(color) = self.color {
            arguments.value("--color", color.as_str());
        }
    }
}

/// A command line for cargo while it is put together.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str, given: bool) {
        if given {
            self.0.push(name.into());
        }
    }

    fn value(&mut self, name: &str, value: impl Into<OsString>) {
        let mut argument = OsString::from(name);
        argument.push("=");
        argument.push(value.into());
        self.0.push(argument);
    }

    fn values<V: Into<OsString>>(&mut self, name: &str, values: impl IntoIterator<Item = V>) {
        for value in values {
            self.value(name, value);
        }
    }

    /// Flags whose value may be missing: cargo then lists what could be named.
    fn optional_values(&mut self, name: &str, values: &[String]) {
        for value in values {
            if value.is_empty() { self.flag(name, true) } else { self.value(name, value) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_be_read_as_flags() {
        let options = CargoOptions {
            package: vec!["--config=evil".to_owned(), "a".to_owned()],
            bin: vec![String::new()],
            ..CargoOptions::default()
        };
        assert_eq!(options.to_arguments(), ["--package=--config=evil", "--package=a", "--bin"]);
    }

    #[test]
    fn metadata_gets_only_what_it_takes() {
        let options = CargoOptions {
            offline: true,
            release: true,
            manifest_path: Some("x/Cargo.toml".into()),
            ..CargoOptions::default()
        };
        assert_eq!(options.to_metadata_arguments(), ["--manifest-path=x/Cargo.toml", "--offline"]);
    }

    #[test]
    fn excluding_a_package_names_packages() {
        let mut options = CargoOptions { workspace: true, ..CargoOptions::default() };
        assert_eq!(options.package_scope(), PackageScope::Workspace);
        options.exclude.push("a".to_owned());
        assert_eq!(options.package_scope(), PackageScope::Named);
    }
}
