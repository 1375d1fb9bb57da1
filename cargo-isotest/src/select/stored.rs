//! A file of a run in the target directory that makes the next run faster: the lists of binaries that
//! have not changed. A run works without it, so a file that cannot be read or written counts as
//! missing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use isotest_core::case::Case;
use isotest_core::untrusted::Dir;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::discover::Project;

/// The directory in the target directory that is isotest's.
const DIRECTORY: &str = "isotest";

/// More than a file of a million tests has.
const MAX_BYTES: u64 = 256 << 20;

/// The directory `isotest` of a target directory. Tests that share the project with the host, or an
/// archive, may have put anything there: no symbolic link is followed, and what is no regular file
/// is not opened.
#[derive(Debug)]
pub struct IsotestDirectory {
    /// The target directory, as it is before any test runs.
    target: io::Result<Dir>,
}

impl IsotestDirectory {
    /// The directory of a target directory.
    pub fn of(target_directory: &Path) -> IsotestDirectory {
        IsotestDirectory { target: Dir::open(target_directory) }
    }

    /// Content of one of its files; `None` if it cannot be read.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let target = self.target.as_ref().ok()?;
        let bytes = target.read(Path::new(DIRECTORY).join(name), MAX_BYTES).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes a file of it anew, whole or not at all. A symbolic link in its place is replaced.
    pub fn replace(&self, name: &str, content: &impl Serialize) -> io::Result<()> {
        let target = self
            .target
            .as_ref()
            .map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let mut bytes = serde_json::to_vec(content)?;
        bytes.push(b'\n');
        target.make(Path::new(DIRECTORY), 0o755)?.replace(OsStr::new(name), &bytes)
    }
}

const LISTS: &str = "lists.json";

/// The lists of binaries, each with what tells that the binary is still the same.
pub struct StoredLists {
    own: IsotestDirectory,
    known: BTreeMap<PathBuf, StoredList>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredList {
    identity: Identity,
    cases: Vec<Case>,
}

/// Attributes that change with a file: cargo writes a new one for each build.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    inode: u64,
    size: u64,
    /// Of the last change of content and of status, in seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(path: &Path) -> Option<Identity> {
        let file = path.metadata().ok()?;
        Some(Identity {
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

impl StoredLists {
    /// Lists of a project.
    pub fn read(project: &Project) -> StoredLists {
        StoredLists::of_own(IsotestDirectory::of(project.target_directory.as_std_path()))
    }

    fn of_own(own: IsotestDirectory) -> StoredLists {
        StoredLists { known: own.read(LISTS).unwrap_or_default(), own, changed: false }
    }

    /// The cases of a binary that is as it was when it was asked for them.
    pub fn of(&self, program: &Path) -> Option<Vec<Case>> {
        let list = self.known.get(program)?;
        (Identity::of(program)? == list.identity).then(|| list.cases.clone())
    }

    /// Remembers what a binary has answered.
    pub fn note(&mut self, program: &Path, cases: &[Case]) {
        if let Some(identity) = Identity::of(program) {
            let list = StoredList { identity, cases: cases.to_vec() };
            self.known.insert(program.to_owned(), list);
            self.changed = true;
        }
    }

    /// Keeps them for the next run, but for those of binaries that are gone.
    pub fn write(mut self) {
        if self.changed {
            self.known.retain(|program, _| program.exists());
            let _ = self.own.replace(LISTS, &self.known);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use isotest_core::case::{Ignore, Kind};

    fn lists(directory: &Path) -> StoredLists {
        StoredLists::of_own(IsotestDirectory::of(directory))
    }

    #[test]
    fn a_list_is_known_as_long_as_its_binary_is_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("program");
        fs::write(&program, "one").expect("it is writable");
        let case = Case::listed("a".to_owned(), Kind::Test, Ignore::Yes);
        let mut before = lists(directory.path());
        assert_eq!(before.of(&program), None);
        before.note(&program, std::slice::from_ref(&case));
        before.write();
        assert_eq!(lists(directory.path()).of(&program), Some(vec![case]));
        fs::write(&program, "other").expect("it is writable");
        assert_eq!(lists(directory.path()).of(&program), None);
    }

    #[test]
    fn what_is_no_memory_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join(DIRECTORY)).expect("it is writable");
        fs::write(directory.path().join(DIRECTORY).join("lists.json"), "{\"a\": 3")
            .expect("it is writable");
        assert!(lists(directory.path()).known.is_empty());
    }

    #[test]
    fn a_link_in_the_place_of_the_directory_is_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let [other, own] = ["other", DIRECTORY].map(|name| place.path().join(name));
        fs::create_dir(&other).expect("it is writable");
        fs::write(other.join(LISTS), "1").expect("it is writable");
        std::os::unix::fs::symlink(&other, &own).expect("a link");
        let stored = IsotestDirectory::of(place.path());
        assert_eq!(stored.read::<u32>(LISTS), None);
        let error = stored.replace(LISTS, &2).expect_err("there is a link");
        let expected = format!("`{}` is a symbolic link, which is not followed", own.display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(fs::read_to_string(other.join(LISTS)).expect("it is there"), "1");
    }
}
