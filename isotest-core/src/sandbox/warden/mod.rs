//! The warden: the small single-threaded process that owns the template and starts cases in it.
//!
//! It runs in user and mount namespaces of its own, as PID 1 of a pid namespace of its own, so
//! that its death, however it comes about, takes every process of every case with it. It builds
//! the template once, then serves requests until the socket to isotest closes. It decides
//! nothing about cases: verdicts are made in [`collect`](crate::collect).

#![allow(unsafe_code)]

mod exits;
mod notifications;
mod scratch;
mod services;
mod slots;
mod start;

use std::any::Any;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::notifications::DelayedExit;
use super::cgroup::{BaseCgroup, CaseCgroup};
use super::child::bytecode::{Bytecode, Values};
use super::child::kernel;
use super::child::start::Slot;
use super::fault::{Fault, STEP_CLONE, STEP_EXEC, STEP_GUARD, STEP_SCRATCH};
use super::guard::{self, Listener};
use super::protocol::{Channel, Disk, End, Exit, GuardRecord, Request, Response, Setup, Start};
use super::servers::Server;
use super::sys;
use crate::outcome::Usage;
use crate::policy::Guard;
use scratch::Scratches;
use slots::Slots;

/// How many cases may be in flight at once.
pub const SLOTS: usize = 1024;

/// How long a fork server has to start a case that is to be killed, or to say that it cannot.
const PATIENCE: Duration = Duration::from_secs(5);

/// A set-up and its fork server.
struct Prepared {
    setup: Setup,
    /// Whether a server starts its cases: all of them, later attempts as well, as long as one can.
    served: bool,
    /// How many cases are to come at the least.
    expected: u32,
    server: Option<(Server, Rc<Slots>)>,
    /// When the server has to have started, at the latest, the cases that are to be killed.
    overdue: Option<Instant>,
    /// Cases that wait for the server, with their slots and descriptors.
    waiting: Vec<(Start, usize, Vec<OwnedFd>)>,
}

/// A case in flight.
struct RunningCase {
    case: u64,
    setup: u32,
    /// Where its slot is.
    slots: Rc<Slots>,
    /// What follows the set-up's arguments.
    arguments: Vec<CString>,
    scratch: Option<OwnedFd>,
    group: Option<CaseCgroup>,
    reaper: bool,
    own_network: bool,
    /// A signal for it that came before it was cloned.
    doomed: Option<i32>,
    seen: GuardRecord,
    /// Its service supervisor.
    supervisor: Option<i32>,
    /// How its PID 1 has ended, where its supervisor has not yet.
    ended: Option<(i32, Usage)>,
}

/// The state of the warden.
struct WardenState {
    channel: Channel,
    listener: Option<Listener>,
    null: OwnedFd,
    base: Option<BaseCgroup>,
    /// Where cases have their scratch on disk.
    disk: Option<Scratches>,
    /// Those of cases that are executed.
    slots: Rc<Slots>,
    free: Vec<usize>,
    setups: HashMap<u32, Prepared>,
    /// By slot.
    running: HashMap<usize, RunningCase>,
    /// Exits that are put off.
    departures: Vec<DelayedExit>,
}

/// What the warden does from its first instruction to its end. `mapped` reaches its end when the
/// id maps of its user namespace are written. Below `base` each case gets a control group.
pub fn run(channel: Channel, mapped: OwnedFd, guard: Guard, base: Option<BaseCgroup>) -> ! {
    // Set before anything can go wrong; it is void where isotest has died already, hence the
    // socket.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = nix::unistd::read(&mapped, &mut [0]);
    drop(mapped);
    match enter(&channel, base.as_ref(), guard) {
        Ok((listener, null, signals)) => {
            let _ = channel.send(&Response::Ready { listening: listener.is_some() }, &[]);
            let (slots, _) = Slots::new().expect("memory for slots");
            let mut warden = WardenState {
                channel,
                listener,
                null,
                base,
                disk: None,
                slots: Rc::new(slots),
                free: (0..SLOTS).rev().collect(),
                setups: HashMap::new(),
                running: HashMap::new(),
                departures: Vec::new(),
            };
            let served = catch_unwind(AssertUnwindSafe(|| warden.serve(&signals)));
            if let Err(panic) = served {
                let _ = warden.channel.send(&Response::Panicked(words_of(panic.as_ref())), &[]);
            }
            kernel::exit(70)
        }
        Err(errno) => {
            let fault = Fault { step: STEP_GUARD, errno: errno as i32 };
            let _ = channel.send(&Response::Built(Some(fault)), &[]);
            kernel::exit(1)
        }
    }
}

/// Leaves the caller's session, terminal, descriptors and signal dispositions, and puts the
/// guard up.
fn enter(
    channel: &Channel,
    base: Option<&BaseCgroup>,
    guard: Guard,
) -> Result<(Option<Listener>, OwnedFd, SignalFd), Errno> {
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(c"isotest-warden");
    sys::replace_arguments(b"isotest-warden")?;
    sys::spare_quotas();
    kernel::set_umask(0);
    sys::reset_signals();
    let null = nix::fcntl::open(
        c"/dev/null",
        nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )?;
    for number in 0..3 {
        kernel::place_descriptor(null.as_raw_fd(), number).map_err(sys::errno)?;
    }
    let mut kept = vec![channel.as_fd(), null.as_fd()];
    kept.extend(base.map(BaseCgroup::descriptor));
    sys::close_all_but(&kept)?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_set_mask()?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&children, flags)?;
    Ok((guard::install(guard)?, null, signals))
}

/// The words of a panic. It must not end in abort(3): the guard would tell the warden of its own
/// signal, and it would wait for itself. No hook hears of it: the lock of hooks may be held by a
/// thread that is not here, since it panicked in the caller while this process was made.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl WardenState {
    fn serve(&mut self, signals: &SignalFd) {
        loop {
            let listener = self.listener.as_ref().map(Listener::descriptor);
            let fixed = [Some(self.channel.as_fd()), Some(signals.as_fd()), listener];
            let servers: Vec<u32> = self.servers().map(|(number, _)| number).collect();
            let polled = fixed.into_iter().flatten();
            let polled = polled.chain(self.servers().map(|(_, server)| server.as_fd()));
            let mut polled: Vec<PollFd<'_>> =
                polled.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)).collect();
            if poll(&mut polled, self.next_look()).is_err() {
                continue;
            }
            let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            let (fixed, answers) = ready.split_at(ready.len() - servers.len());
            if fixed.get(2) == Some(&true) {
                self.answer_notification();
            }
            if fixed.get(1) == Some(&true) {
                // However many have ended, the signal is there once.
                let _ = signals.read_signal();
                self.reap();
            }
            for (number, _) in servers.iter().zip(answers).filter(|(_, ready)| **ready) {
                self.on_server(*number);
            }
            if fixed.first() == Some(&true) {
                self.handle_request();
            }
            self.look_again();
        }
    }

    fn servers(&self) -> impl Iterator<Item = (u32, &Server)> {
        self.setups
            .iter()
            .filter_map(|(number, set_up)| Some((*number, &set_up.server.as_ref()?.0)))
    }

    fn send(&self, response: &Response) {
        if self.channel.send(response, &[]).is_err() {
            // isotest is gone. The kernel kills all that is left in this pid namespace.
            kernel::exit(0);
        }
    }

    fn handle_request(&mut self) {
        match self.channel.receive(false) {
            Ok((Request::Template(bytecode, disk), _)) => self.build(&bytecode, disk.as_ref()),
            Ok((Request::Setup(number, setup), _)) => {
                let expected = setup.server.as_ref().map(|(_, cases)| *cases);
                let (served, expected) = (expected.is_some(), expected.unwrap_or(0));
                let waiting = Vec::new();
                let (server, overdue) = (None, None);
                let prepared = Prepared { setup, served, expected, server, overdue, waiting };
                self.setups.insert(number, prepared);
            }
            Ok((Request::Start(start), descriptors)) => self.start(start, descriptors),
            Ok((Request::Terminate(case), _)) => self.signal(case, libc::SIGTERM),
            Ok((Request::Kill(case), _)) => self.signal(case, libc::SIGKILL),
            Ok((Request::Find(case), _)) => self.find(case),
            Ok((Request::Stop, _)) => self.signal_all(Signal::SIGSTOP),
            Ok((Request::Continue, _)) => self.signal_all(Signal::SIGCONT),
            Ok((Request::Ping, _)) => self.send(&Response::Pong),
            Err(Errno::EAGAIN) => {}
            Err(_) => kernel::exit(0),
        }
    }

    /// The id of the case in a slot; `None` where it is not cloned yet. Nobody else can have the
    /// id before the case is waited for.
    fn pid(&self, slot: usize) -> Option<i32> {
        let pid = self.cell(slot)?.pid.load(Ordering::Acquire);
        (pid != 0).then_some(pid)
    }

    /// The slot of a case in flight.
    fn cell(&self, slot: usize) -> Option<&Slot> {
        self.running.get(&slot)?.slots.get(slot)
    }

    /// Signals PID 1 of a case; SIGKILL with all its processes.
    fn signal(&mut self, case: u64, signal: i32) {
        let Some((slot, running)) =
            self.running.iter_mut().find(|(_, running)| running.case == case)
        else {
            return;
        };
        if running.ended.is_some() {
            return;
        }
        let slot = *slot;
        let setup = running.setup;
        match self.pid(slot) {
            Some(leader) if sys::is_child(leader) => return signal_case(leader, signal),
            // It never was: somebody else has written that.
            Some(_) => return self.end_disputed(slot, 0, Usage::default()),
            None => {}
        }
        if let Some(running) = self.running.get_mut(&slot) {
            running.doomed = Some(signal);
        }
        // It is cloned when the answer comes.
        let Some(set_up) = self.setups.get_mut(&setup) else { return };
        if let Some((server, _)) = &set_up.server {
            set_up.overdue.get_or_insert_with(|| Instant::now() + PATIENCE);
            server.ping();
        }
    }

    /// Shows PID 1 of a case, where there is one.
    fn find(&self, case: u64) {
        let slot = self.running.iter().find(|(_, running)| running.case == case);
        let pid = slot.and_then(|(slot, _)| rustix::process::Pid::from_raw(self.pid(*slot)?));
        let flags = rustix::process::PidfdFlags::empty();
        let found = pid.and_then(|pid| rustix::process::pidfd_open(pid, flags).ok());
        let found = found.as_ref().map(AsFd::as_fd);
        if self.channel.send(&Response::Found, found.as_slice()).is_err() {
            kernel::exit(0);
        }
    }

    /// Signals every process of every case.
    fn signal_all(&self, signal: Signal) {
        if owns_pid_namespace() {
            // kill(2) with -1: all of the warden's pid namespace but the warden. ESRCH: no case.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), signal);
        } else {
            let leaders = self.running.keys().filter_map(|slot| self.pid(*slot));
            leaders.for_each(|leader| signal_group(leader, signal));
        }
    }

    fn build(&mut self, bytecode: &[u8], disk: Option<&Disk>) {
        // The host's root is still this process's own.
        match disk.map(Scratches::open).transpose() {
            Ok(disk) => self.disk = disk,
            Err(errno) => {
                let fault = Fault { step: STEP_SCRATCH, errno: errno as i32 };
                return self.send(&Response::Built(Some(fault)));
            }
        }
        let (step, unused) = (AtomicU32::new(0), AtomicU32::new(0));
        let values = Values { step: &step, mapped: &unused, scratch: -1, user: -1 };
        // SAFETY: the template is built in the warden's own mount namespace.
        let refused = unsafe { Bytecode(bytecode).run(&values) }.err();
        let step = step.load(Ordering::Relaxed);
        self.send(&Response::Built(refused.map(|errno| Fault { step, errno: errno.0 })));
    }

    fn reap(&mut self) {
        while let Some(waited) = self.wait() {
            if libc::WIFSTOPPED(waited.status) {
                // A test that called PTRACE_TRACEME has made the warden its tracer. Nobody here
                // wants to trace it: it goes on with the signal that stopped it.
                kernel::detach_tracee(waited.pid, libc::WSTOPSIG(waited.status));
                continue;
            }
            // The others are servers, and services that have lost their supervisor.
            if let Some(slot) = self.slot_of(waited.pid) {
                let usage = usage(&waited.usage);
                let claims = self.running.keys().copied();
                let claims: Vec<usize> =
                    claims.filter(|slot| self.pid(*slot) == Some(waited.pid)).collect();
                match claims.len() {
                    1 => self.end(slot, waited.status, usage),
                    // One of them is not of its server's making; nobody knows which.
                    _ => {
                        claims.into_iter().for_each(|slot| {
                            self.end_disputed(slot, waited.status, usage);
                        });
                    }
                }
            } else if let Some(slot) = self.supervised_by(waited.pid) {
                self.lose_supervisor(slot);
            }
        }
    }

    /// Waits for a child that has ended or stopped; `None` where there is none.
    fn wait(&mut self) -> Option<sys::ReapedChild> {
        if self.listener.is_some() {
            return sys::wait_any(-1);
        }
        let process = sys::ended()?;
        self.note_unheard(process);
        sys::wait_any(process)
    }

    /// The slot of the case whose PID 1 this is.
    fn slot_of(&self, pid: i32) -> Option<usize> {
        self.running.keys().copied().find(|slot| self.pid(*slot) == Some(pid))
    }

    /// Ends a case whose slot has an id that is not its own: it has no verdict.
    fn end_disputed(&mut self, slot: usize, status: i32, usage: Usage) {
        if let Some(cell) = self.cell(slot) {
            cell.refuse(STEP_CLONE, kernel::Errno(libc::EBADMSG));
        }
        self.end(slot, status, usage);
    }

    /// Reports a case that never was, with what its slot says.
    fn report_not_started(&mut self, slot: usize) {
        self.end(slot, 0, Usage::default());
    }

    fn report_end(&mut self, slot: usize, status: i32, usage: Usage) {
        let Some(running) = self.running.remove(&slot) else { return };
        self.free.push(slot);
        let cell = running.slots.get(slot);
        let step = cell.map_or(STEP_EXEC, |cell| cell.step.load(Ordering::Acquire));
        let errno = cell.map_or(0, |cell| cell.errno.load(Ordering::Acquire));
        let test = cell.map_or(0, |cell| cell.status.load(Ordering::Acquire));
        let fault = (step != STEP_EXEC || errno != 0).then_some(Fault { step, errno });
        let status = if running.reaper && test != 0 { test - 1 } else { status };
        let (case, mut seen) = (running.case, Box::new(running.seen));
        if self.listener.is_some() && !running.reaper && seen.exit == Exit::Unknown {
            // All its threads have called exit(2), or a signal has ended it.
            seen.exit = Exit::Early;
        }
        let group = running.group.as_ref().map(CaseCgroup::figures);
        let mut end = End { case, status, usage, fault, seen, group };
        let scratch = running.scratch.as_ref().map(AsFd::as_fd);
        let mut sent = self.channel.send(&Response::Ended(end.clone()), scratch.as_slice());
        if sent == Err(Errno::ETOOMANYREFS) {
            // Cases of this user have sent more descriptors than this process may have open.
            end.seen.scratch_lost = true;
            sent = self.channel.send(&Response::Ended(end), &[]);
        }
        if sent.is_err() {
            kernel::exit(0);
        }
        // Whoever waits for the end need not wait for this.
        if let (Some(base), Some(group)) = (&self.base, running.group) {
            base.remove(group);
        }
        self.dismiss_server(running.setup);
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

/// Signals PID 1 of a case. With `pid = host` SIGKILL does not take the others along.
fn signal_case(leader: i32, signal: i32) {
    kernel::kill(leader, signal);
    if signal == libc::SIGKILL && !owns_pid_namespace() {
        signal_group(leader, Signal::SIGKILL);
    }
}

/// The figures of getrusage(2) that an outcome has.
fn usage(raw: &libc::rusage) -> Usage {
    let time = |value: libc::timeval| {
        Duration::from_secs(value.tv_sec as u64) + Duration::from_micros(value.tv_usec as u64)
    };
    Usage {
        user: time(raw.ru_utime),
        system: time(raw.ru_stime),
        memory_peak: None,
        max_rss: raw.ru_maxrss as u64 * 1024,
        voluntary_switches: raw.ru_nvcsw as u64,
        involuntary_switches: raw.ru_nivcsw as u64,
    }
}
