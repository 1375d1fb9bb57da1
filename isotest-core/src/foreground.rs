//! Runs one plan in the foreground: its standard streams are the caller's.
//!
//! If stdin is a terminal, the program gets one of its own, a pseudo-terminal that is relayed: it
//! can neither read what is typed elsewhere nor put words into the caller's mouth.

use std::fs::File;
use std::io::{self, IoSliceMut, Write, stderr, stdin, stdout};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{OptionalActions, Termios, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::capture::{self, Capture};
use crate::collect;
use crate::finding::Finding;
use crate::outcome::{ServiceOutput, Verdict};
use crate::plan::Plan;
use crate::poll_timeout;
use crate::refusal::{SandboxError, ServiceError};
use crate::sandbox::{End, Exit, Notice, Start, Warden};
use crate::service_monitor::ServiceMonitor;
use crate::signals::Signals;
use crate::streams::{self, StreamError};
use crate::terminal::RawMode;
use crate::untrusted::Dir;

/// End of a foreground program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForegroundEnd {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It was killed because its time was up.
    TimedOut,
    /// It was killed because this signal asked isotest to end.
    Interrupted(i32),
    /// It was never started.
    NotRun(SandboxError),
    /// A service that it needs could not be had.
    NotServed(ServiceError),
    /// The warden died meanwhile.
    WardenDied,
    /// The warden did not answer, and was ended.
    WardenSilent,
}

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Its end.
    pub ended: ForegroundEnd,
    /// Origin of its exit, if it exited.
    pub exit: Exit,
    /// Output of its services.
    pub services: Vec<ServiceOutput>,
    /// The files that could not be written back.
    pub not_written: Vec<Finding>,
    /// What it did that is not hermetic.
    pub findings: Vec<Finding>,
}

/// Runs `plan` to its end.
pub fn run(warden: &mut Warden, plan: &Plan, signals: &Signals) -> Result<Conclusion, StreamError> {
    let (input, output, error) = (stdin(), stdout(), stderr());
    let conclusion = match Terminal::prepare()? {
        None => {
            let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
            streams::check(streams)?;
            attend(warden, plan, signals, streams, None)
        }
        Some((terminal, theirs)) => {
            attend(warden, plan, signals, [theirs.as_fd(); 3], Some(terminal))
        }
    };
    Ok(conclusion?)
}

/// The same, but its stdin is `/dev/null`, and it has no terminal.
pub fn run_without_input(
    warden: &mut Warden,
    plan: &Plan,
    signals: &Signals,
) -> Result<Conclusion, StreamError> {
    let null = std::fs::File::open("/dev/null")?;
    let (output, error) = (stdout(), stderr());
    let streams = [null.as_fd(), output.as_fd(), error.as_fd()];
    streams::check(streams)?;
    Ok(attend(warden, plan, signals, streams, None)?)
}

/// The same as [`run`], but it has no terminal, and of each of its streams so many bytes are passed
/// on as the plan says that are kept: for a caller that keeps them all. Returns how many were not.
pub fn run_within_limit(
    warden: &mut Warden,
    plan: &Plan,
    signals: &Signals,
) -> Result<(Conclusion, u64), StreamError> {
    let (input, output, error) = (stdin(), stdout(), stderr());
    streams::check([input.as_fd(), output.as_fd(), error.as_fd()])?;
    let outputs = [output.as_fd().try_clone_to_owned()?, error.as_fd().try_clone_to_owned()?];
    let ((from_output, to_output), (from_error, to_error)) = (io::pipe()?, io::pipe()?);
    let (ended, ends) = io::pipe()?;
    let limit = plan.output_limit;
    thread::scope(|scope| {
        let ended = ended.as_fd();
        let [output, error] = outputs.map(File::from);
        let relays = [(from_output, output), (from_error, error)]
            .map(|(from, to)| scope.spawn(move || pass_on(&from.into(), to, ended, limit)));
        let theirs = [input.as_fd(), to_output.as_fd(), to_error.as_fd()];
        let conclusion = attend(warden, plan, signals, theirs, None);
        drop((to_output, to_error, ends));
        let discarded = relays.into_iter().map(|relay| relay.join().unwrap_or(Ok(0)));
        let discarded = discarded.sum::<io::Result<u64>>()?;
        Ok((conclusion?, discarded))
    })
}

/// Passes on what comes, the first half of what may be passed on at once, until it ends or what was
/// written when `ended` hangs up is passed on: who has been handed the other end may keep it. What
/// is beyond the limit is cut before the end, where a harness says what it all came to. Returns how
/// many bytes that is.
fn pass_on(
    from: &OwnedFd,
    mut to: impl Write,
    ended: BorrowedFd<'_>,
    limit: u64,
) -> io::Result<u64> {
    rustix::io::ioctl_fionbio(from, true)?;
    let mut buffer = vec![0; 1 << 16];
    let mut left = usize::try_from(limit / 2).unwrap_or(usize::MAX);
    let mut later = Capture::new(limit / 2);
    let mut written = Ok(());
    loop {
        let mut polled =
            [PollFd::new(from.as_fd(), PollFlags::POLLIN), PollFd::new(ended, PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_last = polled[1].any().unwrap_or(false);
        let is_over = capture::drain(from, &mut buffer, |bytes| {
            let (now, rest) = bytes.split_at(left.min(bytes.len()));
            left -= now.len();
            later.push(rest);
            if written.is_ok() {
                written = to.write_all(now);
            }
        });
        // Where nobody reads any more the program hears so: its end is closed.
        if is_over || is_last || written.is_err() {
            let kept = later.finish();
            let _ = to.write_all(&kept.to_bytes());
            return Ok(kept.cut);
        }
    }
}

fn attend(
    warden: &mut Warden,
    plan: &Plan,
    signals: &Signals,
    streams: [BorrowedFd<'_>; 3],
    terminal: Option<Terminal>,
) -> io::Result<Conclusion> {
    let _attendance = signals.attend();
    if let Some(write_back) = &plan.write_back {
        write_back.begin();
    }
    let mut start = Start::of(plan, 0);
    start.terminal = terminal.is_some();
    let (services, supervisors) = ServiceMonitor::of(plan)?.unzip();
    let mut given: Vec<BorrowedFd<'_>> = streams.to_vec();
    given.extend(supervisors.iter().map(AsFd::as_fd));
    warden.spawn(&plan.spec, start, &given)?;
    drop(supervisors);
    // Services have time of their own.
    let started = services.is_none().then(Instant::now);
    let foreground = Foreground {
        warden,
        plan,
        signals,
        terminal,
        services,
        attended: started.is_none(),
        started,
        reason: None,
    };
    foreground.finish()
}

/// A program that is being attended to.
struct Foreground<'a> {
    warden: &'a mut Warden,
    plan: &'a Plan,
    signals: &'a Signals,
    terminal: Option<Terminal>,
    services: Option<ServiceMonitor>,
    /// More is to come of the services.
    attended: bool,
    /// Start of the program; `None` until its services are ready.
    started: Option<Instant>,
    /// Reason for which it was killed.
    reason: Option<ForegroundEnd>,
}

impl Foreground<'_> {
    fn finish(mut self) -> io::Result<Conclusion> {
        loop {
            let ready = self.wait()?;
            if ready.signals {
                self.on_signals();
            }
            if let Some(terminal) = &mut self.terminal {
                if ready.handed_over {
                    terminal.take_over();
                }
                terminal.relay(ready.typed, ready.printed)?;
            }
            if ready.warden
                && let Some(notice) = self.warden.notice(false)
            {
                if let Some(terminal) = &mut self.terminal {
                    terminal.relay(false, true)?;
                }
                return Ok(self.conclude(notice));
            }
            if ready.services {
                self.on_services();
            }
            self.warden.check(Instant::now());
            if self.time_left().is_some_and(|left| left.is_zero()) {
                self.kill(ForegroundEnd::TimedOut);
            }
        }
    }

    fn wait(&self) -> io::Result<ReadySources> {
        let stdin = stdin();
        let mut polled = vec![
            PollFd::new(self.warden.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        let pair = self.terminal.as_ref().map(|terminal| &terminal.pair);
        match pair {
            None | Some(Pair::Lost) => {}
            Some(Pair::Expected(socket)) => {
                polled.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
            }
            Some(Pair::Open { outside, .. }) => {
                polled.push(PollFd::new(outside.as_fd(), PollFlags::POLLIN));
                if self.terminal.as_ref().is_some_and(|terminal| !terminal.typing_ended) {
                    polled.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
                }
            }
        }
        let services = self.services.as_ref().filter(|_| self.attended);
        let services = services.map(|services| {
            polled.push(PollFd::new(services.as_fd(), PollFlags::POLLIN));
            polled.len() - 1
        });
        let check = self.warden.next_check().saturating_duration_since(Instant::now());
        let wait = self.time_left().map_or(check, |left| left.min(check));
        let timeout = poll_timeout::at_least(wait);
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |index: usize| {
            polled.get(index).is_some_and(|fd: &PollFd<'_>| fd.any().unwrap_or(false))
        };
        let is_open = matches!(pair, Some(Pair::Open { .. }));
        Ok(ReadySources {
            warden: is_ready(0),
            signals: is_ready(1),
            handed_over: matches!(pair, Some(Pair::Expected(_))) && is_ready(2),
            printed: is_open && is_ready(2),
            typed: is_open && services != Some(3) && is_ready(3),
            services: services.is_some_and(is_ready),
        })
    }

    /// Time left, where that is limited and it has not been killed.
    fn time_left(&self) -> Option<Duration> {
        let started = self.started.filter(|_| self.reason.is_none())?;
        Some(self.plan.time_limit()?.saturating_sub(started.elapsed()))
    }

    fn on_services(&mut self) {
        let Some(services) = &mut self.services else { return };
        let received = services.receive();
        self.attended = !received.over;
        if received.ready {
            self.started = Some(Instant::now());
        }
    }

    fn on_signals(&mut self) {
        while let Some(signal) = self.signals.take() {
            match signal {
                libc::SIGWINCH => {
                    if let Some(terminal) = &self.terminal {
                        terminal.copy_size();
                    }
                }
                libc::SIGUSR1 => {}
                libc::SIGTSTP => Signals::suspend(|stops| self.warden.suspend(stops)),
                libc::SIGCONT => {
                    if let Some(terminal) = &self.terminal {
                        terminal.raw.take();
                    }
                }
                ending => self.kill(ForegroundEnd::Interrupted(ending)),
            }
        }
    }

    fn kill(&mut self, reason: ForegroundEnd) {
        self.reason.get_or_insert(reason);
        self.warden.kill(0);
    }

    fn conclude(mut self, notice: Notice) -> Conclusion {
        self.on_services();
        let mut not_written = Vec::new();
        let mut exit = Exit::Unknown;
        let mut findings = Vec::new();
        let ended = match notice {
            Notice::Died(_) => ForegroundEnd::WardenDied,
            Notice::Silent => ForegroundEnd::WardenSilent,
            Notice::Ended(end, scratch) => {
                exit = end.seen.exit;
                if let Some(write_back) = &self.plan.write_back {
                    let found = write_back.copy(scratch.map(Dir::from), end.case).into_iter();
                    write_back.finish();
                    let found = found.chain(write_back.failed());
                    let is_missing =
                        |finding: &Finding| matches!(finding, Finding::WriteBackFailed(..));
                    not_written.extend(found.filter(is_missing));
                }
                let ended = self.reason.take().unwrap_or_else(|| ended(self.plan, &end));
                findings = collect::observed(*end.seen);
                match (ended, self.services.as_ref().and_then(ServiceMonitor::error)) {
                    (ForegroundEnd::NotRun(_), Some(error)) => ForegroundEnd::NotServed(error),
                    (ended, _) => ended,
                }
            }
        };
        let services = self.services.map_or_else(Vec::new, ServiceMonitor::outputs);
        Conclusion { ended, exit, services, not_written, findings }
    }
}

/// The end of a program that ended by itself.
fn ended(plan: &Plan, end: &End) -> ForegroundEnd {
    use crate::outcome::NotRun;
    match collect::verdict_of_program(plan, end) {
        Verdict::Passed => ForegroundEnd::Exited(0),
        Verdict::Failed { code } | Verdict::ExitedEarly { code } => ForegroundEnd::Exited(code),
        Verdict::Signalled { signal } => ForegroundEnd::Signalled(signal),
        Verdict::NotRun(NotRun::Sandbox(error)) => ForegroundEnd::NotRun(error),
        Verdict::TimedOut { .. } => ForegroundEnd::TimedOut,
        Verdict::Ignored
        | Verdict::NothingRun
        | Verdict::Flaky
        | Verdict::Denied(_)
        | Verdict::Unproven { .. }
        | Verdict::NotRun(
            NotRun::Service(_)
            | NotRun::Cancelled
            | NotRun::WardenDied
            | NotRun::WardenSilent
            | NotRun::ProcessEnded,
        ) => ForegroundEnd::WardenDied,
    }
}

/// Descriptors that are ready.
struct ReadySources {
    warden: bool,
    signals: bool,
    handed_over: bool,
    printed: bool,
    typed: bool,
    services: bool,
}

/// A pseudo-terminal between the caller's and the program's. Dropping it restores the caller's.
///
/// It is made in the sandbox, by its own devpts: to the program it is `/dev/pts/0`, where
/// ttyname(3) looks for it.
struct Terminal {
    pair: Pair,
    raw: RawMode,
    saved: &'static Termios,
    typing_ended: bool,
}

/// The ends of a pseudo-terminal.
enum Pair {
    /// They will come over this socket.
    Expected(OwnedFd),
    /// They are here. The inner one keeps the outer one from a hang-up while nobody has it open.
    Open { outside: OwnedFd, _inside: OwnedFd },
    /// The sandbox could not be set up.
    Lost,
}

impl Terminal {
    /// With it comes what the sandbox hands the ends over by. `None` where stdin is no terminal.
    fn prepare() -> io::Result<Option<(Terminal, OwnedFd)>> {
        let Some((raw, saved)) = RawMode::open() else { return Ok(None) };
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let terminal = Terminal { pair: Pair::Expected(ours), raw, saved, typing_ended: false };
        Ok(Some((terminal, theirs)))
    }

    /// Takes the ends over, with the modes and the size of the caller's. The sandbox waits for
    /// that.
    fn take_over(&mut self) {
        let Pair::Expected(socket) = std::mem::replace(&mut self.pair, Pair::Lost) else { return };
        let Some(outside) = receive(&socket) else { return };
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let Ok(inside) = ioctl_tiocgptpeer(&outside, flags) else { return };
        let _ = tcsetattr(&inside, OptionalActions::Now, self.saved);
        self.pair = Pair::Open { outside, _inside: inside };
        self.copy_size();
        let _ = nix::unistd::write(&socket, &[0]);
    }

    /// Gives the inner terminal the size of the outer one. A terminal without a size has none to
    /// give.
    fn copy_size(&self) {
        if let (Pair::Open { outside, .. }, Ok(size)) = (&self.pair, tcgetwinsize(stdin())) {
            let _ = tcsetwinsize(outside, size);
        }
    }

    fn relay(&mut self, typed: bool, printed: bool) -> io::Result<()> {
        let Pair::Open { outside, .. } = &self.pair else { return Ok(()) };
        if typed {
            self.typing_ended = copy(stdin().as_fd(), outside.as_fd())? == 0;
        }
        if printed && has_input(outside.as_fd())? {
            copy(outside.as_fd(), stdout().as_fd())?;
        }
        Ok(())
    }
}

/// The descriptor that comes over a socket.
fn receive(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let parts = &mut [IoSliceMut::new(&mut byte)];
    recvmsg(socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut messages = control.drain();
    messages.find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

fn has_input(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO)?;
    Ok(polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)))
}

/// Copies what is there; 0 at the end.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<usize> {
    let mut buffer = [0; 1 << 14];
    let length = match nix::unistd::read(from, &mut buffer) {
        // EIO: the other side of a pseudo-terminal is closed.
        Err(Errno::EIO) => 0,
        other => other?,
    };
    let mut rest = buffer.get(..length).unwrap_or_default();
    while !rest.is_empty() {
        let written = nix::unistd::write(to, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(length)
}
