//! Commands that run: what they write is kept, their time is watched, their ends are heard of.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::Error;
use crate::capture::{self, Capture, Captured};
use crate::collect::{self, CaseOutput, Killed};
use crate::finding::Finding;
use crate::outcome::{NotRun, Usage, Verdict};
use crate::plan::Plan;
use crate::poll_timeout;
use crate::sandbox::{End, Notice, Start, Warden};
use crate::streams;

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// Exit code or signal of the command: also the signal of abort(3), which the kernel reports
    /// as SIGKILL for PID 1.
    pub status: ExitStatus,
    /// Standard output. Where it was longer than the limit, a line in the middle tells how many
    /// bytes are missing.
    pub stdout: Vec<u8>,
    /// Standard error, within the same limit.
    pub stderr: Vec<u8>,
    /// Limit that it ran into, where it was killed because its time was up.
    pub timed_out: Option<Duration>,
    /// Time from start to end.
    pub duration: Duration,
    /// Processor time, memory and context switches.
    pub usage: Usage,
    /// Actions that are not hermetic, such as leaving processes behind.
    pub findings: Vec<Finding>,
}

/// All commands of a sandbox that run, and the ends that nobody has asked for yet.
#[derive(Debug)]
pub(super) struct RunningCommands {
    warden: Warden,
    flights: HashMap<u64, RunningCommand>,
    pub(super) ended: HashMap<u64, Result<Output, Error>>,
    buffer: Vec<u8>,
}

/// One command that runs.
#[derive(Debug)]
struct RunningCommand {
    plan: Plan,
    /// Standard output and standard error, until they end. `None` where they are passed on.
    pipes: [Option<OwnedFd>; 2],
    captures: [Capture; 2],
    started: Instant,
    killed: Option<Killed>,
}

impl RunningCommands {
    pub(super) fn new(warden: Warden) -> RunningCommands {
        let (flights, ended) = (HashMap::new(), HashMap::new());
        RunningCommands { warden, flights, ended, buffer: vec![0; 1 << 16] }
    }

    /// Starts a command with these standard streams; what is not given is `/dev/null` and two pipes.
    pub(super) fn start(
        &mut self,
        case: u64,
        plan: Plan,
        [input, output, error]: [Option<OwnedFd>; 3],
    ) -> Result<(), Error> {
        let input = match input {
            Some(input) => input,
            None => File::open("/dev/null").map_err(Error::Stream)?.into(),
        };
        let [(from_output, output), (from_error, error)] = [keep(output)?, keep(error)?];
        let theirs = [input.as_fd(), output.as_fd(), error.as_fd()];
        streams::check(theirs).map_err(Error::Refused)?;
        let spawned = self.warden.spawn(&plan.spec, Start::of(&plan, case), &theirs);
        spawned.map_err(|errno| Error::Lost(errno.desc().to_owned()))?;
        let flight = RunningCommand {
            pipes: [from_output, from_error],
            captures: [Capture::new(plan.output_limit), Capture::new(plan.output_limit)],
            started: Instant::now(),
            killed: None,
            plan,
        };
        self.flights.insert(case, flight);
        Ok(())
    }

    /// Takes what comes next, after `at_most` this time.
    pub(super) fn wait(&mut self, at_most: Option<Duration>) -> Result<(), Error> {
        let now = Instant::now();
        let deadlines = self.flights.values().filter_map(RunningCommand::deadline);
        let next = deadlines.chain([self.warden.next_check()]).min().unwrap_or(now);
        let left = next.saturating_duration_since(now);
        let timeout = match at_most {
            Some(Duration::ZERO) => PollTimeout::ZERO,
            Some(at_most) => poll_timeout::at_least(left.min(at_most)),
            None => poll_timeout::at_least(left),
        };
        let pipes = self.flights.values().flat_map(|flight| flight.pipes.iter().flatten());
        let inputs = [self.warden.as_fd()].into_iter().chain(pipes.map(AsFd::as_fd));
        let mut polled: Vec<_> =
            inputs.map(|input| PollFd::new(input, PollFlags::POLLIN)).collect();
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::Stream(errno.into())),
        }
        drop(polled);
        self.flights.values_mut().for_each(|flight| flight.read(&mut self.buffer));
        while let Some(notice) = self.warden.notice(false) {
            match notice {
                Notice::Ended(end, _) => self.finish(end),
                Notice::Died(message) => self.lose(&message.unwrap_or_default()),
                Notice::Silent => self.lose("it did not answer, and was killed"),
            }
            if self.flights.is_empty() {
                return Ok(());
            }
        }
        let now = Instant::now();
        self.warden.check(now);
        let is_over = |flight: &RunningCommand| flight.deadline().is_some_and(|due| due <= now);
        let late = self.flights.iter().filter(|(_, flight)| is_over(flight));
        let late: Vec<_> = late.filter_map(|(case, f)| Some((*case, f.plan.timeout?))).collect();
        late.into_iter().for_each(|(case, limit)| self.kill(case, Killed::TimedOut(limit)));
        Ok(())
    }

    pub(super) fn kill(&mut self, case: u64, killed: Killed) {
        if let Some(flight) = self.flights.get_mut(&case) {
            flight.killed.get_or_insert(killed);
            self.warden.kill(case);
        }
    }

    fn finish(&mut self, end: End) {
        let case = end.case;
        if let Some(mut flight) = self.flights.remove(&case) {
            flight.read(&mut self.buffer);
            self.ended.insert(case, flight.output(end));
        }
    }

    /// The warden has ended, and every command with it.
    fn lose(&mut self, message: &str) {
        let lost = || Err(Error::Lost(message.to_owned()));
        self.ended.extend(self.flights.drain().map(|(case, _)| (case, lost())));
    }
}

impl RunningCommand {
    fn deadline(&self) -> Option<Instant> {
        let timeout = self.plan.time_limit().filter(|_| self.killed.is_none())?;
        self.started.checked_add(timeout)
    }

    /// Takes what is there now.
    fn read(&mut self, buffer: &mut [u8]) {
        for (pipe, capture) in self.pipes.iter_mut().zip(&mut self.captures) {
            let is_over = pipe
                .as_ref()
                .is_some_and(|pipe| capture::drain(pipe, buffer, |bytes| capture.push(bytes)));
            if is_over {
                *pipe = None;
            }
        }
    }

    fn output(self, end: End) -> Result<Output, Error> {
        let [output, error] = self.captures.map(Capture::finish);
        let output_cut = output.cut + error.cut;
        // Words of both are looked for.
        let both = Captured { head: output.to_bytes(), cut: output_cut, tail: error.to_bytes() };
        let written = CaseOutput { output: both, ..CaseOutput::default() };
        let outcome = collect::outcome(&self.plan, end, written, self.killed, self.started);
        let (status, timed_out) = match outcome.verdict {
            Verdict::Passed => (0, None),
            Verdict::Failed { code } | Verdict::ExitedEarly { code } => (code << 8, None),
            Verdict::Signalled { signal } => (signal, None),
            Verdict::TimedOut { limit } => (libc::SIGKILL, Some(limit)),
            Verdict::NotRun(NotRun::Cancelled) => (libc::SIGKILL, None),
            Verdict::NotRun(NotRun::Sandbox(error)) => return Err(Error::Sandbox(error)),
            Verdict::Flaky
            | Verdict::Denied(_)
            | Verdict::Unproven { .. }
            | Verdict::NothingRun
            | Verdict::Ignored
            | Verdict::NotRun(
                NotRun::Service(_)
                | NotRun::WardenDied
                | NotRun::WardenSilent
                | NotRun::ProcessEnded,
            ) => return Err(Error::Lost(String::new())),
        };
        Ok(Output {
            status: ExitStatus::from_raw(status),
            stdout: outcome.output.head,
            stderr: outcome.output.tail,
            timed_out,
            duration: outcome.duration,
            usage: outcome.usage,
            findings: outcome.findings,
        })
    }
}

/// The end of a pipe to read from and that to write to; or what is passed on.
fn keep(given: Option<OwnedFd>) -> Result<(Option<OwnedFd>, OwnedFd), Error> {
    match given {
        Some(given) => Ok((None, given)),
        None => {
            let (read, write) = capture::pipe().map_err(Error::Stream)?;
            Ok((Some(read), write))
        }
    }
}
