//! Parts of a directory below which other filesystems are mounted.
//!
//! No overlay can show it as a whole, and a bind shows the host's own inodes: a test could connect
//! to sockets in it and write to FIFOs, though it is read-only. So the directories that lead to
//! what is mounted are made anew, and each directory in them has an overlay of its own.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat, statat,
};

use super::facts::Host;
use super::part::{Part, ShownPart};

/// The most parts that are mounts: each case copies all of them.
const MOST: usize = 256;

impl Host {
    /// Parts of a directory below which other filesystems are mounted; `None` for others, and where
    /// these are too many parts.
    pub fn parts_of(&self, directory: &Path) -> Option<Arc<[Part]>> {
        let is_whole = self.mounts_below(directory).is_empty() || self.is_remote(directory);
        if is_whole { None } else { read(self, directory).map(Arc::from) }
    }
}

/// Everything in a directory below which other filesystems are mounted, parents first: as far as it
/// can be listed, and does not have too many parts. `None` where that holds for the directory itself.
fn read(host: &Host, directory: &Path) -> Option<Vec<Part>> {
    let mut reader = PartsReader { host, directory, parts: Vec::new(), mounts: 0 };
    let opened = open(directory)?;
    reader.read_directory(&opened, Path::new(""))?;
    Some(reader.parts)
}

/// Opens a directory; no symbolic link on the way is followed.
fn open(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).ok()
}

struct PartsReader<'a> {
    host: &'a Host,
    directory: &'a Path,
    parts: Vec<Part>,
    mounts: usize,
}

impl PartsReader<'_> {
    fn read_directory(&mut self, directory: &OwnedFd, relative: &Path) -> Option<()> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(directory).ok()? {
            let entry = entry.ok()?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                entries.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.iter().try_for_each(|(name, kind)| {
            let path = relative.join(OsStr::from_bytes(name.to_bytes()));
            self.read_entry(directory, (name, *kind), path)
        })
    }

    fn read_entry(
        &mut self,
        parent: &OwnedFd,
        (name, kind): (&CStr, FileType),
        path: PathBuf,
    ) -> Option<()> {
        let whole = self.directory.join(&path);
        let shown = match self.kind(parent, (name, kind), &whole) {
            FileType::Directory if self.host.can_be_layer(&whole) => ShownPart::Layer,
            FileType::Directory if self.read_way(&path).is_some() => return Some(()),
            FileType::Directory => ShownPart::Directory,
            FileType::RegularFile => ShownPart::File,
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new()).ok()?;
                ShownPart::Link(OsString::from_vec(target.into_bytes()).into())
            }
            _ => ShownPart::Nothing,
        };
        self.mounts += usize::from(!matches!(shown, ShownPart::Link(_) | ShownPart::Nothing));
        self.parts.push(Part { path, shown });
        (self.mounts <= MOST).then_some(())
    }

    /// The kind of what is seen at a path: a directory's entry tells that of what is covered where
    /// something is mounted, a socket on an empty file perhaps.
    fn kind(&self, parent: &OwnedFd, (name, kind): (&CStr, FileType), whole: &Path) -> FileType {
        let is_mounted = self.host.mount_points.iter().any(|point| point == whole);
        // Who asks a filesystem that a program makes may wait for ever.
        let is_told = !is_mounted || self.host.is_remote(whole);
        if kind != FileType::Unknown && is_told {
            return kind;
        }
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
    }

    /// A directory that leads to what is mounted below it, and what is in it. `None` for others, and
    /// where it cannot be shown by its parts.
    fn read_way(&mut self, path: &Path) -> Option<()> {
        let whole = self.directory.join(path);
        if self.host.mounts_below(&whole).is_empty() || self.host.is_remote(&whole) {
            return None;
        }
        let (parts, mounts) = (self.parts.len(), self.mounts);
        let opened = open(&whole)?;
        let shown = ShownPart::Way(fstat(&opened).ok()?.st_mode & 0o777);
        self.parts.push(Part { path: path.to_owned(), shown });
        let read = self.read_directory(&opened, path);
        if read.is_none() {
            self.parts.truncate(parts);
            self.mounts = mounts;
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn parts_of(directory: &Path, mount_points: &[&str]) -> Option<Vec<(String, ShownPart)>> {
        let mount_points = mount_points.iter().map(|point| directory.join(point)).collect();
        let host = Host { mount_points, ..Host::default() };
        let parts = host.parts_of(directory)?;
        let parts = parts.iter().map(|part| (part.path.display().to_string(), part.shown.clone()));
        Some(parts.collect())
    }

    #[test]
    fn a_directory_that_leads_to_a_mount_is_made_of_its_parts_without_sockets() {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().canonicalize().expect("it is there");
        for name in ["a/mounted", "a/inner", "b"] {
            fs::create_dir_all(root.join(name)).expect("it is writable");
        }
        let mode = fs::Permissions::from_mode(0o750);
        fs::set_permissions(root.join("a"), mode).expect("it is ours");
        fs::write(root.join("file"), "").expect("it is writable");
        symlink("file", root.join("link")).expect("a link");
        let _listener = UnixListener::bind(root.join("a/socket")).expect("a socket");
        let part = |path: &str, shown| (path.to_owned(), shown);
        let expected = [
            part("a", ShownPart::Way(0o750)),
            part("a/inner", ShownPart::Layer),
            part("a/mounted", ShownPart::Layer),
            part("a/socket", ShownPart::Nothing),
            part("b", ShownPart::Layer),
            part("file", ShownPart::File),
            part("link", ShownPart::Link("file".into())),
        ];
        assert_eq!(parts_of(&root, &["a/mounted"]).expect("there are mounts"), expected);
        assert_eq!(parts_of(&root, &[]), None);
    }

    #[test]
    fn what_has_too_many_parts_is_shown_as_it_is() {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().canonicalize().expect("it is there");
        fs::create_dir_all(root.join("many/mounted")).expect("it is writable");
        fs::create_dir_all(root.join("other/mounted")).expect("it is writable");
        let mode = fs::Permissions::from_mode(0o750);
        fs::set_permissions(root.join("other"), mode).expect("it is ours");
        for number in 0..MOST {
            fs::write(root.join(format!("many/{number}")), "").expect("it is writable");
        }
        let mounts = ["many/mounted", "other/mounted"];
        let expected = [
            ("many".to_owned(), ShownPart::Directory),
            ("other".to_owned(), ShownPart::Way(0o750)),
            ("other/mounted".to_owned(), ShownPart::Layer),
        ];
        assert_eq!(parts_of(&root, &mounts).expect("there are mounts"), expected);
        assert_eq!(parts_of(&root.join("many"), &["mounted"]), None);
    }
}
