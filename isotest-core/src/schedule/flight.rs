//! A case in flight: what it writes, what its services send, when it has to be looked at.

use std::os::fd::OwnedFd;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::event::{Event, Stream};
use super::job::Job;
use super::stack_capture::StackCapture;
use crate::capture::{self, Capture};
use crate::collect::{self, CaseOutput, Killed};
use crate::foreign::HarnessFilter;
use crate::harness::{PassThrough, Results};
use crate::outcome::Outcome;
use crate::plan::{Plan, VerdictSource};
use crate::sandbox::{End, Warden};
use crate::service_monitor::ServiceMonitor;

/// The pipe of a case is looked at from then on. One that ends before, and writes no more than a
/// pipe holds, wakes nobody until it has ended.
pub const WATCHED_AFTER: Duration = Duration::from_millis(10);

/// Time between SIGTERM and SIGKILL for a test below a reaping init.
const GRACE: Duration = Duration::from_secs(2);

/// Tokens of output pipes follow, and of what tells of services: three for each case number.
pub const TOKEN_OUTPUT: u64 = 2;
pub const INPUTS: u64 = 3;
pub const SERVICES: u64 = 2;

/// A case in flight.
pub struct Flight {
    pub job: Job,
    pub started: Instant,
    pub deadline: Option<Instant>,
    /// The loop polls its output.
    pub watched: bool,
    /// Number of times that it was reported as slow.
    pub told_slow: u32,
    pub killed: Option<Killed>,
    pub stacks: StackCapture,
    pub pipes: [Option<OwnedFd>; 2],
    pub capture: Capture,
    pub reader: OutputReader,
    pub services: Option<ServiceMonitor>,
    /// Bytes of each stream that were passed through.
    pub passed: [u64; 2],
}

/// Reader of the output of a case while it comes in.
pub enum OutputReader {
    /// Nobody.
    Nothing,
    /// libtest may speak in a stdout that is passed through.
    Libtest(PassThrough),
    /// Another harness may speak.
    Foreign(HarnessFilter),
    /// The results of a whole binary that are still to come.
    Suite(Results),
}

impl OutputReader {
    /// The reader of a job, and the number of bytes of output that are kept.
    pub fn of(job: &Job) -> (OutputReader, u64) {
        let limit = job.plan.output_limit;
        match &job.plan.verdict_source {
            VerdictSource::Libtest { name, .. } if job.pass_through => {
                (OutputReader::Libtest(PassThrough::new(name)), u64::MAX)
            }
            VerdictSource::Foreign { name } => {
                let kept = if job.pass_through { u64::MAX } else { limit };
                (OutputReader::Foreign(HarnessFilter::new(name)), kept)
            }
            VerdictSource::Suite { tests } => (OutputReader::Suite(Results::new(*tests)), limit),
            VerdictSource::Libtest { .. } | VerdictSource::ExitCode => {
                (OutputReader::Nothing, limit)
            }
        }
    }

    /// Takes more of a stream, of stdout or of both in one; returns what of it is output.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            OutputReader::Libtest(passage) => passage.push(bytes),
            OutputReader::Foreign(listener) => listener.push(bytes),
            OutputReader::Nothing | OutputReader::Suite(_) => bytes.to_vec(),
        }
    }
}

/// The deadline of a case whose time begins now.
fn new_deadline(plan: &Plan) -> Option<Instant> {
    Instant::now().checked_add(plan.time_limit()?)
}

impl Flight {
    /// Leaves out time in which it was stopped.
    pub fn postpone(&mut self, stopped: Duration) {
        self.started += stopped;
        self.deadline = self.deadline.map(|deadline| deadline + stopped);
    }

    /// Ends a case whose time is up: by SIGKILL, since PID 1 receives nothing else; below a
    /// reaping init by SIGTERM first.
    pub fn time_out(&mut self, number: u64, warden: &Warden, now: Instant) {
        let limit = self.job.plan.timeout.unwrap_or_default();
        if self.job.plan.spec.reaper && self.killed.is_none() {
            self.killed = Some(Killed::Terminated(limit));
            self.deadline = Some(now + GRACE);
            warden.terminate(number);
        } else {
            self.killed.get_or_insert(Killed::TimedOut(limit));
            self.deadline = None;
            warden.kill(number);
        }
    }

    /// Lets the loop hear of what is written.
    pub fn watch(&mut self, number: u64, epoll: &Epoll) -> Result<(), Errno> {
        self.watched = true;
        for (pipe, stream) in self.pipes.iter().zip(0..) {
            if let Some(pipe) = pipe {
                let token = TOKEN_OUTPUT + INPUTS * number + stream;
                epoll.add(pipe, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            }
        }
        Ok(())
    }

    /// Age at which it is reported as slow the next time.
    pub fn next_slow(&self) -> Option<Duration> {
        let slow = self.job.plan.slow_timeout?.checked_mul(self.told_slow + 1)?;
        Some(self.job.plan.spec.perturbations.prolonged(slow))
    }

    /// Times at which this case needs attention.
    pub fn next_look(&self) -> impl Iterator<Item = Instant> {
        let deadline = self.deadline;
        let slow = self.next_slow().and_then(|age| self.started.checked_add(age));
        let watched = (!self.watched).then(|| self.started + WATCHED_AFTER);
        deadline.into_iter().chain(slow).chain(watched)
    }

    /// Reads what is there now, but no more than a pipe holds: others have their turn while a
    /// case writes as fast as it is read.
    pub fn read(&mut self, stream: usize, buffer: &mut [u8], events: &SyncSender<Event>) {
        let Some(Some(pipe)) = self.pipes.get_mut(stream).map(Option::take) else { return };
        let ended = capture::drain(&pipe, buffer, |bytes| match self.job.pass_through {
            true => self.pass_on(stream, bytes, events),
            false => self.capture.push(&self.reader.push(bytes)),
        });
        if !ended && let Some(slot) = self.pipes.get_mut(stream) {
            *slot = Some(pipe);
        }
    }

    /// Takes what services have sent. The time of the test begins when they are ready.
    pub fn on_services(&mut self, epoll: &Epoll) {
        let Some(services) = &mut self.services else { return };
        let received = services.receive();
        if received.ready {
            self.deadline = new_deadline(&self.job.plan);
        }
        if received.over {
            // It would stay readable.
            let _ = epoll.delete(services);
        }
    }

    /// Kills it where more of a stream was passed through than `most`.
    pub fn end_flood(&mut self, number: u64, most: Option<u64>, warden: &Warden) {
        let is_flood = most.is_some_and(|most| self.passed.iter().any(|passed| *passed > most));
        if is_flood && self.killed.is_none() {
            self.killed = Some(Killed::Cancelled);
            warden.kill(number);
        }
    }

    /// Passes output on, but for the harness's own lines.
    fn pass_on(&mut self, stream: usize, bytes: &[u8], events: &SyncSender<Event>) {
        if let Some(passed) = self.passed.get_mut(stream) {
            *passed += bytes.len() as u64;
        }
        if let (OutputReader::Suite(results), 0) = (&mut self.reader, stream)
            && results.push(bytes)
            && self.killed.is_none()
        {
            self.deadline = new_deadline(&self.job.plan);
        }
        let (kind, ready) = match stream {
            0 => (Stream::Stdout, self.reader.push(bytes)),
            _ => (Stream::Stderr, bytes.to_vec()),
        };
        if !ready.is_empty() {
            let _ = events.send(Event::Output(self.job.index, kind, ready));
        }
    }

    pub fn outcome(mut self, end: End, events: &SyncSender<Event>) -> (Job, Outcome) {
        let killed = self.killed_by();
        let mut written = CaseOutput::default();
        let rest = match self.reader {
            OutputReader::Libtest(passage) => {
                written.begun = passage.has_begun();
                passage.finish()
            }
            OutputReader::Foreign(listener) => {
                let (rest, said) = listener.finish();
                written.said = said;
                rest
            }
            OutputReader::Nothing | OutputReader::Suite(_) => Vec::new(),
        };
        self.capture.push(&rest);
        let index = self.job.index;
        written.output = self.capture.finish();
        let mut outcome = collect::outcome(&self.job.plan, end, written, killed, self.started);
        outcome.stacks = self.stacks.into_text();
        if let Some(services) = self.services {
            services.add_to(&mut outcome);
        }
        if self.job.pass_through {
            let rest = std::mem::take(&mut outcome.output).to_bytes();
            if !rest.is_empty() {
                let _ = events.send(Event::Output(index, Stream::Stdout, rest));
            }
        }
        (self.job, outcome)
    }
}
