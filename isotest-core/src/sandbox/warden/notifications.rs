//! What the guard tells the warden of: exits, and signals that PID 1 sends itself.

use super::State;
use crate::sandbox::guard::{Act, Notification};
use crate::sandbox::inside::kernel;
use crate::sandbox::look::{
    children_of, held, is_deadly, is_scratch_full, status_field, unrouted_packets,
};

impl State {
    pub fn answer_notification(&mut self) {
        let Some(listener) = &self.listener else { return };
        let Some(notification) = listener.receive() else { return };
        match notification.act {
            Act::Exit { code } => {
                let process = self.leader_of(notification.thread);
                let test = self.slot_of(process);
                if let Some(running) = test.and_then(|slot| self.running.get_mut(&slot)) {
                    running.seen.leftovers = children_of(process);
                }
                // Only a failure is worth the look. An init does not fail, its test does.
                let failed = (code != 0).then(|| test.or_else(|| self.init_of(process))).flatten();
                let leader = failed.and_then(|slot| self.pid(slot)).unwrap_or(process);
                if let Some(running) = failed.and_then(|slot| self.running.get_mut(&slot)) {
                    running.seen.held = Some(held(process, leader));
                    running.seen.scratch_full = is_scratch_full(process);
                    if running.own_network {
                        running.seen.unrouted = unrouted_packets(process);
                    }
                }
            }
            Act::Signal { signal, thread } => {
                let deadly = is_deadly(&notification, signal, thread)
                    && self.listener.as_ref().is_some_and(|l| l.is_valid(notification.id));
                if deadly && self.note_signal(&notification, signal) {
                    // It is dying: its abort(3) must not see the signal go by.
                    return;
                }
            }
        }
        if let Some(listener) = &self.listener {
            listener.go_on(notification.id);
        }
    }

    /// The process that a thread belongs to. Most are the leaders of cases themselves.
    fn leader_of(&self, thread: i32) -> i32 {
        if self.slot_of(thread).is_some() {
            return thread;
        }
        let process = status_field(thread, "Tgid:");
        process.and_then(|text| text.parse().ok()).unwrap_or(thread)
    }

    /// The slot of the reaping init whose test a process is.
    fn init_of(&self, process: i32) -> Option<usize> {
        let init = self.slot_of(status_field(process, "PPid:")?.parse().ok()?)?;
        let number = status_field(process, "NSpid:")?;
        let is_test = number.split_whitespace().last() == Some("2");
        (self.running.get(&init)?.reaper && is_test).then_some(init)
    }

    /// Notes a signal with which PID 1 of a case meant to end itself. For SIGABRT the warden
    /// does what the kernel would do to any other process: it ends the case. Returns whether it
    /// did.
    fn note_signal(&mut self, notification: &Notification, signal: i32) -> bool {
        let leader = self.leader_of(notification.thread);
        let running = self.slot_of(leader).and_then(|slot| self.running.get_mut(&slot));
        let Some(running) = running else { return false };
        if running.reaper {
            return false;
        }
        if signal != libc::SIGABRT {
            running.seen.discarded.push(signal);
            return false;
        }
        running.seen.aborted = true;
        running.seen.leftovers = children_of(leader);
        running.seen.held = Some(held(leader, leader));
        kernel::kill(leader, libc::SIGKILL);
        true
    }
}
