//! Changes: the files that a case made, changed and deleted, read from its scratch after its end.
//!
//! Everything that a case writes lies in its scratch: the upper layers of its overlays and its fresh
//! directories. A file of an upper layer that is as the host's is no change: an overlay copies a
//! file when it is opened for writing (overlayfs.rst). The scratch is a test's to fill, so it is read
//! as hostile input (see [`crate::untrusted`]), and only so much of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Stat};

use crate::finding::{ChangeKind, FileChange, Finding, IpcObject};
use crate::untrusted::{Budget, Dir};

/// Directories of the scratch, and their places in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// Upper layers of overlays, and the directories that they cover, the host's at the same path.
    pub layers: Vec<(PathBuf, PathBuf)>,
    /// The host's directories that are covered at other paths, by these.
    pub sources: BTreeMap<PathBuf, PathBuf>,
    /// Fresh directories: their names in the scratch, and their places.
    pub fresh: Vec<(PathBuf, PathBuf)>,
    /// What set-up makes in both, mount points and links: the names in each directory.
    pub made: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// The project's root, to which findings name paths; empty where there is none.
    pub root: PathBuf,
    /// The scratch is a tmpfs.
    pub is_tmpfs: bool,
    /// Places below which every change is a matter of course: temporary directories and the target
    /// directory.
    pub ordinary: Vec<PathBuf>,
}

/// Place of POSIX shared memory, shm_overview(7), and of named semaphores, sem_overview(7).
const SHARED_MEMORY: &str = "/dev/shm";
/// Maximum depth of a directory that is read.
const DEPTH: usize = 64;
/// Maximum number of files and directories of a case that are read.
const ENTRIES: usize = 1 << 16;
/// Maximum bytes of a case's files that are compared with the host's; what is left counts as changed.
const COMPARED: u64 = 64 << 20;
/// Maximum time for it: no other case is started meanwhile.
const COMPARING: Duration = Duration::from_millis(200);
/// Maximum bytes of the paths of all changes.
const NAMES: usize = 4 << 20;
/// Maximum time for reading them: no other case is started meanwhile.
const WALKING: Duration = Duration::from_millis(500);
/// Maximum bytes of the paths that a finding names.
const NAMED_BYTES: usize = 64 << 10;
/// Maximum number of changes that a finding names.
const NAMED: usize = 100;

impl Watched {
    /// All changes, sorted by path, and whether there are more than were read.
    pub fn changes(&self, scratch: &Dir) -> (Vec<FileChange>, bool) {
        let mut walk = Walk::new(self);
        for root in self.roots() {
            walk.root(scratch, &root);
        }
        let (mut changes, is_cut) = walk.end();
        self.shorten(&mut changes);
        (changes, is_cut)
    }

    /// Opens a regular file that is among the changes.
    pub fn open(&self, scratch: &Dir, change: &FileChange) -> io::Result<File> {
        let path = self.root.join(&change.path);
        let roots = self.roots().filter(|root| path.starts_with(root.place));
        let root = roots.max_by_key(|root| root.place.components().count());
        let root = root.ok_or(io::ErrorKind::NotFound)?;
        scratch.file(root.name.join(path.strip_prefix(root.place).unwrap_or(&path)))
    }

    /// Makes paths of the project relative to its root.
    fn shorten(&self, changes: &mut [FileChange]) {
        for change in changes {
            if let Ok(inner) = change.path.strip_prefix(&self.root) {
                change.path = inner.to_owned();
            }
        }
    }

    /// Files changed where that is no matter of course, if there are any. `is_expected` names those
    /// that are copied out.
    pub fn outside(&self, scratch: &Dir, is_expected: impl Fn(&Path) -> bool) -> Option<Finding> {
        let mut walk = Walk::new(self);
        for root in self.roots().filter(|root| root.place != Path::new(SHARED_MEMORY)) {
            // A project may lie in /tmp.
            let is_ordinary = |ordinary: &&PathBuf| {
                ordinary.starts_with(root.place)
                    || (!root.is_layer && root.place.starts_with(ordinary))
            };
            walk.skipped = self.ordinary.iter().filter(is_ordinary).map(PathBuf::as_path).collect();
            walk.root(scratch, &root);
        }
        let (mut changes, _) = walk.end();
        changes.retain(|change| !is_expected(&change.path));
        self.shorten(&mut changes);
        let all = changes.len() as u64;
        let mut bytes = 0;
        let fits = |change: &&FileChange| {
            bytes += change.path.as_os_str().len();
            bytes <= NAMED_BYTES
        };
        let named = changes.iter().take(NAMED).take_while(fits).count();
        changes.truncate(named);
        (all > 0).then_some(Finding::WroteOutside(changes, all))
    }

    /// POSIX shared memory and named semaphores that are left.
    pub fn shared_memory(&self, scratch: &Dir) -> Vec<IpcObject> {
        let mut walk = Walk::new(self);
        for root in self.roots().filter(|root| root.place == Path::new(SHARED_MEMORY)) {
            walk.root(scratch, &root);
        }
        walk.end().0.into_iter().take(NAMED).map(shared_object).collect()
    }

    fn roots(&self) -> impl Iterator<Item = Root<'_>> {
        let layers = self.layers.iter().map(|(name, place)| Root { name, place, is_layer: true });
        let fresh = self.fresh.iter().map(|(name, place)| Root { name, place, is_layer: false });
        layers.chain(fresh)
    }
}

/// A directory of the scratch.
struct Root<'a> {
    name: &'a Path,
    place: &'a Path,
    /// It is an upper layer.
    is_layer: bool,
}

/// A file of `/dev/shm` as an object of interprocess communication.
fn shared_object(change: FileChange) -> IpcObject {
    let name = change.path.strip_prefix(SHARED_MEMORY).unwrap_or(&change.path).to_string_lossy();
    match name.strip_prefix("sem.") {
        Some(name) => IpcObject { kind: "named semaphore".into(), name: format!("/{name}") },
        None => IpcObject { kind: "shared memory".into(), name: format!("/{name}") },
    }
}

/// A walk through the scratch of one case.
struct Walk<'a> {
    watched: &'a Watched,
    /// Places that are not read.
    skipped: Vec<&'a Path>,
    changes: Vec<FileChange>,
    /// Number of files and directories that may still be read.
    entries: usize,
    /// Bytes of paths that may still be kept.
    names: usize,
    until: Instant,
    budget: Budget,
    is_cut: bool,
}

impl<'a> Walk<'a> {
    fn new(watched: &'a Watched) -> Walk<'a> {
        Walk {
            watched,
            skipped: Vec::new(),
            changes: Vec::new(),
            entries: ENTRIES,
            names: NAMES,
            until: Instant::now() + WALKING,
            budget: Budget { bytes: COMPARED, until: Instant::now() + COMPARING },
            is_cut: false,
        }
    }

    /// Goes through one directory of the scratch.
    fn root(&mut self, scratch: &Dir, root: &Root<'_>) {
        let Ok(stat) = scratch.stat(root.name.as_os_str()) else { return };
        if self.is_skipped(root.place) || self.has_entries(&stat, 0) {
            return;
        }
        let Ok(directory) = scratch.directory(root.name) else { return };
        if !root.is_layer && self.is_as_made(&directory, &stat, root.place) {
            return;
        }
        // Without the lower layer nothing can be compared with it.
        let source = self.watched.sources.get(root.place).map_or(root.place, PathBuf::as_path);
        let Ok(lower) = root.is_layer.then(|| Dir::open(source)).transpose() else { return };
        self.directory(&directory, lower.as_ref(), root.place, DEPTH);
    }

    fn end(mut self) -> (Vec<FileChange>, bool) {
        self.changes.sort_by(|a, b| a.path.cmp(&b.path));
        (self.changes, self.is_cut)
    }

    fn is_skipped(&self, place: &Path) -> bool {
        self.skipped.iter().any(|skipped| place.starts_with(skipped))
    }

    /// True if a directory of the scratch is known to have so many entries. The size of one of a tmpfs
    /// counts them, `.` and `..` among them (mm/shmem.c, BOGO_DIRENT_SIZE).
    fn has_entries(&self, directory: &Stat, count: usize) -> bool {
        let is_directory = FileType::from_raw_mode(directory.st_mode) == FileType::Directory;
        is_directory
            && self.watched.is_tmpfs
            && i64::try_from(count).is_ok_and(|count| directory.st_size == (2 + count) * 20)
    }

    /// True if a fresh directory is known to hold what set-up has made, and nothing else: the way to a
    /// project in the home is long.
    fn is_as_made(&self, directory: &Dir, stat: &Stat, place: &Path) -> bool {
        let Some(names) = self.watched.made.get(place) else { return self.has_entries(stat, 0) };
        let is_as_made = |name: &OsString| {
            let (Ok(stat), place) = (directory.stat(name), place.join(name)) else { return false };
            match self.watched.made.contains_key(&place) {
                false => {
                    let kind = FileType::from_raw_mode(stat.st_mode);
                    kind != FileType::Directory || self.has_entries(&stat, 0)
                }
                true => directory
                    .directory(name)
                    .is_ok_and(|inner| self.is_as_made(&inner, &stat, &place)),
            }
        };
        self.has_entries(stat, names.len()) && names.iter().all(is_as_made)
    }

    /// True if set-up has made it.
    fn is_made(&self, path: &Path) -> bool {
        let place = path.parent().zip(path.file_name());
        place.is_some_and(|(parent, name)| {
            self.watched.made.get(parent).is_some_and(|names| names.contains(name))
        })
    }

    fn add(&mut self, kind: ChangeKind, path: PathBuf, size: u64) {
        match self.names.checked_sub(path.as_os_str().len()) {
            Some(left) => {
                self.names = left;
                self.changes.push(FileChange { kind, path, size });
            }
            None => self.is_cut = true,
        }
    }

    /// True if there is no time left.
    fn is_late(&mut self) -> bool {
        self.is_cut |= Instant::now() >= self.until;
        self.is_cut
    }

    /// Goes through one directory of a layer, or a fresh one, which has no lower layer.
    fn directory(&mut self, upper: &Dir, lower: Option<&Dir>, place: &Path, depth: usize) {
        let Ok(entries) = upper.entries(self.entries) else { return };
        self.is_cut |= entries.len() == self.entries || depth == 0;
        self.entries -= entries.len();
        if depth == 0 {
            return;
        }
        for (name, kind) in &entries {
            let path = place.join(name);
            if self.is_late() {
                return;
            }
            if !self.is_skipped(&path) {
                self.entry(upper, lower, name, *kind, path, depth);
            }
        }
        if let Some(lower) = lower.filter(|_| is_opaque(upper)) {
            self.replaced(lower, &entries, place);
        }
    }

    fn entry(
        &mut self,
        upper: &Dir,
        lower: Option<&Dir>,
        name: &OsStr,
        kind: FileType,
        path: PathBuf,
        depth: usize,
    ) {
        let Ok(now) = upper.stat(name) else { return };
        let before = lower.and_then(|lower| lower.stat(name).ok());
        let before_kind = before.map(|before| FileType::from_raw_mode(before.st_mode));
        match (kind, before_kind) {
            // A whiteout.
            (FileType::CharacterDevice, _) if now.st_rdev == 0 => {
                if before.is_some() {
                    self.add(ChangeKind::Deleted, path, 0);
                }
            }
            (FileType::Directory, _) => {
                let is_same_kind = before_kind == Some(FileType::Directory);
                if !self.is_made(&path) {
                    match before {
                        None => self.add(ChangeKind::Added, path.clone(), 0),
                        Some(before) if !is_same_kind || has_other_mode(&now, &before) => {
                            self.add(ChangeKind::Changed, path.clone(), 0);
                        }
                        Some(_) => {}
                    }
                }
                if self.has_entries(&now, 0) && !is_same_kind {
                    return;
                }
                let lower = lower.filter(|_| is_same_kind);
                let lower = lower.and_then(|lower| lower.directory(name).ok());
                if let Ok(inner) = upper.directory(name) {
                    self.directory(&inner, lower.as_ref(), &path, depth - 1);
                }
            }
            _ if self.is_made(&path) => {}
            (_, None) => self.add(ChangeKind::Added, path, size_of(&now)),
            (kind, Some(before_kind)) => {
                let is_same = kind == before_kind
                    && before.is_some_and(|before| {
                        lower.is_some_and(|lower| {
                            self.is_same(kind, [upper, lower], name, [&now, &before])
                        })
                    });
                if !is_same {
                    self.add(ChangeKind::Changed, path, size_of(&now));
                }
            }
        }
    }

    /// Entries of a directory that was removed and made again: the overlay shows none of the lower one.
    fn replaced(&mut self, lower: &Dir, upper: &[(OsString, FileType)], place: &Path) {
        let Ok(entries) = lower.entries(self.entries) else { return };
        self.entries -= entries.len();
        let there: BTreeSet<&OsString> = upper.iter().map(|(name, _)| name).collect();
        for (name, _) in entries {
            let path = place.join(&name);
            if !there.contains(&name) && !self.is_skipped(&path) {
                self.add(ChangeKind::Deleted, path, 0);
            }
        }
    }

    /// True if a file is as it was.
    fn is_same(
        &mut self,
        kind: FileType,
        directories: [&Dir; 2],
        name: &OsStr,
        [now, before]: [&Stat; 2],
    ) -> bool {
        match kind {
            FileType::Symlink => {
                let [now, before] = directories.map(|directory| directory.link(name).ok());
                now.is_some() && now == before
            }
            FileType::RegularFile => {
                let is_alike = now.st_size == before.st_size && !has_other_mode(now, before);
                is_alike && has_same_content(directories, name, &mut self.budget).unwrap_or(false)
            }
            _ => !has_other_mode(now, before),
        }
    }
}

/// Permissions as chmod(2) sets them.
fn has_other_mode(now: &Stat, before: &Stat) -> bool {
    now.st_mode & 0o7777 != before.st_mode & 0o7777
}

fn size_of(stat: &Stat) -> u64 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or(0),
        _ => 0,
    }
}

/// True if an overlay shows nothing of the lower directory (overlayfs.rst, "opaque").
fn is_opaque(upper: &Dir) -> bool {
    let mut value = [0; 2];
    rustix::fs::fgetxattr(upper, "user.overlay.opaque", &mut value).is_ok_and(|length| length > 0)
}

/// Compares two files of the same size.
fn has_same_content(directories: [&Dir; 2], name: &OsStr, budget: &mut Budget) -> io::Result<bool> {
    const PART: usize = 1 << 16;
    let [mut one, mut other] = [directories[0].file(name)?, directories[1].file(name)?];
    let mut parts = [Vec::with_capacity(PART), Vec::with_capacity(PART)];
    loop {
        let [a, b] = &mut parts;
        (&mut one).take(PART as u64).read_to_end(a)?;
        (&mut other).take(PART as u64).read_to_end(b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
        budget.take(a.len() as u64)?;
        parts.iter_mut().for_each(Vec::clear);
    }
}
