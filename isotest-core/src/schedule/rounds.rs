//! Rounds: all cases of a run once more, and again, as a stress run wants it.
//!
//! A round does not wait for the one before it to end: copies of a case run beside each other.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::job::Job;

/// Number of runs of each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// Once.
    #[default]
    Once,
    /// So many times.
    Times(NonZeroU32),
    /// As often as it can be started in this time.
    For(Duration),
}

impl Repeat {
    /// In how many rounds, or more.
    pub(super) fn rounds(self) -> u32 {
        match self {
            Repeat::Once => 1,
            Repeat::Times(times) => times.get(),
            // Each case is run a second time, unless all take very long.
            Repeat::For(_) => u32::MAX,
        }
    }
}

/// The rounds that are left.
pub(super) struct Rounds {
    jobs: Vec<Job>,
    more: Option<More>,
}

enum More {
    Times(u32),
    Until(Instant),
}

impl Rounds {
    /// The rounds after the first one, which starts now.
    pub fn after_first(jobs: &[Job], repeat: Repeat) -> Rounds {
        let more = match repeat {
            Repeat::Once => None,
            Repeat::Times(times) => Some(More::Times(times.get() - 1)),
            Repeat::For(time) => Some(More::Until(Instant::now() + time)),
        };
        let jobs = if more.is_some() { jobs.to_vec() } else { Vec::new() };
        Rounds { jobs, more }
    }

    /// The next round; none where there are no more.
    pub fn next(&mut self) -> Vec<Job> {
        let is_left = match &mut self.more {
            None | Some(More::Times(0)) => false,
            Some(More::Times(left)) => {
                *left -= 1;
                true
            }
            Some(More::Until(end)) => Instant::now() < *end,
        };
        if is_left { self.jobs.clone() } else { Vec::new() }
    }

    /// Lets the last round start so much later.
    pub fn postpone(&mut self, stopped: Duration) {
        match &mut self.more {
            Some(More::Until(end)) => *end += stopped,
            Some(More::Times(_)) | None => {}
        }
    }

    /// There are no more.
    pub fn end(&mut self) {
        self.more = None;
    }
}
