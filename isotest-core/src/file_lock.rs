//! Locks of files (flock(2)) that another process may have: who waits for one hears signals meanwhile.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::signals::Signals;

/// Kind of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Others may have it too, if they share it.
    Shared,
    /// Nobody else has it.
    Exclusive,
}

/// Takes the lock of a file, which is held as long as the file is open; `false` where somebody else
/// has it.
pub fn try_lock(file: &File, lock: Lock) -> io::Result<bool> {
    let taken = match lock {
        Lock::Shared => file.try_lock_shared(),
        Lock::Exclusive => file.try_lock(),
    };
    match taken {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits for the lock of a file. Returns the signal that has asked isotest to end before it was there,
/// if one has.
pub fn wait(file: &File, lock: Lock, signals: &Signals) -> io::Result<Option<i32>> {
    // A lock belongs to what is open, not to a descriptor of it.
    let same = file.try_clone()?;
    let (ended, ends) = io::pipe()?;
    let waiting = thread::spawn(move || {
        let taken = match lock {
            Lock::Shared => same.lock_shared(),
            Lock::Exclusive => same.lock(),
        };
        drop(ends);
        taken
    });
    loop {
        // Who is interrupted leaves the thread behind: the process ends.
        if let Some(signal) = signals.take_ending() {
            return Ok(Some(signal));
        }
        let polled = [ended.as_fd(), signals.as_fd()];
        let mut polled = polled.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if polled[0].any().unwrap_or(false) {
            return waiting.join().expect("a lock has no panic path").map(|()| None);
        }
    }
}
