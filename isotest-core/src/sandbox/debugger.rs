//! The process of a debugger: confined to a root of its own between fork and its program.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::child::bytecode::{Bytecode, Values};
use super::child::kernel;
use super::compile;
use super::error::describe;
use super::fault::{Fault, STEP_EXEC};
use crate::plan::Step;
use crate::refusal::SandboxError;

/// A fault of a step is reported through the standard library's pipe, which has room for one number: the
/// errno, and above it the number of the step from 1 on. No errno is as large (MAX_ERRNO of the kernel).
const ERRNO_BITS: u32 = 12;

/// Has a command confined by these steps before it is executed, in the user namespace of the process
/// that `leader` is a pidfd of. Where a step fails nothing is executed; [`explain`] words it.
pub fn confine(command: &mut Command, steps: &[Step], leader: Arc<OwnedFd>) {
    let compiled = compile::steps(steps);
    let confine = move || {
        let (step, unused) = (AtomicU32::new(0), AtomicU32::new(0));
        let user = leader.as_raw_fd();
        let values = Values { step: &step, mapped: &unused, scratch: -1, user, slot: 0 };
        // Until then it is a copy of isotest, and in a namespace of the case.
        kernel::set_dumpable(0)
            // SAFETY: this process is to be confined.
            .and_then(|_| unsafe { Bytecode(&compiled).run(&values) })
            .and_then(|()| kernel::close_from(3, true))
            .map_err(|errno| {
                let step = step.load(Ordering::Relaxed) as i32;
                io::Error::from_raw_os_error((step + 1) << ERRNO_BITS | errno.0)
            })
    };
    // SAFETY: `confine` makes system calls and nothing else.
    unsafe { command.pre_exec(confine) };
}

/// Words why a command that was to be confined by these steps could not be started.
pub fn explain(error: &io::Error, steps: &[Step], program: &str) -> SandboxError {
    let code = error.raw_os_error().unwrap_or(libc::EIO);
    let errno = code & ((1 << ERRNO_BITS) - 1);
    let step = (code >> ERRNO_BITS).checked_sub(1).map_or(STEP_EXEC, |step| step as u32);
    describe(Fault { step, errno }, steps, program, "")
}
