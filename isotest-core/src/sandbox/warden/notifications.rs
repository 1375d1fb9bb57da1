//! Notifications of the guard: exits, signals that PID 1 sends itself, and io_uring.

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

use super::state::{DelayedExit, Heard, WardenState};
use crate::poll_timeout;
use crate::sandbox::child::kernel;
use crate::sandbox::guard::{GuardEvent, Notification};
use crate::sandbox::procfs::{held, is_deadly, is_full, packets, remaining, status_field};

/// Maximum time that PID 1 of a case waits in its exit for processes that may be about to end.
const DEPARTURE: Duration = Duration::from_millis(100);
/// Time before they are read again; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(1);
/// Maximum number of them that PID 1 waits for: more are no command whose output a test has read to
/// its end.
const MOST_IN_MOTION: usize = 16;
/// Number of ancestors that are searched for the case of a process.
const ANCESTORS: usize = 32;

impl WardenState {
    pub fn answer_notification(&mut self) {
        let Some(listener) = self.listener.clone() else { return };
        let received = listener.receive().and_then(|call| call.of_guard());
        if let Some(notification) = received {
            self.answer(Heard { notification, listener });
        }
    }

    /// Answers a notification of the guard.
    pub fn answer(&mut self, heard: Heard) {
        let notification = &heard.notification;
        match notification.act {
            GuardEvent::Exit { code } => return self.on_exit(heard, code),
            GuardEvent::IoUring => {
                let slot = self.case_of(self.leader_of(notification.thread));
                heard.listener.refuse_io_uring(notification.id);
                if let Some(running) = slot.and_then(|slot| self.running.get_mut(&slot)) {
                    running.seen.io_uring = true;
                }
                return;
            }
            GuardEvent::Signal { signal, thread } => {
                let deadly = is_deadly(notification, signal, thread) && heard.is_valid();
                if deadly && self.note_signal(notification, signal) {
                    // It is dying: its abort(3) must not see the signal go by.
                    return;
                }
            }
        }
        heard.go_on();
    }

    /// Notes an exit of a test, and lets the process exit.
    fn on_exit(&mut self, heard: Heard, code: i32) {
        let thread = heard.notification.thread;
        let process = self.leader_of(thread);
        let leader = self.slot_of(process);
        if leader.is_some_and(|slot| self.departs(slot)) {
            // Its end is another thread's, which takes this one along.
            return;
        }
        let test = match leader.and_then(|slot| self.running.get(&slot)) {
            Some(running) if running.reaper => None,
            Some(_) => leader,
            None => self.init_of(process),
        };
        if let Some(slot) = test {
            self.note_exit(slot, process, thread, code);
            if code != 0 {
                self.note_resources(slot, process);
            }
        }
        if let Some(slot) = leader {
            let (now, wait) = (Instant::now(), FIRST_WAIT);
            self.depart(DelayedExit { slot, heard, began: now, wait, due: now });
        } else {
            heard.go_on();
        }
    }

    /// Notes what a failed test holds at its end.
    fn note_resources(&mut self, slot: usize, process: i32) {
        let first = self.pid(slot).unwrap_or(process);
        let Some(running) = self.running.get_mut(&slot) else { return };
        running.seen.held = Some(held(process, first));
        running.seen.scratch_full = is_full(&running.scratch);
        if running.own_network {
            running.seen.packets = packets(process);
        }
    }

    /// Lets PID 1 of a case exit, once what is left behind is known.
    fn depart(&mut self, mut departure: DelayedExit) {
        let Some(leader) = self.pid(departure.slot) else { return };
        let left = remaining(leader);
        // What waits for an answer from here is about to exit, too.
        let asks = !left.processes.is_empty() && departure.heard.listener.asks();
        let moves = asks || (1..=MOST_IN_MOTION).contains(&left.in_motion);
        if let Some(running) = self.running.get_mut(&departure.slot) {
            running.seen.leftovers = left.processes;
        }
        let now = Instant::now();
        if moves && now.duration_since(departure.began) < DEPARTURE {
            departure.due = now + departure.wait;
            departure.wait *= 2;
            return self.departures.push(departure);
        }
        departure.heard.go_on();
    }

    /// True if the exit of the case in a slot is put off.
    fn departs(&self, slot: usize) -> bool {
        // That of a case which was killed meanwhile is no more than a number.
        let mut departures = self.departures.iter();
        departures.any(|departure| departure.slot == slot && departure.heard.is_valid())
    }

    /// Time until the first delayed exit is due.
    pub fn next_look(&self) -> PollTimeout {
        let next = self.departures.iter().map(|departure| departure.due);
        let next = next.chain(self.next_overdue()).min();
        let wait = next.map(|due| due.saturating_duration_since(Instant::now()));
        wait.map_or(PollTimeout::NONE, poll_timeout::at_least)
    }

    /// Looks again at what exits that were put off leave behind.
    pub fn look_again(&mut self) {
        self.end_overdue();
        let now = Instant::now();
        let (due, later) =
            std::mem::take(&mut self.departures).into_iter().partition(|one| one.due <= now);
        self.departures = later;
        for departure in due {
            // It may have been killed, and its slot be another case's.
            if departure.heard.is_valid() {
                self.depart(departure);
            }
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

    /// The slot of the case that a process belongs to, by its ancestors: who loses its parent
    /// becomes a child of PID 1.
    fn case_of(&self, process: i32) -> Option<usize> {
        let parent = |process: &i32| status_field(*process, "PPid:")?.parse().ok();
        let line = std::iter::successors(Some(process), parent).take(ANCESTORS);
        line.take_while(|process| *process > 1).find_map(|process| self.slot_of(process))
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
        running.seen.leftovers = remaining(leader).processes;
        running.seen.held = Some(held(leader, leader));
        kernel::kill(leader, libc::SIGKILL);
        true
    }
}
