//! Cargo's own configuration of tests: variables, and the program that starts them.

use std::env::consts::ARCH;
use std::fs;

use isotest_tests::program::isotest;
use isotest_tests::{Call, Project, refused};

/// `cargo isotest` with the words of a line.
fn isolated(project: &Project, line: &str) -> Call {
    project.isotest(line)
}

#[test]
fn variables_of_files_that_are_included_are_set_as_cargo_sets_them() {
    if refused() {
        return;
    }
    let config = "include = [\n\
                      \"first.toml\",\n\
                      { path = \"below/second.toml\" },\n\
                      { path = \"absent.toml\", optional = true },\n\
                  ]\n\
                  [env]\nOWN = \"own\"\n";
    let variables = |name: &str| {
        format!(
            "[env]\nOWN = \"{name}\"\nBOTH = \"{name}\"\n{name} = \"{name}\"\n\
             PATH_{name} = {{ value = \"file\", relative = true }}\n"
        )
    };
    // Prints them in one order, here as under cargo test.
    let tests = "#[test]\nfn shows() {\n\
                     for name in [\"OWN\", \"BOTH\", \"first\", \"second\", \"third\", \
                                  \"PATH_first\", \"PATH_second\"] {\n\
                         println!(\"{name} is {:?}\", std::env::var_os(name));\n\
                     }\n\
                 }\n";
    let second = format!("include = [\"../third.toml\"]\n{}", variables("second"));
    let project = Project::new(&[
        ("src/lib.rs", tests),
        (".cargo/config.toml", config),
        (".cargo/first.toml", &variables("first")),
        (".cargo/below/second.toml", &second),
        (".cargo/third.toml", &variables("third")),
    ]);
    let lines = |call: Call| {
        let run = call.run();
        run.check(0, &["OWN is Some(\"own\")", "BOTH is Some(\"second\")", "third is Some(\""]);
        let lines = run.stdout.lines().filter(|line| line.contains(" is "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = lines(project.cargo_test("--lib -- --nocapture"));
    assert_eq!(expected.len(), 7);
    assert_eq!(lines(isolated(&project, "--lib -- --nocapture")), expected);
}

/// Tests that a runner starts with a variable, and that fail where none does.
const STARTED: &str = "/// ```\n/// assert_eq!(std::env::var(\"STARTED\").as_deref(), Ok(\"yes\"));\n\
                       /// ```\npub fn documented() {}\n\
                       #[test]\nfn is_started_by_it() {\n\
                           assert_eq!(std::env::var(\"STARTED\").as_deref(), Ok(\"yes\"));\n\
                           assert_eq!(std::process::id(), 1);\n\
                       }\n\
                       #[test]\nfn too() { is_started_by_it() }\n\
                       #[test]\nfn and_this_one() { is_started_by_it() }\n\
                       #[test]\n#[ignore]\nfn fails() { panic!(\"it does\") }\n";

#[test]
fn a_runner_that_is_configured_starts_tests_in_their_sandboxes() {
    if refused() {
        return;
    }
    let triple = format!("{ARCH}-unknown-linux-gnu");
    let script = "#!/bin/sh\nSTARTED=yes exec \"$@\"\n";
    for (target, runner) in [
        ("'cfg(target_os = \"linux\")'", "['env', 'STARTED=yes']"),
        (triple.as_str(), "'env STARTED=yes'"),
        (triple.as_str(), "'scripts/runner'"),
    ] {
        let config = format!("[target.{target}]\nrunner = {runner}\n");
        let files = [
            ("src/lib.rs", STARTED),
            (".cargo/config.toml", config.as_str()),
            ("scripts/runner", script),
        ];
        let project = Project::new(&files);
        make_executable(&project, "scripts/runner");
        let run = isolated(&project, "").run();
        run.check(0, &["3 passed; 0 failed; 1 ignored", "1 passed; 0 failed"]);
        let run = isolated(&project, "--lib -- --include-ignored").run();
        run.check(100, &["test fails ... FAILED", "3 passed; 1 failed"]);
    }
}

#[test]
fn a_variable_names_the_runner_too_and_one_that_is_not_there_is_told_of() {
    if refused() {
        return;
    }
    let config = "[target.'cfg(unix)']\nrunner = 'file-and-no-program'\n";
    let project = Project::new(&[("src/lib.rs", STARTED), (".cargo/config.toml", config)]);
    let variable = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", ARCH.to_uppercase());
    let run = isolated(&project, "--lib").env(&variable, "env STARTED=yes").run();
    run.check(0, &["3 passed; 0 failed"]);
    // A program of its own, beside nothing else that a test would see.
    let home = project.directory().join("home");
    fs::create_dir_all(&home).expect("it is writable");
    let own = format!("{}/own", home.display());
    fs::write(&own, "#!/bin/sh\nSTARTED=yes exec \"$@\"\n").expect("it is writable");
    make_executable(&project, "home/own");
    let run = isolated(&project, "--lib").env(&variable, &own).run();
    run.check(0, &["3 passed; 0 failed"]);
    isolated(&project, "--lib").run().check(
        101,
        &[
            "error: cannot find the program `file-and-no-program`, cargo's runner for `",
            "=env` tests run without",
        ],
    );
    // With isotest as the runner there is no other.
    let run = isolated(&project, "--lib").runner("").run();
    run.check(100, &["0 passed; 3 failed"]);
}

fn make_executable(project: &Project, path: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = project.directory().join(path);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// A test that calls cargo, for a package of its own.
const CALLS_CARGO: &str = "\
#[test]
fn calls_cargo() {
    let mut cargo = std::process::Command::new(env!(\"CARGO\"));
    cargo.args([\"test\", \"--offline\"]).current_dir(\"inner\").env_remove(\"CARGO_TARGET_DIR\");
    let output = cargo.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), \"{}{text}\", String::from_utf8_lossy(&output.stderr));
    // Its tests share a process of the sandbox, as without isotest.
    assert!(text.contains(\"2 passed\") && !text.contains(\"PID 1\"), \"{text}\");
    std::fs::write(std::env::current_exe().unwrap().with_file_name(\"left\"), \"\").unwrap();
}
";

const INNER: &str = "/// ```\n/// assert_ne!(std::process::id(), 1);\n/// ```\npub fn documented() {}\n\
                     #[test]\nfn one() { assert_ne!(std::process::id(), 1) }\n\
                     #[test]\nfn two() { one() }\n";

#[test]
fn a_test_that_calls_cargo_finds_it_without_the_runner_of_the_file() {
    if refused() {
        return;
    }
    let manifest =
        "[workspace]\n[package]\nname = \"inner\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let config = format!(
        "[target.'cfg(target_os = \"linux\")']\nrunner = [{:?}, \"runner\"]\n",
        isotest().display().to_string()
    );
    let project = Project::new(&[
        ("src/lib.rs", CALLS_CARGO),
        (".cargo/config.toml", config.as_str()),
        ("inner/Cargo.toml", manifest),
        ("inner/src/lib.rs", INNER),
    ]);
    // What starts the outer test is isotest, in one way and in the other.
    let show = format!("--ro {}", isotest().display());
    project.cargo_test("--lib").env("ISOTEST_RO", isotest()).run().check(0, &["1 passed"]);
    isolated(&project, &format!("--lib {show}")).run().check(0, &["1 passed"]);
    assert!(!project.directory().join("target/debug/deps/left").exists());
}

#[test]
fn no_variable_makes_the_runner_step_aside_outside_of_a_sandbox() {
    if refused() {
        return;
    }
    let tests = "#[test]\nfn is_alone() { assert_eq!(std::process::id(), 1) }\n";
    let project = Project::new(&[("src/lib.rs", tests)]);
    // All that a test of isotest's has in its environment, and the file system it has not.
    let inside = project.isotest("exec -- env").run();
    inside.check(0, &[]);
    let mut call = project.cargo_test("--lib").runner("");
    for line in inside.stdout.lines() {
        if let Some((name, value)) = line.split_once('=') {
            call = call.env(name, value);
        }
    }
    call.run().check(0, &["test is_alone ... ok"]);
}
