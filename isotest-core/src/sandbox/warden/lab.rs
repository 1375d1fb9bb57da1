//! The lab of the warden's cases, made by the steps of a plan, and made anew.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::Pid;

use super::serve::run_here;
use super::signals::owns_pid_namespace;
use super::state::WardenState;
use crate::sandbox::fault::{Fault, STEP_LAB, STEP_SCRATCH};
use crate::sandbox::protocol::Response;

impl WardenState {
    /// Makes the lab, and ends before what a lab before it has left.
    pub(super) fn make_lab(&mut self, bytecode: &[u8], on_disk: bool) {
        let refused = self.try_make_lab(bytecode, on_disk).err();
        self.send(&Response::Built(refused));
    }

    fn try_make_lab(&mut self, bytecode: &[u8], on_disk: bool) -> Result<(), Fault> {
        let fault = |step| move |errno| Fault { step, errno: errno as i32 };
        self.end_what_is_left().map_err(fault(STEP_LAB))?;
        self.labs += 1;
        let scratch = match (on_disk, &mut self.disk) {
            (false, _) => None,
            (true, Some(disk)) => Some(disk.make(&format!("lab{}", self.labs))),
            (true, None) => Some(Err(Errno::ENODEV)),
        };
        let scratch = scratch.transpose().map_err(fault(STEP_SCRATCH))?;
        let scratch = scratch.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        run_here(bytecode, scratch)
    }

    /// Ends fork servers, which are in the lab, and processes that cases have left. EBUSY where a case
    /// is in flight.
    fn end_what_is_left(&mut self) -> Result<(), Errno> {
        if !self.running.is_empty() {
            return Err(Errno::EBUSY);
        }
        for set_up in self.setups.values_mut() {
            set_up.server = None;
        }
        if !owns_pid_namespace() {
            return Ok(());
        }
        // kill(2) with -1: all of the warden's pid namespace but the warden. ESRCH: there is nobody.
        match kill(Pid::from_raw(-1), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno),
        }
        // Orphans become children of the warden.
        loop {
            match wait() {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }
}
