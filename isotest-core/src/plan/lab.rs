//! The lab: what the cases of a warden share with each other and not with the host.
//!
//! The warden makes it when its template stands, and may make it anew. Its namespaces are the
//! warden's own, which cases inherit, but for the pid namespace, of which the warden is PID 1 in any
//! case. They belong to the warden's user namespace: no case has a capability over them. Its
//! directories and the layers of its overlays lie in one filesystem, which cases have binds of: an
//! overlay is mounted once, since no two may have the same upper layer.

use std::path::{Path, PathBuf};

use super::builder::{Steps, c_path};
use super::case::{
    QUEUES, bound_processes, bring_network_up, make_chain, mount_overlay, mount_queues, name_host,
};
use super::ids;
use super::layout::{self, Fresh, LAB, Layout, MountMode, Owner};
use super::namespaces::shared_namespaces;
use super::steps::{Op, Step, inodes};
use crate::host::Host;
use crate::policy::{Namespace, Net, Policy, Uts};

/// The steps that make the lab; none where cases share nothing.
pub fn steps(host: &Host, layout: &Layout, policy: &Policy) -> Vec<Step> {
    let mut steps = Steps::default();
    enter_namespaces(&mut steps, policy);
    fill_namespaces(&mut steps, host, policy);
    if layout.has_lab() {
        mount_directories(&mut steps, layout, policy);
        make_directories(&mut steps, layout);
        make_mount_points(&mut steps, layout);
        make_links(&mut steps, layout);
        mount_overlays(&mut steps, layout);
    }
    steps.0
}

/// The steps that make it anew, where it stands.
pub fn steps_again(host: &Host, layout: &Layout, policy: &Policy) -> Vec<Step> {
    let mut again = Steps::default();
    let mut detach =
        |path| again.add("that of the lab before", Op::Detach { path: c_path(Path::new(path)) });
    if policy.ipc == Namespace::Lab {
        detach(QUEUES);
    }
    if layout.has_lab() {
        detach(LAB);
    }
    again.0.extend(steps(host, layout, policy));
    again.0
}

fn enter_namespaces(steps: &mut Steps, policy: &Policy) {
    let namespaces = shared_namespaces(policy) & !(libc::CLONE_NEWPID as u64);
    if namespaces != 0 {
        steps.add("all cases share them", Op::EnterNamespaces { namespaces });
    }
}

fn fill_namespaces(steps: &mut Steps, host: &Host, policy: &Policy) {
    match policy.pid {
        Namespace::Lab => bound_processes(steps, host, policy),
        Namespace::New | Namespace::Host => {}
    }
    match policy.ipc {
        Namespace::Lab => mount_queues(steps, "message queues of all cases"),
        Namespace::New | Namespace::Host => {}
    }
    match policy.net {
        Net::Lab => bring_network_up(steps, host, policy, &ids::groups_of_warden(host)),
        Net::Loopback | Net::Host => {}
    }
    match &policy.uts {
        Uts::Lab(name) => name_host(steps, name),
        Uts::Name(_) | Uts::Host => {}
    }
}

fn mount_directories(steps: &mut Steps, layout: &Layout, policy: &Policy) {
    let (target, reason) = (Path::new(LAB), "all that cases write together");
    match &layout.disk {
        Some(_) => steps.add(reason, Op::AttachScratch { target: c_path(target) }),
        None => {
            let size = policy.limits.tmp_size;
            let options = format!("mode=0755,size={size},nr_inodes={}", inodes(size));
            steps.mount("tmpfs", target, libc::MS_NOSUID | libc::MS_NODEV, &options, reason);
        }
    }
}

/// The fresh directories of the lab, and in them the places of others.
fn make_directories(steps: &mut Steps, layout: &Layout) {
    for fresh in &layout.fresh {
        match layout.outer(fresh).filter(is_shared) {
            Some(outer) => {
                make_chain(steps, outer, &fresh.path, true, |path| place(layout, outer, path));
            }
            None if fresh.owner == Owner::Lab => {
                steps.directory(&Path::new(LAB).join(&fresh.name), fresh.mode, "fresh directory");
            }
            None => {}
        }
    }
}

fn make_mount_points(steps: &mut Steps, layout: &Layout) {
    for placed in layout.placed.iter().filter(|placed| placed.staged.is_some()) {
        if let Some(fresh) = layout.fresh_of(&placed.path).filter(is_shared) {
            let place = |path: &Path| place(layout, fresh, path);
            make_chain(steps, fresh, &placed.path, placed.directory, place);
        }
    }
}

fn make_links(steps: &mut Steps, layout: &Layout) {
    for (link, target) in &layout.links {
        if let Some(fresh) = layout.fresh_above(link).filter(is_shared) {
            let parent = link.parent().unwrap_or(link);
            make_chain(steps, fresh, parent, true, |path| place(layout, fresh, path));
            steps.link(target, &place(layout, fresh, link), "a name of what is shown");
        }
    }
}

fn mount_overlays(steps: &mut Steps, layout: &Layout) {
    for (index, placed) in layout.placed.iter().enumerate() {
        if let (MountMode::LabOverlay, Some(staged)) = (placed.shown, &placed.staged) {
            let target = layout::lab_overlay(index);
            steps.directory(&target, 0o755, "mount point");
            mount_overlay(steps, layout, (index, placed, staged), Path::new(LAB), &target);
        }
    }
}

fn is_shared(fresh: &&Fresh) -> bool {
    fresh.owner == Owner::Lab
}

/// Place of a path that lies in a fresh directory of the lab, which may be a part of another one.
fn place(layout: &Layout, fresh: &Fresh, path: &Path) -> PathBuf {
    let outer = |fresh: &&Fresh| layout.outer(fresh).filter(is_shared);
    let whole = std::iter::successors(Some(fresh), outer).last().unwrap_or(fresh);
    Path::new(LAB).join(&whole.name).join(path.strip_prefix(&whole.path).unwrap_or(path))
}
