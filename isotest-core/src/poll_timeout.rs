//! Time-outs of poll(2) and epoll_wait(2).

use std::time::Duration;

use nix::poll::PollTimeout;

/// Time-out of at least this duration, in whole milliseconds: waking early would spin.
pub fn at_least(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
}
