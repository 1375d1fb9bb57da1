//! Files that one run leaves in the target directory for the next: they make it faster, and change
//! nothing else.

use std::fs;
use std::os::unix::fs::symlink;

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
    let file = project.directory().join("target/isotest/runs/index.json");
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
    for file in ["lists.json", "runs/index.json"] {
        let file = project.directory().join("target/isotest").join(file);
        fs::write(&file, "[1, {").expect("the run has left it");
    }
    project.isotest("--lib").run().check(0, &["2 passed; 0 failed"]);
}

/// A test in a shared workspace could have put it there, or an archive.
#[test]
fn a_link_to_files_of_the_users_is_not_followed() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", ONE), ("other/deep/file", "the user's")]);
    let path = |path: &str| project.directory().join(path);
    let is_untouched = || {
        let file = fs::read_to_string(path("other/deep/file")).expect("it is there");
        assert_eq!(file, "the user's");
        assert_eq!(fs::read_dir(path("other")).expect("it is there").count(), 1);
    };
    fs::create_dir_all(path("target")).expect("it is writable");
    symlink(path("other"), path("target/isotest")).expect("it is writable");
    project.isotest("--lib").run().check(0, &["2 passed; 0 failed"]);
    is_untouched();
    let linked = |link: &str| {
        let link = path(link).display().to_string();
        let error = "cannot make a directory for `--scratch disk` in the target directory: ";
        let error = format!("{error}`{link}` is a symbolic link, which is not followed");
        project.isotest("--lib --scratch disk").run().check(96, &[&error]);
        is_untouched();
    };
    linked("target/isotest");
    fs::remove_file(path("target/isotest")).expect("it is ours");
    fs::create_dir(path("target/isotest")).expect("it is writable");
    symlink(path("other"), path("target/isotest/scratch")).expect("it is writable");
    linked("target/isotest/scratch");
    // Nor is anything swept that no run has made.
    fs::remove_file(path("target/isotest/scratch")).expect("it is ours");
    fs::rename(path("other"), path("target/isotest/scratch")).expect("it is ours");
    project.isotest("--lib --scratch disk").run().check(0, &["2 passed; 0 failed"]);
    assert!(path("target/isotest/scratch/deep/file").exists());
}
