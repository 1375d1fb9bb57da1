//! Mounts: taking read-only away, uncovering, mounting over, other mount namespaces.

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::calls::{at, c, call};
use crate::{Attempt, Escapes, Facts, escape_if, meet_judge};

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("remount_writable", remount_writable),
    ("unmount_everything", unmount_everything),
    ("uncover_project", uncover_project),
    ("look_beneath", look_beneath),
    ("mount_calls", mount_calls),
    ("mount_proc", mount_proc),
    ("mount_sysfs", mount_sysfs),
    ("mount_over_credentials", mount_over_credentials),
    ("host_mounts", host_mounts),
    ("own_mounts", own_mounts),
    ("other_mount_namespaces", other_mount_namespaces),
    ("device_nodes", device_nodes),
];

const NONE: Option<&str> = None;

/// The mount points of this namespace, the last first.
fn mount_points() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned);
    let mut points: Vec<String> = points.collect();
    points.reverse();
    points
}

/// Without a sandbox, mounts go to a namespace of their own. False if that is refused.
fn own_namespace(facts: &Facts) -> bool {
    if !facts.must_not_harm("mnt") {
        return true;
    }
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
        && mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).is_ok()
}

/// mount_setattr(2) with MOUNT_ATTR_RDONLY cleared.
fn clear_read_only(path: &str) -> bool {
    let attributes = libc::mount_attr {
        attr_set: 0,
        attr_clr: libc::MOUNT_ATTR_RDONLY,
        propagation: 0,
        userns_fd: 0,
    };
    let path = c(path);
    let name = at(path.as_bytes_with_nul());
    let size = size_of::<libc::mount_attr>() as u64;
    call(libc::SYS_mount_setattr, &[libc::AT_FDCWD as u64, name, 0, at(&attributes), size]).is_ok()
}

fn writes(facts: &Facts) -> Escapes {
    let path = facts.read_only.join("file");
    let opened = fs::OpenOptions::new().append(true).open(&path).is_ok();
    escape_if(opened, || format!("opened {} for writing", path.display()))
}

fn remount_writable(facts: &Facts) -> Escapes {
    let mut escapes = Vec::new();
    if !facts.must_not_harm("mnt") {
        for point in mount_points() {
            use nix::sys::statvfs::{FsFlags, statvfs};
            let read_only =
                || statvfs(point.as_str()).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY));
            if !read_only() {
                continue;
            }
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
            let kept = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RELATIME;
            let done = mount(NONE, point.as_str(), NONE, flags, NONE).is_ok()
                || mount(NONE, point.as_str(), NONE, kept, NONE).is_ok()
                || clear_read_only(&point);
            escapes.extend(escape_if(done && !read_only(), || format!("made {point} writable")));
        }
    }
    // A new mount of the same tree must not be writable either.
    let copy = format!("/tmp/{}-copy", facts.marker);
    if own_namespace(facts) && fs::create_dir(&copy).is_ok() {
        let bound = mount(Some(&facts.read_only), copy.as_str(), NONE, MsFlags::MS_BIND, NONE);
        if bound.is_ok() {
            clear_read_only(&copy);
            let file = Path::new(&copy).join("file");
            let opened = fs::OpenOptions::new().append(true).open(file).is_ok();
            escapes.extend(escape_if(opened, || "wrote through a bind of its own".to_owned()));
            let _ = umount2(copy.as_str(), MntFlags::MNT_DETACH);
        }
        let _ = fs::remove_dir(&copy);
    }
    escapes.extend(writes(facts));
    escapes
}

/// Secrets and processes of others that came to light.
fn uncovered(facts: &Facts) -> Escapes {
    let mut escapes = facts.read(facts.private.join("secret"));
    escapes.extend(facts.read(facts.home.join(".netrc")));
    escapes.extend(facts.read(facts.home.join(".cargo/credentials.toml")));
    for stage in ["/tmp", "/tmp/.isotest", "/tmp/.isotest/s", "/var/tmp"] {
        let below = |name: &fs::DirEntry| {
            let path = name.path();
            [
                path.join("credentials.toml"),
                path.join(".cargo/credentials.toml"),
                path.join("secret"),
            ]
        };
        let entries: Vec<fs::DirEntry> =
            fs::read_dir(stage).map(|all| all.flatten().collect()).unwrap_or_default();
        escapes.extend(entries.iter().flat_map(below).flat_map(|path| facts.read(path)));
    }
    let others = crate::processes::others(facts);
    escapes.extend(others.into_iter().map(|name| format!("sees the process `{name}`")));
    escapes
}

fn unmount_everything(facts: &Facts) -> Escapes {
    // Mounts lie on each other: more than one round.
    if !facts.must_not_harm("mnt") {
        for _ in 0..4 {
            for point in mount_points() {
                let _ = umount2(point.as_str(), MntFlags::MNT_DETACH);
            }
            let found = uncovered(facts);
            if !found.is_empty() {
                return found;
            }
            let proc = ["/proc", "/tmp"].map(|path| umount2(path, MntFlags::MNT_DETACH));
            if proc.iter().all(Result::is_err) {
                break;
            }
        }
    }
    uncovered(facts)
}

/// Takes away what lies on the project, and on the stage, where it waits.
fn uncover_project(facts: &Facts) -> Escapes {
    let mut escapes = found_in_project(facts);
    if !facts.must_not_harm("mnt") {
        let _ = std::env::set_current_dir("/");
        for _ in 0..4 {
            let points = mount_points().into_iter();
            let covers = points.filter(|p| facts.project.starts_with(p) || p.starts_with("/tmp"));
            let inside =
                mount_points().into_iter().filter(|p| Path::new(p).starts_with(&facts.project));
            for point in inside.chain(covers).filter(|point| point != "/") {
                if umount2(point.as_str(), MntFlags::MNT_DETACH).is_ok() {
                    escapes.extend(found_in_project(facts));
                }
            }
        }
    }
    escapes
}

/// The project's secrets, and who is reached by its sockets and FIFOs: at its place, and in the
/// directories of the stage.
fn found_in_project(facts: &Facts) -> Escapes {
    let staged = fs::read_dir("/tmp/.isotest").into_iter().flatten().flatten();
    let places: Vec<_> = staged.map(|entry| entry.path()).chain([facts.project.clone()]).collect();
    let secrets = ["cargo-home/credentials.toml", "credentials.toml"];
    let files = places.iter().flat_map(|place| secrets.map(|name| place.join(name)));
    let read = files.flat_map(|path| facts.read(path));
    let reached = places.iter().flat_map(|place| crate::network::reach_in(place));
    read.chain(reached.map(|path| format!("reached {}", path.display()))).collect()
}

/// open_tree(2) of one mount without what is mounted on it.
fn look_beneath(facts: &Facts) -> Escapes {
    const OPEN_TREE_CLONE: u64 = 1;
    let mut escapes = facts.read(facts.private.join("secret"));
    for point in mount_points() {
        let name = c(&point);
        let arguments = [libc::AT_FDCWD as u64, at(name.as_bytes_with_nul()), OPEN_TREE_CLONE];
        let Ok(tree) = call(libc::SYS_open_tree, &arguments) else { continue };
        for path in [facts.private.join("secret"), facts.home.join(".netrc")] {
            for relative in
                [path.strip_prefix(&point), path.strip_prefix("/")].into_iter().flatten()
            {
                escapes.extend(facts.read(format!("/proc/self/fd/{tree}/{}", relative.display())));
            }
        }
        let credentials = facts.home.join(".cargo/credentials.toml");
        if let Ok(relative) = credentials.strip_prefix(&point) {
            escapes.extend(facts.read(format!("/proc/self/fd/{tree}/{}", relative.display())));
        }
        // SAFETY: the descriptor was just opened.
        unsafe { libc::close(tree as i32) };
    }
    escapes
}

/// Mounts without capabilities, by the old calls and the new (CVE-2021-41133).
fn mount_calls(facts: &Facts) -> Escapes {
    if !own_namespace(facts) {
        return Vec::new();
    }
    let place = format!("/tmp/{}-mount", facts.marker);
    let _ = fs::create_dir(&place);
    let mut escapes = Vec::new();
    let kinds = [("tmpfs", NONE), ("proc", NONE), ("ramfs", NONE)];
    for (kind, options) in kinds {
        if mount(Some("isotest-probe"), place.as_str(), Some(kind), MsFlags::empty(), options)
            .is_ok()
        {
            escapes.push(format!("mounted {kind}"));
            let _ = umount2(place.as_str(), MntFlags::MNT_DETACH);
        }
    }
    if mount(Some("/usr"), place.as_str(), NONE, MsFlags::MS_BIND, NONE).is_ok() {
        escapes.push("bound /usr".to_owned());
        let _ = umount2(place.as_str(), MntFlags::MNT_DETACH);
    }
    for kind in ["tmpfs", "ext4", "overlay"] {
        let name = c(kind);
        let opened = call(libc::SYS_fsopen, &[at(name.as_bytes_with_nul()), 0]);
        escapes.extend(escape_if(opened.is_ok(), || format!("opened a new {kind}")));
    }
    let root = c("/");
    let tree = call(
        libc::SYS_open_tree,
        &[libc::AT_FDCWD as u64, at(root.as_bytes_with_nul()), 1 | 0x8000],
    );
    escapes.extend(escape_if(tree.is_ok(), || "copied the mount tree".to_owned()));
    if !facts.restrained {
        let moved = mount(Some("/proc"), place.as_str(), NONE, MsFlags::MS_MOVE, NONE).is_ok();
        escapes.extend(escape_if(moved, || "moved /proc".to_owned()));
        let name = c(&place);
        let path = at(name.as_bytes_with_nul());
        let pivoted = call(libc::SYS_pivot_root, &[path, path]).is_ok();
        escapes.extend(escape_if(pivoted, || "pivoted the root".to_owned()));
    }
    let _ = fs::remove_dir(&place);
    escapes
}

fn mounts(facts: &Facts, kind: &str, judge: impl Fn(&str) -> Escapes) -> Escapes {
    if !own_namespace(facts) {
        return Vec::new();
    }
    let place = format!("/tmp/{}-{kind}", facts.marker);
    let _ = fs::create_dir(&place);
    let mounted = mount(Some("isotest-probe"), place.as_str(), Some(kind), MsFlags::empty(), NONE);
    let escapes = if mounted.is_ok() { judge(&place) } else { Vec::new() };
    let _ = umount2(place.as_str(), MntFlags::MNT_DETACH);
    let _ = fs::remove_dir(&place);
    escapes
}

/// A proc of its own may be mounted by who may mount; it must show its own processes only.
fn mount_proc(facts: &Facts) -> Escapes {
    mounts(facts, "proc", |place| {
        let seen = format!("{place}/{}", facts.process);
        let command = fs::read(format!("{seen}/cmdline")).unwrap_or_default();
        let found = String::from_utf8_lossy(&command).contains(&facts.marker);
        let mut escapes = escape_if(found, || "a fresh proc shows the host's processes".to_owned());
        let sysctl = format!("{place}/sys/kernel/core_pattern");
        let opened = fs::OpenOptions::new().write(true).open(&sysctl).is_ok();
        escapes.extend(escape_if(opened, || "a fresh proc has writable sysctls".to_owned()));
        escapes
    })
}

fn mount_sysfs(facts: &Facts) -> Escapes {
    mounts(facts, "sysfs", |place| {
        let names =
            ["power/state", "kernel/uevent_helper", "kernel/mm/transparent_hugepage/enabled"];
        let opens = |name: &&str| {
            fs::OpenOptions::new().write(true).open(format!("{place}/{name}")).is_ok()
        };
        let opened = names.iter().filter(|name| opens(name));
        opened.map(|name| format!("may write /sys/{name}")).collect()
    })
}

/// Moves and unmounts of the cover of a file with secrets.
fn mount_over_credentials(facts: &Facts) -> Escapes {
    let path = facts.home.join(".cargo/credentials.toml");
    if !facts.must_not_harm("mnt") {
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        let place = format!("/tmp/{}-moved", facts.marker);
        let _ = fs::write(&place, "");
        let _ = mount(Some(&path), place.as_str(), NONE, MsFlags::MS_MOVE, NONE);
        let home = facts.home.join(".cargo");
        let copy = format!("/tmp/{}-home", facts.marker);
        let _ = fs::create_dir(&copy);
        if mount(Some(&home), copy.as_str(), NONE, MsFlags::MS_BIND, NONE).is_ok() {
            let found = facts.read(Path::new(&copy).join("credentials.toml"));
            if !found.is_empty() {
                return found;
            }
        }
    }
    facts.read(path)
}

/// The judge mounts a filesystem below the project meanwhile.
fn host_mounts(facts: &Facts) -> Escapes {
    meet_judge();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let seen = text.contains("isotest-probe-host");
    let file = facts.project.join("directory/mounted");
    let mut escapes = escape_if(seen, || "a mount of the host arrived".to_owned());
    escapes.extend(escape_if(file.exists(), || "the host's mount can be used".to_owned()));
    escapes
}

/// The judge looks for this mount outside.
fn own_mounts(facts: &Facts) -> Escapes {
    let place = if facts.restrained {
        facts.project.join("directory")
    } else {
        Path::new("/tmp").join(format!("{}-own", facts.marker))
    };
    let _ = fs::create_dir(&place);
    let _ = mount(Some("isotest-probe-own"), &place, Some("tmpfs"), MsFlags::empty(), NONE);
    meet_judge();
    Vec::new()
}

fn other_mount_namespaces(facts: &Facts) -> Escapes {
    let secret = facts.private.join("secret");
    let processes = fs::read_dir("/proc").map(|all| all.flatten().collect::<Vec<_>>());
    let mut escapes = Vec::new();
    for entry in processes.unwrap_or_default() {
        let name = entry.file_name();
        if name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            for link in ["root", "cwd"] {
                let path = format!("{}/{link}{}", entry.path().display(), secret.display());
                escapes.extend(facts.read(path));
            }
        }
    }
    escapes.truncate(3);
    if !facts.must_not_harm("mnt")
        && let Ok(file) = fs::File::open("/proc/1/ns/mnt")
        && nix::sched::setns(file, CloneFlags::CLONE_NEWNS).is_ok()
    {
        escapes.extend(facts.read(secret));
    }
    escapes
}

fn device_nodes(facts: &Facts) -> Escapes {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    // Without a sandbox: the device that does no harm.
    let devices = match facts.restrained {
        true => vec![("null", SFlag::S_IFCHR, makedev(1, 3))],
        false => vec![
            ("mem", SFlag::S_IFCHR, makedev(1, 1)),
            ("kmsg", SFlag::S_IFCHR, makedev(1, 11)),
            ("disk", SFlag::S_IFBLK, makedev(254, 0)),
            ("disk", SFlag::S_IFBLK, makedev(8, 0)),
        ],
    };
    let places = [
        "/tmp".into(),
        facts.project.clone(),
        Path::new("/dev/shm").to_owned(),
        facts.home.clone(),
    ];
    let mut escapes = Vec::new();
    for (name, kind, device) in devices {
        for place in &places {
            let path = place.join(format!("{}-{name}", facts.marker));
            let made = mknod(&path, kind, Mode::S_IRUSR, device).is_ok();
            let opened = made && fs::File::open(&path).is_ok();
            escapes.extend(escape_if(opened, || format!("made and opened {}", path.display())));
            let _ = fs::remove_file(&path);
        }
    }
    escapes
}
