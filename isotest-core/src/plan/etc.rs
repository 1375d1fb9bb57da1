//! `/etc`: the host's without what is secret, and with files that are the same on every machine.

use std::path::Path;
use std::sync::Arc;

use super::builder::{Steps, c_path};
use super::ids;
use super::interpose::{PRELOADED, interposed, show_library};
use super::layout::{Layout, STAGING};
use super::read_only::{bind_read_only, hide, lay_for};
use super::roots::{OLD, new};
use super::steps::Op;
use crate::host::{Content, Host, Piece};
use crate::perturbation::Localhost;
use crate::policy::{Net, Policy, Uts};

/// Files of `/etc` that are the same on every machine, and `hosts`, in which the host name stands.
fn fixed_etc(host: &Host, policy: &Policy) -> Vec<(&'static str, String)> {
    let mut files = vec![("machine-id", "15075e57000000000000000000000000\n".to_owned())];
    if let Uts::Name(name) | Uts::Lab(name) = &policy.uts {
        files.push(("hostname", format!("{name}\n")));
    }
    files.extend(hosts(host, policy).map(|hosts| ("hosts", hosts)));
    if policy.net != Net::Host {
        // Nobody listens there, so a look-up fails at once instead of after a time-out. It is not
        // counted as an attempt to leave, and seldom has another reason to be sent to. A resolver
        // that sends without a peer hears of no refusal: it waits this long.
        let server = if host.has_ipv6 { "::1" } else { "127.0.0.1" };
        let options = "options timeout:1 attempts:1";
        files.push(("resolv.conf", format!("nameserver {server}\n{options}\n")));
    }
    files
}

/// Nothing where the host's will do.
fn hosts(host: &Host, policy: &Policy) -> Option<String> {
    let name = match &policy.uts {
        Uts::Name(name) | Uts::Lab(name) => name,
        Uts::Host => &host.name,
    };
    match (policy.net, &policy.uts) {
        (Net::Loopback | Net::Lab, _) => Some(loopback_hosts(name, Localhost::Default)),
        // Nobody in the host's network knows that name.
        (Net::Host, Uts::Name(_) | Uts::Lab(_)) => {
            let hosts = host.hosts.as_ref()?;
            let gap = if hosts.is_empty() || hosts.ends_with('\n') { "" } else { "\n" };
            Some(format!("{hosts}{gap}127.0.0.1 {name}\n::1 {name}\n"))
        }
        (Net::Host, Uts::Host) => None,
    }
}

/// `/etc/hosts` of a case that has a network of its own.
pub fn loopback_hosts(name: &str, first: Localhost) -> String {
    let ipv4 = format!("127.0.0.1 localhost {name}\n");
    let ipv6 = format!("::1 localhost ip6-localhost ip6-loopback {name}\n");
    match first {
        Localhost::Default => ipv4 + &ipv6,
        Localhost::Ipv4 => ipv4 + "::1 ip6-localhost ip6-loopback\n",
        Localhost::Ipv6 => ipv6 + &ipv4,
    }
}

/// `/etc`: the host's below a layer with the fixed files and with whiteouts over what not
/// everybody may read. One mount, where nothing is mounted below the host's `/etc`.
pub fn show_etc(steps: &mut Steps, host: &Host, layout: &Layout, policy: &Policy) {
    let etc = Path::new(OLD).join("etc");
    steps.directory(&new("etc"), 0o755, "mount point");
    match &host.etc {
        None => show_etc_as_layers(steps, host, layout, policy, &etc),
        Some(pieces) => compose_etc(steps, host, pieces, policy, &etc),
    }
}

fn show_etc_as_layers(
    steps: &mut Steps,
    host: &Host,
    layout: &Layout,
    policy: &Policy,
    etc: &Path,
) {
    let layer = new(STAGING).join("etc");
    steps.directory(&layer, 0o755, "the layer over /etc");
    make_fixed_etc(steps, host, policy, &layer);
    hide_private_etc(steps, host, layout, &layer);
    // What is secret when the run begins is hidden; what becomes so, or comes, cannot be read.
    let reader = ids::nobody(host);
    lay_for(steps, reader, (&layer, etc), &new("etc"), "/etc without secrets");
}

/// Makes the files that are the same in every `/etc`.
pub fn make_fixed_etc(steps: &mut Steps, host: &Host, policy: &Policy, etc: &Path) {
    for (name, content) in fixed_etc(host, policy) {
        steps.file(&etc.join(name), content.as_bytes(), 0o644, "the same on every machine");
    }
    show_library(steps, policy, etc);
    let utc = Path::new("/usr/share/zoneinfo/Etc/UTC");
    steps.link(utc, &etc.join("localtime"), "the same on every machine");
}

/// A file that is asked for by name is bound over its place, which must be there.
pub fn hide_private_etc(steps: &mut Steps, host: &Host, layout: &Layout, layer: &Path) {
    let is_asked_for =
        |hidden: &Path| layout.placed.iter().any(|p| p.path == Path::new("/etc").join(hidden));
    for hidden in host.hidden_etc.iter().filter(|hidden| !is_asked_for(hidden)) {
        hide(steps, layer, hidden, "not everybody may read it");
    }
}

/// An `/etc` that is made of what everybody may read, where mounts below the host's rule an
/// overlay out. What is private is not covered but absent, also what comes later.
fn compose_etc(steps: &mut Steps, host: &Host, readable: &[Piece], policy: &Policy, source: &Path) {
    let etc = new("etc");
    let fixed: Vec<&str> =
        fixed_etc(host, policy).iter().map(|(name, _)| *name).chain(["localtime"]).collect();
    let is_replaced = interposed(policy).is_some();
    let is_kept = |piece: &&Piece| {
        let replaced = PRELOADED.iter().filter(|_| is_replaced);
        fixed.iter().chain(replaced).all(|name| !piece.path.starts_with(name))
    };
    let pieces: Arc<[Piece]> = readable.iter().filter(is_kept).cloned().collect();
    let (path, large) = (c_path(&etc), Arc::clone(&pieces));
    let fill = Op::Fill { source: c_path(source), path, pieces };
    steps.add("what everybody may read of the host's", fill);
    make_fixed_etc(steps, host, policy, &etc);
    for piece in large.iter().filter(|piece| piece.content == Content::LargeFile) {
        let (source, target) = (source.join(&piece.path), etc.join(&piece.path));
        bind_read_only(steps, &source, &target, "too large to be copied");
    }
}
