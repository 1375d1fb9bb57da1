//! The command under "to rerun the failed tests", pasted into a shell: it runs exactly those tests, in
//! that build, under those layers.

use std::collections::BTreeSet;
use std::env;
use std::fs;

use isotest_tests::program::isotest;
use isotest_tests::{Call, Project, Run, refused};

/// The commands that a run names.
fn commands(run: &Run) -> Vec<String> {
    let (_, block) = run.stderr.split_once("to rerun the failed tests\n").expect("it names some");
    block.lines().map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

/// Runs a command as a shell does into which it is pasted.
fn paste(project: &Project, command: &str) -> Run {
    let mut paths = vec![isotest().parent().expect("it lies in a directory").to_owned()];
    paths.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let paths = env::join_paths(paths).expect("no path has a colon");
    Call::new("sh", project.directory()).arg("-c").arg(command).env("PATH", paths).run()
}

/// The tests of a run with their results and what they say of themselves; those that are run alone.
fn told(run: &Run) -> BTreeSet<String> {
    let tests = run.stdout.lines().filter(|line| {
        (line.starts_with("test ") && line.contains(" ... ") && !line.contains("ignored"))
            || line.starts_with("layer: ")
    });
    tests.map(str::to_owned).collect()
}

/// The binaries in which something fails, by their executables.
fn failing_binaries(run: &Run) -> BTreeSet<String> {
    let mut binaries = BTreeSet::new();
    let mut last = "";
    for line in run.stderr.lines() {
        if line.trim_start().starts_with("Running ") {
            last = line;
        } else if line.starts_with("error: test failed") {
            binaries.insert(last.trim().to_owned());
        }
    }
    binaries
}

/// Runs `line`, and then what is named: together the same tests fail for the same reasons in the same
/// binaries, and no other test runs.
#[track_caller]
fn check(project: &Project, line: &str, extra: &[&str]) -> Vec<String> {
    let mut call = project.isotest(line);
    if let [before @ .., behind] = extra {
        call = before.iter().fold(call, |call, word| call.arg(word)).words(behind);
    }
    let run = call.run();
    run.check(100, &[]);
    let failed: BTreeSet<String> =
        told(&run).into_iter().filter(|line| !line.ends_with("... ok")).collect();
    let commands = commands(&run);
    let again: Vec<Run> = commands.iter().map(|command| paste(project, command)).collect();
    again.iter().for_each(|run| run.check(100, &[]));
    let all = |of: fn(&Run) -> BTreeSet<String>| again.iter().flat_map(of).collect();
    let (told_again, binaries): (BTreeSet<String>, BTreeSet<String>) =
        (all(told), all(failing_binaries));
    assert_eq!(told_again, failed, "{commands:#?}");
    assert_eq!(binaries, failing_binaries(&run), "{commands:#?}");
    commands
}

const TESTS: &str = r#"
#[cfg(test)]
fn fail() {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let set = std::env::var("A_SETTING").is_ok();
    let thread = std::thread::current().name() == Some("main");
    panic!("\nlayer: {} {set} {thread} {}\n", name.trim(), cfg!(debug_assertions));
}
#[test]
fn fails() {
    fail();
}
#[test]
#[ignore]
fn fails_and_is_ignored() {
    fail();
}
#[test]
#[ignore]
fn is_ignored() {}
#[test]
fn passes() {}
#[cfg(feature = "extra")]
#[test]
fn fails_with_extra() {
    fail();
}
"#;

const MANIFEST: (&str, &str) = (
    "Cargo.toml",
    "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[features]\nextra = []\n",
);

#[test]
fn flags_that_select_build_and_isolate_are_kept() {
    if refused() {
        return;
    }
    let project = Project::new(&[MANIFEST, ("src/lib.rs", TESTS), ("tests/it.rs", TESTS)]);
    let [lib, it] = &check(&project, "", &[])[..] else { panic!("two binaries fail") };
    assert_eq!(lib, "cargo isotest --lib -- --exact fails");
    assert_eq!(it, "cargo isotest --test it -- --exact fails");
    check(&project, "-- --ignored", &[]);
    check(&project, "--test it --include-ignored --features extra", &[]);
    check(&project, "fails --release -F extra --test-threads 1", &[]);
    check(&project, "-p demo --tests --timeout 1m30s --init reaper", &[]);
    let commands = check(&project, "--lib", &["--uts", "it's", "--pass-env NONE --no-fork-server"]);
    assert_eq!(
        commands,
        [r"cargo isotest '--uts=it'\''s' --pass-env=NONE --no-fork-server --lib -- --exact fails"]
    );
}

#[test]
fn what_variables_have_asked_for_is_kept_too() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", TESTS)]);
    let run = project.isotest("--lib").env("ISOTEST_UTS", "elsewhere").run();
    run.check(100, &["layer: elsewhere false"]);
    let commands = commands(&run);
    assert_eq!(commands, ["cargo isotest --uts=elsewhere --lib -- --exact fails"]);
    paste(&project, &commands[0]).check(100, &["layer: elsewhere false"]);
}

#[test]
fn a_manifest_elsewhere_is_named() {
    if refused() {
        return;
    }
    let project =
        Project::new(&[("other one/Cargo.toml", MANIFEST.1), ("other one/src/lib.rs", TESTS)]);
    let commands = check(&project, "--manifest-path", &["other one/Cargo.toml", "--lib"]);
    assert_eq!(
        commands,
        ["cargo isotest '--manifest-path=other one/Cargo.toml' --lib -- --exact fails"]
    );
}

/// Two packages with a test binary of the same name, and one whose features hang on who is built.
const PACKAGES: [(&str, &str); 7] = [
    ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"a\", \"b\", \"c\"]\n"),
    (
        "a/Cargo.toml",
        "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nc = { path = \"../c\", features = [\"x\"] }\n",
    ),
    (
        "b/Cargo.toml",
        "[package]\nname = \"b\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nc = { path = \"../c\" }\n",
    ),
    (
        "c/Cargo.toml",
        "[package]\nname = \"c\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[features]\nx = []\n",
    ),
    ("c/src/lib.rs", "pub const X: bool = cfg!(feature = \"x\");\n"),
    ("a/tests/it.rs", "#[test]\nfn without_x() {}\n"),
    ("b/tests/it.rs", "#[test]\nfn without_x() {\n    assert!(!c::X);\n}\n"),
];

#[test]
fn packages_are_built_together_again() {
    if refused() {
        return;
    }
    let files = [&PACKAGES[..], &[("a/src/lib.rs", ""), ("b/src/lib.rs", "")]].concat();
    let project = Project::new(&files);
    let select = "-E 'binary_id(=b::it)' -- --exact without_x";
    assert_eq!(check(&project, "", &[]), [format!("cargo isotest {select}")]);
    let line = "--workspace --exclude c --test it without_x";
    let command = format!("cargo isotest --workspace --exclude=c --test=it {select}");
    assert_eq!(check(&project, line, &[]), [command]);
    // Alone it has no `x`.
    project.isotest("-p b").run().check(0, &["1 passed"]);
}

#[test]
fn ignored_tests_that_have_failed_are_run_again() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", TESTS)]);
    project.isotest("--lib -- --ignored").run().check(100, &["1 passed, 1 failed"]);
    let again = project.isotest("--lib --rerun-failed").run();
    again.check(100, &["running 1 test\n", "test fails_and_is_ignored ... FAILED"]);
    let [command] = &commands(&again)[..] else { panic!("one binary fails") };
    assert_eq!(command, "cargo isotest --lib -- --include-ignored --exact fails_and_is_ignored");
    paste(&project, command).check(100, &["running 1 test\n", "0 passed, 1 failed"]);
}

#[test]
fn many_are_those_that_are_kept_or_all_are_named() {
    if refused() {
        return;
    }
    let failing = |number| format!("#[test]\nfn fails_{number:02}() {{\n    panic!();\n}}\n");
    let tests: String = (0..25).map(failing).collect();
    let project = Project::new(&[("src/lib.rs", &tests)]);
    let line = "--lib -- --skip fails_24";
    assert_eq!(check(&project, line, &[]), ["cargo isotest --lib --rerun-failed"]);
    // One that has failed before is kept as well.
    project.isotest("--lib fails_24").run().check(100, &["1 failed"]);
    let commands = check(&project, line, &[]);
    assert!(commands[0].starts_with("cargo isotest --lib -- --exact fails_00 fails_01 "));
    assert!(commands[0].ends_with(" fails_23"), "{commands:?}");
}

#[test]
fn a_profile_and_a_file_of_cargos_configuration_are_kept() {
    if refused() {
        return;
    }
    let config = "[profile.default]\nuts = \"one\"\n[profile.ci]\nuts = \"two\"\n";
    let files = [("src/lib.rs", TESTS), (".config/isotest.toml", config)];
    let project = Project::new(&files);
    fs::write(project.directory().join("extra.toml"), "[profile.test]\nopt-level = 1\n")
        .expect("it is writable");
    check(&project, "-P ci --config extra.toml --lib", &[]);
}
