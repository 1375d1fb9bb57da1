//! Perturbations: conditions that a case is given so that a test which depends on them shows it.
//!
//! Plain data. Every value is one that a machine may have: another processor count, a slow
//! processor, another umask. None of them weakens isolation. What differs from run to run, such as the
//! order of a directory, follows from the seed of the plan ([`Plan`](crate::plan::Plan)).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The clocks that a case reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Time {
    /// What the wall clock shows when the case starts.
    pub origin: TimeOrigin,
    /// The wall clock stands still.
    pub is_frozen: bool,
    /// All clocks advance in steps of this size.
    pub resolution: Option<Duration>,
}

/// What the wall clock shows when a case starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TimeOrigin {
    /// What it shows outside.
    #[default]
    Now,
    /// So many nanoseconds since the Epoch.
    At(i64),
    /// So many nanoseconds later than outside.
    Later(i64),
    /// Some time before so many nanoseconds since the Epoch: at most so many microseconds, by the seed.
    Before(i64, u32),
}

/// The perturbations of a case. The default is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Perturbations {
    /// Random bytes follow from the seed: getrandom(2), getentropy(3).
    pub seeded_entropy: bool,
    /// Directories are listed in an order that follows from the seed.
    pub shuffled_directories: bool,
    /// Bytes that a new pipe holds.
    pub pipe_capacity: Option<u32>,
    /// The tracer of the case is told which environment variables its programs read and change through
    /// the C library. Those that the library cannot be loaded before run as well, untold.
    pub told_variables: bool,
    /// Calls that wait before they are made.
    pub holds: Option<Holds>,
    /// The case runs on one processor.
    pub one_processor: bool,
    /// A process that never sleeps runs on the processors of the case.
    pub competitor: bool,
    /// The case is stopped and continued in turn.
    pub duty_cycle: Option<DutyCycle>,
    /// File mode creation mask of the test.
    pub umask: Option<u32>,
    /// Addresses are not randomized: personality(2), ADDR_NO_RANDOMIZE.
    pub fixed_addresses: bool,
    /// CLOCK_MONOTONIC and CLOCK_BOOTTIME are so much later: time_namespaces(7).
    pub uptime: Duration,
    /// The process id of the test, which is then not PID 1: a reaping init is.
    pub process_id: Option<u32>,
    /// The address of `localhost` that is found first.
    pub localhost: Localhost,
    /// Descriptor 0 of the test.
    pub stdin: Stdin,
}

impl Perturbations {
    /// Time on the clock in which a case runs for so long.
    pub fn prolonged(&self, time: Duration) -> Duration {
        let Some(DutyCycle { running, stopped }) = self.duty_cycle else { return time };
        let (running, whole) = (running.as_nanos(), (running + stopped).as_nanos());
        let prolonged = time.as_nanos().saturating_mul(whole) / running.max(1);
        Duration::from_nanos(u64::try_from(prolonged).unwrap_or(u64::MAX))
    }
}

/// The address of `localhost` that is found first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Localhost {
    /// As the default `/etc/hosts` of a case has it.
    #[default]
    Default,
    /// 127.0.0.1, and no other: resolvers sort `::1` before it, whatever the order of `/etc/hosts`
    /// (getaddrinfo(3), RFC 6724).
    Ipv4,
    /// `::1`, also by the order of `/etc/hosts`.
    Ipv6,
}

/// Descriptor 0 of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// A terminal of its own, at which nobody types.
    Terminal,
}

/// Times for which a case runs and is stopped, in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyCycle {
    /// It runs for so long.
    pub running: Duration,
    /// All its processes are stopped (SIGSTOP) for so long. A parent may see that of its children
    /// (SIGCHLD), and some calls fail with EINTR where they have to (signal(7)). Time limits of the case
    /// count the time that it runs.
    pub stopped: Duration,
}

/// Which calls of a case wait before they are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holds {
    /// Some threads wait before some of their calls, chosen by the seed: a thread is starved with a
    /// probability of 0.1, the main thread of a process with 0.3, for 1, 2, 4, … or 2048 ms in all. It
    /// begins with one of its first 128 calls, which waits for half of that; the next waits for half of
    /// what is left, and so on.
    Starvation,
    /// Each of these calls waits for so long.
    Each(Vec<HeldCalls>, Duration),
    /// Half of these calls wait for so long, chosen by the seed: what two threads do changes its order.
    Half(Vec<HeldCalls>, Duration),
    /// Half of the calls that follow a look at, or a change of, what all threads of a process share
    /// ([`HeldCalls::Process`]) wait for so long, chosen by the seed: what another thread changes meanwhile
    /// shows.
    AfterChanges(Duration),
    /// These calls wait, as they did in an earlier run. One whose name is another now does not.
    Replay(Vec<Hold>),
}

/// A kind of calls that can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldCalls {
    /// futex(2).
    Futex,
    /// read(2), recvfrom(2), recvmsg(2), epoll_wait(2), poll(2), accept4(2).
    Receive,
    /// write(2), sendto(2), sendmsg(2), connect(2).
    Send,
    /// open(2), rename(2), unlink(2), stat(2).
    File,
    /// execve(2): the time between fork(2) and it is longer.
    Execute,
    /// The first call of a new thread, and of a forked process.
    Start,
    /// What all threads of a process share: chdir(2), getcwd(2), umask(2), prlimit(2); and variables of the
    /// environment, where the tracer is told of them.
    Process,
    /// nanosleep(2), clock_nanosleep(2).
    Sleep,
}

/// One call that waited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The thread, by the order in which threads of the case made their first call that can be held.
    pub thread: u32,
    /// The number of the call among those of its thread that can be held, of any kind, from 0.
    pub number: u32,
    /// The name of the system call.
    pub call: String,
    /// How long it waited, at least.
    pub held: Duration,
    /// The name of the thread.
    #[serde(default)]
    pub thread_name: String,
    /// Places in the code of the thread: where it made the call, then return addresses of its program
    /// that lie on its stack, innermost first. Some may be of functions that have returned.
    #[serde(default)]
    pub code: Vec<CodePlace>,
}

impl Hold {
    /// The same wait, without what a reader is told of it.
    pub fn without_place(&self) -> Hold {
        let (thread_name, code) = (String::new(), Vec::new());
        Hold { thread_name, code, call: self.call.clone(), ..*self }
    }
}

/// A place in a program or a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodePlace {
    /// The path of the file, as the case sees it.
    pub file: String,
    /// Offset in the file: of the call, or of what follows it.
    pub offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_count_the_time_that_a_case_runs() {
        let mut perturbations = Perturbations::default();
        let limit = Duration::from_secs(60);
        assert_eq!(perturbations.prolonged(limit), limit);
        let (running, stopped) = (Duration::from_micros(500), Duration::from_millis(30));
        perturbations.duty_cycle = Some(DutyCycle { running, stopped });
        assert_eq!(perturbations.prolonged(limit), Duration::from_secs(61 * 60));
        assert_eq!(perturbations.prolonged(Duration::MAX), Duration::from_nanos(u64::MAX));
    }
}
