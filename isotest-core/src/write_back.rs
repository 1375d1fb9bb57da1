//! Write-back: files that a case wrote in its throwaway layers are copied out, where the policy
//! names them.
//!
//! The layers are a test's to fill, so they are read as hostile input: only regular files below
//! the layer itself are looked at, no symbolic link is followed on either side (openat2(2)
//! RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS), and a file appears under its name whole or not at all.
//!
//! What is copied out waits in a directory of its own until all cases have ended: every case finds
//! the project as it was, and what several wrote of one file is merged against that.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use globset::GlobSet;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat, openat2,
    renameat, statat, unlinkat,
};

use crate::finding::Finding;
use crate::merge::{common_start, merge};
use crate::untrusted::Directory;

/// What is copied out, and to where.
#[derive(Debug)]
pub struct WriteBack {
    /// Which files, by their path relative to `root`.
    pub globs: GlobSet,
    /// The project's root.
    pub root: PathBuf,
    /// For every overlay the directory of its upper layer, below the scratch, and the host's
    /// directory that it covers.
    pub layers: Vec<(PathBuf, PathBuf)>,
    /// Where scratch on disk lies, a directory of its number for each case.
    pub disk: Option<Directory>,
    /// A directory of this run's own, in which files wait for the end of all cases.
    pub waiting: Option<Directory>,
    /// What waits there.
    pub pending: Pending,
}

/// What has been copied out and is not yet in the project.
#[derive(Debug, Default)]
pub struct Pending(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the first case was started, as time since the epoch.
    began: Duration,
    /// By their places in the project.
    files: BTreeMap<PathBuf, Waiting>,
    /// The number of the next file that waits.
    next: u64,
    failed: Vec<Finding>,
}

/// A file that waits.
#[derive(Debug, Clone)]
struct Waiting {
    /// Its name where it waits.
    name: String,
    covered: PathBuf,
    relative: PathBuf,
    /// What stood in its place when the first case wrote it.
    original: Option<Stamp>,
}

/// A version of a file: device, inode, size, and when it last changed, since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, u64, Duration);

/// How deep a layer is looked into.
const DEPTH: usize = 64;
/// The largest file that is merged, in bytes.
const MERGED: u64 = 4 << 20;
/// How long another run may take to put its files in place.
const LOCKED: Duration = Duration::from_secs(5);
const CHANGED: &str = "it was changed while the test ran; run this test again";
const TWICE: &str =
    "another test has changed the same lines; run this test again, by itself, to write its own";

impl WriteBack {
    /// Begins a run: what is changed in the project from now on is not what its cases have seen.
    pub fn begin(&self) {
        self.state().began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    }

    /// Copies out what case number `case` wrote; tells what was copied and what could not be.
    /// Scratch on disk is removed.
    pub fn copy(&self, scratch: Option<OwnedFd>, case: u64) -> Vec<Finding> {
        let state = self.state();
        let mut copy = Copy { plan: self, state, written: Vec::new(), failed: Vec::new() };
        if let Some(scratch) = scratch.filter(|_| !self.globs.is_empty()) {
            for (upper, covered) in &self.layers {
                if let Ok(layer) = open_directory(&scratch, upper.as_os_str()) {
                    copy.directory(&layer, covered, Path::new(""), DEPTH);
                }
            }
        }
        let Copy { written, failed, .. } = copy;
        self.forget(case);
        let written = (!written.is_empty()).then_some(Finding::WrittenBack(written));
        written.into_iter().chain(failed).collect()
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

    /// What could not be put into the project at the end.
    pub fn failed(&self) -> Vec<Finding> {
        std::mem::take(&mut self.state().failed)
    }

    /// Puts files into their places; returns those that could not be.
    fn place<'a>(&self, files: &'a BTreeMap<PathBuf, Waiting>) -> Vec<(&'a Path, io::Error)> {
        let opened = open_directory(CWD, self.root.as_os_str())
            .map(Directory::from)
            .and_then(|root| lock(&root).map(|()| root));
        let place = |path: &Path, file: &Waiting| -> io::Result<()> {
            opened.as_ref().map_err(again)?;
            let waiting = self.waiting()?;
            let (_, now) = open_original(&file.covered, &file.relative)?;
            if now != file.original {
                return Err(io::Error::other(CHANGED));
            }
            let name = path.file_name().unwrap_or_default();
            let (source, mode) = open_file(waiting, OsStr::new(&file.name))?;
            let parent = file.relative.parent().unwrap_or(Path::new(""));
            let directory = make_parents(&file.covered, parent)?;
            write_file(source, mode, &directory, name)?;
            // Merely swept later where it stays.
            let _ = unlinkat(waiting, file.name.as_str(), AtFlags::empty());
            Ok(())
        };
        let placed = files.iter().map(|(path, file)| (path.as_path(), place(path, file)));
        placed.filter_map(|(path, placed)| Some((path, placed.err()?))).collect()
    }

    fn waiting(&self) -> io::Result<&Directory> {
        self.waiting.as_ref().ok_or_else(|| io::Error::other("there is no target directory"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.pending.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same error for one more file.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Locks a project against other runs that put files into it. A case that shares the project may
/// hold the lock for ever.
fn lock(root: &Directory) -> io::Result<()> {
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

struct Copy<'a> {
    plan: &'a WriteBack,
    state: MutexGuard<'a, State>,
    written: Vec<PathBuf>,
    failed: Vec<Finding>,
}

impl Copy<'_> {
    /// Goes through one directory of a layer; `covered` is the host's directory below which
    /// `relative` lies.
    fn directory(&mut self, layer: &OwnedFd, covered: &Path, relative: &Path, depth: usize) {
        let Ok(entries) = Dir::read_from(layer) else { return };
        for entry in entries.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." || depth == 0 {
                continue;
            }
            let path = relative.join(&name);
            let Ok(stat) = statat(layer, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    if let Ok(inner) = open_directory(layer, &name) {
                        self.directory(&inner, covered, &path, depth - 1);
                    }
                }
                FileType::RegularFile => self.file(layer, &name, covered, &path),
                // Links, devices, sockets, and whiteouts, which are devices.
                _ => {}
            }
        }
    }

    fn file(&mut self, layer: &OwnedFd, name: &OsStr, covered: &Path, relative: &Path) {
        let target = covered.join(relative);
        let Ok(inner) = target.strip_prefix(&self.plan.root) else { return };
        if !self.plan.globs.is_match(inner) {
            return;
        }
        match self.keep(layer, name, covered, relative) {
            Ok(()) => self.written.push(inner.to_owned()),
            Err(error) => {
                self.failed.push(Finding::WriteBackFailed(inner.to_owned(), error.to_string()));
            }
        }
    }

    /// Keeps a file of a layer until all cases have ended, together with what others wrote of it.
    fn keep(
        &mut self,
        layer: &OwnedFd,
        name: &OsStr,
        covered: &Path,
        relative: &Path,
    ) -> io::Result<()> {
        let (mut source, mode) = open_file(layer, name)?;
        let place = covered.join(relative);
        let waiting = self.plan.waiting()?;
        let (original, stamp) = open_original(covered, relative)?;
        let known = self.state.files.get(&place).cloned();
        let expected = known.as_ref().map_or(stamp, |known| known.original);
        if stamp != expected || stamp.is_some_and(|stamp| stamp.3 >= self.state.began) {
            return Err(io::Error::other(CHANGED));
        }
        let number = self.state.next.to_string();
        match &known {
            None => write_file(source, mode, waiting, OsStr::new(&number))?,
            Some(known) => {
                let (mut kept, _) = open_file(waiting, OsStr::new(&known.name))?;
                let both = [read(&mut kept)?, read(&mut source)?];
                let original = original.map(|mut file| read(&mut file)).transpose()?;
                let merged = together(original.as_deref(), &both, relative);
                let merged = merged.ok_or_else(|| io::Error::other(TWICE))?;
                write_file(merged.as_slice(), mode, waiting, OsStr::new(&number))?;
                unlinkat(waiting, known.name.as_str(), AtFlags::empty())?;
            }
        }
        self.state.next += 1;
        let (covered, relative) = (covered.to_owned(), relative.to_owned());
        let file = Waiting { name: number, covered, relative, original: expected };
        self.state.files.insert(place, file);
        Ok(())
    }
}

/// What two cases wrote of one file, in one.
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

/// Whether tests add their own lines to a file of this name: insta's pending inline snapshots,
/// proptest's seeds. Any other is one test's as a whole.
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

/// Opens what stands at `base/relative`, with its version; not through a symbolic link below `base`.
fn open_original(base: &Path, relative: &Path) -> io::Result<(Option<File>, Option<Stamp>)> {
    let base = open_directory(CWD, base.as_os_str())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(&base, relative, flags, Mode::empty(), beneath) {
        Ok(file) => {
            let file = File::from(file);
            let data = file.metadata()?;
            let changed = Duration::new(
                u64::try_from(data.ctime()).unwrap_or(0),
                u32::try_from(data.ctime_nsec()).unwrap_or(0),
            );
            let stamp = Stamp(data.dev(), data.ino(), data.len(), changed);
            Ok((Some(file), Some(stamp)))
        }
        Err(rustix::io::Errno::NOENT) => Ok((None, None)),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a directory, not through a symbolic link.
fn open_directory(at: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Opens a regular file of a directory, not through a symbolic link; with its mode.
fn open_file(at: impl AsFd, name: &OsStr) -> io::Result<(File, u32)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(openat(at, name, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata.mode() & 0o777)),
        false => Err(io::Error::other("it is no regular file any more")),
    }
}

/// Writes a file of a directory, by way of a temporary name beside it.
fn write_file(mut source: impl Read, mode: u32, at: &impl AsFd, name: &OsStr) -> io::Result<()> {
    let temporary = temporary_name(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target = File::from(openat(at, &temporary, flags, Mode::from(0o600))?);
    let written = io::copy(&mut source, &mut target)
        .and_then(|_| Ok(fchmod(&target, Mode::from(mode))?))
        .and_then(|()| Ok(renameat(at, &temporary, at, name)?));
    if written.is_err() {
        // What could not be finished must not stay under the temporary name.
        let _ = unlinkat(at, &temporary, AtFlags::empty());
    }
    written
}

fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".isotest-");
    temporary.push(name);
    temporary
}

/// Opens `base/relative`, making what is missing, without following a symbolic link below
/// `base`.
fn make_parents(base: &Path, relative: &Path) -> io::Result<OwnedFd> {
    let mut directory = open_directory(CWD, base.as_os_str())?;
    for part in relative.components() {
        let name = part.as_os_str();
        match mkdirat(&directory, name, Mode::from(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        directory = openat2(&directory, name, flags, Mode::empty(), beneath)?;
    }
    Ok(directory)
}
