//! Signs of who refuses namespaces here. Read after a refusal, never before: a sign need not be the
//! cause of anything.

use std::fs;
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use super::mountinfo::is_sandbox;

/// Kind of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Docker's, or one that has its marker.
    Docker,
    /// Podman's.
    Podman,
    /// systemd-nspawn's.
    Nspawn,
    /// Another one.
    Other,
}

/// Surroundings in which isotest was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// The container around it, if one is known.
    pub container: Option<Container>,
    /// This is a sandbox of isotest's.
    pub sandbox: bool,
    /// systemd runs this machine.
    pub systemd: bool,
    /// `kernel.unprivileged_userns_clone`, which Debian's kernels have, is 0.
    pub forbids_clone: bool,
    /// Those of `user.max_*_namespaces` that are 0.
    pub zero_limits: Vec<String>,
    /// A seccomp filter is in force.
    pub seccomp: bool,
    /// The AppArmor profile that confines this process.
    pub profile: Option<String>,
    /// AppArmor restricts user namespaces.
    pub restricts_namespaces: bool,
    /// Nothing is mounted on `/`, as in a chroot(2).
    pub chroot: bool,
    /// The effective uid or gid has no id in this user namespace.
    pub unmapped: bool,
}

impl Surroundings {
    /// Reads what is there; what cannot be read is taken for absent.
    pub fn read() -> Surroundings {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let is = |path: &str, value: &str| text(path).trim() == value;
        let limits = ["user", "mnt", "pid", "net", "ipc", "uts"];
        let limits = limits.map(|name| format!("max_{name}_namespaces"));
        let mountinfo = fs::read_to_string("/proc/self/mountinfo");
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        Surroundings {
            container: container(),
            sandbox: is_sandbox(),
            systemd: Path::new("/run/systemd/system").is_dir(),
            forbids_clone: is("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            zero_limits: limits
                .into_iter()
                .filter(|name| is(&format!("/proc/sys/user/{name}"), "0"))
                .collect(),
            seccomp: has_filter(&text("/proc/self/status")),
            profile: profile(&text("/proc/self/attr/current")),
            restricts_namespaces: is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
            chroot: mountinfo.is_ok_and(|mounts| !has_root(&mounts)),
            unmapped: !maps(&text("/proc/self/uid_map"), uid)
                || !maps(&text("/proc/self/gid_map"), gid),
        }
    }
}

fn container() -> Option<Container> {
    let of_name = |name: &str| match name.trim() {
        "systemd-nspawn" => Container::Nspawn,
        "podman" => Container::Podman,
        "docker" => Container::Docker,
        _ => Container::Other,
    };
    let environment = fs::read("/proc/1/environ").unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0);
    let variable = variables.find_map(|variable| variable.strip_prefix(b"container="));
    let variable = variable.map(|name| of_name(&String::from_utf8_lossy(name)));
    let marker = |path: &str, kind| Path::new(path).exists().then_some(kind);
    fs::read_to_string("/run/systemd/container")
        .ok()
        .map(|name| of_name(&name))
        .or_else(|| marker("/run/.containerenv", Container::Podman))
        .or_else(|| marker("/.dockerenv", Container::Docker))
        .or(variable)
}

fn has_filter(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// The name in a label such as `docker-default (enforce)`; none where nothing is confined.
fn profile(label: &str) -> Option<String> {
    let label = label.trim_matches(['\0', '\n', ' ']);
    let name = label.strip_suffix(" (enforce)")?;
    (name != "unconfined").then(|| name.to_owned())
}

fn has_root(mountinfo: &str) -> bool {
    mountinfo.lines().any(|line| line.split(' ').nth(4) == Some("/"))
}

/// True if an id is inside of a map, or the map is empty.
fn maps(map: &str, id: u32) -> bool {
    let holds = |line: &str| {
        let mut words = line.split_whitespace().map(str::parse::<u64>);
        match (words.next(), words.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => (first..first + count).contains(&id.into()),
            _ => false,
        }
    };
    map.trim().is_empty() || map.lines().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_profile_that_is_enforced_confines() {
        assert_eq!(profile("docker-default (enforce)\n").as_deref(), Some("docker-default"));
        assert_eq!(profile("unconfined\n"), None);
        assert_eq!(profile("thing (complain)"), None);
        assert_eq!(profile(""), None);
    }

    #[test]
    fn an_id_is_inside_of_a_map_or_not() {
        let map = "         0     100000      65536\n";
        assert!(maps(map, 0) && maps(map, 65535) && !maps(map, 65536));
        assert!(maps("", 7));
    }

    #[test]
    fn a_filter_and_a_root_are_read() {
        assert!(has_filter("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!has_filter("Seccomp:\t0\nSeccomp_filters:\t2\n"));
        assert!(has_root("27 1 254:0 / / rw - ext4 /dev/vda rw\n"));
        assert!(!has_root("22 27 0:21 / /proc rw - proc proc rw\n"));
    }
}
