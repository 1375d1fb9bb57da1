//! The supervisor of a case: starts its services in its namespaces, hears what they write, and
//! waits for them.
//!
//! A copy of the warden, outside of the pid namespace of the case and in all its others: the services
//! are its children and not the test's, and no process of the case sees it. It meets the case at a word
//! of shared memory ([`handshake`]), where the case waits in [`Op::AwaitServices`](crate::plan::Op).

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::bytecode::{Bytecode, Values};
use super::child::kernel;
use super::child::start::Slot;
use super::protocol::Channel;
use super::service::{ProbeResult, ServiceEvent, ServiceFault};
use super::sys;
use crate::capture;
use crate::errno;
use crate::plan::{Readiness, Service};
use crate::poll_timeout;

/// The words of [`Slot::mapped`], in their order. Below them, 1 says that the id maps are written.
pub mod handshake {
    /// The sandbox of the case is set up.
    pub const SANDBOX_READY: u32 = 2;
    /// The supervisor has joined the namespaces of the case.
    pub const JOINED: u32 = 3;
    /// No other process may read the memory of the case: PR_SET_DUMPABLE is 0, or it has executed.
    pub const UNDUMPABLE: u32 = 4;
    /// All services are ready.
    pub const SERVICES_READY: u32 = 5;
    /// The case is no more.
    pub const ENDED: u32 = 6;
}

/// All that a service supervisor needs.
pub struct ServiceSupervisor<'a> {
    /// The slot of the case.
    pub slot: &'a Slot,
    /// Services in the order of starting.
    pub services: &'a [Service],
    /// Steps of each process before it is executed, as bytecode.
    pub restriction: &'a [u8],
    /// CLONE_NEW* flags of the case.
    pub namespaces: u64,
    /// The environment of the test.
    pub environment: Vec<&'a CStr>,
    /// Its working directory.
    pub directory: &'a CStr,
    /// Channel for each [`ServiceEvent`].
    pub channel: Channel,
}

/// A service that was started.
struct RunningService {
    child: Child,
    /// Readable when it has ended.
    process: OwnedFd,
    /// `None` once nobody holds the other end.
    output: Option<OwnedFd>,
    /// Its wait status, where it is known to have ended.
    ended: Option<i32>,
}

/// Shortest and longest pause between two questions whether a service is ready.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// Maximum number of reads from one service before the others are read: more than a pipe holds.
const AT_ONCE: usize = 64;

impl ServiceSupervisor<'_> {
    /// The whole run of the process.
    pub fn serve(self) -> ! {
        let _ = nix::sys::prctl::set_name(c"isotest-service");
        if sys::close_all_but(&[self.channel.as_fd()]).is_err() {
            kernel::exit(1);
        }
        let mut all = Vec::new();
        let code = match self.supervise(&mut all) {
            Ok(()) => 0,
            Err((number, fault)) => {
                self.send(&ServiceEvent::Failed(number, fault));
                1
            }
        };
        kernel::exit(code)
    }

    fn send(&self, event: &ServiceEvent) {
        if self.channel.send(event, &[]).is_err() {
            // isotest is gone, and the warden with it.
            kernel::exit(1);
        }
    }

    fn supervise(&self, all: &mut Vec<RunningService>) -> Result<(), (u32, ServiceFault)> {
        self.join().map_err(|errno| (0, ServiceFault::Join(errno as i32)))?;
        for (service, number) in self.services.iter().zip(0..) {
            let blame = |fault| (number, fault);
            all.push(self.start(service).map_err(blame)?);
            self.await_ready(service, number, all).map_err(blame)?;
        }
        for ((service, running), number) in self.services.iter().zip(all.iter_mut()).zip(0..) {
            if let Some(status) = running.look().filter(|_| service.ready != Readiness::Exit) {
                return Err((number, ServiceFault::Ended(status)));
            }
        }
        self.send(&ServiceEvent::Ready);
        self.advance(handshake::UNDUMPABLE, handshake::SERVICES_READY);
        while all.iter().any(|running| running.output.is_some() || running.ended.is_none()) {
            self.forward_output(all, PollTimeout::NONE);
            self.send_ends(all);
        }
        Ok(())
    }

    /// Waits until the sandbox stands, and enters its namespaces, but for the pid namespace, which
    /// is for children.
    fn join(&self) -> Result<(), Errno> {
        self.await_word(handshake::SANDBOX_READY);
        let leader = Pid::from_raw(self.slot.pid.load(Ordering::Acquire)).ok_or(Errno::ESRCH)?;
        let leader = pidfd_open(leader, PidfdFlags::empty()).map_err(errno::of_rustix)?;
        sys::enter_namespaces(leader.as_fd(), self.namespaces)?;
        // Services could otherwise read the memory of the next one before it is executed.
        kernel::set_dumpable(0).map_err(sys::errno)?;
        // Where that fails, so does a step of the case.
        let _ = nix::unistd::chdir(self.directory);
        self.advance(handshake::SANDBOX_READY, handshake::JOINED);
        self.await_word(handshake::UNDUMPABLE);
        Ok(())
    }

    /// Waits for the case to come so far; ends with it.
    fn await_word(&self, wanted: u32) {
        loop {
            match self.slot.mapped.load(Ordering::Acquire) {
                handshake::ENDED => kernel::exit(0),
                word if word == wanted => return,
                word => sys::wait_for_change(&self.slot.mapped, word),
            }
        }
    }

    /// Lets the case go on, unless it is no more.
    fn advance(&self, from: u32, to: u32) {
        let word: &AtomicU32 = &self.slot.mapped;
        if word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_err() {
            kernel::exit(0);
        }
        sys::wake(word);
    }

    fn start(&self, service: &Service) -> Result<RunningService, ServiceFault> {
        let spawn = || {
            let (read, write) = capture::pipe()?;
            let child = self.spawn(&service.command, write.try_clone()?.into(), write.into())?;
            Ok((child, read))
        };
        let (child, output) = spawn().map_err(|error| ServiceFault::Execute(number_of(&error)))?;
        let process = process_of(&child).map_err(|errno| ServiceFault::Execute(errno as i32))?;
        Ok(RunningService { child, process, output: Some(output), ended: None })
    }

    /// Starts a program in the case, as restricted as the test.
    fn spawn(&self, words: &[CString], output: Stdio, error: Stdio) -> io::Result<Child> {
        let words: Vec<&OsStr> =
            words.iter().map(|word| OsStr::from_bytes(word.to_bytes())).collect();
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(Stdio::null()).stdout(output).stderr(error);
        for variable in &self.environment {
            let bytes = variable.to_bytes();
            let at = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
            let (name, value) = bytes.split_at(at);
            let value = value.get(1..).unwrap_or_default();
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
        let restriction = self.restriction.to_vec();
        let restrict = move || {
            let (step, unused) = (AtomicU32::new(0), AtomicU32::new(0));
            let values = Values { step: &step, mapped: &unused, scratch: -1, user: -1, slot: 0 };
            // The warden's own: it hears of children by a descriptor.
            kernel::block_signals(0);
            kernel::set_umask(0o022);
            // SAFETY: this process is to be restricted.
            unsafe { Bytecode(&restriction).run(&values) }
                .and_then(|()| kernel::close_from(3, true))
                .map_err(|errno| io::Error::from_raw_os_error(errno.0))
        };
        // SAFETY: `restrict` makes system calls and nothing else, and the warden has one thread.
        unsafe { command.pre_exec(restrict) }.spawn()
    }

    fn await_ready(
        &self,
        service: &Service,
        number: u32,
        all: &mut [RunningService],
    ) -> Result<(), ServiceFault> {
        let deadline = Instant::now() + service.timeout;
        let mut last = None;
        let mut pause = PAUSES[0];
        let mut probe = OutputProbe::of(&service.ready);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match &service.ready {
                Readiness::Output(_) if probe.found => return Ok(()),
                Readiness::Output(_) | Readiness::Exit => pause = left,
                Readiness::Tcp(port) if takes_tcp(*port, left) => return Ok(()),
                Readiness::Unix(path) if takes_unix(path) => return Ok(()),
                Readiness::Command(words) => match self.run_probe(words, deadline, all)? {
                    ProbeResult::Ended(0) => return Ok(()),
                    ProbeResult::Running => last = last.or(Some(ProbeResult::Running)),
                    result @ ProbeResult::Ended(_) => last = Some(result),
                },
                Readiness::Tcp(_) | Readiness::Unix(_) => {}
            }
            if left.is_zero() {
                return Err(ServiceFault::NotReady(last));
            }
            for (index, text) in self.forward_output(all, poll_timeout::at_least(pause.min(left))) {
                if index == number {
                    probe.push(&text);
                }
            }
            pause = (pause * 2).min(PAUSES[1]);
            let ends: Vec<Option<i32>> = all.iter_mut().map(RunningService::look).collect();
            match ends.last().copied().flatten() {
                Some(0) if service.ready == Readiness::Exit => return Ok(()),
                Some(_) if probe.found => {}
                Some(status) => {
                    // What it wrote last is the reason.
                    self.forward_output(all, PollTimeout::ZERO);
                    return Err(ServiceFault::Ended(status));
                }
                None => {}
            }
        }
    }

    /// Runs the command that asks a service, until `deadline` at the most.
    fn run_probe(
        &self,
        words: &[CString],
        deadline: Instant,
        all: &mut [RunningService],
    ) -> Result<ProbeResult, ServiceFault> {
        let fault = |error: &io::Error| ServiceFault::Probe(number_of(error));
        let mut child =
            self.spawn(words, Stdio::null(), Stdio::null()).map_err(|error| fault(&error))?;
        let process = process_of(&child).map_err(|errno| ServiceFault::Probe(errno as i32))?;
        loop {
            if let Some(status) = child.try_wait().map_err(|error| fault(&error))? {
                return Ok(ProbeResult::Ended(status.into_raw()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ends: Vec<Option<i32>> = all.iter_mut().map(RunningService::look).collect();
            if left.is_zero() || ends.last().is_some_and(Option::is_some) {
                let _ = child.kill();
                let _ = child.wait();
                return Ok(ProbeResult::Running);
            }
            self.forward_output_or(all, Some(process.as_fd()), poll_timeout::at_least(left));
        }
    }

    /// Forwards what services write, once some have written or ended, or after `timeout`. Returns
    /// the same, by service.
    fn forward_output(
        &self,
        all: &mut [RunningService],
        timeout: PollTimeout,
    ) -> Vec<(u32, Vec<u8>)> {
        self.forward_output_or(all, None, timeout)
    }

    /// The same, which also returns when `other` is readable.
    fn forward_output_or(
        &self,
        all: &mut [RunningService],
        other: Option<BorrowedFd<'_>>,
        timeout: PollTimeout,
    ) -> Vec<(u32, Vec<u8>)> {
        let outputs = all.iter().filter_map(|running| running.output.as_ref()).map(AsFd::as_fd);
        let ends = all.iter().filter(|r| r.ended.is_none()).map(|r| r.process.as_fd());
        let polled = outputs.chain(ends).chain(other);
        let mut polled: Vec<PollFd<'_>> =
            polled.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // EINTR: nobody catches signals here, but a tracer may come by.
        let _ = poll(&mut polled, timeout);
        drop(polled);
        let mut forwarded = Vec::new();
        let mut buffer = [0; 1 << 14];
        for (running, number) in all.iter_mut().zip(0..) {
            // One that writes without end must not keep the others, and deadlines, waiting.
            for _ in 0..AT_ONCE {
                let Some(output) = &running.output else { break };
                match nix::unistd::read(output, &mut buffer) {
                    Ok(length @ 1..) => {
                        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                        self.send(&ServiceEvent::Output(number, bytes.clone()));
                        forwarded.push((number, bytes));
                    }
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Ok(_) | Err(_) => running.output = None,
                }
            }
        }
        forwarded
    }

    /// Tells of services that have ended, but not of those that were killed with the case.
    fn send_ends(&self, all: &mut [RunningService]) {
        for (running, number) in all.iter_mut().zip(0..) {
            if running.ended.is_none()
                && let Some(status) = running.look()
                && !(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL)
            {
                self.send(&ServiceEvent::Ended(number, status));
            }
        }
    }
}

impl RunningService {
    /// Its wait status, once it has ended.
    fn look(&mut self) -> Option<i32> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten().map(ExitStatusExt::into_raw);
        }
        self.ended
    }
}

/// A text that is looked for in what a service writes.
struct OutputProbe {
    text: Vec<u8>,
    /// The end of what was written, in which the text may begin.
    rest: Vec<u8>,
    found: bool,
}

impl OutputProbe {
    fn of(ready: &Readiness) -> OutputProbe {
        let text = match ready {
            Readiness::Output(text) => text.clone().into_bytes(),
            Readiness::Tcp(_) | Readiness::Unix(_) | Readiness::Command(_) | Readiness::Exit => {
                Vec::new()
            }
        };
        OutputProbe { text, rest: Vec::new(), found: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.text.is_empty() || self.found {
            return;
        }
        self.rest.extend_from_slice(bytes);
        self.found = memmem::find(&self.rest, &self.text).is_some();
        let kept = self.text.len() - 1;
        self.rest.drain(..self.rest.len().saturating_sub(kept));
    }
}

/// True if a process accepts connections at this port of the loopback interface.
fn takes_tcp(port: u16, left: Duration) -> bool {
    // A listener whose queue is full does not answer.
    let patience = left.clamp(PAUSES[0], PAUSES[1]);
    let hosts = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()];
    hosts.iter().any(|address| TcpStream::connect_timeout(address, patience).is_ok())
}

/// True if a process accepts connections at this socket, or it needs none that accepts. With a full
/// queue a blocking connect(2) would wait: EAGAIN.
fn takes_unix(path: &str) -> bool {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let connected = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .and_then(|socket| connect(socket.as_raw_fd(), &UnixAddr::new(path)?));
    // A socket of another kind than SOCK_STREAM (unix(7)): it is bound.
    matches!(connected, Ok(()) | Err(Errno::EPROTOTYPE))
}

/// Readable when the child has ended.
fn process_of(child: &Child) -> Result<OwnedFd, Errno> {
    let pid = Pid::from_raw(child.id() as i32).ok_or(Errno::ESRCH)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(errno::of_rustix)
}

fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{Backlog, bind, listen};

    use super::*;

    #[test]
    fn a_socket_whose_queue_is_full_is_not_ready_and_keeps_nobody_waiting() {
        let directory = tempfile::TempDir::new().expect("it is writable");
        let path = directory.path().join("s");
        let name = path.to_str().expect("it is text").to_owned();
        assert!(!takes_unix(&name), "nobody listens");
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .expect("there are descriptors");
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).expect("it is short"))
            .expect("it is free");
        listen(&listener, Backlog::new(1).expect("it is small")).expect("it is bound");
        assert!(takes_unix(&name), "there is room");
        let (sender, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            while takes_unix(&name) {}
            sender.send(())
        });
        asked.recv_timeout(Duration::from_secs(10)).expect("who asks waits for the listener");
    }

    #[test]
    fn a_text_is_found_wherever_writes_part_it() {
        for cut in 0..5 {
            let mut probe = OutputProbe::of(&Readiness::Output("ready".to_owned()));
            let (one, other) = "ready".split_at(cut);
            probe.push(format!("not so read{one}").as_bytes());
            assert!(!probe.found, "{cut}");
            probe.push(format!("{other}\n").as_bytes());
            assert!(probe.found, "{cut}");
        }
    }
}
