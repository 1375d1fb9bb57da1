//! Impossible requests are errors with the exit code that scripts know; odd but possible ones work.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use isotest_tests::program::{isotest, staging_directory};
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, missing, refused, word};
use tempfile::TempDir;

const OK: &str = "test result: ok. 1 passed; 0 failed";

/// Runs isotest on a project that has one test, which passes.
fn check(line: &str, code: i32, texts: &[&str]) {
    check_project(&[PASSING], line, code, texts);
}

fn check_project(files: &[(&str, &str)], line: &str, code: i32, texts: &[&str]) {
    if refused() {
        return;
    }
    Project::new(files).isotest(line).run().check(code, texts);
}

#[test]
fn an_unknown_flag_is_a_usage_error_with_a_suggestion() {
    check("--relese", 2, &["error: unexpected argument '--relese' found", "'--release'"]);
}

#[test]
fn an_unknown_flag_of_libtest_is_a_usage_error() {
    check("-- --shuffel", 2, &["error: Unrecognized option: 'shuffel'"]);
}

#[test]
fn what_libtest_has_and_isotest_has_otherwise_is_named() {
    for (line, text) in [
        ("-- --shuffle", "hint: `--shuffle` and `--shuffle=SEED` of cargo isotest, before `--`"),
        ("-- --shuffle-seed 7", "hint: `--shuffle` and `--shuffle=SEED` of cargo isotest"),
        ("-- --logfile x", "hint: `--junit FILE`"),
        ("-- --report-time", "hint: `--slowest N`"),
        ("-- --ensure-time -Zunstable-options", "hint: `--timeout DURATION`"),
        ("-- --fail-fast", "hint: `--fail-fast` of cargo isotest"),
        ("-- --format junit", "hint: `--junit FILE`"),
        ("-- --list --format json -Zunstable-options", "`cargo isotest list --format json`"),
    ] {
        check(line, 2, &[text]);
    }
}

#[test]
fn a_value_that_a_layer_does_not_know_is_a_usage_error() {
    check("--net internet", 2, &["error: invalid value 'internet' for '--net", "loopback, host"]);
}

#[test]
fn a_duration_that_is_none_is_a_usage_error() {
    check("--timeout soon", 2, &["error: invalid value 'soon' for '--timeout"]);
}

#[test]
fn a_filter_that_matches_nothing_is_nothing_to_run() {
    check(
        "no_such_test",
        4,
        &["running 0 tests", "0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out"],
    );
}

#[test]
fn that_nothing_is_selected_means_what_the_flag_says() {
    let warning = "warning: cannot find a test that the filters select, among 1";
    check("no_such_test --no-tests warn", 0, &[warning]);
    check("no_such_test --no-tests pass", 0, &["1 filtered out"]);
    check("no_such_test --no-tests fail", 4, &["error: cannot find a test"]);
    check("no_such_test --no-tests never", 2, &["error: invalid value 'never' for '--no-tests"]);
}

#[test]
fn a_project_without_tests_is_nothing_to_run() {
    check_project(&[("src/lib.rs", "")], "", 4, &["running 0 tests"]);
}

#[test]
fn a_project_that_does_not_build_is_a_build_error() {
    let broken = ("src/lib.rs", "fn broken( {}\n");
    check_project(&[broken], "", 101, &["could not compile `demo`"]);
}

#[test]
fn a_test_that_is_not_there_is_a_build_error() {
    check("--test nowhere", 101, &["error: no test target named `nowhere`"]);
}

#[test]
fn a_manifest_that_is_none_is_a_build_error() {
    check_project(&[("Cargo.toml", "[package\n")], "", 101, &["Cargo.toml:1"]);
}

/// Not below the workspace, whose manifest cargo would find.
#[test]
fn a_directory_without_a_manifest_is_a_build_error() {
    let empty = TempDir::with_prefix("isotest-tests-").expect("a directory can be made");
    let run = Call::new(isotest(), empty.path()).words("isotest").run();
    run.check(101, &["could not find `Cargo.toml`"]);
}

/// A program without libtest is one case, whatever it prints when it is asked for a list.
#[test]
fn garbage_from_a_program_without_a_harness_is_no_list() {
    let manifest = "[package]\nname = \"demo\"\nedition = \"2024\"\n[workspace]\n[[test]]\nname = \"it\"\nharness = false\n";
    let program = "use std::io::Write;\nfn main() { std::io::stdout().write_all(b\"\\xff\\xfe: test\\n\").unwrap(); }\n";
    let files = [("Cargo.toml", manifest), ("src/lib.rs", ""), ("tests/it.rs", program)];
    check_project(&files, "--test it", 0, &["Summary 1 test", "1 passed"]);
}

/// A name that would print the line of another test, or be a command to a terminal.
#[test]
fn a_name_with_control_characters_is_shown_escaped_and_run() {
    let manifest = "[package]\nname = \"demo\"\nedition = \"2024\"\n[workspace]\n[[test]]\nname = \"it\"\nharness = false\n";
    let program = r#"
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.last().map(String::as_str) {
        Some("terse") => println!("passes: test\n\x1b[2Jx\ty: test"),
        Some("--ignored") => {}
        _ => assert_eq!(arguments, ["--exact", "passes", "--nocapture"]),
    }
}
"#;
    let files = [("Cargo.toml", manifest), ("src/lib.rs", ""), ("tests/it.rs", program)];
    let texts = [
        "test passes ... ok\n",
        "test \\u{1b}[2Jx\\ty ... FAILED\n",
        r"--test it -- --exact '\u{1b}[2Jx\ty'",
    ];
    check_project(&files, "--test it", 100, &texts);
}

/// Characters that turn text around, or have no shape, in the name of a test, of a process and of a
/// file (CVE-2021-42574).
#[test]
fn a_name_that_reads_as_another_is_shown_escaped_in_every_output() {
    if refused() {
        return;
    }
    let manifest = "[package]\nname = \"demo\"\nedition = \"2024\"\n[workspace]\n[[test]]\nname = \"it\"\nharness = false\n";
    let program = r#"
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.last().map(String::as_str) {
        Some("terse") => println!("a\u{202e}b\u{200b}c\u{2066}\u{e0041}: test"),
        Some("--ignored") => {}
        _ => {
            std::fs::write("x\u{202e}gpj.exe", "").unwrap();
            std::fs::copy("/bin/sleep", "/tmp/s\u{202e}p").unwrap();
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions("/tmp/s\u{202e}p", std::fs::Permissions::from_mode(0o755)).unwrap();
            std::process::Command::new("/tmp/s\u{202e}p").arg("60").spawn().unwrap();
            std::process::exit(1);
        }
    }
}
"#;
    let files = [("Cargo.toml", manifest), ("src/lib.rs", ""), ("tests/it.rs", program)];
    let project = Project::new(&files);
    let name = r"a\u{202e}b\u{200b}c\u{2066}\u{e0041}";
    let summary = project.directory().join("summary.md");
    let call = |line: &str| {
        let call = project.isotest(line).env("GITHUB_ACTIONS", "true");
        call.env("GITHUB_STEP_SUMMARY", &summary).run()
    };
    for (line, code) in [
        ("--test it --junit report.xml --write-back *.exe", 100),
        ("--test it --message-format json", 100),
        ("--test it -- --format json -Zunstable-options", 100),
        ("--test it -- --format terse", 100),
        ("list", 0),
        ("list --format json", 0),
        ("explain a", 0),
    ] {
        let run = call(line);
        run.check(code, &[]);
        let read =
            |name: &str| fs::read_to_string(project.directory().join(name)).unwrap_or_default();
        let all = [run.stdout.clone(), run.stderr.clone(), read("report.xml"), read("summary.md")]
            .concat();
        let json = name.replace('\\', r"\\");
        assert!(all.contains(name) || all.contains(&json), "{line}: {all}");
        let hidden =
            all.chars().find(|character| "\u{202e}\u{200b}\u{2066}\u{e0041}".contains(*character));
        assert_eq!(hidden, None, "{line}: {all}");
    }
}

/// A flood of output is ended, even without a time limit.
#[test]
fn a_list_without_an_end_is_ended() {
    if refused() {
        return;
    }
    let manifest = "[package]\nname = \"demo\"\nedition = \"2024\"\n[workspace]\n";
    let harness = "[[test]]\nname = \"it\"\nharness = false\n";
    let program = |write: &str| {
        format!(
            "use std::io::Write;\nfn main() {{\n    let mut out = std::io::{write};\n    let block = \"x: test\\n\".repeat(1 << 13);\n\
             if std::env::args().nth(1).as_deref() == Some(\"--list\") {{ for _ in 0.. {{ let _ = out.write_all(block.as_bytes()); }} }}\n}}\n"
        )
    };
    let lib = ("src/lib.rs", "");
    let manifest = format!("{manifest}{harness}");
    for (write, text) in [
        ("stdout()", "wrote more than 16777216 bytes"),
        ("stderr()", "wrote more than 16777216 bytes"),
    ] {
        let program = program(write);
        let files = [("Cargo.toml", manifest.as_str()), lib, ("tests/it.rs", program.as_str())];
        let run = Project::new(&files).isotest("--test it --timeout none").run();
        match write {
            "stdout()" => run.check(104, &["cannot list the tests of `demo::it`", text]),
            _ => run.check(0, &["1 passed", text]),
        }
    }
    let many = program("stdout()").replace("for _ in 0..", "for _ in 0..64");
    let files = [("Cargo.toml", manifest.as_str()), lib, ("tests/it.rs", many.as_str())];
    let run = Project::new(&files).isotest("--test it").run();
    run.check(104, &["wrote more than 500000 lines"]);
}

/// Libtest is in it, but something prints before libtest does.
#[test]
fn a_list_that_is_not_text_is_a_listing_error() {
    let program = r#"
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn print() {
        use std::io::Write;
        std::io::stdout().write_all(b"\xff\xfe garbage\n").unwrap();
    }
    print
};

#[test]
fn passes() {}
"#;
    let texts = ["error: cannot list the tests of `demo::it`: ", "hint: "];
    check_project(&[("src/lib.rs", ""), ("tests/it.rs", program)], "--test it", 104, &texts);
}

#[test]
fn a_binary_that_crashes_when_it_is_asked_for_its_list_is_a_listing_error() {
    let program = r#"
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn abort() {
        std::process::abort();
    }
    abort
};

#[test]
fn passes() {}
"#;
    let texts = ["error: cannot list the tests of `demo::it`: ", "was killed by SIGABRT"];
    check_project(&[("src/lib.rs", ""), ("tests/it.rs", program)], "--test it", 104, &texts);
}

/// Programs without a harness are asked for their lists after libtest's: this one takes the other
/// away, which a shared workspace lets it.
#[test]
fn a_binary_that_vanishes_after_the_build_is_not_run() {
    let manifest = "[package]\nname = \"demo\"\nedition = \"2024\"\n[workspace]\n[[test]]\nname = \"remover\"\nharness = false\n";
    let remover = r#"
fn main() {
    let program = std::env::current_exe().unwrap();
    for entry in std::fs::read_dir(program.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("victim-") {
            std::fs::remove_file(path).unwrap();
        }
    }
}
"#;
    let victim = "#[test]\nfn passes() {}\n";
    let files = [
        ("Cargo.toml", manifest),
        ("src/lib.rs", ""),
        ("tests/remover.rs", remover),
        ("tests/victim.rs", victim),
    ];
    let texts = [
        "test passes ... NOT RUN",
        "cannot execute `",
        "(ENOENT)",
        "does not exist or is not visible in the sandbox",
    ];
    check_project(&files, "--workspace=shared", 96, &texts);
}

#[test]
fn a_project_that_may_not_be_written_to_is_tested_all_the_same() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    project.cargo_test("--no-run").run().check(0, &[]);
    let target = TempDir::with_prefix("isotest-tests-").expect("a directory can be made");
    let line = format!("--locked --target-dir {}", word(target.path()));
    let set_mode = |mode| {
        let set = fs::set_permissions(project.directory(), Permissions::from_mode(mode));
        set.expect("it is ours");
    };
    set_mode(0o555);
    let run = project.isotest(&line).run();
    set_mode(0o755);
    run.check(0, &[OK]);
}

#[test]
fn no_home_is_needed() {
    if refused() {
        return;
    }
    let home = |name: &str, default: &str| {
        let in_home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(default);
        env::var_os(name).map_or_else(in_home, PathBuf::from)
    };
    let project = Project::new(&[PASSING]);
    let call = project.isotest("").env("CARGO_HOME", home("CARGO_HOME", ".cargo"));
    let call = call.env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup"));
    call.without("HOME").run().check(0, &[OK]);
}

#[test]
fn a_path_without_cargo_is_said_to_be_so() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let run = project.isotest("").env("PATH", "/nonexistent").without("CARGO").run();
    run.check(101, &["error: cannot start `cargo`: ", "hint: it must be on PATH"]);
}

/// A project in a directory with an odd name.
fn check_directory(parent: &Path, name: &str) {
    if refused() {
        return;
    }
    let writing = "#[test]\nfn writes() {\n    std::fs::write(\"file\", \"text\").unwrap();\n}\n";
    let project = Project::below(parent, name, &[("src/lib.rs", writing)]);
    project.isotest("").run().check(0, &[OK]);
    assert!(!project.directory().join("file").exists(), "what a test writes is thrown away");
}

#[test]
fn a_project_may_lie_below_the_temporary_directory() {
    check_directory(&env::temp_dir(), "project");
}

#[test]
fn a_projects_path_may_have_spaces() {
    check_directory(staging_directory(), "a project with spaces");
}

#[test]
fn a_projects_path_may_have_letters_that_are_not_ascii() {
    check_directory(staging_directory(), "grüße 日本");
}

#[test]
fn a_projects_path_may_have_what_separates_mount_options() {
    check_directory(staging_directory(), "a,b=c\\d e");
}

#[test]
fn a_profile_opens_nothing_but_a_way_out_for_itself() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", "")]);
    let script = "echo x >$LLVM_PROFILE_FILE; echo x >made; rm src/lib.rs; ls -A";
    let run = project.isotest("exec -- sh -c").arg(script);
    run.env("LLVM_PROFILE_FILE", "x-%p-%m.profraw").run().check(0, &["Cargo.toml"]);
    let names = fs::read_dir(project.directory()).expect("it is there").flatten();
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names[..1], ["Cargo.toml"]);
    assert_eq!(names[1..names.len() - 1], ["src"]);
    let profile = names.last().expect("there are three");
    assert!(profile.starts_with("x-") && profile.ends_with("-0-%m.profraw"), "{profile}");
    assert!(project.directory().join("src/lib.rs").exists());
}

/// Links with a library of a directory that no test sees.
const LINKS: &str = r#"
fn main() {
    let directory = std::env::var("LD_LIBRARY_PATH").unwrap();
    let directory = directory.split(':').next_back().unwrap();
    std::fs::write("answer.c", "int answer(void) { return 42; }").unwrap();
    let library = format!("{directory}/libanswer.so");
    let arguments = ["-shared", "-fPIC", "-o", &library, "answer.c"];
    assert!(std::process::Command::new("cc").args(arguments).status().unwrap().success());
    println!("cargo:rustc-link-arg=-L{directory}");
    println!("cargo:rustc-link-arg=-lanswer");
}
"#;

#[test]
fn a_library_that_is_not_shown_is_named_with_the_flag_that_shows_it() {
    if refused() || missing("cc") {
        return;
    }
    let test = "unsafe extern \"C\" { fn answer() -> i32; }\n\
                #[test] fn asks() { assert_eq!(unsafe { answer() }, 42) }";
    let project = Project::new(&[("src/lib.rs", test), ("build.rs", LINKS)]);
    let hidden = TempDir::new_in("/var/tmp").expect("it is writable");
    let run = |line: &str| project.isotest(line).env("LD_LIBRARY_PATH", hidden.path()).run();
    let hint = "hint: a library that it needs is not shown in the sandbox; `--ro DIRECTORY`";
    run("--lib").check(104, &["error while loading shared libraries: libanswer.so", hint]);
    run(&format!("--lib --ro {}", hidden.path().display())).check(0, &["1 passed"]);
}
