//! Errors of archives.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::discover::DiscoverError;
use crate::sandbox::root::UnpackError;

/// An archive, or another build that was made before, cannot be read or written.
#[derive(Debug)]
pub enum ArchiveError {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file is not compressed by zstd, so it is no archive.
    NotZstd(PathBuf),
    /// It cannot be unpacked.
    Unpack(PathBuf, UnpackError),
    /// It is an archive of something else: this is missing.
    Foreign(PathBuf, &'static str),
    /// The description of the build cannot be understood.
    Description(PathBuf, Box<DiscoverError>),
    /// It says that its sources are in itself.
    OwnSources(PathBuf, PathBuf),
    /// There is no place to unpack to.
    NoPlace(PathBuf),
    /// A directory to unpack to cannot be made or used.
    Place(PathBuf, io::Error),
    /// The target of the extraction exists.
    Exists(PathBuf, PathBuf),
    /// A directory that an option names cannot be used.
    Remap(&'static str, PathBuf, io::Error),
    /// An archive cannot be written.
    Write(PathBuf, io::Error),
    /// A file that belongs in an archive cannot be added to it.
    Add(PathBuf, io::Error),
    /// A path that the configuration names does not exist; second, the place that names it.
    Missing(PathBuf, String),
    /// A path of it is not UTF-8.
    Path(DiscoverError),
    /// The filter expressions select no test binary, of so many.
    Empty(usize),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveError::Read(path, cause) => {
                write!(f, "cannot read `{}`: {cause}", path.display())
            }
            ArchiveError::NotZstd(path) => write!(
                f,
                "cannot unpack `{}`: it is not an archive of tests, which is a .tar.zst\n\
                 hint: make one with `cargo isotest archive` or `cargo nextest archive`",
                path.display()
            ),
            ArchiveError::Unpack(path, cause) => {
                write!(f, "cannot unpack `{}`: {cause}", path.display())
            }
            ArchiveError::Foreign(path, missing) => write!(
                f,
                "cannot use `{}`: it is not an archive of tests: it has no `{missing}`\n\
                 hint: make one with `cargo isotest archive` or `cargo nextest archive`",
                path.display()
            ),
            ArchiveError::Description(path, cause) => {
                write!(f, "cannot use `{}`: {cause}", path.display())
            }
            ArchiveError::OwnSources(path, root) => write!(
                f,
                "cannot use `{}`: its sources and configuration are in `{}`, where it was \
                 unpacked\nhint: set the directory of the sources with `--workspace-remap DIR`",
                path.display(),
                root.display()
            ),
            ArchiveError::NoPlace(path) => write!(
                f,
                "cannot unpack `{}`: there is no cache directory\n\
                 hint: set XDG_CACHE_HOME, or use `--extract-to DIR`",
                path.display()
            ),
            ArchiveError::Place(path, cause) => write!(
                f,
                "cannot unpack to `{}`: {cause}\nhint: `--extract-to DIR` names another place",
                path.display()
            ),
            ArchiveError::Exists(path, place) => write!(
                f,
                "cannot unpack `{}`: `{}` exists already\n\
                 hint: `--extract-overwrite` replaces its files",
                path.display(),
                place.display()
            ),
            ArchiveError::Remap(flag, path, cause) => {
                write!(f, "cannot use `{}` (`{flag}`): {cause}", path.display())
            }
            ArchiveError::Write(path, cause) => {
                write!(f, "cannot write the archive `{}`: {cause}", path.display())
            }
            ArchiveError::Add(path, cause) => {
                write!(f, "cannot add `{}` to the archive: {cause}", path.display())
            }
            ArchiveError::Missing(path, place) => write!(
                f,
                "cannot add `{}` to the archive: it does not exist\n\
                 hint: `archive.include` names it, with `on-missing = \"error\"`, in {place}",
                path.display()
            ),
            ArchiveError::Path(error) => write!(f, "{error}"),
            ArchiveError::Empty(built) => write!(
                f,
                "cannot make an archive: the filter expressions select no test binary, among {built}"
            ),
        }
    }
}

impl std::error::Error for ArchiveError {}
