//! Runs one program of the host, outside of every sandbox, to its end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::poll_timeout;
use crate::signals::Signals;

/// End of a program of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// By itself.
    Exited(ExitStatus),
    /// Its process group was killed, because its time was up.
    TimedOut(Duration),
    /// Its process group was killed, because this signal asked isotest to end.
    Interrupted(i32),
}

/// Starts a program as the leader of a process group and waits for it. Others that it leaves behind
/// when it ends by itself go on.
pub fn run(
    command: &mut Command,
    limit: Option<Duration>,
    signals: &Signals,
) -> io::Result<CommandEnd> {
    let _attendance = signals.attend();
    let started = Instant::now();
    let mut child = command.process_group(0).spawn()?;
    let group = Pid::from_raw(child.id() as i32);
    let killed = |child: &mut Child, reason| {
        // ESRCH: all of it has ended.
        let _ = killpg(group, Signal::SIGKILL);
        child.wait().map(|_| reason)
    };
    let id = rustix::process::Pid::from_child(&child);
    let process = pidfd_open(id, PidfdFlags::empty())?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(CommandEnd::Exited(status));
        }
        while let Some(signal) = signals.take() {
            match signal {
                libc::SIGTSTP => {
                    Signals::suspend(|stops| {
                        let signal = if stops { Signal::SIGSTOP } else { Signal::SIGCONT };
                        let _ = killpg(group, signal);
                    });
                }
                libc::SIGCONT | libc::SIGWINCH => {}
                ending => return killed(&mut child, CommandEnd::Interrupted(ending)),
            }
        }
        let left = limit.map(|limit| (limit, limit.saturating_sub(started.elapsed())));
        if let Some((limit, Duration::ZERO)) = left {
            return killed(&mut child, CommandEnd::TimedOut(limit));
        }
        let timeout = left.map_or(PollTimeout::NONE, |(_, left)| poll_timeout::at_least(left));
        let polled = [process.as_fd(), signals.as_fd()];
        match poll(&mut polled.map(|fd| PollFd::new(fd, PollFlags::POLLIN)), timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
