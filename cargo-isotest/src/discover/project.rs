//! The build: plain data, in cargo's order, with the names of each binary.

use std::ffi::{OsStr, OsString};

use camino::Utf8PathBuf;

/// A built project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The directory of the workspace's Cargo.toml.
    pub workspace_root: Utf8PathBuf,
    /// Cargo's target directory.
    pub target_directory: Utf8PathBuf,
    /// Cargo's directory for intermediate files; often the target directory.
    pub build_directory: Utf8PathBuf,
    /// The directories of the workspace's packages and of all local packages that were built, also
    /// outside the workspace. Sorted, each once.
    pub package_directories: Vec<Utf8PathBuf>,
    /// The directories that build scripts add to the linker's search path. Sorted, each once.
    pub linked_paths: Vec<Utf8PathBuf>,
    /// Directories whose names binaries may have been built with, and where these are now. None of
    /// the names lies below another.
    pub moved: Vec<(Utf8PathBuf, Utf8PathBuf)>,
    /// The directory of the toolchain.
    pub sysroot: Utf8PathBuf,
    /// True if a library among the binaries has documentation tests turned on.
    pub has_doctests: bool,
    /// The test binaries, in cargo's order.
    pub binaries: Vec<Binary>,
}

/// One test binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Its id, as nextest's: `pkg`, `pkg::target`, `pkg::kind/target`.
    pub id: String,
    /// The name of its package.
    pub package_name: String,
    /// Cargo's package id.
    pub package_id: String,
    /// The name of its target.
    pub target_name: String,
    /// The kind of its target.
    pub kind: BinaryKind,
    /// Its main source file, relative to its package, as cargo prints it behind `Running`.
    pub source: Utf8PathBuf,
    /// The file to execute, absolute.
    pub executable: Utf8PathBuf,
    /// The directory of its package, where cargo starts it.
    pub working_directory: Utf8PathBuf,
    /// Its harness, by the manifest.
    pub declared: Declared,
    /// The words that cargo's configuration has started before it; none where there is no runner.
    pub runner: Vec<OsString>,
    /// Variables that cargo sets for it.
    pub environment: Vec<(OsString, OsString)>,
    /// Those of them that the caller has set too: cargo would not replace them.
    pub presets: Vec<OsString>,
    /// The options of `cargo test` that select it: `-p pkg --test name`.
    pub rerun_flag: String,
    /// Place of its build.
    pub origin: BuildOrigin,
}

/// Place of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildOrigin {
    /// Cargo, here: whoever wrote it had build scripts run outside of every sandbox.
    #[default]
    Here,
    /// On another machine, or by another user: every access to it is in a sandbox.
    Elsewhere,
}

/// Harness of a target, by the manifest's key `harness`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// rustc adds one: libtest, or what the crate names by `#![test_runner]`.
    Harness,
    /// `harness = false`.
    NoHarness,
    /// The binary's target is not known.
    Unknown,
}

/// The harness of a test binary, as its answers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harness {
    /// libtest: it has printed libtest's own JSON.
    Libtest,
    /// Another one, which lists its tests as nextest wants it.
    Foreign,
    /// None: the program is one test.
    None,
}

/// The kind of a test binary's target, in the order in which cargo runs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BinaryKind {
    /// Unit tests of a library.
    Lib,
    /// Unit tests of a procedural macro.
    ProcMacro,
    /// Unit tests of a binary.
    Bin,
    /// An integration test.
    Test,
    /// A benchmark.
    Bench,
    /// Unit tests of an example that is a library.
    ExampleLib,
    /// Unit tests of an example.
    Example,
}

/// Packages that the command line selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// None: cargo takes the workspace's default members.
    #[default]
    Default,
    /// All of the workspace.
    Workspace,
    /// Some, by name.
    Named,
}

impl BinaryKind {
    /// From the `kind` and `crate_types` of cargo's messages; `None` for what is never a test.
    pub(super) fn from_target(kinds: &[String], crate_types: &[String]) -> Option<Self> {
        const LIBRARIES: [&str; 5] = ["lib", "rlib", "dylib", "cdylib", "staticlib"];
        let kind = kinds.first()?.as_str();
        Some(match kind {
            "proc-macro" => BinaryKind::ProcMacro,
            "bin" => BinaryKind::Bin,
            "test" => BinaryKind::Test,
            "bench" => BinaryKind::Bench,
            "example" if crate_types.iter().any(|crate_type| crate_type == "bin") => {
                BinaryKind::Example
            }
            "example" => BinaryKind::ExampleLib,
            _ if LIBRARIES.contains(&kind) => BinaryKind::Lib,
            _ => return None,
        })
    }

    /// From the word that nextest uses for it, which is the same for every example.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        use BinaryKind::{Bench, Bin, Example, Lib, ProcMacro, Test};
        [Lib, ProcMacro, Bin, Test, Bench, Example].into_iter().find(|kind| kind.as_str() == name)
    }

    /// The word that nextest, and cargo's manifest, use for it.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryKind::Lib => "lib",
            BinaryKind::ProcMacro => "proc-macro",
            BinaryKind::Bin => "bin",
            BinaryKind::Test => "test",
            BinaryKind::Bench => "bench",
            BinaryKind::ExampleLib | BinaryKind::Example => "example",
        }
    }

    /// Nextest's id for a target of this kind.
    pub(super) fn id(self, package: &str, target: &str) -> String {
        match self {
            BinaryKind::Lib | BinaryKind::ProcMacro => package.to_owned(),
            BinaryKind::Test => format!("{package}::{target}"),
            BinaryKind::Bin | BinaryKind::Bench | BinaryKind::ExampleLib | BinaryKind::Example => {
                format!("{package}::{}/{target}", self.as_str())
            }
        }
    }

    /// The option of `cargo test` that selects a target of this kind.
    pub(super) fn target_flag(self, target: &str) -> String {
        match self {
            BinaryKind::Lib | BinaryKind::ProcMacro => "--lib".to_owned(),
            BinaryKind::Bin
            | BinaryKind::Test
            | BinaryKind::Bench
            | BinaryKind::ExampleLib
            | BinaryKind::Example => format!("--{} {target}", self.as_str()),
        }
    }

    /// True if tests of this kind find the package's binaries through `CARGO_BIN_EXE_<name>`.
    pub(super) fn sees_binaries(self) -> bool {
        match self {
            BinaryKind::Test | BinaryKind::Bench => true,
            BinaryKind::Lib
            | BinaryKind::ProcMacro
            | BinaryKind::Bin
            | BinaryKind::ExampleLib
            | BinaryKind::Example => false,
        }
    }
}

impl Binary {
    /// The option of `cargo test` that selects it in its package.
    pub fn target_flag(&self) -> String {
        self.kind.target_flag(&self.target_name)
    }

    /// The program that runs it, and what stands before its arguments, itself or its runner's.
    pub fn command(&self) -> (&OsStr, Vec<&OsStr>) {
        let executable = self.executable.as_os_str();
        match self.runner.split_first() {
            None => (executable, Vec::new()),
            Some((program, words)) => {
                let words = words.iter().map(OsString::as_os_str);
                (program, words.chain([executable]).collect())
            }
        }
    }

    /// The text that cargo prints after `Running`, without the executable: `unittests src/lib.rs`.
    pub fn description(&self) -> String {
        match self.kind {
            BinaryKind::Test | BinaryKind::Bench => self.source.to_string(),
            BinaryKind::Lib
            | BinaryKind::ProcMacro
            | BinaryKind::Bin
            | BinaryKind::ExampleLib
            | BinaryKind::Example => format!("unittests {}", self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(kind: &str, crate_type: &str) -> Option<BinaryKind> {
        BinaryKind::from_target(&[kind.to_owned()], &[crate_type.to_owned()])
    }

    #[test]
    fn kinds_are_read_from_cargos_words() {
        assert_eq!(kind("rlib", "rlib"), Some(BinaryKind::Lib));
        assert_eq!(kind("example", "bin"), Some(BinaryKind::Example));
        assert_eq!(kind("example", "lib"), Some(BinaryKind::ExampleLib));
        assert_eq!(kind("custom-build", "bin"), None);
    }

    #[test]
    fn ids_are_nextests() {
        assert_eq!(BinaryKind::Lib.id("p", "p"), "p");
        assert_eq!(BinaryKind::Test.id("p", "it"), "p::it");
        assert_eq!(BinaryKind::Bin.id("p", "b"), "p::bin/b");
        assert_eq!(BinaryKind::ExampleLib.id("p", "e"), "p::example/e");
    }

    #[test]
    fn cargos_order_is_lib_bin_test_bench_example() {
        use BinaryKind::*;
        let mut kinds = [Example, ExampleLib, Bench, Test, Bin, ProcMacro, Lib];
        kinds.sort();
        assert_eq!(kinds, [Lib, ProcMacro, Bin, Test, Bench, ExampleLib, Example]);
    }
}
