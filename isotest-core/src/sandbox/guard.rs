//! The guard: one seccomp(2) filter, installed once in the warden and inherited by every case.
//!
//! It shuts the doors that namespaces leave open (`AF_VSOCK`, terminal injection, and io_uring,
//! whose requests no filter sees) and tells the warden, by a user notification
//! (seccomp_unotify(2)), of two things that a wait status hides: a signal that PID 1 sends itself
//! and the kernel would discard, and the moment before a process exits, when what it leaves behind
//! can still be seen. It tells of io_uring, too, so that a report can name what was refused, of
//! questions to a name server, and of objects of interprocess communication. Since cases inherit the
//! filter it costs them no system call. `docs/decisions/true-signal.md` weighs the
//! alternatives.
//!
//! Where cases are traced, the warden has the refusals alone, and each case installs a second filter
//! before its program is executed, which notifies its tracer ([`trace`](super::trace)): the system
//! calls of the warden and of the set-up are no case's, and a filter chain has one listener.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::policy::Guard;

/// Signals that PID 1 cannot send itself and whose default action would end it.
const WATCHED_SIGNALS: [i32; 6] =
    [libc::SIGABRT, libc::SIGTERM, libc::SIGKILL, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];

#[cfg(target_arch = "x86_64")]
const NATIVE_ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const NATIVE_ARCHITECTURE: u32 = 0xC000_00B7;

/// Offsets into `struct seccomp_data` of linux/seccomp.h; the low half of an argument, on a
/// little-endian machine.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const fn offset_of_argument(index: u32) -> u32 {
    16 + 8 * index
}

/// Action of the filter on a system call that matches a rule.
#[derive(Clone, Copy)]
pub enum Action {
    /// It is made.
    Allow,
    /// It fails.
    Refuse(Errno),
    /// It waits until the listener has answered.
    Notify,
}

impl Action {
    fn code(self) -> u32 {
        match self {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Refuse(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
        }
    }
}

/// One rule: a system call, the arguments that it must have, what is done then.
pub struct Rule {
    number: i64,
    arguments: Vec<(u32, u32)>,
    action: Action,
}

/// A rule. Of an argument the low half is compared.
pub fn rule(number: i64, arguments: &[(u32, u32)], action: Action) -> Rule {
    Rule { number, arguments: arguments.to_vec(), action }
}

/// Who is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Nobody,
    Warden,
    /// The tracer of each case, by the filter of the case.
    Tracers,
}

/// The rules of the warden's filter.
fn rules(guard: Guard, hearing: Hearing, interposed: bool) -> Vec<Rule> {
    const TIOCLINUX: u32 = 0x541C;
    const JOIN_SESSION_KEYRING: u32 = 1;
    let mut rules = vec![
        rule(libc::SYS_socket, &[(0, libc::AF_VSOCK as u32)], Action::Refuse(Errno::EAFNOSUPPORT)),
        rule(libc::SYS_ioctl, &[(1, libc::TIOCSTI as u32)], Action::Refuse(Errno::EPERM)),
        rule(libc::SYS_ioctl, &[(1, TIOCLINUX)], Action::Refuse(Errno::EPERM)),
        // A lease on a file of the host keeps its writers waiting, however it was opened.
        rule(libc::SYS_fcntl, &[(1, libc::F_SETLEASE as u32)], Action::Refuse(Errno::EPERM)),
        // Numbers of keys are the whole machine's. A case still leaves the caller's session.
        rule(libc::SYS_keyctl, &[(0, JOIN_SESSION_KEYRING)], Action::Allow),
    ];
    let keys = [libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key];
    rules.extend(keys.map(|call| rule(call, &[], Action::Refuse(Errno::EPERM))));
    match guard {
        Guard::Basic | Guard::NoListener => rules.extend(io_uring(hearing)),
        Guard::IoUring => {}
        Guard::Strict => {
            rules.extend(io_uring(hearing));
            let algorithms = [(0, libc::AF_ALG as u32)];
            rules.push(rule(libc::SYS_socket, &algorithms, Action::Refuse(Errno::EAFNOSUPPORT)));
            let calls = [libc::SYS_userfaultfd, libc::SYS_perf_event_open];
            rules.extend(calls.map(|call| rule(call, &[], Action::Refuse(Errno::ENOSYS))));
        }
    }
    if hearing == Hearing::Warden {
        rules.extend(notices());
        if interposed {
            rules.extend(executions());
        }
    }
    rules
}

/// Arguments of the sendmmsg(2) of glibc's resolver, which asks for the addresses of both kinds. All
/// else that calls it so is told as well, and is no question.
const QUESTIONS: [(u32, u32); 2] = [(2, 2), (3, libc::MSG_NOSIGNAL as u32)];
/// Calls that open an object of interprocess communication, or make it.
const OPENS_IPC_OBJECT: [i64; 4] =
    [libc::SYS_shmget, libc::SYS_semget, libc::SYS_msgget, libc::SYS_mq_open];

/// Rules for programs that are executed, where some are refused.
pub fn executions() -> [Rule; 2] {
    [libc::SYS_execve, libc::SYS_execveat].map(|call| rule(call, &[], Action::Notify))
}

/// Rules for what a wait status hides, and for what is not there any more when a test exits.
fn notices() -> Vec<Rule> {
    let mut rules = Vec::new();
    for signal in WATCHED_SIGNALS {
        let signal = signal as u32;
        rules.push(rule(libc::SYS_tgkill, &[(0, 1), (2, signal)], Action::Notify));
        rules.push(rule(libc::SYS_kill, &[(0, 1), (1, signal)], Action::Notify));
    }
    // musl's raise() knows the thread only.
    rules.push(rule(libc::SYS_tkill, &[(1, libc::SIGABRT as u32)], Action::Notify));
    rules.push(rule(libc::SYS_exit_group, &[], Action::Notify));
    rules.push(rule(libc::SYS_sendmmsg, &QUESTIONS, Action::Notify));
    // Few tests make such objects: it costs less than to look for them at the end of every one.
    rules.extend(OPENS_IPC_OBJECT.map(|call| rule(call, &[], Action::Notify)));
    rules
}

/// Rules against io_uring(7): IORING_OP_SOCKET makes sockets of every family and bypasses the
/// filter. So does a ring that another process has made.
fn io_uring(hearing: Hearing) -> [Rule; 3] {
    let refused = Action::Refuse(NO_IO_URING);
    let setup = match hearing {
        Hearing::Nobody => refused,
        Hearing::Warden => Action::Notify,
        // A refusal here would keep the notification from the tracer. A ring is of no use without
        // the calls below.
        Hearing::Tracers => Action::Allow,
    };
    [
        rule(libc::SYS_io_uring_setup, &[], setup),
        rule(libc::SYS_io_uring_enter, &[], refused),
        rule(libc::SYS_io_uring_register, &[], refused),
    ]
}

/// Errno of a kernel without io_uring: libraries that can do without it expect this one.
const NO_IO_URING: Errno = Errno::ENOSYS;

/// The rules as a program of classic BPF (linux/filter.h).
fn program(rules: &[Rule]) -> Vec<libc::sock_filter> {
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let give = |value| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let equal =
        |value, yes, no| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    let mut program = vec![
        load(OFFSET_ARCHITECTURE),
        equal(NATIVE_ARCHITECTURE, 1, 0),
        // Another architecture's numbers mean other calls: a 32-bit program has no way in.
        give(libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32),
    ];
    if cfg!(target_arch = "x86_64") {
        // x32 shares the architecture, but its numbers have bit 30 set (asm/unistd.h).
        const X32: u32 = 0x4000_0000;
        program.push(load(OFFSET_NUMBER));
        program.push(instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32));
        program.push(give(libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32));
    }
    for rule in rules {
        // Each argument takes two instructions, then one returns.
        let skip = |done: usize| (2 * (rule.arguments.len() - done) + 1) as u8;
        program.push(load(OFFSET_NUMBER));
        program.push(equal(rule.number as u32, 0, skip(0)));
        for (done, (index, value)) in rule.arguments.iter().enumerate() {
            program.push(load(offset_of_argument(*index)));
            program.push(equal(*value, 0, skip(done + 1)));
        }
        program.push(give(rule.action.code()));
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    program
}

fn instruction(code: u32, yes: u8, no: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: yes, jf: no, k: value }
}

/// The filter of a traced case, installed on top of the warden's.
pub struct CaseFilter(Vec<libc::sock_filter>);

impl CaseFilter {
    /// The notifications of a guard and those of a tracer, to which every execve(2) belongs.
    pub fn new(guard: Guard, traced: Vec<Rule>) -> CaseFilter {
        let mut rules = notices();
        if guard != Guard::IoUring {
            rules.push(rule(libc::SYS_io_uring_setup, &[], Action::Notify));
        }
        rules.extend(traced);
        CaseFilter(program(&rules))
    }

    /// Its number of instructions, and their address.
    pub fn parts(&self) -> (u16, usize) {
        (self.0.len() as u16, self.0.as_ptr().addr())
    }
}

/// Sets `no_new_privs` and installs the filter in this process and all it will clone. `None`
/// where the kernel refuses a listener, EBUSY where an outer sandbox has one already, or the guard
/// leaves it to the cases, or each case is `traced` and has its own. Where cases are `interposed`, it
/// is notified of the programs that are executed.
pub fn install(guard: Guard, traced: bool, interposed: bool) -> Result<Option<Listener>, Errno> {
    // SAFETY: PR_SET_NO_NEW_PRIVS takes numbers.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    match guard {
        Guard::Basic | Guard::Strict | Guard::IoUring => {}
        Guard::NoListener => return load(guard, Hearing::Nobody, false).map(|_| None),
    }
    if traced {
        return load(guard, Hearing::Tracers, false).map(|_| None);
    }
    match load(guard, Hearing::Warden, interposed) {
        Ok(fd) => {
            // SAFETY: with NEW_LISTENER the call returns a descriptor that is ours.
            Ok(Some(Listener(unsafe { OwnedFd::from_raw_fd(fd as i32) })))
        }
        Err(Errno::EBUSY | Errno::EINVAL) => load(guard, Hearing::Nobody, false).map(|_| None),
        Err(errno) => Err(errno),
    }
}

/// seccomp(2) SECCOMP_SET_MODE_FILTER.
fn load(guard: Guard, hearing: Hearing, interposed: bool) -> Result<i64, Errno> {
    let instructions = program(&rules(guard, hearing, interposed));
    let filter = libc::sock_fprog {
        len: instructions.len() as u16,
        filter: instructions.as_ptr().cast_mut(),
    };
    let flags = match hearing {
        Hearing::Warden => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        Hearing::Nobody | Hearing::Tracers => 0,
    };
    // SAFETY: `filter` describes `instructions`, which live until the call returns.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    })
}

/// The end of the notifications at which they are received and answered.
pub struct Listener(OwnedFd);

impl From<OwnedFd> for Listener {
    fn from(descriptor: OwnedFd) -> Listener {
        Listener(descriptor)
    }
}

/// Notification of a system call, as the kernel sends it.
#[derive(Debug, Clone, Copy)]
pub struct SystemCall {
    /// Number of the notification.
    pub id: u64,
    /// The thread, in the pid namespace of the receiver.
    pub thread: i32,
    /// The number of the call.
    pub number: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Address of the instruction behind it.
    pub instruction: u64,
}

impl SystemCall {
    /// An argument that is a number of 32 bits.
    pub fn number_at(&self, index: usize) -> i32 {
        self.arguments.get(index).map_or(0, |value| *value as i32)
    }

    /// An argument that is an address or a size.
    pub fn word_at(&self, index: usize) -> u64 {
        self.arguments.get(index).copied().unwrap_or(0)
    }

    /// True if it has these arguments.
    fn has(&self, arguments: &[(u32, u32)]) -> bool {
        arguments.iter().all(|(index, value)| self.number_at(*index as usize) == *value as i32)
    }

    /// The notification of the guard that this is; `None`: a traced call.
    pub fn of_guard(&self) -> Option<Notification> {
        let argument = |index| self.number_at(index);
        let signal = |signal, thread| GuardEvent::Signal { signal, thread };
        let act = match self.number {
            libc::SYS_tgkill => signal(argument(2), Some(argument(1))),
            libc::SYS_tkill => signal(argument(1), Some(argument(0))),
            libc::SYS_kill => signal(argument(1), None),
            libc::SYS_io_uring_setup => GuardEvent::IoUring,
            libc::SYS_exit_group => GuardEvent::Exit { code: argument(0) },
            libc::SYS_sendmmsg if self.has(&QUESTIONS) => {
                GuardEvent::Questions { messages: self.word_at(1) }
            }
            call if OPENS_IPC_OBJECT.contains(&call) => GuardEvent::IpcObject,
            _ => return None,
        };
        Some(Notification { id: self.id, thread: self.thread, act })
    }
}

/// Notification of a system call by a process of a case; it waits for [`Listener::go_on`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Number of the notification.
    pub id: u64,
    /// The thread, in the warden's pid namespace.
    pub thread: i32,
    /// The system call.
    pub act: GuardEvent,
}

/// System calls that the guard reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardEvent {
    /// exit_group(2).
    Exit {
        /// The exit code.
        code: i32,
    },
    /// A signal to PID 1 of its pid namespace, or to one of its threads.
    Signal {
        /// The signal.
        signal: i32,
        /// The thread it is for, in the sender's pid namespace; `None`: the process.
        thread: Option<i32>,
    },
    /// io_uring_setup(2), which is refused.
    IoUring,
    /// sendmmsg(2) of two messages, as a resolver sends them.
    Questions {
        /// The address of the messages.
        messages: u64,
    },
    /// An object of interprocess communication is opened, or made.
    IpcObject,
}

// linux/seccomp.h: SECCOMP_IOWR(0, struct seccomp_notif), SECCOMP_IOWR(1, struct
// seccomp_notif_resp), SECCOMP_IOW(2, __u64).
const NOTIF_RECV: u64 = 0xC050_2100;
const NOTIF_SEND: u64 = 0xC018_2101;
const NOTIF_ID_VALID: u64 = 0x4008_2102;
/// SECCOMP_IOW(4, __u64), since Linux 6.6.
const NOTIF_SET_FLAGS: u64 = 0x4008_2104;

impl Listener {
    /// The descriptor to poll.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }

    /// Has the kernel run who listens on the processor of who asks: neither does anything else
    /// meanwhile. An older kernel cannot.
    pub fn wake_in_place(&self) {
        const SYNC_WAKE_UP: u64 = 1;
        // SAFETY: NOTIF_SET_FLAGS takes a number.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SET_FLAGS as _, SYNC_WAKE_UP) };
    }

    /// True if a process waits for an answer, and its notification was not received.
    pub fn asks(&self) -> bool {
        let mut polled = [PollFd::new(self.descriptor(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// True if no process is left that could notify.
    pub fn is_over(&self) -> bool {
        let mut polled = [PollFd::new(self.descriptor(), PollFlags::POLLIN)];
        let _ = poll(&mut polled, PollTimeout::ZERO);
        let [polled] = polled;
        polled.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    }

    /// Takes one notification; `None` where its process has died meanwhile.
    pub fn receive(&self) -> Option<SystemCall> {
        // SAFETY: an all-zero seccomp_notif is valid, and the kernel asks for one.
        let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: NOTIF_RECV writes one seccomp_notif.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_RECV as _, &raw mut notice) };
        (result == 0).then_some(SystemCall {
            id: notice.id,
            thread: notice.pid as i32,
            number: i64::from(notice.data.nr),
            arguments: notice.data.args,
            instruction: notice.data.instruction_pointer,
        })
    }

    /// True if the process still waits: files in /proc that were read meanwhile were its own.
    pub fn is_valid(&self, id: u64) -> bool {
        // SAFETY: NOTIF_ID_VALID reads one u64.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_ID_VALID as _, &raw const id) == 0 }
    }

    /// Lets the process go on with its system call. It may have died meanwhile; then this fails,
    /// and nobody waits.
    pub fn go_on(&self, id: u64) {
        self.answer(id, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
    }

    /// Lets the system call fail.
    pub fn refuse(&self, id: u64, errno: Errno) {
        self.answer(id, -(errno as i32), 0);
    }

    /// Refuses io_uring_setup(2).
    pub fn refuse_io_uring(&self, id: u64) {
        self.answer(id, -(NO_IO_URING as i32), 0);
    }

    fn answer(&self, id: u64, error: i32, flags: u32) {
        let answer = libc::seccomp_notif_resp { id, val: 0, error, flags };
        // SAFETY: NOTIF_SEND reads one seccomp_notif_resp.
        unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SEND as _, &raw const answer) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would, on one system call.
    fn evaluate(architecture: u32, number: i64, arguments: [u32; 3]) -> u32 {
        evaluate_under((Guard::Basic, true), architecture, number, arguments)
    }

    fn evaluate_under(
        (guard, listening): (Guard, bool),
        architecture: u32,
        number: i64,
        arguments: [u32; 3],
    ) -> u32 {
        let hearing = if listening { Hearing::Warden } else { Hearing::Nobody };
        let program = program(&rules(guard, hearing, false));
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match u32::from(step.code) & 0x07 {
                libc::BPF_LD => {
                    accumulator = match step.k {
                        OFFSET_NUMBER => number as u32,
                        OFFSET_ARCHITECTURE => architecture,
                        offset => arguments[((offset - 16) / 8) as usize],
                    }
                }
                libc::BPF_JMP => {
                    let holds = match u32::from(step.code) & 0xF0 {
                        libc::BPF_JGE => accumulator >= step.k,
                        _ => accumulator == step.k,
                    };
                    at += usize::from(if holds { step.jt } else { step.jf })
                }
                libc::BPF_RET => return step.k,
                code => panic!("instruction class {code}"),
            }
        }
    }

    #[test]
    fn an_abort_of_pid_1_is_told_and_one_of_a_child_is_not() {
        let abort = libc::SIGABRT as u32;
        let told = |process| evaluate(NATIVE_ARCHITECTURE, libc::SYS_tgkill, [process, 9, abort]);
        assert_eq!(told(1), libc::SECCOMP_RET_USER_NOTIF);
        assert_eq!(told(2), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn the_doors_that_namespaces_leave_open_are_shut() {
        let socket = |family| evaluate(NATIVE_ARCHITECTURE, libc::SYS_socket, [family, 0, 0]);
        let refused = libc::SECCOMP_RET_ERRNO | Errno::EAFNOSUPPORT as u32;
        assert_eq!(socket(libc::AF_VSOCK as u32), refused);
        assert_eq!(socket(libc::AF_INET as u32), libc::SECCOMP_RET_ALLOW);
        let ioctl = |request| evaluate(NATIVE_ARCHITECTURE, libc::SYS_ioctl, [0, request, 0]);
        assert_eq!(ioctl(libc::TIOCSTI as u32), libc::SECCOMP_RET_ERRNO | Errno::EPERM as u32);
        assert_eq!(ioctl(libc::FIONREAD as u32), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn a_ring_can_neither_be_made_nor_used_but_where_that_is_asked_for() {
        let refused = libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32;
        let (told, allowed) = (libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW);
        for (guard, listening, setup, use_) in [
            (Guard::Basic, true, told, refused),
            (Guard::Basic, false, refused, refused),
            (Guard::NoListener, false, refused, refused),
            (Guard::Strict, true, told, refused),
            (Guard::IoUring, true, allowed, allowed),
        ] {
            let ask =
                |call| evaluate_under((guard, listening), NATIVE_ARCHITECTURE, call, [1, 0, 0]);
            assert_eq!(ask(libc::SYS_io_uring_setup), setup, "{guard:?}");
            assert_eq!(ask(libc::SYS_io_uring_enter), use_, "{guard:?}");
            assert_eq!(ask(libc::SYS_io_uring_register), use_, "{guard:?}");
        }
    }

    #[test]
    fn executions_are_told_where_cases_are_interposed_alone() {
        let rule = |rule: &Rule| rule.number == libc::SYS_execve;
        assert!(rules(Guard::Basic, Hearing::Warden, true).iter().any(rule));
        assert!(!rules(Guard::Basic, Hearing::Warden, false).iter().any(rule));
    }

    #[test]
    fn keys_can_only_be_left_behind() {
        let keyctl = |command| evaluate(NATIVE_ARCHITECTURE, libc::SYS_keyctl, [command, 0, 0]);
        assert_eq!(keyctl(1), libc::SECCOMP_RET_ALLOW);
        assert_eq!(keyctl(11), libc::SECCOMP_RET_ERRNO | Errno::EPERM as u32);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn numbers_of_x32_do_not_exist() {
        let vsock = [libc::AF_VSOCK as u32, 1, 0];
        let answer = evaluate(NATIVE_ARCHITECTURE, 0x4000_0000 | libc::SYS_socket, vsock);
        assert_eq!(answer, libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32);
    }

    #[test]
    fn calls_of_another_architecture_do_not_exist() {
        let answer = evaluate(0x4000_0003, libc::SYS_read, [0, 0, 0]);
        assert_eq!(answer, libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32);
    }
}
