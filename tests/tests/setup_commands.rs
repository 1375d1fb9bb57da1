//! Setup commands: once, before every test, and what they hand to tests.

use std::fs;

use isotest_tests::{Project, Run, missing, refused};

const TESTS: (&str, &str) = (
    "tests/it.rs",
    r#"
fn variable(name: &str) -> Option<String> { std::env::var(name).ok() }
#[test]
fn bound_to_both() {
    assert_eq!(variable("FIRST").as_deref(), Some("1 = one"));
    assert_eq!(variable("SECOND").as_deref(), Some(""));
}
#[test]
fn bound_to_one() {
    assert_eq!(variable("FIRST").as_deref(), Some("1 = one"));
    assert_eq!(variable("SECOND"), None);
}
#[test]
fn bound_to_none() { assert_eq!((variable("FIRST"), variable("SECOND")), (None, None)); }
#[test]
#[ignore]
fn bound_and_ignored() {}
"#,
);

/// Each command adds a line to a file of the project.
const CONFIG: &str = r#"
[setup.z]
command = ["sh", "-c", "echo z $PWD >>ran; echo 'FIRST=1 = one' >>$ISOTEST_ENV_FILE"]
[setup.a]
command = ["sh", "-c", "echo a >>ran; echo SECOND= >>$NEXTEST_ENV; sleep 2 & echo left"]
timeout = "none"
[setup.ignored]
command = "false"
[[profile.default.override]]
filter = "test(=bound_to_both)"
setup = ["a"]
[[profile.default.override]]
filter = "test(/^bound_to_(both|one)$/)"
setup = ["z"]
[[profile.default.override]]
filter = "test(=bound_and_ignored)"
setup = ["ignored"]
"#;

fn project(config: &str) -> Project {
    Project::new(&[("src/lib.rs", ""), TESTS, (".config/isotest.toml", config)])
}

fn ran(project: &Project) -> String {
    fs::read_to_string(project.directory().join("ran")).unwrap_or_default()
}

#[test]
fn they_run_once_in_the_order_of_definition_where_a_test_needs_them() {
    if refused() {
        return;
    }
    let project = project(CONFIG);
    let run = project.isotest("--test it").run();
    run.check(0, &["3 passed; 0 failed; 1 ignored", "  Setting up z\n  Setting up a\n"]);
    assert!(!run.stderr.contains("left"), "what it wrote is kept");
    let root = project.directory().canonicalize().expect("it is there");
    assert_eq!(ran(&project), format!("z {}\na\n", root.display()));
    let run = project.isotest("--test it -- bound_to_none").run();
    run.check(0, &["1 passed"]);
    assert!(!run.stderr.contains("Setting up"));
    // Nothing is run for who only looks.
    project.isotest("list").run().check(0, &["bound_to_both"]);
    project.isotest("--no-run").run().check(0, &[]);
    assert_eq!(ran(&project).lines().count(), 2);
    let shell = project.isotest("shell bound_to_one --").arg("sh").arg("-c").arg("echo $FIRST");
    shell.run().check(0, &["Setting up z", "1 = one\n"]);
}

/// Cargo calls each binary, whether or not the test is in it.
#[test]
fn as_cargo_s_runner_one_test_has_what_they_write_where_it_is() {
    if refused() {
        return;
    }
    let project = project(CONFIG);
    let one = |name: &str| {
        let call = project.cargo_test("-- --nocapture --exact").words(name).runner("");
        call.run()
    };
    one("bound_to_one").check(0, &["  Setting up z\n", "test bound_to_one ... ok"]);
    assert_eq!(ran(&project).lines().count(), 1);
    let run = one("bound_and_ignored");
    run.check(0, &["test bound_and_ignored ... ignored"]);
    assert!(!run.stderr.contains("Setting up"));
    let config = "[setup.data]\ncommand = \"false\"\n[profile.default]\nsetup = [\"data\"]\n";
    fs::write(project.directory().join(".config/isotest.toml"), config).expect("writable");
    let texts = ["error: cannot set up: the setup command `data` exited with 1\n"];
    let run = one("bound_to_none");
    run.check(105, &texts);
    assert!(!run.stdout.contains("test bound_to_none"), "it was run");
}

#[test]
fn under_nextest_they_are_not_run_and_the_test_is_told() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let project = project(CONFIG);
    let call = project.cargo("nextest run --no-fail-fast").runner("");
    call.run().check(
        100,
        &[
            "3 tests run: 1 passed, 2 failed, 1 skipped",
            "warning: the setup command `z` does not run: nextest would start it for each \
             test\n    hint: a setup script of nextest, `[scripts.setup.z]`, runs once\n",
        ],
    );
    assert_eq!(ran(&project), "");
}

/// Runs with one setup command of this definition, which fails.
#[track_caller]
fn check(definition: &str, texts: &[&str]) -> Run {
    let config = format!("[setup.data]\n{definition}\n[profile.default]\nsetup = [\"data\"]\n");
    let run = project(&config).isotest("--test it").run();
    run.check(105, texts);
    assert!(!run.stdout.contains("running"), "a test was run");
    run
}

#[test]
fn one_that_fails_ends_the_run_before_any_test() {
    if refused() {
        return;
    }
    check(
        r#"command = ["sh", "-c", "echo one; echo two >&2; exit 3"]"#,
        &["error: cannot set up: the setup command `data` exited with 3\n\
           ---- output of `data` ----\none\ntwo\n\
           hint: no test was run; it is `[setup.data]` in the configuration\n"],
    );
    check(
        r#"command = ["sh", "-c", "kill -KILL $$"]"#,
        &["the setup command `data` was killed by SIGKILL"],
    );
    let texts = ["the setup command `data` cannot be executed: `", "/no/such`: No such file"];
    check(r#"command = "no/such""#, &texts);
}

#[test]
fn one_that_takes_too_long_is_killed_with_its_children() {
    if refused() {
        return;
    }
    let definition = r#"command = ["sh", "-c", "echo started; sleep 600 & wait"]
timeout = "300ms""#;
    check(
        definition,
        &["the setup command `data` did not end within 300ms, and was killed\n\
           ---- output of `data` ----\nstarted\nhint: `timeout` in `[setup.data]`"],
    );
}

#[test]
fn a_line_that_is_no_variable_is_named() {
    if refused() {
        return;
    }
    check(
        r#"command = ["sh", "-c", "printf 'A=1\nexport B\n' >$ISOTEST_ENV_FILE"]"#,
        &["wrote to the file that ISOTEST_ENV_FILE names, line 2: `export B`\n\
           hint: every line is `NAME=VALUE`"],
    );
}

#[test]
fn a_file_of_variables_that_is_none_ends_the_run() {
    if refused() {
        return;
    }
    let made = |command: &str, text: &str| {
        let definition = format!("command = [\"sh\", \"-c\", \"{command}\"]");
        check(
            &definition,
            &["the setup command `data` has left a file of variables that cannot", text],
        );
    };
    let file = "$ISOTEST_ENV_FILE";
    made(&format!("rm {file}; mkfifo {file}"), "be read: it is not a regular file\nhint: ISO");
    made(&format!("ln -sf /dev/zero {file}"), "is a symbolic link, which is not followed");
    made(&format!("truncate -s 1G {file}"), "be read: it has more than 67108864 bytes");
    made(&format!("rm {file}"), "be read: No such file or directory");
}
