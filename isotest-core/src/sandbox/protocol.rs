//! Messages between isotest and the warden, and their socket.
//!
//! Messages are serde values over a `SOCK_SEQPACKET` pair; descriptors travel beside them
//! (SCM_RIGHTS, unix(7)). Both ends are isotest's own; no test ever holds one.

use std::ffi::{CString, OsString};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::finding::{IpcObject, Leftover, Listening};
use crate::outcome::Usage;
use crate::perturbation::{Hold, Perturbations};
use crate::plan::{GroupLimits, Interposed, Plan, ScratchMount, Service};
use crate::trace::Trace;

/// From isotest to the warden.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Build the template by these operations, bytecode (`sandbox::compile`), and hold on to the
    /// directory in which cases have their scratch on disk.
    Template(#[serde(with = "bytes")] Vec<u8>, Option<Disk>),
    /// Make the lab by these operations: once, when the template stands, and again where no case is
    /// in flight, which ends all other processes of the warden; with a directory in that of scratch on
    /// disk, or without.
    Lab(#[serde(with = "bytes")] Vec<u8>, bool),
    /// Keep this set-up under a number.
    Setup(u32, Box<Setup>),
    /// Start a case. The descriptors beside it become 0, 1 and 2; with two, 0 is `/dev/null`. Where
    /// its set-up has services, one more is where their supervisor tells of them.
    Start(Start),
    /// Ask the test of this case to end (SIGTERM). Only a reaping init passes it on.
    Terminate(u64),
    /// Kill every process of this case.
    Kill(u64),
    /// Show PID 1 of this case.
    Find(u64),
    /// Stop (SIGSTOP) every process of every case.
    Stop,
    /// Let every process of every case go on (SIGCONT).
    Continue,
    /// Say that it is there.
    Ping,
}

/// Set-up that the warden keeps for all cases that share it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    /// The program.
    pub program: CString,
    /// The name of its file, where the path above is a link that of its target.
    pub file_name: OsString,
    /// Steps between clone and the program, its arguments and its environment, bytecode
    /// (`sandbox::compile`).
    #[serde(with = "bytes")]
    pub bytecode: Vec<u8>,
    /// The uid map and the gid map that the warden writes, where the child may not.
    pub id_maps: Option<(Vec<u8>, Vec<u8>)>,
    /// The filesystem of its scratch.
    pub scratch: ScratchMount,
    /// Steps of a fork server before it is executed, compiled, and the number of cases to come;
    /// `None` without one.
    pub server: Option<(Vec<u8>, u32)>,
    /// Limits for all processes of a case together, where it gets a control group.
    pub group: GroupLimits,
    /// What the preloaded library changes for its cases.
    pub interposed: Option<Interposed>,
    /// That library cannot be loaded before the program: it is refused.
    pub unsuitable: bool,
    /// Services beside each of its cases.
    pub services: Option<Services>,
    /// Perturbations of each of its cases.
    pub perturbations: Box<Perturbations>,
}

/// The directory in which cases have their scratch on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its path on the host.
    pub path: CString,
    /// Its device and inode number: the warden takes nothing else that stands at this path.
    pub identity: (u64, u64),
}

/// Services that a service supervisor starts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Services {
    /// Services in the order of starting: at least one.
    pub list: Vec<Service>,
    /// Steps of each process before it is executed, as bytecode.
    pub restriction: Vec<u8>,
    /// Their working directory.
    pub directory: CString,
}

/// One case to start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// Its number in this run.
    pub case: u64,
    /// The number of its set-up.
    pub setup: u32,
    /// Arguments behind those of the set-up.
    pub arguments: Vec<CString>,
    /// Variables that are added to the set-up's environment.
    pub environment: Vec<CString>,
    /// Descriptor 0 becomes the controlling terminal.
    pub terminal: bool,
    /// What differs from run to run follows from it.
    pub seed: u64,
}

impl Start {
    /// The request that starts this plan, as case number `case`.
    pub fn of(plan: &Plan, case: u64) -> Start {
        Start {
            case,
            setup: 0,
            arguments: plan.arguments.clone(),
            environment: plan.environment.clone(),
            terminal: false,
            seed: plan.seed,
        }
    }
}

/// From the warden to isotest.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// The warden is up; whether the guard can tell it what a wait status hides.
    Ready {
        /// A listener is there.
        listening: bool,
    },
    /// The template stands, or the lab, or what refused it.
    Built(Option<Fault>),
    /// A case has ended. A descriptor beside it is the scratch, for write-back.
    Ended(End),
    /// The answer to `Find`. A descriptor beside it is a pidfd (pidfd_open(2)) of PID 1 of the
    /// case; there is none before it is cloned, and once it has been waited for.
    Found,
    /// The answer to `Ping`.
    Pong,
    /// The warden itself has a bug; it ends.
    Panicked(String),
}

/// Figures of the control group of a case that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CgroupUsage {
    /// The most memory that it used, in bytes: `memory.peak`, since Linux 5.19.
    pub memory_peak: Option<u64>,
    /// Number of times that its limit of memory left no way out: `oom` of `memory.events`.
    pub memory_refused: u64,
    /// Number of its processes that were killed since memory ran out, by any limit: `oom_kill` of
    /// `memory.events`.
    pub memory_kills: u64,
    /// Number of times that a new process or thread was refused: `max` of `pids.events`.
    pub forks_refused: u64,
}

/// End of a case, as reported by the kernel and the guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its number in this run.
    pub case: u64,
    /// The wait status (wait(2)).
    pub status: i32,
    /// Figures of wait4(2).
    pub usage: Usage,
    /// Set where the test was never started.
    pub fault: Option<Fault>,
    /// Report of the guard.
    pub seen: Box<GuardRecord>,
    /// Figures of its control group, where it had one.
    pub group: Option<CgroupUsage>,
    /// The last descriptor beside it is the file of its tracer.
    pub traced: bool,
    /// Its trace, once that was read.
    #[serde(skip)]
    pub trace: Option<Box<Trace>>,
    /// The calls that waited, once that was read.
    #[serde(skip)]
    pub holds: Vec<Hold>,
}

/// Facts about a case from the guard that its wait status does not have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuardRecord {
    /// Exit of the process of the test.
    pub exit: Exit,
    /// PID 1 called abort(3): the status should be the death by it.
    pub aborted: bool,
    /// Signals that PID 1 sent itself and the kernel discarded.
    pub discarded: Vec<i32>,
    /// A process of it was refused io_uring.
    pub io_uring: bool,
    /// Processes that were there when PID 1 exited.
    pub leftovers: Vec<Leftover>,
    /// The scratch was full, if PID 1 exited with a non-zero code.
    pub scratch_full: bool,
    /// Its scratch could not be handed over: too many descriptors were in flight.
    pub scratch_lost: bool,
    /// Packets that were meant for others.
    pub packets: Packets,
    /// Host names that its processes asked a name server for, each once.
    pub names: Vec<String>,
    /// Names of the threads that its process still had when it exited.
    pub threads: Vec<String>,
    /// Sockets at ports of its own choice on which it still received then.
    pub listening: Vec<Listening>,
    /// Objects of interprocess communication that were there then.
    pub objects: Vec<IpcObject>,
    /// Largest resident set of the process of the test, in bytes; `None` where it did not exit by
    /// itself.
    pub own_max_rss: Option<u64>,
    /// Resources that the test still held, if it did not exit with 0.
    pub held: Option<HeldResources>,
}

/// Number of packets of a case for other destinations than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Packets {
    /// Those that found no route.
    pub unrouted: u64,
    /// Those for a multicast group or for all, which have stayed on the loopback interface: counted
    /// where the test did not exit with 0.
    pub to_many: u64,
    /// Those for a closed port of UDP, as the name server of a case has it: over IPv6 if there is
    /// IPv6.
    pub to_no_server: u64,
}

/// Origin of the exit_group(2) of the process of a test. libtest runs the test on a thread of its
/// own and returns from `main`, so this tells the end of the harness from one that the test has
/// caused, whatever was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Exit {
    /// Not known: a signal has ended it, or nobody has heard it.
    #[default]
    Unknown,
    /// With 0, by `main`, which has returned, in the program that was started.
    Returned,
    /// By the thread that `main` runs on. Whether that is what `main` has come to, is not known.
    MainThread,
    /// Otherwise than by the end of `main`: by another thread, in a signal handler on the thread of
    /// `main`, as another program, or by exit(2) alone.
    Early,
}

/// Resources that a test holds when it fails, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeldResources {
    /// Processes and threads of the case.
    pub processes: u64,
    /// Descriptors for which its table has room: it never shrinks, and has a power of two of
    /// them (fs/file.c, alloc_fdtable). 0 where it is not known.
    pub descriptor_room: u64,
    /// The most address space it has had, in bytes. 0 where it is not known.
    pub address_space: u64,
}

/// Bytes as one value. Serde takes them for a sequence of numbers, each one by itself.
mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        <&'de [u8]>::deserialize(deserializer).map(<[u8]>::to_vec)
    }
}

/// The largest message that goes through the socket itself; a longer one goes in a memfd.
const INLINE: usize = 32 << 10;
/// The most descriptors beside one message.
const DESCRIPTORS: usize = 5;

/// One end of the socket.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Channel {
        Channel(socket)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Channel {
    /// A pair of ends, close-on-exec.
    pub fn pair() -> Result<(Channel, Channel), Errno> {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel(one), Channel(other)))
    }

    /// Sets the time that a message may wait for room: EAGAIN where it would wait longer.
    pub fn limit_waiting(&self, patience: Duration) -> Result<(), Errno> {
        use nix::sys::socket::{setsockopt, sockopt::SendTimeout};
        setsockopt(&self.0, SendTimeout, &TimeVal::seconds(patience.as_secs() as i64))
    }

    /// Sends a message with descriptors beside it. EPIPE where the other end is gone.
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Errno> {
        let bytes = postcard::to_allocvec(message).expect("plain data always serialises");
        let mut raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        if bytes.len() <= INLINE {
            return self.send_bytes(&bytes, &raw);
        }
        let file = memfd_create(c"isotest-message", MFdFlags::MFD_CLOEXEC)?;
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            written += nix::unistd::write(&file, rest)?;
        }
        raw.push(file.as_raw_fd());
        // An empty message says: the last descriptor is the message.
        self.send_bytes(&[], &raw)
    }

    fn send_bytes(&self, bytes: &[u8], descriptors: &[RawFd]) -> Result<(), Errno> {
        // A zero-length packet cannot be told from the end of the socket: lead with one byte.
        let parts = [IoSlice::new(&[0]), IoSlice::new(bytes)];
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() { &[] } else { &rights[..] };
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// True if a message, or the end, is there or comes within this time.
    pub fn has_message(&self, patience: Duration) -> bool {
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, patience).is_ok_and(|ready| ready > 0)
    }

    /// Receives a message and the descriptors beside it. EAGAIN where none is there and
    /// `wait` is false; EPIPE where the other end is gone.
    #[allow(unsafe_code)]
    pub fn receive<T: DeserializeOwned>(&self, wait: bool) -> Result<(T, Vec<OwnedFd>), Errno> {
        let mut buffer = vec![0; INLINE + 1];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS]);
        let wait = if wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | wait;
        let received = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                Err(Errno::EINTR) => {}
                other => break other?,
            }
        };
        let mut descriptors = Vec::new();
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = message {
                // SAFETY: the kernel has just put these descriptors into this process.
                descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let length = received.bytes;
        if length == 0 {
            return Err(Errno::EPIPE);
        }
        let bytes = if length == 1 {
            read_whole(&descriptors.pop().ok_or(Errno::EBADMSG)?)?
        } else {
            buffer.get(1..length).ok_or(Errno::EBADMSG)?.to_vec()
        };
        let message = postcard::from_bytes(&bytes).map_err(|_| Errno::EBADMSG)?;
        Ok((message, descriptors))
    }
}

/// Reads a memfd from its start.
fn read_whole(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1 << 16];
    loop {
        let offset = i64::try_from(bytes.len()).map_err(|_| Errno::EFBIG)?;
        match nix::sys::uio::pread(file, &mut buffer, offset)? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
}
