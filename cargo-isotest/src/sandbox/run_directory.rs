//! A directory of one run's own, removed at its end; those of runs that were killed are swept by the
//! next one.
//!
//! Tests that share the project with the host, or an archive, may have put anything in its place or
//! into it: it is reached by descriptors alone once its base is open.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;

use isotest_core::untrusted::Dir;

/// Prefix of the names of such directories.
const RUN: &str = "run-";

/// Maximum number of entries of the parent that are read.
const MAX_ENTRIES: usize = 1 << 16;

/// A directory of this run's own, for its owner alone (mode 0700).
#[derive(Debug)]
pub struct RunDirectory {
    parent: Dir,
    name: OsString,
    /// Locked (flock(2)) as long as it is open.
    directory: Dir,
    path: PathBuf,
}

impl RunDirectory {
    /// Makes one in `base/relative`. No symbolic link is followed below `base`.
    pub fn make(base: &Path, relative: &Path) -> io::Result<RunDirectory> {
        fs::create_dir_all(base)?;
        let parent = Dir::open(base)?.make(relative, 0o755)?;
        sweep(&parent)?;
        loop {
            let numbered = |number| OsString::from(format!("{RUN}{}.{number}", process::id()));
            let (name, directory) = parent.make_new((0_u32..).map(numbered))?;
            // Another run may have swept it before it was locked.
            if directory.try_lock()? && directory.is_at(&parent, &name) {
                let path = base.join(relative).join(&name);
                return Ok(RunDirectory { parent, name, directory, path });
            }
        }
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor.
    pub fn directory(&self) -> &Dir {
        &self.directory
    }

    /// Removes it now, and tells what could not be removed.
    pub fn close(self) -> io::Result<()> {
        self.parent.remove(&self.name)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // What stays is swept by the next run.
        let _ = self.parent.remove(&self.name);
    }
}

/// Removes those of runs that are over: their lock is free.
fn sweep(parent: &Dir) -> io::Result<()> {
    let is_run = |name: &OsStr| name.as_bytes().starts_with(RUN.as_bytes());
    for (name, _) in parent.entries(MAX_ENTRIES)?.into_iter().filter(|(name, _)| is_run(name)) {
        if parent.directory(&name).and_then(|old| old.try_lock()).unwrap_or(false) {
            // What stays is swept by the next one.
            let _ = parent.remove(&name);
        }
    }
    Ok(())
}
