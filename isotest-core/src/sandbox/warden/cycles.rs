//! Duty cycles: the warden stops all processes of a case and lets them go on, in turn.

use std::sync::atomic::Ordering;

use super::cycle::Turn;
use super::state::WardenState;
use crate::sandbox::fault::STEP_EXEC;
use crate::sandbox::procfs::{runs_on, signal_family};
use crate::sandbox::sys;

impl WardenState {
    /// The next turn of the case in a slot is due.
    pub(super) fn turn(&mut self, slot: usize) {
        let is_set_up =
            self.cell(slot).is_some_and(|cell| cell.step.load(Ordering::Acquire) == STEP_EXEC);
        let leader = self.pid(slot).filter(|leader| is_set_up && sys::is_child(*leader));
        let is_suspended = self.is_suspended;
        let Some(running) = self.running.get_mut(&slot) else { return };
        let has_ended = running.ended.is_some();
        let Some(cycle) = &mut running.cycle else { return };
        // Set-up is not slowed down, and somebody else may have stopped all cases.
        if let Some(leader) = leader.filter(|_| !is_suspended && !has_ended) {
            let (turn, signal) = cycle.turn.next();
            let family = signal_family(leader, signal);
            let is_stopped = turn != Turn::Running && !family.into_iter().any(runs_on);
            cycle.turn = if is_stopped { Turn::Stopped } else { turn };
        }
        if !cycle.go_on() {
            self.end_cycle(slot);
        }
    }

    /// Lets a case go on for good: its test exits, and what it has left is looked at.
    pub(super) fn end_cycle(&mut self, slot: usize) {
        let leader = self.pid(slot).filter(|leader| sys::is_child(*leader));
        let cycle = self.running.get_mut(&slot).and_then(|running| running.cycle.take());
        if let Some((leader, _)) = leader.zip(cycle.filter(|cycle| cycle.turn != Turn::Running)) {
            signal_family(leader, libc::SIGCONT);
        }
    }

    /// All cases were stopped by somebody else, or go on.
    pub(super) fn suspend_cycles(&mut self, is_suspended: bool) {
        self.is_suspended = is_suspended;
        if !is_suspended {
            let cycles = self.running.values_mut().filter_map(|running| running.cycle.as_mut());
            cycles.for_each(|cycle| cycle.turn = Turn::Running);
        }
    }
}
