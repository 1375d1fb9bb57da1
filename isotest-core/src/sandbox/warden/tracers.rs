//! Tracers of cases: the warden starts one for each traced case, answers what the guard is notified
//! of through it, and ends it when it does not read a call in time.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use super::signals::signal_case;
use super::state::{Heard, WardenState};
use super::tracing::{RunningTracer, Source, Tracing};
use crate::sandbox::child::kernel::{self, Cloning};
use crate::sandbox::fault::STEP_TRACE;
use crate::sandbox::interpose::programs;
use crate::sandbox::sys;
use crate::sandbox::trace::{HoldChooser, Tracer, TracerMessage, mark};
use crate::trace::Gap;

impl WardenState {
    /// Starts the tracer of a case that was cloned. Where that fails the case ends.
    pub(super) fn start_tracer(
        &mut self,
        slot: usize,
        tracing: Tracing,
        holds: Option<HoldChooser>,
    ) -> Result<(), Errno> {
        let is_traced = self.tracers.is_some_and(|rules| rules.is_traced);
        let Tracing { began, sockets, log, timer, channels, .. } = tracing;
        let cell = self.cell(slot).ok_or(Errno::EINVAL)?;
        let interposed = self.interposed;
        let cloning = Cloning { exit_signal: libc::SIGCHLD as u64, ..Cloning::default() };
        // SAFETY: the warden has one thread, and holds no lock.
        let Some(process) = unsafe { cloning.perform() }.map_err(sys::errno)? else {
            drop(sockets.1);
            let (case, channel) = (sockets.0, channels.1);
            Tracer { slot: cell, case, channel, timer, log, began, interposed, is_traced, holds }
                .serve()
        };
        if let Some(running) = self.running.get_mut(&slot) {
            running.tracer = Some(RunningTracer {
                process,
                channel: channels.0,
                timer,
                log,
                listener: None,
                is_lost: false,
                is_over: false,
            });
        }
        Ok(())
    }

    /// Descriptors of the cases in flight that tell of something.
    pub(super) fn watched(&self) -> Vec<(usize, Source, BorrowedFd<'_>)> {
        let mut all = Vec::new();
        for (slot, running) in &self.running {
            if let Some(cycle) = &running.cycle {
                all.push((*slot, Source::Cycle, cycle.timer.as_fd()));
            }
            let Some(tracer) = &running.tracer else { continue };
            if !tracer.is_lost {
                all.push((*slot, Source::Channel, tracer.channel.as_fd()));
                all.push((*slot, Source::Timer, tracer.timer.as_fd()));
            } else if let Some(listener) = tracer.listener.as_ref().filter(|_| !tracer.is_over) {
                all.push((*slot, Source::Listener, listener.descriptor()));
            }
        }
        all
    }

    /// True if exits and signals of the case in a slot are heard of.
    pub(super) fn is_heard(&self, slot: usize) -> bool {
        let tracer = self.running.get(&slot).and_then(|running| running.tracer.as_ref());
        self.listener.is_some() || tracer.is_some_and(|tracer| tracer.listener.is_some())
    }

    /// A descriptor of a case in flight is readable.
    pub(super) fn on_watched(&mut self, slot: usize, source: Source) {
        match source {
            Source::Channel => self.on_message(slot),
            Source::Timer => {
                let is_reading =
                    self.cell(slot).is_some_and(|cell| cell.read.load(Ordering::Acquire) != 0);
                if is_reading {
                    self.lose_tracer(slot, Gap::Stuck);
                }
            }
            Source::Listener => self.answer_untraced(slot),
            Source::Cycle => self.turn(slot),
        }
    }

    fn on_message(&mut self, slot: usize) {
        loop {
            let running = self.running.get_mut(&slot);
            let Some(tracer) = running.and_then(|running| running.tracer.as_mut()) else { return };
            match tracer.channel.receive(false) {
                Ok((TracerMessage::Attached, descriptors)) => {
                    let listener = descriptors.into_iter().next();
                    tracer.listener = listener.map(|listener| Rc::new(listener.into()));
                }
                Ok((TracerMessage::Heard(notification), _)) => {
                    let Some(listener) = tracer.listener.clone() else { continue };
                    self.answer(Heard { notification, listener });
                }
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    let gap = match tracer.listener {
                        Some(_) => Gap::Stuck,
                        None => Gap::Listener,
                    };
                    return self.lose_tracer(slot, gap);
                }
            }
        }
    }

    /// Ends the tracer of a case. What it has not answered is let go on, and so is all that comes.
    fn lose_tracer(&mut self, slot: usize, gap: Gap) {
        let read = self.cell(slot).map_or(0, |cell| cell.read.load(Ordering::Acquire));
        let Some(running) = self.running.get_mut(&slot) else { return };
        let Some(tracer) = running.tracer.as_mut() else { return };
        if sys::is_child(tracer.process) {
            // It may take until the case has ended: nobody waits for it.
            kernel::kill(tracer.process, libc::SIGKILL);
        }
        tracer.is_lost = true;
        let is_over = tracer.listener.as_ref().is_some_and(|listener| listener.is_over());
        if running.has_holds && !is_over {
            return self.end_held(slot);
        }
        match &tracer.listener {
            // With the last process of a case its tracer ends.
            Some(listener) if listener.is_over() => tracer.is_over = true,
            Some(listener) => {
                mark(&tracer.log, gap);
                listener.go_on(read);
            }
            None => mark(&tracer.log, gap),
        }
    }

    /// Ends a case whose tracer is lost: nobody else knows which of its calls wait, so that they would
    /// wait for ever. It has no verdict.
    fn end_held(&self, slot: usize) {
        let own_pids = self.running.get(&slot).is_some_and(|running| running.own_pids);
        if let Some(cell) = self.cell(slot) {
            cell.refuse(STEP_TRACE, kernel::Errno(libc::ETIMEDOUT));
        }
        if let Some(leader) = self.pid(slot).filter(|leader| sys::is_child(*leader)) {
            signal_case(leader, libc::SIGKILL, own_pids);
        }
    }

    /// Lets a call go on that nobody traces.
    fn answer_untraced(&mut self, slot: usize) {
        let running = self.running.get_mut(&slot);
        let Some(tracer) = running.and_then(|running| running.tracer.as_mut()) else { return };
        let Some(listener) = tracer.listener.clone() else { return };
        if listener.is_over() {
            tracer.is_over = true;
            return;
        }
        // Who has called may have been killed meanwhile.
        if !listener.asks() {
            return;
        }
        let Some(call) = listener.receive() else { return };
        match call.of_guard() {
            Some(notification) => self.answer(Heard { notification, listener }),
            None => programs::answer(&listener, &call, self.interposed),
        }
    }
}
