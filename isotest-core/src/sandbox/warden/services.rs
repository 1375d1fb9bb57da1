//! Service supervisors of cases: the warden starts one, and reports the end of its case when both
//! have ended.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use super::start::strings;
use super::state::WardenState;
use crate::outcome::Usage;
use crate::sandbox::child::bytecode::{Bytecode, header};
use crate::sandbox::child::kernel::Cloning;
use crate::sandbox::protocol::{Channel, Start};
use crate::sandbox::service_supervisor::{ServiceSupervisor, handshake};
use crate::sandbox::sys;

impl WardenState {
    /// Starts the supervisor of a case, where its set-up has services. Without one the case would
    /// wait for ever: it is killed.
    pub fn supervise(&mut self, start: &Start, slot: usize, told: Option<&OwnedFd>) {
        let Some(told) = told else { return };
        match self.clone_supervisor(start, slot, told) {
            Ok(supervisor) => {
                if let Some(running) = self.running.get_mut(&slot) {
                    running.supervisor = supervisor;
                }
            }
            Err(errno) => {
                if let Some(cell) = self.cell(slot) {
                    cell.errno.store(errno as i32, Ordering::Release);
                }
                self.signal(start.case, libc::SIGKILL);
            }
        }
    }

    /// `None` where the case has no services.
    fn clone_supervisor(
        &self,
        start: &Start,
        slot: usize,
        told: &OwnedFd,
    ) -> Result<Option<i32>, Errno> {
        let set_up = self.setups.get(&start.setup).ok_or(Errno::EINVAL)?;
        let Some(services) = &set_up.setup.services else { return Ok(None) };
        let cell = self.cell(slot).ok_or(Errno::EINVAL)?;
        let bytecode = Bytecode(&set_up.setup.bytecode);
        let mut environment = strings(&bytecode, header::ENVIRONMENT, header::ENVIRONMENT_AT)?;
        environment.extend(start.environment.iter().map(|variable| variable.as_c_str()));
        let channel = Channel::from(told.try_clone().map_err(|_| Errno::EMFILE)?);
        let namespaces = bytecode.header(header::NAMESPACES).ok_or(Errno::EINVAL)?;
        // What services use counts as the case's own.
        let group = self.running.get(&slot).and_then(|running| running.group.as_ref());
        let cloning = Cloning {
            exit_signal: libc::SIGCHLD as u64,
            cgroup: group.map_or(0, |group| group.case().as_raw_fd() as u64),
            ..Cloning::default()
        };
        let supervisor = ServiceSupervisor {
            slot: cell,
            services: &services.list,
            restriction: &services.restriction,
            namespaces,
            environment,
            directory: &services.directory,
            channel,
        };
        // SAFETY: the warden has one thread, and holds no lock.
        match unsafe { cloning.perform() }.map_err(sys::errno)? {
            None => supervisor.serve(),
            supervisor => Ok(supervisor),
        }
    }

    /// The slot of the case whose supervisor this was.
    pub fn supervised_by(&self, pid: i32) -> Option<usize> {
        self.running.iter().find_map(|(slot, running)| {
            running.supervisor.is_some_and(|supervisor| supervisor == pid).then_some(*slot)
        })
    }

    /// PID 1 of a case has ended, or will never be. That is reported when its supervisor has ended too:
    /// all its events have come by then.
    pub fn end(&mut self, slot: usize, status: i32, usage: Usage) {
        match self.running.get_mut(&slot) {
            Some(running) if running.supervisor.is_some() => {
                (running.ended, running.doomed) = (Some((status, usage)), None);
                if let Some(cell) = running.slots.get(slot) {
                    // The id may be somebody else's from now on.
                    cell.pid.store(0, Ordering::Release);
                    sys::store_and_wake(&cell.mapped, handshake::ENDED);
                }
            }
            Some(_) | None => self.report_end(slot, status, usage),
        }
    }

    /// A service supervisor has ended: with its case, or since a service cannot be had.
    pub fn lose_supervisor(&mut self, slot: usize) {
        let Some(running) = self.running.get_mut(&slot) else { return };
        running.supervisor = None;
        if let Some((status, usage)) = running.ended.take() {
            return self.report_end(slot, status, usage);
        }
        let case = running.case;
        let word = self.cell(slot).map_or(0, |cell| cell.mapped.load(Ordering::Acquire));
        if word != handshake::SERVICES_READY {
            self.signal(case, libc::SIGKILL);
        }
    }
}
