//! Errors that end a run, and their exit codes.
//!
//! A failed test is no error here, nor is a sandbox that could not be set up for one case; both are
//! data of the run.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use isotest_core::escape::escape;
use isotest_core::refusal::{SandboxError, ServiceError};
use isotest_core::streams::{LeakingStream, StreamError};

use crate::archive::ArchiveError;
use crate::cli::unrecognized;
use crate::config::machine::MissingDebugger;
use crate::config::{ConfigError, LoadError};
use crate::diagnose::{ArrangementError, TokenError};
use crate::discover::DiscoverError;
use crate::exit_code::ExitCode;
use crate::report::{self, ReportFileError};
use crate::run::doctests::DoctestError;
use crate::run::execute::ExecuteError;
use crate::sandbox::coverage::ProfilesError;
use crate::sandbox::exposures::ExposureError;
use crate::sandbox::factory::{FactoryError, GlobError, ScratchError};
use crate::sandbox::provision::{ProvisionError, SetupError};
use crate::sandbox::root::RootError;
use crate::sandbox::stored_layers::{LayerError, LayersError};
use crate::select::find_case::FindCaseError;
use crate::select::listing::{BinaryListError, ListingError};
use crate::select::partition::PartitionError;
use crate::select::prepare::PrepareError;
use crate::store::StoreError;

/// An error that ends a run.
#[derive(Debug)]
pub enum Error {
    /// The project could not be built or read.
    Discover(DiscoverError),
    /// The configuration, or a filter expression, cannot be used.
    Config(Box<ConfigError>),
    /// The warden or its template could not be set up.
    Sandbox(SandboxError),
    /// A service that the command needs could not be had.
    Service(ServiceError),
    /// The warden died under the command.
    WardenDied,
    /// The warden did not answer under the command.
    WardenSilent,
    /// The case has a listener of its own, so nobody can trace it.
    NotTraced,
    /// A setup command failed.
    Setup(Box<SetupError>),
    /// A layer that tests see could not be made.
    Layer(Box<LayerError>),
    /// A binary could not list its tests.
    Listing(Box<BinaryListError>),
    /// The machine could not be looked at.
    Host(io::Error),
    /// A standard stream would lead out of the sandbox.
    Stream(LeakingStream),
    /// The host cannot be shown as it is asked for.
    Exposure(ExposureError),
    /// An archive cannot be read or written.
    Archive(ArchiveError),
    /// The value of `--root` cannot be used.
    Root(RootError),
    /// `exec` or `shell` names a command that is not on `PATH`.
    Command(OsString),
    /// A program could not be executed.
    Execute(PathBuf, io::Error),
    /// There is no shell: neither `$SHELL`, which is this, nor `/bin/sh`.
    Shell(Option<OsString>),
    /// The directory for scratch on disk could not be made.
    Scratch(ScratchError),
    /// The files of failed tests cannot be kept, or removed, in this directory.
    Keep(PathBuf, io::Error),
    /// A glob of `--write-back` cannot be read.
    Glob(GlobError),
    /// The report could not be written.
    Report(io::Error),
    /// The part of the tests that this run has is not known.
    Partition(PartitionError),
    /// A recorded run cannot be had.
    Store(StoreError),
    /// A report in a file could not be written.
    ReportFile(ReportFileError),
    /// Coverage profiles could not be moved.
    Profiles(ProfilesError),
    /// An option behind `--` that libtest does not know, and no other harness is there.
    Unrecognized(String),
    /// A name on the command line fits no test, or more than one.
    Case(String),
    /// A token cannot be read.
    Token(TokenError),
    /// A debugger that is to read stacks is not there.
    Debugger(MissingDebugger),
    /// These tests would have to run outside of every sandbox, and nobody can be asked.
    Unprotected(Vec<String>),
    /// The user does not want to run tests outside.
    Refusal,
    /// A debugger or a tracer runs one test, and several are selected.
    NotOne(String),
    /// The tests can be listed in none of several root filesystems; each was reported.
    Refused(ExitCode),
    /// A signal ended the run before there was anything to report.
    Interrupted(i32),
}

impl Error {
    /// The exit code that says so.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Discover(
                DiscoverError::Metadata { .. }
                | DiscoverError::MetadataJson(_)
                | DiscoverError::Graph(_),
            ) => ExitCode::MetadataFailed,
            Error::Discover(DiscoverError::UnknownKind { .. } | DiscoverError::NoSources(_)) => {
                ExitCode::Usage
            }
            Error::Discover(_) => ExitCode::BuildFailed,
            Error::Config(error) if error.in_filter => ExitCode::BadFilter,
            Error::Config(_) => ExitCode::Usage,
            Error::Sandbox(_)
            | Error::Service(_)
            | Error::Host(_)
            | Error::Scratch(_)
            | Error::NotTraced
            | Error::WardenDied
            | Error::WardenSilent => ExitCode::SandboxFailed,
            Error::Archive(
                ArchiveError::Write(..) | ArchiveError::Add(..) | ArchiveError::Missing(..),
            ) => ExitCode::ArchiveFailed,
            Error::Archive(ArchiveError::Empty(_)) => ExitCode::NothingToRun,
            Error::Archive(_)
            | Error::Glob(_)
            | Error::Stream(_)
            | Error::Exposure(_)
            | Error::Root(_)
            | Error::Partition(_)
            | Error::Debugger(_)
            | Error::Unrecognized(_)
            | Error::Unprotected(_)
            | Error::Refusal
            | Error::NotOne(_) => ExitCode::Usage,
            // As a shell says it.
            Error::Command(_) | Error::Shell(_) | Error::Execute(..) => ExitCode::Of(127),
            Error::Setup(_) | Error::Layer(_) => ExitCode::SetupFailed,
            Error::Listing(error) if error.is_sandbox() => ExitCode::SandboxFailed,
            Error::Listing(_) => ExitCode::ListFailed,
            Error::Store(
                StoreError::Empty(_)
                | StoreError::OnlyOne(_)
                | StoreError::NoFailures(_)
                | StoreError::NothingFailed(_)
                | StoreError::NoToken(..)
                | StoreError::NotTraced(_),
            ) => ExitCode::NothingToRun,
            Error::Store(_) => ExitCode::Usage,
            Error::Report(_) | Error::ReportFile(_) | Error::Profiles(_) | Error::Keep(..) => {
                ExitCode::ReportFailed
            }
            Error::Case(_) => ExitCode::NothingToRun,
            Error::Token(_) => ExitCode::Usage,
            Error::Refused(code) => *code,
            Error::Interrupted(signal) => ExitCode::Signal(*signal),
        }
    }

    /// A report that cannot be written any more ends a run that a signal has ended already, as a
    /// terminal that is closed does both.
    pub fn or_interrupted(self, signal: Option<i32>) -> Error {
        match (self, signal) {
            (Error::Report(_), Some(signal)) => Error::Interrupted(signal),
            (error, _) => error,
        }
    }

    /// True if the message has been printed already: by cargo, or there is no reader.
    pub fn is_silent(&self) -> bool {
        match self {
            Error::Discover(error) => matches!(error, DiscoverError::Build(_)),
            Error::Report(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Error::Refused(_) | Error::Interrupted(_) => true,
            Error::Config(_)
            | Error::Sandbox(_)
            | Error::Service(_)
            | Error::Setup(_)
            | Error::Layer(_)
            | Error::Listing(_)
            | Error::Host(_)
            | Error::Scratch(_)
            | Error::NotTraced
            | Error::WardenDied
            | Error::WardenSilent
            | Error::Glob(_)
            | Error::Stream(_)
            | Error::Exposure(_)
            | Error::Archive(_)
            | Error::Root(_)
            | Error::Command(_)
            | Error::Profiles(_)
            | Error::Execute(..)
            | Error::Keep(..)
            | Error::Shell(_)
            | Error::ReportFile(_)
            | Error::Partition(_)
            | Error::Store(_)
            | Error::Debugger(_)
            | Error::Unrecognized(_)
            | Error::Unprotected(_)
            | Error::Refusal
            | Error::NotOne(_)
            | Error::Token(_)
            | Error::Case(_) => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Discover(error) => write!(f, "{error}"),
            Error::Config(error) => write!(f, "{error}"),
            Error::Sandbox(error) => {
                write!(f, "{error}\nhint: `cargo isotest doctor` checks each part of the sandbox")
            }
            Error::Service(error) => write!(f, "{error}"),
            Error::NotTraced => f.write_str(
                "cannot trace this test: `--guard no-listener` leaves the one seccomp listener to \
                 the test itself\nhint: trace it with `--guard basic`; what the test does with its \
                 own listener fails then (EBUSY)",
            ),
            Error::WardenDied => {
                write!(
                    f,
                    "cannot tell how the command ended: its supervisor (the warden) was killed"
                )
            }
            Error::WardenSilent => write!(
                f,
                "cannot tell how the command ended: its supervisor (the warden) did not answer and was killed"
            ),
            Error::Setup(error) => write!(f, "{error}"),
            Error::Layer(error) => write!(f, "{error}"),
            Error::Listing(error) => write!(f, "{error}"),
            Error::Host(error) => write!(f, "cannot inspect this machine: {error}"),
            Error::Stream(stray) => write!(f, "{stray}"),
            Error::Exposure(error) => write!(f, "{error}"),
            Error::Archive(error) => write!(f, "{error}"),
            Error::Root(error) => write!(f, "{error}"),
            Error::Command(name) => {
                write!(f, "cannot find the command `{}` on PATH", name.display())
            }
            Error::Keep(target, error) => {
                let target = target.display();
                write!(f, "cannot keep or remove files of failed tests in {target}: {error}")
            }
            Error::Execute(program, error) => {
                write!(f, "cannot execute `{}`: {error}", program.display())
            }
            Error::Shell(usual) => {
                write!(f, "cannot find a shell in the root filesystem: there is no ")?;
                if let Some(shell) = usual {
                    write!(f, "`{}` ($SHELL) and no ", shell.display())?;
                }
                write!(f, "`/bin/sh`\nhint: `cargo isotest shell CASE -- CMD` runs a program of it")
            }
            Error::Scratch(error) => write!(f, "{error}"),
            Error::Glob(error) => write!(f, "{error}"),
            Error::Profiles(error) => write!(f, "{error}"),
            Error::Report(error) => write!(f, "cannot write the report: {error}"),
            Error::Partition(error) => write!(f, "{error}"),
            Error::Store(error) => write!(f, "{error}"),
            Error::ReportFile(error) => write!(f, "{error}"),
            Error::Debugger(error) => write!(f, "{error}"),
            Error::Unrecognized(option) => write!(f, "{}", unrecognized(option)),
            Error::Unprotected(labels) => {
                let (count, lines) = (
                    labels.len(),
                    report::first_lines(labels.iter().map(|label| escape(label).into_owned())),
                );
                let tests = if count == 1 { "test that fails" } else { "tests that fail" };
                write!(
                    f,
                    "cannot ask whether {count} {tests} isolated may run outside of every sandbox: \
                     stdin or stderr is no terminal{lines}\nhint: `cargo isotest adopt --yes` runs \
                     them with your files, network and processes, as cargo test does"
                )
            }
            Error::Refusal => write!(f, "nothing was compared, and nothing was written"),
            Error::Token(error) => write!(f, "{error}"),
            Error::Case(message) | Error::NotOne(message) => write!(f, "{message}"),
            Error::Refused(_) => write!(f, "no tests ran in any root filesystem"),
            Error::Interrupted(signal) => write!(f, "interrupted by signal {signal}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Config(error) => Error::Config(error),
            LoadError::Discover(error) => Error::Discover(error),
        }
    }
}

impl From<FactoryError> for Error {
    fn from(error: FactoryError) -> Self {
        match error {
            FactoryError::Host(error) => Error::Host(error),
            FactoryError::Sandbox(error) => Error::Sandbox(error),
            FactoryError::Exposure(error) => error.into(),
            FactoryError::Scratch(error) => Error::Scratch(error),
            FactoryError::Glob(error) => Error::Glob(error),
        }
    }
}

impl From<ExposureError> for Error {
    fn from(error: ExposureError) -> Self {
        match error {
            ExposureError::Root(error) => Error::Root(error),
            other @ (ExposureError::Path { .. } | ExposureError::Layer { .. }) => {
                Error::Exposure(other)
            }
        }
    }
}

impl From<ProvisionError> for Error {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Config(error) => error.into(),
            ProvisionError::Setup(error) => Error::Setup(error),
            ProvisionError::Interrupted(signal) => Error::Interrupted(signal),
        }
    }
}

impl From<ListingError> for Error {
    fn from(error: ListingError) -> Self {
        match error {
            ListingError::Binary(error) => Error::Listing(error),
            ListingError::Host(error) => Error::Host(error),
            ListingError::Interrupted(signal) => Error::Interrupted(signal),
        }
    }
}

impl From<PrepareError> for Error {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Load(error) => error.into(),
            PrepareError::Factory(error) => error.into(),
            PrepareError::Listing(error) => error.into(),
            PrepareError::Unrecognized(option) => Error::Unrecognized(option),
        }
    }
}

impl From<ExecuteError> for Error {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Host(error) => Error::Host(error),
            ExecuteError::Report(error) => Error::Report(error),
        }
    }
}

impl From<LayersError> for Error {
    fn from(error: LayersError) -> Self {
        match error {
            LayersError::Config(error) => Error::Config(Box::new(error)),
            LayersError::Factory(error) => error.into(),
            LayersError::Layer(error) => Error::Layer(error),
            LayersError::Interrupted(signal) => Error::Interrupted(signal),
        }
    }
}

impl From<DoctestError> for Error {
    fn from(error: DoctestError) -> Self {
        match error {
            DoctestError::Discover(error) => Error::Discover(error),
            DoctestError::Host(error) => Error::Host(error),
            DoctestError::Report(error) => Error::Report(error),
            DoctestError::Interrupted(signal) => Error::Interrupted(signal),
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        Error::Token(error)
    }
}

impl From<ArrangementError> for Error {
    fn from(error: ArrangementError) -> Self {
        Error::Case(error.to_string())
    }
}

impl From<FindCaseError> for Error {
    fn from(error: FindCaseError) -> Self {
        Error::Case(error.to_string())
    }
}

impl From<PartitionError> for Error {
    fn from(error: PartitionError) -> Self {
        Error::Partition(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Error::Store(error)
    }
}

impl From<ProfilesError> for Error {
    fn from(error: ProfilesError) -> Self {
        Error::Profiles(error)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Error::Config(Box::new(error))
    }
}

impl From<Box<ConfigError>> for Error {
    fn from(error: Box<ConfigError>) -> Self {
        Error::Config(error)
    }
}

impl From<DiscoverError> for Error {
    fn from(error: DiscoverError) -> Self {
        Error::Discover(error)
    }
}

impl From<SandboxError> for Error {
    fn from(error: SandboxError) -> Self {
        Error::Sandbox(error)
    }
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Leaks(stream) => Error::Stream(stream),
            StreamError::System(error) => Error::Host(error),
        }
    }
}

impl From<RootError> for Error {
    fn from(error: RootError) -> Self {
        Error::Root(error)
    }
}

impl From<MissingDebugger> for Error {
    fn from(error: MissingDebugger) -> Self {
        Error::Debugger(error)
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Path(error) => Error::Discover(error),
            error => Error::Archive(error),
        }
    }
}

impl From<ReportFileError> for Error {
    fn from(error: ReportFileError) -> Self {
        Error::ReportFile(error)
    }
}
