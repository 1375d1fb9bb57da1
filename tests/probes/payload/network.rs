//! The network: listeners of the host, the world outside, socket families that no namespace
//! covers. Where the network namespace is the host's nothing is sent beyond loopback.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::calls::{at, at_mut, c, call};
use crate::{Attempt, Escapes, Facts, escape_if};

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("host_listener_ipv4", host_listener_ipv4),
    ("host_listener_ipv6", host_listener_ipv6),
    ("world", world),
    ("interfaces", interfaces),
    ("same_port", same_port),
    ("loopback_works", loopback_works),
    ("datagram_to_the_host", datagram_to_the_host),
    ("multicast", multicast),
    ("raw_sockets", raw_sockets),
    ("packet_sockets", packet_sockets),
    ("abstract_socket", abstract_socket),
    ("path_socket", path_socket),
    ("shown_sockets", shown_sockets),
    ("daemon_sockets", daemon_sockets),
    ("inherited_socket", inherited_socket),
    ("vsock", vsock),
    ("vsock_by_io_uring", vsock_by_io_uring),
    ("vsock_foreign", vsock_foreign),
    ("foreign_calls", foreign_calls),
    ("crypto_sockets", crypto_sockets),
    ("other_families", other_families),
    ("kernel_events", kernel_events),
    ("audit", audit),
    ("netfilter", netfilter),
    ("tunnel", tunnel),
    ("resolver", resolver),
];

fn reached(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(500))
        .is_ok_and(|mut stream| stream.write_all(b"escaped").is_ok())
}

fn host_listener_ipv4(facts: &Facts) -> Escapes {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, facts.tcp4));
    escape_if(reached(address), || format!("connected to {address}"))
}

fn host_listener_ipv6(facts: &Facts) -> Escapes {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, facts.tcp6));
    escape_if(reached(address), || format!("connected to {address}"))
}

/// A way out is more than "connection refused": anything but "no route" has gone somewhere.
fn world(facts: &Facts) -> Escapes {
    if facts.must_not_harm("net") {
        return escape_if(has_route(), || "there is a route to the world; not taken".to_owned());
    }
    let addresses = [
        SocketAddr::from(([1, 1, 1, 1], 53)),
        SocketAddr::from(([10, 0, 0, 1], 22)),
        SocketAddr::from(([172, 17, 0, 1], 80)),
        SocketAddr::from(([169, 254, 169, 254], 80)),
        SocketAddr::from(([0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888], 53)),
    ];
    let mut escapes = Vec::new();
    for address in addresses {
        let refused = TcpStream::connect_timeout(&address, Duration::from_millis(500)).err();
        let errno = refused.as_ref().and_then(std::io::Error::raw_os_error);
        let unreachable = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EADDRNOTAVAIL];
        let held = errno.is_some_and(|errno| unreachable.contains(&errno));
        escapes.extend(escape_if(!held, || format!("{address}: {refused:?}")));
    }
    escapes
}

/// True if packets leave by anything but loopback: proc_net_route, the default or any other.
fn has_route() -> bool {
    let table = fs::read_to_string("/proc/net/route").unwrap_or_default();
    table.lines().skip(1).any(|line| !line.starts_with("lo\t"))
}

fn interfaces(_: &Facts) -> Escapes {
    let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names = text.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim);
    names.filter(|name| *name != "lo").map(|name| format!("sees the interface {name}")).collect()
}

/// The host listens there; in a network namespace of its own every port is free.
fn same_port(facts: &Facts) -> Escapes {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, facts.tcp4));
    escape_if(bound.is_err(), || "the host's port is in the way".to_owned())
}

/// No attempt: loopback works, for both protocols.
fn loopback_works(_: &Facts) -> Escapes {
    let works = |address: SocketAddr| -> std::io::Result<bool> {
        let listener = TcpListener::bind(address)?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        client.write_all(b"x")?;
        let mut byte = [0];
        server.read_exact(&mut byte)?;
        Ok(byte == *b"x")
    };
    let addresses =
        [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
    let broken = addresses.into_iter().filter(|address| !works(*address).unwrap_or(false));
    broken.map(|address| format!("no connection on {address}")).collect()
}

/// The judge looks at its socket.
fn datagram_to_the_host(facts: &Facts) -> Escapes {
    if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
        let _ = socket.send_to(b"escaped", (Ipv4Addr::LOCALHOST, facts.udp));
    }
    Vec::new()
}

/// The judge's socket has joined 239.255.77.77 on loopback.
fn multicast(facts: &Facts) -> Escapes {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) else { return Vec::new() };
    let loopback = libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) };
    // SAFETY: IP_MULTICAST_IF takes an in_addr. Thus nothing leaves the machine.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            (&raw const loopback).cast(),
            size_of::<libc::in_addr>() as u32,
        );
    }
    let _ = socket.send_to(b"escaped", (Ipv4Addr::new(239, 255, 77, 77), facts.udp));
    Vec::new()
}

fn opens(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let kind = kind | libc::SOCK_CLOEXEC;
    let fd = call(libc::SYS_socket, &[family as u64, kind as u64, protocol as u64])?;
    // SAFETY: the descriptor was just opened and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn raw_sockets(_: &Facts) -> Escapes {
    let kinds = [(libc::AF_INET, libc::IPPROTO_ICMP), (libc::AF_INET6, libc::IPPROTO_ICMPV6)];
    let opened =
        kinds.iter().filter(|(family, protocol)| opens(*family, libc::SOCK_RAW, *protocol).is_ok());
    opened.map(|(family, _)| format!("a raw socket of family {family}")).collect()
}

/// CVE-2017-7308.
fn packet_sockets(_: &Facts) -> Escapes {
    escape_if(opens(libc::AF_PACKET, libc::SOCK_RAW, 0).is_ok(), || "a packet socket".to_owned())
}

/// CVE-2020-15257.
fn abstract_socket(facts: &Facts) -> Escapes {
    let Ok(address) = UnixAddress::from_abstract_name(&facts.abstract_socket) else {
        return Vec::new();
    };
    let connected = UnixStream::connect_addr(&address);
    escape_if(connected.is_ok(), || "connected to an abstract socket".to_owned())
}

fn path_socket(facts: &Facts) -> Escapes {
    let path = facts.private.join("socket");
    let connected = UnixStream::connect(&path);
    escape_if(connected.is_ok(), || format!("connected to {}", path.display()))
}

/// Sockets and FIFOs of the host in directories that are shown.
fn shown_sockets(facts: &Facts) -> Escapes {
    let places = [&facts.project, &facts.read_only];
    let reached = places.into_iter().flat_map(|place| reach_in(place));
    reached.map(|path| format!("reached {}", path.display())).collect()
}

/// The sockets and FIFOs in a directory at whose other end there is somebody.
pub fn reach_in(place: &Path) -> Vec<PathBuf> {
    let connects = |path: &PathBuf| UnixStream::connect(path).is_ok();
    let sockets = ["socket", "mounted"].map(|name| place.join(name)).into_iter().filter(connects);
    let writes = |path: &PathBuf| {
        let fifo = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        fifo.is_ok_and(|mut fifo| fifo.write_all(b"escaped").is_ok())
    };
    sockets.chain(Some(place.join("fifo")).filter(writes)).collect()
}

/// Sockets of agents and daemons, where they usually lie, and where the environment says.
fn daemon_sockets(facts: &Facts) -> Escapes {
    let usual = [
        "/run/dbus/system_bus_socket",
        "/run/docker.sock",
        "/run/systemd/private",
        "/run/systemd/notify",
        "/run/systemd/journal/socket",
        "/run/nscd/socket",
        "/tmp/.X11-unix/X0",
        "/dev/log",
    ];
    let usual = usual.iter().map(std::path::PathBuf::from);
    let named = ["SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY"];
    let named = named.iter().filter_map(std::env::var_os).map(std::path::PathBuf::from);
    let planted = [facts.private.join("socket")];
    let reaches = |path: &std::path::PathBuf| {
        UnixStream::connect(path).is_ok()
            || UnixDatagram::unbound().is_ok_and(|socket| socket.connect(path).is_ok())
    };
    let reached = usual.chain(named).chain(planted).filter(reaches);
    reached.map(|path| format!("reached {}", path.display())).collect()
}

/// The judge left a socket open and listens at its other end.
fn inherited_socket(_: &Facts) -> Escapes {
    for fd in 3..1024 {
        // SAFETY: pointer and length are those of the text.
        unsafe { libc::send(fd, b"escaped".as_ptr().cast(), 7, libc::MSG_NOSIGNAL) };
    }
    Vec::new()
}

fn vsock(_: &Facts) -> Escapes {
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
    let opened = kinds.iter().filter(|kind| opens(libc::AF_VSOCK, **kind, 0).is_ok());
    let mut escapes: Escapes =
        opened.map(|kind| format!("a hypervisor socket of type {kind}")).collect();
    let mut pair = [0_i32; 2];
    let arguments = [libc::AF_VSOCK as u64, libc::SOCK_STREAM as u64, 0, at_mut(&mut pair)];
    escapes.extend(escape_if(call(libc::SYS_socketpair, &arguments).is_ok(), || {
        "a pair of hypervisor sockets".to_owned()
    }));
    escapes
}

/// A system call by the 32-bit entry, `int 0x80`.
#[cfg(target_arch = "x86_64")]
fn call_32(number: u32, arguments: [u32; 3]) -> i64 {
    let result: i64;
    // SAFETY: the kernel reads numbers from the registers and returns one in rax; rbx is
    // restored. The calls made take no pointers.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, {first:e}",
            "int 0x80",
            "pop rbx",
            first = in(reg) arguments[0],
            inlateout("rax") i64::from(number) => result,
            in("rcx") u64::from(arguments[1]),
            in("rdx") u64::from(arguments[2]),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The kernel's answer is 32 bits wide.
    i64::from(result as i32)
}

#[cfg(not(target_arch = "x86_64"))]
fn call_32(_: u32, _: [u32; 3]) -> i64 {
    -i64::from(libc::ENOSYS)
}

/// x32 numbers have this bit; they enter like native calls.
const X32: i64 = 0x4000_0000;

/// IORING_OP_SOCKET makes sockets where no seccomp filter sees the family.
fn vsock_by_io_uring(_: &Facts) -> Escapes {
    let made = socket_of_a_ring(libc::AF_VSOCK).is_ok();
    escape_if(made, || "opened an AF_VSOCK socket by io_uring".to_owned())
}

/// Result of io_uring for a socket of that family. The offsets are those of linux/io_uring.h: of
/// `struct io_uring_params`, `io_sqring_offsets`, `io_cqring_offsets`, `io_uring_sqe`.
fn socket_of_a_ring(family: i32) -> Result<i64, Errno> {
    const OP_SOCKET: u8 = 45;
    const ENTER_GETEVENTS: u64 = 1;
    const OFFSET_OF_ENTRIES: i64 = 0x1000_0000;
    let mut parameters = [0_u32; 30];
    let ring = call(libc::SYS_io_uring_setup, &[1, at_mut(&mut parameters)])?;
    let map = |offset: i64| {
        let (read_write, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping of the ring, at a place that the kernel chooses.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, read_write, shared, ring as i32, offset)
        };
        if at == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(at.cast::<u32>()) }
    };
    // IORING_FEAT_SINGLE_MMAP: both queues lie in one mapping.
    let (queues, entry) = (map(0)?, map(OFFSET_OF_ENTRIES)?);
    let [submit_tail, array, completed] = [11, 16, 25].map(|index| parameters[index] as usize / 4);
    // SAFETY: one entry of 64 bytes, and words of the queues where the kernel has said that they
    // are; a ring of one entry fits into a page.
    unsafe {
        entry.cast::<u8>().write(OP_SOCKET);
        entry.add(1).write(family as u32);
        entry.add(2).write(libc::SOCK_STREAM as u32);
        queues.add(array).write(0);
        queues.add(submit_tail).write_volatile(1);
    }
    call(libc::SYS_io_uring_enter, &[ring as u64, 1, 1, ENTER_GETEVENTS, 0, 0])?;
    // SAFETY: the first completion; its result follows eight bytes of the caller's.
    let result = unsafe { queues.add(completed + 2).read_volatile() } as i32;
    if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(i64::from(result)) }
}

/// The same socket by entries that a filter of native numbers does not know.
fn vsock_foreign(_: &Facts) -> Escapes {
    const SOCKET_32: u32 = 359;
    let family = libc::AF_VSOCK as u32;
    let mut escapes = escape_if(call_32(SOCKET_32, [family, 1, 0]) >= 0, || {
        "a hypervisor socket by the 32-bit entry".to_owned()
    });
    let x32 = call(X32 | libc::SYS_socket, &[u64::from(family), 1, 0]);
    escapes.extend(escape_if(x32.is_ok(), || "a hypervisor socket by an x32 number".to_owned()));
    escapes
}

/// No call at all by another architecture's entry.
fn foreign_calls(_: &Facts) -> Escapes {
    const GETPID_32: u32 = 20;
    let mut escapes = escape_if(call_32(GETPID_32, [0, 0, 0]) > 0, || {
        "system calls by the 32-bit entry".to_owned()
    });
    let x32 = call(X32 | libc::SYS_getpid, &[]).is_ok();
    escapes.extend(escape_if(x32, || "system calls by x32 numbers".to_owned()));
    escapes
}

fn crypto_sockets(_: &Facts) -> Escapes {
    let opened = opens(libc::AF_ALG, libc::SOCK_SEQPACKET, 0);
    escape_if(opened.is_ok(), || "a socket to the kernel's cryptography".to_owned())
}

/// Families whose objects are not a network namespace's.
fn other_families(_: &Facts) -> Escapes {
    let families = [
        ("bluetooth", libc::AF_BLUETOOTH, libc::SOCK_RAW, 1),
        ("can", libc::AF_CAN, libc::SOCK_RAW, 1),
        ("tipc", libc::AF_TIPC, libc::SOCK_RDM, 0),
        ("rds", libc::AF_RDS, libc::SOCK_SEQPACKET, 0),
        ("nfc", libc::AF_NFC, libc::SOCK_RAW, 0),
        ("ax25", libc::AF_AX25, libc::SOCK_DGRAM, 0),
        ("qipcrtr", 42, libc::SOCK_DGRAM, 0),
        ("smc", 43, libc::SOCK_STREAM, 0),
        ("xdp", 44, libc::SOCK_RAW, 0),
    ];
    let opened = families
        .iter()
        .filter(|(_, family, kind, protocol)| opens(*family, *kind, *protocol).is_ok());
    opened.map(|(name, ..)| format!("a socket of family {name}")).collect()
}

/// Sends one netlink message and returns the errno of the answer, 0 for none.
fn netlink(protocol: i32, kind: u16, flags: u16, body: &[u8]) -> Result<i32, Errno> {
    let socket = opens(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?;
    let length = 16 + body.len();
    let mut message = Vec::new();
    message.extend((length as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | 1).to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    let fd = socket.as_raw_fd() as u64;
    call(libc::SYS_sendto, &[fd, at(message.as_slice()), length as u64, 0, 0, 0])?;
    let mut answer = [0_u8; 4096];
    let wait = libc::timeval { tv_sec: 1, tv_usec: 0 };
    // SAFETY: SO_RCVTIMEO takes a timeval.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const wait).cast(),
            size_of::<libc::timeval>() as u32,
        );
    }
    let got = call(libc::SYS_recvfrom, &[fd, at_mut(&mut answer), 4096, 0, 0, 0])?;
    const ERROR: u16 = 2;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if got >= 20 && kind == ERROR && code != 0 {
        Err(Errno::from_raw(-code))
    } else {
        Ok(got as i32)
    }
}

/// Events of the host's devices arrive in the first network namespace, and in no other.
fn kernel_events(facts: &Facts) -> Escapes {
    const UEVENT: i32 = 15;
    let Ok(socket) = opens(libc::AF_NETLINK, libc::SOCK_RAW, UEVENT) else { return Vec::new() };
    // SAFETY: all-zero is a valid sockaddr_nl.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_groups = 1;
    let size = size_of::<libc::sockaddr_nl>() as u64;
    let bound = call(libc::SYS_bind, &[socket.as_raw_fd() as u64, at(&address), size]);
    escape_if(bound.is_ok() && facts.shares("net"), || "hears the host's device events".to_owned())
}

fn audit(_: &Facts) -> Escapes {
    const AUDIT: i32 = 9;
    const GET: u16 = 1000;
    let asked = netlink(AUDIT, GET, 4, &[]);
    escape_if(asked.is_ok(), || "the audit system answered".to_owned())
}

/// CVE-2023-32233, CVE-2024-1086: nftables as a way into the kernel. Only asks.
fn netfilter(_: &Facts) -> Escapes {
    const NETFILTER: i32 = 12;
    const GET_GENERATION: u16 = 10 << 8 | 16;
    let asked = netlink(NETFILTER, GET_GENERATION, 4, &[0, 0, 0, 10]);
    escape_if(asked.is_ok(), || "nftables answered".to_owned())
}

fn tunnel(facts: &Facts) -> Escapes {
    let opened = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let Ok(file) = opened else { return Vec::new() };
    if facts.must_not_harm("net") {
        return vec!["opened /dev/net/tun".to_owned()];
    }
    const TUNSETIFF: u64 = 0x4004_54CA;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_flags = 1;
    let made = call(libc::SYS_ioctl, &[file.as_raw_fd() as u64, TUNSETIFF, at(&request)]).is_ok();
    escape_if(made, || "made a tunnel".to_owned())
}

/// A name that does not exist: the answer must come at once, and from nobody outside.
fn resolver(facts: &Facts) -> Escapes {
    if facts.must_not_harm("net") {
        let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let named = text.lines().any(|line| line.starts_with("nameserver"));
        return escape_if(named && has_route(), || "the host's resolver would be asked".to_owned());
    }
    let started = Instant::now();
    let found = ("isotest-probe.invalid", 1).to_socket_addrs().is_ok();
    let mut escapes = escape_if(found, || "resolved a name that does not exist".to_owned());
    escapes.extend(escape_if(started.elapsed() > Duration::from_secs(3), || {
        format!("a look-up took {:?}", started.elapsed())
    }));
    let nscd = c("/run/nscd/socket");
    escapes.extend(escape_if(UnixStream::connect(nscd.to_str().unwrap_or("")).is_ok(), || {
        "reached nscd".to_owned()
    }));
    escapes
}
