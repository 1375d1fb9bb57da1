//! The answer of the user on a terminal, and signals that end the wait for it.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use isotest_core::signals::Signals;

use crate::error::Error;

/// Fails if a signal has asked to end.
pub fn interrupted() -> Result<(), Error> {
    match Signals::asked() {
        Some(signal) => Err(Error::Interrupted(signal)),
        None => Ok(()),
    }
}

/// A line of stdin. A signal ends the wait, which is why another thread reads.
pub fn answer() -> Result<String, Error> {
    const TICK: Duration = Duration::from_millis(50);
    let (send, line) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).map(|_| line);
        // Nobody waits any more after a signal.
        let _ = send.send(read);
    });
    loop {
        match line.recv_timeout(TICK) {
            Ok(read) => return read.map_err(Error::Host),
            Err(RecvTimeoutError::Timeout) => interrupted()?,
            Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
        }
    }
}
