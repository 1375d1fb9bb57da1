//! The cache of unpacked root filesystems: `isotest/roots/DIGEST` in the user's cache directory.
//!
//! A root filesystem is unpacked elsewhere and renamed, so that one that is there is whole. A run
//! that uses one holds a lock on it (flock(2)), so that no other run removes it meanwhile.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::stream::{sum_of, sum_of_text};
use crate::sandbox::run_directory::RunDirectory;

/// The cache.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
}

/// Result of `prune`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Number of removed root filesystems.
    pub removed: usize,
    /// Bytes of disk space that they took.
    pub bytes: u64,
    /// Number of root filesystems that stay because a run uses them.
    pub in_use: usize,
}

impl Cache {
    /// The one below a user's cache directory.
    pub fn below(directory: &Path) -> Cache {
        Cache { directory: directory.join("isotest/roots") }
    }

    /// Path of the cache.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The root filesystem of this digest. It stays there until this process ends.
    pub fn get(&self, digest: &str) -> io::Result<Option<PathBuf>> {
        let root = self.directory.join(digest);
        let held = match File::open(&root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        held.lock_shared()?;
        // It may have been removed before it was locked.
        let inode = held.metadata()?.ino();
        if !fs::metadata(&root).is_ok_and(|there| there.ino() == inode) {
            return Ok(None);
        }
        std::mem::forget(held);
        Ok(Some(root))
    }

    /// An empty directory to unpack in, on the same filesystem.
    pub fn unpacking(&self) -> io::Result<RunDirectory> {
        RunDirectory::make(&self.directory, Path::new("unpacking"))
    }

    /// Takes in a root filesystem. Where another run was faster its copy is used.
    pub fn put(&self, digest: &str, unpacked: &Path) -> io::Result<PathBuf> {
        let root = self.directory.join(digest);
        let held = File::open(unpacked)?;
        held.lock_shared()?;
        match fs::rename(unpacked, &root) {
            Ok(()) => {
                std::mem::forget(held);
                Ok(root)
            }
            Err(error) => self.get(digest)?.ok_or(error),
        }
    }

    /// Removes every root filesystem that no run uses.
    pub fn prune(&self) -> io::Result<Pruned> {
        let mut pruned = Pruned::default();
        let away = self.unpacking()?;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(is_digest) {
                continue;
            }
            let root = File::open(entry.path())?;
            match root.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    pruned.in_use += 1;
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            pruned.removed += 1;
            pruned.bytes += size(&entry.path());
            // Elsewhere first: what is there under its name is whole.
            fs::rename(entry.path(), away.path().join(name))?;
        }
        away.close()?;
        // The sum of a file takes a reading of it to be known again.
        for note in fs::read_dir(self.directory.join("sums")).into_iter().flatten().flatten() {
            fs::remove_file(note.path())?;
        }
        Ok(pruned)
    }

    /// The SHA-256 of a file, remembered for as long as the file does not change.
    pub fn sum(&self, file: &Path) -> io::Result<String> {
        let opened = fs::File::open(file)?;
        let metadata = opened.metadata()?;
        let state = format!(
            "{} {} {} {} {}.{}",
            metadata.dev(),
            metadata.ino(),
            metadata.len(),
            file.display(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        let note = self.directory.join("sums").join(sum_of_text(state.as_bytes()));
        if let Ok(sum) = fs::read_link(&note)
            && let Ok(sum) = sum.into_os_string().into_string()
        {
            return Ok(sum);
        }
        let sum = sum_of(opened)?;
        fs::create_dir_all(self.directory.join("sums"))?;
        match symlink(&sum, &note) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(sum),
        }
    }
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Bytes of disk space of a directory and all below it. Unreadable entries are left out.
fn size(path: &Path) -> u64 {
    const BLOCK: u64 = 512; // stat(2), st_blocks
    let own = fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks() * BLOCK);
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let below = entries.map(|entry| match is_directory(&entry) {
        true => size(&entry.path()),
        false => entry.metadata().map_or(0, |metadata| metadata.blocks() * BLOCK),
    });
    own + below.sum::<u64>()
}
