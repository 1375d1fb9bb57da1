//! What a tracer reads of a process that waits in a system call: memory, and its sockets.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use rustix::net::{SocketAddrAny, SocketAddrUnix};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::trace::{Endpoint, Transport};

/// Memory is shared out in pages of this size, or of a multiple of it.
const PAGE: u64 = 4096;
/// Maximum length of a path, path_resolution(7).
const PATH: usize = 4096;
/// Maximum length of an address of a socket, `struct sockaddr_storage`.
const ADDRESS: usize = 128;

/// Reads up to `most` bytes; fewer where what follows is not mapped, none where nothing is.
pub fn bytes(thread: i32, address: u64, most: usize) -> Vec<u8> {
    let mut buffer = vec![0; most];
    let (mut remote, mut at, mut left) = (Vec::new(), address, most as u64);
    // A transfer ends before the first part that cannot be read.
    while left > 0 {
        let length = left.min(PAGE - at % PAGE);
        remote.push(RemoteIoVec { base: at as usize, len: length as usize });
        let Some(next) = at.checked_add(length) else { break };
        (at, left) = (next, left - length);
    }
    let mut local = [IoSliceMut::new(&mut buffer)];
    let read = process_vm_readv(Pid::from_raw(thread), &mut local, &remote).unwrap_or(0);
    buffer.truncate(read);
    buffer
}

/// Reads a C string; `None` where it cannot be read or has no end.
pub fn text(thread: i32, address: u64, most: usize) -> Option<String> {
    let mut bytes = bytes(thread, address, most);
    bytes.truncate(bytes.iter().position(|byte| *byte == 0)?);
    Some(lossy(bytes))
}

/// Reads a path.
pub fn path(thread: i32, address: u64) -> Option<String> {
    text(thread, address, PATH)
}

/// Text with U+FFFD where it is not UTF-8.
pub fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Reads some words of 64 bits.
pub fn words<const COUNT: usize>(thread: i32, address: u64) -> Option<[u64; COUNT]> {
    let bytes = bytes(thread, address, COUNT * 8);
    let mut words = bytes.chunks_exact(8).map(|word| word.try_into().map(u64::from_le_bytes));
    let mut all = [0; COUNT];
    for word in &mut all {
        *word = words.next()?.ok()?;
    }
    Some(all)
}

/// Address of a socket, before its transport is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Ip(SocketAddr),
    Unix(String),
    Abstract(String),
    Other(u16),
}

impl Address {
    /// Reads the bytes of one; `None` where they cannot be read.
    pub fn bytes(thread: i32, address: u64, length: u64) -> Option<Vec<u8>> {
        let length = usize::try_from(length).unwrap_or(ADDRESS).min(ADDRESS);
        let bytes = bytes(thread, address, length);
        (length == 0 || !bytes.is_empty()).then_some(bytes)
    }

    /// From `struct sockaddr` of its family; `None` where it is of no family.
    pub fn parse(bytes: &[u8]) -> Option<Address> {
        let (family, rest) = bytes.split_first_chunk()?;
        let family = u16::from_ne_bytes(*family);
        let port = || Some(u16::from_be_bytes(*rest.first_chunk()?));
        match i32::from(family) {
            libc::AF_UNSPEC => None,
            libc::AF_INET => {
                let address: [u8; 4] = rest.get(2..6)?.try_into().ok()?;
                Some(Address::Ip(SocketAddr::from((Ipv4Addr::from(address), port()?))))
            }
            libc::AF_INET6 => {
                let address: [u8; 16] = rest.get(6..22)?.try_into().ok()?;
                Some(Address::Ip(SocketAddr::from((Ipv6Addr::from(address), port()?))))
            }
            libc::AF_UNIX => match rest.split_first()? {
                (0, []) => None,
                (0, name) => Some(Address::Abstract(lossy(name.to_vec()))),
                _ => {
                    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
                    Some(Address::Unix(lossy(rest.get(..end)?.to_vec())))
                }
            },
            _ => Some(Address::Other(family)),
        }
    }

    /// With the transport of its socket.
    pub fn over(self, transport: Transport) -> Endpoint {
        match self {
            Address::Ip(address) => Endpoint::Ip(transport, address),
            Address::Unix(path) => Endpoint::Unix(path),
            Address::Abstract(name) => Endpoint::Abstract(name),
            Address::Other(family) => Endpoint::Other(family),
        }
    }
}

/// A descriptor of a process, as one of this process.
pub fn descriptor(process: i32, number: i32) -> Option<OwnedFd> {
    let process = rustix::process::Pid::from_raw(process)?;
    let process = pidfd_open(process, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, number, PidfdGetfdFlags::empty()).ok()
}

/// The transport of a socket.
pub fn transport(socket: &OwnedFd) -> Transport {
    use nix::sys::socket::{SockType, getsockopt, sockopt};
    match getsockopt(socket, sockopt::SockType) {
        Ok(SockType::Stream) => Transport::Tcp,
        Ok(SockType::Datagram) => Transport::Udp,
        Ok(_) | Err(_) => Transport::Other,
    }
}

/// The address that a socket is bound to.
pub fn bound_to(socket: &OwnedFd) -> Option<Address> {
    address_of(rustix::net::getsockname(socket).ok()?)
}

/// The address that a socket is connected to.
pub fn connected_to(socket: &OwnedFd) -> Option<Address> {
    address_of(rustix::net::getpeername(socket).ok()??)
}

fn address_of(address: SocketAddrAny) -> Option<Address> {
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return Some(Address::Ip(address));
    }
    let address = SocketAddrUnix::try_from(address).ok()?;
    match (address.path_bytes(), address.abstract_name()) {
        (Some(path), _) => Some(Address::Unix(lossy(path.to_vec()))),
        (None, Some(name)) => Some(Address::Abstract(lossy(name.to_vec()))),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_by_their_family() {
        let parse = |family: i32, rest: &[u8]| {
            Address::parse(&[&(family as u16).to_ne_bytes(), rest].concat())
        };
        let ip = |text: &str| Some(Address::Ip(text.parse().expect("an address")));
        assert_eq!(parse(libc::AF_INET, &[31, 144, 127, 0, 0, 1]), ip("127.0.0.1:8080"));
        let ipv6 = [&[0, 80, 0, 0, 0, 0][..], &[0; 15], &[1]].concat();
        assert_eq!(parse(libc::AF_INET6, &ipv6), ip("[::1]:80"));
        assert_eq!(parse(libc::AF_UNIX, b"/a\0b"), Some(Address::Unix("/a".to_owned())));
        assert_eq!(parse(libc::AF_UNIX, b"\0ab"), Some(Address::Abstract("ab".to_owned())));
        assert_eq!(parse(libc::AF_UNIX, b"\0"), None);
        assert_eq!(parse(libc::AF_UNSPEC, b""), None);
        assert_eq!(parse(libc::AF_NETLINK, b""), Some(Address::Other(16)));
        for cut in 0..6 {
            assert_eq!(parse(libc::AF_INET, &[1; 6][..cut]), None);
        }
        assert_eq!(Address::parse(&[1]), None);
    }

    #[test]
    fn memory_is_read_up_to_what_is_mapped() {
        let own = std::process::id() as i32;
        let text_here = c"/some/path";
        let address = text_here.as_ptr().addr() as u64;
        assert_eq!(path(own, address).as_deref(), Some("/some/path"));
        assert_eq!(path(own, 8), None);
        assert_eq!(bytes(own, u64::MAX - 3, 16), []);
        let here = [1_u64, 2];
        assert_eq!(words(own, here.as_ptr().addr() as u64), Some(here));
    }
}
