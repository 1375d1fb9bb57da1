//! Paths inside a root filesystem that is not this process's root.
//!
//! `..` and links are followed here and not by the kernel, which would follow them to the host.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use isotest_core::escape::escape;

/// Links that a path may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// As after chroot(2): `/` is the root filesystem's, and `..` ends there.
    Inside,
    /// Only what cannot lead out, wherever the root filesystem stands: no absolute link, no `..`
    /// above it.
    Beneath,
}

/// A path cannot be resolved.
#[derive(Debug)]
pub enum ResolveError {
    /// It leads out of the root filesystem, by this link or by itself.
    Escapes(PathBuf),
    /// The filesystem says so.
    Io(io::Error),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::Escapes(link) => write!(f, "`{}` leads out of the root", shown(link)),
            ResolveError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for ResolveError {
    fn from(error: io::Error) -> Self {
        ResolveError::Io(error)
    }
}

/// A path that an image or an archive has chosen, as it is printed.
pub fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// Path on the host of `path`, seen from inside of `root`. The last name is followed too.
pub fn resolve(root: &Path, path: &Path, links: Links) -> Result<PathBuf, ResolveError> {
    walk(root, path, links, |_| Err(io::ErrorKind::NotFound.into()))
}

/// As [`resolve`], for a directory: those that are missing are made.
pub fn make_directories(root: &Path, path: &Path) -> Result<PathBuf, ResolveError> {
    walk(root, path, Links::Beneath, |missing| fs::create_dir(missing))
}

fn walk(
    root: &Path,
    path: &Path,
    links: Links,
    make: impl Fn(&Path) -> io::Result<()>,
) -> Result<PathBuf, ResolveError> {
    /// As many as the kernel follows, path_resolution(7).
    const MAX_LINKS: usize = 40;
    let mut inside = PathBuf::new();
    let mut rest = names(path);
    let mut followed = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            if !inside.pop() && links == Links::Beneath {
                return Err(ResolveError::Escapes(path.to_owned()));
            }
            continue;
        }
        let next = inside.join(&name);
        let real = root.join(&next);
        let kind = match fs::symlink_metadata(&real) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&real)?;
                fs::symlink_metadata(&real)?.file_type()
            }
            Err(error) => return Err(error.into()),
        };
        if kind.is_symlink() {
            let target = fs::read_link(&real)?;
            followed += 1;
            if followed > MAX_LINKS {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            if target.is_absolute() {
                if links == Links::Beneath {
                    return Err(ResolveError::Escapes(next));
                }
                inside = PathBuf::new();
            }
            rest.extend(names(&target));
        } else if !kind.is_dir() && !rest.is_empty() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory).into());
        } else {
            inside = next;
        }
    }
    Ok(root.join(inside))
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    let mut names: Vec<OsString> = path.components().filter_map(name).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A root with `usr/bin/sh`, and links that lead to it and out of it.
    fn root() -> TempDir {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        fs::write(root.path().join("usr/bin/sh"), "").unwrap();
        let links = [
            ("usr/bin", "bin"),
            ("/usr/bin", "absolute"),
            ("../../..", "above"),
            ("loop", "loop"),
            ("../usr/bin", "usr/up"),
        ];
        for (target, link) in links {
            symlink(target, root.path().join(link)).unwrap();
        }
        root
    }

    #[track_caller]
    fn check(path: &str, links: Links, expected: Option<&str>) {
        let root = root();
        let found = resolve(root.path(), Path::new(path), links).ok();
        assert_eq!(found, expected.map(|path| root.path().join(path)));
    }

    #[test]
    fn a_relative_link_is_followed() {
        check("/bin/sh", Links::Inside, Some("usr/bin/sh"));
        check("bin/sh", Links::Beneath, Some("usr/bin/sh"));
        check("usr/up/sh", Links::Beneath, Some("usr/bin/sh"));
    }

    #[test]
    fn an_absolute_link_starts_at_the_root_or_is_refused() {
        check("absolute/sh", Links::Inside, Some("usr/bin/sh"));
        check("absolute/sh", Links::Beneath, None);
    }

    #[test]
    fn nothing_leads_above_the_root() {
        check("../../usr/bin/sh", Links::Inside, Some("usr/bin/sh"));
        check("above/usr/bin/sh", Links::Inside, Some("usr/bin/sh"));
        check("../usr/bin/sh", Links::Beneath, None);
        check("above/usr/bin/sh", Links::Beneath, None);
    }

    #[test]
    fn a_loop_ends() {
        check("loop/sh", Links::Inside, None);
    }

    #[test]
    fn a_file_is_no_directory() {
        check("bin/sh/x", Links::Inside, None);
    }

    #[test]
    fn missing_directories_are_made_where_links_lead() {
        let root = root();
        let made = make_directories(root.path(), Path::new("bin/a/b")).unwrap();
        assert_eq!(made, root.path().join("usr/bin/a/b"));
        assert!(made.is_dir());
        assert!(make_directories(root.path(), Path::new("absolute/a")).is_err());
    }
}
