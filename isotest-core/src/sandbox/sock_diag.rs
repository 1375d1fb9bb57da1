//! Sockets that receive, by NETLINK_SOCK_DIAG (sock_diag(7)): those of the network namespace that
//! the calling thread is in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use super::procfs::contents;

/// Sockets of one family and protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketKind {
    /// Its name in `/proc/net/sockstat` and `sockstat6`.
    pub counter: &'static str,
    /// Its name for people.
    pub protocol: &'static str,
    family: i32,
    number: i32,
    /// The state in which it receives from anybody, include/net/tcp_states.h.
    state: u32,
}

/// All kinds.
pub const KINDS: [SocketKind; 4] = [
    kind("TCP", "tcp", libc::AF_INET, libc::IPPROTO_TCP, TCP_LISTEN),
    kind("TCP6", "tcp", libc::AF_INET6, libc::IPPROTO_TCP, TCP_LISTEN),
    kind("UDP", "udp", libc::AF_INET, libc::IPPROTO_UDP, UNCONNECTED),
    kind("UDP6", "udp", libc::AF_INET6, libc::IPPROTO_UDP, UNCONNECTED),
];

const fn kind(
    counter: &'static str,
    protocol: &'static str,
    family: i32,
    number: i32,
    state: u32,
) -> SocketKind {
    SocketKind { counter, protocol, family, number, state }
}

/// `TCP_LISTEN`, and `TCP_CLOSE`, which is that of UDP without a peer.
const TCP_LISTEN: u32 = 10;
const UNCONNECTED: u32 = 7;

/// A socket that receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivingSocket {
    /// Its address.
    pub address: SocketAddr,
    /// Its inode number, by which descriptors name it.
    pub inode: u32,
}

/// Maximum number of sockets of a kind that are read.
const MOST: usize = 1 << 10;
/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Lengths of `struct nlmsghdr`, `struct inet_diag_req_v2`, `struct inet_diag_msg`.
const HEADER: usize = 16;
const REQUEST: usize = 56;
const ANSWER: usize = 72;

/// The sockets of a kind that receive. ENOENT: the kernel has no sock_diag for them.
pub fn receiving(kind: SocketKind) -> Result<Vec<ReceivingSocket>, Errno> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    send(socket.as_raw_fd(), &request(kind), MsgFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    while found.len() < MOST && read_part(&socket, &mut buffer, &mut found)? {}
    Ok(found)
}

/// Asks for all sockets of a kind in its state.
fn request(kind: SocketKind) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([kind.family as u8, kind.number as u8, 0, 0]);
    bytes.extend((1_u32 << kind.state).to_ne_bytes());
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

/// Reads a part of the answer: false where it was the last.
fn read_part(
    socket: &OwnedFd,
    buffer: &mut [u8],
    found: &mut Vec<ReceivingSocket>,
) -> Result<bool, Errno> {
    // The kernel makes each part when it is read.
    let length = recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
    let mut rest = buffer.get(..length).unwrap_or_default();
    while let Some((kind, body, behind)) = message(rest) {
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(false),
            libc::NLMSG_ERROR => {
                let number = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                return Err(Errno::from_raw(-number));
            }
            _ => found.extend(answer(body)),
        }
        rest = behind;
    }
    Ok(length > 0)
}

/// The type and the content of the first message, and what follows it: netlink(7).
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// A socket, as `struct inet_diag_msg` describes it.
fn answer(body: &[u8]) -> Option<ReceivingSocket> {
    let body = body.get(..ANSWER)?;
    let port = u16::from_be_bytes(*body.get(4..)?.first_chunk()?);
    let source = body.get(8..)?;
    let address = match i32::from(*body.first()?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*source.first_chunk::<4>()?)),
        _ => IpAddr::V6(Ipv6Addr::from(*source.first_chunk::<16>()?)),
    };
    let inode = u32::from_ne_bytes(*body.get(68..)?.first_chunk()?);
    Some(ReceivingSocket { address: SocketAddr::new(address, port), inode })
}

/// True if the kernel may have chosen a port: it lies within its range, ip(7).
pub fn may_be_chosen() -> impl Fn(u16) -> bool {
    // The kernel's own where it cannot be read.
    const DEFAULT: (u16, u16) = (32768, 60999);
    let text = contents("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().map(str::parse::<u16>);
    let (first, last) = match (bounds.next(), bounds.next()) {
        (Some(Ok(first)), Some(Ok(last))) => (first, last),
        _ => DEFAULT,
    };
    move |port| (first..=last).contains(&port)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn ports(counter: &str) -> Vec<u16> {
        let kind = KINDS.into_iter().find(|kind| kind.counter == counter).expect("it is a kind");
        let found = receiving(kind).expect("the kernel has sock_diag");
        found.iter().map(|socket| socket.address.port()).collect()
    }

    #[test]
    fn sockets_that_receive_are_found_and_others_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let bound = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
        let connected = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
        connected.connect(bound.local_addr().expect("it is bound")).expect("it is there");
        let port = |address: std::io::Result<SocketAddr>| address.expect("it is bound").port();
        assert!(ports("TCP").contains(&port(listener.local_addr())));
        assert!(!ports("TCP6").contains(&port(listener.local_addr())));
        assert!(ports("UDP").contains(&port(bound.local_addr())));
        assert!(!ports("UDP").contains(&port(connected.local_addr())));
        assert!(may_be_chosen()(port(bound.local_addr())) && !may_be_chosen()(80));
    }

    #[test]
    fn an_answer_is_read_within_its_bounds() {
        let mut body = vec![0; ANSWER];
        body[0] = libc::AF_INET6 as u8;
        body[4..6].copy_from_slice(&[0x1f, 0x90]);
        body[23] = 1;
        body[68..72].copy_from_slice(&7_u32.to_ne_bytes());
        let found = answer(&body).expect("it is whole");
        assert_eq!((found.address.to_string().as_str(), found.inode), ("[::1]:8080", 7));
        assert_eq!(answer(&body[1..]), None);
        for length in 0..HEADER {
            assert_eq!(message(&vec![0xff; length]), None);
        }
    }
}
