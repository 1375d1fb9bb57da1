//! Write-back: files that a case wrote in its throwaway layers are copied out, where the policy
//! names them.
//!
//! The layers are a test's to fill, so they are read as hostile input (see [`crate::untrusted`]):
//! only regular files below the layer itself are looked at, only so many and so much of them, and
//! no symbolic link is followed on either side. A file appears under its name whole or not at all.
//!
//! Files that are copied out wait in a directory of their own until all cases have ended: every
//! case finds the project as it was, and changes of several cases to one file are merged against
//! that.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use rustix::fs::FileType;

use crate::finding::Finding;
use crate::merge::{common_start, merge};
use crate::untrusted::{Budget, Dir};

use wanted::GlobMatch;
pub use wanted::{Reserved, Wanted};

mod wanted;

/// Files to copy out, and their destination.
#[derive(Debug)]
pub struct WriteBack {
    /// The files, by their path relative to `root`.
    pub wanted: Wanted,
    /// The project's root.
    pub root: PathBuf,
    /// For every overlay the directory of its upper layer, below the scratch, and the host's
    /// directory that it covers.
    pub layers: Vec<(PathBuf, PathBuf)>,
    /// Directory of scratch on disk, with a directory of its number for each case.
    pub disk: Option<Dir>,
    /// A directory of this run's own, in which files wait for the end of all cases.
    pub waiting: Option<Dir>,
    /// Files that wait there.
    pub pending: Pending,
}

/// Files that were copied out and are not yet in the project.
#[derive(Debug, Default)]
pub struct Pending(Mutex<PendingFiles>);

#[derive(Debug, Default)]
struct PendingFiles {
    /// Start of the first case, as time since the epoch.
    began: Duration,
    /// By their places in the project.
    files: BTreeMap<PathBuf, Waiting>,
    /// The number of the next file that waits.
    next: u64,
    /// Bytes of all cases that were copied.
    copied: u64,
    failed: Vec<Finding>,
}

/// A file that waits.
#[derive(Debug, Clone)]
struct Waiting {
    /// Its name where it waits.
    name: String,
    covered: PathBuf,
    relative: PathBuf,
    /// File in its place when the first case wrote it.
    original: Option<Stamp>,
}

/// A version of a file: device, inode, size, and when it last changed, since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, u64, Duration);

/// Maximum depth of a layer.
const DEPTH: usize = 64;
/// Maximum number of files and directories of a case's layers that are read.
const ENTRIES: usize = 1 << 20;
/// Maximum number of files of a case that are copied out.
const FILES: usize = 1 << 14;
/// Maximum number of failures of a case that are reported.
const TOLD: usize = 20;
/// Maximum bytes of a case that are copied out.
const OF_CASE: u64 = 1 << 30;
/// Maximum bytes of all cases that are copied out.
const OF_RUN: u64 = 16 << 30;
/// Maximum time for copying the files of a case: nothing else is done meanwhile.
const COPYING: Duration = Duration::from_secs(10);
/// The largest file that is merged, in bytes.
const MERGED: u64 = 4 << 20;
/// Maximum time that another run may take to put its files in place.
const LOCKED: Duration = Duration::from_secs(5);
const CHANGED: &str = "it was changed while the test ran; run this test again";
const TWICE: &str =
    "another test has changed the same lines; run this test again, by itself, to write its own";

impl WriteBack {
    /// Begins a run: what is changed in the project from now on is not what its cases have seen.
    pub fn begin(&self) {
        self.state().began = now();
    }

    /// Copies out what case number `case` wrote; tells what was copied and what could not be.
    /// Scratch on disk is removed.
    pub fn copy(&self, scratch: Option<Dir>, case: u64) -> Vec<Finding> {
        let mut copy = Copy::new(self);
        if let Some(scratch) = scratch.filter(|_| !self.wanted.is_empty()) {
            for (upper, covered) in &self.layers {
                if let Ok(layer) = scratch.directory(upper) {
                    // What ends it early is among the failures.
                    let _ = copy.directory(&layer, covered, Path::new(""), DEPTH);
                }
            }
        }
        let (written, failed) = copy.end();
        self.forget(case);
        let written = (!written.is_empty()).then_some(Finding::WrittenBack(written));
        written.into_iter().chain(failed).collect()
    }

    /// True if a file of a layer is copied out.
    pub fn copies(&self, path: &Path) -> bool {
        let inner = path.strip_prefix(&self.root);
        inner.is_ok_and(|inner| matches!(self.wanted.answer(inner), GlobMatch::Yes))
    }

    /// Removes scratch on disk of a case from which nothing is copied out: it is started again.
    pub fn forget(&self, case: u64) {
        if let Some(disk) = &self.disk {
            // What stays is removed with the directory of the run.
            let _ = disk.remove(OsStr::new(&case.to_string()));
        }
    }

    /// Ends a run: puts what waits into the project, each file unless it was changed there.
    pub fn finish(&self) {
        let files = std::mem::take(&mut self.state().files);
        if files.is_empty() {
            return;
        }
        let placed = self.place(&files);
        let inner = |path: &Path| path.strip_prefix(&self.root).unwrap_or(path).to_owned();
        let failed = |(path, error): (&Path, io::Error)| {
            Finding::WriteBackFailed(inner(path), error.to_string())
        };
        self.state().failed.extend(placed.into_iter().map(failed));
    }

    /// Files that could not be put into the project at the end.
    pub fn failed(&self) -> Vec<Finding> {
        std::mem::take(&mut self.state().failed)
    }

    /// Puts files into their places; returns those that could not be.
    fn place<'a>(&self, files: &'a BTreeMap<PathBuf, Waiting>) -> Vec<(&'a Path, io::Error)> {
        let opened = Dir::open(&self.root).and_then(|root| lock(&root).map(|()| root));
        let place = |path: &Path, file: &Waiting| -> io::Result<()> {
            opened.as_ref().map_err(again)?;
            let waiting = self.waiting()?;
            let covered = Dir::open(&file.covered)?;
            let (present, now) = original(&covered, &file.relative)?;
            if now != file.original {
                return Err(io::Error::other(CHANGED));
            }
            let name = path.file_name().unwrap_or_default();
            let (source, mode) = open(waiting, &file.name)?;
            let parent = file.relative.parent().unwrap_or(Path::new(""));
            let mut budget = Budget { bytes: OF_CASE, until: Instant::now() + COPYING };
            let kept = present.map_or(Ok(0), |file| file.metadata().map(|it| it.mode() & 0o777))?;
            let parent = covered.make(parent, 0o755)?;
            parent.copy_as_user(&source, name, [mode, kept], &mut budget)?;
            // Merely swept later where it stays.
            let _ = waiting.remove(OsStr::new(&file.name));
            Ok(())
        };
        let placed = files.iter().map(|(path, file)| (path.as_path(), place(path, file)));
        placed.filter_map(|(path, placed)| Some((path, placed.err()?))).collect()
    }

    fn waiting(&self) -> io::Result<&Dir> {
        self.waiting.as_ref().ok_or_else(|| io::Error::other("there is no target directory"))
    }

    fn state(&self) -> MutexGuard<'_, PendingFiles> {
        self.pending.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same error for one more file.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Locks a project against other runs that put files into it. A case that shares the project may
/// hold the lock for ever.
fn lock(root: &Dir) -> io::Result<()> {
    const PAUSE: Duration = Duration::from_millis(5);
    let began = Instant::now();
    while !root.try_lock()? {
        if began.elapsed() > LOCKED {
            return Err(io::Error::other("another run holds the lock of the project"));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Copies what one case wrote.
struct Copy<'a> {
    plan: &'a WriteBack,
    state: MutexGuard<'a, PendingFiles>,
    written: Vec<PathBuf>,
    failed: Vec<Finding>,
    /// Parts of paths that a glob must name and does not, of which the first file was told.
    unnamed: BTreeSet<OsString>,
    /// Number of files and directories that may still be read.
    entries: usize,
    budget: Budget,
}

/// Nothing more of a case is copied.
struct Stopped;

impl<'a> Copy<'a> {
    fn new(plan: &'a WriteBack) -> Copy<'a> {
        let state = plan.state();
        let bytes = OF_CASE.min(OF_RUN.saturating_sub(state.copied));
        Copy {
            plan,
            state,
            written: Vec::new(),
            failed: Vec::new(),
            unnamed: BTreeSet::new(),
            entries: ENTRIES,
            budget: Budget { bytes, until: Instant::now() + COPYING },
        }
    }

    /// Files that were copied, and those that could not be.
    fn end(self) -> (Vec<PathBuf>, Vec<Finding>) {
        (self.written, self.failed)
    }

    /// Goes through one directory of a layer; `covered` is the host's directory below which
    /// `relative` lies.
    fn directory(
        &mut self,
        layer: &Dir,
        covered: &Path,
        relative: &Path,
        depth: usize,
    ) -> Result<(), Stopped> {
        let place = covered.join(relative);
        let entries = match layer.entries(self.entries + 1) {
            Ok(entries) => entries,
            Err(error) => return self.fail(&place, &error.to_string()),
        };
        if entries.len() > self.entries {
            return self.stop(&place, &format!("its test made more than {ENTRIES} files"));
        }
        self.entries -= entries.len();
        for (name, kind) in entries {
            let path = relative.join(&name);
            if let Err(error) = self.budget.check() {
                return self.stop(&covered.join(&path), &error.to_string());
            }
            match kind {
                FileType::Directory if depth == 0 => {
                    let cause = format!("it is more than {DEPTH} directories deep");
                    self.fail(&covered.join(&path), &cause)?;
                }
                FileType::Directory => match layer.directory(&name) {
                    Ok(inner) => self.directory(&inner, covered, &path, depth - 1)?,
                    Err(error) => self.fail(&covered.join(&path), &error.to_string())?,
                },
                FileType::RegularFile => self.file(layer, &name, covered, &path)?,
                // Links, devices, sockets, and whiteouts, which are devices.
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells of what could not be copied, unless there is too much of it.
    fn fail(&mut self, place: &Path, cause: &str) -> Result<(), Stopped> {
        let inner = place.strip_prefix(&self.plan.root).unwrap_or(place).to_owned();
        let cause = match self.failed.len() {
            told if told < TOLD => cause.to_owned(),
            told if told == TOLD => {
                format!("{cause}; more files, not named here, could not be copied either")
            }
            _ => return Ok(()),
        };
        self.failed.push(Finding::WriteBackFailed(inner, cause));
        Ok(())
    }

    /// Tells of what could not be copied, which is the last.
    fn stop(&mut self, place: &Path, cause: &str) -> Result<(), Stopped> {
        self.failed.truncate(TOLD - 1);
        self.fail(place, &format!("{cause}; nothing more of this test is copied"))?;
        Err(Stopped)
    }

    fn file(
        &mut self,
        layer: &Dir,
        name: &OsStr,
        covered: &Path,
        relative: &Path,
    ) -> Result<(), Stopped> {
        let target = covered.join(relative);
        let Ok(inner) = target.strip_prefix(&self.plan.root) else { return Ok(()) };
        match self.plan.wanted.answer(inner) {
            GlobMatch::No => return Ok(()),
            GlobMatch::Yes => {}
            GlobMatch::Unnamed(part) if self.unnamed.insert(part.to_owned()) => {
                let part = part.to_string_lossy();
                let cause = format!(
                    "no wildcard matches `{part}`, which may run code outside the sandbox; name it \
                     in a glob"
                );
                return self.fail(&target, &cause);
            }
            GlobMatch::Unnamed(_) => return Ok(()),
        }
        if self.written.len() == FILES {
            return self.stop(&target, &format!("its test wrote more than {FILES} files"));
        }
        let before = self.budget.bytes;
        let kept = self.keep(layer, name, covered, relative);
        self.state.copied += before - self.budget.bytes;
        match kept {
            Ok(()) => {
                self.written.push(inner.to_owned());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                self.stop(&target, &error.to_string())
            }
            Err(error) => self.fail(&target, &error.to_string()),
        }
    }

    /// Keeps a file of a layer until all cases have ended, together with what others wrote of it.
    fn keep(
        &mut self,
        layer: &Dir,
        name: &OsStr,
        covered: &Path,
        relative: &Path,
    ) -> io::Result<()> {
        let (mut source, mode) = open(layer, name)?;
        let place = covered.join(relative);
        let waiting = self.plan.waiting()?;
        let (original, stamp) = original(&Dir::open(covered)?, relative)?;
        let known = self.state.files.get(&place).cloned();
        let expected = known.as_ref().map_or(stamp, |known| known.original);
        if stamp != expected || stamp.is_some_and(|stamp| stamp.3 >= self.state.began) {
            return Err(io::Error::other(CHANGED));
        }
        let number = self.state.next.to_string();
        match &known {
            None => waiting.copy(&source, OsStr::new(&number), mode, &mut self.budget)?,
            Some(known) => {
                let (mut kept, _) = open(waiting, &known.name)?;
                let both = [read(&mut kept)?, read(&mut source)?];
                let original = original.map(|mut file| read(&mut file)).transpose()?;
                let merged = together(original.as_deref(), &both, relative);
                let merged = merged.ok_or_else(|| io::Error::other(TWICE))?;
                let write = |file: &mut File| file.write_all(&merged);
                waiting.replace_by(OsStr::new(&number), mode, write)?;
                waiting.remove(OsStr::new(&known.name))?;
            }
        }
        self.state.next += 1;
        let (covered, relative) = (covered.to_owned(), relative.to_owned());
        let file = Waiting { name: number, covered, relative, original: expected };
        self.state.files.insert(place, file);
        Ok(())
    }
}

/// Changes of two cases to one file, merged.
fn together(original: Option<&[u8]>, both: &[Vec<u8>; 2], path: &Path) -> Option<Vec<u8>> {
    let [one, other] = both;
    match original {
        _ if one == other => Some(one.clone()),
        Some(original) => merge(original, one, other),
        // Both have made it: they begin alike, and then each has a part of its own.
        None if is_list(path) => merge(one.get(..common_start(one, other))?, one, other),
        None => None,
    }
}

/// True if tests add their own lines to a file of this name: insta's pending inline snapshots,
/// proptest's seeds. Any other file belongs to one test.
fn is_list(path: &Path) -> bool {
    let is_named = |part: &OsStr| part == "proptest-regressions";
    let extension = path.extension().unwrap_or_default();
    extension == "pending-snap"
        || extension == "proptest-regressions"
        || path.parent().is_some_and(|parent| parent.iter().any(is_named))
}

/// Reads a file that is not too large to be merged.
fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MERGED + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MERGED {
        true => Err(io::Error::other("another test wrote it, and it is too large to be merged")),
        false => Ok(text),
    }
}

/// Opens a regular file of a directory; with its mode.
fn open(directory: &Dir, name: impl AsRef<Path>) -> io::Result<(File, u32)> {
    let file = directory.file(name)?;
    let mode = file.metadata()?.mode() & 0o777;
    Ok((file, mode))
}

/// The time that the kernel gives to a file that is changed now, since the epoch: that of its last
/// tick, which CLOCK_REALTIME is up to 10 ms past (`inode_set_ctime_current` in `fs/inode.c`).
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map_or(Duration::ZERO, Duration::from)
}

/// Opens what stands in the place of a file, with its version.
fn original(covered: &Dir, relative: &Path) -> io::Result<(Option<File>, Option<Stamp>)> {
    let file = match covered.file(relative) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
        file => file?,
    };
    let data = file.metadata()?;
    let changed = Duration::new(
        u64::try_from(data.ctime()).unwrap_or(0),
        u32::try_from(data.ctime_nsec()).unwrap_or(0),
    );
    let stamp = Stamp(data.dev(), data.ino(), data.len(), changed);
    Ok((Some(file), Some(stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_changed_at_once_is_not_older_than_the_run() {
        let directory = tempfile::tempdir().expect("there is room");
        let covered = Dir::open(directory.path()).expect("it is there");
        for count in 0..1000 {
            let name = count.to_string();
            let path = directory.path().join(&name);
            std::fs::write(&path, "old").expect("it is ours");
            let began = now();
            std::fs::write(&path, "new").expect("it is ours");
            let (_, stamp) = original(&covered, Path::new(&name)).expect("it is ours");
            assert!(stamp.is_some_and(|stamp| stamp.3 >= began), "{stamp:?} {began:?}");
        }
    }
}
