//! A directory below which other filesystems are mounted, part by part, as plain data.

use std::path::PathBuf;

/// Something in a directory that is shown part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its path, relative to the directory.
    pub path: PathBuf,
    /// Its form in a sandbox.
    pub shown: ShownPart,
}

/// Form in which a part of a directory is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownPart {
    /// A directory that leads to what is mounted: made anew, with these permissions.
    Way(u32),
    /// A directory of which an overlay shows all.
    Layer,
    /// A directory that can be no layer: the host's own.
    Directory,
    /// A regular file: the host's own.
    File,
    /// A symbolic link with this target, made anew.
    Link(PathBuf),
    /// A socket, FIFO or device: an empty file in its place.
    Nothing,
}
