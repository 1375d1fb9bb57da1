//! Traces in a report: their messages, and the cases that may be traced once more.

use std::io;
use std::time::Instant;

use isotest_core::case::CaseIndex;
use isotest_core::schedule::Event;
use isotest_core::trace::Trace;

use super::Reporter;
use crate::report::messages;

impl Reporter {
    /// Sets the hashes of the binaries, for traces.
    pub fn with_binary_hashes(mut self, hashes: Vec<Option<String>>) -> Self {
        self.traced.hashes = hashes;
        self
    }

    /// The cases that were retried.
    pub fn retried_cases(&self) -> &[CaseIndex] {
        &self.traced.retried
    }

    /// Number of cases whose traces were taken.
    pub fn traced(&self) -> usize {
        self.traced.count
    }

    /// Takes the trace out of an event.
    pub(super) fn observe_trace(&mut self, event: &mut Event, now: Instant) -> io::Result<()> {
        let Event::Finished(index, outcome) = event else { return Ok(()) };
        if outcome.attempt() > 1 {
            self.traced.retried.push(*index);
        }
        let trace = outcome.trace.take();
        trace.map_or(Ok(()), |trace| self.take_trace(*index, &trace, now))
    }

    /// Records the trace of a case.
    pub fn take_trace(&mut self, index: CaseIndex, trace: &Trace, now: Instant) -> io::Result<()> {
        self.traced.count += 1;
        if !self.has_messages() && self.record.is_none() {
            return Ok(());
        }
        let hash = self.traced.hashes.get(index.binary).cloned().flatten();
        let message = messages::traced(&self.suites, index, trace, hash);
        if let Some(record) = &mut self.record {
            record.said(&message, now - self.begin);
        }
        if self.has_messages() { self.say(&message) } else { Ok(()) }
    }
}
