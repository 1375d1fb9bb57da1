//! The course of a run: retries, order, shards, stress, and what is written of it.

use std::fs;

use isotest_tests::{Project, Run, refused};
use serde_json::Value;

/// Fails until it has run as often as the number behind its name says, counted by files in the
/// project, which the tests share: `--workspace shared`.
const FLAKY: &str = r#"
#[cfg(test)]
fn run_of(name: &str) -> usize {
    let directory = std::path::Path::new("runs").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let run = std::fs::read_dir(&directory).unwrap().count() + 1;
    std::fs::write(directory.join(run.to_string()), "").unwrap();
    println!("this is run {run} of {name}");
    run
}

#[test]
fn passes_at_3() {
    assert!(run_of("passes_at_3") >= 3);
}

#[test]
fn passes() {
    run_of("passes");
}

#[test]
fn fails() {
    panic!("run {}", run_of("fails"));
}
"#;

/// A project whose tests are flaky, run with `--workspace shared`.
fn flaky(line: &str) -> (Project, Run) {
    let project = Project::new(&[("src/lib.rs", FLAKY)]);
    let run = project.isotest(&format!("--lib --workspace=shared {line}")).run();
    (project, run)
}

/// How often a test has run.
fn runs(project: &Project, name: &str) -> usize {
    fs::read_dir(project.directory().join("runs").join(name)).map_or(0, Iterator::count)
}

#[test]
fn a_test_that_fails_is_started_again_until_it_passes() {
    if refused() {
        return;
    }
    let (project, run) = flaky("--retries 4 passes");
    run.check(
        0,
        &[
            "test passes ... ok\n",
            "test passes_at_3 ... ok, FLAKY 3/5\n",
            "flaky:\n\n---- passes_at_3 stdout ----\nisotest: attempt 1 of 5 failed\n",
            "this is run 1 of passes_at_3\n",
            "isotest: attempt 2 of 5 failed\n",
            "this is run 2 of passes_at_3\n",
            "isotest: attempt 3 of 5 passed\n",
            "test result: ok. 2 passed; 0 failed;",
            "       Retry demo::passes_at_3 has failed; attempt 2 of 5\n",
            "2 passed (1 flaky)\n",
            "warning: 1 test failed and then passed\n    FLAKY 3/5 demo::passes_at_3\n",
        ],
    );
    assert_eq!((runs(&project, "passes"), runs(&project, "passes_at_3")), (1, 3));
}

#[test]
fn a_test_that_never_passes_shows_every_attempt() {
    if refused() {
        return;
    }
    let (project, run) = flaky("--retries 2 fails");
    run.check(
        100,
        &[
            "test fails ... FAILED\n",
            "isotest: attempt 1 of 3 failed\nthis is run 1 of fails\n",
            "isotest: attempt 2 of 3 failed\nthis is run 2 of fails\n",
            "isotest: attempt 3 of 3 failed\nthis is run 3 of fails\n",
            "0 passed, 1 failed\n",
        ],
    );
    assert_eq!(runs(&project, "fails"), 3);
}

#[test]
fn without_retries_a_test_runs_once() {
    if refused() {
        return;
    }
    let (project, run) = flaky("fails passes_at_3");
    run.check(100, &["0 passed, 2 failed\n"]);
    assert!(!run.stdout.contains("attempt"));
    assert_eq!((runs(&project, "fails"), runs(&project, "passes_at_3")), (1, 1));
}

#[test]
fn a_flaky_test_is_a_failed_one_where_that_is_asked_for() {
    if refused() {
        return;
    }
    let (_project, run) = flaky("--retries 2 --flaky-result fail passes");
    run.check(
        100,
        &[
            "test passes_at_3 ... FAILED, FLAKY 3/3\n",
            "isotest: attempt 3 of 3 passed\nthis is run 3 of passes_at_3\n",
            "isotest: passed at a retry only, which counts as a failure (`--flaky-result fail`)\n",
            "1 passed, 1 failed (1 flaky)\n",
            "help: to run again what failed\n    cargo isotest --lib -- --exact passes_at_3\n",
        ],
    );
}

#[test]
fn the_json_result_of_a_retried_test_has_its_failed_attempts() {
    if refused() {
        return;
    }
    let (_project, run) =
        flaky("--retries 2 passes_at_3 -- --format json -Z unstable-options --report-time");
    run.check(0, &[]);
    let events = run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let events: Vec<Value> = events.collect();
    let started = events.iter().filter(|event| event["event"] == "started");
    assert_eq!(started.filter(|event| event["type"] == "test").count(), 1);
    let result = events.iter().find(|event| event["event"] == "ok").expect("a result");
    assert_eq!((&result["attempt"], &result["attempts"]), (&3.into(), &3.into()));
    let failed = result["failed_attempts"].as_array().expect("a list");
    assert_eq!(failed.len(), 2);
    for (attempt, number) in failed.iter().zip(1..) {
        assert_eq!(attempt["attempt"], number);
        assert!(attempt["exec_time"].is_f64());
        let stdout = attempt["stdout"].as_str().expect("text");
        assert!(stdout.contains(&format!("this is run {number} of passes_at_3\n")), "{stdout}");
    }
}

#[test]
fn after_enough_failures_nothing_is_started_again() {
    if refused() {
        return;
    }
    // One at a time, by name: `fails` has used up its attempts before `passes_at_3` starts.
    let (project, run) = flaky("--retries 2 --fail-fast --test-threads 1");
    run.check(100, &["0 passed, 1 failed, 2 cancelled\n"]);
    assert_eq!((runs(&project, "fails"), runs(&project, "passes_at_3")), (3, 0));
}
