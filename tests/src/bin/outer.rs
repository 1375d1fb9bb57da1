//! Runs a command where something is refused or missing: `outer ACT… -- PROGRAM ARGUMENT…`.
//!
//! The acts are performed in their order, in this process, which then becomes the command:
//!
//! - `namespaces`: new user and mount namespaces with one's own ids; what follows needs them
//! - `write:PATH=TEXT`: writes to a file of a kernel filesystem
//! - `tmpfs:PATH`: an empty tmpfs there
//! - `read-only:PATH`: what is there, but read-only
//! - `devices:NAME,…`: a `/dev` with these devices, and of the rest `shm` alone
//! - `link:PATH=TARGET`: a symbolic link
//! - `false-proc`: a `/proc` of plain files that say the same of the process itself
//! - `chroot:DIRECTORY`: the whole root once more, there, as the root
//! - `no-new-privileges`: as a service manager sets it
//! - `no-setfcap`: without CAP_SETFCAP, also for root
//! - `refuse:CALL=ERRNO`: a seccomp filter answers a system call like that

#![allow(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, chroot, getegid, geteuid};

type Failure = Box<dyn std::error::Error>;

const NO_DATA: Option<&str> = None;

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    for act in words.by_ref().take_while(|word| word != "--") {
        let act = act.to_string_lossy();
        if let Err(failure) = perform(&act) {
            eprintln!("outer: {act}: {failure}");
            return ExitCode::from(70);
        }
    }
    let command: Vec<OsString> = words.collect();
    let (program, arguments) = command.split_first().expect("a command follows `--`");
    eprintln!("outer: {}", Command::new(program).args(arguments).exec());
    ExitCode::from(71)
}

fn perform(act: &str) -> Result<(), Failure> {
    let (verb, object) = act.split_once(':').unwrap_or((act, ""));
    match (verb, object.rsplit_once('=')) {
        ("namespaces", _) => enter_namespaces(),
        ("write", Some((path, text))) => Ok(fs::write(path, text)?),
        ("tmpfs", _) => Ok(mount(Some("tmpfs"), object, Some("tmpfs"), MsFlags::empty(), NO_DATA)?),
        ("read-only", _) => make_read_only(object),
        ("devices", _) => keep_devices(object),
        ("link", Some((path, target))) => Ok(std::os::unix::fs::symlink(target, path)?),
        ("false-proc", _) => forge_proc(),
        ("chroot", _) => change_root(Path::new(object)),
        ("no-new-privileges", _) => Ok(nix::sys::prctl::set_no_new_privs()?),
        ("no-setfcap", _) => drop_setfcap(),
        ("refuse", Some((call, errno))) => refuse(call, errno),
        _ => Err("no such act".into()),
    }
}

fn enter_namespaces() -> Result<(), Failure> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    Ok(mount(NO_DATA, "/", NO_DATA, private, NO_DATA)?)
}

fn make_read_only(path: &str) -> Result<(), Failure> {
    mount(Some(path), path, NO_DATA, MsFlags::MS_BIND | MsFlags::MS_REC, NO_DATA)?;
    // What a mount of another user namespace has set must stay set.
    let kept = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | kept;
    Ok(mount(NO_DATA, path, NO_DATA, flags, NO_DATA)?)
}

fn keep_devices(names: &str) -> Result<(), Failure> {
    let open = |name| fs::File::open(Path::new("/dev").join(name)).map(|file| (name, file));
    let devices: Vec<_> = names.split(',').map(open).collect::<Result<_, _>>()?;
    // A checkout may lie there.
    let shared = fs::File::open("/dev/shm").ok();
    mount(Some("tmpfs"), "/dev", Some("tmpfs"), MsFlags::empty(), NO_DATA)?;
    for (name, device) in devices {
        let (source, target) =
            (format!("/proc/self/fd/{}", device.as_raw_fd()), format!("/dev/{name}"));
        fs::write(&target, "")?;
        mount(Some(source.as_str()), target.as_str(), NO_DATA, MsFlags::MS_BIND, NO_DATA)?;
    }
    if let Some(shared) = shared {
        let source = format!("/proc/self/fd/{}", shared.as_raw_fd());
        fs::create_dir("/dev/shm")?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(source.as_str()), "/dev/shm", NO_DATA, flags, NO_DATA)?;
    }
    Ok(())
}

fn forge_proc() -> Result<(), Failure> {
    let files = ["uid_map", "gid_map", "setgroups", "status", "mountinfo"];
    let read = |name| fs::read(Path::new("/proc/self").join(name)).map(|text| (name, text));
    let files: Vec<_> = files.into_iter().map(read).collect::<Result<_, _>>()?;
    mount(Some("tmpfs"), "/proc", Some("tmpfs"), MsFlags::empty(), NO_DATA)?;
    fs::create_dir("/proc/self")?;
    for (name, text) in files {
        fs::write(Path::new("/proc/self").join(name), text)?;
    }
    Ok(())
}

fn change_root(directory: &Path) -> Result<(), Failure> {
    let present = env::current_dir()?;
    mount(Some("/"), directory, NO_DATA, MsFlags::MS_BIND | MsFlags::MS_REC, NO_DATA)?;
    chroot(directory)?;
    Ok(chdir(&present)?)
}

/// prctl(2) PR_CAPBSET_DROP: exec gives it to nobody.
fn drop_setfcap() -> Result<(), Failure> {
    const CAP_SETFCAP: libc::c_ulong = 31;
    // SAFETY: PR_CAPBSET_DROP takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SETFCAP, 0, 0, 0) })?;
    Ok(())
}

/// Refused system call: its number, and a bit that its first argument must have.
fn call_named(name: &str) -> Result<(i64, Option<u32>), Failure> {
    Ok(match name {
        "clone3" => (libc::SYS_clone3, None),
        // Any other clone(2) is fork or a thread.
        "clone" => (libc::SYS_clone, Some(libc::CLONE_NEWUSER as u32)),
        "unshare" => (libc::SYS_unshare, None),
        "mount" => (libc::SYS_mount, None),
        "mount_setattr" => (libc::SYS_mount_setattr, None),
        "pivot_root" => (libc::SYS_pivot_root, None),
        "keyctl" => (libc::SYS_keyctl, None),
        "sethostname" => (libc::SYS_sethostname, None),
        _ => return Err("no such system call".into()),
    })
}

/// A filter of classic BPF, linux/filter.h, for seccomp(2).
fn refuse(call: &str, errno: &str) -> Result<(), Failure> {
    let errno = match errno {
        "EPERM" => Errno::EPERM,
        "ENOSYS" => Errno::ENOSYS,
        _ => return Err("no such errno".into()),
    };
    let (number, bit) = call_named(call)?;
    let instruction = |code: u32, yes, no, value| libc::sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k: value,
    };
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let give = |value| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let jump = |test, no, value| instruction(libc::BPF_JMP | test | libc::BPF_K, 0, no, value);
    // Offset 0 of `struct seccomp_data` is the number, 16 the low half of the first argument.
    let mut program = vec![load(0)];
    match bit {
        None => program.push(jump(libc::BPF_JEQ, 1, number as u32)),
        Some(bit) => {
            program.push(jump(libc::BPF_JEQ, 3, number as u32));
            program.push(load(16));
            program.push(jump(libc::BPF_JSET, 1, bit));
        }
    }
    program.push(give(libc::SECCOMP_RET_ERRNO | errno as u32));
    program.push(give(libc::SECCOMP_RET_ALLOW));
    nix::sys::prctl::set_no_new_privs()?;
    let filter =
        libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` describes `program`, which lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter)
    };
    Errno::result(result).map(drop)?;
    Ok(())
}
