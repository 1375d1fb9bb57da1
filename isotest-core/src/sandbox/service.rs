//! What a supervisor (`sandbox::service_supervisor`) tells of services, and what it means where one cannot be
//! had.

use std::fmt;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::plan::{Ready, Service, line};

/// What a service supervisor tells. Services go by their place in the list of their set-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// A service has written.
    Output(u32, Vec<u8>),
    /// All are ready.
    Ready,
    /// A service has ended while the test ran, with this wait status (wait(2)).
    Ended(u32, i32),
    /// A service cannot be had.
    Failed(u32, ServiceFault),
}

/// Why a service cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceFault {
    /// The supervisor could not enter the namespaces of the case: an errno.
    Join(i32),
    /// The program could not be executed: an errno.
    Execute(i32),
    /// It ended before it was ready, with this wait status.
    Ended(i32),
    /// Its time was up. For a command that asks it: what the last one came to.
    NotReady(Option<Asked>),
    /// The command that asks it could not be executed: an errno.
    Ask(i32),
}

/// What a command that asks for readiness came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// It ended with this wait status.
    Ended(i32),
    /// It had not ended.
    Running,
}

/// A service that a case could not be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// The service.
    pub service: Service,
    /// Why.
    pub fault: ServiceFault,
}

impl ServiceError {
    /// What to do.
    fn hint(&self) -> String {
        let name = &self.service.name;
        match &self.fault {
            ServiceFault::Join(_) => {
                "`cargo isotest doctor` tries each part of the sandbox by itself".to_owned()
            }
            ServiceFault::Execute(errno) | ServiceFault::Ask(errno)
                if Errno::from_raw(*errno) == Errno::ENOENT =>
            {
                "commands are looked for along PATH in the sandbox, and relative to the package; \
                 give the whole path, and `ro` for what is not shown there"
                    .to_owned()
            }
            ServiceFault::Execute(_) | ServiceFault::Ask(_) => {
                "`cargo isotest explain CASE` shows the sandbox that it is started in".to_owned()
            }
            ServiceFault::Ended(0) => format!(
                "it must stay in the foreground, not become a daemon; one that only prepares \
                 something has `ready = \"exit\"` in `[service.{name}]`"
            ),
            ServiceFault::Ended(_) => "what it wrote stands with the test".to_owned(),
            ServiceFault::NotReady(_) => {
                format!("`timeout` in `[service.{name}]` gives it more time")
            }
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Service { name, command, ready, timeout } = &self.service;
        let errno = |errno: &i32| {
            let errno = Errno::from_raw(*errno);
            format!("{} ({errno:?})", errno.desc())
        };
        write!(f, "cannot start the service `{name}`: ")?;
        match &self.fault {
            ServiceFault::Join(number) => {
                write!(f, "cannot enter the namespaces of the case: {}", errno(number))
            }
            ServiceFault::Execute(number) => {
                write!(f, "cannot execute `{}`: {}", line(command), errno(number))
            }
            ServiceFault::Ended(status) => {
                let (program, ready) = (line(command), told(ready, true));
                write!(f, "`{program}` {} before {ready}", ended(*status))
            }
            ServiceFault::NotReady(last) => {
                write!(f, "{} within {timeout:?}", told(ready, false))?;
                match last {
                    Some(Asked::Ended(status)) => {
                        write!(f, " (the last time it {})", ended(*status))
                    }
                    Some(Asked::Running) => write!(f, " (it was still running)"),
                    None => Ok(()),
                }
            }
            ServiceFault::Ask(number) => match ready {
                Ready::Command(words) => {
                    write!(f, "cannot execute `{}`: {}", line(words), errno(number))
                }
                Ready::Tcp(_) | Ready::Unix(_) | Ready::Output(_) | Ready::Exit => {
                    write!(f, "cannot ask whether {ready}: {}", errno(number))
                }
            },
        }?;
        write!(f, "\nhint: {}", self.hint())
    }
}

impl std::error::Error for ServiceError {}

/// The event that was waited for, behind "before" or, where it did not happen, as a sentence.
fn told(ready: &Ready, happened: bool) -> String {
    let connections = if happened { "took connections" } else { "took no connections" };
    match ready {
        Ready::Tcp(port) => format!("port {port} {connections}"),
        Ready::Unix(path) => format!("the socket `{path}` {connections}"),
        Ready::Output(text) if happened => format!("it wrote `{text}`"),
        Ready::Output(text) => format!("it did not write `{text}`"),
        Ready::Command(words) if happened => format!("`{}` exited with 0", line(words)),
        Ready::Command(words) => format!("`{}` did not exit with 0", line(words)),
        Ready::Exit if happened => "what it prepares was ready".to_owned(),
        Ready::Exit => "it did not end".to_owned(),
    }
}

/// What a wait status says, behind the name of a program.
pub fn ended(status: i32) -> String {
    match libc::WIFEXITED(status) {
        true => format!("exited with {}", libc::WEXITSTATUS(status)),
        false => {
            let number = libc::WTERMSIG(status);
            let name = Signal::try_from(number).map(|signal| signal.as_str().to_owned());
            format!("was killed by {}", name.unwrap_or_else(|_| format!("signal {number}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn error(ready: Ready, fault: ServiceFault) -> String {
        let command = vec![c"server".to_owned(), c"-v".to_owned()];
        let timeout = Duration::from_secs(2);
        let service = Service { name: "db".to_owned(), command, ready, timeout };
        ServiceError { service, fault }.to_string()
    }

    #[test]
    fn an_error_names_the_service_the_cause_and_the_remedy() {
        let text = error(Ready::Tcp(5432), ServiceFault::Ended(1 << 8));
        let first = "cannot start the service `db`: `server -v` exited with 1 before port 5432 took connections\nhint: ";
        assert!(text.starts_with(first), "{text}");
        let text = error(Ready::Exit, ServiceFault::Execute(libc::ENOENT));
        assert!(text.contains("cannot execute `server -v`: No such file or directory (ENOENT)"));
        let asks = Ready::Command(vec![c"ping".to_owned()]);
        let text = error(asks, ServiceFault::NotReady(Some(Asked::Ended(libc::SIGSEGV))));
        assert!(
            text.contains(
                "`ping` did not exit with 0 within 2s (the last time it was killed by SIGSEGV)"
            ),
            "{text}"
        );
    }
}
