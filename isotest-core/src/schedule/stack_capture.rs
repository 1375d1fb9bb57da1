//! Stacks of a case whose time is up: not taken yet, read by a debugger, or known.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::capture::Capture;
use crate::plan::Step;

/// Tokens of debuggers: this, and the number of the case.
pub(super) const TOKEN_DEBUGGER: u64 = 1 << 63;

/// State of the stacks of a case.
pub(super) enum StackCapture {
    /// Its time is not up.
    NotTaken,
    /// A debugger reads them.
    Reading(StackReading),
    /// All that is known.
    Taken(String),
}

/// A debugger at work.
pub(super) struct StackReading {
    pub(super) debugger: DebuggerProcess,
    pub(super) pipe: OwnedFd,
    /// Commands that are still to be run.
    pub(super) next: VecDeque<ConfinedCommand>,
    pub(super) printed: Capture,
    /// Stacks by /proc, for a debugger that prints nothing.
    pub(super) by_proc: String,
}

/// The command of a debugger, and what is done to its process before it is executed.
pub(super) struct ConfinedCommand {
    pub(super) command: Command,
    pub(super) steps: Vec<Step>,
}

/// The first process of a process group. Dropping it ends the group, and lets the processes go on
/// that it has stopped: `gdb` may be a script that starts another, which would keep a case from
/// ending.
pub(super) struct DebuggerProcess(pub(super) Child);

impl Drop for DebuggerProcess {
    fn drop(&mut self) {
        // Nobody has waited for it, so the id is still its own.
        let _ = killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

impl StackCapture {
    /// The known stacks.
    pub(super) fn into_text(self) -> String {
        match self {
            StackCapture::NotTaken => String::new(),
            StackCapture::Reading(mut reading) => std::mem::take(&mut reading.by_proc),
            StackCapture::Taken(stacks) => stacks,
        }
    }
}
