//! Reads the facts about the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid, getgroups};

use super::etc;
use super::facts::{Host, LAYERS, REFUSED_LAYERS, TEMPORARY, TopLevel};
use super::mountinfo::mount_points;

/// The entries of `/` that hold programs and libraries, file-hierarchy(7); `/nix` and `/gnu` are
/// the stores of NixOS and Guix.
const SYSTEM_DIRECTORIES: [&str; 11] =
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "nix", "gnu", "snap"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

impl Host {
    /// Reads the facts; `root` is the root filesystem that tests will see: `/`, or another.
    pub fn read(root: &Path) -> io::Result<Host> {
        check_genuine()?;
        let system: &[&str] = if root.parent().is_none() { &SYSTEM_DIRECTORIES } else { &[] };
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let privileged = has_set_id_capabilities()?;
        let map = |file: &str, id: u32| -> io::Result<String> {
            match privileged {
                true => identity_of_ranges(&fs::read_to_string(file)?),
                false => Ok(format!("{id} {id} 1\n")),
            }
        };
        let etc = root.join("etc");
        let superuser = uid == 0 && maps_superuser(&fs::read_to_string("/proc/self/uid_map")?);
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        let of_superuser = |paths: Vec<PathBuf>| if superuser { paths } else { Vec::new() };
        let mut host = Host {
            settings: of_superuser(settings()),
            statistics: of_superuser(in_proc(&STATISTICS)),
            keys: in_proc(&["keys"]),
            uid,
            gid,
            groups: getgroups()?.iter().map(|group| group.as_raw()).collect(),
            uid_map: map("/proc/self/uid_map", uid)?,
            gid_map: map("/proc/self/gid_map", gid)?,
            maps_ranges: privileged,
            has_pid_max_per_namespace: kernel_version() >= (6, 14),
            has_ipv6: has_ipv6(),
            memory: memory(),
            name: host_name()?,
            hosts: etc::read_hosts(Path::new("/etc/hosts")),
            mount_points: mount_points(&mountinfo, |_| true),
            no_layers: mount_points(&mountinfo, |kind| !LAYERS.contains(&kind)),
            overlays: mount_points(&mountinfo, |kind| kind == "overlay"),
            missing: TEMPORARY.into_iter().filter(|path| !Path::new(path).is_dir()).collect(),
            refused_layers: mount_points(&mountinfo, |kind| REFUSED_LAYERS.contains(&kind)),
            top_level: system.iter().filter_map(|name| top_level(root, name)).collect(),
            parts: Vec::new(),
            hidden_etc: etc::find_private(&etc),
            etc: None,
            hidden_dev: if system.is_empty() { names_in(&root.join("dev")) } else { Vec::new() },
            devices: in_dev(&DEVICES),
            ipc_directories: in_dev(&["shm", "mqueue"]),
        };
        let is_layer = is_directory(&etc) && host.can_be_layer(Path::new("/etc"));
        if !is_layer && !system.is_empty() {
            host.etc = Some(etc::read(&etc)?.into());
        }
        for entry in &host.top_level {
            if let TopLevel::Directory(name) = entry {
                let path = root.join(name);
                let parts = host.parts_of(&path).map(|parts| (path, parts));
                host.parts.extend(parts);
            }
        }
        Ok(host)
    }
}

/// True if this process has the effective uid 0.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Checks that `/proc` and `/dev/null` are genuine: id maps are written in the one, and the other
/// is the input of every case. Otherwise both could lead to a file of somebody else's
/// (CVE-2019-19921, CVE-2025-31133).
fn check_genuine() -> io::Result<()> {
    use nix::sys::{stat, statfs};
    if statfs::statfs("/proc")?.filesystem_type() != statfs::PROC_SUPER_MAGIC {
        return Err(io::Error::other("`/proc` is not a proc filesystem; mount one there"));
    }
    // Id maps would be written for another process.
    let own = fs::read_link("/proc/self").unwrap_or_default();
    if own.as_os_str() != std::process::id().to_string().as_str() {
        return Err(io::Error::other(
            "`/proc` is that of another pid namespace; mount this one's: `mount -t proc proc \
             /proc`, or `unshare --mount-proc`",
        ));
    }
    let null = stat::lstat("/dev/null")?;
    let is_device = null.st_mode & libc::S_IFMT == libc::S_IFCHR;
    if !is_device || null.st_rdev != stat::makedev(1, 3) {
        return Err(io::Error::other(
            "`/dev/null` is not the null device; make it: `mknod -m 666 /dev/null c 1 3`",
        ));
    }
    Ok(())
}

/// The names in a directory; none where it cannot be listed.
fn names_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.file_name().into()).collect();
    names.sort();
    names
}

/// Entries of `/proc`, other than sysctls, that only the superuser may write to.
const SETTINGS: [&str; 9] =
    ["acpi", "bus", "driver", "fs", "irq", "mtrr", "scsi", "sysrq-trigger", "tty"];
const STATISTICS: [&str; 9] = [
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "pagetypeinfo",
    "sched_debug",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
];

/// The paths of [`SETTINGS`] and the sysctls that no namespace has for itself: all but `net` and
/// `user`.
fn settings() -> Vec<PathBuf> {
    let mut all = in_proc(&SETTINGS);
    let sysctls = fs::read_dir("/proc/sys").into_iter().flatten().flatten();
    let sysctls = sysctls.map(|entry| entry.path());
    all.extend(sysctls.filter(|path| !path.ends_with("net") && !path.ends_with("user")));
    all.sort();
    all
}

fn in_proc(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| Path::new("/proc").join(name)).filter(|path| path.exists()).collect()
}

/// True if uid 0 of a user namespace with this map is uid 0 of the one above it. It is the
/// machine's superuser where that holds for all namespaces above; that cannot be seen from here.
fn maps_superuser(map: &str) -> bool {
    let words = map.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
    words.into_iter().any(|words| words == ["0", "0"])
}

/// True if it is a directory, and no symbolic link to one.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Those of the names that stand in `/dev`.
fn in_dev(names: &[&str]) -> Vec<String> {
    let there = names.iter().filter(|name| Path::new("/dev").join(name).exists());
    there.map(|name| (*name).to_owned()).collect()
}

fn top_level(root: &Path, name: &str) -> Option<TopLevel> {
    let path = root.join(name);
    match fs::symlink_metadata(&path).ok()? {
        link if link.is_symlink() => {
            Some(TopLevel::Link(name.to_owned(), fs::read_link(&path).ok()?))
        }
        directory if directory.is_dir() => Some(TopLevel::Directory(name.to_owned())),
        _ => None,
    }
}

/// True if this process has CAP_SETUID and CAP_SETGID, which writing a map of more than one id
/// takes, and CAP_SETFCAP, which uid 0 in it does (user_namespaces(7)).
fn has_set_id_capabilities() -> io::Result<bool> {
    const CAP_SETGID: u64 = 1 << 6;
    const CAP_SETUID: u64 = 1 << 7;
    const CAP_SETFCAP: u64 = 1 << 31;
    const ALL: u64 = CAP_SETUID | CAP_SETGID | CAP_SETFCAP;
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    Ok(effective & ALL == ALL)
}

/// A kernel can be without IPv6, and a seccomp filter can refuse it.
fn has_ipv6() -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).is_ok()
}

/// Memory of the machine in bytes.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

fn host_name() -> io::Result<String> {
    Ok(nix::sys::utsname::uname()?.nodename().to_string_lossy().into_owned())
}

/// The first two numbers of the kernel's release; zeros where it cannot be read.
fn kernel_version() -> (u32, u32) {
    version_of(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default())
}

fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    (next(), next())
}

/// From the lines `INSIDE OUTSIDE COUNT` of a map, the map of every inside id to itself.
fn identity_of_ranges(map: &str) -> io::Result<String> {
    let identity = |line: &str| {
        let mut words = line.split_whitespace();
        let (first, count) = (words.next()?, words.nth(1)?);
        Some(format!("{first} {first} {count}\n"))
    };
    map.lines()
        .map(|line| identity(line).ok_or_else(|| io::Error::other(format!("id map: `{line}`"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_ranges_becomes_the_identity() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(identity_of_ranges(map).unwrap(), "0 0 1\n1 1 65536\n");
        assert!(identity_of_ranges("nonsense").is_err());
    }

    #[test]
    fn a_release_becomes_a_version() {
        assert_eq!(version_of("6.14.0-rc3+\n"), (6, 14));
        assert_eq!(version_of("6.8\n"), (6, 8));
        assert_eq!(version_of("nonsense"), (0, 0));
    }

    #[test]
    fn the_superuser_is_uid_0_above_as_well() {
        assert!(maps_superuser("         0          0 4294967295\n"));
        assert!(!maps_superuser("         0       1000          1\n"));
    }
}
