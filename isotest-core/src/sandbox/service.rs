//! Services: programs that run beside a test, in its namespaces, and end with it.
//!
//! Plain data: what is started, what its supervisor (`sandbox::service_supervisor`) tells of it,
//! and what it means where it cannot be had. `docs/services.md` describes them.

use std::ffi::CString;
use std::fmt;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// A program that is ready before the test begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What it is called.
    pub name: String,
    /// The program, looked for along `PATH`, and its arguments.
    pub command: Vec<CString>,
    /// When it is ready.
    pub ready: Ready,
    /// How long that may take.
    pub timeout: Duration,
}

/// What shows that a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    /// This port of the loopback interface takes connections.
    Tcp(u16),
    /// The unix socket of this path takes connections.
    Unix(String),
    /// It has written a line with this text in it, to stdout or stderr.
    Output(String),
    /// This command exits with 0.
    Command(Vec<CString>),
    /// It has itself exited with 0: it prepares something.
    Exit,
}

impl Ready {
    /// What was waited for, behind "before" or, where it did not happen, as a sentence.
    fn told(&self, happened: bool) -> String {
        let connections = if happened { "took connections" } else { "took no connections" };
        match self {
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
}

impl fmt::Display for Ready {
    /// What is waited for, behind "when".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ready::Tcp(port) => write!(f, "port {port} takes connections"),
            Ready::Unix(path) => write!(f, "the socket `{path}` takes connections"),
            Ready::Output(text) => write!(f, "it writes `{text}`"),
            Ready::Command(words) => write!(f, "`{}` exits with 0", line(words)),
            Ready::Exit => write!(f, "it exits with 0"),
        }
    }
}

/// A command as one line.
pub fn line(words: &[CString]) -> String {
    words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

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
                let (program, ready) = (line(command), ready.told(true));
                write!(f, "`{program}` {} before {ready}", ended(*status))
            }
            ServiceFault::NotReady(last) => {
                write!(f, "{} within {timeout:?}", ready.told(false))?;
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
