//! The loop of the warden: requests, ends, answers of fork servers.

#![allow(unsafe_code)]

use std::any::Any;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::scratch::Scratches;
use super::signals::{owns_pid_namespace, signal_case, signal_group};
use super::slots::{SLOTS, Slots};
use super::state::{Prepared, TracerRules, WardenState};
use super::tracing::{RunningTracer, Source};
use crate::outcome::Usage;
use crate::plan;
use crate::policy::{Guard, Policy};
use crate::sandbox::cgroup::{BaseCgroup, CaseCgroup};
use crate::sandbox::child::bytecode::{Bytecode, Values};
use crate::sandbox::child::kernel;
use crate::sandbox::fault::{Fault, STEP_CLONE, STEP_EXEC, STEP_GUARD, STEP_SCRATCH};
use crate::sandbox::guard::{self, Listener};
use crate::sandbox::protocol::{Channel, Disk, End, Exit, Request, Response};
use crate::sandbox::sys;

/// Time that a fork server has to start a case that is to be killed, or to refuse it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The whole run of the warden. `mapped` reaches its end when the id maps of its user namespace are
/// written. Below `base` each case gets a control group.
pub fn run(channel: Channel, mapped: OwnedFd, policy: &Policy, base: Option<BaseCgroup>) -> ! {
    // Set before anything can go wrong; it is void where isotest has died already, hence the
    // socket.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = nix::unistd::read(&mapped, &mut [0]);
    drop(mapped);
    // Who has a listener of its own cannot be traced.
    let wanted = policy.trace || policy.perturbations.holds.is_some();
    let traced = wanted && policy.guard != Guard::NoListener;
    let interposed = plan::interposed(policy).is_some_and(|it| it.changes());
    match enter(&channel, base.as_ref(), (policy.guard, traced, interposed)) {
        Ok((listener, null, signals)) => {
            let listening = listener.is_some() || traced;
            let _ = channel.send(&Response::Ready { listening }, &[]);
            let (slots, _) = Slots::new().expect("memory for slots");
            let mut warden = WardenState {
                channel,
                listener: listener.map(Rc::new),
                interposed,
                guard: policy.guard,
                tracers: traced.then_some(TracerRules { is_traced: policy.trace }),
                null,
                base,
                disk: None,
                labs: 0,
                slots: Rc::new(slots),
                free: (0..SLOTS).rev().collect(),
                setups: HashMap::new(),
                running: HashMap::new(),
                is_suspended: false,
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
    (guard, traced, interposed): (Guard, bool, bool),
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
    Ok((guard::install(guard, traced, interposed)?, null, signals))
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
            let listener = self.listener.as_ref().map(|listener| listener.descriptor());
            let fixed = [Some(self.channel.as_fd()), Some(signals.as_fd()), listener];
            let servers: Vec<u32> = self.servers().map(|(number, _)| number).collect();
            let polled = fixed.into_iter().flatten();
            let polled = polled.chain(self.servers().map(|(_, server)| server.as_fd()));
            let watched = self.watched();
            let polled = polled.chain(watched.iter().map(|(_, _, descriptor)| *descriptor));
            let mut polled: Vec<PollFd<'_>> =
                polled.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)).collect();
            if poll(&mut polled, self.next_look()).is_err() {
                continue;
            }
            let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            let watched: Vec<(usize, Source)> =
                watched.iter().map(|(slot, source, _)| (*slot, *source)).collect();
            let (ready, of_cases) = ready.split_at(ready.len() - watched.len());
            let (fixed, answers) = ready.split_at(ready.len() - servers.len());
            if fixed.get(2) == Some(&true) {
                self.answer_notification();
            }
            let watched = watched.into_iter().zip(of_cases).filter(|(_, ready)| **ready);
            for ((slot, source), _) in watched {
                self.on_watched(slot, source);
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

    fn handle_request(&mut self) {
        match self.channel.receive(false) {
            Ok((Request::Template(bytecode, disk), _)) => self.build(&bytecode, disk.as_ref()),
            Ok((Request::Lab(bytecode, on_disk), _)) => self.make_lab(&bytecode, on_disk),
            Ok((Request::Setup(number, setup), _)) => {
                let expected = setup.server.as_ref().map(|(_, cases)| *cases);
                let (served, expected) = (expected.is_some(), expected.unwrap_or(0));
                let waiting = Vec::new();
                let (server, overdue) = (None, None);
                let setup = *setup;
                let filter =
                    self.tracers.map(|rules| rules.filter(self.guard, &setup.perturbations));
                let prepared =
                    Prepared { setup, filter, served, expected, server, overdue, waiting };
                self.setups.insert(number, prepared);
            }
            Ok((Request::Start(start), descriptors)) => self.start(start, descriptors),
            Ok((Request::Terminate(case), _)) => self.signal(case, libc::SIGTERM),
            Ok((Request::Kill(case), _)) => self.signal(case, libc::SIGKILL),
            Ok((Request::Find(case), _)) => self.find(case),
            Ok((Request::Stop, _)) => {
                self.suspend_cycles(true);
                self.signal_all(Signal::SIGSTOP);
            }
            Ok((Request::Continue, _)) => {
                self.signal_all(Signal::SIGCONT);
                self.suspend_cycles(false);
            }
            Ok((Request::Ping, _)) => self.send(&Response::Pong),
            Err(Errno::EAGAIN) => {}
            Err(_) => kernel::exit(0),
        }
    }

    /// Signals PID 1 of a case; SIGKILL with all its processes.
    pub(super) fn signal(&mut self, case: u64, signal: i32) {
        let Some((slot, running)) =
            self.running.iter_mut().find(|(_, running)| running.case == case)
        else {
            return;
        };
        if running.ended.is_some() {
            return;
        }
        let (slot, setup, own_pids) = (*slot, running.setup, running.own_pids);
        match self.pid(slot) {
            Some(leader) if sys::is_child(leader) => {
                self.note_deeds(slot, leader, true);
                return signal_case(leader, signal, own_pids);
            }
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
        self.send(&Response::Built(run_here(bytecode, -1).err()));
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

    /// Ends a case whose slot has an id that is not its own: it has no verdict.
    fn end_disputed(&mut self, slot: usize, status: i32, usage: Usage) {
        if let Some(cell) = self.cell(slot) {
            cell.refuse(STEP_CLONE, kernel::Errno(libc::EBADMSG));
        }
        self.end(slot, status, usage);
    }

    /// Reports a case that never was, with what its slot says.
    pub(super) fn report_not_started(&mut self, slot: usize) {
        self.end(slot, 0, Usage::default());
    }

    pub(super) fn report_end(&mut self, slot: usize, status: i32, usage: Usage) {
        let is_heard = self.is_heard(slot);
        let Some(running) = self.running.remove(&slot) else { return };
        self.free.push(slot);
        let cell = running.slots.get(slot);
        let step = cell.map_or(STEP_EXEC, |cell| cell.step.load(Ordering::Acquire));
        let errno = cell.map_or(0, |cell| cell.errno.load(Ordering::Acquire));
        let test = cell.map_or(0, |cell| cell.status.load(Ordering::Acquire));
        let fault = (step != STEP_EXEC || errno != 0).then_some(Fault { step, errno });
        let status = if running.reaper && test != 0 { test - 1 } else { status };
        let (case, mut seen) = (running.case, Box::new(running.seen));
        if is_heard && !running.reaper && seen.exit == Exit::Unknown {
            // All its threads have called exit(2), or a signal has ended it.
            seen.exit = Exit::Early;
        }
        let group = running.group.as_ref().map(CaseCgroup::figures);
        let log = running.tracer.as_ref().map(RunningTracer::log);
        let (traced, trace, holds) = (log.is_some(), None, Vec::new());
        let mut end = End { case, status, usage, fault, seen, group, traced, trace, holds };
        let beside = [Some(running.scratch.as_fd()), log];
        let beside: Vec<BorrowedFd<'_>> = beside.into_iter().flatten().collect();
        let mut sent = self.channel.send(&Response::Ended(end.clone()), &beside);
        if sent == Err(Errno::ETOOMANYREFS) {
            // Cases of this user have sent more descriptors than this process may have open.
            end.seen.scratch_lost = true;
            end.traced = false;
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

/// Carries out operations on the warden itself: those that isotest has compiled for it. `scratch` is a
/// filesystem to attach, or -1.
pub(super) fn run_here(bytecode: &[u8], scratch: i32) -> Result<(), Fault> {
    let (step, unused) = (AtomicU32::new(0), AtomicU32::new(0));
    let values = Values { step: &step, mapped: &unused, scratch, user: -1, slot: 0 };
    // SAFETY: a template and a lab are made in the warden's own mount namespace, and it enters no pid or
    // user namespace.
    let done = unsafe { Bytecode(bytecode).run(&values) };
    done.map_err(|errno| Fault { step: step.load(Ordering::Relaxed), errno: errno.0 })
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
        own_max_rss: None,
        max_rss: raw.ru_maxrss as u64 * 1024,
        voluntary_switches: raw.ru_nvcsw as u64,
        involuntary_switches: raw.ru_nivcsw as u64,
    }
}
