//! Counters of the network namespace of a case, proc_pid_net(5): what it sent, and what it holds.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::procfs::read_piece;
use super::protocol::Packets;
use super::sock_diag::{KINDS, SocketKind};

/// The directory `/proc/PID/net`.
struct NetworkFiles(OwnedFd);

impl NetworkFiles {
    fn of(pid: i32) -> Option<NetworkFiles> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, format!("/proc/{pid}/net"), flags, Mode::empty()).ok().map(NetworkFiles)
    }

    fn read(&self, name: &str) -> Option<String> {
        let file = openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        read_piece(File::from(file))
    }
}

/// Packets for others, as counted by the network namespace of a process. Those to many are counted
/// only where that is asked for.
pub fn packets(pid: i32, to_many: bool) -> Packets {
    let Some(files) = NetworkFiles::of(pid) else { return Packets::default() };
    let netstat = if to_many { files.read("netstat") } else { None };
    let counted = count(
        &files.read("snmp").unwrap_or_default(),
        &netstat.unwrap_or_default(),
        files.read("snmp6").as_deref(),
    );
    Packets { to_many: if to_many { counted.to_many } else { 0 }, ..counted }
}

/// From the texts of `/proc/PID/net/snmp`, `netstat` and `snmp6`, which a kernel without IPv6 has
/// not (RFC 4293: ipSystemStatsOutNoRoutes, …OutMcastPkts, …OutBcastPkts; RFC 4113: udpNoPorts).
fn count(snmp: &str, netstat: &str, snmp6: Option<&str>) -> Packets {
    let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
    let ipv4 = |text: &str, group: &str, wanted: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(group));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let found = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == wanted);
        found.map_or(0, |(_, value)| number(value))
    };
    let ipv6 = |wanted: &str| {
        let lines = snmp6.unwrap_or_default().lines();
        let mut lines = lines.map(|line| line.split_whitespace());
        let found = lines.find_map(|mut words| (words.next()? == wanted).then(|| words.next())?);
        found.map_or(0, number)
    };
    let (multicast, broadcast) = ("OutMcastPkts", "OutBcastPkts");
    Packets {
        unrouted: ipv4(snmp, "Ip:", "OutNoRoutes") + ipv6("Ip6OutNoRoutes"),
        to_many: ipv4(netstat, "IpExt:", multicast)
            + ipv4(netstat, "IpExt:", broadcast)
            + ipv6("Ip6OutMcastPkts"),
        // The name server of `/etc/resolv.conf` is an address of this kind.
        to_no_server: match snmp6 {
            Some(_) => ipv6("Udp6NoPorts"),
            None => ipv4(snmp, "Udp:", "NoPorts"),
        },
    }
}

/// The kinds of sockets that there are in the network namespace of a process.
pub fn kinds_of_sockets(pid: i32) -> Vec<SocketKind> {
    let files = NetworkFiles::of(pid);
    let texts = ["sockstat", "sockstat6"].map(|name| files.as_ref()?.read(name));
    let texts = texts.map(Option::unwrap_or_default).concat();
    KINDS.into_iter().filter(|kind| is_in_use(&texts, kind.counter)).collect()
}

/// From the texts of `/proc/PID/net/sockstat` and `sockstat6`.
fn is_in_use(texts: &str, counter: &str) -> bool {
    texts.lines().any(|line| {
        let figures = line.strip_prefix(counter).and_then(|rest| rest.strip_prefix(": inuse "));
        figures.is_some_and(|figures| figures.split(' ').next() != Some("0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_were_meant_for_others_are_counted() {
        let snmp = "Ip: Forwarding InNoRoutes OutNoRoutes\nIp: 1 9 2\nIcmp: InMsgs\nIcmp: 7\n\
                    Udp: InDatagrams NoPorts\nUdp: 5 6\nUdpLite: NoPorts\nUdpLite: 7\n";
        let netstat = "TcpExt: OutMcastPkts\nTcpExt: 9\nIpExt: InMcastPkts OutMcastPkts InBcastPkts \
                       OutBcastPkts\nIpExt: 9 10 9 200\n";
        let snmp6 = "Ip6OutNoRoutes   \t1\nIp6OutMcastPkts \t3000\nIp6OutMcastPktsX 9\n\
                     Udp6NoPorts \t4\n";
        let counted = count(snmp, netstat, Some(snmp6));
        assert_eq!(counted, Packets { unrouted: 3, to_many: 3210, to_no_server: 4 });
        assert_eq!(count(snmp, "", None).to_no_server, 6);
        assert_eq!(count("", "", Some("Ip6OutNoRoutes\n")), Packets::default());
    }

    #[test]
    fn sockets_of_tcp_and_udp_are_seen() {
        let text = "sockets: used 9\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 1 mem 0\n\
                    UDPLITE: inuse 1\nRAW: inuse 1\nTCP6: inuse 12\nUDP6: inuse 0\nRAW6: inuse 0\n";
        let found = KINDS.into_iter().map(|kind| kind.counter);
        let found: Vec<&str> = found.filter(|counter| is_in_use(text, counter)).collect();
        assert_eq!(found, ["TCP6", "UDP"]);
        assert!(!is_in_use("", "TCP"));
    }
}
