//! The state of the warden: set-ups, cases in flight, slots.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::competitor::Competitor;
use super::cycle::Cycle;
use super::scratch::Scratches;
use super::slots::Slots;
use super::tracing::RunningTracer;
use crate::outcome::Usage;
use crate::perturbation::Perturbations;
use crate::policy::Guard;
use crate::sandbox::cgroup::{BaseCgroup, CaseCgroup};
use crate::sandbox::child::kernel;
use crate::sandbox::child::start::Slot;
use crate::sandbox::guard::{self, CaseFilter, Listener, Notification};
use crate::sandbox::procfs::InMotion;
use crate::sandbox::protocol::{Channel, GuardRecord, Response, Setup, Start};
use crate::sandbox::servers::Server;
use crate::sandbox::trace;

/// The calls that tracers of cases are notified of.
#[derive(Clone, Copy)]
pub(super) struct TracerRules {
    /// Calls are traced; otherwise some are held.
    pub(super) is_traced: bool,
}

impl TracerRules {
    /// The filter of the cases of a set-up.
    pub(super) fn filter(self, level: Guard, wanted: &Perturbations) -> CaseFilter {
        let mut rules = match &wanted.holds {
            Some(_) => trace::held_rules(),
            None => guard::executions().into(),
        };
        if self.is_traced {
            rules.extend(trace::rules());
        }
        CaseFilter::new(level, rules)
    }
}

/// A set-up and its fork server.
pub(super) struct Prepared {
    pub(super) setup: Setup,
    /// The filter of its cases, where they have tracers.
    pub(super) filter: Option<CaseFilter>,
    /// A server starts its cases: all of them, later attempts as well, as long as one can.
    pub(super) served: bool,
    /// Minimum number of cases to come.
    pub(super) expected: u32,
    pub(super) server: Option<(Server, Rc<Slots>)>,
    /// Deadline of the server for cases that are to be killed.
    pub(super) overdue: Option<Instant>,
    /// Cases that wait for the server, with their slots and descriptors.
    pub(super) waiting: Vec<(Start, usize, Vec<OwnedFd>)>,
}

/// A case in flight.
pub(super) struct RunningCase {
    pub(super) case: u64,
    pub(super) setup: u32,
    /// Memory with its slot.
    pub(super) slots: Rc<Slots>,
    /// Arguments behind those of the set-up.
    pub(super) arguments: Vec<CString>,
    pub(super) scratch: OwnedFd,
    /// Where its descriptor 0 is a terminal at which nobody types: a pair of sockets, in which the
    /// outer end of the terminal lies. The other end goes to the case.
    pub(super) terminal: Option<(OwnedFd, OwnedFd)>,
    /// A busy process beside it.
    #[expect(dead_code, reason = "it ends where this is dropped")]
    pub(super) competitor: Option<Competitor>,
    /// The times in which it runs and is stopped.
    pub(super) cycle: Option<Cycle>,
    pub(super) group: Option<CaseCgroup>,
    pub(super) reaper: bool,
    pub(super) own_network: bool,
    pub(super) own_ipc: bool,
    /// The end of its PID 1 ends all its processes.
    pub(super) own_pids: bool,
    /// Some of its calls are held.
    pub(super) has_holds: bool,
    /// A process of it has opened or made an object of interprocess communication.
    pub(super) used_ipc: bool,
    /// A signal for it that came before it was cloned.
    pub(super) doomed: Option<i32>,
    pub(super) seen: GuardRecord,
    /// Its service supervisor.
    pub(super) supervisor: Option<i32>,
    /// Its tracer, where it is traced.
    pub(super) tracer: Option<RunningTracer>,
    /// End of its PID 1, while its supervisor still runs.
    pub(super) ended: Option<(i32, Usage)>,
}

impl RunningCase {
    /// The socket for the outer end of its terminal.
    pub(super) fn keeper(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().map(|(_, sent)| sent)
    }
}

/// The state of the warden.
pub(super) struct WardenState {
    pub(super) channel: Channel,
    pub(super) listener: Option<Rc<Listener>>,
    /// Programs before which no library can be loaded are refused.
    pub(super) interposed: bool,
    pub(super) guard: Guard,
    /// Where each case has a tracer.
    pub(super) tracers: Option<TracerRules>,
    pub(super) null: OwnedFd,
    pub(super) base: Option<BaseCgroup>,
    /// Directory of scratch on disk.
    pub(super) disk: Option<Scratches>,
    /// Number of labs that were made.
    pub(super) labs: u32,
    /// Those of cases that are executed.
    pub(super) slots: Rc<Slots>,
    pub(super) free: Vec<usize>,
    pub(super) setups: HashMap<u32, Prepared>,
    /// By slot.
    pub(super) running: HashMap<usize, RunningCase>,
    /// All cases are stopped (SIGSTOP).
    pub(super) is_suspended: bool,
    /// Exits that are put off.
    pub(super) departures: Vec<DelayedExit>,
}

/// A notification, and where it is answered.
pub(super) struct Heard {
    pub(super) notification: Notification,
    pub(super) listener: Rc<Listener>,
}

impl Heard {
    /// Lets the process go on with its system call.
    pub(super) fn go_on(&self) {
        self.listener.go_on(self.notification.id);
    }

    /// True if the process still waits.
    pub(super) fn is_valid(&self) -> bool {
        self.listener.is_valid(self.notification.id)
    }
}

/// The exit of a PID 1, or of the test of a reaping init, that is put off, since what it leaves
/// behind may be about to end: a command closes its output, and whoever has read that to its end
/// exits, before the command is a zombie.
pub(super) struct DelayedExit {
    pub(super) slot: usize,
    pub(super) process: i32,
    pub(super) heard: Heard,
    pub(super) began: Instant,
    pub(super) wait: Duration,
    /// Time at which what it leaves is read again.
    pub(super) due: Instant,
    /// Time for which what was in motion had had a processor when that was first seen, by id.
    pub(super) ran: HashMap<i32, Duration>,
}

impl DelayedExit {
    pub(super) fn new(slot: usize, process: i32, heard: Heard, wait: Duration) -> DelayedExit {
        let now = Instant::now();
        DelayedExit { slot, process, heard, began: now, wait, due: now, ran: HashMap::new() }
    }

    /// True unless something has had a processor for so long that it is not about to end. On a busy
    /// machine the time on the clock says nothing; it counts where the kernel tells no other.
    pub(super) fn may_end(&mut self, motion: &InMotion, enough: Duration) -> bool {
        let Some(ran) = motion.ran else { return self.began.elapsed() < enough };
        ran.saturating_sub(*self.ran.entry(motion.id).or_insert(ran)) < enough
    }
}

impl WardenState {
    pub(super) fn servers(&self) -> impl Iterator<Item = (u32, &Server)> {
        self.setups
            .iter()
            .filter_map(|(number, set_up)| Some((*number, &set_up.server.as_ref()?.0)))
    }

    pub(super) fn send(&self, response: &Response) {
        if self.channel.send(response, &[]).is_err() {
            // isotest is gone. The kernel kills all that is left in this pid namespace.
            kernel::exit(0);
        }
    }

    /// The id of the case in a slot; `None` where it is not cloned yet. Nobody else can have the
    /// id before the case is waited for.
    pub(super) fn pid(&self, slot: usize) -> Option<i32> {
        let pid = self.cell(slot)?.pid.load(Ordering::Acquire);
        (pid != 0).then_some(pid)
    }

    /// The slot of a case in flight.
    pub(super) fn cell(&self, slot: usize) -> Option<&Slot> {
        self.running.get(&slot)?.slots.get(slot)
    }

    /// The slot of the case whose PID 1 this is.
    pub(super) fn slot_of(&self, pid: i32) -> Option<usize> {
        self.running.keys().copied().find(|slot| self.pid(*slot) == Some(pid))
    }
}
