//! Directories of the host that are shown read-only: as the lower layer of an overlay wherever
//! possible, so that their inodes are not the host's, and no secret is in them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::builder::{Steps, c_path};
use super::roots::{NOTHING, WAITING, old};
use super::steps::Op;
use crate::host::{Host, Part, ShownPart};

/// A directory of the host.
#[derive(Clone, Copy)]
pub struct HostDirectory<'a> {
    /// Its path on the host.
    pub path: &'a Path,
    /// Its parts, where no overlay can show it as a whole.
    pub parts: Option<&'a [Part]>,
    /// Files that are not shown, there or not.
    pub secrets: &'a [PathBuf],
}

impl HostDirectory<'_> {
    /// True if a file in it can be absent: the layer above, or the directory that is made anew,
    /// does not have it, whatever the host makes there.
    pub fn leaves_out(&self, host: &Host, file: &Path) -> bool {
        let Some(parts) = self.parts else { return host.can_be_layer(self.path) };
        let relative = file.strip_prefix(self.path).unwrap_or(file);
        let around = parts.iter().filter(|part| relative.starts_with(&part.path));
        let nearest = around.max_by_key(|part| part.path.components().count());
        nearest.is_none_or(|part| part.shown != ShownPart::Directory)
    }
}

/// Shows a directory of the host below a layer, read-only. What a case locks, watches or takes a
/// lease on is then the overlay's inode, and not the host's.
pub fn lay(
    steps: &mut Steps,
    layer: &Path,
    source: &Path,
    target: &Path,
    what: impl Into<Cow<'static, str>>,
) {
    lay_for(steps, None, (layer, source), target, what);
}

/// The same; of `reader`, where one is given, the overlay shows what this uid and gid may see. The
/// kernel looks into the layers of an overlay with the credentials of who has mounted it
/// (Documentation/filesystems/overlayfs.rst, "Permission model").
pub fn lay_for(
    steps: &mut Steps,
    reader: Option<u32>,
    (layer, source): (&Path, &Path),
    target: &Path,
    what: impl Into<Cow<'static, str>>,
) {
    // No path of the host stands in the options: a comma or a colon in it would need escapes.
    let waiting = Path::new(WAITING);
    steps.bind_exact(source, waiting, false, "waits to become a layer");
    let options = format!("lowerdir={}:{WAITING},userxattr", layer.display());
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    if let Some(id) = reader {
        steps.add("files that only root may read stay unreadable", Op::FilesystemIds { id });
    }
    steps.mount("overlay", target, flags, &options, what);
    if reader.is_some() {
        steps.add("the rest is root's to do", Op::FilesystemIds { id: 0 });
    }
    steps.add("only the overlay needs it", Op::Detach { path: c_path(waiting) });
}

/// Shows a directory of the host as a whole, below a layer that leaves secrets out.
pub fn lay_without_secrets(
    steps: &mut Steps,
    HostDirectory { path, secrets, .. }: HostDirectory<'_>,
    target: &Path,
    what: impl Into<Cow<'static, str>>,
) {
    let inside: Vec<&Path> =
        secrets.iter().filter_map(|secret| secret.strip_prefix(path).ok()).collect();
    if inside.is_empty() {
        return lay(steps, Path::new(NOTHING), &old(path), target, what);
    }
    // Not in the new root: it may be a layer itself, and one layer's whiteouts hide them from the next.
    let layer = PathBuf::from(format!("/without-{}", steps.0.len()));
    steps.directory(&layer, 0o755, "a layer that hides secrets");
    for secret in inside {
        hide(steps, &layer, secret, "holds a secret, or may come to");
    }
    lay(steps, &layer, &old(path), target, what);
}

/// Hides what is at a relative path in the layers below.
pub fn hide(steps: &mut Steps, layer: &Path, path: &Path, reason: &'static str) {
    let parents: Vec<&Path> = path.ancestors().skip(1).filter(|p| p.parent().is_some()).collect();
    for parent in parents.iter().rev() {
        steps.directory(&layer.join(parent), 0o755, "holds a hidden file");
    }
    steps.add(reason, Op::Whiteout { path: c_path(&layer.join(path)) });
}

/// Shows a directory of the host as it is, but for its secrets; by its parts where these are given.
pub fn show_read_only(
    steps: &mut Steps,
    host: &Host,
    source: HostDirectory<'_>,
    target: &Path,
    what: impl Into<Cow<'static, str>>,
) {
    match source.parts {
        Some(parts) => show_parts(steps, parts, source, target, &what.into()),
        None if host.can_be_layer(source.path) => {
            lay_without_secrets(steps, source, target, what);
        }
        None => bind_read_only(steps, &old(source.path), target, what),
    }
}

/// Shows a directory of the host that no overlay can show as a whole. Its sockets and FIFOs are not
/// there: by an inode of the host's a test would reach who listens.
fn show_parts(
    steps: &mut Steps,
    parts: &[Part],
    whole: HostDirectory<'_>,
    target: &Path,
    what: &str,
) {
    for Part { path, shown } in parts {
        let (path, target) = (whole.path.join(path), target.join(path));
        match shown {
            ShownPart::Way(mode) => {
                steps.directory(&target, *mode, "leads to another filesystem");
            }
            ShownPart::Layer => {
                steps.directory(&target, 0o755, "mount point");
                let source = HostDirectory { path: &path, parts: None, ..whole };
                lay_without_secrets(steps, source, &target, what.to_owned());
            }
            ShownPart::Directory => {
                steps.directory(&target, 0o755, "mount point");
                bind_read_only(steps, &old(&path), &target, what.to_owned());
            }
            ShownPart::File | ShownPart::Link(_) if whole.secrets.contains(&path) => {}
            ShownPart::File => {
                steps.file(&target, b"", 0o444, "mount point");
                bind_read_only(steps, &old(&path), &target, what.to_owned());
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
