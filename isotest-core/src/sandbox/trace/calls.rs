//! The system calls that are traced, and where their arguments are.

use crate::sandbox::guard::{Action, Rule, rule};
use crate::sandbox::interpose::settings::TELLS_VARIABLE;
use crate::trace::Change;

/// A path among the arguments of a call.
#[derive(Debug, Clone, Copy)]
pub struct PathAt {
    /// The argument with the descriptor of the directory; `None`: the working directory.
    pub directory: Option<usize>,
    /// The argument with the address of the path.
    pub path: usize,
}

/// The flags of open(2).
#[derive(Debug, Clone, Copy)]
pub enum OpenFlags {
    /// That argument.
    At(usize),
    /// The first member of the structure to which that argument points: openat2(2).
    InStructure(usize),
    /// Those of creat(2).
    Create,
}

/// Meaning of a call and of its arguments.
#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    Open(PathAt, OpenFlags),
    /// The flag is that the last component is not followed.
    Look(PathAt, Follow),
    Change(Change, PathAt),
    /// A rename or a link: the old path, the new one.
    Move(Change, PathAt, PathAt),
    /// symlink(2): the argument with the target, the new path.
    Link(usize, PathAt),
    /// The program, and the argument with the array of arguments.
    Execute(PathAt, usize),
    Connect,
    Bind,
    Listen,
    /// sendto(2).
    Send,
    /// sendmsg(2).
    SendMessage,
    /// sendmmsg(2).
    SendMessages,
    Entropy,
    HostName,
    ProcessId,
    Processors,
    Clock,
    /// A call that waits for a time, or has a time-out.
    Wait,
    /// futex(2) with a time-out.
    WaitForWord,
    /// clone(2).
    Clone,
    /// clone3(2).
    CloneBy,
    /// chdir(2).
    Enter(PathAt),
    /// prlimit(2): the argument with the limit.
    Limit(usize),
    Umask,
    /// The library tells of an environment variable.
    Variable,
    /// write(2) to descriptor 1 or 2.
    Print,
    /// writev(2) to them.
    PrintVector,
    /// mount(2), move_mount(2).
    Mount,
}

/// Whether a symbolic link in the last place is followed.
#[derive(Debug, Clone, Copy)]
pub enum Follow {
    Yes,
    No,
    /// Unless that argument has AT_SYMLINK_NOFOLLOW.
    Flags(usize),
}

const fn at(directory: usize, path: usize) -> PathAt {
    PathAt { directory: Some(directory), path }
}

const fn here(path: usize) -> PathAt {
    PathAt { directory: None, path }
}

/// fchmodat2(2), which libc has no number for on every target.
const SYS_FCHMODAT2: i64 = 452;

/// The calls of every architecture.
const CALLS: &[(i64, Meaning)] = &[
    (libc::SYS_openat, Meaning::Open(at(0, 1), OpenFlags::At(2))),
    (libc::SYS_openat2, Meaning::Open(at(0, 1), OpenFlags::InStructure(2))),
    (libc::SYS_newfstatat, Meaning::Look(at(0, 1), Follow::Flags(3))),
    (libc::SYS_statx, Meaning::Look(at(0, 1), Follow::Flags(2))),
    (libc::SYS_faccessat, Meaning::Look(at(0, 1), Follow::Yes)),
    (libc::SYS_faccessat2, Meaning::Look(at(0, 1), Follow::Flags(3))),
    (libc::SYS_readlinkat, Meaning::Look(at(0, 1), Follow::No)),
    (libc::SYS_clone, Meaning::Clone),
    (libc::SYS_clone3, Meaning::CloneBy),
    (libc::SYS_chdir, Meaning::Enter(here(0))),
    (libc::SYS_prlimit64, Meaning::Limit(1)),
    (libc::SYS_umask, Meaning::Umask),
    (libc::SYS_prctl, Meaning::Variable),
    (libc::SYS_statfs, Meaning::Look(here(0), Follow::Yes)),
    (libc::SYS_inotify_add_watch, Meaning::Look(here(1), Follow::Yes)),
    (libc::SYS_execve, Meaning::Execute(here(0), 1)),
    (libc::SYS_execveat, Meaning::Execute(at(0, 1), 2)),
    (libc::SYS_unlinkat, Meaning::Change(Change::Removed, at(0, 1))),
    (libc::SYS_mkdirat, Meaning::Change(Change::MadeDirectory, at(0, 1))),
    (libc::SYS_mknodat, Meaning::Change(Change::MadeNode, at(0, 1))),
    (libc::SYS_renameat, Meaning::Move(Change::Renamed, at(0, 1), at(2, 3))),
    (libc::SYS_renameat2, Meaning::Move(Change::Renamed, at(0, 1), at(2, 3))),
    (libc::SYS_linkat, Meaning::Move(Change::Linked, at(0, 1), at(2, 3))),
    (libc::SYS_symlinkat, Meaning::Link(0, at(1, 2))),
    (libc::SYS_truncate, Meaning::Change(Change::Truncated, here(0))),
    (libc::SYS_fchmodat, Meaning::Change(Change::Attributes, at(0, 1))),
    (SYS_FCHMODAT2, Meaning::Change(Change::Attributes, at(0, 1))),
    (libc::SYS_fchownat, Meaning::Change(Change::Attributes, at(0, 1))),
    (libc::SYS_utimensat, Meaning::Change(Change::Attributes, at(0, 1))),
    (libc::SYS_connect, Meaning::Connect),
    (libc::SYS_bind, Meaning::Bind),
    (libc::SYS_listen, Meaning::Listen),
    (libc::SYS_sendto, Meaning::Send),
    (libc::SYS_sendmsg, Meaning::SendMessage),
    (libc::SYS_sendmmsg, Meaning::SendMessages),
    (libc::SYS_getrandom, Meaning::Entropy),
    (libc::SYS_uname, Meaning::HostName),
    (libc::SYS_getpid, Meaning::ProcessId),
    (libc::SYS_sched_getaffinity, Meaning::Processors),
    (libc::SYS_clock_gettime, Meaning::Clock),
    (libc::SYS_gettimeofday, Meaning::Clock),
    (libc::SYS_nanosleep, Meaning::Wait),
    (libc::SYS_clock_nanosleep, Meaning::Wait),
    (libc::SYS_epoll_pwait, Meaning::Wait),
    (libc::SYS_ppoll, Meaning::Wait),
    (libc::SYS_futex, Meaning::WaitForWord),
    (libc::SYS_mount, Meaning::Mount),
    (libc::SYS_move_mount, Meaning::Mount),
    (libc::SYS_write, Meaning::Print),
    (libc::SYS_writev, Meaning::PrintVector),
];

/// Those that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[(i64, Meaning)] = &[
    (libc::SYS_open, Meaning::Open(here(0), OpenFlags::At(1))),
    (libc::SYS_creat, Meaning::Open(here(0), OpenFlags::Create)),
    (libc::SYS_stat, Meaning::Look(here(0), Follow::Yes)),
    (libc::SYS_lstat, Meaning::Look(here(0), Follow::No)),
    (libc::SYS_access, Meaning::Look(here(0), Follow::Yes)),
    (libc::SYS_readlink, Meaning::Look(here(0), Follow::No)),
    (libc::SYS_unlink, Meaning::Change(Change::Removed, here(0))),
    (libc::SYS_rmdir, Meaning::Change(Change::Removed, here(0))),
    (libc::SYS_mkdir, Meaning::Change(Change::MadeDirectory, here(0))),
    (libc::SYS_mknod, Meaning::Change(Change::MadeNode, here(0))),
    (libc::SYS_rename, Meaning::Move(Change::Renamed, here(0), here(1))),
    (libc::SYS_link, Meaning::Move(Change::Linked, here(0), here(1))),
    (libc::SYS_symlink, Meaning::Link(0, here(1))),
    (libc::SYS_chmod, Meaning::Change(Change::Attributes, here(0))),
    (libc::SYS_chown, Meaning::Change(Change::Attributes, here(0))),
    (libc::SYS_lchown, Meaning::Change(Change::Attributes, here(0))),
    (libc::SYS_utime, Meaning::Change(Change::Attributes, here(0))),
    (libc::SYS_utimes, Meaning::Change(Change::Attributes, here(0))),
    (libc::SYS_futimesat, Meaning::Change(Change::Attributes, at(0, 1))),
    (libc::SYS_time, Meaning::Clock),
    (libc::SYS_epoll_wait, Meaning::Wait),
    (libc::SYS_poll, Meaning::Wait),
    (libc::SYS_setrlimit, Meaning::Limit(0)),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[(i64, Meaning)] = &[];

/// The meaning of a call.
pub fn meaning(number: i64) -> Option<Meaning> {
    let known = CALLS.iter().chain(OLD_CALLS).find(|(known, _)| *known == number);
    known.map(|(_, meaning)| *meaning)
}

/// Rules for a call that has no time-out, or does not wait.
fn endless(number: i64) -> Vec<Rule> {
    let argument = match number {
        libc::SYS_epoll_pwait => Some((3, vec![0, u32::MAX])),
        libc::SYS_ppoll => Some((2, vec![0])),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => Some((3, vec![0, u32::MAX])),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => Some((2, vec![0, u32::MAX])),
        _ => None,
    };
    let rules = argument.into_iter().flat_map(|(place, values)| {
        values.into_iter().map(move |value| rule(number, &[(place, value)], Action::Allow))
    });
    rules.collect()
}

/// The rule by which the library tells of an environment variable.
pub fn told_variables() -> Rule {
    rule(libc::SYS_prctl, &[(0, TELLS_VARIABLE)], Action::Notify)
}

/// The rules of the filter by which a case is traced.
pub fn rules() -> Vec<Rule> {
    let empty_path = libc::AT_EMPTY_PATH as u32;
    // The properties of an open file: there is no path.
    let mut rules = vec![
        rule(libc::SYS_newfstatat, &[(3, empty_path)], Action::Allow),
        rule(libc::SYS_statx, &[(2, empty_path)], Action::Allow),
        // What is sent over a connection has no address.
        rule(libc::SYS_sendto, &[(4, 0), (5, 0)], Action::Allow),
        // A limit is only read.
        rule(libc::SYS_prlimit64, &[(2, 0)], Action::Allow),
        // malloc(3) of glibc asks for a key, once a process.
        rule(libc::SYS_getrandom, &[(1, 8), (2, libc::GRND_NONBLOCK)], Action::Allow),
    ];
    for (number, meaning) in CALLS.iter().chain(OLD_CALLS) {
        match meaning {
            Meaning::Print | Meaning::PrintVector => {
                rules.extend([1, 2].map(|stream| rule(*number, &[(0, stream)], Action::Notify)));
            }
            // glibc asks for the processors of a thread by its id, to find its stack.
            Meaning::Processors => rules.push(rule(*number, &[(0, 0)], Action::Notify)),
            Meaning::Wait => {
                rules.extend(endless(*number));
                rules.push(rule(*number, &[], Action::Notify));
            }
            Meaning::WaitForWord => {
                let operations = [libc::FUTEX_WAIT, libc::FUTEX_WAIT_BITSET];
                for operation in operations.map(|it| (it | libc::FUTEX_PRIVATE_FLAG) as u32) {
                    rules.push(rule(*number, &[(1, operation), (3, 0)], Action::Allow));
                    rules.push(rule(*number, &[(1, operation)], Action::Notify));
                }
            }
            // Other clocks tell what a process or the machine has spent.
            Meaning::Clock if *number == libc::SYS_clock_gettime => {
                let day = [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE, libc::CLOCK_TAI];
                rules.extend(day.map(|it| rule(*number, &[(0, it as u32)], Action::Notify)));
            }
            Meaning::Variable => rules.push(told_variables()),
            _ => rules.push(rule(*number, &[], Action::Notify)),
        }
    }
    rules
}
