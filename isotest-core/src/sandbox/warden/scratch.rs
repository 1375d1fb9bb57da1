//! Scratch on disk: each case gets a mount of one directory, and never sees that directory's parent.
//!
//! The directory of the run is kept as a mount that is attached nowhere. Only while a case's own is
//! made does it hang in the template, where the warden alone is: cases and fork servers have copies
//! of the mounts that were there when they were cloned.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags, fstat, mkdirat, openat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use crate::errno;
use crate::plan::SCRATCH;
use crate::sandbox::protocol::Disk;
use crate::sandbox::sys;

/// The directory in which cases have theirs, as a detached mount.
pub struct Scratches(OwnedFd);

impl Scratches {
    /// Takes the directory at that path. ESTALE where another one stands there by now.
    pub fn open(disk: &Disk) -> Result<Scratches, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, &disk.path, flags, Mode::empty()).map_err(errno::of_rustix)?;
        let stat = fstat(&directory).map_err(errno::of_rustix)?;
        if (stat.st_dev, stat.st_ino) != disk.identity {
            return Err(Errno::ESTALE);
        }
        let flags = OpenTreeFlags::AT_EMPTY_PATH | CLONE;
        let tree = open_tree(&directory, "", flags).map_err(errno::of_rustix)?;
        sys::restrict_mount(&tree)?;
        Ok(Scratches(tree))
    }

    /// Makes the directory of that name, which did not exist, and a mount of it.
    pub fn make(&mut self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&self.0, "", CWD, SCRATCH, flags).map_err(errno::of_rustix)?;
        let made = self.make_here(name);
        unmount(SCRATCH, UnmountFlags::DETACH).map_err(errno::of_rustix)?;
        made
    }

    fn make_here(&mut self, name: &str) -> Result<OwnedFd, Errno> {
        let own = format!("{SCRATCH}/{name}");
        let made = mkdirat(&self.0, name, Mode::from(0o755));
        let flags = CLONE | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        // A mount can be attached once: the next case has a copy of it.
        self.0 = open_tree(CWD, SCRATCH, flags).map_err(errno::of_rustix)?;
        made.map_err(errno::of_rustix)?;
        open_tree(CWD, own, flags).map_err(errno::of_rustix)
    }
}

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);
