//! The directory of recorded runs.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use isotest_core::untrusted::{self, Dir, FileType};

use crate::store::error::StoreError;
use crate::store::writer::Writer;

/// The directory, in the target directory.
const RUNS: &str = "isotest/runs";

/// End of the name of a file.
const SUFFIX: &str = ".isotest";

/// Maximum number of files that are looked at.
const FILES: usize = 100_000;

/// Number of names that are tried for a run.
const TRIES: u16 = 1000;

/// Recorded runs of a project.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// The target directory, as it is before any test runs.
    target: io::Result<Dir>,
}

/// A recorded run in its directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its id, which begins with the time of its start.
    pub id: String,
    /// Size of its file in bytes.
    pub bytes: u64,
    /// Time of the last write, since the epoch.
    pub modified: Duration,
}

/// Limits on what is kept. The latest run stays, whatever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Maximum number of runs.
    pub runs: usize,
    /// Maximum age of a run, if any.
    pub age: Option<Duration>,
    /// Maximum size of all files together, in bytes.
    pub bytes: u64,
}

/// Runs that were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Number of runs.
    pub runs: usize,
    /// Size of their files in bytes.
    pub bytes: u64,
}

impl Store {
    /// That of a target directory.
    pub fn of(target_directory: &Path) -> Store {
        let path = target_directory.join(RUNS);
        Store { path, target: Dir::open(target_directory) }
    }

    /// None, for files elsewhere.
    pub fn none() -> Store {
        let none = io::Error::from(io::ErrorKind::NotFound);
        Store { path: PathBuf::new(), target: Err(none) }
    }

    /// True if this is the path of a file, and no id.
    pub fn is_file(name: Option<&str>) -> bool {
        name.is_some_and(|name| name.contains('/') || name.ends_with(SUFFIX))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file of a run that starts at `time`. Returns the id of the run.
    pub fn create(&self, time: SystemTime) -> io::Result<(String, Writer)> {
        let directory = self.target()?.make(Path::new(RUNS), 0o755)?;
        let mut moment = time;
        for _ in 0..TRIES {
            let id = id_of(moment);
            match directory.create_new(&file_name(&id)) {
                Ok(file) => return Ok((id, Writer::new(file)?)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            // Another run has it.
            moment += ID_STEP;
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// All runs, the latest first.
    pub fn runs(&self) -> Result<Vec<Stored>, StoreError> {
        let read = |error| StoreError::Read(self.path.clone(), error);
        let directory = match self.directory() {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(read(error)),
        };
        let entries = directory.entries(FILES).map_err(read)?;
        let mut runs: Vec<Stored> = entries
            .into_iter()
            .filter(|(_, kind)| *kind == FileType::RegularFile)
            .filter_map(|(name, _)| {
                let id = name.to_str()?.strip_suffix(SUFFIX).filter(|id| is_id(id))?.to_owned();
                let stat = directory.stat(&name).ok()?;
                let modified = Duration::from_secs(u64::try_from(stat.st_mtime).ok()?);
                Some(Stored { id, bytes: u64::try_from(stat.st_size).ok()?, modified })
            })
            .collect();
        runs.sort_unstable_by(|a, b| b.cmp(a));
        Ok(runs)
    }

    /// The file of the run that is called so: the latest one, one whose id begins or ends so, or a
    /// file elsewhere. Returns its path, too.
    pub fn find(
        &self,
        name: Option<&str>,
        directory: &Path,
    ) -> Result<(File, PathBuf), StoreError> {
        let elsewhere = name.filter(|name| Store::is_file(Some(name)));
        if let Some(name) = elsewhere {
            let path = directory.join(name);
            return match untrusted::followed(&path) {
                Ok((file, _)) => Ok((file, path)),
                Err(error) => Err(StoreError::Read(path, error)),
            };
        }
        let id = self.id(name)?;
        let path = self.path.join(file_name(&id));
        match self.open(&id) {
            Ok(file) => Ok((file, path)),
            Err(error) => Err(StoreError::Read(path, error)),
        }
    }

    /// Opens the file of a run.
    pub fn open(&self, id: &str) -> io::Result<File> {
        self.directory()?.file(file_name(id))
    }

    /// The id of the run that is called so.
    fn id(&self, name: Option<&str>) -> Result<String, StoreError> {
        let runs = self.runs()?;
        let Some(latest) = runs.first() else {
            return Err(StoreError::Empty(self.path.clone()));
        };
        let Some(name) = name.filter(|name| *name != "latest") else {
            return Ok(latest.id.clone());
        };
        let fits = |run: &&Stored| run.id.starts_with(name) || run.id.ends_with(name);
        let mut fitting = runs.iter().filter(fits).map(|run| run.id.clone()).collect::<Vec<_>>();
        match fitting.len() {
            0 => Err(StoreError::Unknown(name.to_owned())),
            1 => Ok(fitting.remove(0)),
            _ => {
                fitting.truncate(5);
                Err(StoreError::Ambiguous(name.to_owned(), fitting))
            }
        }
    }

    /// The id of the run before the latest one.
    pub fn before_latest(&self) -> Result<String, StoreError> {
        let mut runs = self.runs()?;
        match runs.len() {
            0 => Err(StoreError::Empty(self.path.clone())),
            1 => Err(StoreError::OnlyOne(self.path.clone())),
            _ => Ok(runs.remove(1).id),
        }
    }

    /// Removes the oldest runs until the limits hold. A run that is being written stays.
    pub fn prune(&self, keep: &Keep, now: SystemTime) -> io::Result<Removed> {
        let mut removed = Removed::default();
        let runs = self.runs().map_err(|error| io::Error::other(error.to_string()))?;
        // No clock of this machine has given a later id.
        let last = id_of(now + Duration::from_secs(24 * 60 * 60));
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (mut kept, mut bytes, mut failed) = (0, 0, None);
        for run in runs {
            let is_old = keep.age.is_some_and(|age| now.saturating_sub(run.modified) > age);
            let fits = kept < keep.runs && run.bytes.saturating_add(bytes) <= keep.bytes;
            let is_later = run.id.as_str() > last.as_str();
            if !is_later && (kept == 0 || fits && !is_old) {
                kept += 1;
                bytes = run.bytes.saturating_add(bytes);
                continue;
            }
            // Its writer has the lock.
            let remove = |file: File| match file.try_lock() {
                Ok(()) => self.directory()?.remove(&file_name(&run.id)).map(|()| true),
                Err(_) => Ok(false),
            };
            match self.open(&run.id).and_then(remove) {
                Ok(true) => {
                    removed.runs += 1;
                    removed.bytes = removed.bytes.saturating_add(run.bytes);
                }
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(removed),
        }
    }

    /// True if a run is being written.
    pub fn is_written(&self, id: &str) -> bool {
        self.open(id).is_ok_and(|file| file.try_lock_shared().is_err())
    }

    pub(super) fn directory(&self) -> io::Result<Dir> {
        self.target()?.directory(RUNS)
    }

    fn target(&self) -> io::Result<&Dir> {
        let same = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
        self.target.as_ref().map_err(same)
    }
}

/// The least time between two ids: a 65536th of a second, rounded up.
const ID_STEP: Duration = Duration::from_nanos(15_259);

/// The id of a run that starts at `time`: date, time, and 65536ths of the second in hexadecimal. The
/// order of ids is that of the times.
pub(super) fn id_of(time: SystemTime) -> String {
    let time = DateTime::<Utc>::from(time);
    // A leap second has more.
    let nanoseconds = u64::from(time.timestamp_subsec_nanos()).min(999_999_999);
    let part = (nanoseconds << 16) / 1_000_000_000;
    format!("{}-{part:04x}", time.format("%Y%m%d-%H%M%S"))
}

/// True if a run may have this id.
fn is_id(id: &str) -> bool {
    id.len() == "20261130-094033-1a38".len()
        && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn file_name(id: &str) -> OsString {
    format!("{id}{SUFFIX}").into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_run_is_found_by_either_end_of_its_id() {
        let place = tempfile::tempdir().expect("a directory");
        let store = Store::of(place.path());
        assert!(matches!(store.find(None, place.path()), Err(StoreError::Empty(_))));
        let ids: Vec<String> =
            (0..3).map(|second| store.create(at(second)).expect("it is writable").0).collect();
        let found = |name| store.find(name, place.path()).map(|(_, path)| path);
        let path = |id: &str| store.path().join(file_name(id));
        assert_eq!(found(None).expect("there is one"), path(&ids[2]));
        assert_eq!(found(Some("latest")).expect("there is one"), path(&ids[2]));
        assert_eq!(found(Some("19700101-000001")).expect("there is one"), path(&ids[1]));
        assert!(matches!(found(Some("1970")), Err(StoreError::Ambiguous(..))));
        assert!(matches!(found(Some("nothing")), Err(StoreError::Unknown(_))));
        assert!(matches!(found(Some("./nothing")), Err(StoreError::Read(..))));
    }

    #[test]
    fn two_runs_of_one_moment_have_two_files() {
        let place = tempfile::tempdir().expect("a directory");
        let store = Store::of(place.path());
        let [(one, _a), (two, _b)] = [0, 0].map(|second| store.create(at(second)).expect("a file"));
        assert!(one < two, "{one} {two}");
    }

    #[test]
    fn the_order_of_ids_is_that_of_times() {
        let part = |nanoseconds| at(7) + Duration::from_nanos(nanoseconds);
        assert_eq!(id_of(at(7)), "19700101-000007-0000");
        assert_eq!(id_of(part(999_999_999)), "19700101-000007-ffff");
        let ids = [0, 15_259, 500_000_000, 999_999_999].map(|it| id_of(part(it)));
        assert!(ids.is_sorted_by(|one, next| one < next) && ids[3] < id_of(at(8)), "{ids:?}");
        assert!(ids.iter().all(|id| is_id(id)));
    }

    #[test]
    fn the_oldest_runs_are_removed_and_never_one_that_is_written() {
        let place = tempfile::tempdir().expect("a directory");
        let store = Store::of(place.path());
        let write = |second| {
            let (id, mut writer) = store.create(at(second)).expect("it is writable");
            writer.write_all(&[b'x'; 100]).expect("it is writable");
            (id, writer)
        };
        let writers: Vec<(String, Writer)> = (0..4).map(write).collect();
        let now = SystemTime::now();
        let age = Duration::from_secs(1000);
        let few = Keep { runs: 2, age: Some(age), bytes: 1 << 20 };
        assert_eq!(store.prune(&few, now).expect("it can be read"), Removed::default());
        assert!(store.is_written(&writers[0].0));
        drop(writers);
        // A process that another test has forked has the locks until it executes its program.
        let remove = |count, keep: &Keep, now| {
            let until = Instant::now() + Duration::from_secs(60);
            let mut removed = 0;
            while removed < count && Instant::now() < until {
                removed += store.prune(keep, now).expect("it can be read").runs;
            }
            assert_eq!(removed, count);
        };
        remove(2, &few, now);
        let runs = store.runs().expect("it can be read");
        assert!(runs.iter().all(|run| run.id.as_str() > "19700101-000002"));
        // An id of the future is nobody's, and takes no place.
        drop(store.create(now + 3 * Duration::from_secs(24 * 60 * 60)).expect("it is writable"));
        remove(1, &few, now);
        // The latest one stays, however old and large it is.
        let old = Keep { runs: 5, ..few };
        remove(1, &old, now + age + Duration::from_secs(5));
        let small = Keep { bytes: 1, age: None, ..few };
        assert_eq!(store.prune(&small, now).expect("it can be read"), Removed::default());
    }

    #[test]
    fn a_link_in_the_place_of_the_directory_is_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let other = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("isotest")).expect("it is writable");
        std::os::unix::fs::symlink(other.path(), place.path().join(RUNS)).expect("a link");
        let store = Store::of(place.path());
        assert!(store.create(at(0)).is_err());
        assert!(store.runs().is_err());
        assert_eq!(fs::read_dir(other.path()).expect("it is there").count(), 0);
    }
}
