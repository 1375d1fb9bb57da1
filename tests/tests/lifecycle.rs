//! However a run ends, nothing of it is left: no process, no mount, no directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isotest_tests::processes::{MARK, Process, marked};
use isotest_tests::{Call, Project, Running, refused, until};
use nix::sys::signal::Signal::{self, SIGCONT, SIGINT, SIGKILL, SIGTERM, SIGTSTP};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Tests that pass, and one that hangs with a child and another that it has left to PID 1.
const HANGS: (&str, &str) = (
    "tests/it.rs",
    r#"
use std::process::Command;

#[test]
fn a_passes() {}

#[test]
fn c_passes_later() {
    std::thread::sleep(std::time::Duration::from_millis(500));
}

#[test]
fn b_hangs() {
    Command::new("sh").args(["-c", "setsid sleep 1001 & sleep 1000"]).status().unwrap();
}
"#,
);

/// A test that takes a while, at whatever time it is stopped meanwhile.
const TAKES_A_SECOND: (&str, &str) = (
    "tests/it.rs",
    r#"
#[test]
fn takes_a_second() {
    std::thread::sleep(std::time::Duration::from_secs(1));
}
"#,
);

/// A build that hangs.
const HANGING_BUILD: (&str, &str) = (
    "build.rs",
    r#"
fn main() {
    std::process::Command::new("sleep").arg("1000").status().unwrap();
}
"#,
);

/// A run of a project of its own, and what was there before it.
struct Case {
    project: Project,
    mark: String,
    before: Traces,
}

/// Possible traces of a run: files of the project, with its temporary directory, and mounts.
struct Traces(BTreeSet<String>);

impl Case {
    /// Builds the project.
    fn new(file: (&str, &str)) -> Case {
        let project = Project::new(&[("src/lib.rs", ""), file, ("tmp/.keep", "")]);
        let built = project.cargo_test("--no-run --test it").run();
        built.check(0, &[]);
        let before = Traces::read(project.directory());
        Case { mark: project.directory().display().to_string(), project, before }
    }

    /// isotest on it, with a temporary directory that nobody else writes to.
    fn call(&self, options: &str) -> Call {
        let call = self.project.isotest(&format!("--test it {options}"));
        call.env(MARK, &self.mark).env("TMPDIR", self.project.directory().join("tmp"))
    }

    /// Starts isotest and waits until the test that hangs has its children.
    fn start_hanging(&self, options: &str) -> Running {
        let running = self.call(options).start();
        until("the children of the test that hangs", || {
            (self.processes_named("sleep") == 2).then_some(())
        });
        running
    }

    fn processes_named(&self, name: &str) -> usize {
        marked(&self.mark).iter().filter(|process| process.name == name).count()
    }

    /// Fails unless all that the run has made goes.
    fn check_nothing_is_left(&self) {
        until("the end of every process of the run", || {
            marked(&self.mark).is_empty().then_some(())
        });
        let after = Traces::read(self.project.directory());
        // What is meant to stay.
        let is_record = |path: &str| path.contains("/target/isotest/runs");
        let is_kept = |path: &str| is_record(path) || path.ends_with("isotest/lists.json");
        let is_left = |path: &&String| !is_kept(path);
        let left: Vec<_> = after.0.symmetric_difference(&self.before.0).filter(is_left).collect();
        assert!(left.is_empty(), "left or gone: {left:#?}");
    }
}

impl Traces {
    fn read(directory: &Path) -> Traces {
        let mut found = BTreeSet::new();
        find(directory, &mut found);
        // Other tests and other programs write and mount meanwhile; only what names this project
        // is this run's. Its temporary directory lies in the project.
        let name = directory.display().to_string();
        let is_ours = |text: &String| text.contains(&name);
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        found.extend(mounts.lines().map(str::to_owned).filter(is_ours));
        Traces(found)
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn find(directory: &Path, found: &mut BTreeSet<String>) {
    for path in entries(directory) {
        if path.is_dir() && !path.is_symlink() {
            find(&path, found);
        }
        // Where `--scratch disk` puts its directories; it stays, empty, as cargo's own do.
        if !path.ends_with("target/isotest") && !path.ends_with("target/isotest/scratch") {
            found.insert(path.display().to_string());
        }
    }
}

/// Ends a run in the middle by a signal.
fn check_end_by(signal: Signal, code: i32, options: &str, texts: &[&str]) {
    if refused() {
        return;
    }
    let case = Case::new(HANGS);
    let running = case.start_hanging(options);
    if !texts.is_empty() {
        running.wait_for("test c_passes_later ... ok");
    }
    running.signal(signal);
    running.end().check(code, texts);
    case.check_nothing_is_left();
}

#[test]
fn nothing_is_left_after_sigkill() {
    check_end_by(SIGKILL, 137, "", &[]);
}

#[test]
fn nothing_is_left_after_sigkill_under_an_init() {
    check_end_by(SIGKILL, 137, "--init reaper", &[]);
}

#[test]
fn nothing_is_left_after_sigkill_with_scratch_on_disk() {
    if refused() {
        return;
    }
    let case = Case::new(HANGS);
    let running = case.start_hanging("--scratch disk");
    running.signal(SIGKILL);
    running.end().check(137, &[]);
    until("the end of every process of the run", || marked(&case.mark).is_empty().then_some(()));
    // Nobody is left to remove the scratch: the next run does.
    case.project.isotest("--test it --scratch disk passes --test-threads 1").run().check(0, &[]);
    case.check_nothing_is_left();
}

#[test]
fn sigterm_ends_the_run_with_143() {
    let texts = ["test a_passes ... ok", "interrupted by SIGTERM; 1 test did not run to the end"];
    check_end_by(SIGTERM, 143, "", &texts);
}

#[test]
fn sigint_ends_the_run_with_130_and_what_finished_is_reported() {
    let texts = [
        "test a_passes ... ok",
        // What was running, and for how long.
        " ended before\n\n---- demo::it::b_hangs, ",
        "interrupted by SIGINT; 1 test did not run to the end",
    ];
    check_end_by(SIGINT, 130, "", &texts);
}

#[test]
fn a_hung_test_is_killed_with_its_children() {
    if refused() {
        return;
    }
    let case = Case::new(HANGS);
    let texts = ["test a_passes ... ok", "test b_hangs ... FAILED", "timed out after 1s"];
    case.call("--timeout 1s").run().check(100, &texts);
    case.check_nothing_is_left();
}

#[test]
fn a_second_sigint_ends_the_run_at_once() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", ""), HANGING_BUILD]);
    let mark = project.directory().display().to_string();
    let mut running = project.isotest("").env(MARK, &mark).start();
    let sleeps = || marked(&mark).into_iter().find(|process| process.name == "sleep");
    let build = until("the build script", sleeps);
    // Two at once would arrive as one (signal(7)).
    until("isotest to end", || {
        running.signal(SIGINT);
        running.has_ended().then_some(())
    });
    // Only isotest was told, not cargo, as a terminal would.
    kill(Pid::from_raw(build.pid), SIGKILL).expect("nobody has ended it");
    running.end().check(130, &[]);
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    if refused() {
        return;
    }
    let case = Case::new(HANGS);
    // The next line cannot be written; nobody waits for the test that hangs.
    let call = case.call("--timeout 1000s --test-threads 3").closed_after("test a_passes ... ok");
    let run = call.run();
    run.check(110, &[]);
    assert!(!run.stderr.contains("panicked"), "it ends quietly");
    case.check_nothing_is_left();
}

#[test]
fn a_run_that_is_stopped_goes_on_and_no_time_has_passed_for_it() {
    if refused() {
        return;
    }
    let case = Case::new(TAKES_A_SECOND);
    let running = case.call("--timeout 3s --slow-timeout 3s").start();
    let is_test = |name: &str| name.starts_with("it-") || name == "takes_a_second";
    until("the test", || {
        marked(&case.mark).iter().any(|process| is_test(&process.name)).then_some(())
    });
    running.signal(SIGTSTP);
    let all_stopped = || {
        let processes = marked(&case.mark);
        let stopped = |process: &Process| process.state == 'T' || process.name == "isotest-warden";
        (processes.len() >= 2 && processes.iter().all(stopped)).then_some(())
    };
    until("all to be stopped", all_stopped);
    let stopped = Instant::now();
    until("the time limit to pass", || (stopped.elapsed() > Duration::from_secs(4)).then_some(()));
    all_stopped().expect("nothing goes on by itself");
    running.signal(SIGCONT);
    let run = running.end();
    run.check(0, &["test takes_a_second ... ok"]);
    assert!(!run.stderr.contains("Slow"), "it was not slow");
    let seconds = |text: &str, before: &str| -> f64 {
        let (_, rest) = text.split_once(before).expect("it tells the time");
        rest.split_once('s').and_then(|(time, _)| time.parse().ok()).expect("it is in seconds")
    };
    assert!(seconds(&run.stderr, "Summary 1 test in ") < 4.0);
    assert!(seconds(&run.stdout, "; finished in ") < 4.0);
    case.check_nothing_is_left();
}
