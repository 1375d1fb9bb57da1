//! The keeper: a process that outlives its starter for as long as it takes to clean up.
//!
//! Whatever kills the starter, SIGKILL included, closes its end of a pipe; the keeper waits for
//! nothing else. It leaves the session, so that signals of a terminal do not reach it.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2, read, setsid};

use super::child::kernel;
use super::sys;

/// A running keeper. Dropping it lets it clean up, and waits for it.
#[derive(Debug)]
pub struct Keeper {
    alive: Option<OwnedFd>,
    process: Pid,
}

impl Keeper {
    /// Starts a process that runs `clean` when this value or this process is gone.
    pub fn start(clean: impl FnOnce()) -> Result<Keeper, Errno> {
        let (gone, alive) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: fork(3) of glibc and musl leaves the allocator usable in the child; the child
        // takes no other lock and ends in `exit_group`.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Keeper { alive: Some(alive), process: child }),
            ForkResult::Child => {
                sys::reset_signals();
                let _ = setsid();
                let _ = nix::sys::prctl::set_name(c"isotest-keeper");
                if leave_descriptors(&gone).is_ok() {
                    while matches!(read(&gone, &mut [0]), Err(Errno::EINTR)) {}
                }
                clean();
                kernel::exit_group(0)
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = waitpid(self.process, None);
    }
}

/// Holds nothing open that others wait for the end of.
fn leave_descriptors(kept: &OwnedFd) -> Result<(), Errno> {
    let null = open(c"/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    for number in 0..3 {
        kernel::place_descriptor(null.as_raw_fd(), number).map_err(sys::errno)?;
    }
    sys::close_all_but(&[kept.as_fd(), null.as_fd()])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_keeper_cleans_up_when_it_is_dropped_and_not_before() {
        let name = format!("isotest-keeper-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, "").expect("it is writable");
        let keeper = Keeper::start(|| fs::remove_file(&file).expect("it is there"));
        let keeper = keeper.expect("a process can be made");
        nix::sys::signal::kill(keeper.process, None).expect("it is alive");
        assert!(file.exists());
        drop(keeper);
        assert!(!file.exists());
    }
}
