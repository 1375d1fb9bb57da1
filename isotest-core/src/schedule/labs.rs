//! Runs of labs: jobs that are in flight together, in a lab that is made anew for each run.
//!
//! Several wardens have runs in flight at once, in one loop: each has the state of a schedule of its
//! own, and what they wait for is waited for together.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::event::{Event, Interruption};
use super::job::Job;
use super::options::Options;
use super::queue::Queue;
use super::rounds::Repeat;
use super::run::{Run, begin_write_backs, timeout};
use crate::outcome::{NotRun, Outcome, Verdict};
use crate::sandbox::Warden;
use crate::signals::Signals;

/// Runs for wardens of one policy. Each warden has one of them in flight at a time, whose jobs it starts
/// together, and takes the next when all of them have ended.
#[derive(Debug)]
pub struct LabRuns<'a> {
    /// The wardens: as many runs are in flight.
    pub wardens: Vec<&'a mut Warden>,
    /// The jobs of each run.
    pub runs: Vec<Vec<Job>>,
}

const TOKEN_SIGNALS: u64 = u64::MAX;

/// Runs all runs to their ends, those of different groups at the same time; before each the lab of its
/// warden is made anew, if it has one. Events name jobs by their indices alone, so each job of all runs
/// has one of its own. Exactly one [`Event::Finished`] is sent for each. Every case is executed: a fork
/// server would not outlive a lab. Of the options, `jobs` and `max_fail` have no effect.
pub fn run_labs(
    groups: Vec<LabRuns<'_>>,
    options: Options,
    signals: &Signals,
    events: &SyncSender<Event>,
) -> io::Result<()> {
    let _attendance = signals.attend();
    let all = || groups.iter().flat_map(|group| group.runs.iter().flatten());
    let write_backs = begin_write_backs(all());
    Labs::new(groups, options, signals, events)?.serve(signals)?;
    write_backs.iter().for_each(|plan| plan.finish());
    Ok(())
}

struct Labs<'a> {
    epoll: Epoll,
    lanes: Vec<Lane<'a>>,
    /// By group: the runs that were not begun.
    waiting: Vec<VecDeque<Vec<Job>>>,
    deadline: Option<Instant>,
    options: Options,
    events: &'a SyncSender<Event>,
}

/// A warden, and the run that it has in flight.
struct Lane<'a> {
    group: usize,
    run: Run<'a>,
    /// Its lab was used.
    is_used: bool,
}

impl<'a> Labs<'a> {
    fn new(
        groups: Vec<LabRuns<'a>>,
        options: Options,
        signals: &Signals,
        events: &'a SyncSender<Event>,
    ) -> io::Result<Labs<'a>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(signals, EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_SIGNALS))?;
        let (mut lanes, mut waiting) = (Vec::new(), Vec::new());
        for (group, LabRuns { wardens, runs }) in groups.into_iter().enumerate() {
            for warden in wardens {
                // The time of all ends together, and failures end nothing.
                let own = Options { timeout: None, max_fail: None, ..options.clone() };
                let run = Run::new(warden, own, events)?;
                let token = lanes.len() as u64;
                epoll.add(&run.epoll.0, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
                lanes.push(Lane { group, run, is_used: false });
            }
            waiting.push(runs.into());
        }
        let deadline = options.timeout.map(|limit| Instant::now() + limit);
        Ok(Labs { epoll, lanes, waiting, deadline, options, events })
    }

    fn serve(mut self, signals: &Signals) -> io::Result<()> {
        while self.start_due() {
            let next = self.lanes.iter().filter_map(|lane| lane.run.next_deadline());
            let has_signal = self.wait(timeout(next.chain(self.deadline).min()))?;
            if has_signal {
                self.on_signals(signals);
            }
            for lane in &mut self.lanes {
                lane.run.check_deadlines()?;
            }
            if self.deadline.take_if(|deadline| Instant::now() >= *deadline).is_some() {
                let limit = self.options.timeout.unwrap_or_default();
                self.interrupt(Interruption::Timeout(limit));
            }
        }
        // Where there is no warden nothing was begun.
        self.give_up();
        Ok(())
    }

    /// Starts what there is room for. False if nothing is left to wait for.
    fn start_due(&mut self) -> bool {
        let mut is_busy = false;
        for lane in &mut self.lanes {
            is_busy |= lane.start_due(&mut self.waiting[lane.group]);
        }
        is_busy
    }

    /// Waits for so long at the most for something to read, and reads it. True if it is a signal,
    /// which is not read.
    fn wait(&mut self, timeout: EpollTimeout) -> io::Result<bool> {
        let mut ready = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut ready, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut has_signal = false;
        for event in ready.iter().take(count) {
            match self.lanes.get_mut(event.data() as usize) {
                Some(lane) => has_signal |= lane.run.wait(EpollTimeout::ZERO)?,
                None => has_signal = true,
            }
        }
        Ok(has_signal)
    }

    fn on_signals(&mut self, signals: &Signals) {
        while let Some(signal) = signals.take() {
            match signal {
                libc::SIGTSTP => self.pause(),
                libc::SIGUSR1 => self.lanes.iter_mut().for_each(|lane| lane.run.show()),
                // Nobody hears any event any more.
                libc::SIGPIPE => self.cancel(),
                libc::SIGCONT | libc::SIGWINCH => {}
                ending => self.interrupt(Interruption::Signal(ending)),
            }
        }
    }

    /// Stops with all cases, as the terminal asks; time that passes meanwhile counts nowhere.
    fn pause(&mut self) {
        let since = Instant::now();
        Signals::suspend(|stops| {
            self.lanes.iter().for_each(|lane| lane.run.warden.suspend(stops));
        });
        let stopped = since.elapsed();
        self.lanes.iter_mut().for_each(|lane| lane.run.postpone(stopped));
        self.deadline = self.deadline.map(|deadline| deadline + stopped);
        self.send(Event::Resumed(stopped));
    }

    fn interrupt(&mut self, interruption: Interruption) {
        // Who waited too long is among them.
        self.lanes.iter_mut().for_each(|lane| lane.run.show_last());
        self.send(Event::Interrupted(interruption));
        self.cancel();
    }

    /// Ends what is in flight, and begins nothing more.
    fn cancel(&mut self) {
        self.give_up();
        self.lanes.iter_mut().for_each(|lane| lane.run.cancel());
    }

    /// Tells the ends of the runs that are not begun.
    fn give_up(&mut self) {
        for job in self.waiting.iter_mut().flat_map(|runs| runs.drain(..)).flatten() {
            let cancelled = Outcome::without_run(Verdict::NotRun(NotRun::Cancelled));
            // A closed channel ends the run as well.
            let _ = self.events.send(Event::Finished(job.index, Box::new(cancelled)));
        }
    }

    fn send(&mut self, event: Event) {
        // Each lane finds out by itself.
        let _ = self.events.send(event);
    }
}

impl Lane<'_> {
    /// Starts what there is room for, of the next run where this one has ended. False if nothing is
    /// left to wait for.
    fn start_due(&mut self, waiting: &mut VecDeque<Vec<Job>>) -> bool {
        while !self.run.start_due() {
            let next = if self.run.is_over() { None } else { waiting.pop_front() };
            let Some(jobs) = next else { return false };
            self.begin(jobs);
        }
        true
    }

    fn begin(&mut self, jobs: Vec<Job>) {
        let renewed = if self.is_used { self.run.warden.renew_lab() } else { Ok(()) };
        self.is_used = true;
        match renewed {
            Ok(()) => {
                self.run.options.jobs = jobs.len().max(1);
                self.run.queue = Queue::new(jobs, Repeat::Once);
            }
            Err(error) => {
                for job in jobs {
                    let refused = Verdict::NotRun(NotRun::Sandbox(error.clone()));
                    self.run.finish(job.index, Outcome::without_run(refused));
                }
            }
        }
    }
}
