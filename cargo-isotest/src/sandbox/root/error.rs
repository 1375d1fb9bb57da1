//! Errors of other root filesystems.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::image::ImageError;
use super::unpack::UnpackError;

/// Another root filesystem cannot be used.
#[derive(Debug)]
pub enum RootError {
    /// The value of `--root` cannot be read.
    Read(PathBuf, io::Error),
    /// There is no place for what is unpacked.
    NoCache(PathBuf),
    /// The cache directory cannot be written.
    Cache(PathBuf, io::Error),
    /// An archive cannot be unpacked.
    Unpack(PathBuf, UnpackError),
    /// It looks like an image, and is none that can be used.
    Image(PathBuf, ImageError),
    /// There is no place in this root for a path of the host: what leads to it there is no
    /// directory.
    Conflict {
        /// The root filesystem.
        root: PathBuf,
        /// The path of the host.
        path: PathBuf,
        /// Its parent directory.
        parent: PathBuf,
    },
    /// Other filesystems are mounted below this directory, one of them here: overlayfs refuses it.
    Mounts(PathBuf, PathBuf),
    /// The `etc` of a root filesystem is a symbolic link.
    Link(PathBuf),
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootError::Read(path, cause) => {
                write!(f, "cannot use `{}` as `--root`: {cause}", path.display())
            }
            RootError::NoCache(path) => write!(
                f,
                "cannot unpack `{}`: there is no cache directory\nhint: set XDG_CACHE_HOME",
                path.display()
            ),
            RootError::Cache(path, cause) => write!(
                f,
                "cannot write to the cache directory `{}`: {cause}\nhint: XDG_CACHE_HOME names \
                 another one",
                path.display()
            ),
            RootError::Unpack(path, cause) => {
                write!(f, "cannot unpack `{}`: {cause}", path.display())
            }
            RootError::Image(path, cause) => {
                write!(f, "cannot use the image `{}`: {cause}", path.display())
            }
            RootError::Conflict { root, path, parent } => write!(
                f,
                "cannot show `{}` in the root filesystem `{}`: `{}` is not a directory there",
                path.display(),
                root.display(),
                parent.display()
            ),
            RootError::Link(path) => {
                write!(f, "cannot use the root filesystem: `{}` is a symbolic link", path.display())
            }
            RootError::Mounts(root, mount) => write!(
                f,
                "cannot use `{root}` as `--root`: another filesystem is mounted at `{}`\n\
                 hint: unmount it, or use a tarball: `tar -C {root} --one-file-system -cf root.tar .`",
                mount.display(),
                root = root.display()
            ),
        }
    }
}

impl std::error::Error for RootError {}
