//! Paths of a process: made absolute, and looked up as the process would.
//!
//! A path is looked up below the root of the process (openat2(2), RESOLVE_IN_ROOT) without opening
//! what it leads to (O_PATH). What cannot be told from outside is [`Existence::Unknown`]: names in
//! `/proc` depend on who looks, but for the directory of a process by its number.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;

use crate::trace::Existence;

/// Maximum number of symbolic links that lead nowhere on one path.
const LINKS: usize = 8;

/// A path as the case knows it: absolute, without `.` and `..`. `None` where its directory is not
/// known.
pub fn absolute(thread: i32, directory: Option<i32>, path: &str) -> Option<String> {
    let link = |name: &str| {
        let target = fs::read_link(format!("/proc/{thread}/{name}")).ok()?;
        Some(target.to_string_lossy().into_owned())
    };
    if path.starts_with('/') {
        // Most have the root of their case.
        let root = link("root").unwrap_or_default();
        return Some(clean(root.trim_end_matches('/'), path));
    }
    let directory = match directory {
        Some(descriptor) if descriptor != libc::AT_FDCWD => link(&format!("fd/{descriptor}")),
        Some(_) | None => link("cwd"),
    }?;
    directory.starts_with('/').then(|| clean(&directory, path))
}

/// Joins two paths and resolves `.` and `..` by name.
fn clean(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Looks an absolute path up in the root of the case, which `leader` has. `follow`: a symbolic link
/// in the last place as well.
pub fn look_up(root: &OwnedFd, path: &str, follow: bool) -> Existence {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if is_of_proc(&path) {
            return look_up_process(root, &path);
        }
        match resolve(root, &path, follow) {
            Ok(_) => return Existence::Exists,
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(_) => return Existence::Unknown,
        }
        // A link may lead to where names depend on who looks.
        match link_on(root, &path) {
            Some(next) => path = next,
            None => return Existence::Missing,
        }
    }
    Existence::Unknown
}

fn is_of_proc(path: &str) -> bool {
    path == "/proc" || path.starts_with("/proc/")
}

/// A path in `/proc` is missing where the process with its number is.
fn look_up_process(root: &OwnedFd, path: &str) -> Existence {
    let name = path.split('/').nth(2).unwrap_or_default();
    let Ok(number) = name.parse::<u32>() else { return Existence::Unknown };
    match resolve(root, &format!("/proc/{number}"), false) {
        Err(Errno::NOENT) => Existence::Missing,
        Ok(_) if path == format!("/proc/{number}") => Existence::Exists,
        Ok(_) | Err(_) => Existence::Unknown,
    }
}

fn resolve(root: &OwnedFd, path: &str, follow: bool) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let last = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC | last, Mode::empty(), how)
}

/// The path with the link in it replaced by its target, where a link is what leads nowhere.
fn link_on(root: &OwnedFd, path: &str) -> Option<String> {
    let ends = path.char_indices().filter(|(_, letter)| *letter == '/').map(|(place, _)| place);
    let ends = ends.skip(1).chain([path.len()]).collect::<Vec<_>>();
    let found = ends.into_iter().rev().find_map(|end| {
        let (prefix, rest) = path.split_at_checked(end)?;
        Some((resolve(root, prefix, false).ok()?, prefix, rest))
    });
    let (last, prefix, rest) = found?;
    if FileType::from_raw_mode(fstat(&last).ok()?.st_mode) != FileType::Symlink {
        return None;
    }
    let target = readlinkat(&last, "", Vec::new()).ok()?;
    let target = target.to_str().ok()?;
    let (parent, _) = prefix.rsplit_once('/')?;
    let parent = if target.starts_with('/') { "" } else { parent };
    Some(format!("{}{rest}", clean(parent, target)))
}

/// The root of a process.
pub fn root_of(process: i32) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, format!("/proc/{process}/root"), flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_cleaned_by_name() {
        for (directory, path, cleaned) in [
            ("/a/b", "c", "/a/b/c"),
            ("/a/b", "../c/./d", "/a/c/d"),
            ("", "/a//b/", "/a/b"),
            ("/", "..", "/"),
        ] {
            assert_eq!(clean(directory, path), cleaned);
        }
    }

    #[test]
    fn links_are_followed_within_the_root_and_not_into_proc() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("real")).expect("made");
        fs::write(at("real/file"), "").expect("written");
        fs::create_dir_all(at("proc/17")).expect("made");
        for (target, name) in [
            ("/real", "absolute"),
            ("real/none", "dangling"),
            ("/proc/self/fd", "own"),
            ("/proc/4711", "to-process"),
            ("chain/x", "loop"),
            ("dangling", "chain"),
        ] {
            symlink(target, at(name)).expect("linked");
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = openat(CWD, directory.path(), flags, Mode::empty()).expect("opened");
        for (path, follow, found) in [
            ("/real/file", true, Existence::Exists),
            ("/absolute/file", true, Existence::Exists),
            ("/real/none", true, Existence::Missing),
            ("/real/file/none", true, Existence::Missing),
            ("/dangling", true, Existence::Missing),
            ("/dangling", false, Existence::Exists),
            ("/loop", true, Existence::Missing),
            ("/own/1", true, Existence::Unknown),
            ("/proc/self", true, Existence::Unknown),
            ("/proc/4711", true, Existence::Missing),
            ("/proc/4711/stat", true, Existence::Missing),
            ("/proc/17", true, Existence::Exists),
            ("/proc/17/stat", true, Existence::Unknown),
            ("/to-process", true, Existence::Missing),
            ("/", true, Existence::Exists),
        ] {
            assert_eq!(look_up(&root, path, follow), found, "{path}");
        }
    }
}
