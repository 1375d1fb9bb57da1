//! System V IPC, POSIX message queues, shared memory, kernel keys.

use nix::errno::Errno;

use crate::calls::{at, at_mut, c, call};
use crate::{Attempt, Escapes, Facts, escape_if};

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("system_v_memory", system_v_memory),
    ("system_v_semaphores", system_v_semaphores),
    ("system_v_queue", system_v_queue),
    ("system_v_listing", system_v_listing),
    ("posix_queue", posix_queue),
    ("shared_memory_file", shared_memory_file),
    ("session_key", session_key),
    ("user_key", user_key),
    ("key_by_number", key_by_number),
    ("key_description", key_description),
    ("key_upcall", key_upcall),
];

fn system_v_memory(facts: &Facts) -> Escapes {
    let found = call(libc::SYS_shmget, &[facts.system_v as u64, 0, 0o600]);
    escape_if(found.is_ok(), || "opened the host's shared memory".to_owned())
}

fn system_v_semaphores(facts: &Facts) -> Escapes {
    let found = call(libc::SYS_semget, &[facts.system_v as u64, 0, 0o600]);
    escape_if(found.is_ok(), || "opened the host's semaphores".to_owned())
}

fn system_v_queue(facts: &Facts) -> Escapes {
    let found = call(libc::SYS_msgget, &[facts.system_v as u64, 0o600]);
    escape_if(found.is_ok(), || "opened the host's message queue".to_owned())
}

fn system_v_listing(facts: &Facts) -> Escapes {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let key = facts.system_v.to_string();
    let listed = text.lines().any(|line| line.split_whitespace().next() == Some(&key));
    escape_if(listed, || "lists the host's shared memory".to_owned())
}

fn posix_queue(facts: &Facts) -> Escapes {
    let name = c(&facts.posix);
    let opened =
        call(libc::SYS_mq_open, &[at(name.as_bytes_with_nul()), libc::O_RDONLY as u64, 0, 0]);
    escape_if(opened.is_ok(), || "opened the host's message queue".to_owned())
}

fn shared_memory_file(facts: &Facts) -> Escapes {
    facts.read(format!("/dev/shm/{}", facts.posix))
}

const READ: u64 = 11;
const SEARCH: u64 = 10;
const DESCRIBE: u64 = 6;
const SESSION_KEYRING: i64 = -3;
const USER_KEYRING: i64 = -4;
const USER_SESSION_KEYRING: i64 = -5;

fn read_key(facts: &Facts, key: i64, how: &str) -> Escapes {
    let mut content = [0_u8; 256];
    let length = call(libc::SYS_keyctl, &[READ, key as u64, at_mut(&mut content), 256]);
    let got = length.is_ok() && String::from_utf8_lossy(&content).contains(&facts.marker);
    escape_if(got, || format!("read a key {how}"))
}

fn search(facts: &Facts, ring: i64, name: &str, how: &str) -> Escapes {
    let description = c(name);
    let arguments = [
        SEARCH,
        ring as u64,
        at(c"user".to_bytes_with_nul()),
        at(description.as_bytes_with_nul()),
        0,
    ];
    call(libc::SYS_keyctl, &arguments).map_or(Vec::new(), |key| read_key(facts, key, how))
}

fn session_key(facts: &Facts) -> Escapes {
    search(facts, SESSION_KEYRING, &facts.marker, "of the caller's session")
}

fn user_key(facts: &Facts) -> Escapes {
    let name = format!("{}-user", facts.marker);
    let user = search(facts, USER_KEYRING, &name, "of the user");
    [user, search(facts, USER_SESSION_KEYRING, &name, "of the user's session")].concat()
}

/// Numbers of keys are the whole machine's.
fn key_by_number(facts: &Facts) -> Escapes {
    let session = read_key(facts, i64::from(facts.session_key), "by its number");
    [session, read_key(facts, i64::from(facts.user_key), "of the user, by its number")].concat()
}

/// Description of a key, which the owner's permissions reveal.
fn key_description(facts: &Facts) -> Escapes {
    let mut text = [0_u8; 256];
    let arguments = [DESCRIBE, facts.user_key as u64, at_mut(&mut text), 256];
    let got = call(libc::SYS_keyctl, &arguments).is_ok();
    let got = got && String::from_utf8_lossy(&text).contains(&facts.marker);
    escape_if(got, || "read the description of a key by its number".to_owned())
}

/// request_key(2) finds what the caller's keyrings hold. No helper of the host is asked for: that
/// would need information to be called out with.
fn key_upcall(facts: &Facts) -> Escapes {
    let description = c(&facts.marker);
    let arguments = [at(c"user".to_bytes_with_nul()), at(description.as_bytes_with_nul()), 0, 0];
    match call(libc::SYS_request_key, &arguments) {
        Ok(key) => read_key(facts, key, "by request"),
        Err(Errno::EACCES) => vec!["a key was found, though not readable".to_owned()],
        Err(_) => Vec::new(),
    }
}
