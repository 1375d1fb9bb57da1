//! A program that shares things with another run of itself, where both have them in common.
//!
//! `companion make THING` makes one, prints `made` and keeps it until its stdin ends; `companion find
//! THING` prints `met` or `alone`; `companion once THING` fails if one was made before. No other program
//! has things of these names. `companion leave` leaves a process behind, and `companion rename` sets
//! the host name.

#![allow(unsafe_code)]
#![allow(missing_docs, reason = "a program")]

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write, stdin, stdout};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process;

/// Names and numbers that nobody else on the machine has.
const NAME: &str = "isotest-companion";
const PORT: u16 = 91;
const KEY: libc::key_t = 0x6973_6f74;

fn main() {
    let words: Vec<String> = env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [_, "make", thing] => make(thing),
        [_, "find", thing] => {
            println!("{}", if find(thing) { "met" } else { "alone" });
            Ok(())
        }
        [_, "once", thing] => File::create_new(path(thing)).map(drop),
        [_, "leave", ..] => leave(),
        [_, "rename"] => nix::unistd::sethostname(NAME).map_err(io::Error::from),
        _ => panic!("usage: companion make|find|once THING, companion leave|rename"),
    };
    if let Err(error) = done {
        eprintln!("{}: {error}", words[1..].join(" "));
        process::exit(1);
    }
}

fn make(thing: &str) -> io::Result<()> {
    let kept: Box<dyn Send> = match thing {
        "port" => Box::new(TcpListener::bind(("127.0.0.1", PORT))?),
        "abstract-socket" => Box::new(UnixListener::bind_addr(&abstract_name()?)?),
        "shared-memory" => Box::new(shared_memory(libc::IPC_CREAT | 0o600)?),
        // It is found by its name.
        "process" => Box::new(()),
        _ => Box::new(File::create_new(path(thing))?),
    };
    println!("made");
    stdout().flush()?;
    stdin().read_to_end(&mut Vec::new())?;
    drop(kept);
    Ok(())
}

fn find(thing: &str) -> bool {
    match thing {
        "port" => TcpStream::connect(("127.0.0.1", PORT)).is_ok(),
        "abstract-socket" => abstract_name().is_ok_and(|it| UnixStream::connect_addr(&it).is_ok()),
        "shared-memory" => shared_memory(0).is_ok(),
        "process" => processes().any(|words| words.ends_with(b"make\0process\0")),
        _ => path(thing).exists(),
    }
}

/// Leaves a process of a session of its own behind, which ends by itself only if it is forgotten.
fn leave() -> io::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: no argument is a pointer. The standard streams are let go, so that nobody waits
            // for them.
            unsafe {
                libc::setsid();
                libc::close_range(0, u32::MAX, 0);
                libc::alarm(60);
            }
            loop {
                // SAFETY: it has no argument.
                unsafe { libc::pause() };
            }
        }
        1.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn path(thing: &str) -> PathBuf {
    let directory = match thing {
        "tmp" => "/tmp".into(),
        "var-tmp" => "/var/tmp".into(),
        "run" => "/run".into(),
        "shm" => "/dev/shm".into(),
        "queue" => "/dev/mqueue".into(),
        "home" => env::var_os("HOME").expect("it is set").into(),
        "workspace" => PathBuf::from("."),
        _ => panic!("no thing is called `{thing}`"),
    };
    directory.join(NAME)
}

fn abstract_name() -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(NAME)
}

fn shared_memory(flags: i32) -> io::Result<i32> {
    // SAFETY: no argument is a pointer.
    match unsafe { libc::shmget(KEY, 4096, flags) } {
        -1 => Err(io::Error::last_os_error()),
        id => Ok(id),
    }
}

fn processes() -> impl Iterator<Item = Vec<u8>> {
    let entries = fs::read_dir("/proc").expect("it is there").flatten();
    entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
}
