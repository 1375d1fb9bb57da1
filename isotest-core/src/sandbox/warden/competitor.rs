//! Competitors: a process beside a case that never sleeps, outside of its namespaces.

#![allow(unsafe_code)]

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::errno;
use crate::perturbation::Perturbations;
use crate::sandbox::child::kernel::{self, Cloning};
use crate::sandbox::sys;

/// A running competitor. Dropping it ends it.
pub(super) struct Competitor(OwnedFd);

impl Competitor {
    /// Starts the one of a case in this slot, where it is to have one: on the processor of the case,
    /// where that has one alone.
    pub(super) fn of(wanted: &Perturbations, slot: usize) -> Result<Option<Competitor>, Errno> {
        if !wanted.competitor {
            return Ok(None);
        }
        let processors = if wanted.one_processor { sys::single_processors() } else { Vec::new() };
        let processor = processors.get(slot.checked_rem(processors.len()).unwrap_or(0));
        let warden = std::process::id();
        let cloning = Cloning { exit_signal: libc::SIGCHLD as u64, ..Cloning::default() };
        // SAFETY: the warden has one thread, and holds no lock.
        let Some(process) = unsafe { cloning.perform() }.map_err(sys::errno)? else {
            compete(warden, processor.map(Vec::as_slice))
        };
        let process = Pid::from_raw(process).ok_or(Errno::ECHILD)?;
        match pidfd_open(process, PidfdFlags::empty()) {
            Ok(process) => Ok(Some(Competitor(process))),
            Err(error) => {
                kernel::kill(process.as_raw_nonzero().get(), libc::SIGKILL);
                Err(errno::of_rustix(error))
            }
        }
    }
}

impl Drop for Competitor {
    fn drop(&mut self) {
        // Whatever has ended it before: the warden reaps it as any child.
        let _ = pidfd_send_signal(&self.0, rustix::process::Signal::KILL);
    }
}

/// The whole run of the process.
fn compete(warden: u32, processor: Option<&[u64]>) -> ! {
    // Without a pid namespace of its own the warden does not take it along.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let is_orphan = nix::unistd::getppid().as_raw() as u32 != warden;
    let _ = nix::sys::prctl::set_name(c"isotest-rival");
    let is_set = processor.is_none_or(|processor| sys::run_on(processor).is_ok());
    if is_orphan || !is_set || sys::close_all_but(&[]).is_err() {
        kernel::exit(1);
    }
    loop {
        std::hint::spin_loop();
    }
}
