//! System calls without a C library.
//!
//! Code between clone and the program may use nothing else, and the fork server runs before libc is
//! initialised. Numbers are those of the kernel's tables (syscall(2)).

use core::arch::asm;
use core::ffi::{CStr, c_char};

/// An errno(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// errno.h.
pub const EINTR: Errno = Errno(4);
pub const EIO: Errno = Errno(5);
pub const EINVAL: Errno = Errno(22);

/// The numbers of the calls that are made here by name. All others come as data.
#[cfg(target_arch = "x86_64")]
pub mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const LSEEK: usize = 8;
    pub const MMAP: usize = 9;
    pub const MUNMAP: usize = 11;
    pub const BRK: usize = 12;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const SENDTO: usize = 44;
    pub const SENDMSG: usize = 46;
    pub const RECVMSG: usize = 47;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const EXIT: usize = 60;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const FCNTL: usize = 72;
    pub const UMASK: usize = 95;
    pub const PTRACE: usize = 101;
    pub const SETSID: usize = 112;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const SET_ROBUST_LIST: usize = 273;
    pub const GET_ROBUST_LIST: usize = 274;
    pub const DUP3: usize = 292;
    pub const SECCOMP: usize = 317;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
}

/// The numbers of the calls that are made here by name. All others come as data.
#[cfg(target_arch = "aarch64")]
pub mod number {
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const LSEEK: usize = 62;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const EXIT: usize = 93;
    pub const EXIT_GROUP: usize = 94;
    pub const SET_ROBUST_LIST: usize = 99;
    pub const GET_ROBUST_LIST: usize = 100;
    pub const PTRACE: usize = 117;
    pub const KILL: usize = 129;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const SETSID: usize = 157;
    pub const UMASK: usize = 166;
    pub const PRCTL: usize = 167;
    pub const SENDTO: usize = 206;
    pub const SENDMSG: usize = 211;
    pub const RECVMSG: usize = 212;
    pub const BRK: usize = 214;
    pub const MUNMAP: usize = 215;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const MMAP: usize = 222;
    pub const WAIT4: usize = 260;
    pub const SECCOMP: usize = 277;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
}

/// Makes a system call.
///
/// # Safety
/// That of the call: pointers among the arguments are valid for what it does with them.
#[inline]
pub unsafe fn call(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel keeps every register but rax, rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel keeps every register but x0.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack)
        );
    }
    // The last page of addresses stands for errors.
    if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result as usize) }
}

/// Arguments of clone3(2), as `struct clone_args` of linux/sched.h up to Linux 5.7.
#[derive(Default)]
#[repr(C)]
pub struct Cloning {
    /// CLONE_*.
    pub flags: u64,
    pub pidfd: u64,
    /// Address in the child of its own thread id: written when it starts, cleared when it ends.
    pub child_tid: usize,
    /// Address in the parent to which the child's id is written before the child runs.
    pub parent_tid: usize,
    /// Signal to the parent.
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    /// The group that the child begins in, cgroups(7); 0: the parent's.
    pub cgroup: u64,
}

/// linux/sched.h.
const CLONE_PARENT_SETTID: u64 = 0x0010_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x0020_0000;
const CLONE_CHILD_SETTID: u64 = 0x0100_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const ENOSYS: Errno = Errno(38);

impl Cloning {
    /// Clones without a stack of its own, as fork(2) does: `None` in the child, whose signal
    /// dispositions are the default ones. Where clone3 is refused with ENOSYS, as container seccomp
    /// profiles do, clone(2) is used, and the dispositions are the parent's.
    ///
    /// # Safety
    /// The child runs on a copy of one thread. Where the caller has others, the child may use
    /// nothing that takes a lock.
    pub unsafe fn perform(mut self) -> Result<Option<i32>, Errno> {
        if self.parent_tid != 0 {
            self.flags |= CLONE_PARENT_SETTID;
        }
        if self.child_tid != 0 {
            self.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
        }
        let plain = self.flags | self.exit_signal;
        self.flags |= CLONE_CLEAR_SIGHAND;
        if self.cgroup != 0 {
            self.flags |= CLONE_INTO_CGROUP;
        }
        let request = (&raw const self) as usize;
        // SAFETY: by this function's contract; `request` has the given size.
        let pid = match unsafe { call(number::CLONE3, [request, size_of::<Cloning>(), 0, 0, 0, 0]) }
        {
            // clone(2) knows no groups.
            Err(ENOSYS) if self.cgroup == 0 => {
                #[cfg(target_arch = "x86_64")]
                let arguments = [plain as usize, 0, self.parent_tid, self.child_tid, 0, 0];
                #[cfg(target_arch = "aarch64")]
                let arguments = [plain as usize, 0, self.parent_tid, 0, self.child_tid, 0];
                // SAFETY: as above.
                unsafe { call(number::CLONE, arguments) }?
            }
            other => other?,
        };
        Ok((pid != 0).then_some(pid as i32))
    }
}

/// A call that takes numbers only.
pub fn plain(number: usize, arguments: [usize; 5]) -> Result<usize, Errno> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: no argument is a pointer.
    unsafe { call(number, [a, b, c, d, e, 0]) }
}

/// Blocks this set of signals and no other: rt_sigprocmask(2).
pub fn block_signals(set: u64) {
    const SIG_SETMASK: usize = 2;
    let address = (&raw const set) as usize;
    // SAFETY: the kernel's signal set has eight bytes; a null old set is allowed.
    let _ = unsafe { call(number::RT_SIGPROCMASK, [SIG_SETMASK, address, 0, 8, 0, 0]) };
}

/// Takes the next of these signals, which are blocked: rt_sigtimedwait(2).
pub fn wait_for_signal(set: u64) -> Result<usize, Errno> {
    let address = (&raw const set) as usize;
    // SAFETY: the kernel's signal set has eight bytes; null stands for no siginfo and no limit.
    unsafe { call(number::RT_SIGTIMEDWAIT, [address, 0, 0, 8, 0, 0]) }
}

/// wait4(2) with WNOHANG for any child: its id, 0 where none has changed, and its wait status.
pub fn wait_for_child() -> Result<(i32, i32), Errno> {
    const WNOHANG: usize = 1;
    const WALL: usize = 0x4000_0000;
    let mut status = 0_i32;
    let address = (&raw mut status) as usize;
    // SAFETY: `status` is valid to write to; a null rusage is allowed.
    let pid = unsafe { call(number::WAIT4, [usize::MAX, address, WNOHANG | WALL, 0, 0, 0]) }?;
    Ok((pid as i32, status))
}

/// kill(2). A process that is gone needs no signal.
pub fn kill(pid: i32, signal: i32) {
    let _ = plain(number::KILL, [pid as usize, signal as usize, 0, 0, 0]);
}

/// ptrace(2) PTRACE_DETACH with `signal` delivered. It fails where the tracee has died, which the
/// next wait reports.
pub fn detach_tracee(pid: i32, signal: i32) {
    const PTRACE_DETACH: usize = 17;
    let _ = plain(number::PTRACE, [PTRACE_DETACH, pid as usize, 0, signal as usize, 0]);
}

/// setsid(2).
pub fn new_session() -> Result<usize, Errno> {
    plain(number::SETSID, [0; 5])
}

/// prctl(2) PR_GET_DUMPABLE.
pub fn dumpable() -> Result<usize, Errno> {
    const PR_GET_DUMPABLE: usize = 3;
    plain(number::PRCTL, [PR_GET_DUMPABLE, 0, 0, 0, 0])
}

/// prctl(2) PR_SET_DUMPABLE; with 0, ptrace(2) of this process is refused to its own user.
pub fn set_dumpable(dumpable: usize) -> Result<usize, Errno> {
    const PR_SET_DUMPABLE: usize = 4;
    plain(number::PRCTL, [PR_SET_DUMPABLE, dumpable, 0, 0, 0])
}

/// ioctl_tty(2) TIOCSCTTY: makes descriptor 0 the controlling terminal of this session.
pub fn take_terminal() -> Result<(), Errno> {
    const TIOCSCTTY: usize = 0x540E;
    plain(number::IOCTL, [0, TIOCSCTTY, 0, 0, 0]).map(drop)
}

/// Makes a pseudo-terminal of the devpts that is mounted on `/dev/pts`, pts(4). Returns the ends
/// for who is outside and for who is inside.
pub fn open_terminal() -> Result<(i32, i32), Errno> {
    const AT_FDCWD: usize = -100_isize as usize;
    const O_RDWR: usize = 2;
    const O_NOCTTY: usize = 0o400;
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTPEER: usize = 0x5441;
    let flags = O_RDWR | O_NOCTTY;
    let path = c"/dev/ptmx".as_ptr() as usize;
    // SAFETY: openat(2) reads a C string that lives for ever.
    let outside = unsafe { call(number::OPENAT, [AT_FDCWD, path, flags, 0, 0, 0]) }?;
    let unlocked = 0_i32;
    let address = &raw const unlocked as usize;
    // SAFETY: TIOCSPTLCK reads an int.
    unsafe { call(number::IOCTL, [outside, TIOCSPTLCK, address, 0, 0, 0]) }?;
    let inside = plain(number::IOCTL, [outside, TIOCGPTPEER, flags, 0, 0])?;
    Ok((outside as i32, inside as i32))
}

/// Hands a descriptor over a socket, and waits for one byte in return.
pub fn hand_over(socket: i32, descriptor: i32) -> Result<(), Errno> {
    send_descriptor(socket, descriptor)?;
    let mut byte = 0_u8;
    let (socket, address) = (socket as usize, &raw mut byte as usize);
    // SAFETY: read(2) writes one byte to this frame.
    match unsafe { call(number::READ, [socket, address, 1, 0, 0, 0]) }? {
        0 => Err(EIO),
        _ => Ok(()),
    }
}

/// Sends a descriptor over a socket, with one byte (unix(7), SCM_RIGHTS).
pub fn send_descriptor(socket: i32, descriptor: i32) -> Result<(), Errno> {
    /// A header and one descriptor (cmsg(3)).
    #[repr(C, align(8))]
    struct Control(usize, i32, i32, i32);
    /// `struct msghdr`, `struct iovec`.
    #[repr(C)]
    struct Message([usize; 2], *const [usize; 2], usize, *const Control, usize, usize);
    const SOL_SOCKET: i32 = 1;
    const SCM_RIGHTS: i32 = 1;
    let byte = 0_u8;
    let parts = [&raw const byte as usize, 1];
    let length = size_of::<usize>() + 3 * size_of::<i32>();
    let control = Control(length, SOL_SOCKET, SCM_RIGHTS, descriptor);
    let message = Message([0; 2], &raw const parts, 1, &raw const control, size_of::<Control>(), 0);
    let (socket, message) = (socket as usize, &raw const message as usize);
    // SAFETY: all that the message points to lives in this frame.
    unsafe { call(number::SENDMSG, [socket, message, 0, 0, 0, 0]) }.map(drop)
}

/// Duplicates `from` onto descriptor `to`, without close-on-exec: dup3(2), or fcntl(2) where the
/// two are the same.
pub fn place_descriptor(from: i32, to: i32) -> Result<(), Errno> {
    const F_SETFD: usize = 2;
    let (from, to) = (from as usize, to as usize);
    if from == to {
        return plain(number::FCNTL, [to, F_SETFD, 0, 0, 0]).map(drop);
    }
    plain(number::DUP3, [from, to, 0, 0, 0]).map(drop)
}

/// umask(2).
pub fn set_umask(mask: u32) {
    let _ = plain(number::UMASK, [mask as usize, 0, 0, 0, 0]);
}

/// close_range(2) from descriptor `first` on: at once, or by exec (CLOSE_RANGE_CLOEXEC).
pub fn close_from(first: u32, on_exec: bool) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    let flags = if on_exec { CLOSE_RANGE_CLOEXEC } else { 0 };
    plain(number::CLOSE_RANGE, [first as usize, u32::MAX as usize, flags, 0, 0]).map(drop)
}

/// seccomp(2): installs a filter, and returns the descriptor at which its notifications are received.
///
/// # Safety
/// `instructions` is the address of `count` instructions of classic BPF.
pub unsafe fn install_listener(count: u16, instructions: usize) -> Result<i32, Errno> {
    /// `struct sock_fprog` of linux/filter.h.
    #[repr(C)]
    struct Program(u16, usize);
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    const NEW_LISTENER: usize = 1 << 3;
    /// No signal but a deadly one ends the wait for an answer: the call is not seen twice. Since
    /// Linux 5.19.
    const WAIT_KILLABLE_RECV: usize = 1 << 5;
    let program = Program(count, instructions);
    let address = &raw const program as usize;
    let install = |flags| {
        // SAFETY: by this function's contract; the program lives until the call returns.
        unsafe { call(number::SECCOMP, [SECCOMP_SET_MODE_FILTER, flags, address, 0, 0, 0]) }
    };
    match install(NEW_LISTENER | WAIT_KILLABLE_RECV) {
        Err(EINVAL) => install(NEW_LISTENER),
        other => other,
    }
    .map(|descriptor| descriptor as i32)
}

/// A sixth argument of read(2) and write(2), which have three: by it a filter lets the calls pass that a
/// tracer cannot hear of yet.
pub const UNHEARD: u32 = 0x1507_5E57;

/// Writes a number to a socket, waits for one in return, and closes the socket.
pub fn exchange(socket: i32, mut word: i32) -> Result<i32, Errno> {
    let (socket, address) = (socket as usize, &raw mut word as usize);
    let (length, unheard) = (size_of::<i32>(), UNHEARD as usize);
    // SAFETY: write(2) reads four bytes of this frame.
    unsafe { call(number::WRITE, [socket, address, length, 0, 0, unheard]) }?;
    // SAFETY: read(2) writes four bytes of this frame at the most.
    let read = unsafe { call(number::READ, [socket, address, length, 0, 0, unheard]) }?;
    plain(number::CLOSE, [socket, 0, 0, 0, 0])?;
    if read == length { Ok(word) } else { Err(EIO) }
}

/// execve(2). Returns only where it fails.
///
/// # Safety
/// `arguments` and `environment` are null-terminated arrays of C strings.
pub unsafe fn execute(
    program: &CStr,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> Errno {
    let arguments = [program.as_ptr() as usize, arguments as usize, environment as usize, 0, 0, 0];
    // SAFETY: by this function's contract.
    match unsafe { call(number::EXECVE, arguments) } {
        Err(errno) => errno,
        Ok(_) => EINVAL,
    }
}

/// exit(2) of the calling thread alone. The seccomp filter of the warden reports `exit_group(2)`
/// to the warden itself, which therefore must not use it.
pub fn exit(code: i32) -> ! {
    loop {
        let _ = plain(number::EXIT, [code as usize, 0, 0, 0, 0]);
    }
}

/// exit_group(2).
pub fn exit_group(code: i32) -> ! {
    loop {
        let _ = plain(number::EXIT_GROUP, [code as usize, 0, 0, 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn numbers_are_those_of_libc() {
        let numbers = [
            (number::READ, libc::SYS_read),
            (number::WRITE, libc::SYS_write),
            (number::SECCOMP, libc::SYS_seccomp),
            (number::CLOSE, libc::SYS_close),
            (number::LSEEK, libc::SYS_lseek),
            (number::MMAP, libc::SYS_mmap),
            (number::MUNMAP, libc::SYS_munmap),
            (number::BRK, libc::SYS_brk),
            (number::RT_SIGPROCMASK, libc::SYS_rt_sigprocmask),
            (number::IOCTL, libc::SYS_ioctl),
            (number::SENDTO, libc::SYS_sendto),
            (number::SENDMSG, libc::SYS_sendmsg),
            (number::RECVMSG, libc::SYS_recvmsg),
            (number::CLONE, libc::SYS_clone),
            (number::EXECVE, libc::SYS_execve),
            (number::EXIT, libc::SYS_exit),
            (number::WAIT4, libc::SYS_wait4),
            (number::KILL, libc::SYS_kill),
            (number::FCNTL, libc::SYS_fcntl),
            (number::UMASK, libc::SYS_umask),
            (number::PTRACE, libc::SYS_ptrace),
            (number::SETSID, libc::SYS_setsid),
            (number::RT_SIGTIMEDWAIT, libc::SYS_rt_sigtimedwait),
            (number::PRCTL, libc::SYS_prctl),
            (number::EXIT_GROUP, libc::SYS_exit_group),
            (number::OPENAT, libc::SYS_openat),
            (number::SET_ROBUST_LIST, libc::SYS_set_robust_list),
            (number::GET_ROBUST_LIST, libc::SYS_get_robust_list),
            (number::DUP3, libc::SYS_dup3),
            (number::CLONE3, libc::SYS_clone3),
            (number::CLOSE_RANGE, libc::SYS_close_range),
        ];
        for (own, known) in numbers {
            assert_eq!(own as i64, known);
        }
        for (own, known) in [(EINTR, libc::EINTR), (EIO, libc::EIO), (EINVAL, libc::EINVAL)] {
            assert_eq!(own.0, known);
        }
        assert_eq!(ENOSYS.0, libc::ENOSYS);
    }

    #[test]
    fn a_cloning_is_what_clone3_takes() {
        assert_eq!(size_of::<Cloning>(), size_of::<libc::clone_args>());
        let places = [
            (offset_of!(Cloning, flags), offset_of!(libc::clone_args, flags)),
            (offset_of!(Cloning, pidfd), offset_of!(libc::clone_args, pidfd)),
            (offset_of!(Cloning, child_tid), offset_of!(libc::clone_args, child_tid)),
            (offset_of!(Cloning, parent_tid), offset_of!(libc::clone_args, parent_tid)),
            (offset_of!(Cloning, exit_signal), offset_of!(libc::clone_args, exit_signal)),
            (offset_of!(Cloning, stack), offset_of!(libc::clone_args, stack)),
            (offset_of!(Cloning, stack_size), offset_of!(libc::clone_args, stack_size)),
            (offset_of!(Cloning, tls), offset_of!(libc::clone_args, tls)),
            (offset_of!(Cloning, set_tid), offset_of!(libc::clone_args, set_tid)),
            (offset_of!(Cloning, set_tid_size), offset_of!(libc::clone_args, set_tid_size)),
            (offset_of!(Cloning, cgroup), offset_of!(libc::clone_args, cgroup)),
        ];
        for (own, known) in places {
            assert_eq!(own, known);
        }
        let flags = [
            (CLONE_PARENT_SETTID, libc::CLONE_PARENT_SETTID as u64),
            (CLONE_CHILD_CLEARTID, libc::CLONE_CHILD_CLEARTID as u64),
            (CLONE_CHILD_SETTID, libc::CLONE_CHILD_SETTID as u64),
        ];
        for (own, known) in flags {
            assert_eq!(own, known);
        }
    }
}
