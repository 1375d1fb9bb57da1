//! Errors of recorded runs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use isotest_core::escape::escape;

/// A recorded run cannot be had.
#[derive(Debug)]
pub enum StoreError {
    /// No run is recorded in this directory.
    Empty(PathBuf),
    /// One run is recorded in this directory, and two are compared.
    OnlyOne(PathBuf),
    /// No recorded run has this id.
    Unknown(String),
    /// The ids of several recorded runs begin or end with these characters.
    Ambiguous(String, Vec<String>),
    /// Every test of this run has passed, or is ignored.
    NothingFailed(PathBuf),
    /// No test has failed and not passed since, in the runs of this directory.
    NoFailures(PathBuf),
    /// No diagnosis of this test with a token is kept in this directory.
    NoToken(String, PathBuf),
    /// No test of this run was traced.
    NotTraced(String),
    /// A file, or the directory, cannot be read.
    Read(PathBuf, io::Error),
    /// A file is something else.
    NotARun(PathBuf),
    /// A file has this version of the format, which is newer than the known one.
    Newer(PathBuf, u32),
    /// A file cannot be read from some line on.
    Damaged(PathBuf, usize, String),
    /// A file cannot be written.
    Write(PathBuf, io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Empty(directory) => write!(
                f,
                "no run is recorded in `{}`\n\
                 hint: `cargo isotest` records every run, unless `--no-record` is given",
                shown(directory)
            ),
            StoreError::OnlyOne(directory) => write!(
                f,
                "only one run is recorded in `{}`\n\
                 hint: run the tests again, or name two runs or files: `runs diff A B`",
                shown(directory)
            ),
            StoreError::NotTraced(run) => write!(
                f,
                "no test of run `{run}` was traced\n\
                 hint: `cargo isotest --trace always` traces a run"
            ),
            StoreError::NoToken(test, directory) => write!(
                f,
                "no diagnosis of `{}` that saw it fail is kept in `{}`\n\
                 hint: `cargo isotest diagnose {}` makes one",
                escape(test.trim_matches('\'')),
                shown(directory),
                escape(test)
            ),
            StoreError::Unknown(name) => write!(
                f,
                "no recorded run is called `{}`\n\
                 hint: `cargo isotest runs` lists the recorded runs; a file is `./NAME`, or ends with \
                 `.isotest`",
                escape(name)
            ),
            StoreError::Ambiguous(name, ids) => write!(
                f,
                "`{name}` is ambiguous: it could be {}\nhint: type more of it",
                ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
            ),
            StoreError::NothingFailed(path) => {
                write!(f, "no test of `{}` failed or is left to run", shown(path))
            }
            StoreError::NoFailures(directory) => write!(
                f,
                "no failed tests to rerun\n\
                 hint: failed tests are those of the runs that are recorded in `{}`",
                shown(directory)
            ),
            StoreError::Read(path, error) => write!(f, "cannot read `{}`: {error}", shown(path)),
            StoreError::NotARun(path) => write!(
                f,
                "`{}` is not a recorded run\n\
                 hint: `cargo isotest runs export RUN FILE` writes such a file",
                shown(path)
            ),
            StoreError::Newer(path, version) => write!(
                f,
                "`{}` was written by a newer isotest (format {version})\n\
                 hint: update isotest",
                shown(path)
            ),
            StoreError::Damaged(path, line, why) => {
                write!(f, "`{}` cannot be read after line {line}: {why}", shown(path))
            }
            StoreError::Write(path, error) => {
                write!(f, "cannot write `{}`: {error}", shown(path))
            }
        }
    }
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

impl std::error::Error for StoreError {}
