//! Events that the supervisor of a case (`sandbox::service_supervisor`) sends, and the words for a
//! service that could not be had.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::plan::{Readiness, Service, line};
use crate::refusal::ServiceError;
use crate::wait_status::ended;

/// An event of the services of a case, which go by their place in the list of their set-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceEvent {
    /// A service has written.
    Output(u32, Vec<u8>),
    /// All are ready.
    Ready,
    /// A service has ended while the test ran, with this wait status (wait(2)).
    Ended(u32, i32),
    /// A service cannot be had.
    Failed(u32, ServiceFault),
}

/// Reason why a service is not available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceFault {
    /// The supervisor could not enter the namespaces of the case: an errno.
    Join(i32),
    /// The program could not be executed: an errno.
    Execute(i32),
    /// It ended before it was ready, with this wait status.
    Ended(i32),
    /// Its time was up. For a command that asks it: the last result.
    NotReady(Option<ProbeResult>),
    /// The command that asks it could not be executed: an errno.
    Probe(i32),
}

/// Result of a command that asks whether a service is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    /// It ended with this wait status.
    Ended(i32),
    /// It had not ended.
    Running,
}

impl ServiceFault {
    /// The words for a service that could not be had for this fault.
    pub fn describe(&self, service: &Service) -> ServiceError {
        ServiceError {
            service: service.name.clone(),
            cause: self.cause(service),
            hint: self.hint(&service.name),
        }
    }

    fn cause(&self, service: &Service) -> String {
        let Service { command, ready, timeout, .. } = service;
        let errno = |errno: &i32| {
            let errno = Errno::from_raw(*errno);
            format!("{} ({errno:?})", errno.desc())
        };
        match self {
            ServiceFault::Join(number) => {
                format!("cannot enter the namespaces of the case: {}", errno(number))
            }
            ServiceFault::Execute(number) => {
                format!("cannot execute `{}`: {}", line(command), errno(number))
            }
            ServiceFault::Ended(status) => {
                format!("`{}` {} before {}", line(command), ended(*status), event(ready, true))
            }
            ServiceFault::NotReady(last) => {
                let last = match last {
                    Some(ProbeResult::Ended(status)) => {
                        format!(" (the last time it {})", ended(*status))
                    }
                    Some(ProbeResult::Running) => " (it was still running)".to_owned(),
                    None => String::new(),
                };
                format!("{} within {timeout:?}{last}", event(ready, false))
            }
            ServiceFault::Probe(number) => match ready {
                Readiness::Command(words) => {
                    format!("cannot execute `{}`: {}", line(words), errno(number))
                }
                Readiness::Tcp(_) | Readiness::Unix(_) | Readiness::Output(_) | Readiness::Exit => {
                    format!("cannot check whether {ready}: {}", errno(number))
                }
            },
        }
    }

    fn hint(&self, name: &str) -> String {
        match self {
            ServiceFault::Join(_) => {
                "`cargo isotest doctor` checks each part of the sandbox".to_owned()
            }
            ServiceFault::Execute(errno) | ServiceFault::Probe(errno)
                if Errno::from_raw(*errno) == Errno::ENOENT =>
            {
                "commands are looked up on PATH in the sandbox and relative to the package; give \
                 the full path, and show it with `ro`"
                    .to_owned()
            }
            ServiceFault::Execute(_) | ServiceFault::Probe(_) => {
                "`cargo isotest explain CASE` shows its sandbox".to_owned()
            }
            ServiceFault::Ended(0) => format!(
                "it must stay in the foreground, not become a daemon; one that only prepares \
                 something has `ready = \"exit\"` in `[service.{name}]`"
            ),
            ServiceFault::Ended(_) => "its output is shown with the test".to_owned(),
            ServiceFault::NotReady(_) => {
                format!("`timeout` in `[service.{name}]` gives it more time")
            }
        }
    }
}

/// The event that was waited for, behind "before" or, where it did not happen, as a sentence.
fn event(ready: &Readiness, happened: bool) -> String {
    let connections = if happened { "took connections" } else { "took no connections" };
    match ready {
        Readiness::Tcp(port) => format!("port {port} {connections}"),
        Readiness::Unix(path) => format!("the socket `{path}` {connections}"),
        Readiness::Output(text) if happened => format!("it wrote `{text}`"),
        Readiness::Output(text) => format!("it did not write `{text}`"),
        Readiness::Command(words) if happened => format!("`{}` exited with 0", line(words)),
        Readiness::Command(words) => format!("`{}` did not exit with 0", line(words)),
        Readiness::Exit if happened => "it had finished".to_owned(),
        Readiness::Exit => "it did not end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn error(ready: Readiness, fault: ServiceFault) -> String {
        let command = vec![c"server".to_owned(), c"-v".to_owned()];
        let timeout = Duration::from_secs(2);
        let service = Service { name: "db".to_owned(), command, ready, timeout };
        fault.describe(&service).to_string()
    }

    #[test]
    fn an_error_names_the_service_the_cause_and_the_remedy() {
        let text = error(Readiness::Tcp(5432), ServiceFault::Ended(1 << 8));
        let first = "cannot start the service `db`: `server -v` exited with 1 before port 5432 took connections\nhint: ";
        assert!(text.starts_with(first), "{text}");
        let text = error(Readiness::Exit, ServiceFault::Execute(libc::ENOENT));
        assert!(text.contains("cannot execute `server -v`: No such file or directory (ENOENT)"));
        let asks = Readiness::Command(vec![c"ping".to_owned()]);
        let text = error(asks, ServiceFault::NotReady(Some(ProbeResult::Ended(libc::SIGSEGV))));
        assert!(
            text.contains(
                "`ping` did not exit with 0 within 2s (the last time it was killed by SIGSEGV)"
            ),
            "{text}"
        );
    }
}
