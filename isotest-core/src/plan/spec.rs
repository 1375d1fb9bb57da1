//! The specification of a sandbox, which all cases of one binary under one policy share.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

use super::interpose::Interposed;
use super::service::Service;
use super::steps::{Op, Step};
use crate::perturbation::Perturbations;

/// Sandbox of several cases: those of one binary under one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Default))]
pub struct SandboxSpec {
    /// The program.
    pub program: CString,
    /// Its arguments from `argv[0]` on, up to the case's own.
    pub arguments: Vec<CString>,
    /// Its environment, as `NAME=VALUE`.
    pub environment: Vec<CString>,
    /// Its working directory.
    pub directory: CString,
    /// Steps between clone and the program.
    pub steps: Vec<Step>,
    /// CLONE_NEW* flags.
    pub namespaces: u64,
    /// CLONE_NEW* flags of those that its cases share with the others of their warden.
    pub shared_namespaces: u64,
    /// The child enters the user namespace, and most others, by one of its steps: a user namespace
    /// that the warden makes with the id maps.
    pub sealed: bool,
    /// PID 1 is a reaping init.
    pub reaper: bool,
    /// The uid map and the gid map that the warden writes, where the child may not.
    pub id_maps: Option<(Vec<u8>, Vec<u8>)>,
    /// The filesystem of its scratch.
    pub scratch: ScratchMount,
    /// Limits for all its processes together, where it gets a control group.
    pub group: GroupLimits,
    /// Way in which its cases are started.
    pub start_by: StartBy,
    /// Steps of a fork server before it is executed.
    pub server: Vec<Step>,
    /// What the preloaded library changes for its cases; `None`: they do not have it.
    pub interposed: Option<Interposed>,
    /// Services beside each of its cases, in the order of starting.
    pub services: Vec<Service>,
    /// Its perturbations. Some are steps; others take place when its standard descriptors are placed,
    /// or are the warden's work while it runs.
    pub perturbations: Perturbations,
}

impl SandboxSpec {
    /// CLONE_NEW* flags of the namespaces of a case that are not the host's.
    pub fn namespaces_of_sandbox(&self) -> u64 {
        self.namespaces | self.shared_namespaces
    }

    /// The same with services, which are ready before the program begins. They need a pid namespace
    /// that ends with the case.
    pub fn with_services(mut self, services: Vec<Service>) -> SandboxSpec {
        if !services.is_empty() {
            let reason = "they are ready before the program begins".into();
            self.steps.push(Step { op: Op::AwaitServices, reason });
            self.services = services;
        }
        self
    }
}

/// The ways to start a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartBy {
    /// A fork server made of its binary, where enough cases are to come.
    #[default]
    ForkServer,
    /// execve(2), for this reason, which `explain` shows.
    Exec(&'static str),
}

impl StartBy {
    /// The same, or execve(2) where there is a reason for it and none before.
    #[must_use]
    pub fn or_exec(self, reason: Option<&'static str>) -> StartBy {
        match (self, reason) {
            (StartBy::ForkServer, Some(reason)) => StartBy::Exec(reason),
            (StartBy::ForkServer | StartBy::Exec(_), _) => self,
        }
    }
}

/// The filesystem of a case's scratch, which the warden makes and holds on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Default))]
pub enum ScratchMount {
    /// A tmpfs.
    Memory {
        /// Its size in bytes.
        size: u64,
    },
    /// A directory of the run's on disk.
    #[cfg_attr(test, default)]
    Disk,
}

/// Limits for all processes of a case together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupLimits {
    /// Bytes of memory, `memory.max`. Nothing is swapped then.
    pub memory: Option<u64>,
    /// Processes and threads, `pids.max`.
    pub processes: u64,
}
