//! Signals to the run as a descriptor, handed forward like any other input.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{pipe2, read};
use signal_hook::consts::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGWINCH,
};
use signal_hook::{flag, low_level};

use crate::terminal;

/// Signals that end a run.
const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Time in seconds that a run has to end after the first of them: the reader of its output may be
/// blocked.
const PATIENCE: libc::c_uint = 10;

/// The signal that asked the run to end; until one has, the one that ends it when time is up.
static ASKED: AtomicI32 = AtomicI32::new(SIGALRM);

/// The signals are read.
static ATTENDED: AtomicBool = AtomicBool::new(false);

/// While it lives somebody reads the signals.
#[derive(Debug)]
pub struct Attendance;

impl Drop for Attendance {
    fn drop(&mut self) {
        ATTENDED.store(false, Ordering::SeqCst);
    }
}

/// Delivers SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGUSR1 and SIGWINCH as readable bytes.
#[derive(Debug)]
pub struct Signals {
    arrived: OwnedFd,
    handlers: Arc<OwnedFd>,
}

/// Ends the process as its second signal would: what the first one asked for takes too long.
fn give_up() {
    terminal::restore();
    low_level::exit(128 + ASKED.load(Ordering::SeqCst))
}

impl Signals {
    /// Takes these signals over for the rest of the process's life. The second one of those that
    /// end a run ends the process at once, with code 128+n; so does the first one where the
    /// process has not ended ten seconds later.
    pub fn listen() -> io::Result<Signals> {
        // SAFETY: the handler does nothing but leave.
        unsafe { low_level::register(SIGALRM, give_up) }?;
        let (ours, handlers) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let second = Arc::new(AtomicBool::new(false));
        for signal in ENDING {
            // SAFETY: it makes system calls and nothing else.
            unsafe { low_level::register(signal, terminal::restore) }?;
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second))?;
            flag::register(signal, Arc::clone(&second))?;
        }
        let handlers = Arc::new(handlers);
        for signal in ENDING.into_iter().chain([SIGTSTP, SIGCONT, SIGUSR1, SIGWINCH]) {
            let pipe = Arc::clone(&handlers);
            let tell = move || {
                if signal == SIGTSTP && !ATTENDED.load(Ordering::SeqCst) {
                    return stop_self();
                }
                if ENDING.contains(&signal) {
                    ASKED.store(signal, Ordering::SeqCst);
                    // SAFETY: alarm(2) takes a number and is async-signal-safe.
                    unsafe { libc::alarm(PATIENCE) };
                }
                let byte = [signal as u8];
                // SAFETY: write(2) is async-signal-safe; the pointer and the length fit.
                unsafe { libc::write(pipe.as_raw_fd(), byte.as_ptr().cast(), 1) };
            };
            // SAFETY: the handler does nothing but alarm(2), write(2) and what is safe in a handler
            // by signal-hook's word.
            unsafe { low_level::register(signal, tell) }?;
        }
        Ok(Signals { arrived: ours, handlers })
    }

    /// SIGUSR1 asks for news of a run; from now on it ends no process that has none yet.
    pub fn expect_snapshots() -> io::Result<()> {
        flag::register(SIGUSR1, Arc::default()).map(drop)
    }

    /// The next signal that has arrived.
    pub fn take(&self) -> Option<i32> {
        let mut byte = [0];
        match read(&self.arrived, &mut byte) {
            Ok(1) => Some(i32::from(byte[0])),
            Ok(_) | Err(_) => None,
        }
    }

    /// Tells whoever reads the signals that the reader of stdout has gone away, as SIGPIPE would
    /// if Rust did not ignore it.
    pub fn tell_broken_pipe(&self) {
        self.tell(SIGPIPE);
    }

    /// Asks whoever reads the signals to tell what is running, as SIGUSR1 does.
    pub fn ask_for_snapshots(&self) {
        self.tell(SIGUSR1);
    }

    fn tell(&self, signal: i32) {
        // A full pipe holds signals enough.
        let _ = nix::unistd::write(&self.handlers, &[signal as u8]);
    }

    /// The signal that has asked the run to end, whoever has taken it.
    pub fn asked() -> Option<i32> {
        Some(ASKED.load(Ordering::SeqCst)).filter(|signal| ENDING.contains(signal))
    }

    /// A signal that ends a run, if one has arrived; all that have arrived are taken.
    pub fn take_ending(&self) -> Option<i32> {
        let arrived = std::iter::from_fn(|| self.take());
        arrived.filter(|signal| ENDING.contains(signal)).collect::<Vec<_>>().first().copied()
    }

    /// From now on somebody reads these signals: SIGTSTP is theirs to act on, until the guard is
    /// dropped. At other times it stops the process as if nobody had taken it over.
    pub fn attend(&self) -> Attendance {
        ATTENDED.store(true, Ordering::SeqCst);
        Attendance
    }

    /// Ends this process by a signal, as it would end one that has never heard of it, but without a
    /// core dump: who has died first has left what there was to leave. Returns where the signal ends
    /// no process.
    pub fn end_self(signal: i32) {
        let _ = prctl::set_dumpable(false);
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        // SAFETY: the default action runs no code; the set is initialised by sigemptyset(3) before
        // it is read, and all pointers are to this frame.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
            libc::raise(signal);
        }
    }

    /// Stops this process as SIGTSTP by default would; returns when it goes on. What `stop` is about
    /// stops before (`true`) and goes on after it (`false`). The terminal is the caller's meanwhile.
    pub fn suspend(mut stop: impl FnMut(bool)) {
        stop(true);
        let released = terminal::release();
        stop_self();
        drop(released);
        stop(false);
    }
}

/// Stops this process as SIGTSTP by default would; returns when it goes on.
fn stop_self() {
    // Fails for no signal that has a default action.
    let _ = low_level::emulate_default_handler(SIGTSTP);
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}
