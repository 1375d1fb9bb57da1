//! The caller's terminal: the judge starts the sandbox with one as its controlling terminal, and
//! as standard input where the attempt needs it.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;

use crate::calls::{at, call};
use crate::{Attempt, Escapes, Facts, escape_if};

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("type_into_terminal", type_into_terminal),
    ("select_on_console", select_on_console),
    ("controlling_terminal", controlling_terminal),
    ("take_terminal", take_terminal),
];

/// TIOCSTI on whatever terminal is at hand; the judge looks whether something was typed.
fn type_into_terminal(_: &Facts) -> Escapes {
    let controlling = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let more = controlling.as_ref().map(|file| file.as_raw_fd());
    for fd in [0, 1, 2].into_iter().chain(more) {
        for byte in b"escaped\n" {
            let _ = call(libc::SYS_ioctl, &[fd as u64, libc::TIOCSTI, at(byte)]);
            // The upper half of the request is not the kernel's business, but may be a filter's.
            let wide = libc::TIOCSTI | 1 << 32;
            let _ = call(libc::SYS_ioctl, &[fd as u64, wide, at(byte)]);
        }
    }
    Vec::new()
}

/// TIOCLINUX, CVE-2023-28100. Subcode 6 only asks for the state of the shift keys.
fn select_on_console(_: &Facts) -> Escapes {
    const TIOCLINUX: u64 = 0x541C;
    let mut answered = Vec::new();
    for fd in 0..3_u64 {
        let subcode = 6_u8;
        let answer = call(libc::SYS_ioctl, &[fd, TIOCLINUX, at(&subcode)]);
        answered.extend(escape_if(answer.is_ok(), || format!("descriptor {fd} is a console")));
    }
    answered
}

fn controlling_terminal(_: &Facts) -> Escapes {
    let names = ["/dev/tty", "/dev/console"];
    let opens = |name: &&&str| OpenOptions::new().read(true).write(true).open(name).is_ok();
    names.iter().filter(opens).map(|name| format!("opened {name}")).collect()
}

/// The foreground of the terminal must not be the payload's to take.
fn take_terminal(facts: &Facts) -> Escapes {
    use std::os::unix::fs::OpenOptionsExt;
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open(&facts.terminal);
    let Ok(file) = opened else { return Vec::new() };
    let pending = call(libc::SYS_ioctl, &[file.as_raw_fd() as u64, libc::TIOCGPGRP, at(&0_i32)]);
    escape_if(true, || format!("opened {} ({pending:?})", facts.terminal.display()))
}
