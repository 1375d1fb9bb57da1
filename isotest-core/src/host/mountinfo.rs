//! Mounts of this process: proc_pid_mountinfo(5).

use std::ffi::{CStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Source of the mounts of a sandbox, which have no device (mount(2)).
pub(crate) const SOURCE: &CStr = c"isotest";

/// True if this process is in a sandbox of isotest's, by the source of the mount at its root.
/// Nothing inherited could forge it, such as a variable: only the maker of a root filesystem could.
pub fn is_sandbox() -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mountinfo| is_rooted_in_ours(&mountinfo))
}

fn is_rooted_in_ours(mountinfo: &str) -> bool {
    let root = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
    let source = root.and_then(|line| line.split_once(" - ")?.1.split(' ').nth(1));
    source.is_some_and(|source| source.as_bytes() == SOURCE.to_bytes())
}

/// Mounts of a type of filesystem: the root of each mount within its filesystem, and its mount
/// point.
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
pub(super) fn mount_points(mountinfo: &str, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let kind = |line: &str| {
        let (_, rest) = line.split_once(" - ")?;
        rest.split(' ').next().map(str::to_owned)
    };
    let lines = mountinfo.lines().filter(|line| kind(line).is_none_or(|kind| wanted(&kind)));
    let points = lines.filter_map(|line| line.split(' ').nth(4));
    points.map(|text| PathBuf::from(unescape(text))).collect()
}

fn unescape(text: &str) -> OsString {
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
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
