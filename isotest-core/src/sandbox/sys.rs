//! The system calls that set up a sandbox, one thin wrapper each.
//!
//! The only module beside `child` and [`warden`](super::warden) that may be
//! unsafe. Wrappers take descriptors, C strings and typed flags, return [`Errno`], allocate
//! nothing and take no lock, so that all of them may be used between clone and exec. Each names
//! its manual page.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

/// Turns the result of a libc call into a `Result`.
fn check(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

/// Turns the result of `syscall(2)` into a `Result`.
fn check_long(result: c_long) -> Result<c_long, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

/// mount(2).
pub fn mount(
    source: &CStr,
    target: &CStr,
    fstype: &CStr,
    flags: u64,
    options: Option<&CStr>,
) -> Result<(), Errno> {
    let options = options.map_or(ptr::null(), |text| text.as_ptr().cast::<c_void>());
    // SAFETY: every pointer is a C string that outlives the call, or null for no options.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, options) })
        .map(drop)
}

/// mount(2) with MS_BIND, and MS_REC where `recursive`.
pub fn bind(source: &CStr, target: &CStr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
    mount(source, target, c"", flags, None)
}

/// open_tree(2) of what openat2(2) finds without following any symbolic link, then move_mount(2):
/// whoever can write to a directory on the way cannot make it lead elsewhere meanwhile.
pub fn bind_exact(source: &CStr, target: &CStr, recursive: bool) -> Result<(), Errno> {
    const OPEN_TREE_CLONE: c_int = 1;
    // SAFETY: an all-zero open_how is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: `source` is a C string and `how` an open_how of the size that is told.
    let found = check_long(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            source.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    })?;
    // SAFETY: the descriptor was just opened and is owned by nobody else.
    let found = unsafe { OwnedFd::from_raw_fd(found as RawFd) };
    let below = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | below;
    // SAFETY: the path is an empty C string and `found` an open descriptor.
    let tree = check_long(unsafe {
        libc::syscall(libc::SYS_open_tree, found.as_raw_fd(), c"".as_ptr(), flags)
    })?;
    // SAFETY: the descriptor was just opened and is owned by nobody else.
    let tree = unsafe { OwnedFd::from_raw_fd(tree as RawFd) };
    attach_mount(tree.as_fd(), target)
}

/// mount_setattr(2): sets `attributes` (MOUNT_ATTR_*) and `propagation` (MS_PRIVATE, MS_SLAVE,
/// MS_UNBINDABLE or 0 for no change) on the mount at `path`, and below it where `recursive`.
pub fn set_mount_attributes(
    path: &CStr,
    recursive: bool,
    attributes: u64,
    propagation: u64,
) -> Result<(), Errno> {
    let request = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation, userns_fd: 0 };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `path` is a C string and `request` a mount_attr of the size that is told.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const request,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// move_mount(2): attaches the detached mount `tree` at `target`.
pub fn attach_mount(tree: BorrowedFd<'_>, target: &CStr) -> Result<(), Errno> {
    const MOVE_MOUNT_F_EMPTY_PATH: c_int = 0x4;
    // SAFETY: both paths are C strings and `tree` is an open descriptor.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// pivot_root(2).
pub fn pivot_root(new_root: &CStr, put_old: &CStr) -> Result<(), Errno> {
    // SAFETY: both arguments are C strings that outlive the call.
    check_long(unsafe { libc::syscall(libc::SYS_pivot_root, new_root.as_ptr(), put_old.as_ptr()) })
        .map(drop)
}

/// umount2(2) with MNT_DETACH.
pub fn detach(path: &CStr) -> Result<(), Errno> {
    // SAFETY: `path` is a C string that outlives the call.
    check(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// mkdir(2).
pub fn make_directory(path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: `path` is a C string that outlives the call.
    check(unsafe { libc::mkdir(path.as_ptr(), mode) }).map(drop)
}

/// symlink(2).
pub fn make_symlink(target: &CStr, path: &CStr) -> Result<(), Errno> {
    // SAFETY: both arguments are C strings that outlive the call.
    check(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }).map(drop)
}

/// mknod(2) of the character device 0:0, which overlayfs takes for a deleted file.
pub fn make_whiteout(path: &CStr) -> Result<(), Errno> {
    // SAFETY: `path` is a C string that outlives the call.
    check(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR, 0) }).map(drop)
}

/// chdir(2).
pub fn change_directory(path: &CStr) -> Result<(), Errno> {
    // SAFETY: `path` is a C string that outlives the call.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// open(2), write(2), close(2): writes `data` in one write. `create` is the mode of a new file;
/// without it the file must exist.
pub fn write_file(path: &CStr, data: &[u8], create: Option<u32>) -> Result<(), Errno> {
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    let (flags, mode) = match create {
        Some(mode) => (flags | libc::O_CREAT | libc::O_EXCL, mode),
        None => (flags, 0),
    };
    // SAFETY: `path` is a C string; a mode follows as O_CREAT requires.
    let fd = check(unsafe { libc::open(path.as_ptr(), flags, mode) })?;
    // SAFETY: `fd` was just opened and is owned by nobody else.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    if data.is_empty() {
        return Ok(());
    }
    // SAFETY: the pointer and the length are those of `data`.
    let written = unsafe { libc::write(file.as_raw_fd(), data.as_ptr().cast(), data.len()) };
    match usize::try_from(written) {
        Ok(all) if all == data.len() => Ok(()),
        Ok(_) => Err(Errno::EIO),
        Err(_) => Err(Errno::last()),
    }
}

/// setsid(2).
pub fn new_session() -> Result<(), Errno> {
    // SAFETY: takes no argument.
    check(unsafe { libc::setsid() }).map(drop)
}

/// pause(2) until a signal ends the process.
pub fn wait_for_end() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// setns(2) into a user namespace, then unshare(2): the new namespaces belong to it.
pub fn enter_user_namespace(user: BorrowedFd<'_>, namespaces: u64) -> Result<(), Errno> {
    // SAFETY: both calls take numbers; the descriptor is open.
    check(unsafe { libc::setns(user.as_raw_fd(), libc::CLONE_NEWUSER) })?;
    // SAFETY: as above.
    check(unsafe { libc::unshare(namespaces as c_int) }).map(drop)
}

/// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: a new, anonymous session keyring.
pub fn new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check_long(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<c_char>())
    })
    .map(drop)
}

/// sethostname(2).
pub fn set_host_name(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length are those of `name`.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// setrlimit(2), soft and hard limit; a hard limit above the present one is brought down to it,
/// since only a privileged process may raise it.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let mut present = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `present` is a valid rlimit to write to.
    check(unsafe { libc::getrlimit(resource, &raw mut present) })?;
    let hard = hard.min(present.rlim_max);
    let wanted = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
    // SAFETY: `wanted` is a valid rlimit to read from.
    check(unsafe { libc::setrlimit(resource, &raw const wanted) }).map(drop)
}

/// Brings the loopback interface of the present network namespace up, and gives it a route for
/// IPv4 multicast: netdevice(7) SIOCSIFFLAGS, rtnetlink's older form SIOCADDRT of route(8).
pub fn loopback_up() -> Result<(), Errno> {
    // SAFETY: takes no pointer.
    let fd =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` was just opened and is owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: an all-zero ifreq is valid.
    let mut interface: libc::ifreq = unsafe { std::mem::zeroed() };
    interface.ifr_name[0] = b'l' as c_char;
    interface.ifr_name[1] = b'o' as c_char;
    interface.ifr_ifru.ifru_flags =
        (libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_MULTICAST) as i16;
    // SAFETY: SIOCSIFFLAGS reads the ifreq that is passed.
    check(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const interface)
    })?;
    multicast_route(&socket)
}

/// Adds the route 224.0.0.0/4 on `lo`.
fn multicast_route(socket: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: an all-zero rtentry is valid.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    let mut device = *b"lo\0";
    route.rt_dst = inet([224, 0, 0, 0]);
    route.rt_genmask = inet([240, 0, 0, 0]);
    route.rt_flags = libc::RTF_UP;
    route.rt_dev = device.as_mut_ptr().cast();
    // SAFETY: SIOCADDRT reads the rtentry that is passed and the name it points to, which lives
    // until the end of this function.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &raw const route) })
        .map(drop)
}

/// An IPv4 address without a port as a `sockaddr`.
fn inet(address: [u8; 4]) -> libc::sockaddr {
    let mut data = [0; 14];
    for (slot, byte) in data[2..6].iter_mut().zip(address) {
        *slot = byte as c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as u16, sa_data: data }
}

/// Gives up every capability for good: the bounding set by prctl(2) PR_CAPBSET_DROP, the other
/// sets by capset(2). With `no_new_privs` set, execve(2) as uid 0 gains none either.
pub fn drop_capabilities() -> Result<(), Errno> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    for capability in 0..64_u64 {
        // SAFETY: PR_CAPBSET_DROP takes a number.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            Ok(_) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let data = [
        Data { effective: 0, permitted: 0, inheritable: 0 },
        Data { effective: 0, permitted: 0, inheritable: 0 },
    ];
    // SAFETY: version 3 reads a header and two data elements.
    check_long(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
        .map(drop)
}

/// Duplicates `from` onto descriptor `to`, without close-on-exec: dup2(2), or fcntl(2) where the
/// two are the same.
pub fn place_descriptor(from: BorrowedFd<'_>, to: RawFd) -> Result<(), Errno> {
    let from = from.as_raw_fd();
    if from == to {
        // SAFETY: F_SETFD takes a number.
        return check(unsafe { libc::fcntl(to, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: takes two numbers; the caller gives up what `to` was.
    check(unsafe { libc::dup2(from, to) }).map(drop)
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC from descriptor `first` on.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: c_int = 4;
    // SAFETY: sets a flag on descriptors; none is used afterwards but by exec.
    check_long(unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
}

/// umask(2).
pub fn set_umask(mask: u32) {
    // SAFETY: takes a number and cannot fail.
    unsafe { libc::umask(mask) };
}

/// execve(2). Returns only where it fails.
///
/// # Safety
/// `argv` and `envp` are null-terminated arrays of C strings.
pub unsafe fn execute(
    program: &CStr,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> Errno {
    // SAFETY: by this function's contract.
    unsafe { libc::execve(program.as_ptr(), argv, envp) };
    Errno::last()
}

/// exit(2) of the calling thread alone. The seccomp filter of the warden reports `exit_group(2)`
/// to the warden itself, which therefore must not use it.
pub fn exit(code: c_int) -> ! {
    // SAFETY: ends the only thread; nothing runs afterwards.
    unsafe { libc::syscall(libc::SYS_exit, code) };
    unreachable!("exit(2) does not return")
}

/// futex(2) FUTEX_WAIT until `word` is no longer `expected`.
pub fn wait_while(word: &AtomicU32, expected: u32) {
    while word.load(Ordering::Acquire) == expected {
        // SAFETY: the futex word is a live, aligned u32; a null time-out waits without limit.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT,
                expected,
                ptr::null::<libc::timespec>(),
            )
        };
    }
}

/// Stores `value` and wakes the process that waits in [`wait_while`]: futex(2) FUTEX_WAKE.
pub fn store_and_wake(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // SAFETY: the futex word is a live, aligned u32.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// What clone3(2) gave the parent.
pub struct Cloned {
    /// The child's id in the caller's pid namespace.
    pub pid: i32,
    /// Its pidfd, where one was asked for.
    pub pidfd: Option<OwnedFd>,
}

/// clone3(2) without a stack of its own, as fork(2) does: `None` in the child. Where clone3 is
/// refused with ENOSYS, as container seccomp profiles do, clone(2) is used.
///
/// # Safety
/// The child runs on a copy of one thread. Where the caller has others, the child may use
/// nothing that takes a lock. It must end in `execve` or `exit`.
pub unsafe fn clone(flags: u64, exit_signal: u64) -> Result<Option<Cloned>, Errno> {
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    let mut pidfd: RawFd = -1;
    // SAFETY: an all-zero clone_args is valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | CLONE_CLEAR_SIGHAND;
    arguments.exit_signal = exit_signal;
    arguments.pidfd = (&raw mut pidfd) as u64;
    // SAFETY: by this function's contract; `arguments` has the size that is told.
    let result = unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>())
    };
    let pid = match check_long(result) {
        Err(Errno::ENOSYS) => {
            // SAFETY: as above; pidfd takes the place of the parent's tid in clone(2).
            check_long(unsafe {
                libc::syscall(
                    libc::SYS_clone,
                    flags | exit_signal,
                    ptr::null::<c_void>(),
                    &raw mut pidfd,
                    ptr::null::<c_void>(),
                    0,
                )
            })?
        }
        other => other?,
    };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel has just opened it for us, where it was asked to.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Some(Cloned { pid: pid as i32, pidfd }))
}

/// pidfd_send_signal(2).
pub fn signal_process(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<(), Errno> {
    // SAFETY: a null siginfo is allowed.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// A child that wait4(2) found.
pub struct Waited {
    /// Its id.
    pub pid: i32,
    /// Its wait status.
    pub status: c_int,
    /// What it used.
    pub usage: libc::rusage,
}

/// wait4(2) with WNOHANG for any child, or the one given; `None` where none has changed.
pub fn wait_any(pid: i32) -> Option<Waited> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid to write to.
    let found =
        unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG | libc::__WALL, &raw mut usage) };
    (found > 0).then_some(Waited { pid: found, status, usage })
}

/// ptrace(2) PTRACE_DETACH with `signal` delivered.
pub fn detach_tracee(pid: i32, signal: c_int) {
    // SAFETY: PTRACE_DETACH takes numbers only. It fails where the tracee has died, which the
    // next wait reports.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, c_long::from(signal)) };
}

/// ioctl_tty(2) TIOCSCTTY: makes descriptor 0 the controlling terminal of this session.
pub fn take_terminal() -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes a number.
    check(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(drop)
}

/// prctl(2) PR_SET_DUMPABLE 0: ptrace(2) of this process is refused to its own user.
pub fn forbid_tracing() -> Result<(), Errno> {
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// A raw fork(2), which runs no handlers: the parent gets the child's id, the child `None`.
///
/// # Safety
/// The child may use nothing that takes a lock and must end in `execve` or `exit`.
pub unsafe fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: by this function's contract; a null stack asks for a copy of the present one.
    let pid = check_long(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
    Ok((pid != 0).then_some(pid as i32))
}

/// wait4(2) without WNOHANG for any child: its id and wait status. Without a child, or where a
/// signal interrupts, the id is -1.
pub fn wait_for_any() -> (i32, c_int) {
    let mut status = 0;
    // SAFETY: `status` is valid to write to; a null rusage is allowed.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::__WALL, ptr::null_mut()) };
    (pid, status)
}

/// close_range(2) of every descriptor.
pub fn close_all() {
    // SAFETY: the caller uses no descriptor afterwards. Failure leaves them open until exit.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
}

/// exit_group(2).
pub fn exit_group(code: c_int) -> ! {
    // SAFETY: ends the process; no handler runs.
    unsafe { libc::_exit(code) }
}

/// Sets every signal to its default action and blocks none: signal(7). Ignored signals stay
/// ignored over clone and exec, so this is done once in the warden.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is valid for every signal; SIGKILL, SIGSTOP and numbers that are not
        // in use are refused, which changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_signals();
}

/// Blocks no signal: sigprocmask(2).
pub fn unblock_signals() {
    let none: u64 = 0;
    // SAFETY: the kernel's signal set has eight bytes; a null old set is allowed.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            ptr::null::<u64>(),
            size_of::<u64>(),
        )
    };
}

/// close_range(2) of every descriptor from 3 on but those given.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut numbers: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for last in numbers.into_iter().chain([u32::MAX]) {
        let end = if last == u32::MAX { last } else { last - 1 };
        if first <= end {
            // SAFETY: the caller owns no other descriptor that it uses afterwards.
            check_long(unsafe { libc::syscall(libc::SYS_close_range, first, end, 0) })?;
        }
        first = last.saturating_add(1);
    }
    Ok(())
}

/// fsopen(2), fsconfig(2), fsmount(2): a tmpfs of `size` bytes that is mounted nowhere yet.
pub fn make_tmpfs(size: u64) -> Result<OwnedFd, Errno> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    };
    let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(errno)?;
    let inodes = super::steps::inodes(size).to_string();
    let options = [("mode", "0755".to_owned()), ("size", size.to_string()), ("nr_inodes", inodes)];
    for (name, value) in options {
        fsconfig_set_string(&context, name, value).map_err(errno)?;
    }
    fsconfig_create(&context).map_err(errno)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(errno)
}

/// sigaction(2): `handler` for `signal`. The handler may use nothing but async-signal-safe calls.
pub fn handle_signal(signal: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: an all-zero sigaction is valid, and the handler has the signature that is asked for
    // without SA_SIGINFO.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// kill(2). A process that is gone needs no signal.
pub fn kill(pid: i32, signal: c_int) {
    // SAFETY: takes two numbers.
    unsafe { libc::kill(pid, signal) };
}
