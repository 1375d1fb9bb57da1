//! `--keep`: what failed tests have written, copied below the target directory.
//!
//! A directory a run, in it one for each failed attempt: `changes.txt`, a line a change, and the files
//! themselves, those of the project in `project`, all others in `root`.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use isotest_core::changes::Watched;
use isotest_core::escape::escape;
use isotest_core::finding::{ChangeKind, FileChange};
use isotest_core::plan::ScratchReader;
use isotest_core::untrusted::{Budget, Dir};

/// isotest's directory in the target directory.
const OWN: &str = "isotest";
/// Directory of all runs in it.
const KEPT: &str = "kept";
/// Number of runs whose files stay.
const RUNS: usize = 10;
/// Maximum number of entries that are read.
const ENTRIES: usize = 1 << 12;
/// Maximum bytes that are copied of an attempt.
const BYTES: u64 = 256 << 20;
/// Maximum number of changes of an attempt.
const FILES: usize = 4096;
/// Maximum time for it: nothing else is done meanwhile.
const TIME: Duration = Duration::from_secs(5);
/// Maximum bytes of a directory's name.
const NAME: usize = 150;

/// The directory of a run, in which failed attempts have theirs. It is made for the first.
#[derive(Debug)]
pub struct Kept {
    /// The directory of all runs.
    parent: Dir,
    path: PathBuf,
    /// Time of the start of the run.
    now: String,
    /// Its own, and its name.
    directory: Mutex<Option<(OsString, Arc<Dir>)>>,
    attempts: AtomicUsize,
    /// The first error, and the place where it happened.
    failed: Mutex<Option<(String, io::Error)>>,
}

impl Kept {
    /// Opens the directory of all runs for one that starts now; those of older runs are removed, but
    /// for a few.
    pub fn make(target: &Path, now: &str) -> io::Result<Kept> {
        let place = Path::new(OWN).join(KEPT);
        let parent = Dir::open(target)?.make(&place, 0o755)?;
        remove(&parent, RUNS - 1)?;
        Ok(Kept {
            parent,
            path: target.join(place),
            now: now.to_owned(),
            directory: Mutex::default(),
            attempts: AtomicUsize::new(0),
            failed: Mutex::default(),
        })
    }

    /// Path of the directory of this run; that of all runs, if it was not made.
    pub fn path(&self) -> PathBuf {
        let own = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        own.as_ref().map_or_else(|| self.path.clone(), |(name, _)| self.path.join(name))
    }

    /// The directory of this run, named by the time of its start.
    fn directory(&self) -> io::Result<Arc<Dir>> {
        let mut own = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, directory)) = own.as_ref() {
            return Ok(Arc::clone(directory));
        }
        let numbered = |number: u32| match number {
            0 => OsString::from(&self.now),
            number => OsString::from(format!("{}.{number}", self.now)),
        };
        let (name, directory) = self.parent.make_new((0..).map(numbered))?;
        let directory = Arc::new(directory);
        *own = Some((name, Arc::clone(&directory)));
        Ok(directory)
    }

    /// Keeps the files of a case, if it fails, under its label.
    pub fn reader(
        self: &Arc<Kept>,
        watched: &Arc<Watched>,
        label: String,
    ) -> Arc<dyn ScratchReader> {
        Arc::new(KeptCase { kept: Arc::clone(self), watched: Arc::clone(watched), label })
    }

    /// Number of attempts whose files are kept, and the first error.
    pub fn finish(&self) -> (usize, Option<(String, io::Error)>) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        (self.attempts.load(Ordering::Relaxed), failed.take())
    }

    fn keep(&self, label: &str, source: &Source<'_>) -> io::Result<()> {
        let name = name_of(label);
        let numbered = |number: u32| match number {
            1 => OsString::from(&name),
            number => OsString::from(format!("{name} ({number})")),
        };
        let (_, own) = self.directory()?.make_new((1..).map(numbered))?;
        let mut budget = Budget { bytes: BYTES, until: Instant::now() + TIME };
        let (all, is_cut) = source.watched.changes(source.scratch);
        let mut list = String::new();
        for (number, change) in all.iter().enumerate() {
            if number == FILES || budget.check().is_err() {
                let _ = writeln!(list, "{} more changes are not kept", all.len() - number);
                break;
            }
            let copied = match change.kind {
                ChangeKind::Added | ChangeKind::Changed => copy(source, change, &own, &mut budget),
                ChangeKind::Deleted => Ok(()),
            };
            let path = change.path.to_string_lossy();
            let (letter, path) = (change.kind.letter(), escape(&path));
            let _ = match copied {
                Ok(()) => writeln!(list, "{letter} {:>10} {path}", change.size),
                Err(error) => {
                    writeln!(list, "{letter} {:>10} {path} (not kept: {error})", change.size)
                }
            };
        }
        if is_cut {
            list.push_str("there are more changes\n");
        }
        own.replace(OsStr::new("changes.txt"), list.as_bytes())
    }
}

/// Scratch of one case, and the places of its changes in it.
struct Source<'a> {
    watched: &'a Watched,
    scratch: &'a Dir,
}

/// Copies a regular file; what is none is only in the list.
fn copy(
    source: &Source<'_>,
    change: &FileChange,
    own: &Dir,
    budget: &mut Budget,
) -> io::Result<()> {
    let Ok(file) = source.watched.open(source.scratch, change) else { return Ok(()) };
    let place = match change.path.strip_prefix("/") {
        Ok(inner) => Path::new("root").join(inner),
        Err(_) => Path::new("project").join(&change.path),
    };
    let parent = own.make(place.parent().unwrap_or(Path::new("")), 0o700)?;
    parent.copy(&file, place.file_name().unwrap_or_default(), 0o600, budget)
}

/// A name of a directory for a test: without separators and control characters, not too long.
fn name_of(label: &str) -> String {
    let clean = |c: char| if c == '/' || c.is_control() { '_' } else { c };
    let mut name: String = label.chars().map(clean).collect();
    name.truncate(name.floor_char_boundary(NAME));
    name
}

/// Removes the directories of all runs but the newest few.
fn remove(parent: &Dir, kept: usize) -> io::Result<()> {
    let mut names: Vec<OsString> =
        parent.entries(ENTRIES)?.into_iter().map(|(name, _)| name).collect();
    names.sort();
    let old = names.len().saturating_sub(kept);
    names.iter().take(old).try_for_each(|name| parent.remove(name))
}

/// Removes the files of all runs from isotest's directory in the target directory.
pub fn prune(directory: &Path) -> io::Result<()> {
    let parent = Dir::open(directory).and_then(|directory| directory.directory(KEPT));
    match parent {
        Ok(parent) => remove(&parent, 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Keeps the files of one case, if it fails.
#[derive(Debug)]
struct KeptCase {
    kept: Arc<Kept>,
    /// The places of its changes.
    watched: Arc<Watched>,
    label: String,
}

impl ScratchReader for KeptCase {
    fn read(&self, scratch: &Dir, has_failed: bool) {
        if !has_failed {
            return;
        }
        match self.kept.keep(&self.label, &Source { watched: &self.watched, scratch }) {
            Ok(()) => {
                self.kept.attempts.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let mut failed = self.kept.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert((self.label.clone(), error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_file_name() {
        assert_eq!(name_of("demo::it a::b"), "demo::it a::b");
        assert_eq!(name_of("../x\n/é"), ".._x__é");
        assert_eq!(name_of(&"é".repeat(200)).len(), NAME);
    }
}
