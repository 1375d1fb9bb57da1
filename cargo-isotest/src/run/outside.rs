//! What is outside of a sandbox at the paths that a traced case has named.
//!
//! The case chose the paths, so nothing is opened or listed, and nothing on a filesystem that
//! another program or machine serves is looked at. What may be a secret is withheld, and so is a link
//! to one.

use std::env;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use isotest_core::host::Host;
use isotest_core::plan::{Project, Visible, normalised};
use isotest_core::policy::Policy;

use super::evidence::{Found, Outside};
use super::mentioned::is_private;
use super::programs;
use crate::config::machine::Machine;

/// Maximum number of links that are followed.
const LINKS: usize = 8;

/// This machine, as cases of one policy lack it.
pub struct ThisMachine {
    visible: Visible,
    host: Host,
    home: Option<PathBuf>,
    path: Vec<PathBuf>,
}

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

    /// The properties of what is at a path or behind links at it; `Err` where that is withheld.
    fn look(&self, path: &Path) -> Option<Result<Metadata, Withheld>> {
        let mut path = normalised(path)?;
        for _ in 0..LINKS {
            // devtmpfs and proc(5) are served by the kernel.
            let is_local = path.starts_with("/dev") || path.starts_with("/proc");
            if !is_local && self.host.is_remote(&path) {
                return Some(Err(Withheld));
            }
            let metadata = fs::symlink_metadata(&path).ok()?;
            if is_private(&path, self.home.as_deref()) {
                return Some(Err(Withheld));
            }
            if !metadata.is_symlink() {
                return Some(Ok(metadata));
            }
            path = normalised(&path.parent()?.join(fs::read_link(&path).ok()?))?;
        }
        None
    }
}

/// Something that is not named.
struct Withheld;

impl Outside for ThisMachine {
    fn find(&self, path: &Path) -> Option<Found> {
        let Ok(metadata) = self.look(path)? else { return Some(Found::Withheld) };
        let (kind, mode) = (metadata.file_type(), metadata.mode());
        Some(match kind {
            _ if kind.is_dir() => Found::Directory,
            _ if kind.is_file() => {
                Found::File { is_public: mode & 0o004 != 0, is_program: mode & 0o111 != 0 }
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
        for (target, name) in [("plain", "link"), ("id_rsa", "to-secret"), ("loop", "loop")] {
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
            ("loop", None),
            ("none", None),
            ("plain/none", None),
        ] {
            assert_eq!(machine.find(&at(name)), found, "{name}");
        }
        assert!(machine.is_of_path(&at("bin")) && !machine.is_of_path(directory.path()));
    }
}
