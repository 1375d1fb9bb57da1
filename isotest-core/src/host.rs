//! What the machine is like: read once, before anything is planned.
//!
//! The only module of the core, beside the sandbox itself, that looks at the host. What it finds
//! is plain data, so that plans stay pure and can be tested for machines that are not there.

mod debugger;
mod etc;
mod parts;
mod surroundings;

use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{getegid, geteuid, getgroups};

pub use debugger::{Debugger, DebuggerFile, Lookup};
pub use etc::{Content, Original, Piece};
pub use parts::{Part, ShownPart};
pub use surroundings::{Container, Surroundings};

/// What the filesystems of a sandbox are called as devices, which they have none of.
pub(crate) const SOURCE: &CStr = c"isotest";

/// A top-level entry of a root filesystem that tests see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopLevel {
    /// A directory, bound read-only.
    Directory(String),
    /// A symbolic link, made again.
    Link(String, PathBuf),
}

/// Facts about the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The effective uid.
    pub uid: u32,
    /// The effective gid.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The warden's uid map, user_namespaces(7): every id of this user namespace for a
    /// privileged caller, its own id for others.
    pub uid_map: String,
    /// The warden's gid map.
    pub gid_map: String,
    /// Whether the maps hold more than the caller's own id; then only the warden may write a
    /// case's.
    pub maps_ranges: bool,
    /// Whether each pid namespace has a `pid_max` of its own, as since Linux 6.14.
    pub has_pid_max_per_namespace: bool,
    /// Whether there are sockets of IPv6.
    pub has_ipv6: bool,
    /// The host name, uname(2).
    pub name: String,
    /// What `/etc/hosts` says; nothing where it cannot be read or is very large.
    pub hosts: Option<String>,
    /// Where filesystems are mounted (proc_pid_mountinfo(5)).
    pub mount_points: Vec<PathBuf>,
    /// Those of filesystems that are not known to serve as the lower layer of an overlay.
    pub no_layers: Vec<PathBuf>,
    /// Which of [`TEMPORARY`] the host has not.
    pub missing: Vec<&'static str>,
    /// Those of overlays: the kernel lays no more than one other on one of these.
    pub overlays: Vec<PathBuf>,
    /// Those of filesystems that the kernel takes for no layer at all.
    pub refused_layers: Vec<PathBuf>,
    /// The host's root filesystem: its entries that tests see. Of another one they see all.
    pub top_level: Vec<TopLevel>,
    /// What those of its directories are made of below which other filesystems are mounted.
    pub parts: Vec<(PathBuf, Arc<[Part]>)>,
    /// Files below `/etc` that not everybody may read, relative to `/etc`.
    pub hidden_etc: Vec<PathBuf>,
    /// What everybody may read of the host's `/etc`, where it cannot be the layer of an overlay.
    pub etc: Option<Arc<[Piece]>>,
    /// What another root filesystem has in its `/dev`: tests see none of it.
    pub hidden_dev: Vec<PathBuf>,
    /// Paths in `/proc` by which the superuser steers the whole machine, and which a case of the
    /// superuser's could write to: the kernel asks for the uid, not for a capability.
    pub settings: Vec<PathBuf>,
    /// Files in `/proc` that only the superuser may read.
    pub statistics: Vec<PathBuf>,
    /// Files in `/proc` that list the user's keys, the whole machine's.
    pub keys: Vec<PathBuf>,
    /// Device nodes in `/dev` that tests get.
    pub devices: Vec<String>,
    /// Directories in `/dev` for inter-process communication, those that are there.
    pub ipc_directories: Vec<String>,
}

/// The entries of `/` that hold programs and libraries, file-hierarchy(7); `/nix` and `/gnu` are
/// the stores of NixOS and Guix.
const SYSTEM_DIRECTORIES: [&str; 11] =
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "nix", "gnu", "snap"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Directories for what is gone when the machine is started again. Few roots lack one: those of
/// containers that are made by hand.
pub const TEMPORARY: [&str; 3] = ["/run", "/tmp", "/var/tmp"];

/// Whether this process is in a sandbox of isotest's: the filesystem at its root says by whom it was
/// mounted. Nothing that is inherited says so, such as a variable: only who makes the root filesystem
/// of a machine could.
pub fn is_sandbox() -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mountinfo| is_rooted_in_ours(&mountinfo))
}

fn is_rooted_in_ours(mountinfo: &str) -> bool {
    let root = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
    let source = root.and_then(|line| line.split_once(" - ")?.1.split(' ').nth(1));
    source.is_some_and(|source| source.as_bytes() == SOURCE.to_bytes())
}

/// Whether this process has the effective uid 0.
pub fn is_root() -> bool {
    geteuid().is_root()
}

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

    /// The mount points strictly below `path`.
    pub fn mounts_below(&self, path: &Path) -> Vec<&Path> {
        let below = |point: &&PathBuf| point.starts_with(path) && point.as_path() != path;
        self.mount_points.iter().filter(below).map(PathBuf::as_path).collect()
    }

    /// Whether the path lies in a system directory, which is shown as a whole.
    pub fn is_system(&self, path: &Path) -> bool {
        self.top_level.iter().any(|entry| match entry {
            TopLevel::Directory(name) => path.starts_with(Path::new("/").join(name)),
            TopLevel::Link(..) => false,
        })
    }

    /// Whether a directory can be the lower layer of an overlay that shows all of it.
    pub fn can_be_layer(&self, directory: &Path) -> bool {
        let nearest = self.mounted_around(directory);
        self.mounts_below(directory).is_empty()
            && nearest.is_none_or(|point| !self.no_layers.contains(point))
    }

    /// Whether it can be the lower layer of an overlay that is itself one.
    pub fn can_be_layer_twice(&self, directory: &Path) -> bool {
        let nearest = self.mounted_around(directory);
        self.can_be_layer(directory) && nearest.is_none_or(|point| !self.overlays.contains(point))
    }

    /// What a directory is made of below which other filesystems are mounted; `None` for others, and
    /// where these are too many parts.
    pub fn parts_of(&self, directory: &Path) -> Option<Arc<[Part]>> {
        let is_whole = self.mounts_below(directory).is_empty() || self.is_remote(directory);
        if is_whole { None } else { parts::read(self, directory).map(Arc::from) }
    }

    /// Whether asking for the path may take long, or mount something: it lies in a filesystem that a
    /// program makes (FUSE), that is mounted when it is asked for (autofs), or that is not known.
    /// `/sys` is the kernel's.
    pub fn is_remote(&self, path: &Path) -> bool {
        let nearest = self.mounted_around(path);
        !path.starts_with("/sys") && nearest.is_some_and(|point| self.no_layers.contains(point))
    }

    /// The mount point of the filesystem in which a path lies.
    fn mounted_around(&self, path: &Path) -> Option<&PathBuf> {
        let around = self.mount_points.iter().filter(|point| path.starts_with(point));
        around.max_by_key(|point| point.components().count())
    }
}

/// Filesystems of which every directory can be the lower layer of an overlay. Others, such as vfat,
/// compare names in their own way, and the kernel refuses them (fs/overlayfs, `ovl_dentry_weird`).
const LAYERS: [&str; 16] = [
    "9p", "bcachefs", "btrfs", "ceph", "erofs", "ext2", "ext3", "ext4", "f2fs", "nfs", "nfs4",
    "overlay", "squashfs", "tmpfs", "virtiofs", "xfs",
];

/// Filesystems that compare names in their own way, mount by themselves, or forbid to be stacked.
const REFUSED_LAYERS: [&str; 8] =
    ["autofs", "cifs", "exfat", "msdos", "ntfs3", "proc", "smb3", "vfat"];

/// Whether `/proc` and `/dev/null` are what they are named: id maps are written in the one, and the
/// other is the input of every case. Elsewhere both could lead to a file of somebody else's
/// (CVE-2019-19921, CVE-2025-31133).
fn check_genuine() -> io::Result<()> {
    use nix::sys::{stat, statfs};
    if statfs::statfs("/proc")?.filesystem_type() != statfs::PROC_SUPER_MAGIC {
        return Err(io::Error::other("`/proc` is no proc filesystem; mount one there"));
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

/// What else in `/proc` than sysctls is writable for the superuser alone.
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

/// Whether uid 0 of a user namespace with this map is uid 0 of the one above it. It is the
/// machine's superuser where that holds for all namespaces above; that cannot be seen from here.
fn maps_superuser(map: &str) -> bool {
    let words = map.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
    words.into_iter().any(|words| words == ["0", "0"])
}

/// Whether it is a directory, and no symbolic link to one.
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

/// Whether this process has CAP_SETUID and CAP_SETGID, which writing a map of more than one id
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

/// What is mounted of a type of filesystem, and where: the root of each mount within its
/// filesystem, and its mount point.
pub fn mounts_of<'a>(
    mountinfo: &'a str,
    fstype: &'a str,
) -> impl Iterator<Item = (PathBuf, PathBuf)> + 'a {
    let lines = mountinfo.lines().filter(move |line| {
        line.split_once(" - ").is_some_and(|(_, rest)| rest.split(' ').next() == Some(fstype))
    });
    lines.filter_map(|line| {
        let mut fields = line.split(' ').skip(3).map(|text| PathBuf::from(unescape(text)));
        Some((fields.next()?, fields.next()?))
    })
}

/// The mount points in a mountinfo file of the filesystems that are wanted, with octal escapes
/// undone.
fn mount_points(mountinfo: &str, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let kind = |line: &str| {
        let (_, rest) = line.split_once(" - ")?;
        rest.split(' ').next().map(str::to_owned)
    };
    let lines = mountinfo.lines().filter(|line| kind(line).is_none_or(|kind| wanted(&kind)));
    let points = lines.filter_map(|line| line.split(' ').nth(4));
    points.map(|text| PathBuf::from(unescape(text))).collect()
}

fn unescape(text: &str) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes)
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

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let line = "36 35 98:0 / /mnt/a\\040b rw,noatime - ext3 /dev/root rw\n";
        assert_eq!(mount_points(line, |_| true), [PathBuf::from("/mnt/a b")]);
        assert!(mount_points(line, |kind| kind != "ext3").is_empty());
    }

    #[test]
    fn a_sandbox_is_known_by_what_is_mounted_last_at_its_root() {
        let of = |sources: [&str; 2]| {
            let [first, last] = sources;
            is_rooted_in_ours(&format!(
                "36 35 0:1 / / rw - tmpfs {first} rw\n37 36 0:2 / /proc rw - proc isotest rw\n\
                 38 36 0:3 / / rw,noatime shared:1 - overlay {last} rw\n"
            ))
        };
        assert!(of(["tmpfs", "isotest"]));
        assert!(!of(["isotest", "overlay"]) && !is_rooted_in_ours(""));
    }

    #[test]
    fn a_directory_is_no_layer_where_something_else_is_mounted_in_it_or_around_it() {
        let host = Host {
            mount_points: ["/", "/mnt/usb", "/srv/data/disk"].map(PathBuf::from).to_vec(),
            no_layers: vec!["/mnt/usb".into()],
            ..Host::default()
        };
        let can = |path: &str| host.can_be_layer(Path::new(path));
        assert!(can("/usr") && can("/srv/data/disk"));
        assert!(!can("/mnt/usb/directory") && !can("/srv/data"));
    }
}
