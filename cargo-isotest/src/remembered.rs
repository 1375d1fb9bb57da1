//! What a run leaves in the target directory to make the next one faster: the lists of binaries
//! that have not changed, and how long cases took. A run goes well without either, so what cannot
//! be read or written is not there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use isotest_core::case::Case;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::discover::Project;

/// The directory in the target directory that is isotest's.
const OWN: &str = "isotest";

/// Cases that took less are not worth a line.
const WORTH_NOTING: Duration = Duration::from_millis(20);

fn file(project: &Project, name: &str) -> PathBuf {
    project.target_directory.join(OWN).join(name).into_std_path_buf()
}

fn read<T: DeserializeOwned + Default>(file: &Path) -> T {
    let text = fs::read(file).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Makes the directory `isotest` of a target directory, or one below it. A symbolic link that stands
/// there is an error, since it would lead to files of the user's: tests that share the project with
/// the host may have put it there, or an archive.
pub fn make_own(directory: &Path) -> io::Result<()> {
    let below = directory.ancestors().take_while(|path| !path.ends_with(OWN)).count();
    let mut own = directory.ancestors().take(below + 1);
    if let Some(link) = own.find(|path| path.is_symlink()) {
        let message = format!("`{}` is a symbolic link, which is not followed", link.display());
        return Err(io::Error::other(message));
    }
    fs::create_dir_all(directory)
}

/// Writes a file anew, whole or not at all. A symbolic link in its place is replaced, one in the
/// place of its directory is an error, and none is followed: tests that share the project with the
/// host may have put it there.
pub fn replace(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make_own(directory)?;
    let mut file = NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&mut file, content)?;
    file.write_all(b"\n")?;
    file.persist(path)?;
    Ok(())
}

/// The lists of binaries, each with what tells that the binary is still the same.
pub struct Lists {
    file: PathBuf,
    known: BTreeMap<PathBuf, List>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct List {
    identity: Identity,
    cases: Vec<Case>,
}

/// What changes with a file: cargo writes a new one for each build.
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

impl Lists {
    /// Those of a project.
    pub fn read(project: &Project) -> Lists {
        let file = file(project, "lists.json");
        Lists { known: read(&file), file, changed: false }
    }

    /// The cases of a binary that is as it was when it was asked for them.
    pub fn of(&self, program: &Path) -> Option<Vec<Case>> {
        let list = self.known.get(program)?;
        (Identity::of(program)? == list.identity).then(|| list.cases.clone())
    }

    /// Remembers what a binary has answered.
    pub fn note(&mut self, program: &Path, cases: &[Case]) {
        if let Some(identity) = Identity::of(program) {
            let list = List { identity, cases: cases.to_vec() };
            self.known.insert(program.to_owned(), list);
            self.changed = true;
        }
    }

    /// Keeps them for the next run, but for those of binaries that are gone.
    pub fn write(mut self) {
        if self.changed {
            self.known.retain(|program, _| program.exists());
            let _ = replace(&self.file, &self.known);
        }
    }
}

/// How long cases took, by the id of their binary and their name.
pub struct Durations {
    file: PathBuf,
    known: BTreeMap<String, BTreeMap<String, Duration>>,
}

impl Durations {
    /// Those of a project.
    pub fn read(project: &Project) -> Durations {
        let file = file(project, "durations.json");
        Durations { known: read(&file), file }
    }

    /// How long a case took; nothing where it was short or is not known.
    pub fn of(&self, binary: &str, case: &str) -> Duration {
        let known = self.known.get(binary).and_then(|cases| cases.get(case));
        known.copied().unwrap_or_default()
    }

    /// Remembers how long a case has taken.
    pub fn note(&mut self, binary: &str, case: &str, took: Duration) {
        if took >= WORTH_NOTING {
            self.known.entry(binary.to_owned()).or_default().insert(case.to_owned(), took);
        } else if let Some(cases) = self.known.get_mut(binary) {
            cases.remove(case);
        }
    }

    /// Keeps them for the next run.
    pub fn write(&self) {
        let _ = replace(&self.file, &self.known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotest_core::case::{Ignore, Kind};

    fn lists(directory: &Path) -> Lists {
        let file = directory.join(OWN).join("lists.json");
        Lists { known: read(&file), file, changed: false }
    }

    #[test]
    fn a_list_is_known_as_long_as_its_binary_is_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("program");
        fs::write(&program, "one").expect("it is writable");
        let case = Case { name: "a".to_owned(), kind: Kind::Test, ignore: Ignore::Yes };
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
        fs::create_dir(directory.path().join(OWN)).expect("it is writable");
        fs::write(directory.path().join(OWN).join("lists.json"), "{\"a\": 3")
            .expect("it is writable");
        assert!(lists(directory.path()).known.is_empty());
    }

    #[test]
    fn only_long_cases_are_remembered() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join(OWN).join("durations.json");
        let mut durations = Durations { known: BTreeMap::new(), file: file.clone() };
        let (short, long) = (Duration::from_millis(3), Duration::from_secs(2));
        durations.note("b", "x", long);
        durations.note("b", "y", long);
        durations.note("b", "y", short);
        durations.write();
        let durations = Durations { known: read(&file), file };
        assert_eq!(durations.of("b", "x"), long);
        assert_eq!(durations.of("b", "y"), Duration::ZERO);
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_is_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let [other, own] = ["other", OWN].map(|name| place.path().join(name));
        fs::create_dir(&other).expect("it is writable");
        std::os::unix::fs::symlink(&other, &own).expect("a link");
        for directory in [own.clone(), own.join("scratch"), own.join("a/b")] {
            let error = make_own(&directory).expect_err("there is a link");
            let expected = format!("`{}` is a symbolic link, which", own.display());
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert!(replace(&directory.join("x.json"), &1).is_err());
        }
        assert_eq!(fs::read_dir(&other).expect("it is there").count(), 0);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = directory.path().join(OWN);
        fs::create_dir(&own).expect("it is writable");
        let [target, link] = ["target", "lists.json"].map(|name| own.join(name));
        fs::write(&target, "untouched").expect("it is writable");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        replace(&link, &1).expect("it is writable");
        assert_eq!(fs::read_to_string(&target).expect("it is there"), "untouched");
        assert_eq!(fs::read_to_string(&link).expect("it is there"), "1\n");
    }
}
