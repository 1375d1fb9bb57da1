//! Scheduling: one queue of cases, one loop, one channel of events.
//!
//! The loop waits on everything at once: the warden, the output pipes of what is in flight, the
//! signals, the next deadline. No thread per case, no polling. It knows nothing of reports; they
//! hear of a run by [`Event`]s.

mod attempts;
mod looks;
mod rounds;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use self::attempts::Attempts;
use self::looks::Look;
pub use self::looks::Stacks;
pub use self::rounds::Repeat;
use self::rounds::Rounds;
use crate::case::CaseIndex;
use crate::collect::{self, Capture, Killed};
use crate::harness::Passage;
use crate::keyboard;
use crate::outcome::{NotRun, Outcome, Verdict};
use crate::plan::{Plan, Protocol, Setup};
use crate::retry::Retries;
use crate::sandbox::error::STAGE_CLONE;
use crate::sandbox::{End, Notice, SandboxError, Warden};
use crate::signals::Signals;
use crate::snapshot::Snapshot;

/// One of the two output streams of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// What happens during a run, in the order of happening.
#[derive(Debug)]
pub enum Event {
    /// A case was handed to the warden.
    Started(CaseIndex),
    /// Output of a case whose output is passed through (`--nocapture`), as it arrives.
    Output(CaseIndex, Stream, Vec<u8>),
    /// A case has run for longer than a minute.
    Slow(CaseIndex, Duration),
    /// A case has failed and is going to be started again; the number of that attempt, 2 for the
    /// first retry, and how many there are at the most.
    Retried(CaseIndex, u32, u32),
    /// A case has ended for good, was ignored or could not be run.
    Finished(CaseIndex, Box<Outcome>),
    /// All that runs, oldest first: a signal has asked for it ([`Signals::ask_for_snapshots`]).
    Running(Vec<Snapshot>),
    /// A signal asked the run to end; what is in flight is being killed.
    Interrupted(i32),
}

/// One case to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which case it is.
    pub index: CaseIndex,
    /// How it is run.
    pub plan: Plan,
    /// Whether its output is passed on as it comes instead of being kept.
    pub pass_through: bool,
    /// What follows where it fails.
    pub retries: Retries,
}

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many cases are in flight at once, 1 at the least.
    pub jobs: usize,
    /// How many more while cases are short: much of a short case is the kernel's waiting.
    pub spare: usize,
    /// After this many failures no further case is started.
    pub max_fail: Option<usize>,
    /// How often each case is run. [`Event::Finished`] comes for each time.
    pub repeat: Repeat,
    /// Who reads the stacks of a case before it is killed for its time.
    pub stacks: Stacks,
}

/// After this long a case is told of as slow, as by libtest.
const SLOW: Duration = Duration::from_secs(60);

/// The pipe of a case is looked at from then on. One that ends before, and writes no more than a
/// pipe holds, wakes nobody until it has ended.
const WATCHED_AFTER: Duration = Duration::from_millis(10);

/// Below this average a case is short. Where many are in flight, much of it is waiting for a turn.
const SHORT: Duration = Duration::from_millis(50);

/// How many wardens may die in a row without any case having ended.
const WARDENS: u32 = 3;

/// How long a test below a reaping init has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

const TOKEN_WARDEN: u64 = 0;
const TOKEN_SIGNALS: u64 = 1;
/// Tokens of output pipes follow: two for each case number.
const TOKEN_OUTPUT: u64 = 2;

/// A case in flight.
struct Flight {
    job: Job,
    started: Instant,
    deadline: Option<Instant>,
    /// Whether the loop hears of its output.
    watched: bool,
    told_slow: bool,
    killed: Option<Killed>,
    look: Look,
    pipes: [Option<OwnedFd>; 2],
    capture: Capture,
    /// Where the harness may speak in a stdout that is passed through.
    passage: Option<Passage>,
}

/// How many events wait for a slow reader before the run waits for it too. One holds 64 KiB of
/// passed-through output at the most, or what was kept of a case.
pub const BACKLOG: usize = 64;

/// Runs all jobs to their ends. Exactly one [`Event::Finished`] is sent for each time that one is run. Somebody must
/// read the events meanwhile: while [`BACKLOG`] of them wait, the run does.
pub fn run(
    warden: &mut Warden,
    jobs: Vec<Job>,
    options: Options,
    signals: &Signals,
    events: &SyncSender<Event>,
) -> io::Result<()> {
    run_all(vec![(warden, jobs)], options, signals, events)
}

/// The same for several wardens, each with its jobs, one after the other. What ends a run ends it
/// for all of them.
pub fn run_all(
    stages: Vec<(&mut Warden, Vec<Job>)>,
    options: Options,
    signals: &Signals,
    events: &SyncSender<Event>,
) -> io::Result<()> {
    let _attendance = signals.attend();
    let mut course = Course::default();
    for (warden, jobs) in stages {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let input = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
        epoll.add(&*warden, input(TOKEN_WARDEN))?;
        epoll.add(signals, input(TOKEN_SIGNALS))?;
        let mut cases: HashMap<usize, (&Arc<Setup>, u32)> = HashMap::new();
        for setup in jobs.iter().map(|job| &job.plan.setup) {
            cases.entry(Arc::as_ptr(setup).addr()).or_insert((setup, 0)).1 += 1;
        }
        for (setup, cases) in cases.into_values() {
            warden.prepare(setup, cases.saturating_mul(options.repeat.rounds()))?;
        }
        let run = Run {
            warden,
            epoll,
            options,
            rounds: Rounds::after_first(&jobs, options.repeat),
            queue: jobs.into(),
            attempts: Attempts::default(),
            flights: HashMap::new(),
            next: 0,
            average: Duration::ZERO,
            wardens_lost: 0,
            course,
            events,
            buffer: vec![0; 1 << 16],
        };
        course = run.serve(signals)?;
    }
    Ok(())
}

/// What has happened that decides whether more is started.
#[derive(Debug, Clone, Copy, Default)]
struct Course {
    failures: usize,
    cancelled: bool,
}

struct Run<'a> {
    warden: &'a mut Warden,
    epoll: Epoll,
    options: Options,
    queue: VecDeque<Job>,
    attempts: Attempts,
    rounds: Rounds,
    flights: HashMap<u64, Flight>,
    next: u64,
    /// How long the latest cases took, each weighing three quarters of the one after it.
    average: Duration,
    /// How many wardens have died in a row without any case having ended.
    wardens_lost: u32,
    course: Course,
    events: &'a SyncSender<Event>,
    buffer: Vec<u8>,
}

impl Run<'_> {
    fn serve(mut self, signals: &Signals) -> io::Result<Course> {
        let mut ready = vec![EpollEvent::empty(); 64];
        if self.is_over() {
            self.empty_queue();
        }
        loop {
            self.attempts.due().into_iter().for_each(|job| self.queue.push_front(job));
            while self.flights.len() < self.room()
                && let Some(job) = self.next_job()
            {
                self.launch(job);
            }
            if self.flights.is_empty() && self.attempts.is_idle() {
                return Ok(self.course);
            }
            let count = match self.epoll.wait(&mut ready, self.next_deadline()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(errno.into()),
            };
            for event in ready.iter().take(count) {
                match event.data() {
                    TOKEN_WARDEN => self.hear_warden(),
                    TOKEN_SIGNALS => self.hear_signals(signals),
                    token if token & looks::TOKEN != 0 => self.read_stacks(token ^ looks::TOKEN),
                    token => self.read_output(token),
                }
            }
            self.check_deadlines()?;
        }
    }

    /// How many cases may be in flight now.
    fn room(&self) -> usize {
        self.options.jobs + if self.average < SHORT { self.options.spare } else { 0 }
    }

    /// Sends an event. Where nobody hears it any more, since stdout was closed, the run ends.
    fn tell(&mut self, event: Event) {
        if self.events.send(event).is_err() && !self.course.cancelled {
            self.cancel();
        }
    }

    fn launch(&mut self, job: Job) {
        let (number, index) = (self.next, job.index);
        self.next += 1;
        if self.attempts.failed(index) == 0 {
            self.tell(Event::Started(index));
        }
        if let Err(errno) = self.try_launch(number, job) {
            let error = SandboxError::without_steps(STAGE_CLONE, errno);
            self.finish(index, Outcome::without_run(Verdict::NotRun(NotRun::Sandbox(error))));
        }
    }

    fn try_launch(&mut self, number: u64, job: Job) -> Result<(), Errno> {
        let failed = |error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        let (read, write) = collect::pipe().map_err(failed)?;
        let started = Instant::now();
        let start = job.plan.start(number);
        let mut pipes = [Some(read), None];
        if job.pass_through {
            let (error_read, error_write) = collect::pipe().map_err(failed)?;
            self.warden.spawn(&job.plan.setup, start, &[write.as_fd(), error_write.as_fd()])?;
            pipes[1] = Some(error_read);
        } else {
            // One pipe for both: the order of writing is kept, as in libtest's own capture.
            self.warden.spawn(&job.plan.setup, start, &[write.as_fd(), write.as_fd()])?;
        }
        let (passage, kept) = match (&job.plan.protocol, job.pass_through) {
            (Protocol::Libtest { name, .. }, true) => (Some(Passage::new(name)), u64::MAX),
            (Protocol::Libtest { .. } | Protocol::ExitCode, _) => (None, job.plan.output_limit),
        };
        let mut flight = Flight {
            started,
            watched: false,
            deadline: job.plan.timeout.map(|timeout| started + timeout),
            told_slow: false,
            killed: None,
            look: Look::NotTaken,
            pipes,
            capture: Capture::new(kept),
            passage,
            job,
        };
        if flight.job.pass_through {
            flight.watch(number, &self.epoll)?;
        }
        self.flights.insert(number, flight);
        Ok(())
    }

    fn read_output(&mut self, token: u64) {
        let (number, stream) = ((token - TOKEN_OUTPUT) / 2, (token - TOKEN_OUTPUT) % 2);
        if let Some(flight) = self.flights.get_mut(&number) {
            flight.read(stream as usize, &mut self.buffer, self.events);
        }
    }

    fn hear_warden(&mut self) {
        while let Some(notice) = self.warden.notice(false) {
            match notice {
                Notice::Ended(end, scratch) => self.land(end, scratch),
                Notice::Died(_) => return self.lose_warden(),
            }
        }
    }

    fn land(&mut self, end: End, scratch: Option<OwnedFd>) {
        let Some(mut flight) = self.flights.remove(&end.case) else { return };
        self.average = (3 * self.average + flight.started.elapsed()) / 4;
        self.wardens_lost = 0;
        // Every writer is dead: what is in the pipes now is all there will be.
        for stream in [0, 1] {
            flight.read(stream, &mut self.buffer, self.events);
        }
        let written = flight.job.plan.write_back.as_ref().map(|plan| plan.copy(scratch, end.case));
        let (job, mut outcome) = flight.outcome(end, self.events);
        outcome.findings.extend(written.into_iter().flatten());
        self.settle(job, outcome);
    }

    /// Starts a case that has failed again, where it has another attempt; else this was its end.
    fn settle(&mut self, job: Job, mut outcome: Outcome) {
        let (index, failed) = (job.index, self.attempts.failed(job.index));
        outcome.attempts = job.retries.attempts();
        if outcome.verdict.is_failure() && failed < job.retries.count && !self.is_over() {
            let retried = Event::Retried(index, failed + 2, outcome.attempts);
            self.attempts.retry(job, outcome);
            return self.tell(retried);
        }
        if outcome.verdict == Verdict::Passed {
            outcome.verdict = attempts::passed(&job, failed);
        }
        self.finish(index, outcome);
    }

    /// What was in flight is lost with the warden; another one takes over, unless too many
    /// have died in a row without any case having ended.
    fn lose_warden(&mut self) {
        let mut lost: Vec<CaseIndex> =
            self.flights.drain().map(|(_, flight)| flight.job.index).collect();
        // Closing the socket takes it out of the epoll set.
        self.wardens_lost += 1;
        let replaced = self.wardens_lost <= WARDENS && self.warden.restart().is_ok();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_WARDEN);
        if !replaced || self.epoll.add(&*self.warden, event).is_err() {
            lost.extend(self.left_over().into_iter().map(|job| job.index));
        }
        for index in lost {
            self.finish(index, Outcome::without_run(Verdict::NotRun(NotRun::WardenDied)));
        }
    }

    fn finish(&mut self, index: CaseIndex, outcome: Outcome) {
        self.conclude(index, outcome);
        if self.has_failed_enough() {
            self.empty_queue();
        }
    }

    /// Counts and tells the end of a case.
    fn conclude(&mut self, index: CaseIndex, outcome: Outcome) {
        let outcome = self.attempts.conclude(index, outcome);
        if matches!(outcome.verdict, Verdict::NotRun(_)) {
            // What could not be run cannot be run again.
            self.rounds.end();
        }
        self.course.failures += usize::from(outcome.verdict.is_failure());
        self.tell(Event::Finished(index, Box::new(outcome)));
    }

    /// Whether nothing more is started.
    fn is_over(&self) -> bool {
        self.course.cancelled || self.has_failed_enough()
    }

    fn has_failed_enough(&self) -> bool {
        self.options.max_fail.is_some_and(|most| self.course.failures >= most)
    }

    fn empty_queue(&mut self) {
        for job in self.left_over() {
            let cancelled = Outcome::without_run(Verdict::NotRun(NotRun::Cancelled));
            self.conclude(job.index, cancelled);
        }
    }

    /// The next case to start: of the next round, where this one is used up.
    fn next_job(&mut self) -> Option<Job> {
        if self.queue.is_empty() {
            self.queue = self.rounds.next().into();
        }
        self.queue.pop_front()
    }

    /// Takes out what is not in flight; there are no more rounds.
    fn left_over(&mut self) -> Vec<Job> {
        self.rounds.end();
        self.queue.drain(..).chain(self.attempts.left_over()).collect()
    }

    fn hear_signals(&mut self, signals: &Signals) {
        while let Some(signal) = signals.take() {
            match signal {
                libc::SIGTSTP => self.pause(),
                libc::SIGUSR1 => self.show(),
                // Nobody hears any event any more.
                libc::SIGPIPE => self.cancel(),
                libc::SIGCONT | libc::SIGWINCH => {}
                ending => {
                    self.tell(Event::Interrupted(ending));
                    self.cancel();
                }
            }
        }
    }

    /// Stops with all cases, as the terminal asks; time that passes meanwhile does not count.
    fn pause(&mut self) {
        let stopped = Instant::now();
        self.warden.suspend(true);
        let terminal = keyboard::release();
        Signals::stop_self();
        drop(terminal);
        self.warden.suspend(false);
        for flight in self.flights.values_mut() {
            flight.deadline = flight.deadline.map(|deadline| deadline + stopped.elapsed());
        }
    }

    fn cancel(&mut self) {
        self.course.cancelled = true;
        self.empty_queue();
        for (number, flight) in &mut self.flights {
            flight.killed = flight.killed.or(Some(Killed::Cancelled));
            // The end of a process is its tracer's to see first.
            flight.look = Look::NotTaken;
            self.warden.kill(*number);
        }
    }

    fn next_deadline(&self) -> EpollTimeout {
        let now = Instant::now();
        let next =
            self.flights.values().flat_map(Flight::next_look).chain(self.attempts.next_due()).min();
        match next {
            None => EpollTimeout::NONE,
            Some(next) => {
                // Rounded up: waking early would spin.
                let wait = next.saturating_duration_since(now).as_millis() + 1;
                EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::MAX)
            }
        }
    }

    fn check_deadlines(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for (number, flight) in &mut self.flights {
            if !flight.watched && now >= flight.started + WATCHED_AFTER {
                flight.watch(*number, &self.epoll)?;
            }
            if !flight.told_slow && now >= flight.started + SLOW {
                flight.told_slow = true;
                let _ = self.events.send(Event::Slow(flight.job.index, flight.started.elapsed()));
            }
        }
        self.time_out_late(now);
        Ok(())
    }
}

impl Flight {
    /// Ends a case whose time is up: by SIGKILL, since PID 1 receives nothing else; below a
    /// reaping init by SIGTERM first.
    fn time_out(&mut self, number: u64, warden: &Warden, now: Instant) {
        let limit = self.job.plan.timeout.unwrap_or_default();
        if self.job.plan.setup.reaper && self.killed.is_none() {
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
    fn watch(&mut self, number: u64, epoll: &Epoll) -> Result<(), Errno> {
        self.watched = true;
        for (pipe, stream) in self.pipes.iter().zip(0..) {
            if let Some(pipe) = pipe {
                let token = TOKEN_OUTPUT + 2 * number + stream;
                epoll.add(pipe, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            }
        }
        Ok(())
    }

    /// When this case has to be looked at again.
    fn next_look(&self) -> impl Iterator<Item = Instant> {
        let deadline = self.deadline;
        let slow = (!self.told_slow).then(|| self.started + SLOW);
        let watched = (!self.watched).then(|| self.started + WATCHED_AFTER);
        deadline.into_iter().chain(slow).chain(watched)
    }

    /// Reads what is there now, but no more than a pipe holds: others have their turn while a
    /// case writes as fast as it is read.
    fn read(&mut self, stream: usize, buffer: &mut [u8], events: &SyncSender<Event>) {
        let Some(Some(pipe)) = self.pipes.get_mut(stream).map(Option::take) else { return };
        let ended = collect::drain(&pipe, buffer, |bytes| match self.job.pass_through {
            true => self.pass_on(stream, bytes, events),
            false => self.capture.push(bytes),
        });
        if !ended && let Some(slot) = self.pipes.get_mut(stream) {
            *slot = Some(pipe);
        }
    }

    /// Passes output on, but for the harness's own lines.
    fn pass_on(&mut self, stream: usize, bytes: &[u8], events: &SyncSender<Event>) {
        let (kind, ready) = match (&mut self.passage, stream) {
            (Some(passage), 0) => (Stream::Stdout, passage.push(bytes)),
            (None, 0) => (Stream::Stdout, bytes.to_vec()),
            (Some(_) | None, _) => (Stream::Stderr, bytes.to_vec()),
        };
        if !ready.is_empty() {
            let _ = events.send(Event::Output(self.job.index, kind, ready));
        }
    }

    fn outcome(mut self, end: End, events: &SyncSender<Event>) -> (Job, Outcome) {
        let killed = self.killed_by();
        self.capture.push(&self.passage.take().map_or(Vec::new(), Passage::finish));
        let index = self.job.index;
        let output = self.capture.finish();
        let mut outcome = collect::outcome(&self.job.plan, end, output, killed, self.started);
        outcome.stacks = self.look.into_text();
        if self.job.pass_through {
            let rest = std::mem::take(&mut outcome.output).to_bytes();
            if !rest.is_empty() {
                let _ = events.send(Event::Output(index, Stream::Stdout, rest));
            }
        }
        (self.job, outcome)
    }
}
