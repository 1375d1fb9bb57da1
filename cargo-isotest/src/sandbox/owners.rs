//! Files of a project that belong to others: to a user or a group that a case has no id for.
//!
//! Such a checkout is shared by a group, or was made by another user. The kernel refuses to copy it
//! up into an overlay, so that nothing could be made in its directories. What a case may write to
//! gets a copy of its own beforehand, in a layer between.
//!
//! Others write to such directories: nothing here follows a symbolic link, or enters what is
//! mounted below.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use isotest_core::host::{Content, Original, Piece};
use isotest_core::plan::{Ids, Uncopied};
use isotest_core::untrusted::{Dir, FileType, Stat};

/// The most bytes that are copied of one directory.
const ALL: u64 = 128 << 20;
/// Larger files that were built are not copied: a build makes them anew.
const LARGEST_BUILT: u64 = 4 << 20;
/// The most files and directories that are copied of one directory.
const MAX_FILES: usize = 1 << 16;
/// Maximum number of entries of one directory that are read.
const LISTED: usize = 1 << 16;

/// Number of entries that are read where all of them belong to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// As many as take no noticeable time: what every run can afford.
    Short,
    /// Nearly all.
    Long,
}

impl Scan {
    fn entries(self) -> usize {
        match self {
            Scan::Short => 1 << 12,
            Scan::Long => 1 << 20,
        }
    }
}

/// Scope of a search: a directory that is shown below an overlay.
pub struct Tree<'a> {
    /// The directory.
    pub root: &'a Path,
    /// Directories in it to begin with.
    pub starts: &'a [PathBuf],
    /// Directories with built files, in it or around it, except the start of a search: less likely
    /// to belong to others, and searched last.
    pub built: &'a [PathBuf],
}

/// Files of others in a tree that a case may write to.
#[derive(Debug, Default)]
pub struct ForeignFiles {
    /// Files to copy, and the directories that lead to them: parents first.
    pub pieces: Vec<Piece>,
    /// Files that are not copied: there are too many, or they cannot be read.
    pub uncopied: Vec<Uncopied>,
}

/// Looks through a tree, breadth first: what lies deep is less likely to be another's alone.
pub fn find(tree: &Tree<'_>, ids: &Ids, scan: Scan) -> ForeignFiles {
    let root = Dir::open(tree.root).ok().filter(|_| !ids.hold_all());
    let Some(root) = root else { return ForeignFiles::default() };
    let mut search = Search::new(tree, ids);
    let mut waiting = VecDeque::new();
    for start in tree.starts.iter().filter_map(|start| start.strip_prefix(tree.root).ok()) {
        search.look_at_way(&root, start);
        waiting.push_back(start.to_owned());
    }
    waiting.push_back(PathBuf::new());
    let mut last = VecDeque::new();
    loop {
        let is_found = search.is_found;
        let most = if is_found { Scan::Long.entries() } else { scan.entries() };
        if search.looks >= most {
            break;
        }
        let next = waiting.pop_front();
        // Nobody but who builds writes there: where the rest is the user's own so is this.
        let Some(next) = next.or_else(|| is_found.then(|| last.pop_front()).flatten()) else {
            break;
        };
        let later = tree.is_looked_at_last(&next);
        let inner = search.look_into(&root, &next);
        if later { &mut last } else { &mut waiting }.extend(inner);
    }
    search.finish()
}

impl Tree<'_> {
    /// True if the directories in this one, which is relative to the root, are searched last: they
    /// were built, or hold git's objects.
    fn is_looked_at_last(&self, directory: &Path) -> bool {
        directory.ends_with(".git/objects") || self.is_built(directory)
    }

    fn is_built(&self, path: &Path) -> bool {
        let path = self.root.join(path);
        let depth = |above: &[PathBuf]| {
            let above = above.iter().filter(|above| path.starts_with(above));
            above.map(|above| above.components().count()).max()
        };
        let built = depth(self.built);
        built.is_some() && built >= depth(self.starts)
    }
}

/// A directory that was looked at.
struct Visited {
    permissions: u32,
    /// True if it belongs to another user or group and may be written to.
    is_wanted: bool,
}

/// A file of another's that may be written to.
struct WritableFile {
    path: PathBuf,
    original: Original,
    owner: (u32, u32),
    is_built: bool,
    is_readable: bool,
}

struct Search<'a> {
    tree: &'a Tree<'a>,
    ids: &'a Ids,
    looks: usize,
    /// True if a file was found.
    is_found: bool,
    visited: HashSet<PathBuf>,
    directories: BTreeMap<PathBuf, Visited>,
    files: Vec<WritableFile>,
}

impl<'a> Search<'a> {
    fn new(tree: &'a Tree<'a>, ids: &'a Ids) -> Search<'a> {
        let (visited, directories, files) = (HashSet::new(), BTreeMap::new(), Vec::new());
        Search { tree, ids, looks: 0, is_found: false, visited, directories, files }
    }

    /// Looks at the directories that lead to one, and at itself.
    fn look_at_way(&mut self, root: &Dir, start: &Path) {
        for path in start.ancestors() {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let stat = open(root, parent).and_then(|parent| parent.stat(name));
            if let Some(stat) = stat.ok().filter(is_directory) {
                self.look_at_directory(path.to_owned(), &stat);
            }
        }
    }

    /// Looks at what is in a directory, and tells the directories in it.
    fn look_into(&mut self, root: &Dir, relative: &Path) -> Vec<PathBuf> {
        if !self.visited.insert(relative.to_owned()) {
            return Vec::new();
        }
        let Ok(directory) = open(root, relative) else {
            // Another filesystem, perhaps, which the overlay does not show.
            self.directories.remove(relative);
            return Vec::new();
        };
        let entries = directory.entries(LISTED).unwrap_or_default();
        let mut inner = Vec::new();
        for (name, kind) in entries.iter().filter(|(_, kind)| kind.is_dir() || kind.is_file()) {
            self.looks += 1;
            let Ok(stat) = directory.stat(name) else { continue };
            if kind.is_dir() {
                inner.push(relative.join(name));
                self.look_at_directory(relative.join(name), &stat);
            } else {
                self.look_at_file(relative, name, &stat);
            }
        }
        inner
    }

    /// A copied directory lets a case do what it may do in the host's.
    fn look_at_directory(&mut self, path: PathBuf, stat: &Stat) {
        let access = self.access(stat);
        let permissions = stat.st_mode & 0o7077 | access << 6;
        let is_wanted = self.is_wanted(stat, access);
        self.is_found |= is_wanted;
        self.directories.insert(path, Visited { permissions, is_wanted });
    }

    fn look_at_file(&mut self, directory: &Path, name: &OsStr, stat: &Stat) {
        let access = self.access(stat);
        if !self.is_wanted(stat, access) || self.files.len() >= MAX_FILES {
            return;
        }
        let path = directory.join(name);
        self.is_found = true;
        let original = Original {
            mode: stat.st_mode & 0o077 | access << 6,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
        };
        let owner = (stat.st_uid, stat.st_gid);
        let (is_built, is_readable) = (self.tree.is_built(&path), access & 0o4 != 0);
        self.files.push(WritableFile { path, original, owner, is_built, is_readable });
    }

    fn access(&self, stat: &Stat) -> u32 {
        self.ids.access(stat.st_mode, stat.st_uid, stat.st_gid)
    }

    /// True if it belongs to others and a case may write to it. Otherwise the kernel refuses before
    /// it copies anything.
    fn is_wanted(&self, stat: &Stat, access: u32) -> bool {
        !self.ids.hold(stat.st_uid, stat.st_gid) && access & 0o2 != 0
    }

    /// Chooses what is copied: sources first, the small ones before the large ones.
    fn finish(mut self) -> ForeignFiles {
        self.files.sort_by_key(|file| (file.is_built, file.original.size));
        let mut pieces = BTreeMap::new();
        let mut uncopied = Vec::new();
        let mut bytes = 0;
        for file in std::mem::take(&mut self.files) {
            let WritableFile { path, original, owner: (uid, gid), is_built, is_readable } = file;
            let is_small = bytes + original.size <= ALL
                && !(is_built && original.size > LARGEST_BUILT)
                && pieces.len() < MAX_FILES;
            if is_small && is_readable {
                bytes += original.size;
                pieces.insert(path, Content::Copy(original));
            } else if !is_built {
                let path = self.tree.root.join(path);
                uncopied.push(Uncopied { path, size: original.size, uid, gid });
            }
        }
        let wanted = self.directories.iter().filter(|(_, visited)| visited.is_wanted);
        let wanted = wanted.map(|(path, _)| path.clone()).take(MAX_FILES);
        for path in pieces.keys().cloned().chain(wanted).collect::<Vec<_>>() {
            self.lead_to(&path, &mut pieces);
        }
        let pieces = pieces.into_iter().map(|(path, content)| Piece { path, content });
        ForeignFiles { pieces: pieces.collect(), uncopied }
    }

    /// Adds the directories down to what is copied, and itself where it is one.
    fn lead_to(&self, path: &Path, pieces: &mut BTreeMap<PathBuf, Content>) {
        for above in path.ancestors().filter(|above| *above != OsStr::new("")) {
            if let Some(visited) = self.directories.get(above)
                && !pieces.contains_key(above)
            {
                pieces.insert(above.to_owned(), Content::Directory(visited.permissions));
            }
        }
    }
}

/// Opens a directory by its path from the root.
fn open(root: &Dir, relative: &Path) -> io::Result<Dir> {
    match relative.as_os_str().is_empty() {
        true => root.try_clone(),
        false => root.directory(relative),
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use isotest_core::host::Host;
    use isotest_core::plan::Project;
    use isotest_core::policy::Policy;
    use tempfile::TempDir;

    use super::*;

    /// Files that a user who owns nothing here finds.
    fn find_as_another(root: &TempDir, built: &[PathBuf], scan: Scan) -> ForeignFiles {
        let host = Host { uid: 4_000_000, gid: 4_000_000, ..Host::default() };
        let ids = Ids::new(&host, &Project::default(), &Policy::default());
        find(&Tree { root: root.path(), starts: &[], built }, &ids, scan)
    }

    fn make(root: &TempDir, file: &str, size: u64, mode: u32) {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("it lies in the root")).expect("it is writable");
        File::create(&path).expect("it is writable").set_len(size).expect("files have holes");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
    }

    fn copied(foreign: &ForeignFiles) -> Vec<&str> {
        foreign.pieces.iter().filter_map(|piece| piece.path.to_str()).collect()
    }

    #[test]
    fn what_lies_deep_is_found_with_what_leads_there_and_no_link_is_followed() {
        let root = tempfile::tempdir().expect("a directory");
        make(&root, "a/b/c/file", 5, 0o666);
        make(&root, "a/b/c/closed", 5, 0o644);
        make(&root, "other/file", 5, 0o644);
        let outside = tempfile::tempdir().expect("a directory");
        make(&outside, "file", 5, 0o666);
        symlink(outside.path(), root.path().join("a/link")).expect("a link");
        let found = find_as_another(&root, &[], Scan::Short);
        assert_eq!(copied(&found), ["a", "a/b", "a/b/c", "a/b/c/file"]);
        assert_eq!(found.uncopied, []);
    }

    #[test]
    fn a_large_file_is_copied_and_what_is_too_much_is_told_of() {
        let root = tempfile::tempdir().expect("a directory");
        make(&root, "data/large", 100 << 20, 0o666);
        make(&root, "data/too-large", 120 << 20, 0o666);
        make(&root, "data/unreadable", 1, 0o622);
        make(&root, "target/debug/large", 5 << 20, 0o666);
        make(&root, "target/debug/small", 5, 0o666);
        let found = find_as_another(&root, &[root.path().join("target")], Scan::Short);
        let expected = ["data", "data/large", "target", "target/debug", "target/debug/small"];
        assert_eq!(copied(&found), expected);
        let reported = found.uncopied.iter().map(|file| (file.path.clone(), file.size));
        let path = |name: &str| root.path().join(name);
        let expected = [(path("data/unreadable"), 1), (path("data/too-large"), 120 << 20)];
        assert_eq!(reported.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn where_nothing_is_anothers_a_short_look_has_an_end_and_leaves_out_what_was_built() {
        let root = tempfile::tempdir().expect("a directory");
        for number in 0..Scan::Short.entries() {
            make(&root, &format!("many/{number}"), 0, 0o644);
        }
        make(&root, "deep/er/file", 5, 0o666);
        assert_eq!(copied(&find_as_another(&root, &[], Scan::Short)), [""; 0]);
        let expected = ["deep", "deep/er", "deep/er/file"];
        assert_eq!(copied(&find_as_another(&root, &[], Scan::Long)), expected);
        let built = [root.path().join("deep")];
        assert_eq!(copied(&find_as_another(&root, &built, Scan::Long)), [""; 0]);
    }
}
