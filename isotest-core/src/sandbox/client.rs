//! The caller's end of the warden: starts it, gives it work, hears of ends.

#![allow(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

use super::cgroup::{BaseCgroup, CgroupLease};
use super::child::kernel::{self, Cloning};
use super::error::{describe, describe_errno};
use super::fault::{Fault, STEP_CGROUP, STEP_CLONE, STEP_INTERPOSE, STEP_MAPS};
use super::interpose::programs;
use super::protocol::{self, Channel, Disk, End, Request, Response, Start};
use super::{compile, remedy, sys, trace, warden};
use crate::errno;
use crate::host::Host;
use crate::plan::{self, Op, SandboxSpec, StartBy, Step, Template};
use crate::policy::{Namespace, Policy, Root};
use crate::refusal::SandboxError;

/// A warden that has said nothing for so long is asked whether it is there. It has one thread, and
/// nothing that it does takes that long.
const SILENCE: Duration = Duration::from_secs(5);
/// One that is asked has so long to answer; then something keeps it, which may be a case's doing.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running warden. Dropping it ends the warden and with it every process of every case.
#[derive(Debug)]
pub struct Warden {
    channel: Channel,
    process: Pid,
    listening: bool,
    /// Responses that came while another one was waited for.
    queued: VecDeque<(Response, Vec<OwnedFd>)>,
    /// Time of its last response, or of the last request.
    last_message: Instant,
    /// Time of the ping, if it has not responded since.
    pinged: Option<Instant>,
    /// It was ended since it did not answer.
    silent: bool,
    /// By the address of the set-up, which the `Arc` beside it keeps from being used again.
    specs: HashMap<usize, (u32, Arc<SandboxSpec>)>,
    /// Number of set-ups that were sent.
    prepared: u32,
    host: Host,
    policy: Policy,
    /// The template, once it is built.
    template: Template,
    /// Directory of scratch on disk.
    disk: Option<Disk>,
    /// Given back when the warden has ended, and with it all that is in the groups of cases.
    lease: Option<CgroupLease>,
}

/// Something the warden said while cases run.
#[derive(Debug)]
pub enum Notice {
    /// A case has ended. The descriptor is its scratch; there is none where it was never started, or too many
    /// descriptors were in flight.
    Ended(End, Option<OwnedFd>),
    /// The warden itself has ended; what was in flight is lost.
    Died(Option<String>),
    /// The warden did not answer, and was ended; what was in flight is lost.
    Silent,
}

impl Warden {
    /// Starts a warden. It dies with the calling *thread* (prctl(2), PR_SET_PDEATHSIG), which
    /// therefore must live as long as the warden is used. Of the policy it takes what
    /// holds for all its cases: whose pid namespace, and the guard.
    pub fn start(host: &Host, policy: &Policy) -> Result<Warden, SandboxError> {
        if let Some(reason) = plan::not_interposed(policy) {
            return Err(describe_errno(STEP_INTERPOSE, Errno::EINVAL).with_hint(reason));
        }
        let lease = match CgroupLease::new() {
            Ok(lease) if policy.limits.memory.is_some() && !lease.limits_memory() => {
                return Err(lease.without_memory());
            }
            Ok(lease) => Some(lease),
            Err(error) if policy.limits.memory.is_some() => return Err(error),
            // What is limited otherwise does not depend on a group.
            Err(_) => None,
        };
        Warden::start_in(lease, host, policy)
    }

    fn start_in(
        lease: Option<CgroupLease>,
        host: &Host,
        policy: &Policy,
    ) -> Result<Warden, SandboxError> {
        let clone_error = |errno| describe_errno(STEP_CLONE, errno);
        raise_open_files();
        let (ours, theirs) = Channel::pair().map_err(clone_error)?;
        ours.limit_waiting(PATIENCE).map_err(clone_error)?;
        let (read, write) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(clone_error)?;
        let base = lease.as_ref().map(CgroupLease::base).transpose();
        let base = base.map_err(|errno| describe_errno(STEP_CGROUP, errno))?;
        // SAFETY: fork(3) of glibc and musl leaves the allocator usable in the child; the child
        // takes no other lock and ends in `begin`.
        match unsafe { fork() }.map_err(clone_error)? {
            ForkResult::Child => begin(host, policy, theirs, base, &write),
            ForkResult::Parent { child } => {
                drop((theirs, write, base));
                let mut begun = [0; 12];
                let length = nix::unistd::read(&read, &mut begun).map_err(clone_error)?;
                let _ = waitpid(child, None);
                let begun = read_begun(begun.get(..length).unwrap_or_default());
                let process = begun.map_err(|fault| explain(fault, host))?;
                let mut warden = Warden {
                    channel: ours,
                    process,
                    listening: false,
                    queued: VecDeque::new(),
                    last_message: Instant::now(),
                    pinged: None,
                    silent: false,
                    specs: HashMap::new(),
                    prepared: 0,
                    host: host.clone(),
                    policy: policy.clone(),
                    template: Template::default(),
                    disk: None,
                    lease,
                };
                warden.await_ready()?;
                if plan::interposed(policy).is_some_and(|it| it.changes()) && !warden.listening {
                    let errno = describe_errno(STEP_INTERPOSE, Errno::EBUSY);
                    return Err(errno.with_hint(remedy::NO_LISTENER));
                }
                Ok(warden)
            }
        }
    }

    fn await_ready(&mut self) -> Result<(), SandboxError> {
        // A copy of a process with threads may wait for a lock that one of them has held.
        if !self.channel.has_message(PATIENCE) {
            return Err(describe_errno(STEP_CLONE, Errno::ETIMEDOUT));
        }
        match self.response(true) {
            Ok(Response::Ready { listening }) => {
                self.listening = listening;
                Ok(())
            }
            Ok(Response::Built(Some(fault))) => Err(describe(fault, &[], "", "")),
            Ok(_) => Err(describe_errno(STEP_CLONE, Errno::EBADMSG)),
            Err(errno) => Err(describe_errno(STEP_CLONE, errno)),
        }
    }

    /// True if the guard can report what a wait status hides; false inside another sandbox that has
    /// a seccomp listener already.
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    /// Builds the template, and the lab of the cases where they have one. Once, before the first case.
    /// Cases with scratch on disk have it in `disk`.
    pub fn build(&mut self, template: &Template, disk: Option<Disk>) -> Result<(), SandboxError> {
        self.template = template.clone();
        self.disk.clone_from(&disk);
        self.carry_out(&Request::Template(compile::steps(&template.steps), disk), &template.steps)?;
        match template.lab.is_empty() {
            true => Ok(()),
            false => self.make_lab(&template.lab),
        }
    }

    /// Makes the lab of the cases anew: other namespaces, empty directories, and no process that a case
    /// has left. It fails with EBUSY while a case is in flight; afterwards, however it fails, this
    /// warden is of no use any more.
    pub fn renew_lab(&mut self) -> Result<(), SandboxError> {
        let steps = &self.template.lab_again;
        if steps.is_empty() {
            return Ok(());
        }
        let renewed = self.make_lab(steps);
        // It had nothing to say before.
        self.last_message = Instant::now();
        renewed
    }

    fn make_lab(&self, steps: &[Step]) -> Result<(), SandboxError> {
        let on_disk = steps.iter().any(|step| matches!(step.op, Op::AttachScratch { .. }));
        self.carry_out(&Request::Lab(compile::steps(steps), on_disk), steps)
    }

    /// Has the warden carry out steps, and words what refuses one.
    fn carry_out(&self, request: &Request, steps: &[Step]) -> Result<(), SandboxError> {
        let answer = self.channel.send(request, &[]).and_then(|()| self.response(true));
        match answer {
            Ok(Response::Built(None)) => Ok(()),
            Ok(Response::Built(Some(fault))) => Err(describe(fault, steps, "", "")),
            Ok(_) => Err(describe_errno(STEP_CLONE, Errno::EBADMSG)),
            Err(errno) => Err(describe_errno(STEP_CLONE, errno)),
        }
    }

    /// Puts another warden, with the same template, in the place of one that has died. It dies
    /// with the thread that calls this.
    pub fn restart(&mut self) -> Result<(), SandboxError> {
        if let Some(lease) = &self.lease {
            lease.clear();
        }
        let mut next = Warden::start_in(self.lease.take(), &self.host, &self.policy)?;
        next.build(&self.template, self.disk.clone())?;
        *self = next;
        Ok(())
    }

    /// True if no library can be loaded before a program.
    fn is_unsuitable(&self, program: &CStr) -> bool {
        let root = match &self.policy.root {
            Root::Host => Path::new("/"),
            Root::Directory(directory) => directory,
        };
        programs::is_unsuitable(root, Path::new(OsStr::from_bytes(program.to_bytes())))
    }

    /// Makes a set-up known, and how many cases of it are to come, where a fork server may start
    /// them. A set-up that was not made known is, for a case that is executed.
    pub fn prepare(&mut self, spec: &Arc<SandboxSpec>, served: Option<u32>) -> Result<(), Errno> {
        let number = self.prepared;
        // A server's cases would share its control group, and the filter of the first that is traced.
        let apart = self.lease.is_some() || has_tracers(&self.policy);
        let served = served.filter(|_| spec.start_by == StartBy::ForkServer && !apart);
        let server = served.map(|cases| (compile::steps(&spec.server), cases));
        let message = protocol::Setup {
            program: spec.program.clone(),
            file_name: file_name(&spec.program),
            bytecode: compile::spec(spec),
            id_maps: spec.id_maps.clone(),
            scratch: spec.scratch,
            server,
            group: spec.group,
            interposed: spec.interposed,
            unsuitable: spec.interposed.is_some_and(|it| it.changes())
                && self.is_unsuitable(&spec.program),
            services: services(spec),
            perturbations: Box::new(spec.perturbations.clone()),
        };
        self.channel.send(&Request::Setup(number, Box::new(message)), &[])?;
        // It had nothing to say before.
        self.last_message = Instant::now();
        self.prepared += 1;
        self.specs.insert(Arc::as_ptr(spec).addr(), (number, Arc::clone(spec)));
        Ok(())
    }

    /// Starts one case. `stdio` become its descriptors: stdout and stderr with `/dev/null` as
    /// stdin, or all three. Where its set-up has services, a [`Channel`]'s end follows, on which
    /// [`ServiceEvent`](super::ServiceEvent)s are sent.
    pub fn spawn(
        &mut self,
        spec: &Arc<SandboxSpec>,
        mut start: Start,
        stdio: &[BorrowedFd<'_>],
    ) -> Result<(), Errno> {
        let key = Arc::as_ptr(spec).addr();
        if !self.specs.contains_key(&key) {
            self.prepare(spec, None)?;
        }
        start.setup = self.specs.get(&key).map_or(0, |(number, _)| *number);
        self.channel.send(&Request::Start(start), stdio)
    }

    /// Asks the test of a case to end, where a reaping init passes that on.
    pub fn terminate(&self, case: u64) {
        let _ = self.channel.send(&Request::Terminate(case), &[]);
    }

    /// Kills every process of a case; its end is heard of as any other.
    pub fn kill(&self, case: u64) {
        // A dead warden is heard of by `notice`.
        let _ = self.channel.send(&Request::Kill(case), &[]);
    }

    /// A pidfd (pidfd_open(2)) of PID 1 of a case; `None` where it is not cloned yet, or has ended.
    /// Notices that come meanwhile are kept: ask for them afterwards, though nothing is readable.
    pub fn find(&mut self, case: u64) -> Option<OwnedFd> {
        self.channel.send(&Request::Find(case), &[]).ok()?;
        let deadline = Instant::now() + PATIENCE;
        while self.channel.has_message(deadline.saturating_duration_since(Instant::now())) {
            match self.channel.receive(true) {
                Ok((Response::Found, found)) => return found.into_iter().next(),
                Ok(other) => self.queued.push_back(other),
                Err(_) => return None,
            }
        }
        self.end_silent();
        None
    }

    /// Time at which [`check`](Self::check) has something to do, unless the warden responds before.
    pub fn next_check(&self) -> Instant {
        self.pinged.map_or(self.last_message + SILENCE, |pinged| pinged + PATIENCE)
    }

    /// Asks a warden that has said nothing for long whether it is there, and ends one that does not
    /// answer: [`notice`](Self::notice) tells of it then.
    pub fn check(&mut self, now: Instant) {
        if now < self.next_check() || self.channel.has_message(Duration::ZERO) {
            return;
        }
        if self.pinged.is_none() {
            self.pinged = Some(now);
            let _ = self.channel.send(&Request::Ping, &[]);
        } else {
            self.end_silent();
        }
    }

    fn end_silent(&mut self) {
        self.silent = true;
        let _ = nix::sys::signal::kill(self.process, nix::sys::signal::Signal::SIGKILL);
    }

    /// Stops every process of every case, or lets them go on.
    pub fn suspend(&self, stop: bool) {
        let request = if stop { Request::Stop } else { Request::Continue };
        let _ = self.channel.send(&request, &[]);
    }

    /// The next notice; `None` where there is none yet and `wait` is false.
    pub fn notice(&mut self, wait: bool) -> Option<Notice> {
        loop {
            let queued = self.queued.pop_front();
            let received = queued.map_or_else(|| self.channel.receive(wait), Ok);
            if received.is_ok() {
                (self.last_message, self.pinged) = (Instant::now(), None);
            }
            return match received {
                Ok((Response::Ended(mut end), mut descriptors)) => {
                    let log = if end.traced { descriptors.pop() } else { None };
                    if let Some(log) = log {
                        let (trace, holds) = trace::read(log);
                        end.trace = self.policy.trace.then(|| Box::new(trace));
                        end.holds = holds;
                    }
                    Some(Notice::Ended(end, descriptors.into_iter().next()))
                }
                Ok((Response::Pong, _)) => continue,
                Ok((Response::Panicked(message), _)) => Some(Notice::Died(Some(message))),
                Err(Errno::EAGAIN) => None,
                Err(_) if self.silent => Some(Notice::Silent),
                Ok((Response::Ready { .. } | Response::Built(_) | Response::Found, _)) | Err(_) => {
                    Some(Notice::Died(None))
                }
            };
        }
    }

    fn response(&self, wait: bool) -> Result<Response, Errno> {
        self.channel.receive(wait).map(|(response, _)| response)
    }
}

impl AsFd for Warden {
    /// Readable when there is a notice.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(self.process, nix::sys::signal::Signal::SIGKILL);
        let _ = waitpid(self.process, None);
    }
}

/// True if each case has a tracer.
fn has_tracers(policy: &Policy) -> bool {
    policy.trace || policy.perturbations.holds.is_some()
}

/// The name of a program's file: that of the target, where its path is a link.
fn file_name(program: &CStr) -> OsString {
    let path = Path::new(OsStr::from_bytes(program.to_bytes()));
    let target = fs::canonicalize(path);
    let name = target.as_deref().unwrap_or(path).file_name();
    name.unwrap_or_default().to_owned()
}

/// Services of a case, where it has some.
fn services(spec: &SandboxSpec) -> Option<protocol::Services> {
    if spec.services.is_empty() {
        return None;
    }
    let of_process = spec.steps.iter().filter(|step| step.op.is_of_process());
    let of_process: Vec<Step> = of_process.cloned().collect();
    Some(protocol::Services {
        list: spec.services.clone(),
        restriction: compile::steps(&of_process),
        directory: spec.directory.clone(),
    })
}

/// Words a fault of the helper. Uid 0 without capabilities has a cause of its own for not being
/// mapped.
fn explain(fault: Fault, host: &Host) -> SandboxError {
    let refused = fault.step == STEP_MAPS && fault.errno == Errno::EPERM as i32;
    let error = describe(fault, &[], "", "");
    match refused && host.uid == 0 && !host.maps_ranges {
        true => error.with_hint(remedy::ROOT_WITHOUT_CAPABILITIES),
        false => error,
    }
}

/// Message of the forked helper: the warden's id, or a fault.
fn read_begun(bytes: &[u8]) -> Result<Pid, Fault> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(i32::from_le_bytes(four.try_into().ok()?))
    };
    match (number(0), number(4), number(8)) {
        (Some(process), Some(0), Some(0)) => Ok(Pid::from_raw(process)),
        (Some(_), Some(step), Some(errno)) => Err(Fault { step: step as u32, errno }),
        _ => Err(Fault { step: STEP_CLONE, errno: Errno::EPIPE as i32 }),
    }
}

/// The helper between isotest and the warden: it clones the warden as isotest's own child
/// (CLONE_PARENT) and writes its id maps, which only a process outside the new user namespace
/// may do for more than one id. Then it ends.
fn begin(
    host: &Host,
    policy: &Policy,
    channel: Channel,
    base: Option<BaseCgroup>,
    report: &OwnedFd,
) -> ! {
    let (process, step, errno) = match clone_warden(host, policy, channel, base) {
        Ok(process) => (process, 0, 0),
        Err((step, errno)) => (0, step, errno as i32),
    };
    let mut begun = [0; 12];
    for (slot, number) in begun.chunks_exact_mut(4).zip([process, step as i32, errno]) {
        slot.copy_from_slice(&number.to_le_bytes());
    }
    let _ = nix::unistd::write(report, &begun);
    kernel::exit_group(0)
}

fn clone_warden(
    host: &Host,
    policy: &Policy,
    channel: Channel,
    base: Option<BaseCgroup>,
) -> Result<i32, (u32, Errno)> {
    let (wait, go) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| (STEP_CLONE, e))?;
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_PARENT;
    let pid_namespace = match policy.pid {
        Namespace::New | Namespace::Lab => libc::CLONE_NEWPID,
        Namespace::Host => 0,
    };
    let cloning = Cloning { flags: (namespaces | pid_namespace) as u64, ..Cloning::default() };
    // SAFETY: this process was just forked and has one thread.
    match unsafe { cloning.perform() } {
        Err(errno) => Err((STEP_CLONE, sys::errno(errno))),
        Ok(None) => {
            drop(go);
            warden::run(channel, wait, policy, base)
        }
        Ok(Some(pid)) => {
            write_maps(host, pid).map_err(|errno| {
                let process = Pid::from_raw(pid);
                // Nothing is lost where it has ended by itself.
                let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
                (STEP_MAPS, errno)
            })?;
            drop(go);
            Ok(pid)
        }
    }
}

/// Raises the soft limit of open files. The kernel refuses to send a descriptor (ETOOMANYREFS,
/// unix(7)) where processes of this user have more in flight than the sender may have open: with
/// its usual 1024 a single test could end the run. So high that nothing which closes all
/// descriptors takes long.
fn raise_open_files() {
    const ENOUGH: u64 = 1 << 16;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard.min(ENOUGH) {
        // With the present one isotest works, too.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard);
    }
}

/// Writes the id maps of the warden's user namespace. An unprivileged caller has to give up
/// setgroups(2) first (user_namespaces(7)); for a privileged one it goes on working in cases that
/// have the capability.
fn write_maps(host: &Host, process: i32) -> Result<(), Errno> {
    let deny = (!host.maps_ranges).then_some(("setgroups", "deny"));
    let maps = [("uid_map", host.uid_map.as_str()), ("gid_map", host.gid_map.as_str())];
    for (file, content) in deny.into_iter().chain(maps) {
        fs::write(format!("/proc/{process}/{file}"), content).map_err(errno::of_io)?;
    }
    Ok(())
}
