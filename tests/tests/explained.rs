//! `--explain-failures`: failed tests run once more under what they name, and the lines of
//! configuration with which they pass.

use std::fs;

use isotest_tests::{Project, Run, refused};
use serde_json::Value;

const TESTS: &str = r#"
use std::fs;

fn read(path: &str) {
    if let Err(error) = fs::read_to_string(path) {
        panic!("cannot read {path}: {error}");
    }
}

#[test]
fn reads_above() {
    read("../above.txt");
}
#[test]
fn reads_above_too() {
    read("../above.txt");
}
#[test]
fn names_a_directory() {
    read("../above/file.txt");
}
#[test]
fn wants_a_variable() {
    std::env::var("DEMO_DATABASE").expect("DEMO_DATABASE must be set");
}
#[test]
fn wants_the_host_name() {
    assert_ne!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), "isotest");
}
#[test]
fn always_fails() {
    panic!("whatever is given: ../above.txt");
}
"#;

fn project() -> Project {
    let project = Project::new(&[("src/lib.rs", TESTS)]);
    let above = project.directory().parent().expect("a parent");
    fs::write(above.join("above.txt"), "above").expect("it is writable");
    fs::create_dir(above.join("above")).expect("it is writable");
    fs::write(above.join("above/file.txt"), "above").expect("it is writable");
    project
}

fn run(project: &Project, options: &str) -> Run {
    project.isotest(&format!("--lib {options}")).env("DEMO_DATABASE", "db").run()
}

#[test]
fn failed_tests_are_given_what_they_name() {
    if refused() {
        return;
    }
    let project = project();
    let above = project.directory().parent().expect("a parent").join("above.txt");
    let above = above.to_str().expect("text");
    let run = run(&project, "");
    let files = format!("with `--ro {above}` (it names a file that tests do not see)\n");
    run.check(100, &["help: 2 failed tests pass ", &files]);
    let lines = format!(
        "  in .config/isotest.toml:\n    [[profile.default.override]]\n    \
         filter = \"binary_id(=demo) & (test(=reads_above) | test(=reads_above_too))\"\n    \
         ro = [\"{above}\"]\n    reason = \"it names a file that tests do not see\"\n"
    );
    assert!(run.stderr.contains(&lines), "{}", run.stderr);
    // Neither the host's layers nor a variable, which may be a secret, are given unasked.
    for unasked in ["with `--uts host`", "with `--pass-env DEMO_DATABASE`"] {
        assert!(!run.stderr.contains(unasked), "{}", run.stderr);
    }
}

#[test]
fn the_lines_of_configuration_make_the_tests_pass() {
    if refused() {
        return;
    }
    let project = project();
    let told = run(&project, "--explain-failures always --message-format json");
    told.check(100, &["1 failed test passes with `--pass-env DEMO_DATABASE`"]);
    let last = told.stdout.lines().last().expect("a line");
    let last: Value = serde_json::from_str(last).expect("JSON");
    let hints = last["hints"].as_array().expect("a list");
    let text: String =
        hints.iter().map(|hint| hint["configuration"].as_str().expect("text")).collect();
    let path = project.directory().join(".config/isotest.toml");
    fs::create_dir(path.parent().expect("a parent")).expect("it is writable");
    fs::write(path, text).expect("it is writable");
    let run = run(&project, "");
    let verdicts =
        ["test reads_above ... ok", "test reads_above_too ... ok", "test wants_a_variable ... ok"];
    run.check(100, &[verdicts[0], verdicts[1], verdicts[2], "test wants_the_host_name ... ok"]);
    run.check(100, &["test always_fails ... FAILED", "test result: FAILED. 5 passed; 1 failed"]);
}

#[test]
fn nothing_is_run_once_more_where_that_is_not_wanted() {
    if refused() {
        return;
    }
    let project = project();
    let run = run(&project, "--explain-failures never");
    assert!(!run.stderr.contains(" with `--"), "{}", run.stderr);
    let wrong = project.isotest("--lib --explain-failures sometimes").run();
    wrong.check(2, &["invalid value 'sometimes'", "auto, never, always"]);
}
