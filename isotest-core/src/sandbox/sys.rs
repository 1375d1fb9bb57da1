//! The system calls of the warden that no library wraps as it needs them.
//!
//! Wrappers take descriptors and typed flags and return [`Errno`]. Each names its manual page.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use super::child::kernel;
use crate::errno;

/// An errno of the code that has no library, as one of this one's.
pub fn errno(errno: kernel::Errno) -> Errno {
    Errno::from_raw(errno.0)
}

/// Stores `value` and wakes who waits for it.
pub fn store_and_wake(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    wake(word);
}

/// Wakes all who wait for a word to change: futex(2) FUTEX_WAKE.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the futex word is a live, aligned u32.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Waits while a word has this value, or for less long: futex(2) FUTEX_WAIT.
pub fn wait_for_change(word: &AtomicU32, value: u32) {
    let forever = ptr::null::<libc::timespec>();
    // SAFETY: the futex word is a live, aligned u32; null stands for no limit.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, forever) };
}

/// setns(2) with a pidfd: enters those namespaces of a process that `kinds` names, CLONE_NEW*. The
/// pid namespace becomes that of children.
pub fn enter_namespaces(process: BorrowedFd<'_>, kinds: u64) -> Result<(), Errno> {
    // SAFETY: no argument is a pointer.
    Errno::result(unsafe { libc::setns(process.as_raw_fd(), kinds as c_int) }).map(drop)
}

/// Runs `work` in those namespaces of a process that `kinds` names, and waits for it. A child does
/// it that shares memory and descriptors, clone(2): this process could not come back to the
/// namespaces of the host, which are not its own. `work` must not panic.
pub fn within<T, W: FnOnce() -> T>(
    process: BorrowedFd<'_>,
    kinds: u64,
    work: W,
) -> Result<T, Errno> {
    struct Task<'a, T, W> {
        process: BorrowedFd<'a>,
        kinds: u64,
        work: Option<W>,
        result: Result<T, Errno>,
    }
    extern "C" fn run<T, W: FnOnce() -> T>(task: *mut c_void) -> c_int {
        // SAFETY: it is that of the caller, which does nothing before this has ended.
        let task = unsafe { &mut *task.cast::<Task<'_, T, W>>() };
        let entered = enter_namespaces(task.process, task.kinds);
        task.result = entered.and_then(|()| Ok(task.work.take().ok_or(Errno::EINVAL)?()));
        0
    }
    /// Bytes of its stack: more than any `work` needs.
    const STACK: usize = 256 << 10;
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut task = Task { process, kinds, work: Some(work), result: Err(Errno::ECHILD) };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: the stack grows down from its end and is used by nobody else; with CLONE_VFORK this
    // process stands still until the child has ended, so that it may use all that is this one's.
    let child = Errno::result(unsafe {
        libc::clone(run::<T, W>, top.cast(), flags, (&raw mut task).cast())
    })?;
    // Its end is no signal, and nobody else waits for it.
    // SAFETY: a null status is allowed.
    unsafe { libc::waitpid(child, ptr::null_mut(), libc::__WALL) };
    task.result
}

/// Puts `name` in the place of this process's arguments, which `/proc/PID/cmdline` shows to
/// everybody who sees the process (proc_pid_cmdline(5)): copies of it are seen by tests.
pub fn replace_arguments(name: &[u8]) -> Result<(), Errno> {
    let stat = super::procfs::Stat::own().ok_or(Errno::ENOSYS)?;
    let (start, end) = stat.arguments().ok_or(Errno::ENOSYS)?;
    let length = usize::try_from(end - start).map_err(|_| Errno::ERANGE)?;
    let kept = name.len().min(length.saturating_sub(1));
    let area = ptr::with_exposed_provenance_mut::<u8>(start as usize);
    // SAFETY: the kernel has said that the arguments of this process lie there, in its own stack.
    // The standard library copies them when it is asked, and nobody does meanwhile: there is one
    // thread.
    unsafe {
        ptr::write_bytes(area, 0, length);
        ptr::copy_nonoverlapping(name.as_ptr(), area, kept);
    }
    Ok(())
}

/// Quotas that the kernel counts for each user over all user namespaces: the limit of the whole
/// machine, and that of this namespace and all below (namespaces(7), `/proc/sys/user`).
const QUOTAS: [(&CStr, &CStr); 3] = [
    (c"/proc/sys/fs/inotify/max_user_instances", c"/proc/sys/user/max_inotify_instances"),
    (c"/proc/sys/fs/inotify/max_user_watches", c"/proc/sys/user/max_inotify_watches"),
    (c"/proc/sys/fs/fanotify/max_user_groups", c"/proc/sys/user/max_fanotify_groups"),
];

/// Leaves a quarter of each quota to the user's processes elsewhere. Best effort: a kernel may have
/// none of them, and a container's `/proc/sys` may be read-only.
pub fn spare_quotas() {
    for (whole, own) in QUOTAS {
        let _ = spare(whole, own);
    }
}

fn spare(whole: &CStr, own: &CStr) -> Result<(), Errno> {
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    let open = |path: &CStr, flags| open(path, flags | OFlag::O_CLOEXEC, Mode::empty());
    let mut text = [0; 32];
    let length = nix::unistd::read(open(whole, OFlag::O_RDONLY)?, &mut text)?;
    let text = text.get(..length).unwrap_or_default();
    let whole: u64 =
        str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).ok_or(Errno::EINVAL)?;
    let share = (whole - whole / 4).to_string();
    nix::unistd::write(open(own, OFlag::O_WRONLY)?, share.as_bytes()).map(drop)
}

/// The processors that this process may run on, each as a mask by itself, all of one length:
/// sched_getaffinity(2). None where they cannot be read.
pub fn single_processors() -> Vec<Vec<u64>> {
    /// Enough for 8192 processors, the most that the kernel can be built for.
    const WORDS: usize = 128;
    let mut set = [0_u64; WORDS];
    let address = set.as_mut_ptr();
    // SAFETY: the kernel writes to no more than the size of `set`.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&set), address) };
    if result < 0 {
        return Vec::new();
    }
    let is_set = |number: &usize| set[number / 64] >> (number % 64) & 1 != 0;
    let numbers: Vec<usize> = (0..64 * WORDS).filter(is_set).collect();
    let words = numbers.last().map_or(0, |last| last / 64 + 1);
    let mask = |number: usize| {
        let word = |index| if index == number / 64 { 1 << (number % 64) } else { 0 };
        (0..words).map(word).collect()
    };
    numbers.into_iter().map(mask).collect()
}

/// sched_setaffinity(2) of this process.
pub fn run_on(processors: &[u64]) -> Result<(), Errno> {
    let (size, mask) = (size_of_val(processors), processors.as_ptr());
    // SAFETY: the kernel reads that many bytes of the mask.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size, mask) }).map(drop)
}

/// personality(2) of this process; that of every process where it cannot be read.
pub fn personality() -> i64 {
    const NO_CHANGE: u64 = 0xFFFF_FFFF;
    // SAFETY: personality(2) takes a number.
    unsafe { libc::syscall(libc::SYS_personality, NO_CHANGE) }.max(0)
}

/// A child that wait4(2) found.
pub struct ReapedChild {
    /// Its id.
    pub pid: i32,
    /// Its wait status.
    pub status: c_int,
    /// Its resource usage.
    pub usage: libc::rusage,
}

/// wait4(2) with WNOHANG for any child, or the one given; `None` where none has changed.
pub fn wait_any(pid: i32) -> Option<ReapedChild> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid to write to.
    let found =
        unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG | libc::__WALL, &raw mut usage) };
    (found > 0).then_some(ReapedChild { pid: found, status, usage })
}

/// True if this is the id of a child that has not been waited for: waitid(2) with WNOWAIT.
pub fn is_child(pid: i32) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let id = libc::id_t::try_from(pid).unwrap_or(0);
    // SAFETY: an all-zero siginfo is valid, and the pointer is valid to write to.
    id > 0
        && unsafe {
            let mut found: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, id, &raw mut found, flags) == 0
        }
}

/// The id of a child that can be waited for; it stays so.
pub fn ended() -> Option<i32> {
    // A child that was stopped is not meant; the stop of one that this process traces is told in any
    // case (kernel/exit.c, wait_task_stopped).
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: an all-zero siginfo is valid, and says that there is no such child.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid to write to; where a child is reported, its id is set.
    let process = unsafe {
        libc::waitid(libc::P_ALL, 0, &raw mut found, flags);
        found.si_pid()
    };
    (process > 0).then_some(process)
}

/// Sets every signal to its default action and blocks none: signal(7). Ignored signals stay
/// ignored over clone and exec, so this is done once in the warden.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is valid for every signal; SIGKILL, SIGSTOP and numbers that are not
        // in use are refused, which changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    kernel::block_signals(0);
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
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, end, 0) })?;
        }
        first = last.saturating_add(1);
    }
    Ok(())
}

/// mount_setattr(2): no set-user-ID program, no device, and no mount travels.
pub fn restrict_mount(tree: &OwnedFd) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: the path is empty, and the address and the size are those of `attributes`.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// fsopen(2), fsconfig(2), fsmount(2): a tmpfs of `size` bytes that is mounted nowhere yet.
pub fn make_tmpfs(size: u64) -> Result<OwnedFd, Errno> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    };
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(errno::of_rustix)?;
    let inodes = crate::plan::inodes(size).to_string();
    let options = [("mode", "0755".to_owned()), ("size", size.to_string()), ("nr_inodes", inodes)];
    for (name, value) in options {
        fsconfig_set_string(&context, name, value).map_err(errno::of_rustix)?;
    }
    fsconfig_create(&context).map_err(errno::of_rustix)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(errno::of_rustix)
}
