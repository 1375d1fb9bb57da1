//! The root of a debugger that reads the stacks of a case: programs and libraries of the host, the
//! processes of the case, and no other file of the host.
//!
//! The debugger follows paths that a test has chosen. It has the user namespace of the case, so that
//! the kernel lets it trace the case and no process of the host; the pid namespace is the host's. An
//! absolute symbolic link leads from `/proc/PID/root` to its own root, where nothing leads to the host
//! but programs and libraries. What it executes and loads is the host's: nothing of the case has the
//! path of a library.

use std::path::Path;

use super::builder::Steps;
use super::roots::{self, NEW, new, old};
use super::steps::{Op, Step};
use crate::host::Debugger;

/// A process that a debugger is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedProcess {
    /// Its id on the host.
    pub pid: i32,
    /// Those of its threads.
    pub threads: Vec<i32>,
}

/// To trace processes of other ids, and what may not be traced (prctl(2), PR_SET_DUMPABLE).
const CAP_SYS_PTRACE: u64 = 1 << 19;
/// To read what a test with `--user root` has made unreadable for others.
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;

/// Maximum bytes of memory of a debugger: a small file can say that it holds gigabytes of debug
/// information.
const MEMORY: u64 = 4 << 30;

/// Steps of the process of a debugger before it is executed. `namespaces` are the CLONE_NEW* flags
/// of the case; the first of `traced` is the process whose root is looked at.
pub fn confinement(debugger: &Debugger, namespaces: u64, traced: &[TracedProcess]) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.add("no terminal, and one process group", Op::NewSession);
    steps.add("no key of the caller's session", Op::NewKeyring);
    let own = namespaces & (libc::CLONE_NEWNET | libc::CLONE_NEWIPC) as u64;
    let namespaces = own | libc::CLONE_NEWNS as u64;
    steps.add("it may trace the case, and nothing else", Op::EnterUserNamespace { namespaces });
    let reason = "no mount travels to the host";
    steps.propagation(Path::new("/"), 0, libc::MS_PRIVATE, reason);
    roots::leave(&mut steps, &debugger.base);
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    steps.mount("tmpfs", Path::new(NEW), flags, "mode=0755,size=4m", "the new root");
    show_host(&mut steps, debugger);
    show_case(&mut steps, debugger, traced);
    roots::enter(&mut steps, "nothing is to be written");
    let (resource, soft, hard) = (libc::RLIMIT_DATA, MEMORY, MEMORY);
    steps.add("debug information may be a trap", Op::Limit { resource, soft, hard });
    let kept = CAP_SYS_PTRACE | CAP_DAC_READ_SEARCH;
    steps.add("it traces and reads", Op::KeepCapabilities { kept });
    steps.0
}

fn show_host(steps: &mut Steps, debugger: &Debugger) {
    for shown in &debugger.shown {
        make_parents(steps, &shown.target);
        let target = new(&shown.target);
        match shown.directory {
            true => steps.directory(&target, 0o755, "mount point"),
            false => steps.file(&target, b"", 0o444, "mount point"),
        }
        steps.bind_read_only(&old(&shown.source), &target, "the debugger needs it");
    }
    for (link, target) in &debugger.links {
        make_parents(steps, link);
        steps.link(target, &new(link), "as on the host");
    }
    let null = Path::new("/dev/null");
    make_parents(steps, null);
    steps.file(&new(null), b"", 0o444, "mount point");
    steps.bind_exact(&old(null), &new(null), false, "a debugger may be a script");
}

/// The debugger sees the processes of the case and itself. It looks for threads beside processes.
fn show_case(steps: &mut Steps, debugger: &Debugger, traced: &[TracedProcess]) {
    let proc = new("proc");
    steps.directory(&proc, 0o555, "mount point");
    let ids = traced.iter().map(|process| process.pid.to_string());
    for name in ids.chain(["self".to_owned()]) {
        let target = proc.join(&name);
        steps.directory(&target, 0o555, "mount point");
        steps.bind(&old(Path::new("/proc")).join(name), &target, false, "a process to look at");
    }
    for TracedProcess { pid, threads } in traced {
        for thread in threads.iter().filter(|thread| *thread != pid) {
            let task = format!("{pid}/task/{thread}");
            steps.link(Path::new(&task), &proc.join(thread.to_string()), "a thread of it");
        }
    }
    let Some(TracedProcess { pid, .. }) = traced.first() else { return };
    let root = Path::new("/proc").join(pid.to_string()).join("root");
    for path in &debugger.of_case {
        make_parents(steps, path);
        let name = path.strip_prefix("/").unwrap_or(path);
        steps.link(&root.join(name), &new(path), "what the case has of that name");
    }
}

fn make_parents(steps: &mut Steps, path: &Path) {
    let parents: Vec<&Path> = path.ancestors().skip(1).collect();
    for parent in parents.into_iter().rev().filter(|parent| parent.parent().is_some()) {
        steps.directory(&new(parent), 0o755, "leads to what is shown");
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::host::DebuggerFile;

    fn library(path: &str) -> DebuggerFile {
        DebuggerFile { source: path.into(), target: path.into(), directory: true }
    }

    #[test]
    fn a_debugger_is_bound_libraries_and_processes_of_the_case_alone() {
        let debugger = Debugger {
            program: "/usr/bin/gdb".into(),
            shown: vec![library("/usr/bin"), library("/usr/lib")],
            links: vec![("/lib".into(), "usr/lib".into())],
            of_case: vec!["/home".into(), "/usr/src".into()],
            base: "/tmp".into(),
        };
        let traced = [TracedProcess { pid: 7, threads: vec![7, 8] }];
        let namespaces = (libc::CLONE_NEWNET | libc::CLONE_NEWPID | libc::CLONE_NEWUSER) as u64;
        let steps = confinement(&debugger, namespaces, &traced);
        let text = |path: &std::ffi::CString| PathBuf::from(path.to_str().expect("it is text"));
        let binds = steps.iter().filter_map(|step| match &step.op {
            Op::Bind { source, .. } => Some(text(source)),
            _ => None,
        });
        let expected = ["/old/usr/bin", "/old/usr/lib", "/old/proc/7", "/old/proc/self"];
        assert_eq!(binds.collect::<Vec<_>>(), expected.map(PathBuf::from));
        let links = steps.iter().filter_map(|step| match &step.op {
            Op::MakeSymlink { target, path } => Some((text(path), text(target))),
            _ => None,
        });
        let expected = [
            ("/new/lib", "usr/lib"),
            ("/new/proc/8", "7/task/8"),
            ("/new/home", "/proc/7/root/home"),
            ("/new/usr/src", "/proc/7/root/usr/src"),
        ];
        let expected = expected.map(|(path, target)| (path.into(), target.into()));
        assert_eq!(links.collect::<Vec<(PathBuf, PathBuf)>>(), expected);
        let entered = steps.iter().find_map(|step| match step.op {
            Op::EnterUserNamespace { namespaces } => Some(namespaces),
            _ => None,
        });
        assert_eq!(entered, Some((libc::CLONE_NEWNET | libc::CLONE_NEWNS) as u64));
        assert!(matches!(steps.last().expect("some").op, Op::KeepCapabilities { .. }));
    }
}
