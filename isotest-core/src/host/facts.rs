//! Facts about the machine, as plain data, and what follows from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::etc::Piece;
use super::part::Part;

/// Directories for what is gone when the machine is started again. Few roots lack one: those of
/// containers that are made by hand.
pub const TEMPORARY: [&str; 3] = ["/run", "/tmp", "/var/tmp"];

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
    /// The maps hold more than the caller's own id; then only the warden may write a case's.
    pub maps_ranges: bool,
    /// Each pid namespace has a `pid_max` of its own, as since Linux 6.14.
    pub has_pid_max_per_namespace: bool,
    /// There are sockets of IPv6.
    pub has_ipv6: bool,
    /// Bytes of memory of the machine: `MemTotal` of proc_meminfo(5), 0 where it cannot be read.
    pub memory: u64,
    /// The host name, uname(2).
    pub name: String,
    /// Content of `/etc/hosts`; nothing where it cannot be read or is very large.
    pub hosts: Option<String>,
    /// Mount points (proc_pid_mountinfo(5)).
    pub mount_points: Vec<PathBuf>,
    /// Those of filesystems that are not known to serve as the lower layer of an overlay.
    pub no_layers: Vec<PathBuf>,
    /// Directories of [`TEMPORARY`] that the host does not have.
    pub missing: Vec<&'static str>,
    /// Those of overlays: the kernel lays no more than one other on one of these.
    pub overlays: Vec<PathBuf>,
    /// Those of filesystems that the kernel takes for no layer at all.
    pub refused_layers: Vec<PathBuf>,
    /// The host's root filesystem: its entries that tests see. Of another one they see all.
    pub top_level: Vec<TopLevel>,
    /// Parts of its directories below which other filesystems are mounted.
    pub parts: Vec<(PathBuf, Arc<[Part]>)>,
    /// Files below `/etc` that not everybody may read, relative to `/etc`.
    pub hidden_etc: Vec<PathBuf>,
    /// Entries of the host's `/etc` that everybody may read, where it cannot be the layer of an
    /// overlay.
    pub etc: Option<Arc<[Piece]>>,
    /// Entries in the `/dev` of another root filesystem: tests see none of them.
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

impl Host {
    /// The mount points strictly below `path`.
    pub fn mounts_below(&self, path: &Path) -> Vec<&Path> {
        let below = |point: &&PathBuf| point.starts_with(path) && point.as_path() != path;
        self.mount_points.iter().filter(below).map(PathBuf::as_path).collect()
    }

    /// True if the path lies in a system directory, which is shown as a whole.
    pub fn is_system(&self, path: &Path) -> bool {
        self.top_level.iter().any(|entry| match entry {
            TopLevel::Directory(name) => path.starts_with(Path::new("/").join(name)),
            TopLevel::Link(..) => false,
        })
    }

    /// True if a directory can be the lower layer of an overlay that shows all of it.
    pub fn can_be_layer(&self, directory: &Path) -> bool {
        let nearest = self.mounted_around(directory);
        self.mounts_below(directory).is_empty()
            && nearest.is_none_or(|point| !self.no_layers.contains(point))
    }

    /// True if it can be the lower layer of an overlay that is itself one.
    pub fn can_be_layer_twice(&self, directory: &Path) -> bool {
        let nearest = self.mounted_around(directory);
        self.can_be_layer(directory) && nearest.is_none_or(|point| !self.overlays.contains(point))
    }

    /// True if asking for the path may take long, or mount something: it lies in a filesystem that
    /// a program makes (FUSE), that is mounted when it is asked for (autofs), or that is not known.
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
pub(super) const LAYERS: [&str; 16] = [
    "9p", "bcachefs", "btrfs", "ceph", "erofs", "ext2", "ext3", "ext4", "f2fs", "nfs", "nfs4",
    "overlay", "squashfs", "tmpfs", "virtiofs", "xfs",
];

/// Filesystems that compare names in their own way, mount by themselves, or forbid to be stacked.
pub(super) const REFUSED_LAYERS: [&str; 8] =
    ["autofs", "cifs", "exfat", "msdos", "ntfs3", "proc", "smb3", "vfat"];

#[cfg(test)]
mod tests {
    use super::*;

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
