//! The warden's side of fork servers: starts one for a set-up, sends it orders, hears its answers.
//!
//! A server is a convenience. Where it cannot be had, cases are executed.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicU32;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, setsockopt,
    socketpair, sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::child::bytecode::{Bytecode, Values};
use super::child::kernel::{self, Cloning};
use super::child::order::{Answer, HEADER, LARGEST, Order, PING, SETUP, SLOTS, SOCKET};
use super::sys;

/// A fork server.
#[derive(Debug)]
pub struct Server {
    socket: OwnedFd,
    process: i32,
    /// Number of strings of its own, arguments and variables, that each of its cases has.
    strings: [usize; 2],
    ready: bool,
}

/// Parts of a server.
pub struct ServerSpec<'a> {
    /// The program.
    pub program: &'a CStr,
    /// Path of the library that makes a fork server of it.
    pub library: &'a CStr,
    /// The arguments and the environment of the first case, those of the set-up first.
    pub arguments: &'a [&'a CStr],
    pub environment: &'a [&'a CStr],
    /// Number of each that are the case's own.
    pub strings: [usize; 2],
    /// The set-up of its cases, and what is done to the server itself.
    pub setup: &'a [u8],
    pub restriction: &'a [u8],
    /// The memory of the slots.
    pub slots: BorrowedFd<'a>,
    /// CLONE_NEW* flags: those of its cases that it needs for itself, since what runs before the
    /// initialisers of a program runs in it.
    pub namespaces: u64,
}

impl Server {
    /// Starts one. Its first answer says that it is ready; where it has none it ends.
    pub fn start(source: &ServerSpec<'_>) -> Result<Server, Errno> {
        let variable = replaceable(source.environment).ok_or(Errno::EINVAL)?;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        // Whoever takes no orders is no server.
        setsockopt(&ours, SendTimeout, &TimeVal::seconds(1))?;
        let setup = memfd_create(c"isotest-setup", MFdFlags::MFD_CLOEXEC)?;
        let mut setup = std::fs::File::from(setup);
        setup.write_all(source.setup).map_err(|_| Errno::EIO)?;
        // Above those that they become.
        let above = |descriptor: BorrowedFd<'_>| {
            fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(SETUP as i32 + 1))
        };
        let given = [theirs.as_fd(), source.slots, setup.as_fd()].map(above);
        let preload = [b"LD_PRELOAD=", source.library.to_bytes()].concat();
        let preload = CString::new(preload).map_err(|_| Errno::EINVAL)?;
        // No test has such a name, should this program ever reach its main function.
        let room = CString::new([b'x'; LARGEST]).map_err(|_| Errno::EINVAL)?;
        let shared = source.arguments.len() - source.strings[0];
        let argument = |(index, text): (usize, &&CStr)| match index.checked_sub(shared) {
            None => text.as_ptr(),
            Some(_) => room.as_ptr(),
        };
        let arguments: Vec<*const c_char> =
            source.arguments.iter().enumerate().map(argument).chain([ptr::null()]).collect();
        let variables =
            source.environment.iter().enumerate().map(|(index, text)| {
                if index == variable { preload.as_ptr() } else { text.as_ptr() }
            });
        let environment: Vec<*const c_char> = variables.chain([ptr::null()]).collect();
        let cloning = Cloning {
            flags: source.namespaces,
            exit_signal: libc::SIGCHLD as u64,
            ..Cloning::default()
        };
        // SAFETY: the warden has one thread, and the child does nothing but `become_server`.
        let cloned = unsafe { cloning.perform() };
        if cloned == Ok(None) {
            let given = given.map(|descriptor| descriptor.unwrap_or(-1));
            // SAFETY: both arrays were made null-terminated, of C strings that live in this
            // process.
            unsafe { become_server(source, given, arguments.as_ptr(), environment.as_ptr()) }
        }
        for descriptor in given.into_iter().flatten() {
            let _ = nix::unistd::close(descriptor);
        }
        let process = cloned.map_err(sys::errno)?.ok_or(Errno::ECHILD)?;
        Ok(Server { socket: ours, process, strings: source.strings, ready: false })
    }

    /// Its id.
    pub fn process(&self) -> i32 {
        self.process
    }

    /// True if it waits for orders.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// True if a case with so many arguments and variables of its own can be ordered.
    pub fn suits(&self, arguments: &[CString], environment: &[CString]) -> bool {
        let strings = arguments.iter().chain(environment);
        let length: usize = strings.map(|text| text.as_bytes_with_nul().len()).sum();
        [arguments.len(), environment.len()] == self.strings && HEADER + length <= LARGEST
    }

    /// Orders a case, with the descriptors that become 1 and 2, and its scratch.
    pub fn order(
        &self,
        slot: usize,
        [arguments, environment]: [&[CString]; 2],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Errno> {
        let strings = arguments.iter().chain(environment);
        let strings: Vec<u8> = strings.flat_map(|text| text.as_bytes_with_nul()).copied().collect();
        let (slot, arguments) = (slot as u32, arguments.len() as u32);
        let order = Order { slot, arguments, strings: &strings };
        let header = order.header();
        let parts = [IoSlice::new(&header), IoSlice::new(order.strings)];
        let raw: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), &parts, &rights, flags, None).map(drop)
    }

    /// Asks for an answer that comes when all orders before have been carried out.
    pub fn ping(&self) {
        let parts = [IoSlice::new(&PING)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        let _ = sendmsg::<()>(self.socket.as_raw_fd(), &parts, &[], flags, None);
    }

    /// The next answer; `None` where there is none yet. An error where the server has ended.
    pub fn answer(&mut self) -> Result<Option<Answer>, Errno> {
        let mut packet = [0; 8];
        match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno),
            Ok(0) => Err(Errno::EPIPE),
            Ok(length) => {
                let bytes = packet.get(..length).unwrap_or_default();
                let answer = Answer::read(bytes).ok_or(Errno::EBADMSG)?;
                self.ready |= answer == Answer::Ready;
                Ok(Some(answer))
            }
        }
    }
}

impl AsFd for Server {
    /// Readable when there is an answer.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The variable in whose place a server has `LD_PRELOAD`, so that it has as many as its cases: the
/// last one that the dynamic loader does not read (ld.so(8)). `None` where there is no such one, or
/// where something else is preloaded.
fn replaceable(environment: &[&CStr]) -> Option<usize> {
    let is = |text: &CStr, start: &[u8]| text.to_bytes().starts_with(start);
    let taken = |text: &&CStr| is(text, b"LD_PRELOAD=") || is(text, b"LD_AUDIT=");
    let read = |text: &CStr| is(text, b"LD_") || is(text, b"GLIBC_TUNABLES=");
    let free = environment.iter().rposition(|text| !read(text));
    free.filter(|_| !environment.iter().any(taken))
}

/// Makes the child of the warden a server. Nothing is allocated here.
///
/// # Safety
/// `arguments` and `environment` are null-terminated arrays of C strings.
unsafe fn become_server(
    source: &ServerSpec<'_>,
    given: [i32; 3],
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> ! {
    kernel::block_signals(0);
    let unused = AtomicU32::new(0);
    let values = Values { step: &unused, mapped: &unused, scratch: -1, user: -1, slot: 0 };
    // SAFETY: this process is to be restricted.
    let restricted = unsafe { Bytecode(source.restriction).run(&values) };
    let places = [SOCKET, SLOTS, SETUP];
    let mut placed =
        given.iter().zip(places).map(|(from, to)| kernel::place_descriptor(*from, to as i32));
    if restricted.is_ok() && placed.all(|placed| placed.is_ok()) {
        // SAFETY: by this function's contract.
        unsafe { kernel::execute(source.program, arguments, environment) };
    }
    kernel::exit(1)
}
