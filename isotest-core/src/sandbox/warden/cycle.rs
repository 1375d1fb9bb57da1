//! The duty cycle of a case: its times, and a timer for the next turn.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::perturbation::DutyCycle;

/// The duty cycle of a case in flight.
pub(super) struct Cycle {
    /// Readable when the next turn is due.
    pub(super) timer: TimerFd,
    times: DutyCycle,
    /// The processes of the case are stopped.
    pub(super) is_stopped: bool,
}

impl Cycle {
    /// A cycle that begins with time to run.
    pub(super) fn begin(times: DutyCycle) -> Result<Cycle, Errno> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let cycle = Cycle { timer, times, is_stopped: false };
        cycle.set(times.running)?;
        Ok(cycle)
    }

    /// Begins the turn that it is in. Returns whether the timer could be set.
    pub(super) fn go_on(&self) -> bool {
        let next = if self.is_stopped { self.times.stopped } else { self.times.running };
        self.set(next).is_ok()
    }

    fn set(&self, time: Duration) -> Result<(), Errno> {
        let due = Expiration::OneShot(TimeSpec::from(time));
        self.timer.set(due, TimerSetTimeFlags::empty())
    }
}
