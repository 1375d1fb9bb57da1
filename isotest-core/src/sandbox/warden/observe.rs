//! Observations of a case that its wait status does not have: what its test has done by the time
//! that it exits, and what it leaves behind.
//!
//! Everything here is read while the test waits in its exit, so that it is there to be read. The
//! warden has one thread, and every case passes here: what is cheap says whether there is anything
//! to read that is not.

use std::os::fd::AsFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::state::{Heard, WardenState};
use crate::finding::{IpcObject, Listening};
use crate::sandbox::counters::{kinds_of_sockets, packets};
use crate::sandbox::ipc_objects;
use crate::sandbox::procfs::{held, is_full, largest_resident_set, may_have_sockets, open_sockets};
use crate::sandbox::resolver::Memory;
use crate::sandbox::sock_diag::{self, SocketKind, may_be_chosen};
use crate::sandbox::sys;

/// Maximum number of host names that are kept of a case.
const MOST_NAMES: usize = 32;
/// Maximum number of sockets that are kept.
const MOST_SOCKETS: usize = 64;

impl WardenState {
    /// Notes what a test has done by now. `process` is its own or that of a reaping init, which ends
    /// later and however the test does: then the network is noted by the init.
    pub(super) fn note_deeds(&mut self, slot: usize, process: i32, has_failed: bool) {
        let is_first = self.pid(slot) == Some(process);
        let Some(running) = self.running.get_mut(&slot) else { return };
        if is_first && running.own_network {
            // What nobody else has heard is of interest where something was missing.
            running.seen.packets = packets(process, has_failed);
        }
        if !(is_first && running.reaper) {
            running.seen.own_max_rss = largest_resident_set(process);
        }
    }

    /// Notes what a failed test holds at its end.
    pub(super) fn note_resources(&mut self, slot: usize, process: i32) {
        let first = self.pid(slot).unwrap_or(process);
        let Some(running) = self.running.get_mut(&slot) else { return };
        running.seen.held = Some(held(process, first));
        running.seen.scratch_full = is_full(&running.scratch);
    }

    /// Notes what a test leaves in its namespaces, `process` being its own: by a reaping init, which
    /// nobody may trace, they cannot be entered.
    pub(super) fn note_left(&mut self, slot: usize, process: i32) {
        let Some(leader) = self.pid(slot) else { return };
        let Some(running) = self.running.get_mut(&slot) else { return };
        // What remains under a reaping init is known later.
        let others = running.reaper || !running.seen.leftovers.is_empty();
        let has_sockets = running.own_network && (others || may_have_sockets(process));
        let kinds = if has_sockets { kinds_of_sockets(process) } else { Vec::new() };
        // Objects of services are none of the test's.
        let has_objects = running.used_ipc && running.own_ipc && running.supervisor.is_none();
        if kinds.is_empty() && !has_objects {
            return;
        }
        let Some(Left { sockets, objects }) = look(process, &kinds, has_objects) else { return };
        running.seen.objects = objects;
        running.seen.listening = match running.supervisor {
            _ if sockets.is_empty() => Vec::new(),
            None => sockets.into_iter().map(|(socket, _)| socket).collect(),
            Some(_) => {
                let own = open_sockets(leader);
                let own = sockets.into_iter().filter(|(_, inode)| own.contains(inode));
                own.map(|(socket, _)| socket).collect()
            }
        };
    }

    /// Notes the host name that a process asks a name server for.
    pub(super) fn note_name(&mut self, heard: &Heard, messages: u64) {
        let thread = heard.notification.thread;
        let Some(slot) = self.case_of(self.leader_of(thread)) else { return };
        let Some(running) = self.running.get_mut(&slot) else { return };
        let names = &mut running.seen.names;
        if !running.own_network || names.len() >= MOST_NAMES {
            return;
        }
        // The thread may have been another's when its memory was opened.
        let memory = Memory::of(thread).filter(|_| heard.is_valid());
        let name = memory.and_then(|memory| memory.name_asked_for(messages));
        names.extend(name.filter(|name| !names.contains(name)));
    }

    /// Notes that a process opens or makes an object of interprocess communication.
    pub(super) fn note_ipc_object(&mut self, thread: i32) {
        let slot = self.case_of(self.leader_of(thread));
        if let Some(running) = slot.and_then(|slot| self.running.get_mut(&slot)) {
            running.used_ipc = true;
        }
    }
}

/// What is left in the namespaces of a case.
struct Left {
    /// Sockets that receive at ports that the kernel has not chosen, with their inode numbers.
    sockets: Vec<(Listening, u32)>,
    /// Objects of interprocess communication.
    objects: Vec<IpcObject>,
}

/// Looks into the namespaces of a process.
fn look(process: i32, kinds: &[SocketKind], has_objects: bool) -> Option<Left> {
    let process = pidfd_open(Pid::from_raw(process)?, PidfdFlags::empty()).ok()?;
    let network = if kinds.is_empty() { 0 } else { libc::CLONE_NEWNET as u64 };
    let ipc = if has_objects { libc::CLONE_NEWIPC as u64 } else { 0 };
    sys::within(process.as_fd(), network | ipc, || Left {
        sockets: if kinds.is_empty() { Vec::new() } else { fixed_ports(kinds) },
        objects: if has_objects { ipc_objects::objects() } else { Vec::new() },
    })
    .ok()
}

fn fixed_ports(kinds: &[SocketKind]) -> Vec<(Listening, u32)> {
    let may_be_chosen = may_be_chosen();
    let of_kind = |kind: &SocketKind| {
        let protocol = kind.protocol;
        let found = sock_diag::receiving(*kind).unwrap_or_default().into_iter();
        let fixed = found.filter(|socket| !may_be_chosen(socket.address.port()));
        let listening = fixed.map(|socket| {
            (Listening { protocol: protocol.into(), address: socket.address }, socket.inode)
        });
        listening.collect::<Vec<_>>()
    };
    kinds.iter().flat_map(of_kind).take(MOST_SOCKETS).collect()
}
