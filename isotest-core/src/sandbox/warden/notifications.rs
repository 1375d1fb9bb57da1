//! Notifications of the guard: exits, signals that PID 1 sends itself, and io_uring; those of what a
//! test does besides are noted by `observe`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

use super::state::{DelayedExit, Heard, WardenState};
use crate::poll_timeout;
use crate::sandbox::child::kernel;
use crate::sandbox::guard::{GuardEvent, Notification};
use crate::sandbox::interpose::programs;
use crate::sandbox::procfs::{
    RemainingThread, held, is_deadly, remaining, remaining_threads, status_field,
};

/// Time on a processor after which a process that still runs is not about to end. An exit waits for
/// as long.
const ENOUGH: Duration = Duration::from_millis(100);
/// The same of a thread: one that spins must not cost much.
const ENOUGH_OF_THREAD: Duration = Duration::from_millis(5);
/// Maximum time that an exit waits for what has to wait for a processor.
const DEPARTURE: Duration = Duration::from_secs(2);
/// Time before they are read again; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(1);
/// Maximum number of them that PID 1 waits for: more are no command whose output a test has read to
/// its end.
const MOST_IN_MOTION: usize = 16;
/// The word of [`Slot::status`](crate::sandbox::child::start::Slot) for a test that exited with 0.
const TEST_PASSED: i32 = 1;
/// Number of ancestors that are searched for the case of a process.
const ANCESTORS: usize = 32;

impl WardenState {
    pub fn answer_notification(&mut self) {
        let Some(listener) = self.listener.clone() else { return };
        let Some(call) = listener.receive() else { return };
        match call.of_guard() {
            Some(notification) => self.answer(Heard { notification, listener }),
            None => programs::answer(&listener, &call, self.interposed),
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
            GuardEvent::Questions { messages } => self.note_name(&heard, messages),
            GuardEvent::IpcObject => self.note_ipc_object(notification.thread),
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
        if self.departs(process) {
            // Its end is another thread's, which takes this one along.
            return;
        }
        let leader = self.slot_of(process);
        let init = leader.filter(|slot| self.running.get(slot).is_some_and(|it| it.reaper));
        if let Some(slot) = init {
            let status = self.cell(slot).map_or(0, |cell| cell.status.load(Ordering::Acquire));
            self.note_deeds(slot, process, status != TEST_PASSED);
        }
        let test = match leader {
            Some(_) if init.is_some() => None,
            Some(_) => leader,
            None => self.init_of(process),
        };
        if let Some(slot) = test {
            self.note_exit(slot, process, thread, code);
            self.note_deeds(slot, process, code != 0);
            if code != 0 {
                self.note_resources(slot, process);
            }
        }
        match test.or(leader) {
            Some(slot) => {
                self.end_cycle(slot);
                self.depart(DelayedExit::new(slot, process, heard, FIRST_WAIT))
            }
            None => heard.go_on(),
        }
    }

    /// Lets a process of a case exit, once what it leaves behind is known.
    fn depart(&mut self, mut departure: DelayedExit) {
        let (slot, process) = (departure.slot, departure.process);
        let is_leader = self.pid(slot) == Some(process);
        let Some(running) = self.running.get_mut(&slot) else { return };
        let waited = departure.began.elapsed();
        let mut waits = false;
        if is_leader {
            let left = remaining(process);
            // What waits for an answer from here is about to exit, too.
            let asks = !left.processes.is_empty() && departure.heard.listener.asks();
            let few = left.in_motion.len() <= MOST_IN_MOTION;
            let may_end = left.in_motion.iter().filter(|it| departure.may_end(it, ENOUGH)).count();
            waits = asks && waited < ENOUGH || few && may_end > 0;
            running.seen.leftovers = left.processes.into_iter().map(|(_, left)| left).collect();
        }
        // A reaping init has no threads, and its test has exited before.
        let is_test = !(is_leader && running.reaper);
        if is_test {
            let threads = remaining_threads(process, departure.heard.notification.thread);
            let in_motion = threads.iter().filter(|it| it.in_motion.is_some()).count();
            let few = in_motion <= MOST_IN_MOTION;
            let mut may_end = |thread: &RemainingThread| {
                let motion = thread.in_motion.as_ref().filter(|_| few);
                motion.is_some_and(|it| departure.may_end(it, ENOUGH_OF_THREAD))
            };
            let (ending, left): (Vec<_>, Vec<_>) = threads.into_iter().partition(&mut may_end);
            running.seen.threads = left.into_iter().map(|thread| thread.name).collect();
            waits |= !ending.is_empty();
        }
        // A call that is held looks like one that is about to end.
        let is_held = self.running.get(&slot).is_some_and(|running| running.has_holds);
        if waits && !is_held && waited < DEPARTURE {
            departure.due = Instant::now() + departure.wait;
            departure.wait *= 2;
            return self.departures.push(departure);
        }
        if is_test {
            self.note_left(slot, process);
        }
        departure.heard.go_on();
    }

    /// True if the exit of a process is put off.
    fn departs(&self, process: i32) -> bool {
        // That of a case which was killed meanwhile is no more than a number.
        let mut departures = self.departures.iter();
        departures.any(|departure| departure.process == process && departure.heard.is_valid())
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
    pub(super) fn leader_of(&self, thread: i32) -> i32 {
        if self.slot_of(thread).is_some() {
            return thread;
        }
        let process = status_field(thread, "Tgid:");
        process.and_then(|text| text.parse().ok()).unwrap_or(thread)
    }

    /// The slot of the case that a process belongs to, by its ancestors: who loses its parent
    /// becomes a child of PID 1.
    pub(super) fn case_of(&self, process: i32) -> Option<usize> {
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
            if !running.seen.discarded.contains(&signal) {
                running.seen.discarded.push(signal);
            }
            return false;
        }
        running.seen.aborted = true;
        let left = remaining(leader).processes.into_iter();
        running.seen.leftovers = left.map(|(_, left)| left).collect();
        running.seen.held = Some(held(leader, leader));
        if let Some(slot) = self.slot_of(leader) {
            self.note_deeds(slot, leader, true);
        }
        kernel::kill(leader, libc::SIGKILL);
        true
    }
}
