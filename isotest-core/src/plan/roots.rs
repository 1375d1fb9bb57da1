//! Places of the host's root and of the new one while that is built, and the step that makes it the
//! root.

use std::path::{Path, PathBuf};

use super::builder::{Steps, c_path};
use super::steps::Op;

/// The host's root.
pub const OLD: &str = "/old";
/// The new root.
pub const NEW: &str = "/new";
/// Place of another root filesystem until it is mounted below a layer.
pub const OTHER: &str = "/other";
/// Place of a directory of the host until it is mounted below a layer.
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

/// A tmpfs becomes the root, with the host's at `/old`, so that no mount of ours hides a source. What
/// it is mounted on until then, `base`, is in sight again afterwards.
pub fn leave(steps: &mut Steps, base: &Path) {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    steps.mount("tmpfs", base, flags, "mode=0755,size=1m", "a place for both roots");
    steps.directory(&base.join("old"), 0o755, "the host's root goes here");
    steps.directory(&base.join("new"), 0o755, "the new root grows here");
    let (new_root, put_old) = (c_path(base), c_path(&base.join("old")));
    steps.add("both roots are in reach", Op::PivotRoot { new_root, put_old });
    steps.add(
        "the working directory is the host's",
        Op::ChangeDirectory { path: c_path(Path::new("/")) },
    );
}

/// The new root becomes the root, and read-only since `reason`.
pub fn enter(steps: &mut Steps, reason: &'static str) {
    let dot = || c_path(Path::new("."));
    steps.add("to pivot into it", Op::ChangeDirectory { path: c_path(Path::new(NEW)) });
    steps.add(
        "the new root takes the old one's place",
        Op::PivotRoot { new_root: dot(), put_old: dot() },
    );
    steps.add("nothing else of the host is visible", Op::Detach { path: dot() });
    let root = || c_path(Path::new("/"));
    steps.add("the working directory is gone", Op::ChangeDirectory { path: root() });
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let op = Op::Attributes { path: root(), recursive: false, set, propagation: libc::MS_PRIVATE };
    steps.add(reason, op);
}
