//! The kernel in `/proc`, `/sys` and `/dev`. Nothing is written: a file that can be opened for
//! writing is proof enough.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::{Attempt, Escapes, Facts, escape_if};

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("sysrq", sysrq),
    ("core_pattern", core_pattern),
    ("sysctls", sysctls),
    ("network_sysctls", network_sysctls),
    ("host_name", host_name),
    ("kernel_memory", kernel_memory),
    ("kernel_statistics", kernel_statistics),
    ("keys_in_proc", keys_in_proc),
    ("kernel_log", kernel_log),
    ("proc_files", proc_files),
    ("host_devices", host_devices),
    ("devices_work", devices_work),
    ("host_terminals", host_terminals),
    ("control_groups", control_groups),
    ("own_control_group", own_control_group),
    ("own_control_group_nested", own_control_group_nested),
    ("sysfs", sysfs),
    ("environment", environment),
    ("environment_in_proc", environment_in_proc),
    ("namespaces", namespaces),
];

fn writable(paths: &[&str]) -> Escapes {
    let opens = |path: &&&str| OpenOptions::new().write(true).open(path).is_ok();
    paths.iter().filter(opens).map(|path| format!("opened {path} for writing")).collect()
}

fn readable(paths: &[&str]) -> Escapes {
    let reads = |path: &&&str| {
        let Ok(mut file) = fs::File::open(path) else { return false };
        std::io::Read::read(&mut file, &mut [0; 64]).is_ok_and(|length| length > 0)
    };
    paths.iter().filter(reads).map(|path| format!("read {path}")).collect()
}

fn sysrq(_: &Facts) -> Escapes {
    writable(&["/proc/sysrq-trigger", "/proc/sys/kernel/sysrq"])
}

fn core_pattern(_: &Facts) -> Escapes {
    writable(&["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/core_pipe_limit"])
}

fn sysctls(_: &Facts) -> Escapes {
    writable(&[
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hotplug",
        "/proc/sys/kernel/panic",
        "/proc/sys/kernel/randomize_va_space",
        "/proc/sys/kernel/dmesg_restrict",
        "/proc/sys/kernel/threads-max",
        "/proc/sys/kernel/usermodehelper/bset",
        "/proc/sys/kernel/perf_event_paranoid",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/vm/swappiness",
        "/proc/sys/fs/file-max",
        "/proc/sys/fs/protected_hardlinks",
        "/proc/sys/fs/suid_dumpable",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/fs/pipe-max-size",
        "/proc/sys/net/core/bpf_jit_enable",
        "/proc/sys/dev/tty/legacy_tiocsti",
    ])
}

/// Its own network namespace's may be written; the judge looks at the host's.
fn network_sysctls(facts: &Facts) -> Escapes {
    let names =
        ["net/ipv4/ip_forward", "net/ipv4/ip_unprivileged_port_start", "net/ipv4/ip_default_ttl"];
    let paths = names.map(|name| format!("/proc/sys/{name}"));
    if facts.must_not_harm("net") {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        return writable(&paths);
    }
    for (path, value) in paths.iter().zip(["1", "7", "77"]) {
        let _ = fs::write(path, value);
    }
    Vec::new()
}

/// The judge looks at the host's name.
fn host_name(facts: &Facts) -> Escapes {
    let now = nix::unistd::gethostname().unwrap_or_default();
    if facts.must_not_harm("uts") {
        // The same name again.
        let set = nix::unistd::sethostname(&now).is_ok();
        return escape_if(set, || "may set the host's name".to_owned());
    }
    let _ = nix::unistd::sethostname("escaped");
    let _ = fs::write("/proc/sys/kernel/hostname", "escaped");
    let _ = fs::write("/proc/sys/kernel/domainname", "escaped");
    Vec::new()
}

fn kernel_memory(_: &Facts) -> Escapes {
    let mut escapes = readable(&["/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port"]);
    let addresses = |path: &str, column: usize| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| {
            let word = line.split([' ', '-']).filter(|word| !word.is_empty()).nth(column);
            word.is_some_and(|word| {
                word.len() >= 8
                    && word.bytes().all(|b| b.is_ascii_hexdigit())
                    && word.bytes().any(|b| b != b'0')
            })
        })
    };
    escapes.extend(escape_if(addresses("/proc/kallsyms", 0), || {
        "read kernel addresses in /proc/kallsyms".to_owned()
    }));
    escapes.extend(escape_if(addresses("/proc/iomem", 1), || {
        "read physical addresses in /proc/iomem".to_owned()
    }));
    escapes
}

/// For root alone on the host.
fn kernel_statistics(_: &Facts) -> Escapes {
    readable(&[
        "/proc/timer_list",
        "/proc/slabinfo",
        "/proc/vmallocinfo",
        "/proc/pagetypeinfo",
        "/proc/kpagecount",
        "/proc/kpageflags",
        "/proc/sched_debug",
        "/proc/latency_stats",
    ])
}

fn keys_in_proc(facts: &Facts) -> Escapes {
    facts.read("/proc/keys")
}

/// Under strict kernels; else dmesg(1) is everybody's.
fn kernel_log(_: &Facts) -> Escapes {
    let opens = |path: &&&str| {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).is_ok()
    };
    let paths = ["/proc/kmsg", "/dev/kmsg"];
    paths.iter().filter(opens).map(|path| format!("opened {path}")).collect()
}

/// Other files of `/proc` that change the machine.
fn proc_files(_: &Facts) -> Escapes {
    let mut escapes = writable(&[
        "/proc/mtrr",
        "/proc/slabinfo",
        "/proc/timer_list",
        "/proc/scsi/scsi",
        "/proc/acpi/wakeup",
        "/proc/irq/default_smp_affinity",
        "/proc/fs/nfsd",
    ]);
    for directory in
        ["/proc/irq", "/proc/bus", "/proc/tty", "/proc/fs", "/proc/driver", "/proc/sys/kernel"]
    {
        walk(Path::new(directory), 3, &mut |path, mode| {
            // Those that a namespace has for itself.
            let own = ["auto_msgmni", "msg", "sem", "shm", "pid_max", "ns_last_pid", "hostname"];
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            if own.iter().any(|own| name.starts_with(own.as_bytes())) {
                return;
            }
            let opens = mode & 0o222 != 0 && OpenOptions::new().write(true).open(path).is_ok();
            // What everybody may write outside is no privilege.
            escapes.extend(escape_if(opens && mode & 0o002 == 0, || {
                format!("opened {} for writing", path.display())
            }));
        });
    }
    escapes.truncate(4);
    escapes
}

fn walk(directory: &Path, depth: usize, visit: &mut dyn FnMut(&Path, u32)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if metadata.is_dir() && depth > 0 {
            walk(&entry.path(), depth - 1, visit);
        } else if metadata.is_file() {
            visit(&entry.path(), metadata.mode());
        }
    }
}

/// Every device node that is there must be one of those that every program expects.
fn host_devices(_: &Facts) -> Escapes {
    let expected = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"];
    let mut found = Vec::new();
    for directory in
        ["/dev", "/dev/net", "/dev/dri", "/dev/cpu/0", "/dev/vfio", "/dev/input", "/dev/mapper"]
    {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            let known = expected.iter().any(|known| name == *known);
            if (kind.is_char_device() || kind.is_block_device()) && !known {
                found.push(format!("{} is there", entry.path().display()));
            }
        }
    }
    found.truncate(4);
    found
}

/// No attempt: what every program expects is there and is the kernel's own device.
fn devices_work(_: &Facts) -> Escapes {
    let mut missing = Vec::new();
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)]
    {
        let device = fs::metadata(format!("/dev/{name}")).map(|file| file.rdev());
        let right = device.is_ok_and(|device| device == nix::sys::stat::makedev(major, minor));
        missing.extend(escape_if(!right, || format!("/dev/{name} is not the kernel's")));
    }
    let opened = OpenOptions::new().read(true).write(true).open("/dev/ptmx");
    missing.extend(escape_if(opened.is_err(), || format!("/dev/ptmx: {opened:?}")));
    let shared = format!("/dev/shm/isotest-probe-{}", std::process::id());
    missing.extend(escape_if(fs::write(&shared, "x").is_err(), || "/dev/shm".to_owned()));
    let _ = fs::remove_file(shared);
    missing.extend(escape_if(fs::metadata("/dev/fd/0").is_err(), || "/dev/fd".to_owned()));
    missing
}

fn host_terminals(facts: &Facts) -> Escapes {
    let path = &facts.terminal;
    let opened = {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path).is_ok()
    };
    escape_if(opened, || format!("opened {}", path.display()))
}

fn control_groups(_: &Facts) -> Escapes {
    let mut escapes = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), 3, &mut |path, _| {
        let name = path.file_name().unwrap_or_default();
        let names = ["cgroup.procs", "release_agent", "cgroup.subtree_control", "memory.max"];
        let writes =
            names.iter().any(|known| name == *known) && access(path, AccessFlags::W_OK).is_ok();
        escapes.extend(escape_if(writes, || format!("may write {}", path.display())));
    });
    escapes.truncate(3);
    escapes
}

/// With a cgroup namespace of its own, cgroup2 can be mounted: it must not be the host's to steer.
fn own_control_group(facts: &Facts) -> Escapes {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sched::{CloneFlags, unshare};
    let none: Option<&str> = None;
    if facts.must_not_harm("mnt") {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        if unshare(CloneFlags::CLONE_NEWNS).is_err()
            || mount(none, "/", none, private, none).is_err()
        {
            return Vec::new();
        }
    }
    let _ = unshare(CloneFlags::CLONE_NEWCGROUP);
    let place = format!("/tmp/{}-cgroup", facts.marker);
    let _ = fs::create_dir(&place);
    let mut escapes = Vec::new();
    if mount(Some("isotest-probe"), place.as_str(), Some("cgroup2"), MsFlags::empty(), none).is_ok()
    {
        for name in ["cgroup.procs", "cgroup.max.depth", "memory.max", "pids.max", "cgroup.freeze"]
        {
            let path = format!("{place}/{name}");
            let writes = OpenOptions::new().write(true).open(&path).is_ok();
            escapes.extend(escape_if(writes, || {
                format!("opened {name} of the caller's cgroup for writing")
            }));
        }
        let _ = umount2(place.as_str(), MntFlags::MNT_DETACH);
    }
    let _ = fs::remove_dir(&place);
    escapes.truncate(2);
    escapes
}

/// In a user namespace of its own everybody has the capabilities that it takes.
fn own_control_group_nested(facts: &Facts) -> Escapes {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    let writes = crate::calls::in_child(|| {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).is_err() {
            return 0;
        }
        let _ = fs::write("/proc/self/setgroups", "deny");
        let _ = fs::write("/proc/self/uid_map", format!("0 {uid} 1"));
        let _ = fs::write("/proc/self/gid_map", format!("0 {gid} 1"));
        u8::from(!own_control_group(facts).is_empty())
    });
    escape_if(writes == 1, || "opened the caller's cgroup for writing".to_owned())
}

fn sysfs(_: &Facts) -> Escapes {
    let mut escapes =
        writable(&["/sys/power/state", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run"]);
    walk(Path::new("/sys/kernel"), 1, &mut |path, _| {
        let writes = access(path, AccessFlags::W_OK).is_ok();
        escapes.extend(escape_if(writes, || format!("may write {}", path.display())));
    });
    escapes.truncate(3);
    escapes
}

fn environment(facts: &Facts) -> Escapes {
    let kept = facts
        .variables
        .iter()
        .filter(|name| std::env::var(name).is_ok_and(|value| value.contains(&facts.marker)));
    kept.map(|name| format!("the variable {name} is set")).collect()
}

/// The first bytes of a process's memory keep the environment that it was started with.
fn environment_in_proc(facts: &Facts) -> Escapes {
    let entries = fs::read_dir("/proc").map(|all| all.flatten().collect::<Vec<_>>());
    let mut escapes = Vec::new();
    for entry in entries.unwrap_or_default() {
        let text = fs::read(entry.path().join("environ")).unwrap_or_default();
        // Paths hold the marker, too.
        let secret = format!("secret-of-{}", facts.marker);
        let found = String::from_utf8_lossy(&text).contains(&secret);
        escapes.extend(escape_if(found, || format!("read {}/environ", entry.path().display())));
    }
    escapes.truncate(2);
    escapes
}

fn namespaces(facts: &Facts) -> Escapes {
    let names = ["user", "pid", "mnt", "net", "ipc", "uts"];
    let shared = names.iter().filter(|name| facts.shares(name));
    shared.map(|name| format!("is in the host's {name} namespace")).collect()
}
