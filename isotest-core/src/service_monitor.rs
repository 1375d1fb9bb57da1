//! The caller's end of a service supervisor: what the services of a case write, whether they are
//! ready, and why one cannot be had.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use crate::capture::Capture;
use crate::outcome::{NotRun, Outcome, ServiceOutput, Verdict};
use crate::plan::{Plan, Service};
use crate::refusal::ServiceError;
use crate::sandbox::{Channel, ServiceEvent, ServiceFault};
use crate::wait_status::ended;

/// Events of the services of one case so far.
#[derive(Debug)]
pub struct ServiceMonitor {
    channel: Channel,
    services: Vec<Service>,
    captures: Vec<Capture>,
    /// Ends of those that have not ended with the case.
    ends: Vec<(u32, i32)>,
    failed: Option<(u32, ServiceFault)>,
}

/// Messages of the supervisor, except output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceProgress {
    /// All services have become ready.
    pub ready: bool,
    /// Nothing more is to come: it has ended.
    pub over: bool,
}

impl ServiceMonitor {
    /// Both ends for a case, the supervisor's second; `None` where it has no services.
    pub fn of(plan: &Plan) -> Result<Option<(ServiceMonitor, Channel)>, Errno> {
        let services = plan.spec.services.clone();
        if services.is_empty() {
            return Ok(None);
        }
        let (channel, theirs) = Channel::pair()?;
        let captures = services.iter().map(|_| Capture::new(plan.output_limit)).collect();
        let monitor =
            ServiceMonitor { channel, services, captures, ends: Vec::new(), failed: None };
        Ok(Some((monitor, theirs)))
    }

    /// Receives what is there now.
    pub fn receive(&mut self) -> ServiceProgress {
        let mut received = ServiceProgress::default();
        loop {
            match self.channel.receive(false) {
                Ok((ServiceEvent::Output(service, bytes), _)) => {
                    if let Some(capture) = self.captures.get_mut(service as usize) {
                        capture.push(&bytes);
                    }
                }
                Ok((ServiceEvent::Ready, _)) => received.ready = true,
                Ok((ServiceEvent::Ended(service, status), _)) => self.ends.push((service, status)),
                Ok((ServiceEvent::Failed(service, fault), _)) => {
                    self.failed = Some((service, fault))
                }
                Err(Errno::EAGAIN) => return received,
                Err(_) => return ServiceProgress { over: true, ..received },
            }
        }
    }

    /// Error of a service.
    pub fn error(&self) -> Option<ServiceError> {
        let (number, fault) = self.failed.as_ref()?;
        Some(fault.describe(self.services.get(*number as usize)?))
    }

    /// Adds all to the outcome of the case, whose supervisor has ended.
    pub fn add_to(mut self, outcome: &mut Outcome) {
        self.receive();
        // Nobody but the warden has killed it, while it waited.
        if let Verdict::NotRun(NotRun::Sandbox(_)) = outcome.verdict
            && let Some(error) = self.error()
        {
            outcome.verdict = Verdict::NotRun(NotRun::Service(error));
        }
        outcome.services = self.outputs();
    }

    /// Output of each service.
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

impl AsFd for ServiceMonitor {
    /// Readable when there is something to hear.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
