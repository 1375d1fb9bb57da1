//! Capabilities, ids, nested namespaces, interfaces of the kernel that only root has.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

use crate::calls::{at, c, call, in_child};
use crate::{Attempt, Escapes, Facts, escape_if};

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("capabilities", capabilities),
    ("no_new_privileges", no_new_privileges),
    ("set_user_id_program", set_user_id_program),
    ("user_namespace", user_namespace),
    ("user_namespace_limit", user_namespace_limit),
    ("clone_into_namespaces", clone_into_namespaces),
    ("become_another_user", become_another_user),
    ("be_another_user", be_another_user),
    ("drop_groups", drop_groups),
    ("give_away_files", give_away_files),
    ("nested_capabilities", nested_capabilities),
    ("nested_id_map", nested_id_map),
    ("privileged_calls", privileged_calls),
    ("modules", modules),
    ("bpf", bpf),
    ("io_uring", io_uring),
    ("userfaultfd", userfaultfd),
    ("performance_events", performance_events),
    ("clock", clock),
    ("ports_of_the_machine", ports_of_the_machine),
];

fn status(field: &str) -> String {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().to_owned()
}

fn capabilities(_: &Facts) -> Escapes {
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"];
    let kept = sets.iter().map(|set| (set, status(set)));
    let kept = kept.filter(|(_, value)| value.bytes().any(|digit| digit != b'0'));
    kept.map(|(set, value)| format!("{set} {value}")).collect()
}

fn no_new_privileges(_: &Facts) -> Escapes {
    escape_if(status("NoNewPrivs:") != "1", || "no_new_privs is not set".to_owned())
}

/// A program with the set-user-ID bit must run as whoever calls it.
fn set_user_id_program(_: &Facts) -> Escapes {
    use std::os::unix::fs::PermissionsExt;
    let programs = ["/usr/bin/su", "/usr/bin/mount", "/usr/bin/passwd", "/usr/bin/sudo"];
    let has_bit =
        |path: &&&str| fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o4000 != 0);
    let Some(program) = programs.iter().find(has_bit) else {
        return vec!["no set-user-ID program to try: no attempt".to_owned()];
    };
    let nosuid = nix::sys::statvfs::statvfs(*program)
        .is_ok_and(|fs| fs.flags().contains(nix::sys::statvfs::FsFlags::ST_NOSUID));
    let held = nosuid || status("NoNewPrivs:") == "1";
    escape_if(!held, || format!("{program} would run as its owner"))
}

fn user_namespace(_: &Facts) -> Escapes {
    let made = in_child(|| u8::from(unshare(CloneFlags::CLONE_NEWUSER).is_ok())) == 1;
    escape_if(made, || "made a user namespace".to_owned())
}

/// Attempt to raise the limit that forbids user namespaces.
fn user_namespace_limit(facts: &Facts) -> Escapes {
    let path = "/proc/sys/user/max_user_namespaces";
    if facts.must_not_harm("user") {
        let opened = fs::OpenOptions::new().write(true).open(path).is_ok();
        return escape_if(opened, || format!("opened {path} for writing"));
    }
    let raised = fs::write(path, "100").is_ok();
    let made = in_child(|| u8::from(unshare(CloneFlags::CLONE_NEWUSER).is_ok())) == 1;
    escape_if(raised && made, || "raised the limit of user namespaces".to_owned())
}

/// Each namespace but the user's needs a capability, by clone3(2) too (CVE-2021-41133).
fn clone_into_namespaces(_: &Facts) -> Escapes {
    let flags = [
        ("mnt", libc::CLONE_NEWNS),
        ("cgroup", libc::CLONE_NEWCGROUP),
        ("uts", libc::CLONE_NEWUTS),
        ("ipc", libc::CLONE_NEWIPC),
        ("pid", libc::CLONE_NEWPID),
        ("net", libc::CLONE_NEWNET),
    ];
    let mut escapes = Vec::new();
    for (name, flag) in flags {
        let mut arguments = [0_u64; 11];
        arguments[0] = flag as u32 as u64;
        arguments[4] = libc::SIGCHLD as u64;
        match call(libc::SYS_clone3, &[at(&arguments), size_of_val(&arguments) as u64]) {
            // SAFETY: the child of a process with one thread; it ends at once.
            Ok(0) => unsafe { libc::_exit(0) },
            Ok(child) => {
                let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child as i32), None);
                escapes.push(format!("made a {name} namespace"));
            }
            Err(_) => {}
        }
    }
    escapes
}

fn become_another_user(_: &Facts) -> Escapes {
    let other = if Uid::current().is_root() { 54321 } else { 0 };
    let mut escapes = Vec::new();
    let user = in_child(|| u8::from(nix::unistd::setuid(Uid::from_raw(other)).is_ok())) == 1;
    escapes.extend(escape_if(user, || format!("became user {other}")));
    let group = in_child(|| u8::from(nix::unistd::setgid(Gid::from_raw(other)).is_ok())) == 1;
    escapes.extend(escape_if(group, || format!("became group {other}")));
    escapes
}

/// To be user 54321 inside matters where it is to be user 54321 of the host.
fn be_another_user(facts: &Facts) -> Escapes {
    let read =
        |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains(&facts.marker));
    let user = in_child(|| {
        let is = nix::unistd::setuid(Uid::from_raw(54321)).is_ok();
        u8::from(is && read(&facts.read_only.join("of-another-user")))
    });
    let group = in_child(|| {
        // Without the user's own rights, which would do.
        let is = nix::unistd::setgid(Gid::from_raw(54321)).is_ok()
            && nix::unistd::setuid(Uid::from_raw(54322)).is_ok();
        u8::from(is && read(&facts.read_only.join("of-another-group")))
    });
    let mut escapes = escape_if(user == 1, || "became user 54321 of the host".to_owned());
    escapes.extend(escape_if(group == 1, || "became group 54321 of the host".to_owned()));
    escapes
}

/// CVE-2014-8989: who gives up a group reads files that deny it to that group.
fn drop_groups(_: &Facts) -> Escapes {
    let none: [Gid; 0] = [];
    let dropped = in_child(|| u8::from(nix::unistd::setgroups(&none).is_ok())) == 1;
    escape_if(dropped, || "dropped its groups".to_owned())
}

fn give_away_files(facts: &Facts) -> Escapes {
    let path = Path::new("/tmp").join(format!("{}-mine", facts.marker));
    let _ = fs::write(&path, "");
    let given = std::os::unix::fs::chown(&path, Some(54321), Some(54321)).is_ok();
    let _ = fs::remove_file(&path);
    escape_if(given, || "gave a file away".to_owned())
}

/// All capabilities in a user namespace of its own must be worth nothing outside (CVE-2018-18955).
fn nested_capabilities(facts: &Facts) -> Escapes {
    let (uid, gid) = (Uid::current(), Gid::current());
    let secret = facts.private.join("secret");
    let file = facts.read_only.join("file");
    let marker = facts.marker.clone();
    let code = in_child(|| {
        let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
        if !facts.restrained && unshare(flags).is_ok() {
            let _ = fs::write("/proc/self/setgroups", "deny");
            let _ = fs::write("/proc/self/uid_map", format!("0 {uid} 1"));
            let _ = fs::write("/proc/self/gid_map", format!("0 {gid} 1"));
            let none: Option<&str> = None;
            use nix::mount::{MntFlags, MsFlags, mount, umount2};
            let _ = mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none);
            for point in [
                facts.read_only.as_path(),
                Path::new("/tmp"),
                Path::new("/proc"),
                facts.home.as_path(),
            ] {
                let writable = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
                let _ = mount(none, point, none, writable, none);
                let _ = umount2(point, MntFlags::MNT_DETACH);
            }
        }
        let read = fs::read_to_string(&secret).is_ok_and(|text| text.contains(&marker));
        let written = fs::OpenOptions::new().append(true).open(&file).is_ok();
        u8::from(read) | u8::from(written) << 1
    });
    let mut escapes = escape_if(code & 1 != 0, || "read the secret".to_owned());
    escapes.extend(escape_if(code & 2 != 0, || "wrote to a read-only tree".to_owned()));
    escapes
}

/// In a map of more than five lines the kernel once looked up the outer ids of the wrong namespace.
/// The nested namespace has ids 1 to 6 of this one, and so no right to a file of id 0.
fn nested_id_map(facts: &Facts) -> Escapes {
    let secret = facts.read_only.join("of-root");
    let (Ok(mut ready), Ok(mut go)) = (std::io::pipe(), std::io::pipe()) else {
        return vec!["no pipe: no attempt".to_owned()];
    };
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() } {
        Ok(nix::unistd::ForkResult::Child) => {
            let made = unshare(CloneFlags::CLONE_NEWUSER).is_ok();
            let _ = ready.1.write_all(&[u8::from(made)]);
            let _ = go.0.read_exact(&mut [0]);
            let _ = nix::unistd::setgroups(&[]);
            let _ = nix::unistd::setgid(Gid::from_raw(0));
            let is = nix::unistd::setuid(Uid::from_raw(0)).is_ok();
            let read = fs::read_to_string(&secret).is_ok_and(|text| text.contains(&facts.marker));
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(if !is { 2 } else { i32::from(read) }) }
        }
        Ok(nix::unistd::ForkResult::Parent { child }) => {
            let _ = ready.0.read_exact(&mut [0]);
            let lines: String = (0..6).map(|id| format!("{id} {} 1\n", id + 1)).collect();
            let map = |file| fs::write(format!("/proc/{child}/{file}"), &lines);
            let mapped = map("uid_map").and(map("gid_map"));
            let _ = go.1.write_all(&[0]);
            use nix::sys::wait::{WaitStatus, waitpid};
            let read = waitpid(child, None) == Ok(WaitStatus::Exited(child, 1));
            // Whoever has one id has none to give.
            let own = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            let has_one = own.lines().count() == 1 && own.trim_end().ends_with(" 1");
            if mapped.is_err() && !has_one && Uid::current().is_root() {
                return vec!["the map was refused: no attempt".to_owned()];
            }
            escape_if(mapped.is_ok() && read, || {
                "read a file of an id that is not mapped".to_owned()
            })
        }
        Err(_) => vec!["no child: no attempt".to_owned()],
    }
}

/// Calls that are refused with EPERM to who lacks a capability of the whole machine, with wrong
/// arguments: to who has it they are invalid, and do nothing.
fn allowed(name: &str, number: i64, arguments: &[u64]) -> Escapes {
    let refused = [Errno::EPERM, Errno::ENOSYS, Errno::EACCES];
    let answer = call(number, arguments);
    let held = answer.is_err_and(|errno| refused.contains(&errno));
    escape_if(!held, || format!("{name} is allowed"))
}

fn privileged_calls(facts: &Facts) -> Escapes {
    let missing = c(format!("/tmp/{}-missing", facts.marker));
    let missing = at(missing.as_bytes_with_nul());
    const BAD_FLAGS: u64 = 0x8000;
    const CONSOLE_LEVEL: u64 = 8;
    let mut escapes = allowed("swapon", libc::SYS_swapon, &[missing, 0]);
    escapes.extend(allowed("swapoff", libc::SYS_swapoff, &[missing]));
    escapes.extend(allowed("acct", libc::SYS_acct, &[missing]));
    escapes.extend(allowed("kexec_load", libc::SYS_kexec_load, &[0, 0, 0, BAD_FLAGS]));
    escapes.extend(allowed("syslog", libc::SYS_syslog, &[CONSOLE_LEVEL, 0, 99]));
    escapes
}

fn modules(facts: &Facts) -> Escapes {
    let name = c(format!("{}-missing", facts.marker));
    let name = at(name.as_bytes_with_nul());
    let empty = c"";
    let empty = at(empty.to_bytes_with_nul());
    let mut escapes = allowed("init_module", libc::SYS_init_module, &[0, 0, empty]);
    escapes.extend(allowed("delete_module", libc::SYS_delete_module, &[name, 0]));
    escapes
}

/// Asks for the program after the last one, of which who may ask hears that there is none.
fn bpf(_: &Facts) -> Escapes {
    const PROG_GET_NEXT_ID: u64 = 11;
    let attributes = [0x7FFF_FFF0_u32, 0, 0];
    let size = size_of_val(&attributes) as u64;
    allowed("bpf", libc::SYS_bpf, &[PROG_GET_NEXT_ID, at(&attributes), size])
}

/// A ring of its own, and the calls that use one which somebody else has made.
fn io_uring(_: &Facts) -> Escapes {
    let mut parameters = [0_u32; 30];
    let opened = call(libc::SYS_io_uring_setup, &[1, crate::calls::at_mut(&mut parameters)]);
    let mut escapes = escape_if(opened.is_ok(), || "io_uring is open".to_owned());
    escapes.extend(allowed("io_uring_enter", libc::SYS_io_uring_enter, &[0]));
    escapes.extend(allowed("io_uring_register", libc::SYS_io_uring_register, &[0]));
    escapes
}

fn userfaultfd(_: &Facts) -> Escapes {
    const USER_MODE_ONLY: u64 = 1;
    let opened = call(libc::SYS_userfaultfd, &[USER_MODE_ONLY]);
    escape_if(opened.is_ok(), || "userfaultfd is open".to_owned())
}

fn performance_events(_: &Facts) -> Escapes {
    // PERF_TYPE_SOFTWARE, PERF_ATTR_SIZE_VER0, PERF_COUNT_SW_TASK_CLOCK; user space only.
    let mut attributes = [0_u64; 16];
    attributes[0] = 1 | 64 << 32;
    attributes[1] = 1;
    attributes[5] = 1 << 5 | 1 << 6;
    let minus_one = u64::MAX;
    let opened = call(libc::SYS_perf_event_open, &[at(&attributes), 0, minus_one, minus_one, 0]);
    escape_if(opened.is_ok(), || "performance events are open".to_owned())
}

/// A tick that no clock has: invalid to who may set the clock.
fn clock(_: &Facts) -> Escapes {
    // SAFETY: all-zero is a valid timex.
    let mut request: libc::timex = unsafe { std::mem::zeroed() };
    request.modes = libc::ADJ_TICK;
    request.tick = 1;
    allowed("setting the clock", libc::SYS_adjtimex, &[crate::calls::at_mut(&mut request)])
}

/// Input and output ports of the processor.
fn ports_of_the_machine(_: &Facts) -> Escapes {
    #[cfg(target_arch = "x86_64")]
    {
        let got = in_child(|| u8::from(call(libc::SYS_iopl, &[3]).is_ok())) == 1;
        escape_if(got, || "iopl".to_owned())
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}
