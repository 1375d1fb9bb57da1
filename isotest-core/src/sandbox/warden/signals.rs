//! Signals to cases.

use nix::sys::signal::Signal;

use crate::sandbox::child::kernel;

/// True if the warden is PID 1. With `pid = host` it is not, and -1 would mean every process of the
/// user.
pub(super) fn owns_pid_namespace() -> bool {
    std::process::id() == 1
}

/// Signals the process group of a case, which it leads since it has started a session.
pub(super) fn signal_group(leader: i32, signal: Signal) {
    // ESRCH: it is gone.
    let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(leader), signal);
}

/// Signals PID 1 of a case. Where it has no pid namespace of its own SIGKILL does not take the others
/// along.
pub(super) fn signal_case(leader: i32, signal: i32, own_pids: bool) {
    kernel::kill(leader, signal);
    if signal == libc::SIGKILL && !own_pids {
        signal_group(leader, Signal::SIGKILL);
    }
}
