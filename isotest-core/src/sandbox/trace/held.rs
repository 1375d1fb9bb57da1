//! The system calls that can be held.

use super::calls::told_variables;
use crate::perturbation::HeldCalls;
use crate::sandbox::child::kernel::UNHEARD;
use crate::sandbox::guard::{Action, Rule, rule};

use HeldCalls::{Execute, File, Futex, Process, Receive, Send, Sleep, Start};

/// The calls of every architecture, with their names.
const CALLS: &[(i64, HeldCalls, &str)] = &[
    (libc::SYS_futex, Futex, "futex"),
    (libc::SYS_read, Receive, "read"),
    (libc::SYS_readv, Receive, "readv"),
    (libc::SYS_recvfrom, Receive, "recvfrom"),
    (libc::SYS_recvmsg, Receive, "recvmsg"),
    (libc::SYS_recvmmsg, Receive, "recvmmsg"),
    (libc::SYS_epoll_pwait, Receive, "epoll_pwait"),
    (libc::SYS_epoll_pwait2, Receive, "epoll_pwait2"),
    (libc::SYS_ppoll, Receive, "ppoll"),
    (libc::SYS_pselect6, Receive, "pselect6"),
    (libc::SYS_accept, Receive, "accept"),
    (libc::SYS_accept4, Receive, "accept4"),
    (libc::SYS_write, Send, "write"),
    (libc::SYS_writev, Send, "writev"),
    (libc::SYS_sendto, Send, "sendto"),
    (libc::SYS_sendmsg, Send, "sendmsg"),
    (libc::SYS_connect, Send, "connect"),
    (libc::SYS_openat, File, "openat"),
    (libc::SYS_openat2, File, "openat2"),
    (libc::SYS_renameat, File, "renameat"),
    (libc::SYS_renameat2, File, "renameat2"),
    (libc::SYS_unlinkat, File, "unlinkat"),
    (libc::SYS_newfstatat, File, "newfstatat"),
    (libc::SYS_statx, File, "statx"),
    (libc::SYS_execve, Execute, "execve"),
    (libc::SYS_execveat, Execute, "execveat"),
    // The first call of a new thread, and of a forked process: clone(2) would hold their parent.
    (libc::SYS_set_robust_list, Start, "set_robust_list"),
    (libc::SYS_chdir, Process, "chdir"),
    (libc::SYS_fchdir, Process, "fchdir"),
    (libc::SYS_getcwd, Process, "getcwd"),
    (libc::SYS_umask, Process, "umask"),
    (libc::SYS_prlimit64, Process, "prlimit64"),
    (libc::SYS_prctl, Process, "prctl"),
    (libc::SYS_nanosleep, Sleep, "nanosleep"),
    (libc::SYS_clock_nanosleep, Sleep, "clock_nanosleep"),
];

/// Those that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[(i64, HeldCalls, &str)] = &[
    (libc::SYS_epoll_wait, Receive, "epoll_wait"),
    (libc::SYS_poll, Receive, "poll"),
    (libc::SYS_select, Receive, "select"),
    (libc::SYS_open, File, "open"),
    (libc::SYS_rename, File, "rename"),
    (libc::SYS_unlink, File, "unlink"),
    (libc::SYS_stat, File, "stat"),
    (libc::SYS_lstat, File, "lstat"),
    (libc::SYS_getrlimit, Process, "getrlimit"),
    (libc::SYS_setrlimit, Process, "setrlimit"),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[(i64, HeldCalls, &str)] = &[];

/// The kind and the name of a call; `None` where it cannot be held.
pub fn kind(number: i64) -> Option<(HeldCalls, &'static str)> {
    let known = CALLS.iter().chain(OLD_CALLS).find(|(known, ..)| *known == number);
    known.map(|(_, kind, name)| (*kind, *name))
}

/// The rules of the filter of a case whose calls are held: all are counted, whichever are held.
pub fn rules() -> Vec<Rule> {
    let unheard = [libc::SYS_read, libc::SYS_write].map(|call| {
        // The case hands the listener over by these, when nobody listens.
        rule(call, &[(5, UNHEARD)], Action::Allow)
    });
    let calls = CALLS.iter().chain(OLD_CALLS).map(|(number, ..)| match *number {
        libc::SYS_prctl => told_variables(),
        number => rule(number, &[], Action::Notify),
    });
    unheard.into_iter().chain(calls).collect()
}
