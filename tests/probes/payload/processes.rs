//! Processes outside: signals, ptrace, descriptors of others, outliving the sandbox.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::{Pid, getppid};

use crate::calls::{at, c, call, in_child};
use crate::{Attempt, Escapes, Facts, escape_if, meet_judge};

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("see_processes", see_processes),
    ("signal_group", signal_group),
    ("signal_parent", signal_parent),
    ("signal_everything", signal_everything),
    ("signal_by_number", signal_by_number),
    ("process_handle", process_handle),
    ("inherited_process_handle", inherited_process_handle),
    ("read_memory", read_memory),
    ("trace_process", trace_process),
    ("trace_parent", trace_parent),
    ("descriptors_of_parent", descriptors_of_parent),
    ("descriptors_of_others", descriptors_of_others),
    ("trace_me", trace_me),
    ("stop_self", stop_self),
    ("daemon", daemon),
    ("stragglers", stragglers),
    ("daemon_of_a_killed_runner", daemon_of_a_killed_runner),
    ("state_at_start", state_at_start),
    ("umask_at_start", umask_at_start),
    ("priorities", priorities),
    ("out_of_memory_score", out_of_memory_score),
    ("reboot", reboot),
    ("core_dump", core_dump),
    ("undumpable", undumpable),
];

/// Runs the payload as its parent, where there is no sandbox that would be it.
pub fn stand_in(program: &str, rest: &[&str]) {
    // `status` would take a stopped child for an ended one only with WUNTRACED, which it does not
    // ask for; a traced one it does see.
    let status = Command::new(program).args(rest).status().expect("the payload runs");
    std::process::exit(status.code().unwrap_or(1));
}

/// A process with the marker in its command line, and in its memory.
pub fn canary(marker: &str) {
    let memory = format!("memory of {marker}").into_boxed_str();
    println!("{} {}", at(&*memory), memory.len());
    wait_forever();
}

pub fn wait_forever() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// The command lines of processes that are neither this one nor PID 1 of a namespace of its own.
pub fn others(facts: &Facts) -> Vec<String> {
    let entries = fs::read_dir("/proc").map(|all| all.flatten().collect::<Vec<_>>());
    let numbers = entries.unwrap_or_default().into_iter().map(|entry| entry.file_name());
    let numbers = numbers.filter_map(|name| name.into_string().ok());
    let numbers = numbers.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let line = |number: String| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ")
    };
    let foreign = |line: &String| {
        line.contains("isotest exec") || (line.contains(&facts.marker) && line.contains("--canary"))
    };
    numbers.map(line).filter(foreign).take(3).collect()
}

fn see_processes(facts: &Facts) -> Escapes {
    let mut escapes: Escapes =
        others(facts).into_iter().map(|line| format!("sees the process `{line}`")).collect();
    let command = fs::read(format!("/proc/{}/cmdline", facts.process)).unwrap_or_default();
    let found = String::from_utf8_lossy(&command).contains(&facts.marker);
    escapes.extend(escape_if(found, || "sees a process by its number".to_owned()));
    escapes
}

/// Ignores what it is about to send itself.
fn ignore(signals: &[Signal]) {
    for number in signals {
        // SAFETY: SIG_IGN runs no code.
        let _ = unsafe { signal(*number, SigHandler::SigIgn) };
    }
}

/// The judge has put a process of its own into the caller's process group.
fn signal_group(_: &Facts) -> Escapes {
    ignore(&[Signal::SIGTERM]);
    let _ = kill(Pid::from_raw(0), Signal::SIGTERM);
    Vec::new()
}

/// In a pid namespace the parent is 0, which is the process group.
fn signal_parent(facts: &Facts) -> Escapes {
    let parent = getppid();
    let signal = if facts.restrained { Signal::SIGUSR1 } else { Signal::SIGKILL };
    if parent.as_raw() > 1 || !facts.restrained {
        let _ = kill(parent, signal);
    }
    Vec::new()
}

/// Signal 0 reaches nobody, and tells whether one would.
fn signal_everything(facts: &Facts) -> Escapes {
    if facts.must_not_harm("pid") {
        return escape_if(kill(Pid::from_raw(-1), None).is_ok(), || {
            "could signal every process of the user".to_owned()
        });
    }
    // All but the sender and PID 1 of its namespace.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    Vec::new()
}

fn signal_by_number(facts: &Facts) -> Escapes {
    let process = Pid::from_raw(facts.process);
    if facts.must_not_harm("pid") {
        return escape_if(kill(process, None).is_ok(), || "could signal a process".to_owned());
    }
    let own = std::process::id() as i32;
    for number in (2..=65535).filter(|number| *number != own) {
        let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
    }
    Vec::new()
}

fn process_handle(facts: &Facts) -> Escapes {
    let Ok(handle) = call(libc::SYS_pidfd_open, &[facts.process as u64, 0]) else {
        return Vec::new();
    };
    let mut escapes = vec!["opened a handle of a process".to_owned()];
    let taken = call(libc::SYS_pidfd_getfd, &[handle as u64, 1, 0]).is_ok();
    escapes.extend(escape_if(taken, || "took a descriptor of it".to_owned()));
    escapes
}

/// The judge left a handle of its process open.
fn inherited_process_handle(_: &Facts) -> Escapes {
    for handle in 3..1024_u64 {
        // Kills the judge's process, and that alone: no other descriptor is a process's.
        let _ = call(libc::SYS_pidfd_send_signal, &[handle, libc::SIGUSR1 as u64, 0, 0]);
    }
    Vec::new()
}

fn read_memory(facts: &Facts) -> Escapes {
    let (address, length) = facts.memory;
    let mut buffer = vec![0_u8; length];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: length };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: length };
    let arguments = [facts.process as u64, at(&local), 1, at(&remote), 1, 0];
    let _ = call(libc::SYS_process_vm_readv, &arguments);
    let mut escapes = escape_if(String::from_utf8_lossy(&buffer).contains(&facts.marker), || {
        "read the memory of a process".to_owned()
    });
    let opened = fs::File::open(format!("/proc/{}/mem", facts.process)).is_ok_and(|file| {
        use std::os::unix::fs::FileExt;
        let mut buffer = vec![0_u8; length];
        file.read_at(&mut buffer, address).is_ok()
            && String::from_utf8_lossy(&buffer).contains(&facts.marker)
    });
    escapes.extend(escape_if(opened, || "read it through /proc".to_owned()));
    escapes
}

fn traces(process: Pid) -> bool {
    // In a child: its end lets the tracee go on.
    in_child(|| u8::from(ptrace::seize(process, ptrace::Options::empty()).is_ok())) == 1
}

fn trace_process(facts: &Facts) -> Escapes {
    escape_if(traces(Pid::from_raw(facts.process)), || "traced a process".to_owned())
}

fn trace_parent(_: &Facts) -> Escapes {
    let parent = getppid();
    escape_if(parent.as_raw() > 0 && traces(parent), || "traced its parent".to_owned())
}

fn descriptors_of_parent(_: &Facts) -> Escapes {
    let parent = getppid().as_raw();
    if parent == 0 {
        return Vec::new();
    }
    let mut escapes = Vec::new();
    for file in ["fd/1", "mem", "environ", "maps"] {
        let opened = fs::File::open(format!("/proc/{parent}/{file}")).is_ok();
        escapes.extend(escape_if(opened, || format!("opened {file} of its parent")));
    }
    if let Ok(handle) = call(libc::SYS_pidfd_open, &[parent as u64, 0]) {
        let taken = call(libc::SYS_pidfd_getfd, &[handle as u64, 1, 0]).is_ok();
        escapes.extend(escape_if(taken, || "took a descriptor of its parent".to_owned()));
    }
    escapes
}

/// Every descriptor that is visible in `/proc` must be one of the three.
fn descriptors_of_others(_: &Facts) -> Escapes {
    let own = std::process::id().to_string();
    let mut escapes = Vec::new();
    let entries = fs::read_dir("/proc").map(|all| all.flatten().collect::<Vec<_>>());
    for entry in entries.unwrap_or_default() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name == own.as_bytes() || !name.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            escapes.push(format!("sees the descriptor {}", descriptor.path().display()));
        }
    }
    escapes.truncate(3);
    escapes
}

/// Makes the parent a tracer; a stop must not pass for an end, or for ever.
fn trace_me(_: &Facts) -> Escapes {
    println!("begun");
    let _ = std::io::Write::flush(&mut std::io::stdout());
    let _ = ptrace::traceme();
    ignore(&[Signal::SIGUSR2]);
    let _ = nix::sys::signal::raise(Signal::SIGUSR2);
    Vec::new()
}

/// PID 1 cannot stop itself, nor be stopped from within: what waits for it goes on.
fn stop_self(_: &Facts) -> Escapes {
    let _ = nix::sys::signal::raise(Signal::SIGSTOP);
    Vec::new()
}

/// A process that has left nothing of its origin: session, group, parent, death signal.
fn start_daemon(facts: &Facts) {
    let mut command = Command::new(std::env::current_exe().expect("the payload has a path"));
    command.args(["--wait", &format!("{}-daemon", facts.marker)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: plain system calls.
    unsafe {
        command.pre_exec(|| {
            let _ = nix::unistd::setsid();
            let _ = nix::sys::prctl::set_pdeathsig(None);
            ignore(&[Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT]);
            match nix::unistd::fork() {
                Ok(nix::unistd::ForkResult::Parent { .. }) => libc::_exit(0),
                _ => Ok(()),
            }
        });
    }
    // The daemon runs already when its parent's exit is heard of as a failed exec.
    let _ = command.spawn().and_then(|mut child| child.wait());
    let limit = std::time::Instant::now() + Duration::from_secs(5);
    while !is_running(facts) && std::time::Instant::now() < limit {
        std::thread::yield_now();
    }
}

fn is_running(facts: &Facts) -> bool {
    let daemon = format!("{}-daemon", facts.marker);
    let entries = fs::read_dir("/proc").map(|all| all.flatten().collect::<Vec<_>>());
    entries.unwrap_or_default().iter().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&daemon)
    })
}

/// The judge looks for it afterwards.
fn daemon(facts: &Facts) -> Escapes {
    start_daemon(facts);
    escape_if(!is_running(facts), || "the daemon was not started: no attempt".to_owned())
}

/// Children that no ordinary parent has. The judge looks for them by their command line, so that
/// all but the one of vfork(2), which shares its parent's memory, execute a program.
fn stragglers(facts: &Facts) -> Escapes {
    let program = c(std::env::current_exe().expect("the payload has a path"));
    let name = c(format!("{}-daemon", facts.marker));
    let words = [program.as_ptr(), c"--wait".as_ptr(), name.as_ptr(), std::ptr::null()];
    let flags = [libc::CLONE_PARENT, libc::CLONE_UNTRACED, libc::CLONE_VM | libc::CLONE_VFORK];
    for flags in flags {
        // By way of a child: PID 1 has no siblings, and who calls vfork(2) waits for the child.
        // SAFETY: this process has one thread; the child allocates nothing before it ends.
        let Ok(nix::unistd::ForkResult::Child) = (unsafe { nix::unistd::fork() }) else { continue };
        // The judge waits for the end of the output.
        for number in 0..3 {
            // SAFETY: a number.
            unsafe { libc::close(number) };
        }
        let made = call(libc::SYS_clone, &[(flags | libc::SIGCHLD) as u64, 0, 0, 0, 0]);
        if flags & libc::CLONE_VFORK == 0 && made == Ok(0) {
            let _ = nix::unistd::setsid();
            // SAFETY: C strings and a null-terminated array of them, which live until then.
            unsafe { libc::execv(program.as_ptr(), words.as_ptr()) };
        }
        if flags & libc::CLONE_VFORK != 0 && made == Ok(0) {
            loop {
                // SAFETY: takes nothing. The parent never runs again, so its stack is free.
                unsafe { libc::pause() };
            }
        }
        // SAFETY: ends the child without what its parent registered for exit.
        unsafe { libc::_exit(0) };
    }
    let limit = std::time::Instant::now() + Duration::from_secs(5);
    while !is_running(facts) && std::time::Instant::now() < limit {
        std::thread::yield_now();
    }
    escape_if(!is_running(facts), || "no straggler was left: no attempt".to_owned())
}

/// The judge kills the sandbox's own process meanwhile.
fn daemon_of_a_killed_runner(facts: &Facts) -> Escapes {
    start_daemon(facts);
    let _ = nix::sys::prctl::set_pdeathsig(None);
    meet_judge();
    wait_forever();
    Vec::new()
}

/// The judge started the sandbox with SIGUSR1 ignored, and SIGUSR2 blocked.
fn state_at_start(_: &Facts) -> Escapes {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
        u64::from_str_radix(line.trim(), 16).unwrap_or(0)
    };
    let bit = |signal: Signal| 1_u64 << (signal as u64 - 1);
    let mut escapes = escape_if(mask("SigIgn:") & bit(Signal::SIGUSR1) != 0, || {
        "a signal that the caller ignores is ignored".to_owned()
    });
    escapes.extend(escape_if(mask("SigBlk:") & bit(Signal::SIGUSR2) != 0, || {
        "a signal that the caller blocks is blocked".to_owned()
    }));
    escapes
}

/// The judge started the sandbox with umask 0.
fn umask_at_start(_: &Facts) -> Escapes {
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    escape_if(mask.is_empty(), || "the caller's umask is in force".to_owned())
}

fn priorities(_: &Facts) -> Escapes {
    // SAFETY: takes numbers.
    let nice = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) } == 0;
    let mut escapes = escape_if(nice, || "nice -20".to_owned());
    let parameters = libc::sched_param { sched_priority: 50 };
    // SAFETY: `parameters` is a valid sched_param.
    let real_time =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } == 0;
    escapes.extend(escape_if(real_time, || "real-time scheduling".to_owned()));
    const IOPRIO_RT: u64 = 1 << 13;
    let io = call(libc::SYS_ioprio_set, &[1, 0, IOPRIO_RT]).is_ok();
    escapes.extend(escape_if(io, || "real-time input and output".to_owned()));
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } == 0;
    escapes.extend(escape_if(raised, || "raised a hard limit".to_owned()));
    escapes
}

fn out_of_memory_score(_: &Facts) -> Escapes {
    let set = fs::write("/proc/self/oom_score_adj", "-1000").is_ok();
    escape_if(set, || "the out-of-memory killer will spare it".to_owned())
}

/// A wrong magic number is refused as invalid to who may reboot, and as forbidden to others.
fn reboot(_: &Facts) -> Escapes {
    let refused = call(libc::SYS_reboot, &[1, 1, 0]).err();
    escape_if(refused == Some(nix::errno::Errno::EINVAL), || "could reboot".to_owned())
}

/// A core file must appear nowhere, and no helper must run.
fn core_dump(_: &Facts) -> Escapes {
    let directory = std::env::current_dir().unwrap_or_default();
    let dumped = in_child(|| {
        let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both are valid rlimits; the highest that is allowed is taken.
        unsafe {
            if libc::setrlimit(libc::RLIMIT_CORE, &raw const all) != 0 {
                libc::getrlimit(libc::RLIMIT_CORE, &raw mut now);
                now.rlim_cur = now.rlim_max;
                libc::setrlimit(libc::RLIMIT_CORE, &raw const now);
            }
        }
        use nix::sys::wait::{WaitStatus, waitpid};
        // SAFETY: one thread.
        match unsafe { nix::unistd::fork() } {
            Ok(nix::unistd::ForkResult::Child) => {
                // SAFETY: the default action is wanted.
                unsafe {
                    let _ = signal(Signal::SIGQUIT, SigHandler::SigDfl);
                }
                let _ = nix::sys::signal::raise(Signal::SIGQUIT);
                0
            }
            Ok(nix::unistd::ForkResult::Parent { child }) => {
                u8::from(matches!(waitpid(child, None), Ok(WaitStatus::Signaled(_, _, true))))
            }
            Err(_) => 2,
        }
    });
    let entries = fs::read_dir(directory).map(|all| all.flatten().collect::<Vec<_>>());
    let files = entries.unwrap_or_default();
    let file = files.iter().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"core"));
    let mut escapes = escape_if(dumped == 1, || "the kernel dumped core".to_owned());
    escapes.extend(escape_if(file, || "a core file was written".to_owned()));
    escapes
}

/// No attempt: who asks not to be looked at must end as any other.
fn undumpable(_: &Facts) -> Escapes {
    let _ = nix::sys::prctl::set_dumpable(false);
    Vec::new()
}
