//! Errors of the listing.

use std::fmt;
use std::io;

use isotest_core::capture::Captured;
use isotest_core::refusal::SandboxError;

use crate::discover::Binary;
use crate::discover::list::ListError;

/// Maximum number of lines of a list: ten times those of the largest that are known.
pub const MAX_LINES: usize = 500_000;

/// The tests could not be listed.
#[derive(Debug)]
pub enum ListingError {
    /// A binary could not list its tests.
    Binary(Box<BinaryListError>),
    /// The machine could not be looked at.
    Host(io::Error),
    /// A signal ended the listing.
    Interrupted(i32),
}

/// A binary that could not list its tests.
#[derive(Debug)]
pub struct BinaryListError {
    binary: String,
    arguments: String,
    cause: ListCause,
    stderr: String,
}

#[derive(Debug)]
pub enum ListCause {
    NotRun(SandboxError),
    Ended(String),
    /// It wrote more than may be kept.
    TooLong(u64),
    /// It has more lines than anybody's list.
    TooMany,
    List(ListError),
}

impl BinaryListError {
    /// The error of a binary that has written this to stderr.
    pub fn of(
        binary: &Binary,
        arguments: &[&str],
        stderr: &Captured,
        cause: ListCause,
    ) -> ListingError {
        let error = BinaryListError {
            binary: binary.id.clone(),
            arguments: arguments.join(" "),
            cause,
            stderr: String::from_utf8_lossy(&stderr.to_bytes()).into_owned(),
        };
        ListingError::Binary(Box::new(error))
    }

    /// True if its sandbox could not be set up.
    pub fn is_sandbox(&self) -> bool {
        matches!(self.cause, ListCause::NotRun(_))
    }
}

impl fmt::Display for BinaryListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot list the tests of `{}`: ", self.binary)?;
        match &self.cause {
            ListCause::NotRun(error) => return write!(f, "{error}"),
            ListCause::Ended(how) => write!(f, "with `{}` it {how}", self.arguments)?,
            ListCause::TooLong(limit) => {
                return write!(
                    f,
                    "with `{}` it wrote more than {limit} bytes; raise the limit with \
                     `--output-limit`",
                    self.arguments
                );
            }
            ListCause::TooMany => {
                return write!(f, "with `{}` it wrote more than {MAX_LINES} lines", self.arguments);
            }
            ListCause::List(error) => write!(f, "{error}")?,
        }
        if !self.stderr.is_empty() {
            write!(f, "\nits stderr: {}", self.stderr.trim_end())?;
        }
        write!(f, "\nhint: {}", hint(&self.stderr))
    }
}

/// Remedy. The dynamic loader names the library that it has not found (ld.so(8)).
fn hint(stderr: &str) -> &'static str {
    if stderr.contains("version `GLIBC_") {
        return "it was built for a newer C library than that of this root filesystem; build it \
                there, or where the C library is older";
    }
    match stderr.contains("error while loading shared libraries") {
        true => {
            "a library that it needs is not shown in the sandbox; `--ro DIRECTORY` shows a directory \
             of `LD_LIBRARY_PATH`"
        }
        false => {
            "a target without libtest needs `harness = false` in its manifest, or must answer \
             `--list --format terse`"
        }
    }
}

impl std::error::Error for BinaryListError {}
