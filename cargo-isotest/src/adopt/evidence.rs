//! Evidence of what a test that fails only isolated may need: what it wrote, what it did, what its
//! trace has. It names candidates for grants, and words the reason of those that help.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use isotest_core::escape::escape;
use isotest_core::finding::Finding;
use isotest_core::host::Host;
use isotest_core::plan::Visible;
use isotest_core::policy::Policy;
use isotest_core::trace::{Endpoint, Footprint, Surrounding};
use isotest_core::untrusted;
use isotest_core::wait_status::signal_name;

use super::grant::Grant;
use crate::run::evidence::ASKED;
use crate::run::outside::Real;
use crate::sandbox::factory::SandboxFactory;

/// Maximum number of paths of one test that are tried, and of variables.
const MOST: usize = 8;
/// Maximum number of addresses in a reason, of names, and of paths that cannot be shown.
const NAMED: usize = 3;
/// Port of name servers.
const DNS: u16 = 53;

/// What is known of one test.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Files and directories that it missed, with whether each is a directory.
    paths: Vec<(PathBuf, bool)>,
    /// Paths of this machine that it missed and that cannot be shown: devices, sockets.
    missed: Vec<PathBuf>,
    /// Variables that it wrote of.
    written: BTreeSet<String>,
    /// Variables that its program names.
    named: Vec<String>,
    /// Addresses that it connected or sent to.
    dials: Vec<Endpoint>,
    /// Names that it asked a name server for.
    names: BTreeSet<String>,
    /// True if it tried to reach the network, as far as the findings say.
    tried_network: bool,
    /// True if it asked for the host name.
    asked_host_name: bool,
    /// The signal that it sent itself in vain.
    discarded: Option<i32>,
    /// True if it was refused io_uring.
    refused_io_uring: bool,
}

/// Paths of the host that a test does not see.
pub struct Hidden<'a> {
    visible: Visible,
    host: &'a Host,
    home: Option<&'a Path>,
}

impl<'a> Hidden<'a> {
    /// From the cases of these sandboxes.
    pub fn of(factory: &'a SandboxFactory, home: Option<&'a Path>) -> Hidden<'a> {
        let SandboxFactory { host, project, policy, .. } = factory;
        Hidden { visible: Visible::new(host, project, policy), host, home }
    }

    /// What is there, if it may be named, and asked for at all: no secret, nothing of another
    /// machine, whose answer may take for ever, and no link to such.
    fn found(&self, path: &Path) -> Option<Real> {
        let is_process = path.starts_with("/proc");
        let found =
            (!is_process).then(|| Real::find(path, &self.visible, self.host, self.home))??;
        found.ok()
    }

    /// The path to show for one that a test missed, and whether it is a directory. Nothing that may
    /// be a secret, no socket, nothing that is not there.
    fn shown(&self, path: &Path) -> Option<(PathBuf, bool)> {
        let path = if path.starts_with("/sys") { Path::new("/sys") } else { path };
        if !self.visible.hides(path) {
            return None;
        }
        let found = self.found(path)?;
        if untrusted::file(path).is_ok() {
            return Some((path.to_owned(), false));
        }
        found.metadata.is_dir().then(|| (path.to_owned(), true))
    }
}

impl Evidence {
    /// Of these findings and this trace; `named` are variables that its program names.
    pub fn new(
        findings: &[Finding],
        footprint: Option<&Footprint>,
        hidden: &Hidden<'_>,
        named: Vec<String>,
    ) -> Evidence {
        let mut evidence = Evidence { named, ..Evidence::default() };
        let mut missed: Vec<&Path> = Vec::new();
        for finding in findings {
            match finding {
                Finding::NotShown(paths) => missed.extend(paths.iter().map(PathBuf::as_path)),
                Finding::NotPassed(names) => evidence.written.extend(names.iter().cloned()),
                Finding::NetworkTried(_) | Finding::NetworkSuspected(_) => {
                    evidence.tried_network = true;
                }
                Finding::DnsTried(names, _) => {
                    evidence.tried_network = true;
                    evidence.names.extend(names.iter().cloned());
                }
                Finding::SignalDiscarded(signal) => evidence.discarded = Some(*signal),
                Finding::IoUringRefused => evidence.refused_io_uring = true,
                _ => {}
            }
        }
        if let Some(footprint) = footprint {
            missed.extend(footprint.missing.iter().map(Path::new));
            missed.extend(footprint.dials.iter().filter_map(|endpoint| match endpoint {
                Endpoint::Unix(path) => Some(Path::new(path)).filter(|path| path.is_absolute()),
                Endpoint::Ip(..) | Endpoint::Abstract(_) | Endpoint::Other(_) => None,
            }));
            evidence.names.extend(footprint.names.iter().cloned());
            let dials = footprint.dials.iter().filter(|it| !footprint.binds.contains(it));
            let dials = dials.filter(|endpoint| is_told(endpoint, !evidence.names.is_empty()));
            evidence.dials = dials.cloned().collect();
            // Of a test that wants another machine, what it says to itself is no reason.
            if !evidence.names.is_empty() || evidence.dials.iter().any(leaves) {
                evidence.dials.retain(leaves);
            }
            evidence.asked_host_name = footprint.surroundings.contains(&Surrounding::HostName);
        }
        let mut seen = BTreeSet::new();
        for path in missed.into_iter().filter(|path| seen.insert(*path)).take(ASKED) {
            match hidden.shown(path) {
                Some(shown) if evidence.paths.contains(&shown) => {}
                Some(shown) if evidence.paths.len() < MOST => evidence.paths.push(shown),
                None if evidence.missed.len() < NAMED && hidden.found(path).is_some() => {
                    evidence.missed.push(path.to_owned());
                }
                Some(_) | None => {}
            }
        }
        evidence
    }

    /// Adds what a later run has shown, in which the test had what it missed before. True if it
    /// missed other paths that can be shown.
    pub fn add(&mut self, later: Evidence) -> bool {
        let before = self.paths.len();
        let new: Vec<_> = later.paths.into_iter().filter(|it| !self.paths.contains(it)).collect();
        self.paths.extend(new);
        self.paths.truncate(MOST);
        let missed: Vec<_> =
            later.missed.into_iter().filter(|it| !self.missed.contains(it)).collect();
        self.missed.extend(missed);
        self.missed.truncate(NAMED);
        self.written.extend(later.written);
        if self.named.is_empty() {
            self.named = later.named;
        }
        let dials: Vec<_> = later.dials.into_iter().filter(|it| !self.dials.contains(it)).collect();
        self.dials.extend(dials);
        self.names.extend(later.names);
        self.tried_network |= later.tried_network;
        self.asked_host_name |= later.asked_host_name;
        self.discarded = self.discarded.or(later.discarded);
        self.refused_io_uring |= later.refused_io_uring;
        self.paths.len() > before
    }

    /// Grants of the paths that it missed.
    pub fn paths(&self) -> Vec<Grant> {
        let paths = self.paths.iter();
        paths.filter_map(|(path, is_directory)| Grant::path(path, *is_directory)).collect()
    }

    /// Grants that may help under this policy; those of `fixed` keys cannot.
    pub fn candidates(&self, policy: &Policy, fixed: &[&str]) -> Vec<Grant> {
        let paths = self.paths().into_iter();
        let names: BTreeSet<&String> = self.written.iter().chain(&self.named).collect();
        let variables = names.into_iter().take(MOST).map(|name| Grant::variable(name));
        let layers = Grant::layers(policy).into_iter();
        paths
            .chain(variables)
            .chain(layers)
            .filter(|grant| !(grant.is_single() && fixed.contains(&grant.key)))
            .collect()
    }

    /// Paths of this machine that it missed and that no grant shows, the first ones.
    pub fn missed(&self) -> Vec<String> {
        let missed = self.missed.iter();
        missed.map(|path| path.to_string_lossy().into_owned()).collect()
    }

    /// True if it has tried to reach the network.
    pub fn has_network(&self) -> bool {
        self.tried_network || !self.names.is_empty() || self.dials.iter().any(leaves)
    }

    /// What it did with the network: `connects to tcp 192.0.2.1:80, resolves example.org`.
    pub fn network(&self) -> String {
        let list = |verb: &str, items: Vec<String>| {
            let shown: Vec<_> = items.iter().take(NAMED).map(|item| escape(item)).collect();
            let more = items.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!shown.is_empty()).then(|| format!("{verb} {}{more}", shown.join(", ")))
        };
        let dials = list("connects to", self.dials.iter().map(ToString::to_string).collect());
        let names = list("resolves", self.names.iter().cloned().collect());
        let parts: Vec<String> = dials.into_iter().chain(names).collect();
        match (parts.is_empty(), self.tried_network) {
            (false, _) => parts.join(", "),
            (true, true) => "tries to reach the network".to_owned(),
            (true, false) => "passes only with the network of this machine".to_owned(),
        }
    }

    /// Why it needs a grant, as far as it is known.
    pub fn reason(&self, grant: &Grant) -> String {
        let value = escape(&grant.value);
        match (grant.key, grant.value.as_str()) {
            ("net", _) => self.network(),
            ("ro", _) => format!("looks for {value}"),
            ("pass-env", name) if self.written.contains(name) => {
                format!("writes of the variable {value}")
            }
            ("pass-env", _) => format!("its program names the variable {value}"),
            ("init", _) => match self.discarded {
                Some(signal) => {
                    format!("sends itself {}, which PID 1 never receives", signal_name(signal))
                }
                None => "passes only if an init is PID 1".to_owned(),
            },
            ("scratch", _) => "passes only if its files lie on a disk, not in a tmpfs".to_owned(),
            ("uts", _) if self.asked_host_name => "asks for the host name".to_owned(),
            ("uts", _) => "passes only with the name of this machine".to_owned(),
            ("guard", "io-uring") if self.refused_io_uring => "uses io_uring".to_owned(),
            ("guard", "io-uring") => "passes only with io_uring".to_owned(),
            ("guard", _) => "passes only if it may have a seccomp listener".to_owned(),
            ("ipc", _) => "passes only with the IPC objects of this machine".to_owned(),
            ("user", _) => "passes only with capabilities".to_owned(),
            ("env", _) => "passes only with all variables of the caller".to_owned(),
            ("pid", _) => "passes only if it sees the processes of this machine".to_owned(),
            ("tmp", _) => "passes only with the temporary directories of this machine".to_owned(),
            ("home", _) => "passes only with the home of the caller".to_owned(),
            (key, _) => format!("passes only with `{key} = \"{value}\"`"),
        }
    }
}

/// True if an address is that of another machine.
fn leaves(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Ip(_, address) => !address.ip().is_loopback(),
        Endpoint::Unix(_) | Endpoint::Abstract(_) | Endpoint::Other(_) => false,
    }
}

/// True if an address says what a test wanted: not that of the name server, where the names do.
fn is_told(endpoint: &Endpoint, has_names: bool) -> bool {
    match endpoint {
        // getaddrinfo(3) connects to port 0 to learn which address it would have.
        Endpoint::Ip(_, address) => address.port() > 0 && !(has_names && address.port() == DNS),
        Endpoint::Abstract(_) => true,
        // A path is a file of its own.
        Endpoint::Unix(_) | Endpoint::Other(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use isotest_core::plan::Project;

    use super::*;

    fn missing<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Footprint {
        let missing = paths.into_iter().map(|path| path.to_string_lossy().into_owned());
        Footprint { missing: missing.collect(), ..Footprint::default() }
    }

    fn of(footprint: &Footprint) -> Evidence {
        let host = Host::default();
        let visible = Visible::new(&host, &Project::default(), &Policy::default());
        let hidden = Hidden { visible, host: &host, home: None };
        Evidence::new(&[], Some(footprint), &hidden, Vec::new())
    }

    #[test]
    fn a_secret_behind_a_link_is_neither_shown_nor_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        for name in [".ssh", "plain"] {
            fs::create_dir(at(name)).expect("made");
            fs::write(at(name).join("known"), "").expect("written");
        }
        for (target, name) in [(".ssh", "keys"), ("plain", "link")] {
            symlink(target, at(name)).expect("linked");
        }
        for name in ["keys/known", "keys", ".ssh/known"] {
            let evidence = of(&missing([at(name).as_path()]));
            assert!(evidence.paths.is_empty() && evidence.missed.is_empty(), "{evidence:?}");
        }
        let none: Vec<_> = (0..ASKED).map(|number| at(&format!("a/{number}"))).collect();
        let with_many = missing(none.iter().chain([&at("link/known")]).map(PathBuf::as_path));
        assert!(of(&with_many).paths.is_empty(), "no more is asked for");
        let evidence = of(&missing([at("link/known").as_path()]));
        assert_eq!(evidence.paths, [(at("link/known"), false)]);
    }
}
