//! Control groups: limits that hold for all processes of a case together, and their figures.
//!
//! Only version 2, and only where the group that the caller was started in is its own to divide
//! (cgroups(7); Documentation/admin-guide/cgroup-v2.rst of the kernel, "Delegation").
//! [`CgroupLease`] is the caller's part, [`BaseCgroup`] the warden's. Below the caller's group
//! there is, while it runs:
//!
//! - `isotest-PID/`, the base;
//! - `isotest-PID/runner/`, the caller and its warden: a group whose children have controllers may
//!   hold no process itself;
//! - `isotest-PID/PID-M-N/`, the limits of a case, and below it `case/`, its processes: a test that
//!   mounts the hierarchy in a cgroup namespace of its own sees nothing above that.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};

use super::keeper::Keeper;
use super::protocol::CgroupUsage;
use crate::errno;
use crate::host;
use crate::plan::GroupLimits;
use crate::refusal::SandboxError;

const CONTROLLERS: [&str; 2] = ["memory", "pids"];
const RUNNER: &str = "runner";
const CASE: &str = "case";
const BASE: &str = "isotest-";

const HINT: &str = "start it in a group of its own: `systemd-run --user --scope -p Delegate=yes \
     cargo isotest …`, as root without `--user`; `--address-space` limits each process by itself \
     and needs no group";
const HINT_WITHOUT_SYSTEMD: &str = "it needs a writable control group that contains only isotest, \
     and there is no systemd to delegate one; `--address-space` limits each process by itself and \
     needs no group";
const HINT_VERSION: &str = "`--memory` needs cgroup v2 with the memory controller; a machine that \
     has it in v1 is booted with `systemd.unified_cgroup_hierarchy=1`. `--address-space` limits \
     each process by itself and needs no group";

/// A group that is divided for cases. Dropping it gives it back as it was.
#[derive(Debug)]
pub struct CgroupLease {
    base: PathBuf,
    /// The group that is leased; `None` where an isotest that runs this one has leased it.
    group: Option<PathBuf>,
    /// The controllers that the children of `group` did not have before, each with a `-`.
    enabled: String,
    /// Prefix of the names of its cases' groups: others may have groups there too.
    prefix: String,
    controllers: Vec<&'static str>,
    keeper: Option<Keeper>,
}

/// The base group, as the warden has it.
#[derive(Debug)]
pub struct BaseCgroup {
    directory: OwnedFd,
    prefix: String,
    next: u64,
    controllers: Vec<&'static str>,
}

/// The group of one case.
#[derive(Debug)]
pub struct CaseCgroup {
    name: String,
    limits: OwnedFd,
    case: OwnedFd,
}

impl CgroupLease {
    /// Claims the group that this process is in, which must hold no other process; or uses the
    /// base of an isotest that runs this one.
    pub fn new() -> Result<CgroupLease, SandboxError> {
        let group = own_group()
            .map_err(|error| refused("find the cgroup v2 of this process", &error, HINT_VERSION))?;
        let base = base_above(&group);
        let divided = base.unwrap_or(&group);
        let controllers = controllers(divided).map_err(|error| {
            refused(
                &format!("read `{}/cgroup.controllers`", divided.display()),
                &error,
                HINT_VERSION,
            )
        })?;
        static CLAIMS: AtomicU32 = AtomicU32::new(0);
        let number = CLAIMS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}-{number}-", process::id());
        match base {
            Some(base) if base.ends_with(own_base()) => {
                let act = "divide this process's cgroup, which another warden of it has divided";
                Err(refused(act, &Errno::EBUSY.into(), HINT))
            }
            Some(base) => {
                let (base, enabled) = (base.to_owned(), String::new());
                Ok(CgroupLease { base, group: None, enabled, prefix, controllers, keeper: None })
            }
            None => CgroupLease::of_group(group, prefix, controllers),
        }
    }

    fn of_group(
        group: PathBuf,
        prefix: String,
        controllers: Vec<&'static str>,
    ) -> Result<CgroupLease, SandboxError> {
        let shown = group.display();
        if controllers.is_empty() {
            let act = format!("find the memory or the pids controller in `{shown}`");
            return Err(refused(&act, &Errno::ENOENT.into(), HINT_VERSION));
        }
        sweep(&group);
        if let Some(other) = other_process(&group) {
            let act = format!("divide the cgroup `{shown}`, which holds process {other} too");
            return Err(refused(&act, &Errno::EBUSY.into(), HINT));
        }
        let act = format!("divide the cgroup `{shown}`");
        let base = group.join(own_base());
        let enabled = missing(&group, &controllers);
        let group = Some(group);
        let mut lease = CgroupLease { base, group, enabled, prefix, controllers, keeper: None };
        let divided = lease.divide().and_then(|()| Ok(Keeper::start(|| lease.keep())?));
        lease.keeper = Some(divided.map_err(|error| refused(&act, &error, HINT))?);
        Ok(lease)
    }

    /// Makes the base; what was made goes with the lease.
    fn divide(&self) -> io::Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        fs::create_dir(&self.base)?;
        fs::create_dir(self.base.join(RUNNER))?;
        // 0 is the process that writes.
        fs::write(self.base.join(RUNNER).join("cgroup.procs"), "0")?;
        let all: Vec<String> = self.controllers.iter().map(|name| format!("+{name}")).collect();
        fs::write(group.join("cgroup.subtree_control"), all.join(" "))?;
        fs::write(self.base.join("cgroup.subtree_control"), all.join(" "))
    }

    /// True if cases can be given a limit of memory.
    pub fn limits_memory(&self) -> bool {
        self.controllers.contains(&"memory")
    }

    /// Error where they cannot.
    pub fn without_memory(&self) -> SandboxError {
        let act = format!("find the memory controller in `{}`", self.base.display());
        refused(&act, &Errno::ENOENT.into(), HINT_VERSION)
    }

    /// Removes all groups of cases, and kills what is in them.
    pub fn clear(&self) {
        for group in groups_in(&self.base).iter().filter(|path| has_prefix(path, &self.prefix)) {
            if is_populated(group) && fs::write(group.join("cgroup.kill"), "1").is_ok() {
                await_empty(group);
            }
            remove(group);
        }
    }

    /// The warden's part of it.
    pub fn base(&self) -> Result<BaseCgroup, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, &self.base, flags, Mode::empty()).map_err(errno::of_rustix)?;
        let controllers = self.controllers.clone();
        Ok(BaseCgroup { directory, prefix: self.prefix.clone(), next: 0, controllers })
    }
}

impl Drop for CgroupLease {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl CgroupLease {
    /// Undoes what was done, but for what other processes are in.
    fn give_back(&self) {
        self.clear();
        let Some(group) = &self.group else { return };
        let disabled: Vec<String> =
            self.controllers.iter().map(|name| format!("-{name}")).collect();
        let _ = fs::write(self.base.join("cgroup.subtree_control"), disabled.join(" "));
        let _ = fs::write(group.join("cgroup.subtree_control"), &self.enabled);
        let _ = fs::write(group.join("cgroup.procs"), "0");
        remove(&self.base);
    }

    /// Work of the keeper when the lease, or its process, is gone.
    fn keep(&self) {
        self.give_back();
        await_empty(&self.base);
        remove(&self.base);
    }
}

impl BaseCgroup {
    /// The descriptor that the warden keeps open.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Makes a group with these limits.
    pub fn make(&mut self, limits: &GroupLimits) -> Result<CaseCgroup, Errno> {
        let name = format!("{}{}", self.prefix, self.next);
        self.next += 1;
        let group = make_in(&self.directory, &name)?;
        let made = self.limit(&group, limits).and_then(|()| make_in(&group, CASE));
        match made {
            Ok(case) => Ok(CaseCgroup { name, limits: group, case }),
            Err(errno) => {
                let _ = unlinkat(&self.directory, &name, AtFlags::REMOVEDIR);
                Err(errno)
            }
        }
    }

    fn limit(&self, group: &OwnedFd, limits: &GroupLimits) -> Result<(), Errno> {
        if let Some(bytes) = limits.memory {
            write_in(group, "memory.max", &bytes.to_string())?;
            // All or none: a test that has lost a part of itself would fail for no reason.
            write_in(group, "memory.oom.group", "1")?;
            match write_in(group, "memory.swap.max", "0") {
                // A kernel without swap.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        match self.controllers.contains(&"pids") {
            true => write_in(group, "pids.max", &limits.processes.to_string()),
            false => Ok(()),
        }
    }

    /// Removes the group of a case that has ended, and kills what is left in it (cgroup.kill,
    /// since Linux 5.14). What cannot be removed yet is with the lease.
    pub fn remove(&self, group: CaseCgroup) {
        let CaseCgroup { name, limits, case } = group;
        drop(case);
        if unlinkat(&limits, CASE, AtFlags::REMOVEDIR).is_err() {
            let _ = write_in(&limits, "cgroup.kill", "1");
            let _ = unlinkat(&limits, CASE, AtFlags::REMOVEDIR);
        }
        let _ = unlinkat(&self.directory, &name, AtFlags::REMOVEDIR);
    }
}

impl CaseCgroup {
    /// The descriptor for CLONE_INTO_CGROUP.
    pub fn case(&self) -> BorrowedFd<'_> {
        self.case.as_fd()
    }

    /// Its figures so far. Those of a controller that is not there are zero.
    pub fn figures(&self) -> CgroupUsage {
        let read = |name| read_in(&self.limits, name).unwrap_or_default();
        let memory = read("memory.events");
        CgroupUsage {
            memory_peak: read("memory.peak").trim().parse().ok(),
            memory_refused: field(&memory, "oom"),
            memory_kills: field(&memory, "oom_kill"),
            forks_refused: field(&read("pids.events"), "max"),
        }
    }
}

fn refused(act: &str, error: &io::Error, hint: &str) -> SandboxError {
    let without = hint == HINT && !Path::new("/run/systemd/system").is_dir();
    let hint = Some(if without { HINT_WITHOUT_SYSTEMD } else { hint }.to_owned());
    SandboxError { act: act.to_owned(), errno: Some(errno_of(error)), hint }
}

/// The value of a flat-keyed file: `KEY VALUE` by the line.
fn field(text: &str, key: &str) -> u64 {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(name, _)| *name == key).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::ENOENT, Errno::from_raw)
}

fn make_in(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    mkdirat(directory, name, Mode::from(0o755)).map_err(errno::of_rustix)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty()).map_err(errno::of_rustix)
}

fn write_in(directory: &OwnedFd, name: &str, text: &str) -> Result<(), Errno> {
    let file = openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let written = File::from(file.map_err(errno::of_rustix)?).write_all(text.as_bytes());
    written.map_err(|error| errno_of(&error))
}

fn read_in(directory: &OwnedFd, name: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut text = String::new();
    File::from(openat(directory, name, flags, Mode::empty())?).read_to_string(&mut text)?;
    Ok(text)
}

/// The directory of the group that this process is in.
fn own_group() -> io::Result<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    group_in(&own, &mounts).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// From `/proc/self/cgroup` and `/proc/self/mountinfo`; `None` where version 2 is not mounted, or
/// the group lies outside of what is mounted.
fn group_in(own: &str, mountinfo: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    host::mounts_of(mountinfo, "cgroup2").find_map(|(root, point)| {
        let below = Path::new(path).strip_prefix(root).ok()?;
        let is_inside = !below.starts_with("..");
        is_inside.then(|| if below == Path::new("") { point.clone() } else { point.join(below) })
    })
}

fn own_base() -> String {
    format!("{BASE}{}", process::id())
}

/// The base that another isotest has made, where this process runs under it.
fn base_above(group: &Path) -> Option<&Path> {
    let base = group.parent().filter(|_| group.ends_with(RUNNER))?;
    base.file_name()?.to_str()?.starts_with(BASE).then_some(base)
}

/// Those of [`CONTROLLERS`] that the children of a group can have.
fn controllers(group: &Path) -> io::Result<Vec<&'static str>> {
    let text = fs::read_to_string(group.join("cgroup.controllers"))?;
    let there = |name: &&str| text.split_whitespace().any(|word| word == *name);
    Ok(CONTROLLERS.into_iter().filter(there).collect())
}

/// Those of the controllers that the children of a group do not have yet, each with a `-`.
fn missing(group: &Path, controllers: &[&str]) -> String {
    let text = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default();
    let missing = controllers.iter().filter(|name| !text.split_whitespace().any(|w| w == **name));
    missing.map(|name| format!("-{name}")).collect::<Vec<_>>().join(" ")
}

/// A process that stands in the way. The root group may hold processes and be divided.
fn other_process(group: &Path) -> Option<String> {
    let is_root = !group.join("cgroup.type").exists();
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = process::id().to_string();
    processes.lines().find(|line| !is_root && *line != own).map(str::to_owned)
}

fn groups_in(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// Removes the bases of runs that were killed: no process is in them.
fn sweep(group: &Path) {
    let bases = groups_in(group).into_iter().filter(|path| has_prefix(path, BASE));
    bases.filter(|base| !is_populated(base)).for_each(|base| remove(&base));
}

fn has_prefix(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(prefix.as_bytes()))
}

fn is_populated(group: &Path) -> bool {
    let events = fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
    field(&events, "populated") != 0
}

/// Removes a group with those below it, as far as they are empty.
fn remove(group: &Path) {
    groups_in(group).iter().for_each(|below| remove(below));
    // EBUSY: a process is in it.
    let _ = fs::remove_dir(group);
}

/// Waits until the last process of a group has ended. The kernel tells of a change of
/// `cgroup.events` by POLLPRI.
fn await_empty(group: &Path) {
    const LONGEST: u16 = 1000;
    let Ok(events) = File::open(group.join("cgroup.events")) else { return };
    while is_populated(group) {
        let mut polled = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        if !matches!(poll(&mut polled, PollTimeout::from(LONGEST)), Ok(1..)) {
            return;
        }
        // Reading makes the next change news.
        let _ = (&events).read(&mut [0; 64]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
33 31 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    #[test]
    fn the_group_is_found_in_the_hierarchy_of_version_2() {
        let own = "4:memory:/elsewhere\n0::/user.slice/a b.scope\n";
        let found = group_in(own, HYBRID);
        assert_eq!(found, Some("/sys/fs/cgroup/unified/user.slice/a b.scope".into()));
        assert_eq!(group_in("0::/\n", HYBRID), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(group_in("4:memory:/\n", HYBRID), None);
        assert_eq!(group_in("0::/\n", "33 31 0:28 / /m rw - cgroup cgroup rw,memory\n"), None);
    }

    #[test]
    fn a_group_above_what_is_mounted_cannot_be_reached() {
        let mounts = "32 31 0:27 /pod/x /sys/fs/cgroup rw shared:1 - cgroup2 cgroup2 rw\n";
        assert_eq!(group_in("0::/pod/x/y\n", mounts), Some("/sys/fs/cgroup/y".into()));
        assert_eq!(group_in("0::/pod\n", mounts), None);
        let namespace = "32 31 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(group_in("0::/../other\n", namespace), None);
    }

    #[test]
    fn the_base_of_an_outer_isotest_is_used() {
        let base = |path: &'static str| base_above(Path::new(path));
        assert_eq!(base("/g/isotest-7/runner"), Some(Path::new("/g/isotest-7")));
        assert_eq!(base("/g/runner"), None);
        assert_eq!(base("/g/isotest-7"), None);
    }

    #[test]
    fn figures_are_found_by_their_names() {
        let events = "low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 1\n";
        assert_eq!((field(events, "oom_kill"), field(events, "max")), (2, 31));
        assert_eq!(field("", "max"), 0);
    }

    #[test]
    fn only_controllers_that_were_not_there_are_taken_away_again() {
        let group = std::env::temp_dir().join(format!("isotest-cgroup-{}", process::id()));
        fs::create_dir_all(&group).expect("a temporary directory");
        fs::write(group.join("cgroup.controllers"), "cpuset cpu memory pids\n").expect("a file");
        fs::write(group.join("cgroup.subtree_control"), "cpu pids\n").expect("a file");
        let found = controllers(&group).expect("it is there");
        let missing = missing(&group, &found);
        fs::remove_dir_all(&group).expect("it is ours");
        assert_eq!((found.as_slice(), missing.as_str()), (&CONTROLLERS[..], "-memory"));
    }
}
