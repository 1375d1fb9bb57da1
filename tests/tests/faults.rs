//! Faults: whatever a test does to the machine, to the runner or to itself, its verdict is right, the
//! tests beside it are unharmed and nothing of it is left, within a bound.

use std::fs;
use std::time::{Duration, Instant};

use isotest_tests::processes::{MARK, Process, marked, pid_namespaces, status};
use isotest_tests::program::workspace;
use isotest_tests::project::executes;
use isotest_tests::{Call, Project, Run, Running, missing, refused, until};
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A run with a fault takes no longer, on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// Maximum memory of isotest in kB, whatever tests write.
const MEMORY: u64 = 96 << 10;
const UNHARMED: &str = "unharmed::forks unharmed::writes";

/// A run of some tests of the fixture, and of those that must not be harmed.
struct Fault {
    project: Project,
    mark: String,
}

impl Fault {
    fn new(mark: &str) -> Fault {
        let mark = format!("{mark}-{}", std::process::id());
        Fault { project: Project::fixture("faults"), mark }
    }

    fn call(&self, options: &str, tests: &str) -> Call {
        let line = format!("--test faults {options} -- --exact {tests} {UNHARMED}");
        self.project.isotest(&line).env(MARK, &self.mark)
    }

    fn check_nothing_is_left(&self) {
        until("the end of every process of the run", || {
            marked(&self.mark).is_empty().then_some(())
        });
    }

    /// A process of the warden's cases, or one that the warden has started beside them: a fork
    /// server.
    fn process(&self, isotest: Pid, of_a_case: bool) -> Option<Process> {
        let warden = self.warden(isotest)?;
        let depth = pid_namespaces(warden)? + usize::from(of_a_case);
        let mut others = marked(&self.mark).into_iter().filter(|process| process.pid != warden);
        others.find(|process| pid_namespaces(process.pid) == Some(depth))
    }

    /// A process of a case, from its first moment on.
    fn case(&self, isotest: Pid) -> Option<Process> {
        self.process(isotest, true)
    }

    /// The warden of the run that `isotest` is. A case before exec bears its name, but is its child.
    fn warden(&self, isotest: Pid) -> Option<i32> {
        let mut pids = marked(&self.mark).into_iter().map(|process| process.pid);
        pids.find(|pid| status(*pid, "PPid") == u64::try_from(isotest.as_raw()).ok())
    }
}

/// Runs tests of the fixture by their full names.
fn check(tests: &str, options: &str, code: i32, texts: &[&str]) {
    if !refused() {
        run(tests, options, code, texts);
    }
}

fn run(tests: &str, options: &str, code: i32, texts: &[&str]) -> Run {
    let fault = Fault::new(tests);
    let started = Instant::now();
    let run = fault.call(options, tests).run();
    run.check(code, texts);
    run.check(code, &["test unharmed::forks ... ok", "test unharmed::writes ... ok"]);
    assert!(started.elapsed() < BOUND, "it took {:?}", started.elapsed());
    fault.check_nothing_is_left();
    run
}

/// RLIMIT_NPROC does not bind root; `pid_max` does, in numbers from 300 on.
#[test]
fn a_fork_bomb_is_bounded() {
    if refused() || is_unbounded() {
        return;
    }
    let run = run("processes::multiply", "--processes 400", 100, &["1 test left processes behind"]);
    let started = run.stdout.split(" processes were started").next();
    let started = started.and_then(|text| text.rsplit(['\n', ' ']).next()?.parse::<u32>().ok());
    assert!(started.is_some_and(|count| (300..=700).contains(&count)), "{started:?} were started");
}

/// The list of so many children takes more than one read of `/proc`.
#[test]
fn a_large_fork_bomb_is_counted_whole_and_its_limit_is_named() {
    if refused() || is_unbounded() {
        return;
    }
    let named = "reached the limit of processes and threads; raise it with `--processes`";
    let run = run("processes::multiply", "--processes 3000", 100, &[named]);
    let left = run.stderr.split_once(": left ").and_then(|(_, rest)| rest.split_once(' '));
    let left = left.and_then(|(count, _)| count.parse::<u32>().ok());
    assert!(left.is_some_and(|count| (2900..=3300).contains(&count)), "{left:?} were left");
}

/// Root is bounded by nothing before Linux 6.14.
fn is_unbounded() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = release.split(['.', '-']).filter_map(|number| number.parse::<u32>().ok());
    let version = (numbers.next(), numbers.next());
    nix::unistd::geteuid().is_root() && version < (Some(6), Some(14))
}

#[test]
fn a_fork_bomb_that_never_ends_times_out() {
    let texts = ["timed out after 1s", "(1 timed out)"];
    check("processes::multiply_for_ever", "--processes 400 --timeout 1s", 100, &texts);
}

#[test]
fn five_thousand_threads_are_what_a_test_may_ask_for() {
    check("processes::are_5000_threads", "--processes 6000", 0, &[]);
}

#[test]
fn what_leaves_its_session_ends_with_the_test() {
    let texts = ["1 test left processes behind", "left 1 process behind: "];
    check("processes::escape_by_a_double_fork", "", 0, &texts);
    check("processes::escape_by_a_double_fork", "--init reaper", 0, &texts);
}

/// A test many times, since what it does is a race.
fn many(name: &str, body: &str) -> String {
    let copy = |number| format!("#[test]\nfn {name}_{number}() {{\n{body}\n}}\n");
    (0..40).map(copy).collect()
}

/// A command closes its output before it is a zombie, and has its own name only after `spawn` has
/// returned.
#[test]
fn what_is_ending_is_no_leftover_and_what_is_left_has_its_own_name() {
    if refused() {
        return;
    }
    let echo = r#"
        let mut child = Command::new("echo").arg("hi").stdout(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi\n");
        forget(child);"#;
    let kill = r#"
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        child.kill().unwrap();
        forget(child);"#;
    let leave = r#"forget(Command::new("sleep").arg("1000").spawn().unwrap());"#;
    let used = "#![cfg(test)]\nuse std::{io::Read, mem::forget, process::{Command, Stdio}};\n";
    let tests = [many("reads", echo), many("kills", kill), many("leaves", leave)].concat();
    let project = Project::new(&[("src/lib.rs", &format!("{used}{tests}"))]);
    let run = project.isotest("--lib --message-format json").run();
    run.check(0, &["40 tests left processes behind"]);
    let left: Vec<&str> =
        run.stdout.lines().filter(|line| line.contains("leaves-process")).collect();
    let is_right = |line: &&str| line.contains("leaves_") && line.contains(r#""name":"sleep""#);
    assert!(left.len() == 40 && left.iter().all(is_right), "{left:#?}");
}

/// Ends the thread that leads a process, while another one lives on.
const HEADLESS: &str = r#"
#![cfg(test)]
use std::{fs, io::Read, mem::forget, process::{Command, Stdio}, thread};

#[test]
fn leaves_it() {
    let line = "import ctypes, threading, time\n\
                threading.Thread(target=time.sleep, args=(1000,)).start()\n\
                print('ready', flush=True)\n\
                ctypes.CDLL(None).pthread_exit(None)";
    let mut python = Command::new("python3");
    let mut child = python.args(["-c", line]).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 6]).unwrap();
    while !fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") Z ") {
        thread::yield_now();
    }
    forget(child);
}
"#;

#[test]
fn a_process_whose_first_thread_has_ended_is_left_all_the_same() {
    if refused() || missing("python3") {
        return;
    }
    let named = ["1 test left processes behind", "left 1 process behind: python3"];
    Project::new(&[("src/lib.rs", HEADLESS)]).isotest("--lib").run().check(0, &named);
}

/// Whoever waited for the end of stdout would wait for the daemon.
#[test]
fn a_daemon_that_holds_stdout_holds_nobody() {
    check("processes::keep_stdout_open", "", 0, &["left 1 process behind: "]);
    check("processes::keep_stdout_open", "--init reaper", 0, &["left 1 process behind: "]);
}

#[test]
fn a_memory_hog_ends_at_its_limit() {
    let texts = [
        "memory allocation of 16777216 bytes failed",
        "isotest: killed by SIGABRT",
        "wrote \"memory allocation of\": it may have reached the limit of 536870912 bytes",
        "raise it with `--address-space`",
    ];
    check("memory::is_used_without_end", "--address-space 512M", 100, &texts);
}

#[test]
fn a_full_disk_is_named() {
    let tests = "disk::is_full_in_tmp disk::is_full_in_shared_memory disk::is_full_in_the_sources";
    let texts =
        ["No space left on device", "3 tests reached a limit", "raise it with `--tmp-size`"];
    check(tests, "--tmp-size 8M", 100, &texts);
    check(tests, "--tmp-size 8M --init reaper", 100, &texts);
}

/// Programs that fill a file, by themselves and by commands, and that write more than is kept.
const LARGE: &str = r#"
#[cfg(test)]
use std::{fs, process::Command};

#[test]
fn writes() {
    fs::write("/tmp/large", vec![0; 2 << 20]).unwrap();
}

#[test]
fn has_a_command_write() {
    let status = Command::new("dd").args(["if=/dev/zero", "of=/tmp/large", "bs=2M", "count=1"]).status();
    let status = status.unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn has_a_shell_write() {
    let status = Command::new("sh").args(["-c", "head -c 2M /dev/zero > /tmp/large; echo $?"]).status();
    assert!(!status.unwrap().success());
}

#[test]
fn prints() {
    print!("{}", "line\n".repeat(100_000));
}

#[test]
fn only_says_so() {
    panic!("File too large");
}
"#;

#[test]
fn a_limit_of_a_files_size_or_of_output_is_named() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", LARGE)]);
    let run = |line: &str| project.isotest(&format!("--lib {line}")).run();
    let flag = "reached the limit of 1048576 bytes in a file; raise it with `--file-size`";
    for test in ["writes", "has_a_command_write", "has_a_shell_write"] {
        run(&format!("--file-size 1M {test}")).check(100, &["may have reached a limit", flag]);
    }
    let reached = "writes: reached the limit of the size of a file; raise it with `--file-size`";
    run("--file-size 1M --init reaper writes").check(100, &[reached]);
    let output = "prints: reached the limit of output that is kept; raise it with `--output-limit`";
    run("--output-limit 100K prints").check(0, &["1 test reached a limit", output]);
    let unlimited = run("only_says_so prints");
    assert!(!unlimited.stderr.contains("a limit"), "{}", unlimited.stderr);
}

#[test]
fn a_disk_without_inodes_is_named() {
    let texts = ["No space left on device", "1 test reached a limit", "raise it with `--tmp-size`"];
    check("disk::has_no_inode_left", "--tmp-size 8M", 100, &texts);
}

#[test]
fn a_limit_of_processes_that_was_reached_is_named() {
    if is_unbounded() {
        return;
    }
    let texts = ["1 test reached a limit", "processes and threads; raise it with `--processes`"];
    check("processes::are_threads_without_end", "--processes 400", 100, &texts);
    check("processes::are_threads_without_end", "--processes 400 --init reaper", 100, &texts);
}

/// Its files are closed before a test that has failed ends: only its words are left, and they are
/// not believed where the kernel knows better.
#[test]
fn a_limit_of_open_files_that_may_have_been_reached_is_named() {
    let hint = "wrote \"Too many open files\": it may have reached the limit of 1000 open files; \
                raise it with `--open-files`";
    let texts = ["1 test may have reached a limit", hint];
    check("disk::has_more_open_files_than_it_may", "--open-files 1000", 100, &texts);
    if refused() {
        return;
    }
    let run = run("disk::says_that_too_many_files_are_open", "--open-files 1000", 100, &[]);
    assert!(!run.stderr.contains("a limit"), "it had a few files only");
}

#[test]
fn ten_thousand_files_may_be_open() {
    check("disk::has_10_000_open_files", "", 0, &[]);
}

#[test]
fn a_program_that_is_deleted_is_deleted_for_its_test_alone() {
    let texts = ["No such file or directory"];
    check("disk::loses_the_program_that_runs", "", 100, &texts);
}

/// The most memory that isotest has used, read until it ends.
fn peak(fault: &Fault, options: &str, test: &str, code: i32, texts: &[&str]) {
    peak_of(fault, fault.call(options, test), code, texts);
}

fn peak_of(fault: &Fault, call: Call, code: i32, texts: &[&str]) {
    let mut running = call.start();
    let mut peak = 0;
    until("the end of the run", || {
        peak = status(running.pid().as_raw(), "VmHWM").unwrap_or(peak);
        running.has_ended().then_some(())
    });
    running.end().check(code, texts);
    assert!(peak > 0 && peak < MEMORY, "isotest has used {peak} kB");
    fault.check_nothing_is_left();
}

#[test]
fn a_gibibyte_of_output_takes_no_memory() {
    if refused() {
        return;
    }
    let texts = ["test output::is_a_gibibyte ... ok"];
    peak(&Fault::new("gibibyte"), "--output-limit 1M", "output::is_a_gibibyte", 0, &texts);
}

#[test]
fn output_without_end_times_out_and_takes_no_memory() {
    if refused() {
        return;
    }
    let texts = ["timed out after 1s", "bytes of output cut here"];
    let options = "--timeout 1s --output-limit 1M";
    peak(&Fault::new("endless"), options, "output::never_ends", 100, &texts);
}

/// With one thread the harness itself speaks before and behind the flood.
#[test]
fn a_gibibyte_on_a_slow_terminal_takes_no_memory() {
    if refused() {
        return;
    }
    let fault = Fault::new("slow");
    let test = "output::is_a_gibibyte_on_both_streams";
    let options = "--nocapture --test-threads 1 --timeout 4m";
    let call = fault.call(options, test).on_terminal().read_slowly();
    peak_of(&fault, call, 0, &["test unharmed::forks ... ok", "3 passed; 0 failed"]);
}

#[test]
fn what_a_program_floods_when_it_is_asked_for_its_list_takes_no_memory() {
    if refused() {
        return;
    }
    let fault = Fault::new("flooded list");
    let call = |test: &str| fault.project.isotest(&format!("--test {test}")).env(MARK, &fault.mark);
    peak_of(&fault, call("floods"), 0, &["Summary 1 test", "1 passed"]);
    let texts =
        ["cannot list the tests of `faults::long_list`: ", "wrote more than 16777216 bytes"];
    peak_of(&fault, call("long_list"), 104, &texts);
}

/// As on a terminal that is stopped.
fn start_stalled(fault: &Fault) -> Running {
    let call = fault.call("--nocapture", "output::is_a_gibibyte").stalled_after("xxx");
    let running = call.start();
    until("the test", || fault.case(running.pid()));
    let mut looks = 0;
    until("every process to wait", || {
        let waits = marked(&fault.mark).iter().all(|process| process.state == 'S');
        looks = if waits { looks + 1 } else { 0 };
        (looks == 50).then_some(())
    });
    running
}

#[test]
fn one_signal_ends_a_run_whose_reader_stands_still() {
    if refused() {
        return;
    }
    let signals = [(SIGINT, 130), (SIGTERM, 143), (SIGHUP, 129)];
    let runs = signals.map(|(signal, code)| {
        let fault = Fault::new(signal.as_str());
        let running = start_stalled(&fault);
        running.signal(signal);
        (fault, running, code)
    });
    for (fault, mut running, code) in runs {
        assert_eq!(running.exit_code(), code);
        fault.check_nothing_is_left();
    }
}

/// The test waits, not its output in memory.
#[test]
fn a_reader_that_stands_still_takes_no_memory() {
    if refused() {
        return;
    }
    let fault = Fault::new("stalled");
    let running = start_stalled(&fault);
    let peak = status(running.pid().as_raw(), "VmHWM").expect("it waits for the reader");
    drop(running);
    assert!(peak < MEMORY, "isotest has used {peak} kB");
    fault.check_nothing_is_left();
}

#[test]
fn a_flood_whose_reader_goes_away_ends_the_run() {
    if refused() {
        return;
    }
    let fault = Fault::new("broken pipe");
    let run = fault.call("--nocapture", "output::never_ends").closed_after("xxx").run();
    run.check(110, &[]);
    assert!(!run.stderr.contains("panicked"), "it ends quietly");
    fault.check_nothing_is_left();
}

/// The harness cannot say that it has passed; that its `main` has returned does.
#[test]
fn a_test_that_closes_stdout_and_returns_has_passed() {
    check("output::is_closed", "", 0, &[]);
}

/// PID 1 receives no SIGSTOP from inside its namespace.
#[test]
fn a_test_that_stops_itself_goes_on_or_times_out() {
    check("signals::stop_the_test", "", 0, &[]);
    let texts = ["timed out after 1s"];
    check("signals::stop_the_test", "--init reaper --timeout 1s", 100, &texts);
}

#[test]
fn a_traced_test_that_aborts_is_told_as_aborted() {
    for options in ["", "--init reaper"] {
        let texts = ["isotest: killed by SIGABRT"];
        check("signals::abort_a_traced_test", options, 100, &texts);
        check("signals::abort_a_traced_child", options, 0, &[]);
    }
}

#[test]
fn a_test_that_its_child_traces_and_stops_times_out() {
    for options in ["--timeout 1s", "--init reaper --timeout 1s"] {
        let test = "signals::do_not_reach_a_test_that_its_child_traces";
        check(test, options, 100, &["timed out after 1s"]);
    }
}

/// reboot(2) in a pid namespace kills its PID 1, by SIGHUP where a restart was asked for.
#[test]
fn a_reboot_ends_the_test_alone() {
    check("signals::reboot_the_machine", "", 100, &["Operation not permitted"]);
    // Started by root, the pid namespace is the warden's.
    let end = match nix::unistd::geteuid().is_root() {
        true => "Operation not permitted",
        false => "isotest: killed by SIGHUP",
    };
    check("signals::reboot_the_machine", "--user root", 100, &[end]);
}

/// A test that hangs, and those that come after it.
const HANGS: &str = "signals::do_not_reach_a_test_that_its_child_traces";

#[test]
fn a_warden_that_is_killed_is_replaced() {
    if refused() {
        return;
    }
    let fault = Fault::new("warden");
    let running = fault.call("--test-threads 1", HANGS).start();
    running.wait_for("running 3 tests");
    until("the test", || fault.case(running.pid()));
    let warden = fault.warden(running.pid()).expect("it has started the test");
    kill(Pid::from_raw(warden), SIGKILL).expect("it is alive");
    let texts = ["... NOT RUN", "the warden died", "test unharmed::writes ... ok"];
    running.end().check(96, &texts);
    fault.check_nothing_is_left();
}

/// It has one thread: what keeps it keeps the run.
#[test]
fn a_warden_that_does_not_answer_is_killed_and_replaced() {
    if refused() {
        return;
    }
    let fault = Fault::new("silent-warden");
    // Its time is up while nobody hears of that.
    let running = fault.call("--test-threads 1 --timeout 2s", HANGS).start();
    running.wait_for("running 3 tests");
    until("the test", || fault.case(running.pid()));
    let warden = fault.warden(running.pid()).expect("it has started the test");
    kill(Pid::from_raw(warden), SIGSTOP).expect("it is alive");
    let texts = [
        "... NOT RUN",
        "the warden did not answer and was killed: 1 test",
        "test unharmed::writes ... ok",
    ];
    running.end().check(96, &texts);
    fault.check_nothing_is_left();
}

/// It may have come as far as the test when it is killed; then the test has failed.
fn check_case_killed_in_set_up(options: &str) {
    if refused() {
        return;
    }
    let fault = Fault::new(&format!("set-up{options}"));
    let line = format!("--test many {options} -- number_00");
    let running = fault.project.isotest(&line).env(MARK, &fault.mark).start();
    running.wait_for("test number_00010 ... ok");
    let case = until("a case in the making", || fault.case(running.pid()));
    // It may have ended.
    let killed = kill(Pid::from_raw(case.pid), SIGKILL).is_ok();
    let run = running.end();
    let ends = match run.code {
        96 => ["999 passed", "killed meanwhile"],
        100 => ["999 passed", "killed by SIGKILL"],
        _ => ["1000 passed", ""],
    };
    assert!(killed || run.code == 0);
    run.check(run.code, &ends);
    fault.check_nothing_is_left();
}

#[test]
fn a_case_that_is_killed_while_it_is_set_up_is_not_run() {
    check_case_killed_in_set_up("");
}

#[test]
fn a_case_that_is_killed_before_exec_is_not_run() {
    check_case_killed_in_set_up("--no-fork-server");
}

/// Ordered cases that it had not cloned are lost; the rest is executed.
#[test]
fn a_fork_server_that_is_killed_loses_what_was_ordered() {
    if refused() || executes() {
        return;
    }
    const JOBS: u32 = 4;
    let fault = Fault::new("server");
    let line = format!("--test many --test-threads {JOBS} -- number_00");
    // A run may end while one looks.
    let (running, server) = until("a run with a fork server", || {
        let mut running = fault.project.isotest(&line).env(MARK, &fault.mark).start();
        running.wait_for("test number_00010 ... ok");
        let server = until("a fork server, or the end", || {
            let server = fault.process(running.pid(), false);
            (server.is_some() || running.has_ended()).then_some(server)
        });
        match server {
            Some(server) => Some((running, server)),
            None => {
                running.end().check(0, &["1000 passed"]);
                None
            }
        }
    });
    let killed = kill(Pid::from_raw(server.pid), SIGKILL).is_ok();
    let run = running.end();
    assert!(killed || run.code == 0);
    let passed = run.stdout.matches(" ... ok\n").count();
    assert!(passed >= 1000 - JOBS as usize, "{passed} passed");
    match run.code {
        0 => run.check(0, &["1000 passed"]),
        _ => run.check(96, &["cannot clone a process into new namespaces: killed meanwhile"]),
    }
    fault.check_nothing_is_left();
}

/// SIGHUP comes from the kernel, and every write fails from then on.
#[test]
fn a_terminal_that_is_closed_ends_the_run() {
    if refused() {
        return;
    }
    for options in ["--test-threads 1", "--nocapture --test-threads 1"] {
        let fault = Fault::new("closed terminal");
        let call = fault.call(options, HANGS).on_terminal().closed_after("running 3 tests");
        call.run().check(129, &[]);
        fault.check_nothing_is_left();
    }
}

#[test]
fn a_hangup_ends_the_run() {
    if refused() {
        return;
    }
    let fault = Fault::new("terminal");
    let running = fault.call("--test-threads 1", HANGS).start();
    running.wait_for("running 3 tests");
    until("the test", || fault.case(running.pid()));
    running.signal(SIGHUP);
    running.end().check(129, &["interrupted by SIGHUP; 3 tests did not run to the end"]);
    fault.check_nothing_is_left();
}

/// Resources of a run at one moment.
#[derive(Debug)]
struct Holding {
    descriptors: [usize; 2],
    mounts: usize,
    /// In kB.
    memory: [u64; 2],
}

impl Holding {
    /// Of isotest and its warden, while cases run.
    fn of(fault: &Fault, isotest: Pid, jobs: usize) -> Option<Holding> {
        let warden = fault.warden(isotest)?;
        let descriptors = |pid| fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count);
        let mounts = fs::read_to_string(format!("/proc/{warden}/mountinfo")).ok()?;
        let processes = marked(&fault.mark).len();
        // isotest, its warden, a fork server.
        assert!(processes <= 3 + jobs, "{processes} processes at once");
        Some(Holding {
            descriptors: [descriptors(isotest.as_raw())?, descriptors(warden)?],
            mounts: mounts.lines().count(),
            memory: [status(isotest.as_raw(), "VmRSS")?, status(warden, "VmRSS")?],
        })
    }
}

#[test]
fn ten_thousand_cases_leave_nothing_in_the_runner() {
    if refused() {
        return;
    }
    const JOBS: usize = 4;
    let fault = Fault::new("many");
    let line = format!("--test many --test-threads {JOBS}");
    let running = fault.project.isotest(&line).env(MARK, &fault.mark).start();
    let holding_at = |text: &str| {
        running.wait_for(text);
        until("isotest and its warden", || Holding::of(&fault, running.pid(), JOBS))
    };
    let early = holding_at("test number_01000 ... ok");
    let late = holding_at("test number_09900 ... ok");
    running.end().check(0, &["10000 passed; 0 failed"]);
    fault.check_nothing_is_left();
    println!("{early:?}\n{late:?}");
    assert_eq!(late.mounts, early.mounts, "mounts of the warden");
    for who in [0, 1] {
        // Each case in flight has two pipes and its end on the way, or two descriptors and a pidfd.
        let grown = late.descriptors[who].abs_diff(early.descriptors[who]);
        assert!(grown <= 4 * JOBS, "descriptors: {early:?}, then {late:?}");
        // isotest itself remembers how each case ended.
        assert!(late.memory[who] < early.memory[who] + 2048, "memory: {early:?}, then {late:?}");
    }
}

/// The clock of a test is not that of the day: neither does a step of it end a test that has time,
/// nor does it keep one that has none.
#[test]
fn a_clock_that_is_stepped_changes_no_time_out() {
    if refused() {
        return;
    }
    let fault = Fault::new("clock");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let (library, asked) = (directory.path().join("clock.so"), directory.path().join("asked"));
    let source = workspace().join("fixtures/faults/clock.rs");
    let rustc = Call::new("rustc", directory.path()).words("--edition 2024 --crate-type cdylib -o");
    rustc.arg(&library).arg(source).run().check(0, &[]);
    let call = |options: &str, test: &str| {
        let call = fault.call(options, test).env("LD_PRELOAD", &library);
        call.env("CLOCKS_ASKED", &asked)
    };
    let options = "--timeout 50s --processes 6000";
    call(options, "processes::are_5000_threads").run().check(0, &[]);
    call("--timeout 1s", HANGS).run().check(100, &["timed out after 1s"]);
    let asked = fs::read_to_string(asked).expect("the library is loaded");
    assert!(asked.lines().any(|clock| clock == "1"), "CLOCK_MONOTONIC has gone by: {asked}");
}
