//! Refusals: why a sandbox, or a service of it, could not be had, and what to type.
//!
//! Plain data. The words are made where a refusal is met.

use std::fmt;

use nix::errno::Errno;

use crate::serialized;

/// A sandbox that could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SandboxError {
    /// Action that failed: "mount proc on `/proc`".
    pub act: String,
    /// The kernel's answer; `None` where the process was killed meanwhile.
    #[serde(with = "serialized::errno")]
    pub errno: Option<Errno>,
    /// Likely cause and a remedy, where they are known.
    pub hint: Option<String>,
}

impl SandboxError {
    /// The same with another hint.
    pub fn with_hint(self, hint: &str) -> Self {
        SandboxError { hint: Some(hint.to_owned()), ..self }
    }

    /// True if the machine forbids it, and is not merely short of something. ENOSPC is the limit of
    /// namespaces, which is 0 where they are forbidden.
    pub fn is_refusal(&self) -> bool {
        use Errno::{EACCES, EINVAL, ENODEV, ENOSPC, ENOSYS, EPERM};
        let refusals = [EPERM, EACCES, ENOSYS, EINVAL, ENODEV, ENOSPC];
        self.errno.is_some_and(|errno| refusals.contains(&errno))
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

/// A service that a case could not be given.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServiceError {
    /// The name of the service.
    pub service: String,
    /// Reason why it could not be started, or was not ready.
    pub cause: String,
    /// Remedy, or a place to look.
    pub hint: String,
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServiceError { service, cause, hint } = self;
        write!(f, "cannot start the service `{service}`: {cause}\nhint: {hint}")
    }
}

impl std::error::Error for ServiceError {}
