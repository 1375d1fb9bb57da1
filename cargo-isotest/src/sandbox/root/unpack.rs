//! Unpacks untrusted tar archives.
//!
//! Nothing is written outside of the directory that is unpacked into, whatever paths and links an
//! archive has, and there is an end to it. Everything belongs to the user; set-user-ID bits,
//! extended attributes and devices are left out, since a sandbox makes no use of them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use isotest_core::escape::escape;
use tar::{Archive, Entry, EntryType};

use super::resolve::{Links, ResolveError, make_directories, resolve, shown};
use super::stream::LimitedReader;

/// Limits of unpacking, for all archives of a root filesystem together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of files.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of the names that are remembered for whiteouts.
    pub names: u64,
}

/// Well above what is used: of the images of Docker Hub few have more than 10 GB.
pub const LIMITS: Limits = Limits { bytes: 32 << 30, entries: 4 << 20, names: 256 << 20 };

/// Maximum bytes between two files: headers, long names, padding.
const MAX_PADDING: u64 = 1 << 20;

/// Meaning of names that stand for removed files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// No: the archive stands for itself.
    Kept,
    /// Yes: the archive is a layer of an image, image-spec's `layer.md`.
    Applied,
}

/// An archive cannot be unpacked.
#[derive(Debug)]
pub struct UnpackError {
    /// The path in the archive, where it is one entry's fault.
    entry: Option<PathBuf>,
    cause: UnpackCause,
}

#[derive(Debug)]
enum UnpackCause {
    Io(io::Error),
    Absolute,
    Parent,
    Outside(&'static str),
    Escapes(PathBuf),
    LinkEscapes(PathBuf),
    NoLinkTarget(PathBuf),
    Whiteout,
    TooManyBytes,
    TooManyEntries,
    TooManyNames,
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(entry) = &self.entry {
            write!(f, "its entry `{}` ", shown(entry))?;
        }
        let subject = if self.entry.is_some() { "" } else { "it " };
        match &self.cause {
            UnpackCause::Io(error) => {
                let refused = if self.entry.is_some() { "is refused: " } else { "" };
                write!(f, "{refused}{}", escape(&error.to_string()))
            }
            UnpackCause::Absolute => write!(f, "has an absolute path"),
            UnpackCause::Parent => write!(f, "has `..` in its path"),
            UnpackCause::Outside(only) => write!(f, "is not in `{only}`"),
            UnpackCause::Escapes(link) => {
                write!(f, "is behind the link `{}`, which leads out of the archive", shown(link))
            }
            UnpackCause::LinkEscapes(target) => {
                write!(f, "is a hard link to `{}`, outside of the archive", shown(target))
            }
            UnpackCause::NoLinkTarget(target) => {
                write!(f, "is a hard link to `{}`, which is no file before it", shown(target))
            }
            UnpackCause::Whiteout => write!(f, "is a whiteout of no file"),
            UnpackCause::TooManyBytes => write!(f, "{subject}makes it larger than the limit"),
            UnpackCause::TooManyEntries => write!(f, "{subject}is one more than the limit"),
            UnpackCause::TooManyNames => {
                write!(f, "{subject}makes its names longer than the limit")
            }
        }
    }
}

impl From<io::Error> for UnpackError {
    fn from(error: io::Error) -> Self {
        UnpackError { entry: None, cause: UnpackCause::Io(error) }
    }
}

impl From<io::Error> for UnpackCause {
    fn from(error: io::Error) -> Self {
        UnpackCause::Io(error)
    }
}

impl From<ResolveError> for UnpackCause {
    fn from(astray: ResolveError) -> Self {
        match astray {
            ResolveError::Escapes(link) => UnpackCause::Escapes(link),
            ResolveError::Io(error) => UnpackCause::Io(error),
        }
    }
}

/// A root filesystem in the making.
pub struct Unpacker<'a> {
    root: &'a Path,
    /// The directory of the archive that becomes the root; `None`: all of the archive.
    only: Option<&'static str>,
    left: Limits,
    /// Paths that the current archive has made. Its own whiteouts do not remove them.
    made: HashSet<PathBuf>,
}

impl<'a> Unpacker<'a> {
    /// Begins in an empty directory.
    pub fn new(root: &'a Path, limits: Limits) -> Unpacker<'a> {
        Unpacker { root, only: None, left: limits, made: HashSet::new() }
    }

    /// The same, but the root is this directory of the archive; what is not in it is refused. What
    /// stands beside the root is out of the reach of links then.
    pub fn only(self, directory: &'static str) -> Unpacker<'a> {
        Unpacker { only: Some(directory), ..self }
    }

    /// Unpacks one archive over what is there, and reads its stream to the end.
    pub fn unpack(&mut self, stream: impl Read, whiteouts: Whiteouts) -> Result<(), UnpackError> {
        self.made.clear();
        let (stream, allowed) = LimitedReader::new(stream);
        allowed.set(MAX_PADDING);
        let mut archive = Archive::new(stream);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
            allowed.set(u64::MAX);
            let done = self.entry(&mut entry, &path, whiteouts);
            done.map_err(|cause| UnpackError { entry: Some(path), cause })?;
            // What is left of an entry that makes no file.
            io::copy(&mut entry, &mut io::sink())?;
            allowed.set(MAX_PADDING);
        }
        io::copy(&mut archive.into_inner(), &mut io::sink())?;
        Ok(())
    }

    fn entry<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        path: &Path,
        whiteouts: Whiteouts,
    ) -> Result<(), UnpackCause> {
        self.left.entries = self.left.entries.checked_sub(1).ok_or(UnpackCause::TooManyEntries)?;
        let whole = inner_path(path)?;
        let path = self.below_root(&whole)?;
        let Some(name) = path.file_name() else {
            return Ok(()); // The root itself.
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        if whiteouts == Whiteouts::Applied
            && let Some(hidden) = name.as_bytes().strip_prefix(b".wh.")
        {
            return self.whiteout(parent, OsStr::from_bytes(hidden));
        }
        let place = make_directories(self.root, parent)?.join(name);
        self.make(entry, &place)?;
        if whiteouts == Whiteouts::Applied {
            self.remember(&place)?;
        }
        Ok(())
    }

    /// Remembers a path and what leads to it, of which nothing is new above what is known.
    fn remember(&mut self, place: &Path) -> Result<(), UnpackCause> {
        let inside = place.ancestors().take_while(|path| *path != self.root);
        for path in inside {
            if self.made.contains(path) {
                break;
            }
            let length = path.as_os_str().len() as u64;
            self.left.names =
                self.left.names.checked_sub(length).ok_or(UnpackCause::TooManyNames)?;
            self.made.insert(path.to_owned());
        }
        Ok(())
    }

    /// A path of the archive as one of the root.
    fn below_root<'p>(&self, path: &'p Path) -> Result<&'p Path, UnpackCause> {
        let Some(only) = self.only else { return Ok(path) };
        path.strip_prefix(only).map_err(|_| UnpackCause::Outside(only))
    }

    fn make<R: Read>(&mut self, entry: &mut Entry<'_, R>, place: &Path) -> Result<(), UnpackCause> {
        let header = entry.header();
        let mode = header.mode()? & 0o1777;
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(header.mtime().unwrap_or(0));
        match header.entry_type() {
            EntryType::Directory => {
                if !is_directory(place) {
                    remove(place)?;
                    fs::create_dir(place)?;
                }
                // The user who unpacked it must be able to remove it.
                fs::set_permissions(place, Permissions::from_mode(mode | 0o700))?;
            }
            EntryType::Symlink => {
                remove(place)?;
                symlink(link_target(entry)?, place)?;
            }
            EntryType::Link => self.hard_link(&link_target(entry)?, place)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                remove(place)?;
                let mut file = File::create_new(place)?;
                let allowed = self.left.bytes;
                let length = write_sparse(&mut entry.take(allowed.saturating_add(1)), &mut file)?;
                self.left.bytes = allowed.checked_sub(length).ok_or(UnpackCause::TooManyBytes)?;
                file.set_permissions(Permissions::from_mode(mode))?;
                file.set_modified(modified)?;
            }
            // Devices and pipes, which no system directory has, and comments on the archive.
            _ => {}
        }
        Ok(())
    }

    fn hard_link(&self, target: &Path, place: &Path) -> Result<(), UnpackCause> {
        let escapes = |_| UnpackCause::LinkEscapes(target.to_owned());
        // As with paths, a leading `./` is usual, and `/` is not.
        let whole = inner_path(target).map_err(escapes)?;
        let inner = self.below_root(&whole).map_err(escapes)?;
        let none = || UnpackCause::NoLinkTarget(target.to_owned());
        let name = inner.file_name().ok_or_else(none)?;
        let parent = inner.parent().unwrap_or(Path::new(""));
        let source = match resolve(self.root, parent, Links::Beneath) {
            Ok(parent) => parent.join(name),
            Err(ResolveError::Escapes(_)) => {
                return Err(UnpackCause::LinkEscapes(target.to_owned()));
            }
            Err(ResolveError::Io(_)) => return Err(none()),
        };
        if source == place {
            return Ok(());
        }
        let kind = fs::symlink_metadata(&source).map_err(|_| none())?.file_type();
        if !kind.is_file() && !kind.is_symlink() {
            return Err(none());
        }
        remove(place)?;
        // linkat(2) without AT_SYMLINK_FOLLOW: a symbolic link is linked itself.
        Ok(fs::hard_link(source, place)?)
    }

    /// Removes what earlier layers have made: one name, or all of a directory.
    fn whiteout(&self, parent: &Path, hidden: &OsStr) -> Result<(), UnpackCause> {
        const OPAQUE: &[u8] = b".wh..opq";
        if hidden.is_empty() || hidden == "." || hidden == ".." {
            return Err(UnpackCause::Whiteout);
        }
        let directory = match resolve(self.root, parent, Links::Beneath) {
            Ok(directory) => directory,
            Err(ResolveError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            Err(astray) => return Err(astray.into()),
        };
        if hidden.as_bytes() == OPAQUE {
            self.remove_lower(&directory)?;
        } else if !hidden.as_bytes().starts_with(b".wh.") {
            // The rest of `.wh..wh.*` is AUFS's own.
            let place = directory.join(hidden);
            match self.made.contains(&place) {
                true if is_directory(&place) => self.remove_lower(&place)?,
                true => {}
                false => remove(&place)?,
            }
        }
        Ok(())
    }

    fn remove_lower(&self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let place = entry?.path();
            match self.made.contains(&place) {
                true if is_directory(&place) => self.remove_lower(&place)?,
                true => {}
                false => remove(&place)?,
            }
        }
        Ok(())
    }
}

/// Writes a new file, and leaves out what is zero: of an archive that says of a file that it is
/// holes, a few bytes could fill the disk. How long the file is then.
fn write_sparse(source: &mut impl Read, file: &mut File) -> io::Result<u64> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let mut buffer = ZEROS;
    let mut length = 0;
    loop {
        let read = match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        let block = buffer.get(..read).unwrap_or_default();
        match ZEROS.starts_with(block) {
            true => file.seek_relative(read as i64)?,
            false => file.write_all(block)?,
        }
        length += read as u64;
    }
    file.set_len(length)?;
    Ok(length)
}

/// The path without `.`; an error where it names what is outside.
fn inner_path(path: &Path) -> Result<PathBuf, UnpackCause> {
    let mut inner = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inner.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err(UnpackCause::Parent),
            Component::RootDir | Component::Prefix(_) => return Err(UnpackCause::Absolute),
        }
    }
    Ok(inner)
}

fn link_target<R: Read>(entry: &Entry<'_, R>) -> io::Result<PathBuf> {
    let target = entry.link_name_bytes().unwrap_or_default();
    Ok(PathBuf::from(OsStr::from_bytes(&target)))
}

fn is_directory(place: &Path) -> bool {
    fs::symlink_metadata(place).is_ok_and(|metadata| metadata.is_dir())
}

/// Removes whatever stands there.
fn remove(place: &Path) -> io::Result<()> {
    let removed = match is_directory(place) {
        true => fs::remove_dir_all(place),
        false => fs::remove_file(place),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
