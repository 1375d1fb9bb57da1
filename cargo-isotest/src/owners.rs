//! What of a project belongs to others: to a user or a group that a case has no id for.
//!
//! Such a checkout is shared by a group, or was made by another user. The kernel refuses to copy it
//! up into an overlay, so that nothing could be made in its directories. What a case may write to
//! gets a copy of its own beforehand, in a layer between.

use std::fs::{self, DirEntry, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isotest_core::host::{Content, Original, Piece};
use isotest_core::plan::Ids;

/// Larger files are not copied: tests write such from scratch.
const LARGEST: u64 = 4 << 20;
/// The most bytes that are copied of one directory.
const ALL: u64 = 128 << 20;
/// The most files and directories that are copied of one directory.
const MOST: usize = 1 << 16;
/// A tree that is deeper is not followed to its end.
const DEEPEST: usize = 128;

/// Whether a look at all of a directory is worth its time: it, or something directly in it, belongs
/// to others.
pub fn is_likely(directory: &Path, ids: &Ids) -> bool {
    let is_foreign = |metadata: Metadata| !ids.hold(metadata.uid(), metadata.gid());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let entries = entries.filter_map(|entry| entry.metadata().ok());
    directory.metadata().ok().into_iter().chain(entries).any(is_foreign)
}

/// Finds it in these directories, which lie in `overlay` or are it: parents first, and relative to
/// `overlay`. Other filesystems that are mounted below are not entered.
pub fn find(overlay: &Path, directories: &[&Path], ids: &Ids) -> Arc<[Piece]> {
    let mut found = Found::default();
    let is_inner = |path: &Path| directories.iter().any(|o| path != *o && path.starts_with(o));
    for directory in directories.iter().filter(|path| !is_inner(path)) {
        let (Ok(metadata), Ok(relative)) = (directory.metadata(), directory.strip_prefix(overlay))
        else {
            continue;
        };
        let before = found.pieces.len();
        found.lead_to(overlay, relative, ids);
        let led = found.pieces.len();
        let device = metadata.dev();
        let place = Place { path: overlay, relative: relative.to_owned(), device };
        found.look_into(&place, ids, 0);
        if found.pieces.len() == led {
            found.pieces.truncate(before);
        }
    }
    found.pieces.into()
}

/// A directory on the way.
struct Place<'a> {
    path: &'a Path,
    relative: PathBuf,
    device: u64,
}

/// What has been found.
#[derive(Default)]
struct Found {
    pieces: Vec<Piece>,
    bytes: u64,
}

impl Found {
    /// Adds the directories from the overlay's down to this one, which is given by its path in it.
    fn lead_to(&mut self, overlay: &Path, directory: &Path, ids: &Ids) {
        let mut parents: Vec<&Path> =
            directory.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        parents.reverse();
        for path in parents {
            let known = self.pieces.iter().any(|piece| piece.path == path);
            if let Some(metadata) = overlay.join(path).metadata().ok().filter(|_| !known) {
                self.pieces.push(directory_piece(path.to_owned(), &metadata, ids));
            }
        }
    }

    fn look_into(&mut self, place: &Place<'_>, ids: &Ids, depth: usize) {
        let Ok(entries) = fs::read_dir(place.path.join(&place.relative)) else { return };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && metadata.dev() == place.device && depth < DEEPEST {
                self.look_at_directory(place, &entry, &metadata, ids, depth);
            } else if metadata.is_file() {
                self.look_at_file(place.relative.join(entry.file_name()), &metadata, ids);
            }
        }
    }

    /// A directory that leads to what is copied gets its place in the layer too; one that a case
    /// may not write to stays so.
    fn look_at_directory(
        &mut self,
        place: &Place<'_>,
        entry: &DirEntry,
        metadata: &Metadata,
        ids: &Ids,
        depth: usize,
    ) {
        let relative = place.relative.join(entry.file_name());
        let access = ids.access(metadata.mode(), metadata.uid(), metadata.gid());
        let at = self.pieces.len();
        self.pieces.push(directory_piece(relative.clone(), metadata, ids));
        self.look_into(&Place { relative, ..*place }, ids, depth + 1);
        let is_wanted = is_wanted(metadata, ids, access) && at < MOST;
        if !is_wanted && self.pieces.len() == at + 1 {
            self.pieces.pop();
        }
    }

    fn look_at_file(&mut self, path: PathBuf, metadata: &Metadata, ids: &Ids) {
        let access = ids.access(metadata.mode(), metadata.uid(), metadata.gid());
        if !is_wanted(metadata, ids, access) || access & 0o4 == 0 {
            return;
        }
        let size = metadata.len();
        if size > LARGEST || self.bytes + size > ALL || self.pieces.len() >= MOST {
            return;
        }
        self.bytes += size;
        let original = Original {
            mode: metadata.mode() & 0o077 | access << 6,
            size,
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        self.pieces.push(Piece { path, content: Content::Copy(original) });
    }
}

/// A directory in which the case may do what it may do in the host's.
fn directory_piece(path: PathBuf, metadata: &Metadata, ids: &Ids) -> Piece {
    let access = ids.access(metadata.mode(), metadata.uid(), metadata.gid());
    Piece { path, content: Content::Directory(metadata.mode() & 0o7077 | access << 6) }
}

/// Whether it belongs to others and a case may write to it. Where it may not the kernel says so
/// before it copies anything.
fn is_wanted(metadata: &Metadata, ids: &Ids, access: u32) -> bool {
    !ids.hold(metadata.uid(), metadata.gid()) && access & 0o2 != 0
}
