//! Errors of discovery, with their wording.
//!
//! The text is short if cargo has already written to stderr. The front end chooses the exit code;
//! each variant says to which class it belongs.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use camino::Utf8PathBuf;

use super::config::CargoConfigError;
use super::runners::NoRunner;

/// A project could not be discovered.
#[derive(Debug)]
pub enum DiscoverError {
    /// A program could not be started.
    Start {
        /// The program.
        program: OsString,
        /// The cause.
        cause: io::Error,
    },
    /// The build failed, or there is nothing to build; cargo has said why. Exit code 101.
    Build(ExitStatus),
    /// Cargo's messages could not be read.
    Messages(io::Error),
    /// `cargo metadata` failed. Exit code 102.
    Metadata {
        /// Its exit status.
        status: ExitStatus,
        /// Its message.
        message: String,
    },
    /// The output of `cargo metadata` could not be understood. Exit code 102.
    MetadataJson(serde_json::Error),
    /// The packages in the output of `cargo metadata` do not fit together. Exit code 102.
    Graph(Box<guppy::Error>),
    /// `rustc --print` failed or printed something else.
    Compiler {
        /// Its exit status.
        status: ExitStatus,
        /// Its message.
        message: String,
    },
    /// A manifest could not be read.
    ReadManifest {
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// A manifest could not be understood.
    ParseManifest {
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        cause: Box<toml::de::Error>,
    },
    /// A configuration file of cargo could not be used.
    Config(CargoConfigError),
    /// The current directory is gone.
    CurrentDirectory(io::Error),
    /// Cargo built a test of a package that it does not know.
    UnknownPackage(String),
    /// A list of binaries that cargo-nextest has not written.
    BinariesMetadata(serde_json::Error),
    /// A test binary of a build that was made before is of an unknown kind.
    UnknownKind {
        /// The binary.
        binary: String,
        /// Its kind.
        kind: String,
    },
    /// The description of a build has a value that no build has.
    Strange {
        /// The name of the value.
        what: &'static str,
        /// Its name.
        name: String,
        /// The reason.
        wrong: &'static str,
    },
    /// The sources of a build that was made before are not there.
    NoSources(Utf8PathBuf),
    /// The program of a runner that cargo's configuration names is not on `PATH`.
    NoRunner(NoRunner),
    /// A path that cargo could not name either.
    NotUtf8(PathBuf),
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiscoverError::Start { program, cause } => {
                write!(f, "cannot start `{}`: {cause}", program.display())?;
                match cause.kind() == io::ErrorKind::NotFound {
                    true => write!(f, "\nhint: it must be on PATH; see https://rustup.rs"),
                    false => Ok(()),
                }
            }
            DiscoverError::Build(status) => write!(f, "cannot build the tests: cargo: {status}"),
            DiscoverError::Messages(cause) => write!(f, "cannot read cargo's messages: {cause}"),
            DiscoverError::Metadata { status, message } => {
                write!(f, "cannot read the project's metadata: cargo: {status}\n{message}")
            }
            DiscoverError::MetadataJson(cause) => {
                write!(f, "cannot read the project's metadata: {cause}")
            }
            DiscoverError::Graph(cause) => {
                write!(f, "cannot read the project's metadata: {cause}")
            }
            DiscoverError::Compiler { status, message } => {
                write!(f, "cannot ask rustc for its sysroot: {status}\n{message}")
            }
            DiscoverError::ReadManifest { path, cause } => {
                write!(f, "cannot read `{path}`: {cause}")
            }
            DiscoverError::ParseManifest { path, cause } => {
                write!(f, "cannot read `{path}`: {cause}")
            }
            DiscoverError::Config(error) => write!(f, "{error}"),
            DiscoverError::CurrentDirectory(cause) => {
                write!(f, "cannot find the current directory: {cause}")
            }
            DiscoverError::UnknownPackage(id) => {
                let id = id.escape_debug();
                write!(f, "cannot find package `{id}`: `cargo metadata` does not know it")
            }
            DiscoverError::BinariesMetadata(cause) => {
                write!(f, "cannot read the list of test binaries: {cause}")
            }
            DiscoverError::UnknownKind { binary, kind } => {
                let (binary, kind) = (binary.escape_debug(), kind.escape_debug());
                write!(f, "cannot run `{binary}`: unknown kind `{kind}`")
            }
            DiscoverError::Strange { what, name, wrong } => {
                let name = name.escape_debug();
                write!(f, "cannot use the description of the build: {what} `{name}` {wrong}")
            }
            DiscoverError::NoSources(root) => write!(
                f,
                "cannot find the project's sources: there is no `Cargo.toml` in `{root}`\n\
                 hint: an archive contains no sources; `--workspace-remap DIR` sets their directory"
            ),
            DiscoverError::NoRunner(error) => write!(f, "{error}"),
            DiscoverError::NotUtf8(path) => {
                write!(f, "cannot run `{}`: the path is not UTF-8", path.display())
            }
        }
    }
}

impl std::error::Error for DiscoverError {}

impl From<NoRunner> for DiscoverError {
    fn from(error: NoRunner) -> Self {
        DiscoverError::NoRunner(error)
    }
}
