//! Control groups: what is limited and told by them, and that nothing of them is left.
//!
//! A program of its own, to be started in a delegated group that holds no other process:
//! `systemd-run --user --scope -p Delegate=yes cargo test -p isotest-tests --test cgroup`. It
//! divides that group: each check is a child process in a group below it. Where there is none it
//! says so and ends, or fails where `ISOTEST_CGROUP` is set.

use std::ffi::{CString, OsStr};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::{env, fs, io, process};

use isotest_core::case::CaseIndex;
use isotest_core::host::Host;
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::plan::{self, Access, Exposure, Plan, Project, StartBy};
use isotest_core::policy::{Init, Limits, Namespace, Policy, User};
use isotest_core::refusal::SandboxError;
use isotest_core::sandbox::Warden;
use isotest_core::schedule::{self, BACKLOG, Event, Job, Options};
use isotest_core::signals::Signals;
use isotest_tests::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MIB: u64 = 1 << 20;

type Check = (&'static str, fn());

/// Checks, each in a process of its own that is started in a group of its own.
const CHECKS: [Check; 8] = [
    ("a_hog_is_killed_at_its_limit_and_the_limit_is_named", || hog(Policy::default())),
    ("so_is_one_below_an_init", || hog(Policy { init: Init::Reaper, ..Policy::default() })),
    ("so_is_a_child_with_all_that_is_in_the_case", child_hog),
    ("the_peak_of_a_case_that_passes_is_told", peak),
    ("files_in_a_tmpfs_are_memory", tmpfs),
    ("a_refused_fork_is_named", forks),
    ("a_case_cannot_raise_its_limit", escape),
    ("what_outlives_a_case_of_the_host_s_pid_namespace_is_killed", leftovers),
];

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["inside", what] => inside(what),
        ["check", name] => CHECKS.iter().find(|(known, _)| known == name).expect("a check").1(),
        ["refused"] => refused(),
        ["hang"] => hang(),
        _ => all(),
    }
}

/// The group of this program, divided; it is put back in order when this is dropped.
struct Groups {
    own: PathBuf,
    before: String,
}

impl Groups {
    fn divide() -> Result<Groups, String> {
        let own = fs::read_to_string("/proc/self/cgroup").expect("/proc is mounted");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let own = Path::new("/sys/fs/cgroup").join(own.ok_or("there is no cgroup v2")?);
        let read = |name| fs::read_to_string(own.join(name)).map_err(|error| error.to_string());
        let before = read("cgroup.subtree_control")?;
        let there = read("cgroup.controllers")?;
        if !["memory", "pids"].iter().all(|name| there.split_whitespace().any(|w| w == *name)) {
            return Err(format!("{} has the controllers `{}`", own.display(), there.trim()));
        }
        let groups = Groups { own, before };
        let made = (|| -> io::Result<()> {
            fs::create_dir(groups.own.join("tests"))?;
            fs::write(groups.own.join("tests/cgroup.procs"), "0")?;
            fs::write(groups.own.join("cgroup.subtree_control"), "+memory +pids")?;
            fs::create_dir(groups.own.join("check"))
        })();
        made.map(|()| groups).map_err(|error| error.to_string())
    }

    /// This program, started in the group `check`.
    fn start(&self, words: &[&str]) -> Child {
        let group = self.own.join("check/cgroup.procs");
        let mut command = Command::new(env::current_exe().expect("it has a name"));
        command.args(words).stdout(Stdio::inherit());
        // SAFETY: open(2), write(2) and close(2); the child has one thread.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || fs::write(&group, "0"));
        }
        command.spawn().expect("it can be started")
    }

    fn check_nothing_is_left(&self) {
        let left: Vec<_> = fs::read_dir(self.own.join("check")).expect("it is there").collect();
        let groups = left.into_iter().flatten().filter(|entry| entry.path().is_dir());
        let groups: Vec<PathBuf> = groups.map(|entry| entry.path()).collect();
        assert!(groups.is_empty(), "left: {groups:?}");
        let divided = fs::read_to_string(self.own.join("check/cgroup.subtree_control"));
        assert_eq!(divided.expect("it is there").trim(), "", "controllers are left");
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.own.join("check"));
        if self.before.trim().is_empty() {
            let _ = fs::write(self.own.join("cgroup.subtree_control"), "-memory -pids");
        }
        let _ = fs::write(self.own.join("cgroup.procs"), "0");
        let _ = fs::remove_dir(self.own.join("tests"));
    }
}

fn all() {
    let groups = match Groups::divide() {
        Ok(groups) => groups,
        Err(why) => {
            assert!(env::var_os("ISOTEST_CGROUP").is_none(), "ISOTEST_CGROUP is set, but {why}");
            return println!("skipped: no delegated cgroup v2: {why}");
        }
    };
    let mut failed = 0;
    for (name, _) in CHECKS {
        let status = groups.start(&["check", name]).wait().expect("it is a child");
        println!("{name} ... {}", if status.success() { "ok" } else { "FAILED" });
        failed += i32::from(!status.success());
        groups.check_nothing_is_left();
    }
    killed(&groups);
    refused_beside_others(&groups);
    drop(groups);
    assert_eq!(failed, 0, "checks have failed");
}

/// Of a run that is killed nothing is left.
fn killed(groups: &Groups) {
    let mut run = groups.start(&["hang"]);
    let populated = || {
        let base = groups.own.join(format!("check/isotest-{}", run.id()));
        let names = fs::read_dir(base).into_iter().flatten().flatten();
        let cases = names.filter(|entry| entry.file_name() != "runner" && entry.path().is_dir());
        let processes = cases.map(|case| fs::read_to_string(case.path().join("case/cgroup.procs")));
        processes.flatten().any(|text| !text.is_empty()).then_some(())
    };
    until("a case in its group", populated);
    kill(Pid::from_raw(run.id() as i32), Signal::SIGKILL).expect("it is alive");
    assert_eq!(run.wait().expect("it is a child").signal(), Some(libc::SIGKILL));
    let events = groups.own.join("check/cgroup.events");
    until("the end of every process", || {
        let events = fs::read_to_string(&events).expect("it is there");
        events.contains("populated 0").then_some(())
    });
    groups.check_nothing_is_left();
    println!("of_a_run_that_is_killed_nothing_is_left ... ok");
}

/// A group that holds another process cannot be divided: that is said, with what to type.
fn refused_beside_others(groups: &Groups) {
    let mut other = Command::new("sleep");
    let group = groups.own.join("check/cgroup.procs");
    // SAFETY: as above.
    #[allow(unsafe_code)]
    unsafe {
        other.arg("1000").pre_exec(move || fs::write(&group, "0"));
    }
    let mut other = other.spawn().expect("sleep(1) is there");
    let status = groups.start(&["refused"]).wait().expect("it is a child");
    other.kill().expect("it is alive");
    other.wait().expect("it is a child");
    assert!(status.success());
    groups.check_nothing_is_left();
    println!("a_group_that_holds_another_process_is_refused ... ok");
}

/// With a limit of memory a run is refused there; without one it goes on without a group.
fn refused() {
    let limits = Limits { memory: Some(64 * MIB), ..Limits::default() };
    let error = run(&Policy { limits, ..Policy::default() }, "use 64 MiB");
    let error = error.expect_err("it needs a group").to_string();
    for text in ["which holds process ", "(EBUSY)", "hint: ", "systemd-run --user --scope"] {
        assert!(error.contains(text), "{error}");
    }
    let outcome = with(Limits::default(), Policy::default(), "use 64 MiB");
    assert_eq!(outcome.verdict, Verdict::Passed, "{outcome:?}");
    assert_eq!(outcome.usage.memory_peak, None, "{outcome:?}");
}

/// Runs this program inside a sandbox.
fn run(policy: &Policy, what: &str) -> Result<Outcome, SandboxError> {
    let host = Host::read(Path::new("/")).expect("the machine can be looked at");
    let program = env::current_exe().expect("it has a name");
    let directory = program.parent().expect("it lies somewhere").to_owned();
    let exposure = Exposure {
        path: directory,
        directory: true,
        access: Access::ReadOnly,
        what: "the program".to_owned(),
        propagation: Default::default(),
    };
    let project = Project { exposures: vec![exposure], ..Project::default() };
    let mut warden = Warden::start(&host, policy)?;
    warden.build(&plan::template(&host, &project, policy), None)?;
    let text = |text: &OsStr| CString::new(text.as_encoded_bytes()).expect("no NUL byte");
    let command = plan::CommandSpec {
        program: text(program.as_os_str()),
        arguments: vec![text(program.as_os_str()), c"inside".to_owned(), text(what.as_ref())],
        environment: vec![c"PATH=/usr/bin:/bin".to_owned()],
        directory: c"/".to_owned(),
        start_by: StartBy::ForkServer,
    };
    let spec = Arc::new(plan::sandbox_spec(&host, &project, policy, command));
    let index = CaseIndex { binary: 0, case: 0 };
    let jobs = vec![Job::once(index, Plan::of(spec))];
    let (events, heard) = sync_channel(BACKLOG);
    let signals = Signals::listen().expect("signals can be taken over");
    let options = Options::of(1);
    schedule::run(&mut warden, jobs, options, &signals, &events).expect("it runs");
    let ended = heard.try_iter().find_map(|event| match event {
        Event::Finished(_, outcome) => Some(*outcome),
        _ => None,
    });
    Ok(ended.expect("exactly one case ends"))
}

fn with(limits: Limits, policy: Policy, what: &str) -> Outcome {
    let policy = Policy { limits, ..policy };
    run(&policy, what).unwrap_or_else(|error| panic!("{error}"))
}

fn with_memory(bytes: u64, policy: Policy, what: &str) -> Outcome {
    with(Limits { memory: Some(bytes), ..Limits::default() }, policy, what)
}

fn findings(outcome: &Outcome) -> Vec<String> {
    outcome.findings.iter().map(ToString::to_string).collect()
}

fn killed_by_its_limit(outcome: &Outcome, bytes: u64) {
    let killed = Verdict::Signalled { signal: libc::SIGKILL };
    assert_eq!(outcome.verdict, killed, "{outcome:?}");
    let named = "reached the limit of memory; raise it with `--memory`";
    assert!(findings(outcome).iter().any(|finding| finding == named), "{outcome:?}");
    if let Some(peak) = outcome.usage.memory_peak {
        assert!(peak <= bytes && peak > bytes / 2, "{outcome:?}");
    }
}

fn hog(policy: Policy) {
    killed_by_its_limit(&with_memory(64 * MIB, policy, "use 512 MiB"), 64 * MIB);
}

fn child_hog() {
    let outcome = with_memory(64 * MIB, Policy::default(), "use 512 MiB in a child");
    killed_by_its_limit(&outcome, 64 * MIB);
}

fn peak() {
    let outcome = with(Limits::default(), Policy::default(), "use 64 MiB");
    assert_eq!((&outcome.verdict, findings(&outcome)), (&Verdict::Passed, vec![]), "{outcome:?}");
    let peak = outcome.usage.memory_peak.expect("Linux 5.19 has memory.peak");
    assert!((64 * MIB..128 * MIB).contains(&peak), "{outcome:?}");
}

fn tmpfs() {
    killed_by_its_limit(&with_memory(64 * MIB, Policy::default(), "write 512 MiB"), 64 * MIB);
}

fn forks() {
    let limits = Limits { processes: 20, ..Limits::default() };
    let outcome = with(limits, Policy::default(), "start 100 children");
    assert_eq!(outcome.verdict, Verdict::Failed { code: 101 }, "{outcome:?}");
    let named = "reached the limit of processes and threads; raise it with `--processes`";
    assert!(findings(&outcome).iter().any(|finding| finding == named), "{outcome:?}");
}

/// With every capability in its own namespaces, and the hierarchy mounted in them.
fn escape() {
    let policy = Policy { user: User::Root, ..Policy::default() };
    killed_by_its_limit(&with_memory(64 * MIB, policy, "raise its limit"), 64 * MIB);
}

fn leftovers() {
    let policy = Policy { pid: Namespace::Host, ..Policy::default() };
    let outcome = with(Limits::default(), policy, "leave a child");
    assert_eq!(outcome.verdict, Verdict::Passed, "{outcome:?}");
}

fn hang() {
    let limits = Limits { memory: Some(64 * MIB), timeout: None, ..Limits::default() };
    with(limits, Policy::default(), "hang");
}

/// Act in the sandbox.
fn inside(what: &str) {
    match what {
        "use 64 MiB" => use_memory(64),
        "use 512 MiB" => use_memory(512),
        "use 512 MiB in a child" => {
            let status = inside_child("use 512 MiB").wait().expect("it is a child");
            panic!("its child alone has ended: {status}");
        }
        "write 512 MiB" => {
            fs::write("/tmp/file", vec![1; 32 << 20]).expect("there is room");
            (0..16).for_each(|n| drop(fs::copy("/tmp/file", format!("/tmp/{n}"))));
        }
        "start 100 children" => {
            let children: Vec<io::Result<Child>> =
                (0..100).map(|_| Command::new("sleep").arg("1000").spawn()).collect();
            let refused = children.iter().filter(|child| child.is_err()).count();
            assert_eq!(refused, 0, "were refused");
        }
        "raise its limit" => {
            // What cannot be done is no way out either.
            let script = "mkdir /tmp/g && mount -t cgroup2 none /tmp/g && \
                          for g in $(find /tmp/g -type d); do echo max > $g/memory.max; \
                          echo $$ > $g/cgroup.procs; done";
            let _ = Command::new("unshare").args(["-C", "sh", "-c", script]).status();
            use_memory(512);
        }
        "leave a child" => drop(inside_child("hang")),
        "hang" => loop {
            std::thread::park();
        },
        _ => process::exit(2),
    }
}

fn inside_child(what: &str) -> Child {
    let program = env::current_exe().expect("it has a name");
    Command::new(program).args(["inside", what]).spawn().expect("it can be started")
}

fn use_memory(mebibytes: usize) {
    let hoard: Vec<Vec<u8>> = (0..mebibytes).map(|_| vec![1; 1 << 20]).collect();
    assert_eq!(std::hint::black_box(hoard).len(), mebibytes);
}
