//! All that runs between clone and exec.
//!
//! A rule holds for this file: NO ALLOCATION, no drop of owned memory, no lock, no formatting, no
//! panic; the only ways out are `execve` and `exit`. The child is a copy of the warden, made by a
//! raw clone: whatever it needs was made ready before. It walks a list of operations and decides
//! nothing. Where one fails, its index and errno go to a [`Slot`] of memory shared with the
//! warden, which reads it after it has reaped the child; exec takes the mapping away, so a test
//! cannot reach it.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;

use super::error::{STAGE_DESCRIPTORS, STAGE_DIRECTORY, STAGE_EXEC, STAGE_FORK};
use super::steps::Op;
use super::sys;

/// Set in the memory of a child, and nowhere else: a test's allocator dies where this is set.
#[doc(hidden)]
pub static AFTER_CLONE: AtomicBool = AtomicBool::new(false);

/// What a child tells the warden, in memory that both share until exec.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Slot {
    /// 0 until the warden has written the id maps.
    pub mapped: AtomicU32,
    /// The index of the operation in progress, or one of the `STAGE_` numbers of [`error`](super::error).
    pub stage: AtomicU32,
    /// The errno of what failed; 0 where nothing did.
    pub errno: AtomicI32,
    /// With a reaping init: the wait status of the test, plus one; 0 while it runs.
    pub status: AtomicI32,
}

/// All that a child needs, ready to use.
pub struct Launch<'a> {
    /// The operations, in order.
    pub ops: &'a [Op],
    /// The program.
    pub program: &'a CStr,
    /// Null-terminated.
    pub argv: &'a [*const c_char],
    /// Null-terminated.
    pub envp: &'a [*const c_char],
    /// The working directory.
    pub directory: &'a CStr,
    /// What become descriptors 0, 1 and 2.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Whether descriptor 0 becomes the controlling terminal.
    pub terminal: bool,
    /// Whether a reaping init is PID 1.
    pub reaper: bool,
    /// The scratch filesystem for [`Op::AttachScratch`].
    pub scratch: Option<BorrowedFd<'a>>,
    /// The user namespace for [`Op::EnterUserNamespace`].
    pub user: Option<BorrowedFd<'a>>,
    /// The number of the case, for [`Op::BindNumbered`].
    pub number: u64,
    /// Where progress is told.
    pub slot: &'a Slot,
}

impl Slot {
    /// Makes the slot ready for the next child.
    pub fn reset(&self) {
        self.mapped.store(0, Ordering::Relaxed);
        self.stage.store(0, Ordering::Relaxed);
        self.errno.store(0, Ordering::Relaxed);
        self.status.store(0, Ordering::Release);
    }
}

impl Launch<'_> {
    /// Sets the sandbox up and becomes the program.
    pub fn run(&self) -> ! {
        AFTER_CLONE.store(true, Ordering::Relaxed);
        sys::unblock_signals();
        for (index, op) in self.ops.iter().enumerate() {
            self.slot.stage.store(index as u32, Ordering::Relaxed);
            if let Err(errno) = self.perform(op) {
                self.fail(errno);
            }
        }
        self.stage(STAGE_DIRECTORY, sys::change_directory(self.directory));
        self.stage(STAGE_DESCRIPTORS, self.place_descriptors());
        if self.reaper {
            self.fork_and_reap();
        }
        self.slot.stage.store(STAGE_EXEC, Ordering::Relaxed);
        // SAFETY: both arrays were made null-terminated, of C strings that live in this process.
        self.fail(unsafe { sys::execute(self.program, self.argv.as_ptr(), self.envp.as_ptr()) })
    }

    /// An operation that needs this case's own values, or any other.
    fn perform(&self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::AwaitIdMaps => {
                sys::wait_while(&self.slot.mapped, 0);
                Ok(())
            }
            Op::AttachScratch { target } => {
                sys::attach_mount(self.scratch.ok_or(Errno::EBADF)?, target)
            }
            Op::EnterUserNamespace { namespaces } => {
                sys::enter_user_namespace(self.user.ok_or(Errno::EBADF)?, *namespaces)
            }
            Op::BindNumbered { source, target } => bind_numbered(source, self.number, target),
            _ => perform(op),
        }
    }

    fn stage(&self, stage: u32, result: Result<(), Errno>) {
        if let Err(errno) = result {
            self.slot.stage.store(stage, Ordering::Relaxed);
            self.fail(errno);
        }
    }

    fn fail(&self, errno: Errno) -> ! {
        self.slot.errno.store(errno as i32, Ordering::Release);
        sys::exit(125)
    }

    fn place_descriptors(&self) -> Result<(), Errno> {
        for (number, from) in self.stdio.iter().enumerate() {
            sys::place_descriptor(*from, number as i32)?;
        }
        if self.terminal {
            sys::take_terminal()?;
        }
        sys::set_umask(0o022);
        sys::close_on_exec_from(3)
    }

    /// Forks; the parent stays PID 1 and reaps, the child goes on as PID 2.
    fn fork_and_reap(&self) {
        // The test may have the same uid: PID 1 must not be traced or read by it.
        self.stage(STAGE_FORK, sys::forbid_tracing());
        // SAFETY: this process has one thread, and the child ends in exec or exit.
        match unsafe { sys::fork() } {
            Err(errno) => self.stage(STAGE_FORK, Err(errno)),
            Ok(Some(test)) => self.reap(test),
            // The terminal belongs to the session that PID 1 has started.
            Ok(None) if self.terminal => {}
            Ok(None) => self.stage(STAGE_FORK, sys::new_session()),
        }
    }

    /// Waits for every process that is orphaned, until the test itself has ended.
    fn reap(&self, test: i32) -> ! {
        TEST.store(test, Ordering::Relaxed);
        sys::handle_signal(libc::SIGTERM, pass_on);
        // The test's output must end when the test and its children do.
        sys::close_all();
        loop {
            let (pid, status) = sys::wait_for_any();
            if pid > 0 && libc::WIFSTOPPED(status) {
                // PTRACE_TRACEME has made this process the tracer of the test or of a thread of
                // it: it goes on with the signal that stopped it.
                sys::detach_tracee(pid, libc::WSTOPSIG(status));
            } else if pid == test {
                self.slot.status.store(status + 1, Ordering::Release);
                sys::exit_group(0);
            }
        }
    }
}

/// The test below a reaping init.
static TEST: AtomicI32 = AtomicI32::new(0);

/// The init's handler for SIGTERM, which comes from the warden.
extern "C" fn pass_on(signal: i32) {
    sys::kill(TEST.load(Ordering::Relaxed), signal);
}

/// Performs one operation on the calling process.
pub fn perform(op: &Op) -> Result<(), Errno> {
    match op {
        Op::AwaitIdMaps
        | Op::AttachScratch { .. }
        | Op::EnterUserNamespace { .. }
        | Op::BindNumbered { .. } => Err(Errno::EINVAL),
        Op::Write { path, data } => sys::write_file(path, data, None),
        Op::CreateFile { path, data, mode } => sys::write_file(path, data, Some(*mode)),
        Op::MakeDirectory { path, mode } => match sys::make_directory(path, *mode) {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        },
        Op::MakeSymlink { target, path } => sys::make_symlink(target, path),
        Op::Whiteout { path } => sys::make_whiteout(path),
        Op::Mount { fstype, target, flags, options } => {
            sys::mount(fstype, target, fstype, *flags, options.as_deref())
        }
        Op::Bind { source, target, recursive } => sys::bind(source, target, *recursive),
        Op::BindExact { source, target, recursive } => sys::bind_exact(source, target, *recursive),
        Op::Attributes { path, recursive, set, propagation } => {
            sys::set_mount_attributes(path, *recursive, *set, *propagation)
        }
        Op::PivotRoot { new_root, put_old } => sys::pivot_root(new_root, put_old),
        Op::Detach { path } => sys::detach(path),
        Op::ChangeDirectory { path } => sys::change_directory(path),
        Op::NewSession => sys::new_session(),
        Op::NewKeyring => sys::new_session_keyring(),
        Op::HostName { name } => sys::set_host_name(name),
        Op::LoopbackUp => sys::loopback_up(),
        Op::Limit { resource, soft, hard } => sys::set_limit(*resource, *soft, *hard),
        Op::DropCapabilities => sys::drop_capabilities(),
    }
}

/// Binds the directory `number` below `source`, making it first.
fn bind_numbered(source: &CStr, number: u64, target: &CStr) -> Result<(), Errno> {
    let mut path = [0_u8; 64];
    let end = number_path(source.to_bytes(), number, &mut path).ok_or(Errno::ENAMETOOLONG)?;
    let path = CStr::from_bytes_with_nul(path.get(..=end).ok_or(Errno::ENAMETOOLONG)?)
        .map_err(|_| Errno::EINVAL)?;
    match sys::make_directory(path, 0o755) {
        Ok(()) | Err(Errno::EEXIST) => sys::bind(path, target, false),
        Err(errno) => Err(errno),
    }
}

/// Writes `base/number` to `path` and returns its length; `None` where it does not fit.
fn number_path(base: &[u8], number: u64, path: &mut [u8]) -> Option<usize> {
    let mut digits = [0_u8; 20];
    let mut rest = number;
    let mut first = digits.len();
    loop {
        first -= 1;
        *digits.get_mut(first)? = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let digits = digits.get(first..)?;
    let end = base.len() + 1 + digits.len();
    if end >= path.len() {
        return None;
    }
    path.get_mut(..base.len())?.copy_from_slice(base);
    *path.get_mut(base.len())? = b'/';
    path.get_mut(base.len() + 1..end)?.copy_from_slice(digits);
    Some(end)
}
