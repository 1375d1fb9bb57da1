//! Pseudo-terminals to run commands on.

#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// A new pseudo-terminal: its outer end, and the inner one. The command will be the leader of a
/// session whose terminal its stdin is.
pub fn open(command: &mut Command) -> (PipeReader, OwnedFd) {
    // From the start no other child inherits it, which would keep it open.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let outer = posix_openpt(flags).expect("a pseudo-terminal is free");
    grantpt(&outer).expect("it is ours");
    unlockpt(&outer).expect("it is ours");
    let name = ptsname_r(&outer).expect("it is a pseudo-terminal");
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let inner = options.open(name).expect("it is unlocked");
    command.stdin(inner.try_clone().expect("a descriptor is free"));
    // SAFETY: setsid(2) and ioctl(2) are plain system calls; nothing is allocated.
    unsafe { command.pre_exec(lead_session) };
    (OwnedFd::from(outer).into(), inner.into())
}

fn lead_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: TIOCSCTTY takes a number.
    nix::errno::Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
    Ok(())
}
