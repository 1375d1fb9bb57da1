//! The caller's end of a service supervisor: what the services of a case write, whether they are
//! ready, and why one cannot be had.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use crate::collect::Capture;
use crate::outcome::{Captured, NotRun, Outcome, Verdict};
use crate::plan::{Plan, Service};
use crate::sandbox::service::ended;
use crate::sandbox::{Channel, ServiceError, ServiceFault, Told};

/// What services of one case have told so far.
#[derive(Debug)]
pub struct Served {
    channel: Channel,
    services: Vec<Service>,
    captures: Vec<Capture>,
    /// How those ended that have not ended with the case.
    ends: Vec<(u32, i32)>,
    failed: Option<(u32, ServiceFault)>,
}

/// What hearing a service supervisor came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// All services have become ready.
    pub ready: bool,
    /// Nothing more is to come: it has ended.
    pub over: bool,
}

/// What one service left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOutput {
    /// The service.
    pub name: String,
    /// What it wrote, both streams in the order of writing.
    pub output: Captured,
    /// How it ended, behind its name, where it was not ended with the case.
    pub ended: Option<String>,
}

impl Served {
    /// Both ends for a case, the supervisor's second; `None` where it has no services.
    pub fn of(plan: &Plan) -> Result<Option<(Served, Channel)>, Errno> {
        let services = plan.setup.services.clone();
        if services.is_empty() {
            return Ok(None);
        }
        let (channel, theirs) = Channel::pair()?;
        let captures = services.iter().map(|_| Capture::new(plan.output_limit)).collect();
        let served = Served { channel, services, captures, ends: Vec::new(), failed: None };
        Ok(Some((served, theirs)))
    }

    /// Takes what is there now.
    pub fn hear(&mut self) -> Heard {
        let mut heard = Heard::default();
        loop {
            match self.channel.receive(false) {
                Ok((Told::Output(service, bytes), _)) => {
                    if let Some(capture) = self.captures.get_mut(service as usize) {
                        capture.push(&bytes);
                    }
                }
                Ok((Told::Ready, _)) => heard.ready = true,
                Ok((Told::Ended(service, status), _)) => self.ends.push((service, status)),
                Ok((Told::Failed(service, fault), _)) => self.failed = Some((service, fault)),
                Err(Errno::EAGAIN) => return heard,
                Err(_) => return Heard { over: true, ..heard },
            }
        }
    }

    /// Why a service could not be had.
    pub fn error(&self) -> Option<ServiceError> {
        let (number, fault) = self.failed.clone()?;
        let service = self.services.get(number as usize)?.clone();
        Some(ServiceError { service, fault })
    }

    /// Adds all to the outcome of the case, whose supervisor has ended.
    pub fn add_to(mut self, outcome: &mut Outcome) {
        self.hear();
        // Nobody but the warden has killed it, while it waited.
        if let Verdict::NotRun(NotRun::Sandbox(_)) = outcome.verdict
            && let Some(error) = self.error()
        {
            outcome.verdict = Verdict::NotRun(NotRun::Service(error));
        }
        outcome.services = self.outputs();
    }

    /// What each service left.
    pub fn outputs(self) -> Vec<ServiceOutput> {
        let outputs = self.services.into_iter().zip(self.captures).zip(0..);
        let output = |((service, capture), number): ((Service, Capture), u32)| {
            let end = self.ends.iter().find(|(ended, _)| *ended == number);
            let ended = end.map(|(_, status)| ended(*status));
            ServiceOutput { name: service.name, output: capture.finish(), ended }
        };
        outputs.map(output).collect()
    }
}

impl AsFd for Served {
    /// Readable when there is something to hear.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
