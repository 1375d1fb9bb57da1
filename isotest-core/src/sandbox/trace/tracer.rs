//! The tracer of a case: is notified of its system calls, has them read or holds them, lets them go on.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};
use serde::{Deserialize, Serialize};

use super::held;
use super::holds::HoldChooser;
use super::log::Log;
use super::memory;
use super::places::places;
use super::watch::Watch;
use crate::sandbox::child::kernel;
use crate::sandbox::child::start::Slot;
use crate::sandbox::guard::{Listener, Notification, SystemCall};
use crate::sandbox::interpose::programs;
use crate::sandbox::procfs::status_field;
use crate::sandbox::protocol::Channel;
use crate::sandbox::sys;

/// Time that a tracer has to read one call.
const PATIENCE: Duration = Duration::from_secs(2);

/// From a tracer to the warden.
#[derive(Debug, Serialize, Deserialize)]
pub enum TracerMessage {
    /// The case has its filter. The descriptor beside it is the listener.
    Attached,
    /// A notification of the guard, which the warden answers.
    Heard(Notification),
}

/// All that a tracer needs.
pub struct Tracer<'a> {
    /// The slot of the case.
    pub slot: &'a Slot,
    /// Socket to the case, for the listener.
    pub case: OwnedFd,
    /// Channel for each [`TracerMessage`].
    pub channel: Channel,
    /// Timer by which the warden learns that a call was not read in time.
    pub timer: TimerFd,
    /// File of the log.
    pub log: OwnedFd,
    /// Start of the case.
    pub began: Instant,
    /// Programs before which no library can be loaded are refused.
    pub interposed: bool,
    /// Its calls are read and logged.
    pub is_traced: bool,
    /// Which of its calls are held, where some are.
    pub holds: Option<HoldChooser>,
}

impl Tracer<'_> {
    /// The whole run of the process.
    pub fn serve(self) -> ! {
        let _ = nix::sys::prctl::set_name(c"isotest-tracer");
        let kept = [self.case.as_fd(), self.channel.as_fd(), self.timer.as_fd(), self.log.as_fd()];
        if sys::close_all_but(&kept).is_err() {
            kernel::exit(1);
        }
        let Some(listener) = self.attach() else { kernel::exit(0) };
        let leader = self.slot.pid.load(Ordering::Acquire);
        let Tracer { slot, channel, timer, log, began, interposed, is_traced, holds, .. } = self;
        let watch = Watch::new(leader, Log::new(log, began));
        let held = BTreeMap::new();
        Work { slot, channel, timer, listener, watch, interposed, is_traced, holds, held }.run()
    }

    /// Takes the listener from the case, and shows it to the warden. `None`: there is none.
    fn attach(&self) -> Option<Listener> {
        let mut word = [0; 4];
        // The end of the file: the case was never set up.
        let length = nix::unistd::read(&self.case, &mut word).ok()?;
        let number = i32::from_le_bytes(word);
        if length < word.len() {
            return None;
        }
        if number < 0 {
            self.answer(0);
            return None;
        }
        let leader = self.slot.pid.load(Ordering::Acquire);
        let taken = memory::descriptor(leader, number);
        let shown = taken.and_then(|listener| {
            let sent = self.channel.send(&TracerMessage::Attached, &[listener.as_fd()]);
            sent.is_ok().then_some(listener)
        });
        self.answer(if shown.is_some() { 0 } else { Errno::EPERM as i32 });
        let listener = shown.map(Listener::from)?;
        listener.wake_in_place();
        Some(listener)
    }

    /// Tells the case to go on, or what keeps it from being traced.
    fn answer(&self, errno: i32) {
        // It may be dead.
        let _ = nix::unistd::write(&self.case, &errno.to_le_bytes());
    }
}

/// A tracer at work.
struct Work<'a> {
    slot: &'a Slot,
    channel: Channel,
    timer: TimerFd,
    listener: Listener,
    watch: Watch,
    interposed: bool,
    is_traced: bool,
    holds: Option<HoldChooser>,
    /// The calls that wait, by when they go on and the numbers of their notifications.
    held: BTreeMap<(Instant, u64), SystemCall>,
}

impl Work<'_> {
    fn run(mut self) -> ! {
        loop {
            self.release();
            let next = self.held.keys().next().map(|(due, _)| *due);
            let wait = next.map(|due| due.saturating_duration_since(Instant::now()).into());
            let mut polled = [
                PollFd::new(self.listener.descriptor(), PollFlags::POLLIN),
                PollFd::new(self.channel.as_fd(), PollFlags::empty()),
            ];
            if ppoll(&mut polled, wait, None).is_err() {
                continue;
            }
            let [listener, channel_end] =
                polled.map(|one| one.revents().unwrap_or(PollFlags::empty()));
            let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
            if channel_end.intersects(gone) {
                // The warden answers by itself, or is gone.
                kernel::exit(0);
            }
            if listener.contains(PollFlags::POLLIN) {
                self.hear();
            } else if listener.intersects(gone) {
                // No process of the case is left.
                kernel::exit(0);
            }
        }
    }

    /// Lets the calls go on that have waited long enough. Of one whose thread has died nobody hears.
    fn release(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.held.first_entry().filter(|first| first.key().0 <= now) {
            let call = first.remove();
            programs::answer(&self.listener, &call, self.interposed);
        }
    }

    /// Takes one notification.
    fn hear(&mut self) {
        let Some(call) = self.listener.receive() else { return };
        self.slot.read.store(call.id, Ordering::Release);
        let patience = Expiration::OneShot(TimeSpec::from(PATIENCE));
        let _ = self.timer.set(patience, TimerSetTimeFlags::empty());
        match call.of_guard() {
            Some(notification) => {
                if self.is_traced {
                    self.watch.note_guarded(&call, &notification, &self.listener);
                }
                if self.channel.send(&TracerMessage::Heard(notification), &[]).is_err() {
                    kernel::exit(0);
                }
            }
            None => {
                if self.is_traced {
                    self.watch.note(&call, &self.listener);
                }
                match self.hold(&call) {
                    Some(due) => drop(self.held.insert((due, call.id), call)),
                    None => programs::answer(&self.listener, &call, self.interposed),
                }
            }
        }
        self.slot.read.store(0, Ordering::Release);
        let _ = self.timer.unset();
    }

    /// The time until which a call waits; `None` where it goes on at once. A hold is logged.
    fn hold(&mut self, call: &SystemCall) -> Option<Instant> {
        let kind = held::kind(call.number)?;
        let is_main =
            || status_field(call.thread, "Tgid:").is_some_and(|id| id == call.thread.to_string());
        let mut hold = self.holds.as_mut()?.choose(call.thread, kind, is_main)?;
        let due = Instant::now() + hold.held;
        hold.thread_name = status_field(call.thread, "Name:").unwrap_or_default();
        hold.code = places(call.thread, call.instruction);
        // What was read could be another thread's.
        if !self.listener.is_valid(call.id) {
            return None;
        }
        self.watch.log().hold(&hold);
        Some(due)
    }
}
