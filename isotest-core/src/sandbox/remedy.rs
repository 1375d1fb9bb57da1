//! Hints: a step, an errno and the [`Surroundings`] become a likely cause and a remedy.

use std::ffi::CStr;

use nix::errno::Errno;

use super::fault::{STEP_CLONE, STEP_EXEC, STEP_GUARD, STEP_MAPS, STEP_TRACE};
use super::interpose::programs;
use crate::host::{Container, Surroundings};
use crate::plan::Op;

const SECCOMP_AND_APPARMOR: &str =
    "`--security-opt seccomp=unconfined --security-opt apparmor=unconfined";
const LIMIT: &str = "the limit of namespaces is reached; raise it: `sudo sysctl -w \
     user.max_user_namespaces=65536 user.max_net_namespaces=65536`";
const RESTRICTED: &str = "AppArmor removes the capabilities of new user namespaces (Ubuntu \
     23.10 and later): `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`";
const CAPABILITIES: &str = "a security module removes the capabilities of new user namespaces; \
     AppArmor does (Ubuntu 23.10 and later) where `cargo isotest doctor` says that it restricts \
     them: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`";
/// Linux 5.12, kernel/user_namespace.c `verify_root_map`.
pub(super) const ROOT_WITHOUT_CAPABILITIES: &str = "uid 0 without CAP_SETFCAP cannot be \
     mapped into a user namespace; inside isotest: start the outer one as an ordinary user";
const OVERLAY: &str = "the kernel is older than 5.11, or a filesystem cannot be a layer: \
     one that is an overlay itself cannot hold `--scratch disk`; otherwise use `--workspace shared` or `--workspace readonly`";
/// FILESYSTEM_MAX_STACK_DEPTH (include/linux/fs.h).
const DEPTH: &str = "at most two overlays can be stacked, and this is already a sandbox of \
     isotest; a container on an overlay counts too. Start isotest \
     one sandbox further out";
const LINK: &str = "a part of that path is a symbolic link, which is not followed; replace it \
     by its target";
const KERNEL: &str = "the kernel is too old (5.12 or later is needed) or built without \
     user namespaces, or a container's seccomp profile is older than the call";
const EXEC: &str = "the file, or the interpreter that it names, does not exist or is not \
     visible in the sandbox; `--ro PATH` makes a path visible";

/// There is no notification of the programs that are executed.
pub(super) const NO_LISTENER: &str = "programs that cannot load a library would not be noticed: an \
     outer sandbox has the only seccomp listener; start isotest outside of it";
const STATIC: &str = "no library can be loaded before it, so that it would see another time, other \
     random bytes, directories or pipes than were asked for: it is linked statically, or not \
     against glibc. Build the test for a target of glibc, or run it without `--time`";
const LISTENER: &str = "a sandbox around this one has a seccomp listener, and there can be one only; \
     start isotest outside of it";
const NO_TRACERS: &str =
    "no case of this warden has a tracer; start one with a policy that holds calls";
const LOST: &str =
    "its tracer did not read a call in time, and calls that were held are lost; run it again";

/// Likely cause and remedy, by the table of `docs/sandbox.md`.
pub(super) fn hint(
    step: u32,
    op: Option<&Op>,
    errno: Errno,
    around: &Surroundings,
) -> Option<String> {
    let own = |text: &str| Some(text.to_owned());
    match (op, step, errno) {
        (None, STEP_CLONE, Errno::ENOSPC) => Some(for_limit(around)),
        (None, STEP_CLONE, Errno::EPERM | Errno::ENOSYS) => Some(for_clone(around)),
        (None, STEP_CLONE, Errno::EINVAL) => own(KERNEL),
        (None, STEP_CLONE | STEP_MAPS, Errno::EACCES | Errno::EPERM) => Some(for_maps(around)),
        (None, STEP_GUARD, Errno::EPERM | Errno::EACCES | Errno::ENOSYS) => {
            Some(for_refusal(around))
        }
        (None, STEP_EXEC, Errno::ENOENT) => own(EXEC),
        (None, STEP_EXEC, programs::REFUSED) => own(STATIC),
        (None, STEP_TRACE, Errno::EBUSY) => own(LISTENER),
        (None, STEP_TRACE, Errno::EOPNOTSUPP) => own(NO_TRACERS),
        (None, STEP_TRACE, Errno::ETIMEDOUT) => own(LOST),
        (Some(op), _, errno) => for_step(op, errno, around),
        _ => None,
    }
}

fn has(options: &CStr, option: &[u8]) -> bool {
    options.to_bytes().windows(option.len()).any(|part| part == option)
}

fn for_step(op: &Op, errno: Errno, around: &Surroundings) -> Option<String> {
    // ENOSYS of an old call too is a filter's answer.
    let refused = matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS);
    let own = |text: &str| Some(text.to_owned());
    match op {
        Op::Mount { fstype, .. } if fstype.as_bytes() == b"proc" && refused => {
            Some(for_proc(around))
        }
        // Of layers alone: what can be an upper one is another question.
        Op::Mount { fstype, options, .. }
            if fstype.as_bytes() == b"overlay"
                && errno == Errno::EINVAL
                && around.sandbox
                && !options.as_ref().is_some_and(|options| has(options, b"upperdir=")) =>
        {
            own(DEPTH)
        }
        Op::Mount { fstype, .. } if fstype.as_bytes() == b"overlay" => own(OVERLAY),
        Op::Unsupported { hint, .. } => own(hint),
        Op::BindExact { .. } if errno == Errno::ELOOP => own(LINK),
        Op::PivotRoot { .. } => Some(for_pivot(around)),
        Op::Attributes { .. } if errno == Errno::ENOSYS => own(KERNEL),
        Op::NewKeyring if refused => Some(for_filter(around)),
        Op::Write { .. } if errno == Errno::EROFS => Some(for_read_only(around)),
        _ if refused => Some(for_refusal(around)),
        _ => None,
    }
}

/// Flags that start a container which refuses nothing.
fn container_flags(container: Option<Container>) -> String {
    match container {
        Some(Container::Docker) => format!(
            "start the container with {SECCOMP_AND_APPARMOR} --security-opt systempaths=unconfined`"
        ),
        Some(Container::Podman) => "start the container with `--security-opt seccomp=unconfined \
             --security-opt unmask=ALL`"
            .to_owned(),
        Some(Container::Nspawn) => "start the container as `SYSTEMD_SECCOMP=0 \
             SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes systemd-nspawn …`"
            .to_owned(),
        Some(Container::Other) | None => format!(
            "start the container with {SECCOMP_AND_APPARMOR} --security-opt \
             systempaths=unconfined` (Podman: `unmask=ALL` in place of `systempaths=unconfined`)"
        ),
    }
}

/// EPERM of clone, by what is certain first.
fn for_clone(around: &Surroundings) -> String {
    if around.unmapped {
        return "the uid or gid of the caller has no id in this user namespace, so it can make no \
             other; start isotest as a user that `/proc/self/uid_map` and `gid_map` contain"
            .to_owned();
    }
    if around.chroot {
        return "the caller is in a chroot(2), where the kernel makes no user namespaces: enter \
             the directory by pivot_root(2), as `bwrap --bind DIR / …` and `systemd-nspawn` do"
            .to_owned();
    }
    if around.forbids_clone {
        return "this kernel forbids user namespaces to ordinary users: `sudo sysctl -w \
             kernel.unprivileged_userns_clone=1`"
            .to_owned();
    }
    if around.seccomp {
        return for_filter(around);
    }
    format!("{}; in a chroot(2) the kernel makes no user namespaces either", for_refusal(around))
}

/// A seccomp filter refuses it.
fn for_filter(around: &Surroundings) -> String {
    match around.container {
        Some(container) => {
            let flags = container_flags(Some(container));
            format!("the container's seccomp profile refuses it; {flags}")
        }
        None if around.systemd => "a seccomp filter refuses it: of a systemd unit with \
             `RestrictNamespaces=` or `SystemCallFilter=`, which the unit must lift; of a \
             container, which `--security-opt seccomp=unconfined` lifts"
            .to_owned(),
        None => "a seccomp filter refuses it: that of a container, which `--security-opt \
             seccomp=unconfined` lifts, or of the program that started isotest"
            .to_owned(),
    }
}

fn for_refusal(around: &Surroundings) -> String {
    if let Some(profile) = &around.profile {
        let remedy = match around.container {
            Some(container) => container_flags(Some(container)),
            None => format!("`sudo aa-complain {profile}`, or a rule `userns,` in the profile"),
        };
        return format!("the AppArmor profile `{profile}` may refuse it: {remedy}");
    }
    match around.container {
        Some(container) => {
            format!("the container refuses it; {}", container_flags(Some(container)))
        }
        None if around.restricts_namespaces => RESTRICTED.to_owned(),
        None => format!(
            "a container's seccomp profile, or a security module, refuses it; {}. `cargo isotest \
             doctor` shows which",
            container_flags(None)
        ),
    }
}

/// The limits that are 0 forbid; others are used up.
fn for_limit(around: &Surroundings) -> String {
    if around.zero_limits.is_empty() {
        return LIMIT.to_owned();
    }
    let settings: Vec<String> =
        around.zero_limits.iter().map(|name| format!("user.{name}=65536")).collect();
    format!("a limit of namespaces is 0; raise it: `sudo sysctl -w {}`", settings.join(" "))
}

fn for_maps(around: &Surroundings) -> String {
    if around.restricts_namespaces {
        return RESTRICTED.to_owned();
    }
    match (&around.profile, around.container) {
        (Some(_), _) | (_, Some(_)) => for_refusal(around),
        (None, None) => CAPABILITIES.to_owned(),
    }
}

fn for_proc(around: &Surroundings) -> String {
    let flags = container_flags(around.container);
    let service = match (around.systemd, around.container) {
        (true, None) => "; in a systemd unit, `ProtectKernelTunables=no` and `ProtectProc=default`",
        (true, Some(_)) | (false, _) => "",
    };
    format!(
        "parts of the caller's /proc are masked or read-only, as in a container, or in bubblewrap \
         or isotest that root has started, so the kernel refuses a fresh one; {flags}, an outer \
         bubblewrap or isotest as an ordinary user{service}"
    )
}

fn for_read_only(around: &Surroundings) -> String {
    let service = match (around.systemd, around.container) {
        (true, None) => "in a systemd unit, `ProtectKernelTunables=no`".to_owned(),
        (true, Some(_)) | (false, _) => container_flags(around.container),
    };
    format!("the caller's /proc/sys is read-only; {service}")
}

fn for_pivot(around: &Surroundings) -> String {
    let flags = container_flags(around.container);
    format!("a seccomp profile refuses pivot_root(2), or the root is an initramfs; {flags}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(act: (u32, Option<Op>, Errno), around: Surroundings, expected: &str, not: &str) {
        let text = hint(act.0, act.1.as_ref(), act.2, &around).expect("there is a hint");
        assert!(text.contains(expected), "{around:?}: {text}");
        assert!(not.is_empty() || !text.contains(not), "{around:?}: {text}");
    }

    fn clone(errno: Errno) -> (u32, Option<Op>, Errno) {
        (STEP_CLONE, None, errno)
    }

    #[test]
    fn who_refuses_clone_is_told_apart_by_what_can_be_read() {
        let none = Surroundings::default;
        let container = |kind| Surroundings { container: Some(kind), seccomp: true, ..none() };
        let profile = Some("docker-default".to_owned());
        for (around, expected, not) in [
            (Surroundings { unmapped: true, ..none() }, "no id in this user", "seccomp"),
            (Surroundings { chroot: true, ..none() }, "chroot", "seccomp"),
            (Surroundings { forbids_clone: true, ..none() }, "userns_clone=1", "seccomp"),
            (
                Surroundings { seccomp: true, systemd: true, ..none() },
                "`RestrictNamespaces=`",
                "aa-complain",
            ),
            (Surroundings { seccomp: true, ..none() }, "seccomp=unconfined", "RestrictNamespaces"),
            (Surroundings { profile, ..none() }, "`sudo aa-complain docker-default`", "seccomp"),
            (Surroundings { restricts_namespaces: true, ..none() }, "apparmor_restrict", "seccomp"),
            (container(Container::Docker), "systempaths=unconfined", "unmask"),
            (container(Container::Podman), "unmask=ALL", "systempaths"),
            (container(Container::Nspawn), "SYSTEMD_SECCOMP=0", "security-opt"),
        ] {
            check(clone(Errno::EPERM), around, expected, not);
        }
    }

    #[test]
    fn a_limit_of_0_is_named() {
        let zero_limits = vec!["max_net_namespaces".to_owned()];
        let around = Surroundings { zero_limits, ..Surroundings::default() };
        check(clone(Errno::ENOSPC), around, "user.max_net_namespaces=65536", "max_user");
    }

    #[test]
    fn keys_and_sysctls_have_the_remedy_of_the_container_that_refuses_them() {
        let around = Surroundings { container: Some(Container::Nspawn), ..Surroundings::default() };
        let remedy = "SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes";
        check((0, Some(Op::NewKeyring), Errno::EPERM), around.clone(), remedy, "security-opt");
        let write = Op::Write { path: c"/proc/sys/x".to_owned(), data: Vec::new() };
        check((0, Some(write), Errno::EROFS), around, remedy, "security-opt");
    }
}
