//! A sandbox that could not be set up: which step, which errno, what it means, what to type.
//!
//! The processes that set a sandbox up tell a [`Fault`], two numbers; the words are found here,
//! from isotest's own copy of the steps. `docs/sandbox.md` lists the refusals.

use std::fmt;

use nix::errno::Errno;

use super::fault::{
    Fault, STEP_CGROUP, STEP_CLONE, STEP_DESCRIPTORS, STEP_DIRECTORY, STEP_FORK, STEP_GUARD,
    STEP_MAPS, STEP_SCRATCH,
};
use super::remedy::hint;
use crate::host::Surroundings;
use crate::plan::Step;

/// A sandbox that could not be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxError {
    /// What could not be done, as an act: "mount proc on `/proc`".
    pub act: String,
    /// The kernel's answer; `None` where the process was killed meanwhile.
    pub errno: Option<Errno>,
    /// Who is known to refuse this, and what to type, where it is known.
    pub hint: Option<String>,
}

impl SandboxError {
    /// Words a fault. `program` and `directory` are those of the plan.
    pub fn new(fault: Fault, steps: &[Step], program: &str, directory: &str) -> Self {
        let errno = (fault.errno != 0).then(|| Errno::from_raw(fault.errno));
        let step = steps.get(fault.step as usize).map(|step| &step.op);
        let act = match (step, fault.step) {
            (Some(op), _) => op.to_string(),
            (None, STEP_CLONE) => "clone a process into new namespaces".to_owned(),
            (None, STEP_CGROUP) => "make a cgroup for the case".to_owned(),
            (None, STEP_SCRATCH) => "make the scratch".to_owned(),
            (None, STEP_MAPS) => "write the id maps of the user namespace".to_owned(),
            (None, STEP_GUARD) => "install the seccomp filter".to_owned(),
            (None, STEP_DESCRIPTORS) => "place the standard descriptors".to_owned(),
            (None, STEP_DIRECTORY) => format!("change directory to `{directory}`"),
            (None, STEP_FORK) => "fork the test below the reaping init".to_owned(),
            (None, _) => format!("execute `{program}`"),
        };
        let around = Surroundings::read();
        let hint = errno.and_then(|errno| hint(fault.step, step, errno, &around));
        SandboxError { act, errno, hint }
    }

    /// The same with another hint.
    pub fn with_hint(self, hint: &str) -> Self {
        SandboxError { hint: Some(hint.to_owned()), ..self }
    }

    /// Whether the machine has said no, and is not merely short of something. ENOSPC is the limit
    /// of namespaces, which is 0 where they are forbidden.
    pub fn is_refusal(&self) -> bool {
        use Errno::{EACCES, EINVAL, ENODEV, ENOSPC, ENOSYS, EPERM};
        let refusals = [EPERM, EACCES, ENOSYS, EINVAL, ENODEV, ENOSPC];
        self.errno.is_some_and(|errno| refusals.contains(&errno))
    }

    /// A fault that has nothing to do with a list of steps.
    pub fn without_steps(step: u32, errno: Errno) -> Self {
        SandboxError::new(Fault { step, errno: errno as i32 }, &[], "", "")
    }
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "cannot {}: {} ({errno:?})", self.act, errno.desc())?,
            None => write!(f, "cannot {}: killed meanwhile", self.act)?,
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for SandboxError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_act_the_errno_and_the_remedy() {
        let error = SandboxError::without_steps(STEP_CLONE, Errno::ENOSPC);
        let text = error.to_string();
        assert!(text.starts_with("cannot clone a process into new namespaces: "), "{text}");
        assert!(text.contains("(ENOSPC)") && text.contains("hint: "), "{text}");
    }
}
