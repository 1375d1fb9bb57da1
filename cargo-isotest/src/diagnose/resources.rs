//! Resources that two tests use: the candidates for what they meet at.

use std::collections::BTreeSet;
use std::net::IpAddr;

use isotest_core::trace::{Endpoint, Footprint, Transport};

/// A resource that two tests use, of which one changes or owns it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A port, with the address that the test binds.
    Port(String, u16),
    /// A socket in the abstract namespace.
    AbstractSocket(String),
    /// A multicast group.
    Group(String),
    /// A file.
    File(String),
    /// A variable of the environment.
    Variable(String),
}

impl Resource {
    /// Its text in a sentence.
    pub fn text(&self) -> String {
        match self {
            Resource::Port(address, _) | Resource::Group(address) => address.clone(),
            Resource::AbstractSocket(name) => format!("the abstract socket `@{name}`"),
            Resource::File(path) => format!("`{path}`"),
            Resource::Variable(name) => format!("the environment variable `{name}`"),
        }
    }
}

/// The resources at which these tests may meet.
pub fn shared(test: &Footprint, other: &Footprint) -> BTreeSet<Resource> {
    let mut shared = BTreeSet::new();
    for bound in &test.binds {
        let uses = other.binds.iter().chain(&other.dials);
        shared.extend(uses.filter_map(|used| same_endpoint(bound, used)));
    }
    for dialed in &test.dials {
        shared.extend(other.binds.iter().filter_map(|bound| same_endpoint(bound, dialed)));
    }
    let groups = |of: &Footprint| of.dials.iter().chain(&of.binds).filter_map(group).collect();
    let (own, others): (BTreeSet<String>, BTreeSet<String>) = (groups(test), groups(other));
    shared.extend(own.intersection(&others).cloned().map(Resource::Group));
    let files = files(test, other);
    shared.extend(files.filter(|path| is_own(path)).map(|path| Resource::File(path.clone())));
    shared
}

/// Files that one of them writes and the other one uses.
fn files<'a>(test: &'a Footprint, other: &'a Footprint) -> impl Iterator<Item = &'a String> {
    let uses = |of: &Footprint, path: &String| {
        of.writes.contains(path) || of.reads.contains(path) || of.missing.contains(path)
    };
    let own = test.writes.iter().filter(move |path| uses(other, path));
    own.chain(other.writes.iter().filter(move |path| uses(test, path)))
}

/// Files of devices and of the kernel are nobody's.
fn is_own(path: &str) -> bool {
    let is_kernels = ["/dev/", "/proc/", "/sys/"].iter().any(|top| path.starts_with(top));
    path.starts_with("/dev/shm/") || (!is_kernels && !["/tmp", "/dev/shm"].contains(&path))
}

fn same_endpoint(bound: &Endpoint, used: &Endpoint) -> Option<Resource> {
    match (bound, used) {
        (Endpoint::Ip(one, address), Endpoint::Ip(other, used))
            if one == other && address.port() == used.port() && address.port() != 0 =>
        {
            Some(Resource::Port(format!("{} port {address}", transport(*one)), address.port()))
        }
        (Endpoint::Abstract(one), Endpoint::Abstract(other)) if one == other => {
            Some(Resource::AbstractSocket(one.clone()))
        }
        (Endpoint::Unix(one), Endpoint::Unix(other)) if one == other => {
            Some(Resource::File(one.clone()))
        }
        _ => None,
    }
}

fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
        Transport::Other => "IP",
    }
}

/// The multicast group of an address.
fn group(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Ip(_, address) if is_multicast(address.ip()) => Some(address.to_string()),
        _ => None,
    }
}

fn is_multicast(address: IpAddr) -> bool {
    address.is_multicast()
}
