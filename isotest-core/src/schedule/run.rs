//! The loop that runs jobs to their ends.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::attempts::{self, Attempts};
use super::event::{Event, Interruption};
use super::flight::{Flight, INPUTS, OutputReader, SERVICES, TOKEN_OUTPUT, WATCHED_AFTER};
use super::job::Job;
use super::options::{InFlight, MaxFail, Options};
use super::queue::{Capacity, Queue};
use super::rounds::Repeat;
use super::stack_capture::{StackCapture, TOKEN_DEBUGGER};
use crate::capture::{self, Capture};
use crate::case::CaseIndex;
use crate::collect::Killed;
use crate::errno;
use crate::outcome::{NotRun, Outcome, Verdict};
use crate::plan::SandboxSpec;
use crate::poll_timeout;
use crate::sandbox::fault::STEP_CLONE;
use crate::sandbox::{End, Notice, Start, Warden, describe_errno};
use crate::service_monitor::ServiceMonitor;
use crate::signals::Signals;
use crate::untrusted::Dir;
use crate::write_back::WriteBack;

/// Below this average a case is short. Where many are in flight, much of it is waiting for a turn.
const SHORT: Duration = Duration::from_millis(50);

/// Maximum number of wardens that die in a row without any case having ended.
const WARDENS: u32 = 3;

const TOKEN_WARDEN: u64 = 0;
const TOKEN_SIGNALS: u64 = 1;
/// Runs all jobs to their ends. Exactly one [`Event::Finished`] is sent for each time that one is
/// run. Somebody must read the events meanwhile: while [`BACKLOG`](super::BACKLOG) of them wait, the run does.
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
    let deadline = options.timeout.map(|limit| Instant::now() + limit);
    let mut course = Progress { deadline, ..Progress::default() };
    for (warden, jobs) in stages {
        let mut cases: HashMap<usize, (&Arc<SandboxSpec>, u32)> = HashMap::new();
        for spec in jobs.iter().map(|job| &job.plan.spec) {
            cases.entry(Arc::as_ptr(spec).addr()).or_insert((spec, 0)).1 += 1;
        }
        for (spec, cases) in cases.into_values() {
            let cases = cases.saturating_mul(options.repeat.rounds());
            warden.prepare(spec, (cases >= options.served_from).then_some(cases))?;
        }
        let write_backs = begin_write_backs(&jobs);
        let run = Run::new(warden, options.clone(), events)?;
        course = Run { queue: Queue::new(jobs, options.repeat), course, ..run }.serve(signals)?;
        write_backs.iter().for_each(|plan| plan.finish());
    }
    Ok(())
}

/// Begins the write-backs of these jobs, each once.
pub(super) fn begin_write_backs<'a>(
    jobs: impl IntoIterator<Item = &'a Job>,
) -> Vec<Arc<WriteBack>> {
    let mut write_backs: Vec<Arc<WriteBack>> = Vec::new();
    for plan in jobs.into_iter().filter_map(|job| job.plan.write_back.as_ref()) {
        if write_backs.iter().all(|known| !Arc::ptr_eq(known, plan)) {
            plan.begin();
            write_backs.push(Arc::clone(plan));
        }
    }
    write_backs
}

/// Time until then.
pub(super) fn timeout(next: Option<Instant>) -> EpollTimeout {
    let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
    wait.map_or(EpollTimeout::NONE, poll_timeout::at_least)
}

/// Progress of a run, which decides whether more is started.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    failures: usize,
    cancelled: bool,
    /// End of the time of the run; `None` from then on.
    deadline: Option<Instant>,
}

pub(super) struct Run<'a> {
    pub(super) warden: &'a mut Warden,
    pub(super) epoll: Epoll,
    pub(super) options: Options,
    pub(super) queue: Queue,
    attempts: Attempts,
    pub(super) flights: HashMap<u64, Flight>,
    next: u64,
    /// Average duration of the latest cases, each weighing three quarters of the one after it.
    average: Duration,
    /// Number of wardens that have died in a row without any case having ended.
    wardens_lost: u32,
    course: Progress,
    pub(super) events: &'a SyncSender<Event>,
    pub(super) buffer: Vec<u8>,
}

impl<'a> Run<'a> {
    /// One without jobs.
    pub(super) fn new(
        warden: &'a mut Warden,
        options: Options,
        events: &'a SyncSender<Event>,
    ) -> io::Result<Run<'a>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*warden, EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_WARDEN))?;
        Ok(Run {
            warden,
            epoll,
            options,
            queue: Queue::new(Vec::new(), Repeat::Once),
            attempts: Attempts::default(),
            flights: HashMap::new(),
            next: 0,
            average: Duration::ZERO,
            wardens_lost: 0,
            course: Progress::default(),
            events,
            buffer: vec![0; 1 << 16],
        })
    }
}

impl Run<'_> {
    fn serve(mut self, signals: &Signals) -> io::Result<Progress> {
        self.epoll.add(signals, EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_SIGNALS))?;
        if self.is_over() {
            self.empty_queue();
        }
        while self.start_due() {
            if self.wait(timeout(self.next_deadline()))? {
                self.on_signals(signals);
            }
            self.check_deadlines()?;
        }
        Ok(self.course)
    }

    /// Starts what there is room for. False if nothing is left to wait for.
    pub(super) fn start_due(&mut self) -> bool {
        self.attempts.due().into_iter().for_each(|job| self.queue.again(job));
        while let Some(job) = self.next_job() {
            self.launch(job);
        }
        !self.flights.is_empty() || !self.attempts.is_idle()
    }

    /// Waits for so long at the most for something to read, and reads it. True if it is a signal,
    /// which is not read.
    pub(super) fn wait(&mut self, timeout: EpollTimeout) -> io::Result<bool> {
        let mut ready = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut ready, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut has_signal = false;
        for event in ready.iter().take(count) {
            match event.data() {
                TOKEN_WARDEN => self.on_warden(),
                TOKEN_SIGNALS => has_signal = true,
                token if token & TOKEN_DEBUGGER != 0 => self.read_stacks(token ^ TOKEN_DEBUGGER),
                token => self.read_output(token),
            }
        }
        Ok(has_signal)
    }

    /// The next case to start, where there is room for it now.
    fn next_job(&mut self) -> Option<Job> {
        let spare = if self.average < SHORT { self.options.spare } else { 0 };
        let room = Capacity { jobs: self.options.jobs, spare };
        self.queue.next(room, self.flights.values().map(|flight| flight.job.claim))
    }

    /// Sends an event. Where nobody hears it any more, since stdout was closed, the run ends.
    pub(super) fn send(&mut self, event: Event) {
        if self.events.send(event).is_err() && !self.course.cancelled {
            self.cancel();
        }
    }

    fn launch(&mut self, job: Job) {
        let (number, index) = (self.next, job.index);
        self.next += 1;
        if self.attempts.failed(index) == 0 {
            self.send(Event::Started(index));
        }
        if let Err(errno) = self.try_launch(number, job) {
            let error = describe_errno(STEP_CLONE, errno);
            self.finish(index, Outcome::without_run(Verdict::NotRun(NotRun::Sandbox(error))));
        }
    }

    fn try_launch(&mut self, number: u64, job: Job) -> Result<(), Errno> {
        let (read, write) = capture::pipe().map_err(errno::of_io)?;
        let started = Instant::now();
        let start = Start::of(&job.plan, number);
        let (services, supervisors) = ServiceMonitor::of(&job.plan)?.unzip();
        let supervisors = supervisors.iter().map(AsFd::as_fd);
        let mut pipes = [Some(read), None];
        if job.pass_through {
            let (error_read, error_write) = capture::pipe().map_err(errno::of_io)?;
            let given = [write.as_fd(), error_write.as_fd()].into_iter().chain(supervisors);
            self.warden.spawn(&job.plan.spec, start, &given.collect::<Vec<_>>())?;
            pipes[1] = Some(error_read);
        } else {
            // One pipe for both: the order of writing is kept, as in libtest's own capture.
            let given = [write.as_fd(), write.as_fd()].into_iter().chain(supervisors);
            self.warden.spawn(&job.plan.spec, start, &given.collect::<Vec<_>>())?;
        }
        let (reader, kept) = OutputReader::of(&job);
        let mut flight = Flight {
            started,
            watched: false,
            // Services have time of their own.
            deadline: job
                .plan
                .time_limit()
                .filter(|_| services.is_none())
                .and_then(|limit| started.checked_add(limit)),
            told_slow: 0,
            killed: None,
            stacks: StackCapture::NotTaken,
            pipes,
            capture: Capture::new(kept),
            reader,
            services,
            passed: [0; 2],
            job,
        };
        if let Some(services) = &flight.services {
            let token = TOKEN_OUTPUT + INPUTS * number + SERVICES;
            self.epoll.add(services, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        }
        if flight.job.pass_through {
            flight.watch(number, &self.epoll)?;
        }
        self.flights.insert(number, flight);
        Ok(())
    }

    fn read_output(&mut self, token: u64) {
        let (number, input) = ((token - TOKEN_OUTPUT) / INPUTS, (token - TOKEN_OUTPUT) % INPUTS);
        match self.flights.get_mut(&number) {
            Some(flight) if input == SERVICES => flight.on_services(&self.epoll),
            Some(flight) => {
                flight.read(input as usize, &mut self.buffer, self.events);
                flight.end_flood(number, self.options.most_passed, self.warden);
            }
            None => {}
        }
    }

    pub(super) fn on_warden(&mut self) {
        while let Some(notice) = self.warden.notice(false) {
            match notice {
                Notice::Ended(end, scratch) => self.land(end, scratch),
                Notice::Died(_) => return self.lose_warden(NotRun::WardenDied),
                Notice::Silent => return self.lose_warden(NotRun::WardenSilent),
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
        let case = end.case;
        let (job, mut outcome) = flight.outcome(end, self.events);
        let scratch = scratch.map(Dir::from);
        outcome.add(job.plan.changes(scratch.as_ref()));
        let mut outcome = outcome.behind(&job.gate);
        if let Some((reader, scratch)) = job.plan.scratch_reader.as_ref().zip(scratch.as_ref()) {
            reader.read(scratch, outcome.verdict.is_failure());
        }
        match &job.plan.write_back {
            Some(plan) if self.is_started_again(&job, &outcome) => plan.forget(case),
            Some(plan) => outcome.findings.extend(plan.copy(scratch, case)),
            None => {}
        }
        // The copy may have been found to fail.
        let outcome = outcome.behind(&job.gate);
        self.settle(job, outcome);
    }

    /// True if this was not the last attempt of a case.
    fn is_started_again(&self, job: &Job, outcome: &Outcome) -> bool {
        let failed = self.attempts.failed(job.index);
        outcome.verdict.is_failure() && failed < job.retries.count && !self.is_over()
    }

    /// Starts a case that has failed again, where it has another attempt; else this was its end.
    fn settle(&mut self, job: Job, mut outcome: Outcome) {
        let (index, failed) = (job.index, self.attempts.failed(job.index));
        outcome.attempts = job.retries.attempts();
        if self.is_started_again(&job, &outcome) {
            let retried = Event::Retried(index, failed + 2, outcome.attempts);
            self.attempts.retry(job, outcome);
            return self.send(retried);
        }
        if outcome.verdict == Verdict::Passed {
            outcome.verdict = attempts::passed(&job, failed);
        }
        self.finish(index, outcome);
    }

    /// Loses all that was in flight with the warden; another one takes over, unless too many have
    /// died in a row without any case having ended.
    fn lose_warden(&mut self, reason: NotRun) {
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
            self.finish(index, Outcome::without_run(Verdict::NotRun(reason.clone())));
        }
    }

    pub(super) fn finish(&mut self, index: CaseIndex, outcome: Outcome) {
        self.conclude(index, outcome);
        match self.options.max_fail.filter(|_| self.has_failed_enough()) {
            Some(MaxFail { in_flight: InFlight::Kill, .. }) if !self.course.cancelled => {
                self.cancel();
            }
            Some(_) => self.empty_queue(),
            None => {}
        }
    }

    /// Counts and tells the end of a case.
    fn conclude(&mut self, index: CaseIndex, outcome: Outcome) {
        let outcome = self.attempts.conclude(index, outcome);
        if matches!(outcome.verdict, Verdict::NotRun(_)) {
            // What could not be run cannot be run again.
            self.queue.end_rounds();
        }
        self.course.failures += usize::from(outcome.fails_run());
        self.send(Event::Finished(index, Box::new(outcome)));
    }

    /// True if nothing more is started.
    pub(super) fn is_over(&self) -> bool {
        self.course.cancelled || self.has_failed_enough()
    }

    fn has_failed_enough(&self) -> bool {
        self.options.max_fail.is_some_and(|most| self.course.failures >= most.failures.get())
    }

    fn empty_queue(&mut self) {
        for job in self.left_over() {
            let cancelled = Outcome::without_run(Verdict::NotRun(NotRun::Cancelled));
            self.conclude(job.index, cancelled);
        }
    }

    /// Takes out what is not in flight; there are no more rounds.
    fn left_over(&mut self) -> Vec<Job> {
        self.queue.drain().into_iter().chain(self.attempts.left_over()).collect()
    }

    fn on_signals(&mut self, signals: &Signals) {
        while let Some(signal) = signals.take() {
            match signal {
                libc::SIGTSTP => self.pause(),
                libc::SIGUSR1 => self.show(),
                // Nobody hears any event any more.
                libc::SIGPIPE => self.cancel(),
                libc::SIGCONT | libc::SIGWINCH => {}
                ending => {
                    // Who waited too long is among them.
                    self.show_last();
                    self.send(Event::Interrupted(Interruption::Signal(ending)));
                    self.cancel();
                }
            }
        }
    }

    /// Stops with all cases, as the terminal asks; time that passes meanwhile counts nowhere.
    fn pause(&mut self) {
        let since = Instant::now();
        Signals::suspend(|stops| self.warden.suspend(stops));
        let stopped = since.elapsed();
        self.postpone(stopped);
        self.send(Event::Resumed(stopped));
    }

    /// Lets all deadlines come so much later.
    pub(super) fn postpone(&mut self, stopped: Duration) {
        self.flights.values_mut().for_each(|flight| flight.postpone(stopped));
        self.course.deadline = self.course.deadline.map(|deadline| deadline + stopped);
        self.attempts.postpone(stopped);
        self.queue.postpone(stopped);
    }

    pub(super) fn cancel(&mut self) {
        self.course.cancelled = true;
        self.empty_queue();
        for (number, flight) in &mut self.flights {
            flight.killed = flight.killed.or(Some(Killed::Cancelled));
            // The end of a process is its tracer's to see first.
            flight.stacks = StackCapture::NotTaken;
            self.warden.kill(*number);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let looks = self.flights.values().flat_map(Flight::next_look);
        let check = (!self.flights.is_empty()).then(|| self.warden.next_check());
        let next = looks.chain(self.attempts.next_due()).chain(self.course.deadline).chain(check);
        next.min()
    }

    pub(super) fn check_deadlines(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for (number, flight) in &mut self.flights {
            if !flight.watched && now >= flight.started + WATCHED_AFTER {
                flight.watch(*number, &self.epoll)?;
            }
            if let Some(age) = flight.next_slow()
                && now >= flight.started + age
            {
                flight.told_slow += 1;
                let slow = Event::Slow(flight.job.index, age, flight.told_slow);
                let _ = self.events.send(slow);
            }
        }
        self.warden.check(now);
        self.time_out_late(now);
        if self.course.deadline.take_if(|deadline| now >= *deadline).is_some() {
            let limit = self.options.timeout.unwrap_or_default();
            // Who is to blame is among them.
            self.show_last();
            self.send(Event::Interrupted(Interruption::Timeout(limit)));
            self.cancel();
        }
        Ok(())
    }
}
