//! Files and directories that a case, an archive or the project may have put in place.
//!
//! Files that a case can write are hostile input: a symbolic link that leads to the user's files, a
//! FIFO that blocks who opens it, a file without an end. Everything here goes by a descriptor of a
//! directory, follows no symbolic link below it and crosses no mount (openat2(2)), looks at the
//! kind and the size of what it has opened and not of what it is about to open, and reads no more
//! than it was told to.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind::QuotaExceeded;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, SeekFrom, chmod, fchmod,
    flock, fstat, mkdirat, open, openat2, renameat, renameat_with, seek, statat, unlinkat,
};
use rustix::io::Errno;

pub use rustix::fs::{FileType, Stat};

/// No symbolic link is followed, and nothing above or on another filesystem is reached.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Number of names that are tried where one is taken.
const TRIES: u32 = 1 << 16;

/// The longest file that is copied, holes counted: it is as long for whoever reads the copy.
const LONGEST: u64 = 16 << 30;

/// Bytes that may still be copied.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Bytes of data; holes are none.
    pub bytes: u64,
    /// Until when.
    pub until: Instant,
}

impl Budget {
    /// Fails when the time is up.
    pub fn check(&self) -> io::Result<()> {
        match Instant::now() < self.until {
            true => Ok(()),
            false => Err(io::Error::new(QuotaExceeded, "copying it took too long")),
        }
    }

    /// Takes so much of it; fails where less is left, or when the time is up.
    pub fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.check()?;
        let rest = self.bytes.checked_sub(bytes);
        self.bytes =
            rest.ok_or_else(|| io::Error::new(QuotaExceeded, "there is too much to copy"))?;
        Ok(())
    }
}

/// A symbolic link where none is followed.
#[derive(Debug)]
pub struct Link(PathBuf);

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is a symbolic link, which is not followed", self.0.display())
    }
}

impl std::error::Error for Link {}

impl Link {
    /// True if this is the cause of an error.
    pub fn is_cause(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Link>())
    }
}

/// A directory whose contents are untrusted, by its descriptor: it stays the same one, whatever
/// becomes of its path.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl From<OwnedFd> for Dir {
    fn from(descriptor: OwnedFd) -> Dir {
        Dir(descriptor)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dir {
    /// Opens a directory by a path that the caller vouches for; only its last component must be no
    /// symbolic link.
    pub fn open(path: &Path) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Dir(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Another descriptor of it.
    pub fn try_clone(&self) -> io::Result<Dir> {
        Ok(Dir(self.0.try_clone()?))
    }

    /// Opens a directory below this one. A symbolic link on the way is an error.
    pub fn directory(&self, relative: impl AsRef<Path>) -> io::Result<Dir> {
        self.resolve(relative.as_ref(), BENEATH)
    }

    fn resolve(&self, relative: &Path, how: ResolveFlags) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat2(&self.0, relative, flags, Mode::empty(), how) {
            Err(Errno::LOOP) => Err(self.is_a_link(relative)),
            opened => Ok(Dir(opened?)),
        }
    }

    /// Words the refusal of a symbolic link. The path is this directory's as far as proc(5) tells it.
    fn is_a_link(&self, relative: &Path) -> io::Error {
        let own = std::fs::read_link(by_descriptor(&self.0)).unwrap_or_default();
        io::Error::other(Link(own.join(relative)))
    }

    /// Opens a directory below this one, and makes those that are missing with `mode`.
    pub fn make(&self, relative: &Path, mode: u32) -> io::Result<Dir> {
        self.make_within(relative, mode, BENEATH)
    }

    /// The same where the user may have mounted other filesystems on the way.
    pub fn make_across(&self, relative: &Path, mode: u32) -> io::Result<Dir> {
        self.make_within(relative, mode, BENEATH.difference(ResolveFlags::NO_XDEV))
    }

    fn make_within(&self, relative: &Path, mode: u32, how: ResolveFlags) -> io::Result<Dir> {
        let mut directory = self.try_clone()?;
        for part in relative.components() {
            let Component::Normal(name) = part else {
                return Err(Errno::INVAL.into());
            };
            match mkdirat(&directory, name, Mode::from(mode)) {
                Ok(()) | Err(Errno::EXIST) => {
                    directory = directory.resolve(Path::new(name), how)?;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(directory)
    }

    /// Makes a directory that did not exist, for its owner alone (mode 0700). `names` are tried
    /// until one is free.
    pub fn make_new(&self, names: impl Iterator<Item = OsString>) -> io::Result<(OsString, Dir)> {
        for name in names.take(TRIES as usize) {
            match mkdirat(&self.0, &name, Mode::from(0o700)) {
                Ok(()) => {
                    let directory = self.directory(&name)?;
                    return Ok((name, directory));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Opens a regular file below this one for reading. Another kind of file is an error, and is
    /// not opened: that could block, or make a device act.
    pub fn file(&self, relative: impl AsRef<Path>) -> io::Result<File> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat2(&self.0, relative.as_ref(), flags, Mode::empty(), BENEATH);
        let found = found.map_err(|errno| match errno {
            // A link by the last name itself is opened.
            Errno::LOOP => {
                io::Error::other("it lies behind a symbolic link, which is not followed")
            }
            errno => errno.into(),
        })?;
        match FileType::from_raw_mode(fstat(&found)?.st_mode) {
            FileType::Symlink => Err(self.is_a_link(relative.as_ref())),
            _ => regular(&found),
        }
    }

    /// Reads a regular file below this one; an error where it has more than `most` bytes.
    pub fn read(&self, relative: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        bounded(self.file(relative)?, most)
    }

    /// Writes a file of this directory anew, whole or not at all. What stands in its place is
    /// replaced, a symbolic link too.
    pub fn replace(&self, name: &OsStr, content: &[u8]) -> io::Result<()> {
        self.replace_by(name, 0o644, |file| file.write_all(content))
    }

    /// Writes a file of this directory anew as a copy of another one, as [`Dir::replace`]
    /// does. What is a hole stays one.
    pub fn copy(
        &self,
        source: &File,
        name: &OsStr,
        mode: u32,
        budget: &mut Budget,
    ) -> io::Result<()> {
        self.replace_by(name, mode, |target| copy_data(source, target, budget))
    }

    /// Writes a file of this directory anew as a copy of another one. Of the bits of `mode` it gets
    /// those of `kept`, and those that a new file gets here: what the umask and the default access
    /// control list of the directory let through.
    pub fn copy_as_user(
        &self,
        source: &File,
        name: &OsStr,
        [mode, kept]: [u32; 2],
        budget: &mut Budget,
    ) -> io::Result<()> {
        let permissions = |file: &File| {
            let own = fstat(file)?.st_mode & 0o777;
            Ok(fchmod(file, Mode::from(own | mode & kept))?)
        };
        let write = |target: &mut File| copy_data(source, target, budget);
        self.write_anew(name, mode, permissions, write)
    }

    /// Writes a file of this directory anew by way of another name.
    pub fn replace_by(
        &self,
        name: &OsStr,
        mode: u32,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let permissions = |file: &File| Ok(fchmod(file, Mode::from(mode))?);
        self.write_anew(name, 0o600, permissions, write)
    }

    /// The new file has the mode `made` until it is written, and then gets its permissions.
    fn write_anew(
        &self,
        name: &OsStr,
        made: u32,
        permissions: impl FnOnce(&File) -> io::Result<()>,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let (temporary, mut file) = self.make_file(name, made)?;
        let written = write(&mut file)
            .and_then(|()| permissions(&file))
            .and_then(|()| Ok(renameat(&self.0, &temporary, &self.0, name)?));
        if written.is_err() {
            // What could not be finished must not stay under the temporary name.
            let _ = unlinkat(&self.0, &temporary, AtFlags::empty());
        }
        written
    }

    /// Moves a regular file to another directory; an error where something stands there already that
    /// `may_replace` does not let go.
    pub fn move_file(
        &self,
        name: &OsStr,
        to: &Dir,
        may_replace: impl FnOnce(&File) -> bool,
    ) -> io::Result<()> {
        self.file(name)?;
        match renameat_with(&self.0, name, &to.0, name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) if may_replace(&to.file(name)?) => {
                Ok(renameat(&self.0, name, &to.0, name)?)
            }
            moved => Ok(moved?),
        }
    }

    /// Moves a directory to another one; an error where something stands there already.
    pub fn move_directory(&self, name: &OsStr, to: &Dir) -> io::Result<()> {
        let kind = FileType::from_raw_mode(self.stat(name)?.st_mode);
        if kind != FileType::Directory {
            return Err(Errno::NOTDIR.into());
        }
        Ok(renameat_with(&self.0, name, &to.0, name, RenameFlags::NOREPLACE)?)
    }

    /// Writes all that the filesystem of this directory has in memory to its disk.
    pub fn sync_filesystem(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }

    /// Makes a file that did not exist, for its owner alone (mode 0600).
    pub fn create_new(&self, name: &OsStr) -> io::Result<File> {
        self.create_with(name, 0o600)
    }

    fn create_with(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(File::from(openat2(&self.0, name, flags, Mode::from(mode), BENEATH)?))
    }

    /// A new file beside `name`.
    fn make_file(&self, name: &OsStr, mode: u32) -> io::Result<(OsString, File)> {
        for temporary in numbered(name).take(TRIES as usize) {
            match self.create_with(&temporary, mode) {
                Ok(file) => return Ok((temporary, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// The names and kinds of what is in this directory, `most` of them at the most.
    pub fn entries(&self, most: usize) -> io::Result<Vec<(OsString, FileType)>> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() == most {
                break;
            }
            // Not every filesystem tells the kind here.
            let kind = match entry.file_type() {
                FileType::Unknown => statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                kind => kind,
            };
            entries.push((name.to_owned(), kind));
        }
        Ok(entries)
    }

    /// Metadata of a name in this directory; of a symbolic link, those of the link.
    pub fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The target of a symbolic link in this directory.
    pub fn link(&self, name: &OsStr) -> io::Result<OsString> {
        let target = rustix::fs::readlinkat(&self.0, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// True if `name` is this very directory.
    pub fn is_at(&self, parent: &Dir, name: &OsStr) -> bool {
        let there = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let own = fstat(&self.0);
        matches!((there, own), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Device and inode number.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = fstat(&self.0)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Takes the lock of this directory (flock(2)), which is held as long as it is open; `false`
    /// where somebody else has it.
    pub fn try_lock(&self) -> io::Result<bool> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes what stands under `name`, with all that is in it. Directories that are not empty are
    /// moved up beside it first, so that neither the depth of a tree nor the length of a path
    /// matters. Other mounts are not entered, and are an error.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        if unlink(self.as_fd(), name)? {
            return Ok(());
        }
        let mut spare = numbered(name);
        let mut waiting = vec![name.to_owned()];
        while let Some(name) = waiting.pop() {
            let directory = self.own(self.as_fd(), &name)?;
            let mut found = false;
            for entry in rustix::fs::Dir::read_from(&directory)? {
                let entry = entry?;
                let inner = OsStr::from_bytes(entry.file_name().to_bytes());
                if inner == "." || inner == ".." {
                    continue;
                }
                found = true;
                if !unlink(directory.as_fd(), inner)? {
                    // To be moved it must be writable: its `..` changes.
                    self.own(directory.as_fd(), inner)?;
                    waiting.push(self.move_up(directory.as_fd(), inner, &mut spare)?);
                }
            }
            match unlinkat(&self.0, &name, AtFlags::REMOVEDIR) {
                Ok(()) => {}
                // Some filesystems leave out entries of a directory that changes meanwhile.
                Err(Errno::NOTEMPTY) if found => waiting.push(name),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Opens a directory for removal; where its owner may not enter it, as overlayfs leaves one, now
    /// they may.
    fn own(&self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Dir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat2(parent, name, flags, Mode::empty(), BENEATH)?;
        const OWNERS: u32 = 0o700;
        if fstat(&found)?.st_mode & OWNERS != OWNERS {
            chmod(by_descriptor(&found), Mode::from(OWNERS))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Dir(open(by_descriptor(&found), flags, Mode::empty())?))
    }

    /// Moves a directory here, under the first free name.
    fn move_up(
        &self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        spare: &mut impl Iterator<Item = OsString>,
    ) -> io::Result<OsString> {
        for free in spare {
            match renameat_with(from, name, &self.0, &free, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(free),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::EXIST.into())
    }
}

/// Opens a regular file by the path of its directory, which the caller vouches for; see
/// [`Dir::file`].
pub fn file(path: &Path) -> io::Result<File> {
    let (directory, name) = place(path)?;
    directory.file(name)
}

/// Opens a regular file by a path whose links are followed, and tells where it really is.
pub fn followed(path: &Path) -> io::Result<(File, PathBuf)> {
    let found = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let real = std::fs::read_link(by_descriptor(&found))?;
    Ok((regular(&found)?, real))
}

/// Reads a file to its end; an error where it has more than `most` bytes.
pub fn bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => {
            let kind = io::ErrorKind::FileTooLarge;
            Err(io::Error::new(kind, format!("it has more than {most} bytes")))
        }
        false => Ok(bytes),
    }
}

/// Opens for reading what was found, if it is a regular file.
fn regular(found: &OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(found)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(open(by_descriptor(found), flags, Mode::empty())?))
}

/// Opens the directory in which a path lies; symbolic links lead there as ever.
pub fn place(path: &Path) -> io::Result<(Dir, &OsStr)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((Dir::open(&parent.canonicalize()?)?, name))
}

/// Unlinks a file of any kind, or an empty directory; `false` where it is a directory that is not
/// empty.
fn unlink(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        // unlink(2): EISDIR is Linux's, EPERM is POSIX's.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        // EACCES: whether it is empty cannot be seen.
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Copies what of a file is data, and its length.
pub fn copy_data(source: &File, target: &File, budget: &mut Budget) -> io::Result<()> {
    const PART: u64 = 1 << 17;
    let length = source.metadata()?.len();
    if length > LONGEST {
        return Err(io::Error::other(format!("it has more than {LONGEST} bytes")));
    }
    target.set_len(length)?;
    let mut buffer = Vec::new();
    let mut at = 0;
    loop {
        match seek(source, SeekFrom::Data(at)) {
            Ok(data) => at = data,
            Err(Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        let end = seek(source, SeekFrom::Hole(at))?.min(length);
        while at < end {
            let part = (end - at).min(PART);
            budget.take(part)?;
            buffer.resize(usize::try_from(part).unwrap_or(0), 0);
            source.read_exact_at(&mut buffer, at)?;
            target.write_all_at(&buffer, at)?;
            at += part;
        }
        if at >= length {
            return Ok(());
        }
    }
}

/// `NAME.0`, `NAME.1` and so on.
fn numbered(name: &OsStr) -> impl Iterator<Item = OsString> {
    (0_u64..).map(move |number| {
        let mut numbered = name.to_owned();
        numbered.push(format!(".{number}"));
        numbered
    })
}

/// The path by which an open file is reached without a look at its name (proc(5)).
fn by_descriptor(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn place() -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Dir::open(place.path()).expect("it is there");
        (place, directory)
    }

    fn fifo(path: &Path) {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from(0o600), 0).expect("a FIFO");
    }

    #[test]
    fn only_regular_files_are_read_and_no_more_than_asked_for() {
        let (place, directory) = place();
        fs::write(place.path().join("file"), "12345").expect("it is writable");
        symlink("file", place.path().join("link")).expect("a link");
        symlink("/dev/zero", place.path().join("zero")).expect("a link");
        fifo(&place.path().join("fifo"));
        fs::create_dir(place.path().join("directory")).expect("it is writable");
        assert_eq!(directory.read("file", 5).expect("it is short"), b"12345");
        assert!(directory.read("file", 4).is_err());
        for name in ["link", "zero", "fifo", "directory", "missing", "../file", "/etc/passwd"] {
            assert!(directory.read(name, 100).is_err(), "{name}");
        }
    }

    #[test]
    fn only_regular_files_are_moved_and_over_nothing_that_is_wanted() {
        let (place, directory) = place();
        let (other_place, other) = self::place();
        fs::write(place.path().join("file"), "new").expect("it is writable");
        symlink("file", place.path().join("link")).expect("a link");
        fs::write(other_place.path().join("file"), "old").expect("it is writable");
        let move_file = |name: &str, may| directory.move_file(OsStr::new(name), &other, |_| may);
        assert!(move_file("link", true).is_err());
        assert!(move_file("file", false).is_err());
        let read = || fs::read_to_string(other_place.path().join("file")).expect("it is there");
        assert_eq!(read(), "old");
        move_file("file", true).expect("it may be replaced");
        assert_eq!(read(), "new");
        fs::write(place.path().join("file"), "newer").expect("it is writable");
        fs::remove_file(other_place.path().join("file")).expect("it is there");
        symlink("/etc/passwd", other_place.path().join("file")).expect("a link");
        assert!(move_file("file", true).is_err());
    }

    #[test]
    fn a_copy_has_the_holes_of_its_source_and_keeps_to_its_budget() {
        use std::os::unix::fs::MetadataExt;
        let (place, directory) = place();
        let copy = |source: &File, bytes, seconds| {
            let until = Instant::now() + std::time::Duration::from_secs(seconds);
            let mut budget = Budget { bytes, until };
            let copied = directory.copy(source, OsStr::new("copy"), 0o600, &mut budget);
            copied.map(|()| budget.bytes)
        };
        let path = place.path().join("source");
        let source = File::create(&path).expect("it is writable");
        source.write_all_at(b"start", 1 << 20).expect("it is writable");
        source.write_all_at(b"end", 3 << 30).expect("it is writable");
        let source = File::open(&path).expect("it is there");
        assert!(copy(&source, 1, 60).is_err());
        assert!(copy(&source, 1 << 20, 0).is_err());
        assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 1);
        copy(&source, 1 << 20, 60).expect("it has little data");
        let copied = File::open(place.path().join("copy")).expect("it was copied");
        let metadata = copied.metadata().expect("it is there");
        assert_eq!(metadata.len(), (3 << 30) + 3);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        let mut bytes = [0; 5];
        copied.read_exact_at(&mut bytes, 1 << 20).expect("it has them");
        assert_eq!(&bytes, b"start");
        let long = File::create(place.path().join("long")).expect("it is writable");
        long.set_len(LONGEST + 1).expect("files have holes");
        assert!(copy(&long, 1 << 20, 60).is_err());
    }

    #[test]
    fn a_link_is_neither_entered_nor_followed_nor_emptied() {
        let (place, directory) = place();
        let other = tempfile::tempdir().expect("a directory");
        fs::write(other.path().join("kept"), "kept").expect("it is writable");
        symlink(other.path(), place.path().join("link")).expect("a link");
        assert!(directory.directory("link").is_err());
        assert!(directory.make(Path::new("link/a"), 0o755).is_err());
        fs::create_dir(place.path().join("tree")).expect("it is writable");
        symlink(other.path(), place.path().join("tree/link")).expect("a link");
        fifo(&place.path().join("tree/fifo"));
        directory.remove(OsStr::new("tree")).expect("it is ours");
        directory.remove(OsStr::new("link")).expect("it is ours");
        assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 0);
        assert_eq!(fs::read_to_string(other.path().join("kept")).expect("it is there"), "kept");
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced() {
        let (place, directory) = place();
        fs::write(place.path().join("target"), "untouched").expect("it is writable");
        symlink("target", place.path().join("link")).expect("a link");
        directory.replace(OsStr::new("link"), b"new").expect("it is writable");
        let read = |name| fs::read_to_string(place.path().join(name)).expect("it is there");
        assert_eq!((read("target"), read("link")), ("untouched".to_owned(), "new".to_owned()));
        assert_eq!(directory.entries(9).expect("it is there").len(), 2);
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let (place, directory) = place();
        let name = OsString::from("d".repeat(200));
        let mut inner = directory.make(Path::new("tree"), 0o755).expect("it is writable");
        for _ in 0..3000 {
            inner = inner.make(Path::new(&name), 0o755).expect("it is writable");
        }
        inner.replace(OsStr::new("file"), b"").expect("it is writable");
        drop(inner);
        directory.remove(OsStr::new("tree")).expect("it is ours");
        assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn what_its_owner_may_not_enter_is_removed() {
        let (place, directory) = place();
        let tree = place.path().join("tree/work/inner");
        fs::create_dir_all(&tree).expect("it is writable");
        for path in [&tree, &place.path().join("tree/work")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("it is ours");
        }
        directory.remove(OsStr::new("tree")).expect("it is ours");
        assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn a_lock_is_held_once() {
        let (place, directory) = place();
        let other = Dir::open(place.path()).expect("it is there");
        assert!(directory.try_lock().expect("it can be locked"));
        assert!(!other.try_lock().expect("it can be asked for"));
        drop(directory);
        assert!(other.try_lock().expect("it can be locked"));
    }
}
