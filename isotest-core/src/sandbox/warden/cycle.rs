//! The duty cycle of a case: its times, and a timer for the next turn.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::perturbation::DutyCycle;

/// How long the processes of a case may take to notice that they are stopped, before they are asked
/// again.
const NOTICE: Duration = Duration::from_millis(1);

/// Where processes were asked as often and one still runs, they go on.
const MOST_ASKED: u32 = 100;

/// The duty cycle of a case in flight.
pub(super) struct Cycle {
    /// Readable when the next turn is due.
    pub(super) timer: TimerFd,
    times: DutyCycle,
    pub(super) turn: Turn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Running,
    /// The processes of the case were asked so many times to stop, and one of them runs on.
    Stopping(u32),
    Stopped,
}

impl Turn {
    /// What follows on it, and the signal that brings it about.
    pub(super) fn next(self) -> (Turn, i32) {
        match self {
            Turn::Running => (Turn::Stopping(1), libc::SIGSTOP),
            Turn::Stopping(asked) if asked < MOST_ASKED => {
                (Turn::Stopping(asked + 1), libc::SIGSTOP)
            }
            Turn::Stopping(_) | Turn::Stopped => (Turn::Running, libc::SIGCONT),
        }
    }
}

impl Cycle {
    /// A cycle that begins with time to run.
    pub(super) fn begin(times: DutyCycle) -> Result<Cycle, Errno> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let cycle = Cycle { timer, times, turn: Turn::Running };
        cycle.set(times.running)?;
        Ok(cycle)
    }

    /// Begins the turn that it is in. Returns whether the timer could be set.
    pub(super) fn go_on(&self) -> bool {
        let next = match self.turn {
            Turn::Running => self.times.running,
            Turn::Stopping(_) => NOTICE.min(self.times.stopped),
            Turn::Stopped => self.times.stopped,
        };
        self.set(next).is_ok()
    }

    fn set(&self, time: Duration) -> Result<(), Errno> {
        let due = Expiration::OneShot(TimeSpec::from(time));
        self.timer.set(due, TimerSetTimeFlags::empty())
    }
}
