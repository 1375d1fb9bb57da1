//! Files that are not shown, or shown read-only, and the project.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::calls::{at, at_mut, c, call, in_child};
use crate::{Attempt, Escapes, Facts, escape_if, meet_judge};

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    ("password_file", password_file),
    ("home", home),
    ("home_writes", home_writes),
    ("cargo_credentials", cargo_credentials),
    ("late_credentials", late_credentials),
    ("private_file", private_file),
    ("old_root", old_root),
    ("chroot_and_climb", chroot_and_climb),
    ("open_descriptors", open_descriptors),
    ("climb_from_descriptors", climb_from_descriptors),
    ("climb_from_input", climb_from_input),
    ("working_directory_by_descriptor", working_directory_by_descriptor),
    ("own_program", own_program),
    ("own_program_after_exec", own_program_after_exec),
    ("read_only_tree", read_only_tree),
    ("system_directories", system_directories),
    ("file_handles", file_handles),
    ("swapped_source", swapped_source),
    ("link_in_the_project", link_in_the_project),
    ("hard_link", hard_link),
    ("home_behind_a_link", home_behind_a_link),
    ("program_in_tmp", program_in_tmp),
    ("denied_to_a_group", denied_to_a_group),
    ("lock_in_the_project", lock_in_the_project),
    ("lock_in_a_read_only_tree", lock_in_a_read_only_tree),
    ("watch_a_read_only_tree", watch_a_read_only_tree),
    ("watch_the_project", watch_the_project),
    ("lease_in_a_read_only_tree", lease_in_a_read_only_tree),
    ("watch_a_filesystem", watch_a_filesystem),
    ("trusted_attributes", trusted_attributes),
    ("overlay_attributes", overlay_attributes),
    ("set_user_id_file", set_user_id_file),
    ("project_writes", project_writes),
    ("splice_into_page_cache", splice_into_page_cache),
    ("temporary_files", temporary_files),
    ("write_back_links", write_back_links),
    ("write_back_race", write_back_race),
    ("write_back_special_files", write_back_special_files),
];

fn password_file(facts: &Facts) -> Escapes {
    let files = ["/etc/shadow", "/etc/gshadow", "/etc/sudoers"];
    let read = |path: &&str| fs::read(path).is_ok_and(|content| !content.is_empty());
    let private: Vec<String> =
        files.into_iter().filter(read).map(|path| format!("read {path}")).collect();
    [facts.read(facts.home.join(".ssh/id_probe")), private].concat()
}

fn home(facts: &Facts) -> Escapes {
    let names = [".ssh/id_probe", ".netrc", ".config/probe"];
    names.iter().flat_map(|name| facts.read(facts.home.join(name))).collect()
}

fn home_writes(facts: &Facts) -> Escapes {
    // The judge looks whether it got out.
    let _ = fs::write(facts.home.join("planted"), "by the payload");
    let _ = fs::write(facts.home.join(".netrc"), "by the payload");
    Vec::new()
}

fn cargo_credentials(facts: &Facts) -> Escapes {
    let names = ["credentials.toml", "credentials"];
    names.iter().flat_map(|name| facts.read(facts.home.join(".cargo").join(name))).collect()
}

/// Credentials that appear after the start.
fn late_credentials(facts: &Facts) -> Escapes {
    let mut escapes = cargo_credentials(facts);
    crate::meet_judge();
    escapes.extend(cargo_credentials(facts));
    escapes
}

fn private_file(facts: &Facts) -> Escapes {
    let secret = facts.private.join("secret");
    let proc = ["/proc/1/root", "/proc/self/root", "/proc/self/cwd/..", "/proc/1/cwd/.."];
    let prefixes = [""].into_iter().chain(proc);
    let below = |prefix: &str| format!("{prefix}{}", secret.display());
    let climb = facts.project.join("../private/secret");
    prefixes.flat_map(|prefix| facts.read(below(prefix))).chain(facts.read(climb)).collect()
}

fn old_root(facts: &Facts) -> Escapes {
    let names = [
        "",
        "/old",
        "/new",
        "/oldroot",
        "/newroot",
        "/.oldrootfs",
        "/.oldproc",
        "/tmp/old",
        "/tmp/oldroot",
        "/tmp/newroot",
        "/tmp/.isotest/s",
        "/tmp/.isotest/d",
        "/mnt",
        "/run/host",
    ];
    let secret = facts.private.join("secret");
    names.iter().flat_map(|name| facts.read(format!("{name}{}", secret.display()))).collect()
}

fn chroot_and_climb(facts: &Facts) -> Escapes {
    let below = Path::new("/tmp").join(format!("{}-chroot", facts.marker));
    // Refused to whoever lacks CAP_SYS_CHROOT; the climb is tried all the same.
    let _ = fs::create_dir(&below);
    let _ = nix::unistd::chroot(&below);
    let _ = fs::remove_dir(&below);
    for _ in 0..100 {
        let _ = nix::unistd::chdir("..");
    }
    let _ = nix::unistd::chroot(".");
    let relative = facts.private.strip_prefix("/").unwrap_or(&facts.private);
    facts.read(relative.join("secret"))
}

/// Descriptors that are open beside the first three.
fn descriptors() -> Vec<i32> {
    // SAFETY: F_GETFD takes a number and changes nothing.
    (3..4096).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).collect()
}

fn open_descriptors(_: &Facts) -> Escapes {
    let name = |fd: &i32| {
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        format!("descriptor {fd} is open: {}", link.display())
    };
    descriptors().iter().map(name).collect()
}

fn climb_from_descriptors(facts: &Facts) -> Escapes {
    climb(descriptors(), facts)
}

fn climb_from_input(facts: &Facts) -> Escapes {
    climb(vec![0], facts)
}

fn climb(descriptors: Vec<i32>, facts: &Facts) -> Escapes {
    let relative = facts.private.strip_prefix("/").unwrap_or(&facts.private).join("secret");
    let paths = [relative.clone(), Path::new("../../../../../..").join(&relative)];
    let opens = |fd: i32, path: &Path| {
        call(libc::SYS_openat, &[fd as u64, at(c(path).as_bytes_with_nul())]).is_ok()
    };
    let found = descriptors.into_iter().filter(|fd| paths.iter().any(|path| opens(*fd, path)));
    found.map(|fd| format!("opened the secret from descriptor {fd}")).collect()
}

fn working_directory_by_descriptor(facts: &Facts) -> Escapes {
    let mut escapes = Vec::new();
    for fd in 3..1024 {
        if nix::unistd::chdir(format!("/proc/self/fd/{fd}").as_str()).is_ok() {
            escapes.push(format!("changed into descriptor {fd}"));
            let relative = facts.private.strip_prefix("/").unwrap_or(&facts.private);
            escapes.extend(facts.read(relative.join("secret")));
        }
    }
    escapes
}

fn own_program(facts: &Facts) -> Escapes {
    let names = ["/proc/self/exe", "/proc/1/exe"];
    let program = std::env::current_exe().unwrap_or_default();
    let open = |path: &Path| OpenOptions::new().write(true).open(path).is_ok();
    let opened = names.iter().map(Path::new).filter(|path| open(path));
    let mut escapes: Escapes =
        opened.map(|path| format!("opened {} for writing", path.display())).collect();
    // ETXTBSY alone protects a program only while it runs.
    let writable = access(&program, AccessFlags::W_OK).is_ok();
    escapes.extend(escape_if(writable, || "may write to its own program".to_owned()));
    let beside = program.with_file_name(format!("{}-planted", facts.marker));
    escapes.extend(escape_if(fs::write(&beside, "").is_ok(), || {
        format!("created {}", beside.display())
    }));
    escapes
}

/// The program keeps a descriptor of itself and becomes a shell: now nothing is busy (CVE-2019-5736).
fn own_program_after_exec(_: &Facts) -> Escapes {
    use std::os::unix::process::CommandExt;
    let flags = libc::O_PATH;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open("/proc/self/exe");
    let Ok(own) = opened else { return Vec::new() };
    let fd = own.as_raw_fd();
    // SAFETY: F_SETFD takes a number.
    unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    let script = format!(
        "if (exec 9>>/proc/self/fd/{fd}) 2>/dev/null; then echo 'escaped: opened the program'; fi; \
         echo end"
    );
    let error = std::process::Command::new("/bin/sh").args(["-c", &script]).exec();
    panic!("cannot become a shell: {error}")
}

fn read_only_tree(facts: &Facts) -> Escapes {
    let writes = |path: &Path| OpenOptions::new().append(true).open(path).is_ok();
    let files = ["file", "sub/file"].map(|name| facts.read_only.join(name));
    let opened = files.iter().filter(|path| writes(path));
    let mut escapes: Escapes =
        opened.map(|path| format!("opened {} for writing", path.display())).collect();
    for directory in ["", "sub"].map(|name| facts.read_only.join(name)) {
        let path = directory.join("planted");
        escapes.extend(escape_if(fs::write(&path, "").is_ok(), || {
            format!("created {}", path.display())
        }));
        let times = filetime(&directory);
        escapes.extend(escape_if(times, || format!("set the times of {}", directory.display())));
    }
    escapes
}

fn filetime(path: &Path) -> bool {
    // SAFETY: a C string and a null pointer, which stands for the present time.
    unsafe { libc::utimensat(libc::AT_FDCWD, c(path).as_ptr(), std::ptr::null(), 0) == 0 }
}

/// Nothing is written: access(2) tells of a read-only mount (EROFS).
fn system_directories(_: &Facts) -> Escapes {
    let names = [
        "/",
        "/usr",
        "/usr/bin",
        "/usr/lib",
        "/etc",
        "/etc/passwd",
        "/opt",
        "/bin",
        "/lib",
        "/sbin",
    ];
    let writable = names.iter().filter(|name| access(**name, AccessFlags::W_OK).is_ok());
    writable.map(|name| format!("may write to {name}")).collect()
}

/// open_by_handle_at(2), as in shocker.c: handles know no directory tree.
fn file_handles(facts: &Facts) -> Escapes {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        data: [u8; 128],
    }
    let tries =
        [facts.read_only.join("file"), Path::new("/usr").to_owned(), Path::new("/etc").to_owned()];
    let opens = |path: &Path| {
        let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
        let mut mount = 0_i32;
        let name = c(path);
        let known = call(
            libc::SYS_name_to_handle_at,
            &[
                libc::AT_FDCWD as u64,
                at(name.as_bytes_with_nul()),
                at_mut(&mut handle),
                at_mut(&mut mount),
                0,
            ],
        );
        let Ok(directory) = fs::File::open("/usr") else { return false };
        known.is_ok()
            && call(libc::SYS_open_by_handle_at, &[directory.as_raw_fd() as u64, at(&handle), 0])
                .is_ok()
    };
    tries
        .iter()
        .filter(|path| opens(path))
        .map(|p| format!("opened {} by handle", p.display()))
        .collect()
}

/// The judge swapped `swapped` and a link to `private` all the while that the sandbox was made.
fn swapped_source(facts: &Facts) -> Escapes {
    // Where it was a link when it was named, what it leads to is shown by its own name, too.
    let by_its_name = !facts.read(facts.private.join("secret")).is_empty();
    if by_its_name && !facts.restrained {
        return Vec::new();
    }
    facts.read(facts.swapped.join("secret"))
}

fn link_in_the_project(facts: &Facts) -> Escapes {
    let links = ["absolute-link", "relative-link", "directory-link/secret"];
    links.iter().flat_map(|name| facts.read(facts.project.join(name))).collect()
}

fn hard_link(facts: &Facts) -> Escapes {
    let targets =
        [facts.project.join("hard-link"), Path::new("/tmp").join(format!("{}-link", facts.marker))];
    let file = facts.read_only.join("file");
    let linked = targets.iter().filter(|target| fs::hard_link(&file, target).is_ok());
    linked.map(|target| format!("linked {} to {}", target.display(), file.display())).collect()
}

fn blocked(path: &Path) -> Escapes {
    let Ok(file) = fs::File::open(path) else { return Vec::new() };
    // SAFETY: two numbers.
    let refused = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0;
    let meets = refused && Errno::last() == Errno::EWOULDBLOCK;
    escape_if(meets, || format!("the host's lock on {} is in the way", path.display()))
}

fn lock_in_the_project(facts: &Facts) -> Escapes {
    blocked(&facts.project.join("lock"))
}

fn lock_in_a_read_only_tree(facts: &Facts) -> Escapes {
    blocked(&facts.read_only.join("lock"))
}

/// Its name leads to what is not shown, and so must whatever is made for it.
fn home_behind_a_link(facts: &Facts) -> Escapes {
    let home = facts.project.join("directory-link/home");
    let _ = fs::write(home.join("planted"), "by the payload");
    let mut escapes = facts.read(facts.project.join("directory-link/secret"));
    escapes.extend(facts.read(facts.private.join("secret")));
    escapes
}

fn program_in_tmp(facts: &Facts) -> Escapes {
    let program = format!("/tmp/{}-true", facts.marker);
    let copied = fs::copy("/usr/bin/true", &program);
    let ran = std::process::Command::new(&program).status();
    let _ = fs::remove_file(&program);
    let works = copied.is_ok() && ran.is_ok_and(|status| status.success());
    escape_if(!works, || "a program in /tmp does not run".to_owned())
}

/// The judge started the sandbox as a member of the group. Who is out of it may read.
fn denied_to_a_group(facts: &Facts) -> Escapes {
    use nix::sched::{CloneFlags, unshare};
    let path = facts.read_only.join("denied-to-a-group");
    let reads = || fs::read_to_string(&path).is_ok_and(|text| text.contains(&facts.marker));
    let escapes = escape_if(reads(), || "read it as it is".to_owned());
    let left = in_child(|| {
        let _ = nix::unistd::setgroups(&[]);
        u8::from(reads())
    });
    let nested = in_child(|| {
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        let _ = unshare(CloneFlags::CLONE_NEWUSER);
        let _ = fs::write("/proc/self/uid_map", format!("0 {uid} 1"));
        let _ = fs::write("/proc/self/gid_map", format!("0 {gid} 1"));
        let _ = nix::unistd::setgroups(&[]);
        u8::from(reads())
    });
    let more = escape_if(left == 1 || nested == 1, || "left the group, and read it".to_owned());
    [escapes, more].concat()
}

/// True if acts of the host in a directory are seen; the judge opens a file in it meanwhile.
fn watched(directory: &Path) -> Escapes {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    let Ok(inotify) = Inotify::init(InitFlags::IN_NONBLOCK) else { return Vec::new() };
    let flags = AddWatchFlags::IN_ALL_EVENTS;
    let Ok(_) = inotify.add_watch(directory, flags) else { return Vec::new() };
    meet_judge();
    let seen = inotify.read_events().is_ok_and(|events| !events.is_empty());
    escape_if(seen, || format!("saw what the host did in {}", directory.display()))
}

fn watch_a_read_only_tree(facts: &Facts) -> Escapes {
    watched(&facts.read_only)
}

fn watch_the_project(facts: &Facts) -> Escapes {
    watched(&facts.project)
}

/// A lease keeps whoever opens the file for writing waiting (fcntl(2), F_SETLEASE).
fn lease_in_a_read_only_tree(facts: &Facts) -> Escapes {
    let path = facts.read_only.join("file");
    let Ok(file) = fs::File::open(&path) else { return Vec::new() };
    // SAFETY: takes numbers.
    let got = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } == 0;
    escape_if(got, || format!("got a lease on {}", path.display()))
}

fn watch_a_filesystem(facts: &Facts) -> Escapes {
    const FAN_CLASS_NOTIF: u64 = 0;
    const FAN_REPORT_FID: u64 = 0x200;
    const FAN_MARK_ADD: u64 = 1;
    const FAN_MARK_FILESYSTEM: u64 = 0x100;
    const FAN_OPEN: u64 = 0x20;
    let Ok(fd) = call(libc::SYS_fanotify_init, &[FAN_CLASS_NOTIF | FAN_REPORT_FID, 0]) else {
        return Vec::new();
    };
    let path = c(&facts.read_only);
    let marked = call(
        libc::SYS_fanotify_mark,
        &[
            fd as u64,
            FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
            FAN_OPEN,
            libc::AT_FDCWD as u64,
            at(path.as_bytes_with_nul()),
        ],
    );
    escape_if(marked.is_ok(), || "watches a whole filesystem of the host".to_owned())
}

fn set_attribute(path: &Path, name: &str) -> Result<i64, Errno> {
    let (path, name) = (c(path), c(name));
    call(
        libc::SYS_setxattr,
        &[at(path.as_bytes_with_nul()), at(name.as_bytes_with_nul()), at(b"y"), 1, 0],
    )
}

fn trusted_attributes(facts: &Facts) -> Escapes {
    let file = facts.project.join("file");
    let names = ["trusted.overlay.opaque", "security.capability", "trusted.probe"];
    let set = names.iter().filter(|name| set_attribute(&file, name).is_ok());
    set.map(|name| format!("set {name}")).collect()
}

/// Attributes by which an overlay is steered; on a lower file they must not be the overlay's own.
fn overlay_attributes(facts: &Facts) -> Escapes {
    let secret = facts.private.join("secret");
    for name in ["user.overlay.redirect", "user.overlay.metacopy"] {
        // Refused or kept by the overlay under another name.
        let _ = set_attribute(&facts.project.join("file"), name);
        let _ = set_attribute(&facts.project.join("directory"), name);
    }
    let _ = fs::write(facts.project.join("file"), "by the payload");
    [facts.read(facts.project.join("file")), facts.read(secret)].concat()
}

/// A set-user-ID file can be made everywhere; on a mount with `nosuid` it has no effect.
fn set_user_id_file(_: &Facts) -> Escapes {
    use nix::sys::statvfs::{FsFlags, statvfs};
    let effective =
        |path: &&&str| statvfs(**path).is_ok_and(|fs| !fs.flags().contains(FsFlags::ST_NOSUID));
    let places = ["/", "/usr", "/usr/bin", "/tmp", ".", "/dev/shm", "/var/tmp"];
    places.iter().filter(effective).map(|p| format!("set-user-ID works in {p}")).collect()
}

fn project_writes(facts: &Facts) -> Escapes {
    // The judge looks whether they got out.
    let _ = fs::write(facts.project.join("file"), "by the payload");
    let _ = fs::write(facts.project.join("planted"), "by the payload");
    let _ = fs::remove_file(facts.project.join("lock"));
    let _ = fs::rename(facts.project.join("directory"), facts.project.join("renamed"));
    let _ = fs::set_permissions(
        facts.project.join("absolute-link"),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    );
    Vec::new()
}

/// Dirty pipe, CVE-2022-0847.
fn splice_into_page_cache(facts: &Facts) -> Escapes {
    let Ok(file) = fs::File::open(facts.read_only.join("file")) else { return Vec::new() };
    let Ok((read, write)) = nix::unistd::pipe() else { return Vec::new() };
    let mut buffer = vec![0; 65536];
    let _ = nix::unistd::write(&write, &buffer);
    let _ = nix::unistd::read(&read, &mut buffer);
    let mut offset = 0_i64;
    let _ = call(
        libc::SYS_splice,
        &[file.as_raw_fd() as u64, at_mut(&mut offset), write.as_raw_fd() as u64, 0, 1, 0],
    );
    // Without the fix of the kernel this lands in the page cache of the file.
    let _ = nix::unistd::write(&write, b"dirty");
    let now = fs::read(facts.read_only.join("file")).unwrap_or_default();
    escape_if(now.windows(5).any(|part| part == b"dirty"), || "wrote to the page cache".to_owned())
}

fn temporary_files(facts: &Facts) -> Escapes {
    let mut escapes = facts.read(&facts.temporary);
    let arena = facts.private.parent().unwrap_or(&facts.private);
    for directory in ["/tmp", "/var/tmp", "/run", "/dev/shm"] {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        let program = std::env::current_exe().unwrap_or_default();
        let shown = |path: &Path| arena.starts_with(path) || program.starts_with(path);
        let foreign = entries.flatten().filter(|entry| !shown(&entry.path()));
        escapes.extend(foreign.map(|entry| format!("{} is there", entry.path().display())));
    }
    escapes.truncate(5);
    escapes
}

/// With `--write-back '**'`: links and names that lead out of the project.
fn write_back_links(facts: &Facts) -> Escapes {
    use std::os::unix::fs::symlink;
    let planted = facts.private.join("planted");
    let _ = fs::remove_dir_all(facts.project.join("directory"));
    let _ = symlink(&facts.private, facts.project.join("directory"));
    let _ = fs::write(facts.project.join("directory/planted"), "by the payload");
    let _ = symlink(&planted, facts.project.join("planted-link"));
    let _ = fs::write(facts.project.join("planted-link"), "by the payload");
    let _ = fs::write(facts.project.join("../private/planted"), "by the payload");
    let _ = fs::write(&planted, "by the payload");
    let _ = fs::write(facts.project.join("absolute-link"), "by the payload");
    Vec::new()
}

/// The judge replaces the directory on the host by a link to `private` meanwhile.
fn write_back_race(facts: &Facts) -> Escapes {
    let _ = fs::write(facts.project.join("directory/planted"), "by the payload");
    let _ = fs::create_dir_all(facts.project.join("directory/inner"));
    let _ = fs::write(facts.project.join("directory/inner/planted"), "by the payload");
    meet_judge();
    if facts.restrained {
        let _ = fs::write(facts.project.join("directory/planted"), "by the payload");
    }
    Vec::new()
}

/// A FIFO must not keep isotest waiting, and a set-user-ID bit must not be copied out.
fn write_back_special_files(facts: &Facts) -> Escapes {
    use std::os::unix::fs::PermissionsExt;
    let _ = nix::unistd::mkfifo(&facts.project.join("fifo"), nix::sys::stat::Mode::S_IRWXU);
    let _ = fs::write(facts.project.join("set-user-id"), "by the payload");
    let mode = fs::Permissions::from_mode(0o4755);
    let _ = fs::set_permissions(facts.project.join("set-user-id"), mode);
    Vec::new()
}
