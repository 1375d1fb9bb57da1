//! A sandbox that could not be set up: which step, which errno, what it means, what to type.

use std::fmt;

use nix::errno::Errno;

/// Where setting up stopped, and the kernel's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    /// Which step.
    pub step: u32,
    /// The errno.
    pub errno: i32,
}

/// A sandbox that could not be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxError {
    /// The step, as an act: "mount proc on `/proc`".
    pub step: String,
    /// The kernel's answer.
    pub errno: Errno,
    /// What is known to refuse this and what to type, where it is known.
    pub hint: Option<String>,
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {} ({:?})", self.step, self.errno.desc(), self.errno)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SandboxError {}
