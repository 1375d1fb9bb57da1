//! The trace of a case as the warden has it: what is made for it, and its tracer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

use crate::sandbox::child::start::ChildTrace;
use crate::sandbox::guard::{CaseFilter, Listener};
use crate::sandbox::protocol::Channel;
use crate::sandbox::trace::Log;

/// A trace before its case is cloned.
pub(super) struct Tracing {
    /// The filter: number of instructions, address.
    filter: (u16, usize),
    pub(super) began: Instant,
    /// The socket between case and tracer: the end of the tracer, that of the case.
    pub(super) sockets: (OwnedFd, OwnedFd),
    pub(super) log: OwnedFd,
    pub(super) timer: TimerFd,
    pub(super) channels: (Channel, Channel),
}

impl Tracing {
    /// Makes what a trace needs.
    pub(super) fn prepare(filter: &CaseFilter) -> Result<Tracing, Errno> {
        let began = Instant::now();
        let flags = SockFlag::SOCK_CLOEXEC;
        let sockets = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let channels = Channel::pair()?;
        let (filter, log) = (filter.parts(), Log::make()?);
        Ok(Tracing { filter, began, sockets, log, timer, channels })
    }

    /// The part of the case.
    pub(super) fn of_child(&self, is_needed: bool) -> ChildTrace {
        let (count, instructions) = self.filter;
        ChildTrace { count, instructions, tracer: self.sockets.1.as_raw_fd(), is_needed }
    }
}

/// The tracer of a case in flight.
pub(super) struct RunningTracer {
    pub(super) process: i32,
    pub(super) channel: Channel,
    pub(super) timer: TimerFd,
    pub(super) log: OwnedFd,
    /// The listener of the case, once the tracer has it.
    pub(super) listener: Option<Rc<Listener>>,
    /// It has ended, or was: the warden answers all notifications.
    pub(super) is_lost: bool,
    /// No process of the case is left that could notify.
    pub(super) is_over: bool,
}

/// What a descriptor of a case in flight tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A message.
    Channel,
    /// A call was not read in time.
    Timer,
    /// A notification, where no tracer is left.
    Listener,
    /// The next turn of a duty cycle is due.
    Cycle,
}

impl RunningTracer {
    /// File of the log.
    pub(super) fn log(&self) -> BorrowedFd<'_> {
        self.log.as_fd()
    }
}
