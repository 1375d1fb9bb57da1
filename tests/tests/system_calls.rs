//! Number of system calls that one short case costs each process involved: if it grows, a case got
//! slower, whatever a clock says.

use std::collections::BTreeMap;

use isotest_tests::program::isotest;
use isotest_tests::{Call, Project, missing, refused};

const CASES: usize = 200;

/// A process of a run, and the most that a case may cost it.
struct Part {
    name: &'static str,
    /// As an ordinary user, and as root, for whom more of `/proc` is covered and ids are mapped.
    /// Each directory that is shown in the home costs two.
    most: [f64; 2],
    is: fn(&Process) -> bool,
}

/// Calls that wait: their number depends on the machine, so they are not counted.
const WAITING: [&str; 9] = [
    "epoll_ctl",
    "epoll_wait",
    "futex",
    "poll",
    "read",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "wait4",
];

/// A process, by the names of its calls in order.
struct Process {
    calls: Vec<String>,
}

impl Process {
    fn count(&self, name: &str) -> usize {
        self.calls.iter().filter(|call| *call == name).count()
    }
}

const PARTS: [Part; 4] = [
    // A project deep in the home takes three for each directory on the way to it.
    Part { name: "isotest", most: [40.0, 40.0], is: |it| it.count("epoll_wait") > 0 },
    Part { name: "the warden", most: [43.0, 45.0], is: |it| it.count("pivot_root") > 0 },
    Part {
        name: "the fork server",
        most: [7.0, 7.0],
        is: |it| it.count("clone3") >= CASES && it.count("pivot_root") == 0,
    },
    Part {
        name: "a case before its program",
        most: [112.0, 140.0],
        is: |it| {
            it.count("set_robust_list") == 1 && it.count("execve") == 0 && it.count("capset") == 1
        },
    },
];

#[test]
fn a_case_costs_no_more_than_it_did() {
    if refused() || missing("strace") {
        return;
    }
    let tests: String = (0..CASES).map(|number| format!("#[test] fn t{number}() {{}}\n")).collect();
    let manifest = "[package]\nname = 'calls'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n";
    let project = Project::new(&[("Cargo.toml", manifest), ("src/lib.rs", &tests)]);
    // The list is known from then on.
    project.isotest("--lib").run().check(0, &["200 passed"]);
    let trace = project.directory().join("trace");
    Call::new("strace", project.directory())
        .words("-f -qq -e signal=none -o")
        .arg(&trace)
        .arg(isotest())
        .words("isotest --lib --test-threads 2")
        .run()
        .check(0, &["200 passed"]);
    let trace = std::fs::read_to_string(trace).expect("strace has written it");
    let processes = read(&trace);
    let root = nix::unistd::geteuid().is_root();
    for part in &PARTS {
        let found: Vec<&Process> = processes.values().filter(|it| (part.is)(it)).collect();
        assert!(!found.is_empty(), "there is {}", part.name);
        let own = |process: &&Process| {
            let end = process.calls.iter().position(|call| call == "set_robust_list");
            let end = end.filter(|_| part.name.starts_with("a case"));
            let calls = process.calls.iter().take(end.unwrap_or(usize::MAX));
            calls.filter(|call| !WAITING.contains(&call.as_str())).count()
        };
        let each = found.iter().map(own).sum::<usize>() as f64 / CASES as f64;
        println!("{}: {each:.1} system calls a case", part.name);
        let most = part.most[usize::from(root)];
        assert!(each <= most, "{} makes {each:.1} system calls a case, not {most}", part.name);
    }
}

/// The calls of each process, by its id. One that is interrupted by another's counts once.
fn read(trace: &str) -> BTreeMap<&str, Process> {
    let mut processes: BTreeMap<&str, Process> = BTreeMap::new();
    for line in trace.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        // The standard library's, of a descriptor that it is about to close, in a debug build alone.
        let is_assertion = call.contains(", F_GETFD");
        if let Some((name, _)) = call.trim_start().split_once('(')
            && !name.contains(' ')
            && !is_assertion
        {
            let process = processes.entry(pid).or_insert(Process { calls: Vec::new() });
            process.calls.push(name.to_owned());
        }
    }
    processes
}
