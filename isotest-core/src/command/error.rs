//! Errors of commands and of the sandbox that they run in.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{fmt, io};

use nix::errno::Errno;

use crate::escape::escape;
use crate::refusal::SandboxError;
use crate::streams::StreamError;

/// A command that could not be run, or a sandbox that could not be built. A command that was run
/// and has failed is no error: its [`Output`](super::Output) tells.
#[derive(Debug)]
pub enum Error {
    /// A step of the sandbox was refused: the step, the errno and a hint.
    Sandbox(SandboxError),
    /// Facts about this machine could not be read.
    Host(io::Error),
    /// A path that a layer names is not there, or cannot be entered.
    Path(PathBuf, io::Error),
    /// A program was found in none of the directories of this `PATH`.
    NoProgram(PathBuf, OsString),
    /// A word has a NUL byte in it.
    Nul(OsString),
    /// A descriptor cannot be passed on.
    Stream(io::Error),
    /// A descriptor would give access to the host.
    Refused(StreamError),
    /// The warden has ended, and every command with it: the reason, or nothing where none is known.
    Lost(String),
}

impl Error {
    /// The kernel's answer, where it has refused something.
    pub fn errno(&self) -> Option<Errno> {
        let raw = match self {
            Error::Sandbox(error) => return error.errno,
            Error::Host(cause) | Error::Path(_, cause) | Error::Stream(cause) => {
                cause.raw_os_error()
            }
            Error::NoProgram(..) | Error::Nul(_) | Error::Refused(_) | Error::Lost(_) => None,
        };
        raw.map(Errno::from_raw)
    }

    /// Remedy, where one is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Sandbox(error) => error.hint.as_deref(),
            Error::NoProgram(..) => Some("name it by its absolute path"),
            Error::Host(_)
            | Error::Path(..)
            | Error::Nul(_)
            | Error::Stream(_)
            | Error::Refused(_)
            | Error::Lost(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Sandbox(error) => return write!(f, "{error}"),
            Error::Host(cause) => write!(f, "cannot inspect this machine: {cause}")?,
            Error::Path(path, cause) => {
                write!(f, "cannot show `{}`: {cause}", escape(&path.to_string_lossy()))?;
            }
            Error::NoProgram(name, path) => write!(
                f,
                "cannot find `{}` in `{}`",
                escape(&name.to_string_lossy()),
                escape(&path.to_string_lossy())
            )?,
            Error::Nul(word) => write!(
                f,
                "cannot pass on `{}`: it has a NUL byte",
                escape(&word.to_string_lossy())
            )?,
            Error::Stream(cause) => write!(f, "cannot pass on a descriptor: {cause}")?,
            Error::Refused(error) => write!(f, "{error}")?,
            Error::Lost(cause) if cause.is_empty() => write!(f, "the warden has ended")?,
            Error::Lost(cause) => write!(f, "the warden has ended: {cause}")?,
        }
        self.hint().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Error {}

impl From<SandboxError> for Error {
    fn from(error: SandboxError) -> Error {
        Error::Sandbox(error)
    }
}
