//! `/etc`: what everybody may read of it, and what not.
//!
//! An overlay hides what is private. Where there can be none, `/etc` is made anew of what may be
//! seen: read here, once, by descriptors. Whoever owns a directory below `/etc` can put a symbolic
//! link anywhere in it, and none is followed.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};

/// Something in `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its path, relative to `/etc`.
    pub path: PathBuf,
    /// Its content.
    pub content: Content,
}

/// Content of an entry of `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A directory with these permissions.
    Directory(u32),
    /// A symbolic link with this target.
    Link(PathBuf),
    /// A file with these permissions and this content.
    File(u32, Vec<u8>),
    /// A file that is too large to be copied.
    LargeFile,
    /// A file that is copied from the host's.
    Copy(Original),
}

/// A file of the host's, for a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// The permissions of the copy.
    pub mode: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Time of modification: seconds and nanoseconds, as st_mtim of stat(2).
    pub modified: (i64, i64),
}

/// Larger files are not copied.
const LARGEST: u64 = 256 << 10;
/// Nor are files once so many bytes have been.
const ALL: u64 = 16 << 20;
/// A tree that is deeper is not followed to its end.
const DEEPEST: usize = 64;

/// Everything that everybody may read, parents first; no socket, FIFO or device. Nothing where
/// there is no such directory.
pub fn read(etc: &Path) -> io::Result<Vec<Piece>> {
    let directory = match File::open(etc) {
        Ok(directory) => directory,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let mut reader = EtcReader { pieces: Vec::new(), bytes: 0 };
    reader.read_directory(directory.as_fd(), Path::new(""), 0)?;
    Ok(reader.pieces)
}

/// The content of a `hosts` file, hosts(5): empty where there is none, nothing where it cannot be
/// read or is too large to be written anew.
pub fn read_hosts(path: &Path) -> Option<String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Some(String::new()),
        Err(_) => return None,
    };
    let mut data = Vec::new();
    file.take(ALL + 1).read_to_end(&mut data).ok()?;
    let is_whole = data.len() as u64 <= ALL;
    is_whole.then(|| String::from_utf8_lossy(&data).into_owned())
}

struct EtcReader {
    pieces: Vec<Piece>,
    bytes: u64,
}

impl EtcReader {
    fn read_directory(
        &mut self,
        directory: BorrowedFd<'_>,
        relative: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        for name in names {
            self.read_entry(directory, &name, relative, depth)?;
        }
        Ok(())
    }

    /// An entry that goes away or is changed meanwhile is left out.
    fn read_entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        relative: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let path = relative.join(OsStr::from_bytes(name.to_bytes()));
        let Ok(found) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory | FileType::RegularFile => {}
            FileType::Symlink => {
                if let Ok(target) = readlinkat(directory, name, Vec::new()) {
                    let target = OsString::from_vec(target.into_bytes()).into();
                    self.pieces.push(Piece { path, content: Content::Link(target) });
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        // It may have become a FIFO, which would wait for somebody who writes.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(opened) = openat(directory, name, flags, Mode::empty()) else { return Ok(()) };
        let status = fstat(&opened)?;
        let permissions = status.st_mode & 0o777;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory if permissions & 0o005 == 0o005 && depth < DEEPEST => {
                let content = Content::Directory(permissions);
                self.pieces.push(Piece { path: path.clone(), content });
                self.read_directory(opened.as_fd(), &path, depth + 1)
            }
            FileType::RegularFile if permissions & 0o004 != 0 => {
                let content = self.read_file(opened, status.st_size as u64, permissions)?;
                self.pieces.push(Piece { path, content });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_file(&mut self, file: OwnedFd, size: u64, permissions: u32) -> io::Result<Content> {
        let mut data = Vec::new();
        if size <= LARGEST {
            File::from(file).take(LARGEST + 1).read_to_end(&mut data)?;
        }
        let length = data.len() as u64;
        if size > LARGEST || length > LARGEST || self.bytes + length > ALL {
            return Ok(Content::LargeFile);
        }
        self.bytes += length;
        Ok(Content::File(permissions, data))
    }
}

/// Files that not everybody may read, relative to `/etc`. A directory that cannot be listed is
/// hidden as a whole.
pub fn find_private(etc: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find_private_in(etc, Path::new(""), &mut found);
    found
}

fn find_private_in(directory: &Path, relative: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let name = relative.join(entry.file_name());
        let (readable, kind) = (metadata.mode() & 0o004 != 0, metadata.file_type());
        if kind.is_symlink() {
            continue;
        } else if !readable || (kind.is_dir() && metadata.mode() & 0o001 == 0) {
            found.push(name);
        } else if kind.is_dir() {
            find_private_in(&entry.path(), &name, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_everybody_may_read_is_read_and_nothing_else() {
        let name = format!("isotest-etc-{}", std::process::id());
        let etc = &std::env::temp_dir().join(name);
        fs::create_dir(etc).unwrap();
        let make = |name: &str, content: &[u8], mode| {
            fs::write(etc.join(name), content).unwrap();
            fs::set_permissions(etc.join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        for (name, mode) in [("ssl", 0o755), ("ssl/private", 0o710), ("redis", 0o750)] {
            fs::create_dir(etc.join(name)).unwrap();
            fs::set_permissions(etc.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        make("passwd", b"root", 0o644);
        make("shadow", b"secret", 0o640);
        make("ssl/private/key", b"secret", 0o644);
        make("big", &vec![0; LARGEST as usize + 1], 0o644);
        symlink("../run/x", etc.join("ssl/link")).unwrap();
        nix::unistd::mkfifo(&etc.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o644))
            .unwrap();
        let piece = |path: &str, content| Piece { path: path.into(), content };
        let expected = [
            piece("big", Content::LargeFile),
            piece("passwd", Content::File(0o644, b"root".to_vec())),
            piece("ssl", Content::Directory(0o755)),
            piece("ssl/link", Content::Link("../run/x".into())),
        ];
        let found = read(etc);
        fs::remove_dir_all(etc).unwrap();
        assert_eq!(found.unwrap(), expected);
    }
}
