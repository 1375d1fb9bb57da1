//! Standard streams of the caller: a program gets streams, and nothing that leads out of its
//! sandbox.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use isotest_tests::{Project, refused};

/// Each tells what its standard input is.
const TESTS: (&str, &str) = (
    "src/lib.rs",
    r#"
/// ```
/// assert!(streams::has_none());
/// ```
pub fn has_none() -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |path| std::fs::metadata(path).unwrap().rdev();
    of("/proc/self/fd/0") == of("/dev/null")
}
#[test]
fn reads() { assert!(has_none()); }
#[test]
fn another() { assert!(has_none()); }
#[test]
fn third() { assert!(has_none()); }
"#,
);
const MANIFEST: (&str, &str) = (
    "Cargo.toml",
    "[package]\nname = 'streams'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n",
);

const REFUSED: &str = "error: cannot hand standard input to a program in a sandbox: it is ";

fn path() -> File {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/srv").expect("it is there")
}

fn directory() -> File {
    File::open("/srv").expect("it is there")
}

#[test]
fn a_directory_as_standard_input_is_refused_by_all_that_would_hand_it_over() {
    if refused() {
        return;
    }
    let project = Project::new(&[MANIFEST, TESTS]);
    for line in [
        "exec -- true",
        "exec --guard strict -- true",
        "shell reads -- true",
        "run --lib --debugger env reads",
    ] {
        let told = [REFUSED, "a directory, from which all", "hint: give it `< /dev/null`"];
        project.isotest(line).reading(directory()).run().check(2, &told);
        project.isotest(line).reading(path()).run().check(2, &[REFUSED, "a path (O_PATH)"]);
    }
    let one = || project.cargo_test("--lib -- --exact reads --nocapture").runner("");
    one().reading(directory()).run().check(2, &[REFUSED, "a directory"]);
    let documented = project.cargo_test("--doc").runner("");
    documented.reading(directory()).run().check(101, &[REFUSED, "a directory"]);
    project
        .isotest("exec -- cat")
        .reading(File::open("/dev/null").expect("it is there"))
        .run()
        .check(0, &[]);
}

#[test]
fn tests_have_no_input_whatever_the_caller_has() {
    if refused() {
        return;
    }
    let project = Project::new(&[MANIFEST, TESTS]);
    for line in ["", "--no-fork-server", "--doc", "--lib --unit binary", "--lib -- --nocapture"] {
        project.isotest(line).reading(directory()).run().check(0, &[]);
    }
    project.cargo_test("--lib").runner("").reading(directory()).run().check(0, &[]);
    project.isotest("run --lib --tracer env reads").reading(directory()).run().check(0, &[]);
}
