//! The template: the read-only part of the root filesystem, built once a run by the warden.
//!
//! The order, one function each: leave the host's mount propagation, make a new root beside the
//! old one, fill it, move into it. Every mount made here is copied for every case, so each has
//! to be worth it; and since the copies belong to a less privileged user namespace, no case can
//! unmount or change one (mount_namespaces(7), "locked").
//!
//! The host's system directories are bound into the new root one by one. Another root filesystem
//! is shown as a whole, below a layer with all that is made here: one mount, and every mount point
//! is there, whether or not the other filesystem has it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builder::{Steps, c_path};
use super::etc::{hide_private_etc, make_fixed_etc, show_etc};
use super::layout::{
    self, EMPTY, Fresh, LAB, LIBRARY_PATH, Layout, MountMode, PROC, PlacedPath, SCRATCH, STAGING,
    TMP,
};
use super::namespaces::{is_sealed, keeps_covers};
use super::read_only::{HostDirectory, lay_without_secrets, show_read_only};
use super::roots::{self, NEW, NOTHING, OLD, OTHER, WAITING, new, old};
use super::server::{self, LIBRARY};
use super::steps::{Op, Step};
use crate::host::{Host, TopLevel};
use crate::policy::{Init, Namespace, Policy, Propagation, Root, User};

pub fn steps(host: &Host, layout: &Layout, policy: &Policy) -> Vec<Step> {
    let mut steps = Steps::default();
    leave_propagation(&mut steps, layout);
    make_roots(&mut steps, host, layout);
    match &policy.root {
        Root::Host => {
            show_system(&mut steps, host, layout);
            show_etc(&mut steps, host, layout, policy);
            fill(&mut steps, host, layout, policy);
        }
        Root::Directory(other) => {
            let mut contents = Steps::default();
            contents.directory(&new("etc"), 0o755, "the layer over /etc");
            make_fixed_etc(&mut contents, host, policy, &new("etc"));
            hide_private_etc(&mut contents, host, layout, &new("etc"));
            hide_devices(&mut contents, host);
            fill(&mut contents, host, layout, policy);
            // The kernel wants a layer complete before it is one.
            let (made, mounted) = contents.0.into_iter().partition(|step| step.op.makes());
            steps.0.extend::<Vec<Step>>(made);
            show_other(&mut steps, other);
            steps.0.extend::<Vec<Step>>(mounted);
        }
    }
    roots::enter(&mut steps, "the root is shared by all cases");
    steps.0
}

/// Mounts that are the same over every root filesystem.
fn fill(steps: &mut Steps, host: &Host, layout: &Layout, policy: &Policy) {
    make_standard_directories(steps);
    make_devices(steps, host, policy);
    show_proc(steps, host, policy);
    make_mount_points(steps, host, layout);
    make_links(steps, host, layout);
    show_project(steps, host, layout, policy);
}

/// A private mount has no master any more and cannot become a slave of it again. So where a path is
/// to receive mounts all of them stay slaves, which they are already in this mount namespace, until
/// the new root is made private.
fn leave_propagation(steps: &mut Steps, layout: &Layout) {
    let (propagation, reason) = match layout.receives_mounts() {
        false => (libc::MS_PRIVATE, "no mount travels between host and sandbox"),
        true => (libc::MS_SLAVE, "no mount travels to the host"),
    };
    steps.propagation(Path::new("/"), 0, propagation, reason);
}

/// A tmpfs becomes the root, with the host's at `/old`, so that no mount of ours hides a source.
/// The directory below it is visible again afterwards; every host has `/proc`.
fn make_roots(steps: &mut Steps, host: &Host, layout: &Layout) {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    let base = Path::new(if host.missing.contains(&"/tmp") { "/proc" } else { "/tmp" });
    roots::leave(steps, base);
    steps.directory(Path::new(WAITING), 0o755, "what becomes a layer waits here");
    steps.directory(Path::new(NOTHING), 0o755, "an empty layer");
    let (bytes, count) = layout.copies();
    let (size, inodes) = ((64 << 20) + bytes, (64 << 10) + count);
    let options = format!("mode=0755,size={size},nr_inodes={inodes}");
    steps.mount("tmpfs", Path::new(NEW), flags, &options, "the new root");
    steps.directory(&new(TMP), 0o755, "where a case's /tmp will be");
    steps.directory(&new(STAGING), 0o755, "the staging directory");
    steps.directory(&new(SCRATCH), 0o755, "where a case mounts its scratch");
    if layout.has_lab() {
        steps.directory(&new(LAB), 0o755, "where the directories of the lab will be");
    }
    steps.file(&new(EMPTY), b"", 0o444, "covers files with secrets");
    let library = Path::new(OsStr::from_bytes(LIBRARY_PATH.to_bytes()));
    steps.file(&new(library), LIBRARY, 0o444, "makes a fork server of a test binary");
}

/// The other root filesystem, below the layer that has been made at its place. No path of the host
/// stands in the options: a comma or a colon in it would need escapes.
fn show_other(steps: &mut Steps, other: &Path) {
    let waiting = Path::new(OTHER);
    steps.directory(waiting, 0o755, "the other root filesystem waits here");
    steps.bind(&old(other), waiting, false, "the other root filesystem as a layer");
    let options = format!("lowerdir={NEW}:{OTHER},userxattr");
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    steps.mount("overlay", Path::new(NEW), flags, &options, "the other root filesystem");
}

fn show_system(steps: &mut Steps, host: &Host, layout: &Layout) {
    for entry in &host.top_level {
        match entry {
            TopLevel::Directory(name) => {
                let target = new(Path::new(name));
                steps.directory(&target, 0o755, "mount point");
                let path = Path::new("/").join(name);
                let source = system_source(host, layout, &path);
                show_read_only(steps, host, source, &target, "programs and libraries");
            }
            TopLevel::Link(name, target) => {
                steps.link(target, &new(Path::new(name)), "as on the host");
            }
        }
    }
}

fn system_source<'a>(host: &'a Host, layout: &'a Layout, path: &'a Path) -> HostDirectory<'a> {
    let parts = host.parts.iter().find(|(of, _)| of == path).map(|(_, parts)| parts.as_ref());
    HostDirectory { path, parts, secrets: &layout.secrets }
}

fn source<'a>(layout: &'a Layout, placed: &'a PlacedPath) -> HostDirectory<'a> {
    HostDirectory { path: &placed.source, parts: placed.parts.as_deref(), secrets: &layout.secrets }
}

fn make_standard_directories(steps: &mut Steps) {
    for name in ["var", "var/lib", "var/log", "var/cache", "var/tmp", "run", "mnt", "srv", "home"] {
        steps.directory(&new(Path::new(name)), 0o755, "expected of a root filesystem");
    }
    steps.link(Path::new("../run"), &new("var/run"), "expected of a root filesystem");
}

/// The devices that another root filesystem has are of no use; a file of the layer hides its own.
fn hide_devices(steps: &mut Steps, host: &Host) {
    steps.directory(&new("dev"), 0o755, "devices");
    let is_made = |name: &PathBuf| {
        DEV_LINKS.iter().any(|(link, _)| name == Path::new(link))
            || DEV_DIRECTORIES.iter().any(|directory| name == Path::new(directory))
            || host.devices.iter().any(|device| name == Path::new(device))
    };
    for name in host.hidden_dev.iter().filter(|name| !is_made(name)) {
        let path = c_path(&new("dev").join(name));
        steps.add("devices are the host's", Op::Whiteout { path });
    }
}

const DEV_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
const DEV_DIRECTORIES: [&str; 3] = ["pts", "shm", "mqueue"];

fn make_devices(steps: &mut Steps, host: &Host, policy: &Policy) {
    steps.directory(&new("dev"), 0o755, "devices");
    for name in &host.devices {
        let target = new("dev").join(name);
        steps.file(&target, b"", 0o666, "mount point");
        let source = Path::new(OLD).join("dev").join(name);
        steps.bind_exact(&source, &target, false, "a device that every program expects");
    }
    for (name, target) in DEV_LINKS {
        steps.link(Path::new(target), &new("dev").join(name), "as everywhere");
    }
    for name in DEV_DIRECTORIES {
        steps.directory(&new("dev").join(name), 0o755, "a case mounts its own here");
    }
    if policy.ipc == Namespace::Host {
        for name in host.ipc_directories.iter() {
            let source = Path::new(OLD).join("dev").join(name);
            steps.bind(&source, &new("dev").join(name), true, "the host's");
        }
    }
}

/// True if the warden's proc shows only processes that the viewer may trace. A case with
/// capabilities may unmount its own and then sees this one: neither the warden nor other cases are
/// in it then. The warden itself still sees every case, but no reaping init, which forbids to be
/// traced.
fn hides_processes(policy: &Policy) -> bool {
    policy.user == User::Root && policy.init == Init::None && policy.pid != Namespace::Lab
}

/// The kernel lets a case mount a fresh proc only where a whole one is visible already, so the
/// template has the warden's.
fn show_proc(steps: &mut Steps, host: &Host, policy: &Policy) {
    let proc = new("proc");
    steps.directory(&proc, 0o555, "mount point");
    match policy.pid {
        Namespace::New | Namespace::Lab => {
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            let reason = match policy.pid {
                Namespace::New | Namespace::Host => "each case's own proc needs one to be visible",
                Namespace::Lab => "the processes of all cases",
            };
            let options = if hides_processes(policy) { "hidepid=ptraceable" } else { "" };
            steps.mount("proc", &proc, flags, options, reason);
        }
        Namespace::Host => {
            steps.bind(&Path::new(OLD).join("proc"), &proc, true, "the host's processes");
        }
    }
    // Of the host's /proc parts may be missing or read-only.
    if !host.settings.is_empty() && policy.pid != Namespace::Host {
        // By a namespace of its own a nested sandbox could mount the control group that isotest was
        // started in, which belongs to uid 0. The limit counts what is in namespaces below, too.
        let limit = new("proc/sys/user/max_cgroup_namespaces");
        let reason = "uid 0 would have the caller's control group writable";
        steps.write(&limit.to_string_lossy(), "0", reason);
    }
    if shows_whole_proc(host, policy) {
        let whole = new(PROC);
        steps.directory(&whole, 0o555, "mount point");
        steps.bind(&proc, &whole, true, "nested sandboxes need a whole one to be visible");
    }
}

/// True if a nested sandbox may mount a proc of its own, though parts of the case's are covered:
/// the kernel wants one that is not (fs/namespace.c, `mnt_already_visible`). One of the machine's
/// superuser would have the machine's settings writable.
fn shows_whole_proc(host: &Host, policy: &Policy) -> bool {
    keeps_covers(host, policy) && host.settings.is_empty()
}

fn make_mount_points(steps: &mut Steps, host: &Host, layout: &Layout) {
    let outer = |fresh: &&Fresh| !is_in_placed(layout, &fresh.path);
    for fresh in layout.fresh.iter().filter(outer) {
        make_parents(steps, host, layout, &fresh.path);
        steps.directory(&new(&fresh.path), 0o755, "a case's own goes here");
    }
    // What a fresh directory will cover is seen by fork servers alone.
    for placed in layout.placed.iter().filter(|placed| server::is_shown(&placed.path)) {
        make_parents(steps, host, layout, &placed.path);
        if !layout::is_there(host, &placed.path) && !is_in_placed(layout, &placed.path) {
            make_mount_point(steps, placed, &new(&placed.path));
        }
    }
}

fn make_links(steps: &mut Steps, host: &Host, layout: &Layout) {
    for (link, target) in layout.links.iter().filter(|(link, _)| layout.fresh_above(link).is_none())
    {
        make_parents(steps, host, layout, link);
        steps.link(target, &new(link), "a name of what is shown");
    }
}

/// True if a higher host path is shown there, which has the mount point already.
fn is_in_placed(layout: &Layout, path: &Path) -> bool {
    let is_above = |above: &PlacedPath| path != above.path && path.starts_with(&above.path);
    layout.placed.iter().any(|above| is_above(above) && server::is_shown(&above.path))
}

fn make_parents(steps: &mut Steps, host: &Host, layout: &Layout, path: &Path) {
    let parents: Vec<&Path> = path.ancestors().skip(1).collect();
    for parent in parents.iter().rev().filter(|parent| parent.parent().is_some()) {
        let exists = layout::is_there(host, parent)
            || layout
                .placed
                .iter()
                .any(|above| parent.starts_with(&above.path) && server::is_shown(&above.path));
        if !exists {
            steps.directory(&new(parent), 0o755, "leads to a mount point");
        }
    }
}

fn make_mount_point(steps: &mut Steps, placed: &PlacedPath, target: &Path) {
    if placed.directory {
        steps.directory(target, 0o755, "mount point");
    } else {
        steps.file(target, b"", 0o644, "mount point");
    }
}

fn show_project(steps: &mut Steps, host: &Host, layout: &Layout, policy: &Policy) {
    if layout.receives_mounts() {
        steps.attributes(Path::new(NEW), 0, "only the requested paths receive the host's mounts");
    }
    for placed in &layout.placed {
        show_placed(steps, host, layout, policy, placed);
    }
    let is_there = |file: &&PathBuf| !is_left_out(host, layout, policy, file);
    for masked in layout.masked.iter().filter(is_there) {
        let above = layout.placed.iter().rev().find(|placed| masked.starts_with(&placed.path));
        let target = match above {
            Some(PlacedPath { path, staged: Some(staged), .. }) => {
                staged.join(masked.strip_prefix(path).unwrap_or(masked))
            }
            Some(_) | None => masked.clone(),
        };
        steps.bind(Path::new(&new(EMPTY)), &new(target), false, "holds a secret");
    }
}

fn show_placed(
    steps: &mut Steps,
    host: &Host,
    layout: &Layout,
    policy: &Policy,
    placed: &PlacedPath,
) {
    let target = new(placed.staged.as_ref().unwrap_or(&placed.path));
    if placed.staged.is_some() {
        make_mount_point(steps, placed, &target);
    }
    let (source, what) = (old(&placed.source), placed.what.clone());
    match placed.shown {
        MountMode::ReadOnly if placed.directory && placed.propagation != Propagation::Slave => {
            show_read_only(steps, host, self::source(layout, placed), &target, what);
        }
        MountMode::ReadOnly => {
            steps.bind_exact(&source, &target, true, what);
            let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
            let reason = match placed.propagation {
                Propagation::Private | Propagation::Unbindable => "no case can write to it",
                Propagation::Slave => "as it is now; what comes later has the host's flags",
            };
            steps.propagation(&target, set, propagation(placed), reason);
        }
        MountMode::ReadWrite => {
            steps.bind_exact(&source, &target, true, what);
            let reason = "as on the host, without devices";
            // Devices are what is asked for where one is named.
            let set = if placed.path.starts_with("/dev") { 0 } else { libc::MOUNT_ATTR_NODEV };
            steps.propagation(&target, set, propagation(placed), reason);
        }
        MountMode::Overlay | MountMode::LabOverlay => {
            show_lower_layer(steps, host, layout, policy, placed, &target);
        }
    }
}

/// A lower layer must have no mount below it that the host made.
fn show_lower_layer(
    steps: &mut Steps,
    host: &Host,
    layout: &Layout,
    policy: &Policy,
    placed: &PlacedPath,
    target: &Path,
) {
    let (source, what) = (old(&placed.source), placed.what.clone());
    if is_laid(host, layout, placed, policy) {
        lay_without_secrets(steps, self::source(layout, placed), target, what);
    } else {
        steps.bind_exact(&source, target, placed.has_mounts_below, what);
        let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        steps.attributes(target, set, "writes go to the upper layer");
    }
    if let Some(layer) = &placed.copies {
        let (layer, pieces) = (new(&layer.path), Arc::clone(&layer.pieces));
        steps.directory(&layer, 0o755, "the layer over what belongs to others");
        let (path, source) = (c_path(&layer), c_path(&source));
        let reason = "the kernel copies up nothing whose owner has no id in the case";
        steps.add(reason, Op::Fill { source, path, pieces });
    }
}

/// True if the lower layer of a case's overlay is an overlay itself. A case with capabilities can
/// look at that layer, when it unmounts its own overlay, or the `/tmp` that covers the staging
/// directory: there must be no secret, and for the superuser's nobody of the host's at the other
/// end of a socket. Others' may have a sandbox in it, with overlays of its own: the kernel lays no
/// third one on two.
fn is_laid(host: &Host, layout: &Layout, placed: &PlacedPath, policy: &Policy) -> bool {
    let holds_secrets = layout.secrets.iter().any(|secret| secret.starts_with(&placed.source));
    let may_unmount = is_sealed(host, policy);
    (holds_secrets || may_unmount) && placed.directory && host.can_be_layer_twice(&placed.source)
}

/// True if a secret is not there, and needs no cover.
fn is_left_out(host: &Host, layout: &Layout, policy: &Policy, file: &Path) -> bool {
    let above = layout.placed.iter().rev().find(|placed| file.starts_with(&placed.path));
    match above {
        Some(placed) => match placed.shown {
            MountMode::Overlay | MountMode::LabOverlay => is_laid(host, layout, placed, policy),
            MountMode::ReadOnly => {
                let is_bound = !placed.directory || placed.propagation == Propagation::Slave;
                !is_bound && source(layout, placed).leaves_out(host, file)
            }
            MountMode::ReadWrite => false,
        },
        None => host.top_level.iter().any(|entry| match entry {
            TopLevel::Directory(name) => {
                let path = Path::new("/").join(name);
                file.starts_with(&path) && system_source(host, layout, &path).leaves_out(host, file)
            }
            TopLevel::Link(..) => false,
        }),
    }
}

/// The propagation that a host path has in the template, MS_*. An unbindable mount could not be
/// moved out of the staging directory: a case makes its own so.
fn propagation(placed: &PlacedPath) -> u64 {
    match placed.propagation {
        Propagation::Private | Propagation::Unbindable => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
    }
}
