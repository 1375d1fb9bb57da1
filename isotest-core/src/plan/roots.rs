//! Where the host's root is while the template is built, and where the new one grows.

use std::path::{Path, PathBuf};

/// The host's root.
pub const OLD: &str = "/old";
/// The new root.
pub const NEW: &str = "/new";
/// Where another root filesystem waits for its place below a layer.
pub const OTHER: &str = "/other";
/// Where a directory of the host waits for its place below a layer.
pub const WAITING: &str = "/waiting";
/// An empty layer: an overlay that nobody writes to has two at least.
pub const NOTHING: &str = "/nothing";

/// A path of the host, there.
pub fn old(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

/// A path of the new root, there.
pub fn new(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    Path::new(NEW).join(path.strip_prefix("/").unwrap_or(path))
}
