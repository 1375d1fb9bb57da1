//! Looking into cases: while they run, before they are killed for their time, under a debugger.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use isotest_tests::processes::{MARK, marked, status};
use isotest_tests::{Call, Project, Run, Running, missing, refused, until};
use nix::sys::signal::Signal::{self, SIGCONT, SIGINT, SIGSTOP, SIGTERM, SIGTSTP, SIGUSR1};
use nix::sys::signal::kill;
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;

/// A test that waits for a child, in a function that a stack can be known by, and one that aborts.
const FILE: (&str, &str) = (
    "tests/it.rs",
    r#"
use std::process::Command;

#[test]
fn hangs() {
    println!("about to hang");
    in_here();
}

#[inline(never)]
fn in_here() {
    Command::new("sleep").arg("1000").status().unwrap();
}

#[test]
fn aborts() {
    std::process::abort();
}

#[test]
fn tells_its_pid() {
    println!("this is process {}", std::process::id());
}

#[test]
#[ignore]
fn is_ignored() {}
"#,
);

fn project() -> Project {
    Project::new(&[("src/lib.rs", ""), FILE])
}

/// isotest on the test that hangs.
fn hanging(project: &Project, options: &str) -> Call {
    let call = project.isotest(&format!("--test it --exact hangs {options}"));
    call.env(MARK, project.directory().display().to_string())
}

/// Waits until the test waits for its child.
fn wait_for_child(project: &Project) {
    let mark = project.directory().display().to_string();
    let is_child = |name: &str| name == "sleep";
    until("the child of the test", || {
        marked(&mark).iter().any(|process| is_child(&process.name)).then_some(())
    });
}

/// The line about this thread, in what was told of a run.
fn line<'a>(run: &'a Run, thread: &str) -> &'a str {
    let wanted = format!(" `{thread}`: ");
    let line = run.stdout.lines().find(|line| line.contains(&wanted));
    line.unwrap_or_else(|| panic!("there is no line of thread `{thread}`"))
}

#[test]
fn sigusr1_tells_what_runs() {
    if refused() {
        return;
    }
    let project = project();
    let running = hanging(&project, "").merged().start();
    wait_for_child(&project);
    let mark = project.directory().display().to_string();
    let child = marked(&mark).into_iter().find(|process| process.name == "sleep");
    let child = child.expect("it was waited for").pid;
    // The child is there a moment before both wait.
    until("both to wait", || {
        running.signal(SIGUSR1);
        let of_child = format!("process {child}, thread {child} `sleep`: S (sleeping) in ");
        let waits = [" `hangs`: S (sleeping) in wait4", &format!("{of_child}clock_nanosleep")];
        waits.iter().all(|text| running.has_printed(text)).then_some(())
    });
    running.wait_for("last output:\n    about to hang\n");
    running.signal(SIGINT);
    let run = running.end();
    run.check(130, &["     Running 1 test; 0 ended before\n\n---- demo::it::hangs, "]);
    assert!(!run.stdout.contains("    running 1 test\n"), "the harness's words are left out");
}

/// A build that goes on when there is a file `go`.
const WAITING_BUILD: (&str, &str) = (
    "build.rs",
    r#"
fn main() {
    std::fs::write("started", "").unwrap();
    while !std::path::Path::new("go").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
"#,
);

#[test]
fn sigusr1_before_anything_runs_ends_nothing() {
    if refused() {
        return;
    }
    let passing = ("src/lib.rs", "#[test]\nfn passes() {}\n");
    let project = Project::new(&[passing, WAITING_BUILD]);
    let running = project.isotest("").start();
    let started = project.directory().join("started");
    until("the build to have started", || started.exists().then_some(()));
    running.signal(SIGUSR1);
    fs::write(project.directory().join("go"), "").expect("it is writable");
    running.end().check(0, &["test passes ... ok"]);
}

#[test]
fn copies_of_a_stress_run_are_told_of() {
    if refused() {
        return;
    }
    let project = project();
    let running = hanging(&project, "--stress-count 2 --test-threads 2").merged().start();
    let mark = project.directory().display().to_string();
    let children = || marked(&mark).iter().filter(|process| process.name == "sleep").count();
    until("the children of both", || (children() == 2).then_some(()));
    running.signal(SIGUSR1);
    running.wait_for("     Running 2 tests; 0 ended before\n");
    running.signal(SIGINT);
    running.end().check(130, &[]);
}

/// isotest with the test that hangs on a terminal that it has taken over.
fn on_terminal(project: &Project) -> Running {
    taken_over(project, hanging(project, ""))
}

/// The same with a program in the test's place, which has a terminal of its own.
fn program_on_terminal(project: &Project) -> Running {
    let call = project.isotest("shell --test it hangs -- sleep 1000");
    taken_over(project, call.env(MARK, project.directory().display().to_string()))
}

fn taken_over(project: &Project, call: Call) -> Running {
    let running = call.typed_at().start();
    wait_for_child(project);
    until("keys to be read", || is_taken(&running).then_some(()));
    running
}

fn is_taken(running: &Running) -> bool {
    !running.modes().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
}

/// Ends it by a signal.
fn end_restored(running: Running, signal: Signal) {
    running.signal(signal);
    check_restored(running, &[signal]);
}

/// Waits for its end by one of these signals; the terminal has its modes back.
fn check_restored(mut running: Running, signals: &[Signal]) {
    let code = running.exit_code();
    assert!(signals.iter().any(|signal| code == 128 + *signal as i32), "it exited with {code}");
    assert!(running.modes().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO));
    running.end();
}

#[test]
fn a_key_tells_what_runs_and_the_terminal_is_restored() {
    if refused() {
        return;
    }
    for (key, signal) in [(b"t", SIGINT), (b"\r", SIGTERM)] {
        let project = project();
        let running = on_terminal(&project);
        running.press(key);
        running.wait_for("---- demo::it::hangs, ");
        running.wait_for("about to hang");
        end_restored(running, signal);
    }
}

#[test]
fn a_second_signal_restores_the_terminal_too() {
    if refused() {
        return;
    }
    for start in [on_terminal, program_on_terminal] {
        let project = project();
        let running = start(&project);
        // It would end at the first one, but for a warden that says nothing.
        let warden = marked(&project.directory().display().to_string());
        let warden = warden.into_iter().find(|process| process.name == "isotest-warden");
        kill(Pid::from_raw(warden.expect("there is one").pid), SIGSTOP).expect("it is there");
        running.signal(SIGTERM);
        let status = format!("/proc/{}/status", running.pid());
        until("the first signal to be heard", || {
            let status = fs::read_to_string(&status).expect("it is there");
            status.contains("\nShdPnd:\t0000000000000000\n").then_some(())
        });
        running.signal(SIGINT);
        // The handler of the second may be called before that of the first.
        check_restored(running, &[SIGINT, SIGTERM]);
    }
}

#[test]
fn isotest_gives_the_terminal_back_while_it_is_stopped() {
    if refused() {
        return;
    }
    for start in [on_terminal, program_on_terminal] {
        let project = project();
        let running = start(&project);
        running.signal(SIGTSTP);
        let stat = format!("/proc/{}/stat", running.pid());
        until("isotest to be stopped", || {
            let stat = fs::read_to_string(&stat).expect("it is there");
            stat.rsplit_once(") ").expect("a name").1.starts_with('T').then_some(())
        });
        assert!(!is_taken(&running));
        running.signal(SIGCONT);
        until("the terminal to be taken over again", || is_taken(&running).then_some(()));
        end_restored(running, SIGINT);
    }
}

#[test]
fn no_keys_are_read_where_that_is_asked_for() {
    if refused() {
        return;
    }
    let project = project();
    let running = hanging(&project, "--no-input-handler").typed_at().start();
    wait_for_child(&project);
    assert!(!is_taken(&running));
    running.signal(SIGUSR1);
    running.wait_for("---- demo::it::hangs, ");
    end_restored(running, SIGINT);
}

/// The test that hangs, timed out.
fn timed_out(options: &str) -> Run {
    let words = format!("--test it --timeout 3s --exact hangs {options}");
    let run = project().isotest(&words).debuggable().run();
    run.check(
        100,
        &["isotest: timed out after 3s; every process of the test was killed", "hint: `--timeout`"],
    );
    run
}

#[test]
fn the_stacks_of_a_test_are_read_by_gdb_before_it_is_killed() {
    if refused() || missing("gdb") {
        return;
    }
    let run = timed_out("");
    run.check(100, &["was killed. Its threads at that time:\nThread ", " \"hangs\"):\n#0  "]);
    run.check(100, &["it::in_here () at tests/it.rs:12\n", "it::hangs () at tests/it.rs:7\n"]);
    // Its child too, and nothing of what called the test.
    run.check(100, &["\"sleep\"):\n#0  "]);
    assert!(!run.stdout.contains("__rust_begin_short_backtrace"));
}

#[test]
fn the_stacks_of_a_test_are_read_by_eu_stack() {
    if refused() || missing("eu-stack") {
        return;
    }
    let run = timed_out("--timeout-stacks eu-stack");
    run.check(100, &["was killed. Its threads at that time:\nTID ", " it::in_here", " it::hangs"]);
}

#[test]
fn without_a_debugger_its_system_calls_are_told() {
    if refused() {
        return;
    }
    // Under the strict guard none is chosen: its parser could be attacked.
    let strict = timed_out("--guard strict");
    assert!(!strict.stdout.contains("\n#0 "), "{}", strict.stdout);
    let run = timed_out("--timeout-stacks proc");
    assert!(line(&run, "hangs").contains(" in wait4"));
    assert!(line(&run, "sleep").contains(" in clock_nanosleep"));
}

#[test]
fn a_debugger_that_is_not_there_is_an_error_before_anything_is_built() {
    if refused() {
        return;
    }
    let project = project();
    for (program, stacks) in [("gdb", "gdb"), ("eu-stack", "eu-stack")] {
        let nowhere = project.directory().join("nowhere");
        let call = project.isotest("--test it --timeout-stacks").words(stacks).env("PATH", nowhere);
        let run = call.run();
        let message = format!(
            "error: cannot use `--timeout-stacks {program}`: there is no `{program}` on PATH\n\
             hint: install it; `--timeout-stacks proc` needs no debugger, and `auto` uses an \
             installed one\n"
        );
        run.check(2, &[&message]);
        assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
    }
}

/// The test that hangs, timed out where `gdb` is this script, which tells no frame.
fn timed_out_with_gdb(project: &Project, script: &str) -> Run {
    let run = timed_out_with_script(project, script);
    assert!(line(&run, "hangs").contains(" in wait4"));
    run
}

/// The test that hangs, timed out where `gdb` is this script.
fn timed_out_with_script(project: &Project, script: &str) -> Run {
    let directory = project.directory().join("bin");
    fs::create_dir(&directory).expect("it is writable");
    let gdb = directory.join("gdb");
    fs::write(&gdb, format!("#!/bin/sh\n{script}\n")).expect("it is writable");
    fs::set_permissions(&gdb, Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:{}", directory.display(), env::var("PATH").expect("it is set"));
    let run = project.isotest("--test it --timeout 3s --exact hangs").env("PATH", path).run();
    run.check(100, &["isotest: timed out after 3s"]);
    run
}

#[test]
fn a_debugger_that_tells_nothing_is_made_up_for() {
    if refused() {
        return;
    }
    timed_out_with_gdb(&project(), "echo ptrace: Operation not permitted; exit 1");
}

/// Has a script in Python for who debugs it (`.debug_gdb_scripts` of gdb's manual).
const SCRIPTED: &str = r#"
std::arch::global_asm!(
    ".pushsection .debug_gdb_scripts, \"MS\", %progbits, 1",
    ".byte 4",
    ".ascii \"script\\nprint('#0 of a script')\\n\"",
    ".byte 0",
    ".popsection",
);

#[test]
fn hangs() {
    loop {
        std::thread::park();
    }
}
"#;

#[test]
fn a_debugger_runs_no_script_of_a_test() {
    if refused() || missing("gdb") {
        return;
    }
    let project = Project::new(&[("src/lib.rs", SCRIPTED)]);
    let run = project.isotest("--lib --timeout 3s --timeout-stacks gdb").debuggable().run();
    run.check(
        100,
        &["was killed. Its threads at that time:\nThread ", " demo::hangs () at src/lib.rs:"],
    );
    assert!(!run.stdout.contains("of a script"));
    // Who has it loaded runs it.
    let (_, program) = run.stderr.split_once("src/lib.rs (").expect("it is named");
    let (program, _) = program.split_once(')').expect("a path");
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-iex", "set auto-load safe-path /"]);
    let gdb = gdb.arg(project.directory().join(program)).output().expect("it was found");
    assert!(String::from_utf8_lossy(&gdb.stdout).contains("#0 of a script"), "{gdb:?}");
}

/// It reads what a test has written for it.
#[test]
fn a_debugger_has_its_share_of_memory() {
    if refused() {
        return;
    }
    let run = timed_out_with_script(&project(), "echo \"#0 has $(ulimit -d) KiB\"");
    run.check(100, &["#0 has 4194304 KiB\n"]);
}

/// Its root has read-only libraries and nothing else of the host; of an environment it has nothing.
#[test]
fn a_debugger_sees_neither_the_host_nor_what_its_caller_has() {
    if refused() {
        return;
    }
    let host = tempfile::NamedTempFile::new().expect("it is writable");
    let script = format!(
        "echo \"#0 has $(env | cut -d= -f1 | sort | xargs)\"\n\
         for file in {} /proc/1 /proc/sys /etc/hosts; do [ -e $file ] && echo \"#0 sees $file\"; done\n\
         for file in \"$0\" /usr/bin/x /x; do echo >\"$file\" && echo \"#0 wrote $file\"; done\n\
         sed -n 's/^Cap.*:./#0 may /p; s/^NoNewPrivs:./#0 new /p' /proc/self/status",
        host.path().display()
    );
    let run = timed_out_with_script(&project(), &script);
    // To trace, and to read.
    let may = "#0 may 0000000000080004\n".repeat(5);
    run.check(100, &["#0 has LC_ALL PATH PWD\n", &may, "#0 new 1\n"]);
    for word in ["#0 sees", "#0 wrote"] {
        assert!(!run.stdout.contains(word), "{}", run.stdout);
    }
}

#[test]
fn a_debugger_that_hangs_is_ended() {
    if refused() {
        return;
    }
    let run = timed_out_with_gdb(&project(), "exec sleep 1000");
    run.check(100, &["Its threads at that time:\nthe debugger took longer than 10s\nprocess "]);
}

/// Some distributions have a script of that name.
#[test]
fn a_debugger_that_a_script_has_started_is_ended_too() {
    if refused() || missing("gdb") {
        return;
    }
    let run = timed_out_with_script(
        &project(),
        "for word; do case $word in 'attach '*) pid=${pid:-${word#attach }};; esac; done\n\
         PATH=${PATH#*:} gdb -nx -batch -ex \"attach $pid\" -ex 'shell sleep 600' </dev/null \
         >/dev/null 2>&1 &\n\
         echo \"#0 $!\"\n\
         until grep -q 'TracerPid:.[1-9]' /proc/$pid/status; do :; done",
    );
    let id = run.stdout.lines().find_map(|line| line.strip_prefix("#0 ")).expect("it was told");
    let id = id.parse().expect("a number");
    until("the debugger to end", || status(id, "VmRSS").is_none().then_some(()));
}

#[test]
fn under_an_init_the_stacks_are_read_before_sigterm() {
    if refused() {
        return;
    }
    let run = timed_out("--timeout-stacks proc --init reaper");
    assert!(line(&run, "hangs").contains(" in wait4"));
}

#[test]
fn nobody_looks_where_that_is_asked_for() {
    if refused() {
        return;
    }
    let run = timed_out("--timeout-stacks none");
    assert!(!run.stdout.contains("Its threads"));
}

#[test]
fn a_debugger_runs_a_test_in_its_sandbox() {
    if refused() || missing("gdb") {
        return;
    }
    let project = project();
    let gdb = |test: &str, acts: &str| {
        let call = project.isotest(&format!("--test it --exact {test}"));
        call.arg("--debugger").arg(format!("gdb -batch {acts} --args")).debuggable().run()
    };
    gdb("aborts", "-ex run -ex bt")
        .check(0, &["received signal SIGABRT", "it::aborts () at tests/it.rs:17\n"]);
    // It is PID 1, and has started a shell that became the test.
    let run = gdb("tells_its_pid", "-ex run");
    run.check(0, &["this is process "]);
    assert!(!run.stdout.contains("this is process 1\n"));
}

#[test]
fn a_debugger_has_the_terminal() {
    if refused() || missing("gdb") {
        return;
    }
    let project = project();
    let call = project.isotest("--test it --exact tells_its_pid");
    let running = call.arg("--debugger").arg("gdb --args").typed_at().start();
    running.wait_for("(gdb) ");
    running.press(b"print 6 * 7\n");
    running.wait_for("$1 = 42");
    running.press(b"run\n");
    running.wait_for("this is process ");
    running.press(b"quit\n");
    running.end().check(0, &[]);
}

/// A signal from the keyboard is the debugger's, and no service's.
#[test]
fn under_a_debugger_a_test_has_its_services_and_its_set_up() {
    if refused() || missing("gdb") {
        return;
    }
    let config = "[setup.data]\ncommand = [\"sh\", \"-c\", \"echo DATA=made >>$ISOTEST_ENV_FILE\"]\n\
                  [service.waits]\ncommand = [\"tail\", \"-f\", \"up\"]\n\
                  ready = { output = \"up\" }\n\
                  [profile.default]\nsetup = [\"data\"]\nservices = [\"waits\"]\n";
    let files = [("src/lib.rs", ""), FILE, (".config/isotest.toml", config), ("up", "up\n")];
    let project = Project::new(&files);
    let call = project.isotest("--test it --exact tells_its_pid");
    let running = call.arg("--debugger").arg("gdb --args").typed_at().start();
    running.wait_for("Setting up data");
    running.wait_for("(gdb) ");
    running.press(b"\x03");
    running.press(b"shell echo $DATA; cat /proc/[0-9]*/comm\n");
    running.wait_for("made\r\n");
    running.wait_for("tail\r\n");
    running.press(b"quit\n");
    running.end().check(0, &[]);
    let call = project.isotest("--test it --exact tells_its_pid");
    let tracer = "sh -c 'echo $DATA; cat /proc/[0-9]*/comm; exec \"$@\"' tracer";
    let run = call.arg("--tracer").arg(tracer).run();
    run.check(0, &["made\n", "tail\n", "test tells_its_pid ... ok"]);
}

#[test]
fn a_tracer_writes_to_the_callers_streams() {
    if refused() || missing("strace") {
        return;
    }
    let project = project();
    let strace = |test: &str| {
        let call = project.isotest(&format!("--test it --exact {test}"));
        call.arg("--tracer").arg("strace -f").run()
    };
    let run = strace("tells_its_pid");
    run.check(0, &["this is process ", "test tells_its_pid ... ok"]);
    assert!(run.stderr.contains("exited with 0 +++"), "strace writes to stderr");
    assert!(!run.stdout.contains("+++"));
    strace("aborts").check(134, &["+++ killed by SIGABRT +++"]);
}

#[test]
fn a_debugger_runs_one_test_and_no_more() {
    if refused() {
        return;
    }
    let project = project();
    let debug = |words: &str| project.isotest(words).arg("--debugger").arg("true").run();
    debug("--test it").check(
        2,
        &["error: `--debugger` runs one test, but 3 are selected\n    demo::it aborts\n"],
    );
    // No setup command is run for it.
    let config = "[setup.data]\ncommand = \"false\"\n[profile.default]\nsetup = [\"data\"]\n";
    fs::create_dir(project.directory().join(".config")).expect("it is writable");
    fs::write(project.directory().join(".config/isotest.toml"), config).expect("it is writable");
    debug("--test it").check(2, &["error: `--debugger` runs one test, but 3 are selected\n"]);
    debug("--exact hangs").check(105, &["the setup command `data` exited with 1"]);
    fs::remove_dir_all(project.directory().join(".config")).expect("it is ours");
    debug("nowhere").check(4, &["cannot find a test to run under `--debugger`"]);
    debug("is_ignored").check(4, &["cannot find a test to run under `--debugger`"]);
    let call = project.isotest("--exact hangs").arg("--tracer").arg("nonexistent-tracer");
    call.run().check(127, &["cannot find the command `nonexistent-tracer` on PATH"]);
    let call = project.isotest("--exact hangs").arg("--tracer").arg("strace '");
    call.run().check(2, &["for '--tracer <COMMAND>': missing closing quote"]);
}
