//! The loopback interface of a new network namespace: up, with what programs expect of a machine
//! that is connected, and with no way out.
//!
//! Resolvers that are asked for addresses of the kinds that the machine has (AI_ADDRCONFIG of
//! getaddrinfo(3)) leave those of loopback out of account, so there is one more of each kind: of
//! the blocks that are kept for documentation, and each alone, so that it makes a route to nobody
//! but itself.

use std::ffi::c_char;

use super::super::child::bytecode::{LINKED_SIZE, kind};
use super::{Argument, FIRST, List, Plain, ZERO, bytes_of, value};

/// Of TEST-NET-1, RFC 5737.
const IPV4: [u8; 4] = [192, 0, 2, 2];
/// 2001:db8::2, of RFC 3849.
const IPV6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// The first interface of every network namespace.
const INDEX: u32 = 1;

impl List {
    /// Brings the interface up, gives it a route for IPv4 multicast and an address: netdevice(7)
    /// SIOCSIFFLAGS, SIOCSIFADDR and SIOCSIFNETMASK, rtnetlink's older form SIOCADDRT of route(8).
    pub fn loopback_up(&mut self) {
        self.open_socket(libc::AF_INET);
        let flags = libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_MULTICAST;
        let up = libc::__c_anonymous_ifr_ifru { ifru_flags: flags as i16 };
        self.configure(libc::SIOCSIFFLAGS, b"lo", up);
        let route = self.multicast_route();
        self.control(libc::SIOCADDRT, route);
        // A name of its own makes it an address beside the first. The mask is that of its class
        // until there is another.
        let address = |bytes| libc::__c_anonymous_ifr_ifru { ifru_addr: inet(bytes) };
        self.configure(libc::SIOCSIFADDR, b"lo:1", address(IPV4));
        self.configure(libc::SIOCSIFNETMASK, b"lo:1", address([255; 4]));
        self.close(FIRST);
    }

    /// The same for IPv6: ipv6(7). EACCES: a sysctl has disabled it on this interface, and there is
    /// no ::1 either.
    pub fn loopback_ipv6(&mut self) {
        self.open_socket(libc::AF_INET6);
        let mut group = [0; 16];
        group[0] = 0xff;
        let route = Ipv6Route {
            destination: group,
            source: [0; 16],
            gateway: [0; 16],
            kind: 0,
            destination_length: 8,
            source_length: 0,
            metric: 1,
            _padding: 0,
            information: 0,
            // What is not local the kernel makes a route that rejects, on this interface
            // (net/ipv6/route.c, `fib6_is_reject`).
            flags: u32::from(libc::RTF_UP) | RTF_LOCAL,
            interface: INDEX,
        };
        let route = self.structure(&route);
        self.control(libc::SIOCADDRT, route).tolerate(libc::EACCES);
        let address = libc::in6_ifreq {
            ifr6_addr: libc::in6_addr { s6_addr: IPV6 },
            ifr6_prefixlen: 128,
            ifr6_ifindex: INDEX as i32,
        };
        let address = self.structure(&address);
        self.control(libc::SIOCSIFADDR, address).tolerate(libc::EACCES);
        self.close(FIRST);
    }

    fn open_socket(&mut self, family: i32) {
        let kind_of_socket = value(libc::SOCK_DGRAM | libc::SOCK_CLOEXEC);
        self.call(libc::SYS_socket, [value(family), kind_of_socket, ZERO]).keep(FIRST);
    }

    fn configure(
        &mut self,
        request: libc::c_ulong,
        name: &[u8],
        what: libc::__c_anonymous_ifr_ifru,
    ) {
        let mut interface = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: what };
        for (slot, byte) in interface.ifr_name.iter_mut().zip(name) {
            *slot = *byte as c_char;
        }
        let interface = self.structure(&interface);
        self.control(request, interface);
    }

    fn control(&mut self, request: libc::c_ulong, argument: Argument) -> &mut super::Call {
        self.call(libc::SYS_ioctl, [FIRST, value(request as i64), argument])
    }

    /// The route 224.0.0.0/4 on `lo`.
    fn multicast_route(&mut self) -> Argument {
        const { assert!(size_of::<libc::rtentry>() == LINKED_SIZE, "it has the room for one") };
        // SAFETY: an all-zero rtentry is valid.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = inet([224, 0, 0, 0]);
        route.rt_genmask = inet([240, 0, 0, 0]);
        route.rt_flags = libc::RTF_UP;
        let place = std::mem::offset_of!(libc::rtentry, rt_dev) as u64;
        let Argument(_, device) = self.text(c"lo");
        let Argument(_, route_at) =
            self.data(&[&place.to_le_bytes(), &device.to_le_bytes(), bytes_of(&route)].concat());
        Argument(kind::LINKED, route_at)
    }
}

/// linux/ipv6_route.h.
const RTF_LOCAL: u32 = 0x8000_0000;

/// `struct in6_rtmsg` of linux/ipv6_route.h, on a machine of 64 bits.
#[repr(C)]
struct Ipv6Route {
    destination: [u8; 16],
    source: [u8; 16],
    gateway: [u8; 16],
    kind: u32,
    destination_length: u16,
    source_length: u16,
    metric: u32,
    _padding: u32,
    information: u64,
    flags: u32,
    interface: u32,
}

impl Plain for libc::ifreq {}
impl Plain for libc::in6_ifreq {}
impl Plain for libc::rtentry {}
impl Plain for Ipv6Route {}

/// An IPv4 address without a port as a `sockaddr`.
fn inet(address: [u8; 4]) -> libc::sockaddr {
    let mut data = [0; 14];
    for (slot, byte) in data[2..6].iter_mut().zip(address) {
        *slot = byte as c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as u16, sa_data: data }
}
