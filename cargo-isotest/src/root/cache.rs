//! The cache of unpacked root filesystems: `isotest/roots/DIGEST` in the user's cache directory.
//!
//! A root filesystem is unpacked elsewhere and renamed, so that one that is there is whole.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::stream::{sum_of, sum_of_text};
use crate::sandboxes::locked_directory;

/// The cache.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The one below a user's cache directory.
    pub fn below(directory: &Path) -> Cache {
        Cache { directory: directory.join("isotest/roots") }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The root filesystem of this digest.
    pub fn get(&self, digest: &str) -> Option<PathBuf> {
        Some(self.directory.join(digest)).filter(|root| root.is_dir())
    }

    /// An empty directory to unpack in, on the same filesystem.
    pub fn unpacking(&self) -> io::Result<TempDir> {
        locked_directory(&self.directory.join("unpacking"))
    }

    /// Takes in a root filesystem. Where another run was faster its copy is used.
    pub fn put(&self, digest: &str, unpacked: &Path) -> io::Result<PathBuf> {
        let place = self.directory.join(digest);
        match fs::rename(unpacked, &place) {
            Err(_) if place.is_dir() => Ok(place),
            renamed => renamed.map(|()| place),
        }
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
