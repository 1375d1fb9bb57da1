//! What one run leaves in the target directory for the next: it makes that faster, and changes
//! nothing else.

use std::fs;

use isotest_tests::{Project, refused};

const MANIFEST: &str =
    "[package]\nname = 'memory'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n";
const ONE: &str = "#[test]\nfn is_long() { std::thread::sleep(std::time::Duration::from_millis(60)) }\n\
     #[test]\nfn is_short() {}\n";

#[test]
fn a_binary_that_was_built_anew_is_asked_anew() {
    if refused() {
        return;
    }
    let project = Project::new(&[("Cargo.toml", MANIFEST), ("src/lib.rs", ONE)]);
    project.isotest("--lib").run().check(0, &["2 passed; 0 failed"]);
    let source = project.directory().join("src/lib.rs");
    fs::write(&source, format!("{ONE}#[test]\nfn is_new() {{}}\n")).expect("it is writable");
    project.isotest("--lib").run().check(0, &["test is_new ... ok", "3 passed; 0 failed"]);
}

#[test]
fn long_tests_are_remembered() {
    if refused() {
        return;
    }
    let project = Project::new(&[("Cargo.toml", MANIFEST), ("src/lib.rs", ONE)]);
    project.isotest("--lib").run().check(0, &["2 passed; 0 failed"]);
    let file = project.directory().join("target/isotest/durations.json");
    let text = fs::read_to_string(&file).expect("the run has left it");
    assert!(text.contains("is_long"), "{text}");
}

#[test]
fn what_is_left_may_be_anything() {
    if refused() {
        return;
    }
    let project = Project::new(&[("Cargo.toml", MANIFEST), ("src/lib.rs", ONE)]);
    project.isotest("--lib").run().check(0, &["2 passed; 0 failed"]);
    for file in ["lists.json", "durations.json"] {
        let file = project.directory().join("target/isotest").join(file);
        fs::write(&file, "[1, {").expect("the run has left it");
    }
    project.isotest("--lib").run().check(0, &["2 passed; 0 failed"]);
}
