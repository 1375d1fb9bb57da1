//! Origin of the exit of a test's process: the end of `main`, or another one.
//!
//! libtest runs the test on a thread of its own, so that what a test does about exiting shows: who
//! calls exit_group(2), in which program, how much of its stack is in use. Where no listener tells
//! of the call, the zombie still does of the thread.

use std::ffi::CString;
use std::sync::atomic::Ordering;

use super::start::strings;
use super::state::{RunningCase, WardenState};
use crate::sandbox::child::bytecode::{Bytecode, header};
use crate::sandbox::procfs::{self, Stat};
use crate::sandbox::protocol::Exit;

/// Maximum stack in use after `main` has returned, in bytes: the frames of the C library's start
/// and of exit(3), which take less than half of it.
const RETURNED: u64 = 1 << 10;
/// Minimum stack in use while libtest waits for its test, in bytes: the frames of half a dozen of
/// its functions. A signal handler's come on top. To exit with 101 it calls exit(3) from less.
const WAITING: u64 = 4 << 10;

/// The program that a process runs.
enum ProgramImage {
    /// The one that was started, with the arguments that it was started with.
    Started,
    /// The same, but perhaps with other arguments.
    Unsure,
    /// Another one.
    Other,
}

impl WardenState {
    /// Notes that a thread of the test in a slot calls exit_group(2). The first that does ends the
    /// process.
    pub fn note_exit(&mut self, slot: usize, process: i32, thread: i32, code: i32) {
        let exit = match thread == process {
            true => self.exit_of_main(slot, process, code),
            false => Exit::Early,
        };
        if let Some(running) =
            self.running.get_mut(&slot).filter(|it| it.seen.exit == Exit::Unknown)
        {
            running.seen.exit = exit;
        }
    }

    /// The thread that `main` runs on does.
    fn exit_of_main(&self, slot: usize, process: i32, code: i32) -> Exit {
        let Some(stat) = Stat::read(process) else { return Exit::MainThread };
        let image = match stat.has_executed() {
            false => ProgramImage::Started,
            true => self.image_of(slot, process).unwrap_or(ProgramImage::Unsure),
        };
        match image {
            ProgramImage::Other => Exit::Early,
            ProgramImage::Unsure => Exit::MainThread,
            // Whether it is a failure of libtest's or the test's own makes no difference.
            ProgramImage::Started if code != 0 => Exit::MainThread,
            ProgramImage::Started => match procfs::stack_pointer(process).zip(stat.stack()) {
                None => Exit::MainThread,
                Some((pointer, bottom)) => match bottom.checked_sub(pointer) {
                    Some(..=RETURNED) => Exit::Returned,
                    Some(..WAITING) => Exit::MainThread,
                    // On a stack for signals, or in a signal handler.
                    Some(_) | None => Exit::Early,
                },
            },
        }
    }

    /// The program that the test in a slot runs, once it has called execve(2); isotest has, where
    /// no fork server has started it. `None` where it cannot be read.
    fn image_of(&self, slot: usize, process: i32) -> Option<ProgramImage> {
        let running = self.running.get(&slot)?;
        let set_up = &self.setups.get(&running.setup)?.setup;
        if procfs::file_name(process)? != set_up.file_name {
            return Some(ProgramImage::Other);
        }
        let bytecode = Bytecode(&set_up.bytecode);
        let shared = strings(&bytecode, header::ARGUMENTS, header::ARGUMENTS_AT).ok()?;
        let own = running.arguments.iter().map(CString::as_c_str);
        let all: Vec<u8> = shared
            .into_iter()
            .chain(own)
            .flat_map(|text| text.to_bytes_with_nul())
            .copied()
            .collect();
        Some(if procfs::command_line(process)? == all {
            ProgramImage::Started
        } else {
            ProgramImage::Unsure
        })
    }

    /// Notes the exit of a test where there is no listener: `process` waits to be reaped.
    pub fn note_unheard(&mut self, process: i32) {
        let Some(stat) = Stat::read(process) else { return };
        let slot = self.slot_of(process).filter(|slot| !self.is_heard(*slot));
        let running = slot.and_then(|slot| self.running.get_mut(&slot));
        if let Some(RunningCase { seen, reaper: false, .. }) = running {
            seen.exit = if stat.was_signalled() { Exit::Early } else { Exit::MainThread };
        }
    }

    /// The slot of the reaping init whose test a process is.
    pub fn init_of(&self, process: i32) -> Option<usize> {
        if !self.running.values().any(|running| running.reaper) {
            return None;
        }
        let init = self.slot_of(procfs::status_field(process, "PPid:")?.parse().ok()?)?;
        let number: i32 =
            procfs::status_field(process, "NSpid:")?.split_whitespace().last()?.parse().ok()?;
        let test = self.cell(init)?.test.load(Ordering::Acquire);
        (self.running.get(&init)?.reaper && number == test).then_some(init)
    }
}
