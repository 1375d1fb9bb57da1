//! What is outside of a sandbox at the paths that a traced case has named.
//!
//! The case chose the paths, so nothing is opened or listed, and nothing on a filesystem that
//! another program or machine serves is looked at. What may be a secret is withheld, and so is a link
//! to one.

use std::env;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use isotest_core::host::Host;
use isotest_core::plan::{Project, Visible, normalised};
use isotest_core::policy::Policy;

use super::evidence::{Found, Outside};
use super::private_path::is_private;
use super::programs;
use crate::config::machine::Machine;

/// Maximum number of links that are followed, that of the kernel (path_resolution(7)).
const LINKS: usize = 40;

/// This machine, as cases of one policy lack it.
pub struct ThisMachine {
    visible: Visible,
    host: Host,
    home: Option<PathBuf>,
    path: Vec<PathBuf>,
}

/// What is at a path, behind all links on the way.
#[derive(Debug)]
pub struct Real {
    /// Its path, which has no link in it.
    pub path: PathBuf,
    /// Its properties.
    pub metadata: Metadata,
    /// Everybody may read it, and enter the directories in which it lies, from the user's home on: that
    /// the home is closed to others says nothing of a file in it.
    pub is_public: bool,
}

/// Something that is not named.
#[derive(Debug)]
pub struct Withheld;

impl ThisMachine {
    /// What cases of this policy lack.
    pub fn new(host: &Host, project: &Project, policy: &Policy, machine: &Machine) -> ThisMachine {
        ThisMachine {
            visible: Visible::new(host, project, policy),
            host: host.clone(),
            home: machine.home(),
            path: env::split_paths(machine.variable("PATH").unwrap_or_default()).collect(),
        }
    }
}

impl Real {
    /// What is at a path; `None` where nothing is. `Err` where that is withheld: the path, the real
    /// one or that of a link between them may be that of a secret, or another program or machine
    /// serves it, or a link leads to what cases do not see and not everybody may read.
    pub fn find(
        path: &Path,
        visible: &Visible,
        host: &Host,
        home: Option<&Path>,
    ) -> Option<Result<Real, Withheld>> {
        let named = normalised(path)?;
        let mut is_private_path = is_private(&named, home);
        let (mut real, mut rest) = (PathBuf::from("/"), named.clone());
        let mut links = 0;
        while let Some(first) = rest.components().next() {
            let behind = rest.components().skip(1).collect::<PathBuf>();
            match first {
                Component::RootDir => real = PathBuf::from("/"),
                Component::ParentDir => {
                    real.pop();
                }
                Component::CurDir | Component::Prefix(_) => {}
                Component::Normal(name) => {
                    let next = real.join(name);
                    if !is_of_kernel(&next) && host.is_remote(&next) {
                        return Some(Err(Withheld));
                    }
                    if fs::symlink_metadata(&next).ok()?.is_symlink() {
                        links += 1;
                        let target = fs::read_link(&next).ok().filter(|_| links <= LINKS)?;
                        rest = target.join(behind);
                        let whole = normalised(&real.join(&rest))?;
                        is_private_path |= is_private(&whole, home);
                        continue;
                    }
                    real = next;
                }
            }
            rest = behind;
        }
        let metadata = fs::symlink_metadata(&real).ok()?;
        let is_public = is_public(&real, &metadata, home);
        let found = Real { path: real, metadata, is_public };
        let is_withheld = is_private_path
            || is_private(&found.path, home)
            || (found.path != named && !found.may_be_shown_by(&named, visible));
        Some(if is_withheld { Err(Withheld) } else { Ok(found) })
    }

    /// True if a link to it gives no more than its name says: what cases lack, or what everybody may
    /// read and is not covered for them.
    fn may_be_shown_by(&self, link: &Path, visible: &Visible) -> bool {
        let both_in = |top: &str| link.starts_with(top) && self.path.starts_with(top);
        if both_in("/dev") || both_in("/sys") {
            return true;
        }
        let is_plain = !is_of_kernel(&self.path) && !visible.covers(&self.path);
        is_plain && (visible.hides(&self.path) || self.is_public)
    }
}

fn is_public(path: &Path, metadata: &Metadata, home: Option<&Path>) -> bool {
    let may_read = match metadata.mode() {
        mode if metadata.is_dir() => mode & 0o005 == 0o005,
        mode => mode & 0o004 != 0,
    };
    let leads_home = |directory: &&Path| home.is_some_and(|home| home.starts_with(directory));
    let may_enter = |directory: &Path| {
        fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.mode() & 0o001 != 0)
    };
    may_read && path.ancestors().skip(1).filter(|it| !leads_home(it)).all(may_enter)
}

/// devtmpfs and proc(5) are served by the kernel.
fn is_of_kernel(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc")
}

impl Outside for ThisMachine {
    fn find(&self, path: &Path) -> Option<Found> {
        let real = Real::find(path, &self.visible, &self.host, self.home.as_deref())?;
        let Ok(real) = real else { return Some(Found::Withheld) };
        let (kind, mode) = (real.metadata.file_type(), real.metadata.mode());
        Some(match kind {
            _ if kind.is_dir() => Found::Directory,
            _ if kind.is_file() => {
                Found::File { is_public: real.is_public, is_program: mode & 0o111 != 0 }
            }
            _ if kind.is_socket() => Found::Socket,
            _ if kind.is_char_device() || kind.is_block_device() => Found::Device,
            // Whoever opens a FIFO waits.
            _ => Found::Withheld,
        })
    }

    fn enough_for(&self, program: &Path) -> Option<PathBuf> {
        programs::enough(program, &self.visible)
    }

    fn is_of_path(&self, directory: &Path) -> bool {
        self.path.iter().any(|one| one == directory)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_there_is_named_by_its_kind_and_secrets_are_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        for (name, mode) in
            [("plain", 0o644), ("own", 0o600), ("program", 0o755), ("id_rsa", 0o644)]
        {
            fs::write(at(name), "").expect("written");
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("set");
        }
        let _socket = UnixListener::bind(at("socket")).expect("bound");
        for (name, mode) in [(".ssh", 0o755), ("closed", 0o700), ("open", 0o755)] {
            fs::create_dir(at(name)).expect("made");
            fs::write(at(name).join("known"), "").expect("written");
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("set");
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("set");
        for (target, name) in [
            ("plain", "link"),
            ("id_rsa", "to-secret"),
            ("loop", "loop"),
            (".ssh", "keys"),
            ("keys", "keyring"),
            ("open", "opened"),
            ("/proc/self/environ", "of-kernel"),
        ] {
            symlink(target, at(name)).expect("linked");
        }
        let host = Host::default();
        let visible = Visible::new(&host, &Project::default(), &Policy::default());
        let machine = ThisMachine { visible, host, home: None, path: vec![at("bin")] };
        let file = |is_public, is_program| Some(Found::File { is_public, is_program });
        for (name, found) in [
            ("plain", file(true, false)),
            ("own", file(false, false)),
            ("program", file(true, true)),
            ("link", file(true, false)),
            ("socket", Some(Found::Socket)),
            ("", Some(Found::Directory)),
            ("/dev/null", Some(Found::Device)),
            ("id_rsa", Some(Found::Withheld)),
            ("to-secret", Some(Found::Withheld)),
            ("keys/known", Some(Found::Withheld)),
            ("keyring/known", Some(Found::Withheld)),
            ("keys", Some(Found::Withheld)),
            ("keys/none", None),
            ("opened/known", file(true, false)),
            ("closed/known", file(false, false)),
            ("of-kernel", Some(Found::Withheld)),
            ("loop", None),
            ("none", None),
            ("plain/none", None),
        ] {
            assert_eq!(machine.find(&at(name)), found, "{name}");
        }
        // The home itself may be closed; a directory in it that is closed makes what is in it private.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("set");
        assert_eq!(machine.find(&at("plain")), file(false, false));
        let at_home = ThisMachine { home: Some(directory.path().to_owned()), ..machine };
        assert_eq!(at_home.find(&at("plain")), file(true, false));
        assert_eq!(at_home.find(&at("closed/known")), file(false, false));
        let machine = at_home;
        assert!(machine.is_of_path(&at("bin")) && !machine.is_of_path(directory.path()));
    }
}
