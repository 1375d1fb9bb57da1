//! Jobs on their way through the schedule, while their events are read.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use isotest_core::sandbox::Warden;
use isotest_core::schedule::{self, Event, Job, LabRuns, Options};
use isotest_core::signals::Signals;

/// Runs jobs on a thread of its own. `read` takes their events on this one, on which the wardens'
/// lives hang; those of `before` come first.
pub fn run<T>(
    jobs: Vec<(&mut Warden, Vec<Job>)>,
    options: Options,
    signals: &Signals,
    before: Vec<Event>,
    read: impl FnOnce(Receiver<Event>) -> T,
) -> io::Result<T> {
    let run = |events: &SyncSender<Event>| schedule::run_all(jobs, options, signals, events);
    drive(run, signals, before, read)
}

/// Runs of labs, in the same way.
pub fn run_labs<T>(
    groups: Vec<LabRuns<'_>>,
    options: Options,
    signals: &Signals,
    read: impl FnOnce(Receiver<Event>) -> T,
) -> io::Result<T> {
    let run = |events: &SyncSender<Event>| schedule::run_labs(groups, options, signals, events);
    drive(run, signals, Vec::new(), read)
}

fn drive<T>(
    run: impl FnOnce(&SyncSender<Event>) -> io::Result<()> + Send,
    signals: &Signals,
    before: Vec<Event>,
    read: impl FnOnce(Receiver<Event>) -> T,
) -> io::Result<T> {
    let (events, received) = mpsc::sync_channel(schedule::BACKLOG);
    thread::scope(|scope| {
        let engine = scope.spawn(move || {
            for event in before {
                // A closed channel ends the run as well.
                let _ = events.send(event);
            }
            run(&events)
        });
        let _hangup = Hangup(signals);
        let read = read(received);
        engine.join().expect("the engine has no panic path").map(|()| read)
    })
}

/// Ends the engine where the reader has panicked: nobody listens any more, and who unwinds waits for
/// it.
struct Hangup<'a>(&'a Signals);

impl Drop for Hangup<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.tell_broken_pipe();
        }
    }
}
