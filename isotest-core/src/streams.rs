//! The caller's standard streams, before a program in a sandbox gets them.
//!
//! A program does more with a descriptor than read and write: from a directory it opens what lies
//! below (openat(2)), one of O_PATH it opens anew in `/proc/self/fd`, one of a namespace it enters.
//! So a program only gets descriptors of the kinds that a stream is made of.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, fstatfs, major, minor};
use rustix::termios::isatty;

/// `NSFS_MAGIC` of linux/magic.h.
const NAMESPACES: i64 = 0x6E73_6673;
/// `PID_FS_MAGIC` of linux/magic.h.
const PROCESSES: i64 = 0x5049_4446;

/// Major number of `/dev/null` and its like, null(4).
const MEMORY_DEVICES: u32 = 1;
/// `null`, `zero`, `full`, `random`, `urandom`, `kmsg` among them; not `mem`, `kmem` and `port`.
const HARMLESS: [u32; 6] = [3, 5, 7, 8, 9, 11];

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardStream {
    /// Descriptor 0.
    Input,
    /// Descriptor 1.
    Output,
    /// Descriptor 2.
    Error,
}

/// Kind of a file that cannot be a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Directory,
    BlockDevice,
    Device,
    Path,
    Handle,
}

/// A standard stream that would lead out of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeakingStream {
    stream: StandardStream,
    kind: FileKind,
}

/// Reason why a program was not started in the foreground, or why its end is not known.
#[derive(Debug)]
pub enum StreamError {
    /// It would have had this stream.
    Leaks(LeakingStream),
    /// A system call failed.
    System(io::Error),
}

/// Refuses descriptors 0, 1 and 2 to be where one of them is no stream.
pub fn check(streams: [BorrowedFd<'_>; 3]) -> Result<(), StreamError> {
    let names = [StandardStream::Input, StandardStream::Output, StandardStream::Error];
    for (stream, descriptor) in names.into_iter().zip(streams) {
        if let Some(kind) = kind(descriptor)? {
            return Err(StreamError::Leaks(LeakingStream { stream, kind }));
        }
    }
    Ok(())
}

/// `None`: a stream.
fn kind(descriptor: BorrowedFd<'_>) -> io::Result<Option<FileKind>> {
    if fcntl_getfl(descriptor)?.contains(OFlags::PATH) {
        return Ok(Some(FileKind::Path));
    }
    let stat = fstat(descriptor)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => None,
        FileType::RegularFile => {
            let is_handle = [NAMESPACES, PROCESSES].contains(&fstatfs(descriptor)?.f_type);
            is_handle.then_some(FileKind::Handle)
        }
        FileType::CharacterDevice => {
            let number = (major(stat.st_rdev), minor(stat.st_rdev));
            let is_harmless = number.0 == MEMORY_DEVICES && HARMLESS.contains(&number.1);
            (!is_harmless && !isatty(descriptor)).then_some(FileKind::Device)
        }
        FileType::Directory => Some(FileKind::Directory),
        FileType::BlockDevice => Some(FileKind::BlockDevice),
        FileType::Symlink | FileType::Unknown => Some(FileKind::Handle),
    })
}

impl fmt::Display for LeakingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stream, instead) = match self.stream {
            StandardStream::Input => ("standard input", "`< /dev/null`"),
            StandardStream::Output => ("standard output", "`> FILE`"),
            StandardStream::Error => ("standard error", "`2> FILE`"),
        };
        let kind = match self.kind {
            FileKind::Directory => "a directory, from which all below it could be opened",
            FileKind::BlockDevice => "a block device",
            FileKind::Device => "a device, and neither a terminal nor one like /dev/null",
            FileKind::Path => "a path (O_PATH), which could be opened",
            FileKind::Handle => "a handle of a host object, not a file",
        };
        write!(
            f,
            "cannot hand {stream} to a program in a sandbox: it is {kind}\nhint: give it {instead}, or a \
             pipe"
        )
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Leaks(stream) => write!(f, "{stream}"),
            StreamError::System(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for StreamError {}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        StreamError::System(error)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use rustix::fs::{Mode, open};

    use super::*;

    fn of(descriptor: &impl AsFd) -> Option<FileKind> {
        kind(descriptor.as_fd()).expect("it can be looked at")
    }

    fn opened(path: &str, flags: OFlags) -> OwnedFd {
        open(path, flags | OFlags::CLOEXEC, Mode::empty()).expect("it is there")
    }

    #[test]
    fn what_streams_are_made_of_may_pass() {
        let (reader, writer) = io::pipe().expect("there are descriptors");
        let (socket, _peer) = UnixStream::pair().expect("there are descriptors");
        let program = std::env::current_exe().and_then(File::open).expect("it is readable");
        let memory = rustix::fs::memfd_create("m", rustix::fs::MemfdFlags::CLOEXEC);
        let memory = memory.expect("the kernel has it");
        assert_eq!([of(&reader), of(&writer), of(&socket)], [None; 3]);
        assert_eq!([of(&program), of(&memory)], [None; 2]);
        for device in ["/dev/null", "/dev/zero", "/dev/urandom"] {
            assert_eq!(of(&opened(device, OFlags::RDONLY)), None, "{device}");
        }
        let terminal = rustix::pty::openpt(rustix::pty::OpenptFlags::NOCTTY);
        assert_eq!(of(&terminal.expect("there are terminals")), None);
    }

    #[test]
    fn what_leads_elsewhere_may_not() {
        let path = |path| of(&opened(path, OFlags::PATH));
        assert_eq!(of(&opened("/", OFlags::RDONLY)), Some(FileKind::Directory));
        assert_eq!(
            [path("/"), path("/dev/null"), path("/proc/self/exe")],
            [Some(FileKind::Path); 3]
        );
        let namespace = opened("/proc/self/ns/mnt", OFlags::RDONLY);
        assert_eq!(of(&namespace), Some(FileKind::Handle));
        let process = rustix::process::getpid();
        let process = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty());
        assert_eq!(of(&process.expect("the kernel has it")), Some(FileKind::Handle));
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC);
        assert_eq!(of(&event.expect("the kernel has it")), Some(FileKind::Handle));
    }
}
