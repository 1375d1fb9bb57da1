//! How a directory of the host is shown read-only: as the lower layer of an overlay wherever it can
//! be, so that its inodes are not the host's.

use std::borrow::Cow;
use std::path::Path;

use super::builder::{Steps, c_path};
use super::roots::{NOTHING, OLD, WAITING};
use crate::host::{Host, Part, ShownPart};
use crate::sandbox::Op;

/// Shows a directory of the host below a layer, read-only. What a case locks, watches or takes a
/// lease on is then the overlay's inode, and not the host's.
pub fn lay(
    steps: &mut Steps,
    layer: &Path,
    source: &Path,
    target: &Path,
    what: impl Into<Cow<'static, str>>,
) {
    // No path of the host stands in the options: a comma or a colon in it would need escapes.
    let waiting = Path::new(WAITING);
    steps.bind_exact(source, waiting, false, "waits to become a layer");
    let options = format!("lowerdir={}:{WAITING},userxattr", layer.display());
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    steps.mount("overlay", target, flags, &options, what);
    steps.add("only the overlay needs it", Op::Detach { path: c_path(waiting) });
}

/// Shows a directory of the host, at `/old/...`, as it is; by its parts where these are given.
pub fn show_read_only(
    steps: &mut Steps,
    host: &Host,
    (source, parts): (&Path, Option<&[Part]>),
    target: &Path,
    what: impl Into<Cow<'static, str>>,
) {
    let path = Path::new("/").join(source.strip_prefix(OLD).unwrap_or(source));
    match parts {
        Some(parts) => show_parts(steps, parts, source, target, &what.into()),
        None if host.can_be_layer(&path) => {
            lay(steps, Path::new(NOTHING), source, target, what);
        }
        None => bind_read_only(steps, source, target, what),
    }
}

/// Shows a directory of the host that no overlay can show as a whole. Its sockets and FIFOs are not
/// there: by an inode of the host's a test would reach who listens.
fn show_parts(steps: &mut Steps, parts: &[Part], source: &Path, target: &Path, what: &str) {
    for Part { path, shown } in parts {
        let (source, target) = (source.join(path), target.join(path));
        match shown {
            ShownPart::Way(mode) => {
                steps.directory(&target, *mode, "leads to another filesystem");
            }
            ShownPart::Layer => {
                steps.directory(&target, 0o755, "mount point");
                lay(steps, Path::new(NOTHING), &source, &target, what.to_owned());
            }
            ShownPart::Directory => {
                steps.directory(&target, 0o755, "mount point");
                bind_read_only(steps, &source, &target, what.to_owned());
            }
            ShownPart::File => {
                steps.file(&target, b"", 0o444, "mount point");
                bind_read_only(steps, &source, &target, what.to_owned());
            }
            ShownPart::Link(to) => steps.link(to, &target, "as on the host"),
            ShownPart::Nothing => {
                steps.file(&target, b"", 0o444, "no socket, FIFO or device of the host's");
            }
        }
    }
}

/// The host's own inodes: a file, or a directory that cannot be a layer.
pub fn bind_read_only(
    steps: &mut Steps,
    source: &Path,
    target: &Path,
    what: impl Into<Cow<'static, str>>,
) {
    steps.bind_exact(source, target, true, what);
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    steps.attributes(target, set, "no case can write to it");
}
