//! A sandbox that could not be set up: which step, which errno, what it means, what to type.
//!
//! The processes that set a sandbox up tell a [`Fault`], two numbers; the words are found here,
//! from isotest's own copy of the steps. `docs/sandbox.md` lists the refusals.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

pub use super::inside::launch::{
    STAGE_CLONE, STAGE_DESCRIPTORS, STAGE_DIRECTORY, STAGE_EXEC, STAGE_FORK,
};
use super::steps::{Op, Step};

/// [`Fault::stage`] of making the control group of a case.
pub const STAGE_CGROUP: u32 = u32::MAX - 8;
/// [`Fault::stage`] of making the scratch that the warden hands over.
pub const STAGE_SCRATCH: u32 = u32::MAX - 7;
/// [`Fault::stage`] of writing the warden's id maps.
pub const STAGE_MAPS: u32 = u32::MAX - 5;
/// [`Fault::stage`] of installing the guard.
pub const STAGE_GUARD: u32 = u32::MAX - 4;

/// Where setting up stopped, and the kernel's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The index of a step, or a `STAGE_` number.
    pub stage: u32,
    /// The errno; 0 where the process was killed at that stage.
    pub errno: i32,
}

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
        let step = steps.get(fault.stage as usize).map(|step| &step.op);
        let act = match (step, fault.stage) {
            (Some(op), _) => op.to_string(),
            (None, STAGE_CLONE) => "clone a process into new namespaces".to_owned(),
            (None, STAGE_CGROUP) => "make a cgroup for the case".to_owned(),
            (None, STAGE_SCRATCH) => "make the scratch".to_owned(),
            (None, STAGE_MAPS) => "write the id maps of the user namespace".to_owned(),
            (None, STAGE_GUARD) => "install the seccomp filter".to_owned(),
            (None, STAGE_DESCRIPTORS) => "place the standard descriptors".to_owned(),
            (None, STAGE_DIRECTORY) => format!("change directory to `{directory}`"),
            (None, STAGE_FORK) => "fork the test below the reaping init".to_owned(),
            (None, _) => format!("execute `{program}`"),
        };
        let hint = errno.and_then(|errno| hint(fault.stage, step, errno));
        SandboxError { act, errno, hint: hint.map(str::to_owned) }
    }

    /// The same with another hint.
    pub fn with_hint(self, hint: &str) -> Self {
        SandboxError { hint: Some(hint.to_owned()), ..self }
    }

    /// Whether the machine has said no, and is not merely short of something. ENOSPC is the limit of
    /// namespaces, which is 0 where they are forbidden.
    pub fn is_refusal(&self) -> bool {
        use Errno::{EACCES, EINVAL, ENODEV, ENOSPC, ENOSYS, EPERM};
        let refusals = [EPERM, EACCES, ENOSYS, EINVAL, ENODEV, ENOSPC];
        self.errno.is_some_and(|errno| refusals.contains(&errno))
    }

    /// A fault that has nothing to do with a list of steps.
    pub fn without_steps(stage: u32, errno: Errno) -> Self {
        SandboxError::new(Fault { stage, errno: errno as i32 }, &[], "", "")
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

const HINT_CONTAINER: &str = "a container's seccomp profile or a chroot refuses namespaces; start \
     the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined \
     --security-opt systempaths=unconfined`";
const HINT_LIMIT: &str = "the limit of namespaces is reached; raise it: `sudo sysctl -w \
     user.max_user_namespaces=65536 user.max_net_namespaces=65536`";
/// Two that refuse in the same way; `doctor` reads which of them is there.
const HINT_CAPABILITIES: &str = "a security module takes the capabilities of new user namespaces \
     away; AppArmor does (Ubuntu 23.10 and later) where `cargo isotest doctor` says that it \
     restricts them: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`";
const HINT_REFUSED: &str = "a container's seccomp profile refuses it: start the container with \
     `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`; or AppArmor does \
     (Ubuntu 23.10 and later): `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`. \
     `cargo isotest doctor` says which of them is there";
/// Linux 5.12, kernel/user_namespace.c `verify_root_map`.
pub(super) const HINT_ROOT_WITHOUT_CAPABILITIES: &str = "uid 0 without CAP_SETFCAP cannot be \
     mapped into a user namespace; inside isotest: start the outer one as an ordinary user";
const HINT_PROC: &str = "parts of the caller's /proc are masked or read-only, as in a \
     container, in bubblewrap, or inside isotest as root, so the kernel refuses a fresh one; start \
     the container with `--security-opt systempaths=unconfined` (Podman: `unmask=ALL`), the outer \
     isotest as an ordinary user";
const HINT_PIVOT: &str = "a container's seccomp profile refuses pivot_root(2), or the root is \
     an initramfs; start the container with `--security-opt seccomp=unconfined`";
const HINT_OVERLAY: &str = "the kernel is older than 5.11, or a filesystem cannot be a layer: \
     one that is an overlay itself cannot hold `--scratch disk`; otherwise use `--workspace shared` or `--workspace readonly`";
const HINT_LINK: &str = "a part of that path is a symbolic link, or has become one meanwhile; none \
     is followed there: replace it by what it leads to";
const HINT_KERNEL: &str = "the kernel is too old (5.12 or later is needed) or built without \
     user namespaces, or a container's seccomp profile is older than the call";
const HINT_EXEC: &str = "the file or its ELF interpreter is not visible in the sandbox; was it \
     removed after the build? `--ro PATH` makes a path visible";

/// Who is known to refuse this, by the table of `docs/sandbox.md`.
fn hint(stage: u32, op: Option<&Op>, errno: Errno) -> Option<&'static str> {
    match (op, stage, errno) {
        (None, STAGE_CLONE, Errno::ENOSPC) => Some(HINT_LIMIT),
        (None, STAGE_CLONE, Errno::EPERM | Errno::ENOSYS) => Some(HINT_CONTAINER),
        (None, STAGE_CLONE, Errno::EINVAL) => Some(HINT_KERNEL),
        (None, STAGE_CLONE | STAGE_MAPS, Errno::EACCES | Errno::EPERM) => Some(HINT_CAPABILITIES),
        (None, STAGE_GUARD, Errno::EPERM | Errno::EACCES | Errno::ENOSYS) => Some(HINT_REFUSED),
        (None, STAGE_EXEC, Errno::ENOENT) => Some(HINT_EXEC),
        (Some(op), _, errno) => hint_for_step(op, errno),
        _ => None,
    }
}

fn hint_for_step(op: &Op, errno: Errno) -> Option<&'static str> {
    // ENOSYS of an old call too is a filter's answer.
    let refused = matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS);
    match op {
        Op::Mount { fstype, .. } if fstype.as_bytes() == b"proc" && refused => Some(HINT_PROC),
        Op::Mount { fstype, .. } if fstype.as_bytes() == b"overlay" => Some(HINT_OVERLAY),
        Op::BindExact { .. } if errno == Errno::ELOOP => Some(HINT_LINK),
        Op::PivotRoot { .. } => Some(HINT_PIVOT),
        Op::Attributes { .. } if errno == Errno::ENOSYS => Some(HINT_KERNEL),
        _ if refused => Some(HINT_REFUSED),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_act_the_errno_and_the_remedy() {
        let error = SandboxError::without_steps(STAGE_CLONE, Errno::ENOSPC);
        let text = error.to_string();
        assert!(text.starts_with("cannot clone a process into new namespaces: "), "{text}");
        assert!(text.contains("(ENOSPC)") && text.contains("hint: "), "{text}");
    }
}
