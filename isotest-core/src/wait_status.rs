//! The words for signals and wait statuses (wait(2)).

use nix::sys::signal::Signal;

/// The name of a signal, as `SIGABRT`; `signal 99` where it has none.
pub fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) => format!("signal {signal}"),
    }
}

/// Words for the end of a program, behind its name: `exited with 1`, `was killed by SIGKILL`.
pub fn ended(status: i32) -> String {
    match libc::WIFEXITED(status) {
        true => format!("exited with {}", libc::WEXITSTATUS(status)),
        false => format!("was killed by {}", signal_name(libc::WTERMSIG(status))),
    }
}
