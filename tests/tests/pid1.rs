//! Effects of being process 1 on a test, and of an init in its place: `docs/pid1.md` row by row.

use std::time::{Duration, Instant};

use isotest_tests::{Project, Run, refused};

const AS_PID_1: &str = "";
const UNDER_AN_INIT: &str = "--init reaper";
const REMEDY: &str = "is the test, not an init: it passes with `--init reaper`";

/// Runs one test of the fixture by its name.
fn run(test: &str, options: &str) -> Run {
    Project::fixture("faults").isotest(&format!("--test pid1 {options} -- --exact {test}")).run()
}

fn check(test: &str, options: &str, code: i32, texts: &[&str]) {
    if !refused() {
        run(test, options).check(code, texts);
    }
}

fn check_discarded(signal: &str) {
    let test = format!("sends_itself_{}", signal.to_lowercase());
    let finding = format!("sent itself {signal}, which PID 1 of a pid namespace never receives");
    let texts = ["1 test sent a signal that the kernel discarded", &finding];
    check(&test, AS_PID_1, 0, &texts);
}

fn check_received(signal: &str) {
    let test = format!("sends_itself_{}", signal.to_lowercase());
    check(&test, UNDER_AN_INIT, 100, &[&format!("isotest: killed by {signal}")]);
}

const SIGNALS: [&str; 5] = ["SIGTERM", "SIGKILL", "SIGINT", "SIGHUP", "SIGQUIT"];

#[test]
fn a_signal_with_its_default_action_is_discarded_and_told_of() {
    SIGNALS.into_iter().for_each(check_discarded);
}

#[test]
fn under_an_init_a_signal_with_its_default_action_ends_the_test() {
    SIGNALS.into_iter().for_each(check_received);
}

#[test]
fn no_child_can_kill_process_1() {
    check("is_sent_sigkill_by_its_child", AS_PID_1, 0, &[]);
}

#[test]
fn under_an_init_a_child_can_kill_the_test() {
    check("is_sent_sigkill_by_its_child", UNDER_AN_INIT, 100, &["isotest: killed by SIGKILL"]);
}

#[test]
fn a_signal_that_is_caught_arrives() {
    for options in [AS_PID_1, UNDER_AN_INIT] {
        if refused() {
            return;
        }
        let run = run("catches_sigterm", options);
        run.check(0, &["test catches_sigterm ... ok"]);
        assert!(!run.stderr.contains("discarded"), "it was not discarded");
    }
}

#[test]
fn every_way_to_abort_is_told_as_sigabrt() {
    for options in [AS_PID_1, UNDER_AN_INIT] {
        for test in ["aborts", "panics_while_panicking", "overflows_its_stack"] {
            check(test, options, 100, &["isotest: killed by SIGABRT"]);
        }
    }
}

/// A SIGTERM would not reach process 1 unless it has a handler: none is sent to any.
#[test]
fn process_1_is_killed_when_its_time_is_up() {
    if refused() {
        return;
    }
    let run = run("ends_when_it_is_asked_to", "--timeout 1s");
    run.check(100, &["timed out after 1s"]);
    assert!(!run.stdout.contains("asked to end"), "it was not asked");
}

#[test]
fn under_an_init_a_test_is_asked_to_end_when_its_time_is_up() {
    let texts = ["asked to end", "timed out after 1s"];
    check("ends_when_it_is_asked_to", "--init reaper --timeout 1s", 100, &texts);
}

#[test]
fn under_an_init_a_test_that_does_not_end_is_killed() {
    if refused() {
        return;
    }
    let started = Instant::now();
    let run = run("ends_when_it_is_killed", "--init reaper --timeout 1s");
    run.check(100, &["timed out after 1s"]);
    assert!(started.elapsed() >= Duration::from_secs(3), "it had two seconds to end");
}

/// No process waits for orphans, so their ids stay; a rerun finds the remedy.
#[test]
fn an_orphan_stays_a_zombie_and_the_remedy_is_told() {
    let texts = ["timed out after 1s", REMEDY, "pid1::waits_until_an_orphan_is_gone"];
    check("waits_until_an_orphan_is_gone", "--timeout 1s", 100, &texts);
}

#[test]
fn under_an_init_an_orphan_is_gone() {
    check("waits_until_an_orphan_is_gone", UNDER_AN_INIT, 0, &[]);
}

#[test]
fn the_parent_of_process_1_is_out_of_sight() {
    check("has_a_parent_out_of_sight", AS_PID_1, 0, &[]);
    check("has_an_init_as_its_parent", AS_PID_1, 100, &["1 test fails because PID 1", REMEDY]);
}

#[test]
fn under_an_init_the_parent_is_process_1() {
    check("has_an_init_as_its_parent", UNDER_AN_INIT, 0, &[]);
    check("has_a_parent_out_of_sight", UNDER_AN_INIT, 100, &[]);
}

/// Main thread and test thread: 1 and 2, or 2 and 3.
#[test]
fn the_thread_in_a_panic_is_the_same_in_every_run() {
    for _ in 0..2 {
        check("panics", AS_PID_1, 100, &["thread 'panics' (2) panicked"]);
        check("panics", UNDER_AN_INIT, 100, &["thread 'panics' (3) panicked"]);
    }
}

#[test]
fn no_remedy_is_told_where_there_is_none() {
    for (test, options) in [("panics", AS_PID_1), ("has_a_parent_out_of_sight", UNDER_AN_INIT)] {
        if refused() {
            return;
        }
        let run = run(test, options);
        run.check(100, &["0 passed, 1 failed"]);
        assert!(!run.stderr.contains("passes with"), "nothing mends it");
    }
}

/// Fails where it begins with `1` in the file, once something else is in it.
const CHANGES: &str = r#"
#[test]
fn changes() {
    let read = || std::fs::read_to_string("/etc/../PATH/state").unwrap();
    let first = read();
    println!("began with {first}");
    while read() == "1" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_ne!(first, "1");
}
"#;

#[test]
fn what_passes_unchanged_is_flaky_and_no_flag_mends_it() {
    if refused() {
        return;
    }
    let state = tempfile::TempDir::new_in(isotest_tests::program::staging_directory())
        .expect("it is writable");
    let path = state.path().to_str().expect("it is text");
    let text = CHANGES.replace("/etc/../PATH", path);
    let project = Project::new(&[("src/lib.rs", &text)]);
    let file = state.path().join("state");
    std::fs::write(&file, "1").expect("it is writable");
    let running = project.isotest("--lib --nocapture --ro").arg(path).start();
    running.wait_for("began with 1");
    std::fs::write(&file, "2").expect("it is writable");
    let run = running.end();
    let flaky = "warning: 1 failed test passed when run once more, unchanged: it is flaky\n    demo::changes\n";
    run.check(100, &["test changes ... FAILED", flaky]);
    assert!(!run.stderr.contains("passes with"), "no flag mends it");
}
