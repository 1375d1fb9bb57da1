//! Services: programs that run beside a test, in its namespaces, and end with it.
//!
//! `docs/services.md` describes them.

use std::ffi::CString;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A program that is ready before the test begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The program, looked for along `PATH`, and its arguments.
    pub command: Vec<CString>,
    /// Sign that it is ready.
    pub ready: Readiness,
    /// Maximum time until then.
    pub timeout: Duration,
}

/// Sign that a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
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

impl fmt::Display for Readiness {
    /// Words behind "when".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Readiness::Tcp(port) => write!(f, "port {port} takes connections"),
            Readiness::Unix(path) => write!(f, "the socket `{path}` takes connections"),
            Readiness::Output(text) => write!(f, "it writes `{text}`"),
            Readiness::Command(words) => write!(f, "`{}` exits with 0", line(words)),
            Readiness::Exit => write!(f, "it exits with 0"),
        }
    }
}

/// A command as one line.
pub fn line(words: &[CString]) -> String {
    words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
