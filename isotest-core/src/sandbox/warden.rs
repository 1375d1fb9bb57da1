//! The warden: the small single-threaded process that owns the template and starts cases in it.
//!
//! It runs in user and mount namespaces of its own, as PID 1 of a pid namespace of its own, so
//! that its death, however it comes about, takes every process of every case with it. It builds
//! the template once, then serves requests until the socket to isotest closes. It decides
//! nothing about cases: verdicts are made in [`collect`](crate::collect).

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::child::{self, Launch, Slot};
use super::error::{Fault, STAGE_CLONE, STAGE_EXEC, STAGE_GUARD, STAGE_SCRATCH};
use super::guard::{self, Act, Listener, Notification};
use super::look::{children_of, is_deadly, is_scratch_full, status_field, unrouted_packets};
use super::protocol::{Channel, End, Request, Response, Seen, Start};
use super::steps::Op;
use super::sys;
use crate::outcome::Usage;
use crate::plan::Setup;
use crate::policy::Guard;

/// How many cases may be in flight at once.
pub const SLOTS: usize = 1024;

/// A set-up with its pointer arrays made.
struct Prepared {
    setup: Setup,
    ops: Vec<Op>,
}

/// A case in flight.
struct Running {
    case: u64,
    pidfd: OwnedFd,
    scratch: Option<OwnedFd>,
    slot: usize,
    reaper: bool,
    own_network: bool,
    seen: Seen,
}

/// The state of the warden.
struct State {
    channel: Channel,
    listener: Option<Listener>,
    null: OwnedFd,
    slots: &'static [Slot],
    free: Vec<usize>,
    setups: HashMap<u32, Prepared>,
    running: HashMap<i32, Running>,
}

/// What the warden does from its first instruction to its end. `mapped` reaches its end when the
/// id maps of its user namespace are written.
pub fn run(channel: Channel, mapped: OwnedFd, guard: Guard) -> ! {
    // Set before anything can go wrong; it is void where isotest has died already, hence the
    // socket.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = nix::unistd::read(&mapped, &mut [0]);
    drop(mapped);
    report_panics(&channel);
    match enter(&channel, guard) {
        Ok((listener, null, signals)) => {
            let _ = channel.send(&Response::Ready { listening: listener.is_some() }, &[]);
            let warden = State {
                channel,
                listener,
                null,
                slots: shared_slots(),
                free: (0..SLOTS).rev().collect(),
                setups: HashMap::new(),
                running: HashMap::new(),
            };
            warden.serve(&signals)
        }
        Err(errno) => {
            let fault = Fault { stage: STAGE_GUARD, errno: errno as i32 };
            let _ = channel.send(&Response::Built(Some(fault)), &[]);
            sys::exit(1)
        }
    }
}

/// Leaves the caller's session, terminal, descriptors and signal dispositions, and puts the
/// guard up.
fn enter(channel: &Channel, guard: Guard) -> Result<(Option<Listener>, OwnedFd, SignalFd), Errno> {
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(c"isotest-warden");
    sys::set_umask(0);
    sys::reset_signals();
    let null = nix::fcntl::open(
        c"/dev/null",
        nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )?;
    for number in 0..3 {
        sys::place_descriptor(null.as_fd(), number)?;
    }
    sys::close_all_but(&[channel.as_fd(), null.as_fd()])?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_set_mask()?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&children, flags)?;
    Ok((guard::install(guard)?, null, signals))
}

/// A panic here must reach isotest, and must not end in abort(3): the guard would tell the
/// warden of its own signal, and it would wait for itself.
fn report_panics(channel: &Channel) {
    use std::os::fd::AsRawFd;
    let socket = channel.as_fd().as_raw_fd();
    std::panic::set_hook(Box::new(move |panic| {
        let message = postcard::to_allocvec(&Response::Panicked(panic.to_string()));
        let mut bytes = vec![0];
        bytes.extend(message.unwrap_or_default());
        // SAFETY: the pointer and the length are those of `bytes`.
        unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        sys::exit(70)
    }));
}

/// The memory that the warden and children before exec share.
fn shared_slots() -> &'static [Slot] {
    let length = SLOTS * size_of::<Slot>();
    // SAFETY: a new anonymous mapping; zeroed memory is a valid array of slots, and it is never
    // unmapped.
    unsafe {
        let memory = libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert!(memory != libc::MAP_FAILED, "no memory for slots: {}", Errno::last());
        std::slice::from_raw_parts(memory.cast(), SLOTS)
    }
}

impl State {
    fn serve(mut self, signals: &SignalFd) -> ! {
        loop {
            let listener = self.listener.as_ref().map(|listener| listener.descriptor());
            let mut polled = vec![
                PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            polled.extend(listener.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            if poll(&mut polled, PollTimeout::NONE).is_err() {
                continue;
            }
            let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            if ready.get(2) == Some(&true) {
                self.answer_notification();
            }
            if ready.get(1) == Some(&true) {
                while let Ok(Some(_)) = signals.read_signal() {}
                self.reap();
            }
            if ready.first() == Some(&true) {
                self.handle_request();
            }
        }
    }

    fn send(&self, response: &Response) {
        if self.channel.send(response, &[]).is_err() {
            // isotest is gone. The kernel kills all that is left in this pid namespace.
            sys::exit(0);
        }
    }

    fn handle_request(&mut self) {
        match self.channel.receive(false) {
            Ok((Request::Template(ops), _)) => self.build(&ops),
            Ok((Request::Setup(number, setup), _)) => {
                let ops = setup.steps.iter().map(|step| step.op.clone()).collect();
                self.setups.insert(number, Prepared { setup, ops });
            }
            Ok((Request::Start(start), descriptors)) => self.start(&start, descriptors),
            Ok((Request::Terminate(case), _)) => {
                let running = self.running.values().find(|running| running.case == case);
                if let Some(running) = running {
                    // ESRCH: it has ended by itself, and the next wait reports it.
                    let _ = sys::signal_process(running.pidfd.as_fd(), libc::SIGTERM);
                }
            }
            Ok((Request::Kill(case), _)) => {
                let found = self.running.iter().find(|(_, running)| running.case == case);
                if let Some((leader, running)) = found {
                    // ESRCH: it has ended by itself, and the next wait reports it.
                    let _ = sys::signal_process(running.pidfd.as_fd(), libc::SIGKILL);
                    if !owns_pid_namespace() {
                        signal_group(*leader, Signal::SIGKILL);
                    }
                }
            }
            Ok((Request::Stop, _)) => self.signal_all(Signal::SIGSTOP),
            Ok((Request::Continue, _)) => self.signal_all(Signal::SIGCONT),
            Err(Errno::EAGAIN) => {}
            Err(_) => sys::exit(0),
        }
    }

    /// Signals every process of every case.
    fn signal_all(&self, signal: Signal) {
        if owns_pid_namespace() {
            // kill(2) with -1: all of the warden's pid namespace but the warden. ESRCH: no case.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), signal);
        } else {
            self.running.keys().for_each(|leader| signal_group(*leader, signal));
        }
    }

    fn build(&self, ops: &[Op]) {
        let refused = ops.iter().enumerate().find_map(|(index, op)| {
            let errno = child::perform(op).err()?;
            Some(Fault { stage: index as u32, errno: errno as i32 })
        });
        self.send(&Response::Built(refused));
    }

    fn start(&mut self, start: &Start, descriptors: Vec<OwnedFd>) {
        let Err((stage, errno)) = self.try_start(start, descriptors) else { return };
        self.send(&Response::Ended(End {
            case: start.case,
            status: 0,
            usage: Usage::default(),
            fault: Some(Fault { stage, errno: errno as i32 }),
            seen: Seen::default(),
        }));
    }

    fn try_start(&mut self, start: &Start, descriptors: Vec<OwnedFd>) -> Result<(), (u32, Errno)> {
        let refused = |errno| (STAGE_CLONE, errno);
        let slot = *self.free.last().ok_or(refused(Errno::EAGAIN))?;
        let setup = &self.setups.get(&start.setup).ok_or(refused(Errno::EINVAL))?.setup;
        let scratch = setup.kept_scratch.map(sys::make_tmpfs).transpose();
        let scratch = scratch.map_err(|errno| (STAGE_SCRATCH, errno))?;
        let cloned = self.clone_case(start, slot, &descriptors, scratch.as_ref());
        let cloned = cloned.map_err(refused)?;
        let pidfd = cloned.pidfd.ok_or(refused(Errno::ENOSYS))?;
        let running = Running {
            case: start.case,
            pidfd,
            scratch,
            slot,
            reaper: setup.reaper,
            own_network: setup.namespaces & libc::CLONE_NEWNET as u64 != 0,
            seen: Seen::default(),
        };
        self.free.pop();
        self.running.insert(cloned.pid, running);
        Ok(())
    }

    /// Clones a case from this process, which is its template.
    fn clone_case(
        &self,
        start: &Start,
        slot: usize,
        descriptors: &[OwnedFd],
        scratch: Option<&OwnedFd>,
    ) -> Result<sys::Cloned, Errno> {
        let Prepared { setup, ops } = self.setups.get(&start.setup).ok_or(Errno::EINVAL)?;
        let argv = pointers(setup.arguments.iter().chain(&start.arguments));
        let envp = pointers(setup.environment.iter().chain(&start.environment));
        let slot = self.slots.get(slot).ok_or(Errno::EINVAL)?;
        slot.reset();
        let user = match &setup.id_maps {
            Some(maps) if setup.sealed => Some(make_user_namespace(maps)?),
            Some(_) | None => None,
        };
        let launch = Launch {
            ops,
            program: &setup.program,
            argv: &argv,
            envp: &envp,
            directory: &setup.directory,
            stdio: match descriptors {
                [output, error] => [self.null.as_fd(), output.as_fd(), error.as_fd()],
                [input, output, error] => [input.as_fd(), output.as_fd(), error.as_fd()],
                _ => return Err(Errno::EINVAL),
            },
            terminal: start.terminal,
            reaper: setup.reaper,
            scratch: scratch.map(AsFd::as_fd),
            user: user.as_ref().map(AsFd::as_fd),
            number: start.case,
            slot,
        };
        // Of a sealed case the child's steps make the others.
        let early = (libc::CLONE_NEWPID | libc::CLONE_NEWNS) as u64;
        let namespaces = setup.namespaces & if setup.sealed { early } else { u64::MAX };
        let flags = namespaces | libc::CLONE_PIDFD as u64;
        // SAFETY: the warden has one thread, and the child does nothing but `Launch::run`.
        let Some(cloned) = (unsafe { sys::clone(flags, libc::SIGCHLD as u64) })? else {
            launch.run()
        };
        if let Some(maps) = setup.id_maps.as_ref().filter(|_| !setup.sealed) {
            // Where this fails the child's next step does, with the errno of an unmapped id.
            let _ = write_id_maps(cloned.pid, maps);
            sys::store_and_wake(&slot.mapped, 1);
        }
        Ok(cloned)
    }

    fn reap(&mut self) {
        while let Some(waited) = sys::wait_any(-1) {
            if libc::WIFSTOPPED(waited.status) {
                // A test that called PTRACE_TRACEME has made the warden its tracer. Nobody here
                // wants to trace it: it goes on with the signal that stopped it.
                sys::detach_tracee(waited.pid, libc::WSTOPSIG(waited.status));
                continue;
            }
            if let Some(running) = self.running.remove(&waited.pid) {
                self.report_end(running, &waited);
            }
        }
    }

    fn report_end(&mut self, running: Running, waited: &sys::Waited) {
        let slot = self.slots.get(running.slot);
        let stage = slot.map_or(STAGE_EXEC, |slot| slot.stage.load(Ordering::Acquire));
        let errno = slot.map_or(0, |slot| slot.errno.load(Ordering::Acquire));
        let test = slot.map_or(0, |slot| slot.status.load(Ordering::Acquire));
        let fault = (stage != STAGE_EXEC || errno != 0).then_some(Fault { stage, errno });
        let status = if running.reaper && test != 0 { test - 1 } else { waited.status };
        self.free.push(running.slot);
        let end = Response::Ended(End {
            case: running.case,
            status,
            usage: usage(&waited.usage),
            fault,
            seen: running.seen,
        });
        let scratch = running.scratch.as_ref().map(AsFd::as_fd);
        if self.channel.send(&end, scratch.as_slice()).is_err() {
            sys::exit(0);
        }
    }

    fn answer_notification(&mut self) {
        let Some(listener) = &self.listener else { return };
        let Some(notification) = listener.receive() else { return };
        match notification.act {
            Act::Exit { code } => {
                let process = self.leader_of(notification.thread);
                let test = self.running.contains_key(&process).then_some(process);
                if let Some(running) = self.running.get_mut(&process) {
                    running.seen.leftovers = children_of(process);
                }
                // Only a failure is worth the look. An init does not fail, its test does.
                let failed = (code != 0).then(|| test.or_else(|| self.init_of(process))).flatten();
                if let Some(running) = failed.and_then(|case| self.running.get_mut(&case)) {
                    running.seen.scratch_full = is_scratch_full(process);
                    if running.own_network {
                        running.seen.unrouted = unrouted_packets(process);
                    }
                }
            }
            Act::Signal { signal, thread } => {
                let deadly = is_deadly(&notification, signal, thread)
                    && self.listener.as_ref().is_some_and(|l| l.is_valid(notification.id));
                if deadly && self.note_signal(&notification, signal) {
                    // It is dying: its abort(3) must not see the signal go by.
                    return;
                }
            }
        }
        if let Some(listener) = &self.listener {
            listener.go_on(notification.id);
        }
    }

    /// The process that a thread belongs to. Most are the leaders of cases themselves.
    fn leader_of(&self, thread: i32) -> i32 {
        if self.running.contains_key(&thread) {
            return thread;
        }
        let process = status_field(thread, "Tgid:");
        process.and_then(|text| text.parse().ok()).unwrap_or(thread)
    }

    /// The reaping init whose test a process is.
    fn init_of(&self, process: i32) -> Option<i32> {
        let parent = status_field(process, "PPid:")?.parse().ok()?;
        let running = self.running.get(&parent)?;
        let number = status_field(process, "NSpid:")?;
        (running.reaper && number.split_whitespace().last() == Some("2")).then_some(parent)
    }

    /// Notes a signal with which PID 1 of a case meant to end itself. For SIGABRT the warden
    /// does what the kernel would do to any other process: it ends the case. Returns whether it
    /// did.
    fn note_signal(&mut self, notification: &Notification, signal: i32) -> bool {
        let leader = self.leader_of(notification.thread);
        let Some(running) = self.running.get_mut(&leader) else { return false };
        if running.reaper {
            return false;
        }
        if signal != libc::SIGABRT {
            running.seen.discarded.push(signal);
            return false;
        }
        running.seen.aborted = true;
        running.seen.leftovers = children_of(leader);
        sys::signal_process(running.pidfd.as_fd(), libc::SIGKILL).is_ok()
    }
}

/// Whether the warden is PID 1. With `pid = host` it is not, and -1 would mean every process of
/// the user.
fn owns_pid_namespace() -> bool {
    std::process::id() == 1
}

/// Signals the process group of a case, which it leads since it has started a session.
fn signal_group(leader: i32, signal: Signal) {
    // ESRCH: it is gone.
    let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(leader), signal);
}

fn write_id_maps(process: i32, (uids, gids): &(Vec<u8>, Vec<u8>)) -> std::io::Result<()> {
    fs::write(format!("/proc/{process}/uid_map"), uids)?;
    fs::write(format!("/proc/{process}/gid_map"), gids)
}

/// Makes a user namespace with these id maps and nobody in it. It takes a process: none other than
/// a member can make one, and only its parent's may write the maps.
fn make_user_namespace(maps: &(Vec<u8>, Vec<u8>)) -> Result<OwnedFd, Errno> {
    // SAFETY: the warden has one thread, and the child only waits for its end.
    let Some(member) = (unsafe { sys::clone(libc::CLONE_NEWUSER as u64, libc::SIGCHLD as u64) })?
    else {
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        sys::wait_for_end()
    };
    let made = write_id_maps(member.pid, maps)
        .and_then(|()| fs::File::open(format!("/proc/{}/ns/user", member.pid)));
    let member = nix::unistd::Pid::from_raw(member.pid);
    nix::sys::signal::kill(member, Signal::SIGKILL)?;
    nix::sys::wait::waitpid(member, None)?;
    made.map(OwnedFd::from)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// A null-terminated array of pointers to C strings.
fn pointers<'a>(strings: impl Iterator<Item = &'a CString>) -> Vec<*const c_char> {
    strings.map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// The figures of getrusage(2) that an outcome has.
fn usage(raw: &libc::rusage) -> Usage {
    let time = |value: libc::timeval| {
        Duration::from_secs(value.tv_sec as u64) + Duration::from_micros(value.tv_usec as u64)
    };
    Usage {
        user: time(raw.ru_utime),
        system: time(raw.ru_stime),
        max_rss: raw.ru_maxrss as u64 * 1024,
        voluntary_switches: raw.ru_nvcsw as u64,
        involuntary_switches: raw.ru_nivcsw as u64,
    }
}
