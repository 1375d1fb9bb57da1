//! Looks at cases that run: all of them when somebody asks, one before its time is up.
//!
//! A look at `/proc` is done at once. A debugger takes its time; what it prints is read by the
//! loop like any other output, and it has a deadline of its own.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::event::Event;
use super::flight::Flight;
use super::options::Stacks;
use super::run::Run;
use super::stack_capture::{
    ConfinedCommand, DebuggerProcess, StackCapture, StackReading, TOKEN_DEBUGGER,
};
use crate::capture::{self, Capture};
use crate::collect::Killed;
use crate::escape::escape;
use crate::harness;
use crate::host::{Debugger, Lookup};
use crate::plan::{self, TracedProcess};
use crate::sandbox::debugger;
use crate::snapshot::{self, Process, Snapshot};

/// Maximum time of a debugger for one case.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum number of debuggers at once; the stacks of a case beyond them are read in /proc. Each
/// may need hundreds of megabytes for the symbols of a program.
const AT_ONCE: usize = 4;

/// The whole environment of a debugger.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C.UTF-8")];

/// Maximum number of processes of a case that a debugger is shown.
const PROCESSES: usize = 8;

/// Maximum bytes of the output of a case that are shown.
const TAIL: usize = 4 << 10;

/// Maximum bytes of the output of a debugger that are kept.
const KEPT: u64 = 1 << 20;

/// Reason why a debugger does not read stacks.
enum NoDebugger {
    /// Nobody wants it, or others are at work.
    NotAsked,
    /// It could not be started.
    Refused(String),
}

impl Run<'_> {
    /// Tells of all that runs where the run ends early; of nothing where nothing does.
    pub(super) fn show_last(&mut self) {
        if !self.flights.is_empty() {
            self.show();
        }
    }

    /// Looks at all that runs, oldest first.
    pub(super) fn show(&mut self) {
        let mut numbers: Vec<u64> = self.flights.keys().copied().collect();
        numbers.sort_unstable();
        let mut running = Vec::new();
        for number in numbers {
            let leader = self.warden.find(number);
            let Some(flight) = self.flights.get_mut(&number) else { continue };
            for stream in [0, 1] {
                flight.read(stream, &mut self.buffer, self.events);
            }
            let mut output = flight.capture.last(TAIL);
            harness::strip_header(&mut output);
            running.push(Snapshot {
                index: flight.job.index,
                elapsed: flight.started.elapsed(),
                processes: leader.map_or_else(Vec::new, snapshot::processes),
                output,
            });
        }
        self.send(Event::Running(running));
        // Nothing is readable for what the warden has said meanwhile.
        self.on_warden();
    }

    /// Ends the cases whose time is up.
    pub(super) fn time_out_late(&mut self, now: Instant) {
        let is_late = |flight: &Flight| flight.deadline.is_some_and(|deadline| now >= deadline);
        let late = self.flights.iter().filter(|(_, flight)| is_late(flight));
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        if late.is_empty() {
            return;
        }
        late.into_iter().for_each(|number| self.time_out(number, now));
        // Nothing is readable for what the warden has said when it was asked.
        self.on_warden();
    }

    /// The time of a case is up: looks at it, where it is to be looked at, and ends it.
    fn time_out(&mut self, number: u64, now: Instant) {
        if let Some(flight) = self.flights.get_mut(&number)
            && let StackCapture::Reading(reading) = &mut flight.stacks
        {
            let told = format!("the debugger took longer than {PATIENCE:?}\n{}", reading.by_proc);
            flight.stacks = StackCapture::Taken(told);
        }
        if self.is_to_be_looked_at(number) && self.look(number, now) {
            return;
        }
        if let Some(flight) = self.flights.get_mut(&number) {
            flight.time_out(number, self.warden, now);
        }
    }

    fn is_to_be_looked_at(&self, number: u64) -> bool {
        self.options.stacks != Stacks::None
            && self.flights.get(&number).is_some_and(|flight| {
                flight.killed.is_none() && matches!(flight.stacks, StackCapture::NotTaken)
            })
    }

    /// Looks at a case by /proc, and has a debugger look at it. Returns whether one does.
    fn look(&mut self, number: u64, now: Instant) -> bool {
        let Some(leader) = self.warden.find(number) else { return false };
        let processes = snapshot::processes(&leader);
        let at_work = self.flights.values().filter(|flight| flight.is_read()).count();
        let Some(flight) = self.flights.get_mut(&number).filter(|_| !processes.is_empty()) else {
            return false;
        };
        let by_proc: String = processes.iter().map(Process::to_string).collect();
        let started = match at_work < AT_ONCE {
            true => commands(&self.options.stacks, &processes, leader, flight)
                .and_then(|next| start(next, number, &self.epoll)),
            false => Err(NoDebugger::NotAsked),
        };
        match started {
            Ok((debugger, pipe, next)) => {
                let printed = Capture::new(KEPT);
                flight.stacks =
                    StackCapture::Reading(StackReading { debugger, pipe, next, printed, by_proc });
                flight.deadline = Some(now + PATIENCE);
                true
            }
            Err(why) => {
                flight.stacks = StackCapture::Taken(format!("{why}{by_proc}"));
                false
            }
        }
    }

    /// Reads what a debugger prints. At its end its case is ended.
    pub(super) fn read_stacks(&mut self, number: u64) {
        let Some(flight) = self.flights.get_mut(&number) else { return };
        let StackCapture::Reading(reading) = &mut flight.stacks else { return };
        let StackReading { debugger, pipe, next, printed, .. } = reading;
        if !capture::drain(pipe, &mut self.buffer, |bytes| printed.push(bytes)) {
            return;
        }
        if let Ok(started) = start(std::mem::take(next), number, &self.epoll) {
            (*debugger, *pipe, *next) = started;
            return;
        }
        let printed = std::mem::take(printed).finish().to_bytes();
        let frames = frames(&String::from_utf8_lossy(&printed));
        let by_proc = std::mem::take(&mut reading.by_proc);
        flight.stacks = StackCapture::Taken(if frames.is_empty() { by_proc } else { frames });
        flight.deadline = Some(Instant::now());
    }
}

impl Flight {
    /// Action of isotest on it. Once its stacks are read its time is up, however it ends.
    pub(super) fn killed_by(&self) -> Option<Killed> {
        match &self.stacks {
            StackCapture::NotTaken => self.killed,
            StackCapture::Reading(_) | StackCapture::Taken(_) => {
                Some(Killed::Terminated(self.job.plan.timeout.unwrap_or_default()))
            }
        }
    }

    /// True if a debugger is at work on it.
    fn is_read(&self) -> bool {
        matches!(self.stacks, StackCapture::Reading(_))
    }
}

impl fmt::Display for NoDebugger {
    /// A line of its own, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoDebugger::NotAsked => Ok(()),
            NoDebugger::Refused(why) => writeln!(f, "no debugger has read its stacks: {why}"),
        }
    }
}

/// Starts the first of these commands that can be.
fn start(
    mut commands: VecDeque<ConfinedCommand>,
    number: u64,
    epoll: &Epoll,
) -> Result<(DebuggerProcess, OwnedFd, VecDeque<ConfinedCommand>), NoDebugger> {
    let mut why = NoDebugger::NotAsked;
    while let Some(ConfinedCommand { command, steps }) = commands.pop_front() {
        let program = command.get_program().to_string_lossy().into_owned();
        match start_one(command, number, epoll) {
            Ok((debugger, pipe)) => return Ok((debugger, pipe, commands)),
            Err(error) => {
                let error = debugger::explain(&error, &steps, &program);
                why = NoDebugger::Refused(error.to_string());
            }
        }
    }
    Err(why)
}

fn start_one(
    mut command: Command,
    number: u64,
    epoll: &Epoll,
) -> io::Result<(DebuggerProcess, OwnedFd)> {
    let (read, write) = capture::pipe()?;
    epoll.add(&read, EpollEvent::new(EpollFlags::EPOLLIN, TOKEN_DEBUGGER | number))?;
    command.stdin(Stdio::null()).stdout(write).stderr(Stdio::null());
    Ok((DebuggerProcess(command.spawn()?), read))
}

/// Commands that print the stacks of these processes.
fn commands(
    stacks: &Stacks,
    processes: &[Process],
    leader: OwnedFd,
    flight: &Flight,
) -> Result<VecDeque<ConfinedCommand>, NoDebugger> {
    let (path, lookup, at_once): (&Path, Lookup, usize) = match stacks {
        Stacks::None | Stacks::Proc => return Err(NoDebugger::NotAsked),
        Stacks::Gdb(path) => (path, Lookup::BelowRoot, PROCESSES),
        Stacks::EuStack(path) => (path, Lookup::AtPaths, 1),
    };
    let place = Debugger::find(path, lookup).map_err(|error| {
        NoDebugger::Refused(format!("cannot look at `{}`: {error}", path.display()))
    })?;
    let leader = Arc::new(leader);
    let threads = |process: &Process| process.threads.iter().map(|thread| thread.id).collect();
    let traced = |process: &Process| TracedProcess { pid: process.pid, threads: threads(process) };
    let traced: Vec<TracedProcess> = processes.iter().take(PROCESSES).map(traced).collect();
    let confined = |traced: &[TracedProcess]| {
        let mut command = match stacks {
            Stacks::EuStack(_) => eu_stack(&place.program, traced),
            Stacks::None | Stacks::Proc | Stacks::Gdb(_) => gdb(&place.program, traced),
        };
        command.env_clear().envs(ENVIRONMENT).current_dir("/");
        let namespaces = flight.job.plan.spec.namespaces_of_sandbox();
        let steps = plan::confinement(&place, namespaces, traced);
        debugger::confine(&mut command, &steps, Arc::clone(&leader));
        ConfinedCommand { command, steps }
    };
    Ok(traced.chunks(at_once).map(confined).collect())
}

/// Nothing that a test could have written is executed (no `.gdbinit`, no scripts of libraries) and
/// nothing is downloaded. Files are those that the case sees.
fn gdb(program: &Path, processes: &[TracedProcess]) -> Command {
    let mut command = Command::new(program);
    command.args(["-nx", "-batch"]);
    for setting in ["auto-load off", "debuginfod enabled off", "pagination off", "width 0"] {
        command.args(["-iex", &format!("set {setting}")]);
    }
    command.args(["-ex", "set backtrace limit 100"]);
    for TracedProcess { pid, .. } in processes {
        let acts = [
            format!("set sysroot /proc/{pid}/root"),
            format!("attach {pid}"),
            "thread apply all backtrace".to_owned(),
            "detach".to_owned(),
        ];
        for act in acts {
            command.args(["-ex", &act]);
        }
    }
    command
}

/// It opens the paths of mapped files as they read, in its own root.
fn eu_stack(program: &Path, processes: &[TracedProcess]) -> Command {
    let mut command = Command::new(program);
    command.args(["-n", "100"]);
    for TracedProcess { pid, .. } in processes {
        command.args(["-p", &pid.to_string()]);
    }
    command
}

/// The frames in what a debugger has printed, below the lines that name their threads; empty where
/// there is none. As in the standard library's short backtraces, what called a test or the function
/// of a thread is left out.
fn frames(printed: &str) -> String {
    let mut text = String::new();
    let (mut heading, mut outside) = (None, false);
    for line in printed.lines() {
        if line.starts_with("Thread ") || line.starts_with("TID ") {
            (heading, outside) = (Some(line), false);
        }
        outside |= line.contains("__rust_begin_short_backtrace");
        if line.starts_with('#') && !outside {
            // gdb also tells where each process stands when it attaches to it.
            let heading = heading.take().map(|heading| format!("{}\n", escape(heading)));
            text += &format!("{}{}\n", heading.unwrap_or_default(), escape(line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_by_thread() {
        let gdb = "[New LWP 7]\n__poll () at poll.c:29\n\nThread 2 (Thread 0x7f (LWP 7) \"a\"):\n\
                   #0  f () at src/lib.rs:3\n#1  g ()\n\
                   #2  std::sys::backtrace::__rust_begin_short_backtrace ()\n#3  main ()\n\nThread 1 (Thread 0x7e (LWP 6) \"t\"):\n\
                   #0  h ()\n[Inferior 1 (process 6) detached]\n";
        let expected = "Thread 2 (Thread 0x7f (LWP 7) \"a\"):\n#0  f () at src/lib.rs:3\n#1  g ()\n\
                        Thread 1 (Thread 0x7e (LWP 6) \"t\"):\n#0  h ()\n";
        assert_eq!(frames(gdb), expected);
        assert_eq!(frames("PID 6 - process\nTID 6:\n#0  0x7f f\n"), "TID 6:\n#0  0x7f f\n");
        let escaped = frames("Thread 1 \"\u{1b}[2J\":\n#0  \u{7}f ()\n");
        assert_eq!(escaped, "Thread 1 \"\\u{1b}[2J\":\n#0  \\u{7}f ()\n");
        assert_eq!(frames("ptrace: Operation not permitted.\n"), "");
    }
}
