//! Paths that may be those of secrets, by their names.

use std::path::{Component, Path};

use crate::sandbox::environment;

/// Names of files and directories that hold keys and logins.
const PRIVATE: [&str; 22] = [
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".m2",
    ".mozilla",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pgpass",
    ".pki",
    ".pypirc",
    ".ssh",
    ".thunderbird",
    ".vault-token",
    ".yarnrc.yml",
    "keyrings",
    "shadow",
];
/// Beginnings and ends of the names of private files.
const KEYS: [&str; 6] = [".key", ".pem", ".p12", ".pfx", ".kdbx", ".gpg"];

/// True if the path may be that of a secret, or holds somebody's whole home.
pub fn is_private(path: &Path, home: Option<&Path>) -> bool {
    let is_home = path.parent() == Some(Path::new("/home"))
        || path == Path::new("/root")
        || home.is_some_and(|home| home.starts_with(path));
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().to_ascii_lowercase()),
        Component::RootDir | Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
            None
        }
    });
    is_home
        || names.any(|name| {
            PRIVATE.contains(&name.as_str())
                || environment::is_secret(&name)
                || name.starts_with("id_")
                || KEYS.iter().any(|end| name.ends_with(end))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_named() {
        let is_private = |path| is_private(Path::new(path), Some(Path::new("/home/me")));
        let private = [
            "/home/me/.ssh/config",
            "/home/me/.config/gh/hosts.yml",
            "/srv/api-token.txt",
            "/srv/tls/server.key",
            "/srv/id_ed25519",
            "/home/me/.cargo/credentials.toml",
            "/home/you",
            "/home/me",
            "/home",
            "/root",
        ];
        for path in private {
            assert!(is_private(path), "{path}");
        }
        for path in ["/home/me/data", "/srv/keyboard", "/home/you/data", "/home/me/.local/bin/x"] {
            assert!(!is_private(path), "{path}");
        }
    }
}
