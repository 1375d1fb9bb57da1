//! From a cloned process to the program: the set-up, descriptors 0 to 2, the reaping init.
//!
//! If a step fails, its number and errno go to a [`Slot`] of memory shared with the warden, which
//! reads it after it has reaped the process. The mapping is gone before the program runs.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::bytecode::{Bytecode, Values, header};
use super::kernel::{self, Cloning, EINVAL, Errno};

/// Set in the memory of a child, and nowhere else: a test's allocator dies where this is set.
#[doc(hidden)]
pub static AFTER_CLONE: AtomicBool = AtomicBool::new(false);

/// [`Fault::step`](super::super::Fault::step) of the filter by which a case is traced.
pub const STEP_TRACE: u32 = u32::MAX - 9;
/// [`Fault::step`](super::super::Fault::step) of clone3(2) itself.
pub const STEP_CLONE: u32 = u32::MAX - 6;
/// [`Fault::step`](super::super::Fault::step) of placing descriptors 0, 1 and 2.
pub const STEP_DESCRIPTORS: u32 = u32::MAX - 3;
/// [`Fault::step`](super::super::Fault::step) of entering the working directory.
pub const STEP_DIRECTORY: u32 = u32::MAX - 2;
/// [`Fault::step`](super::super::Fault::step) of the reaping init's fork.
pub const STEP_FORK: u32 = u32::MAX - 1;
/// [`Fault::step`](super::super::Fault::step) of becoming the program.
pub const STEP_EXEC: u32 = u32::MAX;

/// Memory that a case and the warden share until the program runs.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Slot {
    /// The case's id in the warden's pid namespace, from the kernel, before the case runs.
    pub pid: AtomicI32,
    /// 0 until the warden has written the id maps; where there are services, the words of
    /// `service_supervisor::handshake` follow.
    pub mapped: AtomicU32,
    /// The number of the step in progress, or one of the `STEP_` numbers.
    pub step: AtomicU32,
    /// The errno of what failed; 0 where nothing did.
    pub errno: AtomicI32,
    /// With a reaping init: the id of the test in its pid namespace, from the kernel.
    pub test: AtomicI32,
    /// With a reaping init: the wait status of the test, plus one; 0 while it runs.
    pub status: AtomicI32,
    /// Number of the notification that the tracer of the case reads; 0 for none.
    pub read: AtomicU64,
}

impl Slot {
    /// Makes the slot ready for the next case.
    pub fn reset(&self) {
        self.pid.store(0, Ordering::Relaxed);
        self.mapped.store(0, Ordering::Relaxed);
        self.step.store(STEP_CLONE, Ordering::Relaxed);
        self.errno.store(0, Ordering::Relaxed);
        self.test.store(0, Ordering::Relaxed);
        self.read.store(0, Ordering::Relaxed);
        self.status.store(0, Ordering::Release);
    }

    /// Tells the warden what failed.
    pub fn refuse(&self, step: u32, errno: Errno) {
        self.step.store(step, Ordering::Relaxed);
        self.errno.store(errno.0, Ordering::Release);
    }
}

/// All that a child needs, ready to use.
pub struct ChildSetup<'a> {
    /// The set-up.
    pub bytecode: Bytecode<'a>,
    /// Descriptors that become 0, 1 and 2.
    pub stdio: [i32; 3],
    /// They become a terminal of the sandbox's own instead, the controlling one of the session; the
    /// first of `stdio` is then a socket that its outer end is handed over.
    pub terminal: bool,
    /// The scratch filesystem, or -1.
    pub scratch: i32,
    /// The user namespace that it enters by a step, or -1.
    pub user: i32,
    /// This process will exec, which closes all other descriptors.
    pub execs: bool,
    /// Address at which the kernel keeps the thread id of a child that a reaping init forks; 0 for
    /// none.
    pub thread_id: usize,
    /// Memory for the step in progress.
    pub slot: &'a Slot,
    /// Its number.
    pub slot_number: u32,
    /// Where descriptor 0 is a terminal at which nobody types: a socket to who keeps its outer end,
    /// which takes messages and is not read; -1 for none.
    pub keeper: i32,
    /// The filter by which it is traced; `None` where it is not.
    pub trace: Option<ChildTrace>,
}

/// The filter of a traced case.
pub struct ChildTrace {
    /// Number of its instructions.
    pub count: u16,
    /// Their address.
    pub instructions: usize,
    /// Socket to its tracer, which is sent the number of the listener, or an errno below 0, and
    /// answers with the errno of what keeps it from tracing, or 0.
    pub tracer: i32,
    /// Without it the case must not run.
    pub is_needed: bool,
}

/// Descriptor of that socket while all others are closed.
const TRACER: i32 = 3;
/// `EBUSY` of errno.h: there is a listener already.
const EBUSY: Errno = Errno(16);

impl ChildSetup<'_> {
    /// Sets the sandbox up around this process. With a reaping init it returns in the test, not in
    /// PID 1.
    ///
    /// # Safety
    /// This process was just cloned for the case, and has one thread.
    pub unsafe fn enter(&self) {
        AFTER_CLONE.store(true, Ordering::Relaxed);
        kernel::block_signals(0);
        let values = Values {
            step: &self.slot.step,
            mapped: &self.slot.mapped,
            scratch: self.scratch,
            user: self.user,
            slot: self.slot_number,
        };
        // SAFETY: by this function's contract.
        if let Err(errno) = unsafe { self.bytecode.run(&values) } {
            self.fail(self.slot.step.load(Ordering::Relaxed), errno);
        }
        self.check(STEP_DESCRIPTORS, self.place_descriptors());
        if let Some(trace) = &self.trace {
            self.check(STEP_TRACE, trace.begin());
        }
        if !self.execs && self.bytecode.header(header::UNDUMPABLE) == Some(1) {
            // What is in its memory is the test's own.
            let _ = kernel::set_dumpable(1);
        }
        if self.bytecode.header(header::REAPER) == Some(1) {
            self.fork_and_reap();
        }
        self.slot.step.store(STEP_EXEC, Ordering::Relaxed);
    }

    fn check<T>(&self, step: u32, result: Result<T, Errno>) -> T {
        match result {
            Ok(value) => value,
            Err(errno) => self.fail(step, errno),
        }
    }

    /// Ends this process, which could not become the program.
    pub fn fail(&self, step: u32, errno: Errno) -> ! {
        self.slot.refuse(step, errno);
        kernel::exit(125)
    }

    fn place_descriptors(&self) -> Result<(), Errno> {
        let mut stdio = self.stdio;
        if self.terminal {
            let (outside, inside) = kernel::open_terminal()?;
            kernel::hand_over(stdio[0], outside)?;
            stdio = [inside; 3];
        } else if self.keeper >= 0 {
            // Without an outer end it would have hung up.
            let (outside, inside) = kernel::open_terminal()?;
            kernel::send_descriptor(self.keeper, outside)?;
            stdio[0] = inside;
        }
        for (number, from) in stdio.iter().enumerate() {
            kernel::place_descriptor(*from, number as i32)?;
        }
        if self.terminal {
            kernel::take_terminal()?;
        }
        let umask = self.bytecode.header(header::UMASK).ok_or(EINVAL)?;
        kernel::set_umask(umask as u32);
        kernel::close_from(3, self.execs)
    }

    /// Forks; the parent stays PID 1 and reaps, the child goes on as PID 2.
    fn fork_and_reap(&self) {
        // The test may have the same uid: PID 1 must not be traced or read by it.
        let dumpable = self.check(STEP_FORK, kernel::dumpable());
        self.check(STEP_FORK, kernel::set_dumpable(0));
        kernel::block_signals(REAPED);
        let fork = Cloning {
            parent_tid: self.slot.test.as_ptr() as usize,
            exit_signal: SIGCHLD,
            child_tid: self.thread_id,
            ..Cloning::default()
        };
        // SAFETY: this process has one thread, and the child goes on alone.
        if let Some(test) = self.check(STEP_FORK, unsafe { fork.perform() }) {
            self.reap(test)
        }
        if !self.execs || self.trace.is_some() {
            // As exec would, which the tracer reads. What cannot be set, 2, the child has no more than PID 1.
            let _ = kernel::set_dumpable(dumpable);
        }
        kernel::block_signals(0);
        // A terminal belongs to the session that PID 1 has started.
        if !self.terminal {
            self.check(STEP_FORK, kernel::new_session());
        }
    }

    /// Waits for every process that is orphaned, until the test itself has ended. SIGTERM comes
    /// from the warden, for the test.
    fn reap(&self, test: i32) -> ! {
        // The test's output must end when the test and its children do.
        let _ = kernel::close_from(0, false);
        loop {
            if kernel::wait_for_signal(REAPED) == Ok(SIGTERM as usize) {
                kernel::kill(test, SIGTERM as i32);
            }
            while let Ok((pid @ 1.., status)) = kernel::wait_for_child() {
                if status & 0xFF == STOPPED {
                    // PTRACE_TRACEME has made this process the tracer of the test or of a thread
                    // of it: it goes on with the signal that stopped it.
                    kernel::detach_tracee(pid, status >> 8 & 0xFF);
                } else if pid == test {
                    self.slot.status.store(status + 1, Ordering::Release);
                    kernel::exit_group(0);
                }
            }
        }
    }
}

impl ChildTrace {
    /// Installs the filter. Where an outer sandbox has a listener the case runs untraced, unless it must
    /// not.
    fn begin(&self) -> Result<(), Errno> {
        // Limits of open files leave room for the next descriptor then.
        kernel::place_descriptor(self.tracer, TRACER)?;
        kernel::close_from(TRACER as u32 + 1, false)?;
        // SAFETY: the warden has made the instructions, and this process is a copy of it.
        let word = match unsafe { kernel::install_listener(self.count, self.instructions) } {
            Ok(listener) => listener,
            Err(EBUSY) if !self.is_needed => -EBUSY.0,
            Err(errno) => return Err(errno),
        };
        match kernel::exchange(TRACER, word)? {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        }
    }
}

/// asm-generic/signal.h.
const SIGTERM: u64 = 15;
const SIGCHLD: u64 = 17;
/// Signals that the reaping init waits for, as a set.
const REAPED: u64 = 1 << (SIGTERM - 1) | 1 << (SIGCHLD - 1);
/// The low byte of a wait status that tells of a stop (wait(2)).
const STOPPED: i32 = 0x7F;
