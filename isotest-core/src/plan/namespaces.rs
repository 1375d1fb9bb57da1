//! The namespaces of a case, and what makes its mounts stay.

use crate::host::Host;
use crate::policy::{Namespace, Net, Policy, User, Uts};

/// The namespaces that a case gets, as CLONE_NEW* of clone(2).
pub(super) fn namespaces(policy: &Policy) -> u64 {
    let flags = [
        (true, libc::CLONE_NEWUSER | libc::CLONE_NEWNS),
        (policy.pid == Namespace::New, libc::CLONE_NEWPID),
        (policy.net == Net::Loopback, libc::CLONE_NEWNET),
        (policy.ipc == Namespace::New, libc::CLONE_NEWIPC),
        (matches!(policy.uts, Uts::Name(_)), libc::CLONE_NEWUTS),
    ];
    flags.iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, flag)| all | *flag as u64)
}

/// The namespaces that the cases of a warden share, which are not the host's, as CLONE_NEW*.
pub(super) fn shared_namespaces(policy: &Policy) -> u64 {
    let flags = [
        (policy.pid == Namespace::Lab, libc::CLONE_NEWPID),
        (policy.net == Net::Lab, libc::CLONE_NEWNET),
        (policy.ipc == Namespace::Lab, libc::CLONE_NEWIPC),
        (matches!(policy.uts, Uts::Lab(_)), libc::CLONE_NEWUTS),
    ];
    flags.iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, flag)| all | *flag as u64)
}

/// True if the mounts of a case are made in the warden's user namespace, so that they are locked
/// when it enters its own (mount_namespaces(7)). So it is if the machine's superuser starts a case
/// with capabilities: uid 0 may write to the machine's settings without any, and with them could
/// take away what covers them.
pub(super) fn is_sealed(host: &Host, policy: &Policy) -> bool {
    policy.user == User::Root && !host.settings.is_empty()
}

/// True if the mounts over parts of `/proc` stay. A case with capabilities could take them away,
/// while a nested sandbox could mount no proc any more.
pub(super) fn keeps_covers(host: &Host, policy: &Policy) -> bool {
    match policy.user {
        User::Same | User::Nobody => true,
        User::Root => is_sealed(host, policy),
    }
}
