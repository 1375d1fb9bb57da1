//! Paths of the host that a case sees.

use std::path::{Component, Path, PathBuf};

use super::layout::{Fresh, Layout, PlacedPath};
use super::project::Project;
use crate::host::{Host, TopLevel};
use crate::policy::{Policy, Root};

/// The kernel's directories, and the one of which tests see what everybody may read.
const OWN: [&str; 3] = ["/dev", "/etc", "/proc"];
/// Those that the template makes, empty (`template::make_standard_directories`).
const MADE: [&str; 8] =
    ["/home", "/mnt", "/run", "/srv", "/var", "/var/cache", "/var/lib", "/var/log"];

/// Paths of the host that cases of one policy see.
#[derive(Debug)]
pub struct Visible {
    layout: Layout,
    host: Host,
    /// Root filesystem.
    root: Root,
}

impl Visible {
    /// Paths that these make visible.
    pub fn new(host: &Host, project: &Project, policy: &Policy) -> Visible {
        let layout = Layout::new(host, project, policy);
        Visible { layout, host: host.clone(), root: policy.root.clone() }
    }

    /// True if cases do not see this path of the host's, which has no `..` in it. A file of the
    /// sandbox's own at the same path is not the host's, and is not missed: a device, a directory
    /// that is empty or fresh. Of another root filesystem nothing is missed.
    pub fn hides(&self, path: &Path) -> bool {
        let is_own = || OWN.iter().any(|own| path.starts_with(own));
        let holds = |inner: &Path| inner.starts_with(path);
        let Layout { fresh, placed, links, secrets, .. } = &self.layout;
        let is_made = || {
            MADE.iter().any(|made| holds(Path::new(made)))
                || fresh.iter().any(|fresh| holds(&fresh.path))
                || placed.iter().any(|placed| holds(&placed.path))
                || links.iter().any(|(link, _)| holds(link) || path.starts_with(link))
                || secrets.iter().any(|secret| secret == path)
        };
        if self.root != Root::Host || !path.is_absolute() || is_own() || is_made() {
            return false;
        }
        let depth = |path: &PathBuf| path.components().count();
        let fresh: Option<&Fresh> = self.layout.fresh_above(path);
        let placed: Option<&PlacedPath> = self.layout.placed_above(path);
        match (fresh.map(|it| depth(&it.path)), placed.map(|it| depth(&it.path))) {
            (Some(fresh), Some(placed)) => fresh > placed,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => !self.host.is_system(path) && !self.is_behind_link(path),
        }
    }

    /// True if the path is, or lies in, one that is covered for cases because it holds secrets.
    pub fn covers(&self, path: &Path) -> bool {
        self.layout.secrets.iter().any(|secret| path.starts_with(secret))
    }

    /// True if the path goes through a symbolic link of the root directory, `/lib64` perhaps.
    fn is_behind_link(&self, path: &Path) -> bool {
        self.host.top_level.iter().any(|entry| match entry {
            TopLevel::Directory(_) => false,
            TopLevel::Link(name, _) => path.starts_with(Path::new("/").join(name)),
        })
    }
}

/// A path without `.` and `..`, as it reads: symbolic links are not looked at. `None` where it is not
/// absolute.
pub fn normalised(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::RootDir => clean.push("/"),
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean.is_absolute().then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Access, Exposure};
    use crate::policy::{Directory, Propagation};

    fn visible(policy: &Policy) -> Visible {
        let host = Host {
            top_level: vec![
                TopLevel::Directory("usr".into()),
                TopLevel::Link("lib64".into(), "usr/lib64".into()),
            ],
            ..Host::default()
        };
        let shown = |path: &str, access| Exposure {
            path: path.into(),
            directory: true,
            access,
            what: "the project".into(),
            propagation: Propagation::Private,
        };
        let project = Project {
            home: Some("/home/me".into()),
            secrets: vec!["/home/me/.cargo/credentials".into()],
            exposures: vec![
                shown("/home/me/work/project", Access::Workspace),
                shown("/home/me/.cargo", Access::ReadOnly),
                shown("/srv/tool", Access::ReadOnly),
            ],
            links: vec![("/work".into(), "/home/me/work".into())],
            ..Project::default()
        };
        Visible::new(&host, &project, policy)
    }

    #[test]
    fn what_is_neither_shown_nor_the_sandboxs_own_is_hidden() {
        let visible = visible(&Policy::default());
        let hidden = [
            "/home/me/work/file",
            "/home/me/.config",
            "/home/you",
            "/home/me/.cargox",
            "/srv/data",
            "/sys/class/net",
            "/sys",
            "/data",
            "/run/some.sock",
            "/tmp/file",
            "/var/lib/dpkg",
        ];
        for path in hidden {
            assert!(visible.hides(Path::new(path)), "{path}");
        }
        let seen = [
            "/",
            "/home",
            "/home/me",
            "/home/me/work",
            "/home/me/work/project",
            "/home/me/work/project/src/lib.rs",
            "/home/me/.cargo/bin",
            "/home/me/.cargo/credentials",
            "/srv",
            "/srv/tool/bin",
            "/usr/lib/x",
            "/lib64/ld.so",
            "/work/project",
            "/proc/1",
            "/dev/kvm",
            "/etc/shadow",
            "/tmp",
            "/var",
            "/var/lib",
            "relative",
        ];
        for path in seen {
            assert!(!visible.hides(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn the_hosts_home_and_another_root_hide_nothing_of_it() {
        let home = Policy { home: Directory::Host, ..Policy::default() };
        assert!(!visible(&home).hides(Path::new("/home/me/.config")));
        assert!(visible(&home).hides(Path::new("/srv/data")));
        let root = Policy { root: Root::Directory("/other".into()), ..Policy::default() };
        assert!(!visible(&root).hides(Path::new("/srv/data")));
    }

    #[test]
    fn a_path_is_normalised_as_it_reads() {
        let clean = |path: &str| normalised(Path::new(path));
        assert_eq!(clean("/a/b/../../c/./d//"), Some("/c/d".into()));
        assert_eq!(clean("/../../x"), Some("/x".into()));
        assert_eq!(clean("a/../../x"), None);
    }
}
