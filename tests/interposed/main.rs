//! Tells what a program sees of clocks, random bytes, directories and pipes: a line each, a name and a
//! value. The first argument says what.

#![allow(unsafe_code, reason = "it calls the C library as programs do")]

use std::collections::HashMap;
use std::env;
use std::fs;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time that waits last.
const SHORT: Duration = Duration::from_millis(50);

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["clocks"] => clocks(),
        ["random"] => random(),
        ["waits"] => waits(),
        ["list", directory] => list(directory),
        ["list-again", directory] => list_again(directory),
        ["pipe"] => pipe(),
        ["execute", program] => execute(program),
        ["fork"] => fork(),
        _ => panic!("{words:?}"),
    }
}

fn tell(name: &str, value: impl std::fmt::Display) {
    println!("{name} {value}");
}

fn clock(clock: libc::clockid_t) -> libc::timespec {
    let mut time = MaybeUninit::uninit();
    // SAFETY: it is written where the call succeeds.
    unsafe {
        assert_eq!(libc::clock_gettime(clock, time.as_mut_ptr()), 0);
        time.assume_init()
    }
}

fn by_system_call() -> libc::timespec {
    // SAFETY: the call writes a timespec, of which any bytes are valid.
    unsafe {
        let mut time: libc::timespec = zeroed();
        let time_at = &raw mut time;
        let done = libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, time_at);
        assert_eq!(done, 0);
        time
    }
}

fn clocks() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(-1, |it| it.as_secs() as i64);
    tell("std", now());
    tell("coarse", clock(libc::CLOCK_REALTIME_COARSE).tv_sec);
    tell("system-call", by_system_call().tv_sec);
    // SAFETY: each writes where it is told to.
    unsafe {
        tell("time", libc::time(ptr::null_mut()));
        let mut time: libc::timeval = zeroed();
        assert_eq!(libc::gettimeofday(&raw mut time, ptr::null_mut()), 0);
        tell("gettimeofday", time.tv_sec);
        let mut resolution: libc::timespec = zeroed();
        libc::clock_getres(libc::CLOCK_MONOTONIC, &raw mut resolution);
        tell("resolution", resolution.tv_nsec);
        assert_eq!(libc::clock_gettime(4711, &raw mut resolution), -1);
        tell("no-clock", std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    tell("remainder", clock(libc::CLOCK_MONOTONIC).tv_nsec % 16_000_000);
    let (start, wall) = (Instant::now(), SystemTime::now());
    thread::sleep(SHORT);
    tell("slept", start.elapsed().as_millis());
    tell("wall", wall.elapsed().map_or(-1, |it| it.as_millis() as i64));
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn order() -> String {
    let map: HashMap<u32, ()> = (0..32).map(|number| (number, ())).collect();
    map.into_keys().map(|number| format!("{number},")).collect()
}

fn random() {
    tell("order", order());
    tell("order-of-thread", thread::spawn(order).join().expect("it ends"));
    let mut bytes = [[0_u8; 16]; 4];
    let at = bytes.each_mut().map(|part| part.as_mut_ptr().cast());
    // SAFETY: each buffer has 16 bytes.
    unsafe {
        assert_eq!(libc::getrandom(at[0], 16, 0), 16);
        assert_eq!(libc::getrandom(at[1], 16, 0), 16);
        assert_eq!(libc::syscall(libc::SYS_getrandom, at[2], 16, 0), 16);
        assert_eq!(libc::getentropy(at[3], 16), 0);
    }
    let names = ["first", "second", "system-call", "getentropy"];
    names.into_iter().zip(bytes).for_each(|(name, bytes)| tell(name, hexadecimal(&bytes)));
    let child = Command::new("/proc/self/exe").arg("fork").output().expect("it runs");
    print!("{}", String::from_utf8_lossy(&child.stdout));
}

/// Bytes of a process and of its child.
fn fork() {
    let bytes = || {
        let mut bytes = [0_u8; 16];
        // SAFETY: the buffer has 16 bytes.
        assert_eq!(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), 16, 0) }, 16);
        hexadecimal(&bytes)
    };
    tell("parent", bytes());
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => tell("child", bytes()),
        // SAFETY: a null status is allowed.
        child => assert_eq!(unsafe { libc::waitpid(child, ptr::null_mut(), 0) }, child),
    }
}

fn later(clock_id: libc::clockid_t) -> libc::timespec {
    let now = clock(clock_id);
    let total = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + SHORT;
    libc::timespec { tv_sec: total.as_secs() as i64, tv_nsec: i64::from(total.subsec_nanos()) }
}

fn wait_for_condition(clock_id: libc::clockid_t) -> i32 {
    // SAFETY: the objects are initialised before they are used, and do not move.
    unsafe {
        let mut attributes: libc::pthread_condattr_t = zeroed();
        libc::pthread_condattr_init(&raw mut attributes);
        libc::pthread_condattr_setclock(&raw mut attributes, clock_id);
        let mut condition: libc::pthread_cond_t = zeroed();
        libc::pthread_cond_init(&raw mut condition, &raw const attributes);
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        libc::pthread_mutex_lock(&raw mut mutex);
        let until = later(clock_id);
        let mut result = 0;
        // It may wake without a reason.
        while result == 0 {
            result =
                libc::pthread_cond_timedwait(&raw mut condition, &raw mut mutex, &raw const until);
        }
        libc::pthread_mutex_unlock(&raw mut mutex);
        libc::pthread_cond_destroy(&raw mut condition);
        result
    }
}

fn wait_for_static_condition() -> i32 {
    // SAFETY: as above.
    unsafe {
        let mut condition = libc::PTHREAD_COND_INITIALIZER;
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        libc::pthread_mutex_lock(&raw mut mutex);
        let until = later(libc::CLOCK_REALTIME);
        let mut result = 0;
        while result == 0 {
            let (condition, mutex) = (&raw mut condition, &raw mut mutex);
            result = libc::pthread_cond_timedwait(condition, mutex, &raw const until);
        }
        result
    }
}

fn wait_for_semaphore() -> i32 {
    // SAFETY: the semaphore is initialised and does not move.
    unsafe {
        let mut semaphore: libc::sem_t = zeroed();
        libc::sem_init(&raw mut semaphore, 0, 0);
        let until = later(libc::CLOCK_REALTIME);
        assert_eq!(libc::sem_timedwait(&raw mut semaphore, &raw const until), -1);
        std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }
}

fn wait_for_mutex() -> i32 {
    // SAFETY: the mutex is initialised and does not move.
    unsafe {
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        libc::pthread_mutex_lock(&raw mut mutex);
        let until = later(libc::CLOCK_REALTIME);
        libc::pthread_mutex_timedlock(&raw mut mutex, &raw const until)
    }
}

fn sleep_until(clock_id: libc::clockid_t) -> i32 {
    let until = later(clock_id);
    let flags = libc::TIMER_ABSTIME;
    // SAFETY: null stands for no time that is left.
    unsafe { libc::clock_nanosleep(clock_id, flags, &raw const until, ptr::null_mut()) }
}

/// Each wait: what it returned, and whether it took as long as it was to, and not much longer.
fn waits() {
    let of = |name: &str, wait: &dyn Fn() -> i32| {
        let start = Instant::now();
        let result = wait();
        let took = start.elapsed();
        // A clock that stands still may be off by a tick.
        let is_right = took + Duration::from_millis(2) >= SHORT && took < 100 * SHORT;
        tell(name, format!("{result} {is_right}"));
    };
    of("condition", &|| wait_for_condition(libc::CLOCK_REALTIME));
    of("static-condition", &wait_for_static_condition);
    of("monotonic-condition", &|| wait_for_condition(libc::CLOCK_MONOTONIC));
    of("semaphore", &wait_for_semaphore);
    of("mutex", &wait_for_mutex);
    of("sleep", &|| sleep_until(libc::CLOCK_REALTIME));
    of("monotonic-sleep", &|| sleep_until(libc::CLOCK_MONOTONIC));
}

fn list(directory: &str) {
    for entry in fs::read_dir(directory).expect("it can be read") {
        println!("{}", entry.expect("an entry").file_name().display());
    }
}

/// Lists a directory by the C library, goes back to the middle, and begins anew.
fn list_again(directory: &str) {
    let path = std::ffi::CString::new(directory).expect("no NUL");
    // SAFETY: the directory is open until `closedir`, and entries are read before the next call.
    unsafe {
        let open = libc::opendir(path.as_ptr());
        assert!(!open.is_null());
        let names = || {
            std::iter::from_fn(|| libc::readdir(open).as_ref())
                .map(|entry| std::ffi::CStr::from_ptr(entry.d_name.as_ptr()).to_owned())
                .collect::<Vec<_>>()
        };
        let first = names();
        libc::rewinddir(open);
        let second: Vec<_> = (0..3).map(|_| libc::readdir(open)).collect();
        assert!(second.iter().all(|entry| !entry.is_null()));
        let place = libc::telldir(open);
        let rest = names();
        libc::seekdir(open, place);
        tell("again", names() == rest && first[3..] == rest[..]);
        tell("dots", first.iter().filter(|name| name.to_bytes().starts_with(b".")).count());
        let dots = first.iter().position(|name| name.to_bytes() == b".");
        tell("dot", dots.expect("it is there"));
        tell("entries", first.len());
        tell("closed", libc::closedir(open));
    }
}

fn pipe() {
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    // SAFETY: no argument is a pointer.
    tell("capacity", unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_GETPIPE_SZ) });
}

fn execute(program: &str) {
    match Command::new(program).output() {
        Ok(output) => tell("status", output.status),
        Err(error) => tell("refused", error),
    }
}
