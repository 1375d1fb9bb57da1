//! The words for a sandbox that could not be set up: which step, which errno, what it means, what to type.
//!
//! The processes that set a sandbox up tell a [`Fault`], two numbers; the words are found here,
//! from isotest's own copy of the steps. `docs/sandbox.md` lists the refusals.

use nix::errno::Errno;

use super::fault::{
    Fault, STEP_CGROUP, STEP_CLONE, STEP_DESCRIPTORS, STEP_DIRECTORY, STEP_FORK, STEP_GUARD,
    STEP_INTERPOSE, STEP_LAB, STEP_MAPS, STEP_SCRATCH, STEP_TRACE,
};
use super::remedy::hint;
use crate::host::Surroundings;
use crate::plan::Step;
use crate::refusal::SandboxError;

/// The act of showing another time and the like.
const INTERPOSE: &str = "change what the tests see of time, random bytes, directories or pipes";

/// The words for a fault. `program` and `directory` are those of the plan.
pub fn describe(fault: Fault, steps: &[Step], program: &str, directory: &str) -> SandboxError {
    let errno = (fault.errno != 0).then(|| Errno::from_raw(fault.errno));
    let step = steps.get(fault.step as usize).map(|step| &step.op);
    let act = match (step, fault.step) {
        (Some(op), _) => op.to_string(),
        (None, STEP_CLONE) => "clone a process into new namespaces".to_owned(),
        (None, STEP_CGROUP) => "make a cgroup for the case".to_owned(),
        (None, STEP_LAB) => "end what is left in the lab of the cases".to_owned(),
        (None, STEP_INTERPOSE) => INTERPOSE.to_owned(),
        (None, STEP_SCRATCH) => "make the scratch".to_owned(),
        (None, STEP_MAPS) => "write the id maps of the user namespace".to_owned(),
        (None, STEP_GUARD) => "install the seccomp filter".to_owned(),
        (None, STEP_TRACE) => "trace the test's system calls".to_owned(),
        (None, STEP_DESCRIPTORS) => "place the standard descriptors".to_owned(),
        (None, STEP_DIRECTORY) => format!("change directory to `{directory}`"),
        (None, STEP_FORK) => "fork the test below the reaping init".to_owned(),
        (None, _) => format!("execute `{program}`"),
    };
    let around = Surroundings::read();
    let hint = errno.and_then(|errno| hint(fault.step, step, errno, &around));
    SandboxError { act, errno, hint }
}

/// The words for an errno that has nothing to do with a list of steps.
pub fn describe_errno(step: u32, errno: Errno) -> SandboxError {
    describe(Fault { step, errno: errno as i32 }, &[], "", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_act_the_errno_and_the_remedy() {
        let error = describe_errno(STEP_CLONE, Errno::ENOSPC);
        let text = error.to_string();
        assert!(text.starts_with("cannot clone a process into new namespaces: "), "{text}");
        assert!(text.contains("(ENOSPC)") && text.contains("hint: "), "{text}");
    }
}
