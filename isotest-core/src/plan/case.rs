//! One case's own part of the sandbox: what is done between clone and the program, in this order.

use std::path::{Path, PathBuf};

use super::builder::{Steps, c_path};
use super::ids;
use super::interpose::show_settings;
use super::layout::{
    self, EMPTY, Fresh, LAB, Layout, MountMode, NEW_TMP, Owner, PlacedPath, SCRATCH, TMP,
};
use super::namespaces::{is_sealed, keeps_covers, namespaces};
use super::perturbed;
use super::project::Project;
use super::spec::ScratchMount;
use super::steps::{Op, Step};
use crate::host::Host;
use crate::policy::{Guard, Namespace, Net, Policy, Propagation, User, Uts, Weakened};

/// Place of POSIX message queues, mq_overview(7).
pub const QUEUES: &str = "/dev/mqueue";

pub fn steps(host: &Host, project: &Project, layout: &Layout, policy: &Policy) -> Vec<Step> {
    let mut steps = Steps::default();
    perturbed::refuse(&mut steps, host, policy);
    if !is_sealed(host, policy) {
        map_ids(&mut steps, host, project, policy);
    }
    leave_session(&mut steps);
    mount_scratch(&mut steps, layout, policy);
    make_fresh(&mut steps, layout);
    show_project(&mut steps, layout);
    make_links(&mut steps, layout);
    perturbed::show_hosts(&mut steps, host, policy);
    mount_kernel_filesystems(&mut steps, policy);
    mask_files(&mut steps, host, policy);
    if policy.pid == Namespace::New {
        bound_processes(&mut steps, host, policy);
        perturbed::choose_process_id(&mut steps, policy);
    }
    protect_settings(&mut steps, host, policy);
    show_settings(&mut steps, policy);
    if is_sealed(host, policy) {
        seal(&mut steps, policy);
    }
    fill_namespaces(&mut steps, host, project, policy);
    forbid_nesting(&mut steps, policy);
    cover_staging(&mut steps, layout);
    forbid_binds(&mut steps, layout);
    limit(&mut steps, policy);
    perturbed::process(&mut steps, policy);
    give_up_capabilities(&mut steps, policy);
    steps.0
}

fn map_ids(steps: &mut Steps, host: &Host, project: &Project, policy: &Policy) {
    if ids::maps(host, project, policy).is_some() {
        return steps.add("a map of more than one id is the warden's to write", Op::AwaitIdMaps);
    }
    let (uid, gid) = ids::inner(host, policy);
    let reason = "without a map files belong to nobody";
    steps.write("/proc/self/setgroups", "deny", "the kernel requires it before an own map");
    steps.write("/proc/self/uid_map", &format!("{uid} {} 1\n", host.uid), reason);
    steps.write("/proc/self/gid_map", &format!("{gid} {} 1\n", host.gid), reason);
}

/// Until here everything belongs to the warden's user namespace.
fn seal(steps: &mut Steps, policy: &Policy) {
    let later = namespaces(policy) & !((libc::CLONE_NEWUSER | libc::CLONE_NEWPID) as u64);
    let reason = "its capabilities are worth nothing for what is mounted already";
    steps.add(reason, Op::EnterUserNamespace { namespaces: later });
}

fn leave_session(steps: &mut Steps) {
    steps.add("no terminal, and kill(0) stays inside", Op::NewSession);
    steps.add("no key of the caller's session", Op::NewKeyring);
}

fn mount_scratch(steps: &mut Steps, layout: &Layout, policy: &Policy) {
    let reason = match scratch(layout, policy) {
        ScratchMount::Memory { .. } => "all that the case writes",
        ScratchMount::Disk => "all that the case writes, a directory on disk",
    };
    steps.add(reason, Op::AttachScratch { target: c_path(Path::new(SCRATCH)) });
}

fn in_scratch(name: &str) -> PathBuf {
    Path::new(SCRATCH).join(name)
}

/// What lies in a fresh directory of the same owner is a directory of it.
fn make_fresh(steps: &mut Steps, layout: &Layout) {
    steps.directory(Path::new(NEW_TMP), 0o1777, "fresh directory");
    let is_own = |fresh: &&Fresh| layout.placed_above(&fresh.path).is_none();
    for fresh in layout.fresh.iter().filter(is_own) {
        let outer = layout.outer(fresh);
        if let Some(outer) = outer.filter(|outer| outer.owner == Owner::Case) {
            make_chain(steps, outer, &fresh.path, true, Layout::during_setup);
        }
        let is_part = outer.is_some_and(|outer| outer.owner == fresh.owner);
        let is_there = fresh.owner == Owner::Case && fresh.path == Path::new(TMP);
        if !is_part && !is_there {
            bind_fresh(steps, fresh, &Layout::during_setup(&fresh.path));
        }
    }
}

fn bind_fresh(steps: &mut Steps, fresh: &Fresh, target: &Path) {
    match fresh.owner {
        Owner::Case => {
            let source = in_scratch(&fresh.name);
            steps.directory(&source, fresh.mode, "fresh directory");
            steps.bind(&source, target, false, "empty, and gone with the case");
        }
        Owner::Lab => {
            let source = Path::new(LAB).join(&fresh.name);
            steps.bind(&source, target, false, "shared with its companions");
        }
    }
}

/// Makes the directories from a fresh one down to `path`, each in its place; `path` itself where it is
/// a directory.
pub fn make_chain(
    steps: &mut Steps,
    fresh: &Fresh,
    path: &Path,
    directory: bool,
    place: impl Fn(&Path) -> PathBuf,
) {
    let below: Vec<&Path> = path
        .ancestors()
        .skip(usize::from(!directory))
        .take_while(|parent| *parent != fresh.path)
        .collect();
    for parent in below.iter().rev() {
        steps.directory(&place(parent), 0o755, "leads to a mount point");
    }
    if !directory {
        steps.file(&place(path), b"", 0o644, "mount point");
    }
}

/// The host paths, parents first, and in each the fresh directories that lie in it.
fn show_project(steps: &mut Steps, layout: &Layout) {
    let is_own = |fresh: &&Fresh| fresh.owner == Owner::Case;
    for (index, placed) in layout.placed.iter().enumerate() {
        if let Some(staged) = &placed.staged {
            if let Some(fresh) = layout.fresh_of(&placed.path).filter(is_own) {
                let place = Layout::during_setup;
                make_chain(steps, fresh, &placed.path, placed.directory, place);
            }
            show(steps, layout, index, placed, staged);
        }
        for fresh in &layout.fresh {
            if layout.placed_above(&fresh.path) == Some(placed) {
                let target = Layout::during_setup(&fresh.path);
                steps.directory(&target, fresh.mode, "mount point");
                bind_fresh(steps, fresh, &target);
            }
        }
    }
}

fn make_links(steps: &mut Steps, layout: &Layout) {
    for (link, target) in &layout.links {
        if let Some(fresh) = layout.fresh_above(link).filter(|it| it.owner == Owner::Case) {
            let parent = link.parent().unwrap_or(link);
            make_chain(steps, fresh, parent, true, Layout::during_setup);
            steps.link(target, &Layout::during_setup(link), "a name of what is shown");
        }
    }
}

/// An overlay must not look into its own upper layer: the directory that holds it is hidden.
fn hide_scratch(steps: &mut Steps, upper: &Path, inner: &Path) {
    let mut parents: Vec<&Path> = inner.ancestors().skip(1).collect();
    parents.pop();
    for parent in parents.iter().rev() {
        steps.directory(&upper.join(parent), 0o755, "leads to the scratch");
    }
    steps.add("the scratch lies in it", Op::Whiteout { path: c_path(&upper.join(inner)) });
}

fn show(steps: &mut Steps, layout: &Layout, index: usize, placed: &PlacedPath, staged: &Path) {
    let target = Layout::during_setup(&placed.path);
    match placed.shown {
        MountMode::ReadOnly | MountMode::ReadWrite => {
            steps.bind(staged, &target, true, placed.what.clone());
        }
        MountMode::Overlay => {
            mount_overlay(steps, layout, (index, placed, staged), Path::new(SCRATCH), &target);
        }
        MountMode::LabOverlay => {
            let reason = format!("{}, shared with its companions", placed.what);
            steps.bind(&layout::lab_overlay(index), &target, false, reason);
        }
    }
}

/// Mounts the overlay of a host path of this number, which is staged, with its layer in `writes`.
pub fn mount_overlay(
    steps: &mut Steps,
    layout: &Layout,
    (index, placed, staged): (usize, &PlacedPath, &Path),
    writes: &Path,
    target: &Path,
) {
    let upper = writes.join(layout::upper(index));
    let work = writes.join(format!("w{index}"));
    steps.directory(&upper, placed.mode, "the throwaway layer");
    steps.directory(&work, 0o755, "overlayfs works here");
    if let Some(inner) = layout.disk.as_ref().and_then(|d| d.strip_prefix(&placed.source).ok()) {
        hide_scratch(steps, &upper, inner);
    }
    // Without userxattr deleting and making again a lower directory fails with EIO.
    let copies = placed.copies.iter().map(|copies| format!("{}:", copies.path.display()));
    let options = format!(
        "lowerdir={}{},upperdir={},workdir={},userxattr",
        copies.collect::<String>(),
        staged.display(),
        upper.display(),
        work.display()
    );
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    steps.mount("overlay", target, flags, &options, placed.what.clone());
}

fn mount_kernel_filesystems(steps: &mut Steps, policy: &Policy) {
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    if policy.pid == Namespace::New {
        let flags = flags | libc::MS_NODEV;
        steps.mount("proc", Path::new("/proc"), flags, "", "its own processes only");
    }
    // The kernel counts them for all instances together (`kernel.pty.max`).
    let options = "newinstance,ptmxmode=0666,mode=620,max=256";
    steps.mount("devpts", Path::new("/dev/pts"), flags, options, "its own terminals only");
}

/// Makes the case's own namespaces ready. Those of a lab are.
fn fill_namespaces(steps: &mut Steps, host: &Host, project: &Project, policy: &Policy) {
    match policy.ipc {
        Namespace::New => mount_queues(steps, "its own message queues"),
        Namespace::Lab | Namespace::Host => {}
    }
    match policy.net {
        Net::Loopback => {
            bring_network_up(steps, host, policy, &ids::groups(host, project, policy));
        }
        Net::Lab | Net::Host => {}
    }
    match &policy.uts {
        Uts::Name(name) => name_host(steps, name),
        Uts::Lab(_) | Uts::Host => {}
    }
}

/// Shows the message queues of the IPC namespace that the process is in.
pub fn mount_queues(steps: &mut Steps, reason: &'static str) {
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;
    steps.mount("mqueue", Path::new(QUEUES), flags, "", reason);
}

/// Brings a new network namespace up, in which these groups may ping.
pub fn bring_network_up(steps: &mut Steps, host: &Host, policy: &Policy, groups: &str) {
    steps.add("a new network namespace has it down", Op::LoopbackUp);
    if host.has_ipv6 {
        steps.add("multicast and resolvers expect it", Op::LoopbackIpv6);
    }
    // The host's /proc/sys may be read-only or covered, and there is no other.
    if policy.weakened.contains(&Weakened::Pid) {
        return;
    }
    let (ports, ping) =
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/net/ipv4/ping_group_range");
    steps.write(ports, "0", "every port is free");
    steps.write(ping, groups, "ping needs no privilege");
}

/// Names the host of a new UTS namespace.
pub fn name_host(steps: &mut Steps, name: &str) {
    steps.add("the same on every machine", Op::HostName { name: name.to_owned().into_bytes() });
}

fn forbid_nesting(steps: &mut Steps, policy: &Policy) {
    match policy.guard {
        Guard::Basic | Guard::NoListener | Guard::IoUring => {}
        // Counted per user namespace; without capabilities nobody inside can raise it again.
        Guard::Strict => {
            let limit = "/proc/sys/user/max_user_namespaces";
            steps.write(limit, "0", "no namespaces within, and none of their capabilities");
        }
    }
}

fn mask_files(steps: &mut Steps, host: &Host, policy: &Policy) {
    for path in host.keys.iter().filter(|_| keeps_covers(host, policy)) {
        steps.bind(Path::new(EMPTY), path, false, "keys of the user");
    }
    for path in host.statistics.iter().filter(|_| keeps_covers(host, policy)) {
        steps.bind(Path::new(EMPTY), path, false, "for the superuser alone");
    }
}

/// Uid 0 of the machine may write sysctls and the like without any capability, so what a case of
/// the superuser's must not change is read-only. The bind makes it a mount, which alone can be.
fn protect_settings(steps: &mut Steps, host: &Host, policy: &Policy) {
    for path in host.settings.iter().filter(|_| keeps_covers(host, policy)) {
        steps.bind_read_only(path, path, "steers the whole machine");
    }
}

fn cover_staging(steps: &mut Steps, layout: &Layout) {
    let below = |path: &Path| path.starts_with(TMP) && path != Path::new(TMP);
    let recursive = layout.placed.iter().any(|placed| placed.path.starts_with(TMP))
        || layout.fresh.iter().any(|fresh| below(&fresh.path));
    let reason = "the last mount: covers the staging directory";
    steps.bind(Path::new(NEW_TMP), Path::new(TMP), recursive, reason);
}

/// After the last bind: one that copies a tree leaves out what is unbindable in it.
fn forbid_binds(steps: &mut Steps, layout: &Layout) {
    let is_unbindable = |placed: &&PlacedPath| placed.propagation == Propagation::Unbindable;
    for placed in layout.placed.iter().filter(is_unbindable) {
        let reason = "it cannot be bound to another place";
        steps.propagation(&placed.path, 0, libc::MS_UNBINDABLE, reason);
    }
}

/// Bounds the number of processes of a new pid namespace: RLIMIT_NPROC does not bind uid 0 of the
/// machine (kernel/fork.c, copy_process).
pub fn bound_processes(steps: &mut Steps, host: &Host, policy: &Policy) {
    if host.uid == 0 && host.has_pid_max_per_namespace {
        // Numbers below 300 are not given out twice (kernel/pid.c, RESERVED_PIDS).
        let most = (policy.limits.processes.saturating_add(300)).min(1 << 22).to_string();
        steps.write("/proc/sys/kernel/pid_max", &most, "a fork bomb of root stays small too");
    }
}

fn limit(steps: &mut Steps, policy: &Policy) {
    let limits = &policy.limits;
    let mut add = |resource: libc::__rlimit_resource_t, value: u64, reason: &'static str| {
        steps.add(reason, Op::Limit { resource, soft: value, hard: value });
    };
    add(libc::RLIMIT_NPROC, limits.processes, "a fork bomb stays small");
    add(libc::RLIMIT_NOFILE, limits.open_files, "the same on every machine");
    // Not 0: with a helper in core_pattern the kernel would run it all the same (core(5)); a
    // limit of 1 byte stops it.
    add(libc::RLIMIT_CORE, 1, "no core dump, and no helper of the host");
    if let Some(bytes) = limits.file_size {
        add(libc::RLIMIT_FSIZE, bytes, "limit of the policy");
    }
    if let Some(seconds) = limits.cpu_time {
        add(libc::RLIMIT_CPU, seconds, "limit of the policy");
    }
    if let Some(bytes) = limits.address_space {
        add(libc::RLIMIT_AS, bytes, "limit of the policy");
    }
}

fn give_up_capabilities(steps: &mut Steps, policy: &Policy) {
    match policy.user {
        User::Root => {}
        User::Same | User::Nobody => {
            steps.add("isolation depends on it", Op::DropCapabilities);
        }
    }
}

/// The scratch that the warden makes: one that outlives the case, or lies where no case may see its
/// parent.
pub fn scratch(layout: &Layout, policy: &Policy) -> ScratchMount {
    match &layout.disk {
        Some(_) => ScratchMount::Disk,
        None => ScratchMount::Memory { size: policy.limits.tmp_size },
    }
}
