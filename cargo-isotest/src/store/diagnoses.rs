//! Results of diagnoses: a small file for each, beside the recorded runs.
//!
//! The name of a file begins with a hash of its test, and ends with the time. A file names its test and
//! the hash of the binary. One that cannot be read, or is another version's, is as good as none.

use std::ffi::{OsStr, OsString};
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use isotest_core::untrusted::Dir;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use super::runs::id_of;
use crate::report::{Diagnosed, KnownDiagnosis};

/// The directory, in the target directory.
const DIRECTORY: &str = "isotest/diagnoses";
/// The version of the format of a file.
const VERSION: u32 = 1;
/// Maximum number of files. The oldest ones are removed.
const KEPT: usize = 200;
/// Maximum number of files that are looked at.
const FILES: usize = 10_000;
/// Maximum bytes of a file.
const LONGEST: u64 = 1 << 18;
/// Number of names that are tried for a file.
const TRIES: u32 = 100;

/// Kept diagnoses of a project.
#[derive(Debug)]
pub struct Diagnoses {
    path: PathBuf,
    target: PathBuf,
}

/// A kept diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KeptDiagnosis {
    format: u32,
    /// Its time in UTC (RFC 3339).
    pub time: String,
    /// The id of the binary.
    pub binary: String,
    /// The test.
    pub test: String,
    /// Hash of the contents of the binary (XXH64).
    pub binary_hash: String,
    /// Its result.
    pub diagnosis: KnownDiagnosis,
}

impl KeptDiagnosis {
    fn of(diagnosed: &Diagnosed, time: SystemTime) -> KeptDiagnosis {
        KeptDiagnosis {
            format: VERSION,
            time: DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true),
            binary: diagnosed.binary.clone(),
            test: diagnosed.test.clone(),
            binary_hash: diagnosed.binary_hash.clone(),
            diagnosis: KnownDiagnosis::of(diagnosed),
        }
    }
}

impl Diagnoses {
    /// Those of a target directory.
    pub fn of(target_directory: &Path) -> Diagnoses {
        Diagnoses { path: target_directory.join(DIRECTORY), target: target_directory.to_owned() }
    }

    /// Their directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a diagnosis of this time, and removes the oldest ones if there are too many.
    pub fn keep(&self, diagnosed: &Diagnosed, time: SystemTime) -> io::Result<()> {
        self.write(&KeptDiagnosis::of(diagnosed, time), time)
    }

    fn write(&self, kept: &KeptDiagnosis, time: SystemTime) -> io::Result<()> {
        let directory = Dir::open(&self.target)?.make(Path::new(DIRECTORY), 0o755)?;
        let mut bytes = serde_json::to_vec(kept)?;
        bytes.push(b'\n');
        let (hash, id) = (hash_of(&kept.binary, &kept.test), id_of(time));
        let is_free = |name: &OsString| directory.stat(name).is_err();
        let names =
            (0..TRIES).map(|number| OsString::from(format!("{hash}-{id}-{number:02}.json")));
        let name = names.into_iter().find(is_free).ok_or(io::ErrorKind::AlreadyExists)?;
        directory.replace_by(&name, 0o600, |file| io::Write::write_all(file, &bytes))?;
        let mut names = names_in(&directory)?;
        names.sort_unstable_by(|one, other| time_of(other).cmp(time_of(one)));
        names.iter().skip(KEPT).try_for_each(|name| directory.remove(OsStr::new(name)))
    }

    /// The diagnoses of a test, the latest first.
    pub fn of_test(&self, binary: &str, test: &str) -> Vec<KeptDiagnosis> {
        let hash = hash_of(binary, test);
        let is_same = |kept: &KeptDiagnosis| kept.binary == binary && kept.test == test;
        self.read(|name| name.starts_with(&hash)).into_iter().filter(is_same).collect()
    }

    /// All diagnoses, the latest first.
    pub fn all(&self) -> Vec<KeptDiagnosis> {
        self.read(|_| true)
    }

    fn read(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<KeptDiagnosis> {
        let directory = Dir::open(&self.target).and_then(|target| target.directory(DIRECTORY));
        let Ok(directory) = directory else { return Vec::new() };
        let mut names = names_in(&directory).unwrap_or_default();
        names.retain(|name| is_wanted(name));
        names.sort_unstable_by(|one, other| time_of(other).cmp(time_of(one)));
        let kept = names.iter().take(KEPT).filter_map(|name| {
            let bytes = directory.read(name, LONGEST).ok()?;
            let kept: KeptDiagnosis = serde_json::from_slice(&bytes).ok()?;
            (kept.format == VERSION).then_some(kept)
        });
        kept.collect()
    }
}

/// The names of the files.
fn names_in(directory: &Dir) -> io::Result<Vec<String>> {
    let names = directory.entries(FILES)?.into_iter().filter_map(|(name, _)| {
        let name = name.into_string().ok()?;
        name.ends_with(".json").then_some(name)
    });
    Ok(names.collect())
}

/// The part of a name that follows the hash of the test.
fn time_of(name: &str) -> &str {
    name.split_once('-').map_or("", |(_, time)| time)
}

fn hash_of(binary: &str, test: &str) -> String {
    let mut hash = XxHash64::with_seed(0);
    hash.write(format!("{binary}\0{test}").as_bytes());
    format!("{:016x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn kept(test: &str, time: &str) -> KeptDiagnosis {
        KeptDiagnosis {
            format: VERSION,
            time: time.to_owned(),
            binary: "demo::it".to_owned(),
            test: test.to_owned(),
            binary_hash: "0".to_owned(),
            diagnosis: KnownDiagnosis::default(),
        }
    }

    #[test]
    fn the_latest_diagnosis_of_a_test_is_the_first() {
        let place = tempfile::tempdir().expect("a directory");
        let diagnoses = Diagnoses::of(place.path());
        assert_eq!(diagnoses.of_test("demo::it", "a"), []);
        for (test, second) in [("a", 1), ("b", 2), ("a", 3), ("a", 3)] {
            let one = kept(test, &second.to_string());
            diagnoses.write(&one, at(second)).expect("it is writable");
        }
        let times: Vec<String> =
            diagnoses.of_test("demo::it", "a").into_iter().map(|one| one.time).collect();
        assert_eq!(times, ["3", "3", "1"]);
        assert_eq!(diagnoses.of_test("demo", "a"), []);
        assert_eq!(diagnoses.all().len(), 4);
    }

    #[test]
    fn the_oldest_are_removed_and_damaged_ones_are_left_out() {
        let place = tempfile::tempdir().expect("a directory");
        let diagnoses = Diagnoses::of(place.path());
        for second in 0..KEPT as u64 + 3 {
            let one = kept("a", &second.to_string());
            diagnoses.write(&one, at(second)).expect("it is writable");
        }
        let all = diagnoses.all();
        assert_eq!((all.len(), all[KEPT - 1].time.as_str()), (KEPT, "3"));
        for (number, text) in ["", "{}", "{\"format\":2}"].into_iter().enumerate() {
            let name = format!("{}-9-{number}.json", hash_of("demo::it", "b"));
            fs::write(diagnoses.path().join(name), text).expect("it is writable");
        }
        let newer = KeptDiagnosis { format: VERSION + 1, ..kept("b", "0") };
        diagnoses.write(&newer, at(1000)).expect("it is writable");
        assert_eq!(diagnoses.of_test("demo::it", "b"), []);
    }

    #[test]
    fn a_link_in_the_place_of_the_directory_is_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let other = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("isotest")).expect("it is writable");
        std::os::unix::fs::symlink(other.path(), place.path().join(DIRECTORY)).expect("a link");
        let diagnoses = Diagnoses::of(place.path());
        assert!(diagnoses.write(&kept("a", "0"), at(0)).is_err());
        assert_eq!(diagnoses.all(), []);
        assert_eq!(fs::read_dir(other.path()).expect("it is there").count(), 0);
    }
}
