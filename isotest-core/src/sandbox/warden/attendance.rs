//! Attendants of cases that have services: the warden starts them, and tells the end of such a case
//! when both are no more.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use super::State;
use super::start::strings;
use crate::outcome::Usage;
use crate::sandbox::attendant::{Attendant, meeting};
use crate::sandbox::child::bytecode::{Bytecode, header};
use crate::sandbox::child::kernel::Cloning;
use crate::sandbox::protocol::{Channel, Start};
use crate::sandbox::sys;

impl State {
    /// Starts the attendant of a case, where its set-up has services. Without one the case would wait
    /// for ever: it is killed.
    pub fn attend(&mut self, start: &Start, slot: usize, told: Option<&OwnedFd>) {
        let Some(told) = told else { return };
        match self.clone_attendant(start, slot, told) {
            Ok(attendant) => {
                if let Some(running) = self.running.get_mut(&slot) {
                    running.attendant = attendant;
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

    /// `None` where there is nothing to attend to.
    fn clone_attendant(
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
        let attendant = Attendant {
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
            None => attendant.serve(),
            attendant => Ok(attendant),
        }
    }

    /// The slot of the case whose attendant this was.
    pub fn attended_by(&self, pid: i32) -> Option<usize> {
        self.running.iter().find_map(|(slot, running)| {
            running.attendant.is_some_and(|attendant| attendant == pid).then_some(*slot)
        })
    }

    /// PID 1 of a case has ended, or will never be. That is told when its attendant has ended too: all
    /// that it had to tell is told then.
    pub fn end(&mut self, slot: usize, status: i32, usage: Usage) {
        match self.running.get_mut(&slot) {
            Some(running) if running.attendant.is_some() => {
                (running.ended, running.doomed) = (Some((status, usage)), None);
                if let Some(cell) = running.slots.get(slot) {
                    // The id may be somebody else's from now on.
                    cell.pid.store(0, Ordering::Release);
                    sys::store_and_wake(&cell.mapped, meeting::ENDED);
                }
            }
            Some(_) | None => self.report_end(slot, status, usage),
        }
    }

    /// An attendant has ended: with its case, or since a service cannot be had.
    pub fn lose_attendant(&mut self, slot: usize) {
        let Some(running) = self.running.get_mut(&slot) else { return };
        running.attendant = None;
        if let Some((status, usage)) = running.ended.take() {
            return self.report_end(slot, status, usage);
        }
        let case = running.case;
        let word = self.cell(slot).map_or(0, |cell| cell.mapped.load(Ordering::Acquire));
        if word != meeting::SERVED {
            self.signal(case, libc::SIGKILL);
        }
    }
}
