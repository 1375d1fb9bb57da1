//! `cargo-isotest runner` as cargo's runner, under the tools that people have: plain cargo, nextest,
//! editors, coverage, mutation testing, and crates that write into the project.

use std::collections::BTreeSet;
use std::env;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use isotest_tests::normalise::{normalise, normalise_json};
use isotest_tests::processes::{MARK, marked};
use isotest_tests::program::isotest;
use isotest_tests::{Call, Project, Run, missing, refused, skipped, unavailable, until, word};
use serde_json::Value;

use super::same_as_cargo_test::{COMPARABLE, compare};

/// A build script and a configuration that set variables, and a binary that a test starts.
const AROUND: [(&str, &str); 3] = [
    ("build.rs", "fn main() { println!(\"cargo::rustc-env=FROM_BUILD=yes\"); }\n"),
    (".cargo/config.toml", "[env]\nFROM_CONFIG = \"yes\"\n"),
    (
        "src/main.rs",
        "fn main() {\n\
             let words: Vec<String> = std::env::args().skip(1).collect();\n\
             std::fs::write(\"made\", words.join(\" \")).unwrap();\n\
             println!(\"{} {}\", std::process::id(), std::env::var(\"CI_SECRET\").is_ok());\n\
         }\n",
    ),
];

/// Holds only in a sandbox that has all that cargo gives a test.
const ISOLATED: &str = "\
#[test]
fn is_alone() {
    assert_eq!(std::process::id(), 1);
    assert_eq!(std::env::var(\"FROM_BUILD\").as_deref(), Ok(\"yes\"));
    assert_eq!(std::env::var(\"FROM_CONFIG\").as_deref(), Ok(\"yes\"));
    assert!(std::env::var(\"CI_SECRET\").is_err());
    assert!(!std::path::Path::new(\"left\").exists());
    std::fs::write(\"left\", \"\").unwrap();
}

#[test]
fn is_alone_too() {
    is_alone();
}

#[test]
fn finds_the_binary() {
    let output = std::process::Command::new(env!(\"CARGO_BIN_EXE_demo\")).output().unwrap();
    assert!(output.status.success());
}
";

fn demo(more: &[(&str, &str)]) -> Project {
    Project::new(&[&AROUND, more].concat())
}

/// A `Call` with a secret in its environment.
trait Runner {
    fn isolated(self) -> Call;
}

impl Runner for Call {
    fn isolated(self) -> Call {
        self.env("CI_SECRET", "secret").runner("")
    }
}

/// Compares a command line of cargo with and without the runner, in the zoo.
fn check_same(line: &str, normalise: fn(&str) -> String) -> Run {
    let zoo = Project::fixture("zoo");
    let call = || zoo.cargo(line).env("RUSTC_BOOTSTRAP", "1");
    let (expected, found) = (call().run(), call().runner("").run());
    compare(&expected, &found, normalise);
    assert_eq!(found.code, expected.code, "the exit code");
    found
}

#[test]
fn cargo_test_prints_what_it_prints_without() {
    if refused() {
        return;
    }
    check_same(&format!("test --no-fail-fast {COMPARABLE}"), normalise);
    check_same("test -q --no-fail-fast --test plain --lib -- --skip inner", normalise);
}

#[test]
fn what_editors_ask_for_is_what_they_read() {
    if refused() {
        return;
    }
    let zoo = Project::fixture("zoo");
    let manifest = zoo.directory().join("Cargo.toml");
    // rust-analyzer's test explorer, all of a target and one test; RustRover.
    let explorer = format!(
        "test --package zoo --test plain --no-fail-fast --manifest-path {} --",
        word(&manifest)
    );
    let unstable = "-Z unstable-options --format=json";
    for line in [
        format!("{explorer} {unstable}"),
        format!("{explorer} inner::passes {unstable}"),
        format!("test --no-fail-fast --package zoo --test plain -- {unstable} --show-output"),
    ] {
        let run = check_same(&line, normalise_json);
        for line in run.stdout.lines() {
            let event: Value = serde_json::from_str(line).expect("each line is an event");
            assert!(["suite", "test"].iter().any(|known| event["type"] == *known), "{event}");
        }
    }
    // rust-analyzer's run lens.
    check_same("test --package zoo --test plain -- inner::passes --exact --nocapture", normalise);
}

#[test]
fn each_test_is_alone_and_has_what_cargo_sets() {
    if refused() {
        return;
    }
    let project = demo(&[("tests/it.rs", ISOLATED)]);
    let run = project.cargo_test("").isolated().run();
    let told = ["test is_alone ... ok", "test result: ok. 3 passed; 0 failed; 0 ignored"];
    run.check(0, &[told[0], told[1], "note[writes-outside]: 3 tests changed files"]);
    // Where what is built lies is not where the target directory is.
    let run = project.cargo_test("").env("CARGO_BUILD_BUILD_DIR", "elsewhere").isolated().run();
    run.check(0, &["test result: ok. 3 passed; 0 failed; 0 ignored"]);
    let one = project.cargo_test("-- is_alone --exact --nocapture").isolated().run();
    one.check(0, &["running 1 test\ntest is_alone ... ok"]);
    assert!(!project.directory().join("left").exists());
}

#[test]
fn a_failure_is_told_as_the_harness_tells_it_and_what_it_cannot_see_as_well() {
    if refused() {
        return;
    }
    let tests = "#[test]\nfn aborts() { std::process::abort() }\n\
                 #[test]\nfn leaves() { std::process::exit(0) }\n\
                 #[test]\nfn passes() {}\n";
    let project = demo(&[("tests/it.rs", tests)]);
    let run = project.cargo_test("--test it").isolated().run();
    run.check(
        101,
        &[
            "isotest: killed by SIGABRT",
            "isotest: exited with code 0 before the harness reported a result",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored",
            "cargo isotest -p demo --test it -- --exact aborts leaves",
            "error: test failed, to rerun pass `--test it`",
        ],
    );
    assert_eq!(run.stderr.matches("to rerun pass").count(), 1, "cargo says it, and nobody else");
    let run = project.cargo_test("--test it --release -- passes aborts").isolated().run();
    run.check(101, &["    cargo isotest --release -p demo --test it -- --exact aborts\n"]);
    let run = project.cargo_test("--test it -- --frobnicate").isolated().run();
    run.check(101, &["error: Unrecognized option: 'frobnicate'"]);
}

/// As nextest and editors call for it.
#[test]
fn one_test_that_exits_early_has_failed() {
    if refused() {
        return;
    }
    let tests = "#[test]\nfn leaves() { std::process::exit(0) }\n\
                 #[test]\nfn passes() {}\n\
                 #[test]\nfn runs_a_child() {\n\
                     assert!(std::process::Command::new(\"true\").status().unwrap().success());\n\
                 }\n";
    let project = demo(&[("tests/it.rs", tests)]);
    let call = |name: &str| {
        project.cargo_test(&format!("--test it -- --exact {name} --nocapture")).isolated().run()
    };
    let error = "error: the test exited with code 0 before the harness reported a result";
    call("leaves").check(101, &[error]);
    call("passes").check(0, &["test passes ... ok"]);
    call("runs_a_child").check(0, &["test runs_a_child ... ok"]);
    call("is_not_there").check(0, &["running 0 tests"]);
}

#[test]
fn layers_come_from_the_environment_and_flags_go_before_it() {
    if refused() {
        return;
    }
    let tests = "#[test]\nfn name() {\n\
                     print!(\"{}\", std::fs::read_to_string(\"/proc/sys/kernel/hostname\").unwrap());\n\
                 }\n";
    let project = Project::new(&[("src/lib.rs", tests)]);
    let call = || project.cargo_test("--lib -- --nocapture").env("ISOTEST_UTS", "variable");
    call().runner("").run().check(0, &["\nvariable\n"]);
    call().runner("--uts flag").run().check(0, &["\nflag\n"]);
    let run = call().env("ISOTEST_NET", "hos").runner("").run();
    run.check(2, &["error: cannot use the environment variable `ISOTEST_NET`: invalid value `hos` (expected"]);
    // And from the file, which both go before.
    let file = "[profile.default]\nuts = \"file\"\n";
    let project = Project::new(&[("src/lib.rs", tests), (".config/isotest.toml", file)]);
    let call = |line: &str| project.cargo_test(&format!("--lib -- {line} --nocapture")).runner("");
    call("").run().check(0, &["\nfile\n"]);
    call("name --exact").run().check(0, &["\nfile\n"]);
    call("").env("ISOTEST_UTS", "variable").run().check(0, &["\nvariable\n"]);
}

#[test]
fn a_program_that_is_run_is_not_touched() {
    let project = demo(&[("examples/demonstration.rs", AROUND[2].1)]);
    for line in ["run --bin demo -- --list a", "run --example demonstration -- --list a"] {
        let run = project.cargo(line).isolated().run();
        run.check(0, &[" true\n"]);
        assert_ne!(run.stdout, "1 true\n", "it is in no pid namespace");
        let made = project.directory().join("made");
        assert_eq!(fs::read_to_string(&made).expect("it stays"), "--list a");
        fs::remove_file(made).expect("it is there");
    }
    let run = project.isotest("runner target/debug/absent").run();
    run.check(127, &["cannot execute `", "target/debug/absent`: No such file or directory"]);
}

#[test]
fn benchmarks_are_measured() {
    if refused() {
        return;
    }
    let manifest = "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    [[bench]]\nname = \"own\"\nharness = false\n";
    let built_in = "#![feature(test)]\nextern crate test;\n#[bench]\n\
                    fn counts(b: &mut test::Bencher) {\n\
                        assert_eq!(std::process::id(), 1);\n\
                        b.iter(|| std::hint::black_box(1));\n\
                    }\n\
                    #[test]\nfn tests() {}\n";
    let own =
        "fn main() { std::fs::write(\"measured\", std::env::args().nth(1).unwrap()).unwrap() }\n";
    let files =
        [("Cargo.toml", manifest), ("benches/built_in.rs", built_in), ("benches/own.rs", own)];
    let project = demo(&files);
    let run = project.cargo("bench").env("RUSTC_BOOTSTRAP", "1").isolated().run();
    run.check(
        0,
        &["test counts ... bench: ", "test tests ... ignored", "0 failed; 1 ignored; 1 measured"],
    );
    // What criterion does: the next run is compared with what this one has measured.
    let measured = fs::read_to_string(project.directory().join("measured"));
    assert_eq!(measured.expect("it stays"), "--bench");
}

#[test]
fn a_program_without_a_harness_is_one_test() {
    if refused() {
        return;
    }
    let manifest = "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    [[test]]\nname = \"its-own\"\nharness = false\n";
    let own = "fn main() {\n\
                   let words: Vec<String> = std::env::args().skip(1).collect();\n\
                   println!(\"process {} hears {words:?}\", std::process::id());\n\
                   std::fs::write(\"left\", \"\").unwrap();\n\
                   std::process::exit(words.len() as i32);\n\
               }\n";
    let project = demo(&[("Cargo.toml", manifest), ("tests/its-own.rs", own)]);
    let run = project.cargo_test("--test its-own").isolated().run();
    run.check(0, &["process 1 hears []"]);
    let run = project.cargo_test("--test its-own -- --frobnicate").isolated().run();
    run.check(1, &["process 1 hears [\"--frobnicate\"]"]);
    assert!(!project.directory().join("left").exists());
}

#[test]
fn documentation_tests_of_both_editions_are_isolated() {
    if refused() {
        return;
    }
    let tests = "/// ```\n\
                 /// let name = std::fs::read_to_string(\"/proc/sys/kernel/hostname\").unwrap();\n\
                 /// assert_eq!(name.trim(), \"isotest\");\n\
                 /// assert_eq!(std::env::var(\"FROM_BUILD\").as_deref(), Ok(\"yes\"));\n\
                 /// assert!(std::env::var(\"CI_SECRET\").is_err());\n\
                 /// std::fs::write(\"left\", \"\").unwrap();\n\
                 /// ```\npub fn isolated() {}\n\
                 /// ```\n/// std::process::exit(3);\n/// ```\npub fn fails() {}\n";
    for edition in ["2021", "2024"] {
        let manifest = format!(
            "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"{edition}\"\n"
        );
        let project = demo(&[("Cargo.toml", &manifest), ("src/lib.rs", tests)]);
        let run = project.cargo_test("--doc").isolated().run();
        run.check(
            101,
            &[
                "test src/lib.rs - isolated (line 1) ... ok",
                "test src/lib.rs - fails (line 9) ... FAILED",
                "test result: FAILED. 1 passed; 1 failed",
            ],
        );
        assert!(!project.directory().join("left").exists());
    }
}

#[test]
fn what_a_documentation_test_writes_is_bounded() {
    if refused() {
        return;
    }
    let tests = "/// ```\n\
                 /// use std::io::Write;\n\
                 /// for _ in 0..64 {\n\
                 ///     std::io::stdout().write_all(&[b'x'; 1 << 20]).unwrap();\n\
                 /// }\n\
                 /// std::process::exit(3);\n\
                 /// ```\npub fn writes() {}\n";
    for edition in ["2021", "2024"] {
        let manifest = format!(
            "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"{edition}\"\n"
        );
        let project = Project::new(&[("Cargo.toml", &manifest), ("src/lib.rs", tests)]);
        let run = project.isotest("--doc --output-limit 1M").run();
        run.check(
            100,
            &[
                "test src/lib.rs - writes (line 1) ... FAILED",
                "bytes of output cut here]",
                "bytes of output are not passed on, beyond the limit of 1048576 for each stream",
                "test result: FAILED. 0 passed; 1 failed",
            ],
        );
        let written = run.stdout.matches('x').count();
        assert!(written.abs_diff(1 << 20) < 1024, "{written} bytes");
    }
}

#[test]
fn isotest_itself_goes_before_a_runner_that_is_configured() {
    if refused() {
        return;
    }
    let tests = "/// ```\n\
                 /// let name = std::fs::read_to_string(\"/proc/sys/kernel/hostname\").unwrap();\n\
                 /// assert_eq!(name.trim(), \"flag\");\n\
                 /// ```\npub fn isolated() {}\n";
    let triple = format!("{ARCH}-unknown-linux-gnu");
    for (target, runner) in [
        ("'cfg(unix)'", "['echo', 'file']"),
        (triple.as_str(), "'echo file'"),
        (triple.as_str(), "['echo', 'file']"),
    ] {
        let config = format!("[target.{target}]\nrunner = {runner}\n");
        let files = [("src/lib.rs", tests), (".cargo/config.toml", config.as_str())];
        let project = Project::new(&files);
        let run = project.isotest("--doc --uts flag").runner("--uts other").run();
        run.check(0, &["test result: ok. 1 passed; 0 failed"]);
    }
}

#[test]
fn nextest_has_it_as_target_runner() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let failing = "#[test]\nfn fails() { println!(\"said\"); panic!(\"it does\") }\n\
                   #[test]\n#[ignore]\nfn ignored() {}\n";
    let project = demo(&[("tests/it.rs", ISOLATED), ("tests/failing.rs", failing)]);
    let run = project.cargo("nextest run --no-fail-fast").isolated().run();
    run.check(
        100,
        &[
            "4 tests run: 3 passed, 1 failed, 1 skipped",
            "said",
            "panicked at tests/failing.rs:2:32:\n    it does",
        ],
    );
    let run = project.cargo("nextest run --run-ignored only").isolated().run();
    run.check(0, &["1 test run: 1 passed, 4 skipped"]);
    assert!(!project.directory().join("left").exists());
}

#[test]
fn nextest_has_it_as_wrapper_script() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    // Only what the filter selects is wrapped.
    let config = format!(
        "experimental = [\"wrapper-scripts\"]\n\
         [scripts.wrapper.isotest]\ncommand = {:?}\n\
         [[profile.default.scripts]]\nfilter = 'binary(it)'\nrun-wrapper = 'isotest'\n\
         list-wrapper = 'isotest'\n",
        format!("'{}' runner", isotest().display())
    );
    let outside = "#[test]\nfn outside() { assert_ne!(std::process::id(), 1) }\n";
    let files = [
        (".config/nextest.toml", config.as_str()),
        ("tests/it.rs", ISOLATED),
        ("tests/outside.rs", outside),
    ];
    let run = demo(&files).cargo("nextest run").env("CI_SECRET", "secret").run();
    run.check(0, &["4 tests run: 4 passed, 0 skipped"]);
}

#[test]
fn what_nextest_kills_is_gone() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let config = "[profile.default]\n\
                  slow-timeout = { period = \"1s\", terminate-after = 1, grace-period = \"10s\" }\n";
    let hangs = "#[test]\nfn hangs() {\n\
                     std::process::Command::new(\"sleep\").arg(\"1000\").spawn().unwrap();\n\
                     loop { std::thread::park() }\n\
                 }\n";
    let project = Project::new(&[(".config/nextest.toml", config), ("tests/it.rs", hangs)]);
    let mark = project.directory().display().to_string();
    let run = project.cargo("nextest run").runner("").env(MARK, &mark).run();
    run.check(100, &["1 test run: 0 passed, 1 timed out"]);
    until("nothing that it started to be alive", || marked(&mark).is_empty().then_some(()));
}

/// Ways to end before libtest does, and one that is none.
const ENDS: &str = "\
#[test]
fn aborts() { std::process::abort() }
#[test]
fn faults() { unsafe { std::ptr::null_mut::<u8>().write_volatile(1) } }
#[test]
fn fails() { panic!(\"it does\") }
#[test]
fn passes() {}
";

#[test]
fn a_death_by_signal_is_the_callers_to_see() {
    if refused() {
        return;
    }
    let project = Project::new(&[("tests/it.rs", ENDS)]);
    for (name, text) in [
        ("aborts", "(signal: 6, SIGABRT: process abort signal)"),
        ("faults", "(signal: 11, SIGSEGV: invalid memory reference)"),
    ] {
        let line = format!("--test it -- --exact {name} --nocapture");
        let run = project.cargo_test(&line).runner("").run();
        run.check(101, &["process didn't exit successfully", text]);
    }
    // A core dump would be one of the runner.
    let line = "test --test it -- --exact aborts --nocapture";
    let script = format!("ulimit -c unlimited; cd {}; cargo {line}", project.directory().display());
    let run = Call::new("sh", project.directory()).arg("-c").arg(script).runner("").run();
    run.check(101, &["SIGABRT"]);
    let names = fs::read_dir(project.directory()).expect("a directory").flatten();
    let cores = names.filter(|entry| entry.file_name().to_string_lossy().starts_with("core"));
    assert_eq!(cores.count(), 0);
}

#[test]
fn nextest_hears_of_a_death_by_signal() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let project = Project::new(&[("tests/it.rs", ENDS)]);
    let run = project.cargo("nextest run --no-fail-fast").runner("").run();
    run.check(100, &["4 tests run: 1 passed, 3 failed"]);
    let stderr = &run.stderr;
    let is_told = |status: &str, name: &str| {
        stderr.lines().any(|line| line.trim_start().starts_with(status) && line.ends_with(name))
    };
    assert!(is_told("SIGABRT", "aborts") && is_told("SIGSEGV", "faults"), "{stderr}");
    assert!(is_told("FAIL", "fails"), "{stderr}");
}

/// A library with three tests that take three ways through it.
const COVERED: &str = "\
pub fn pick(number: u32) -> u32 {
    if number > 3 {
        return number + 1;
    }
    if number == 2 {
        unreachable!();
    }
    number
}

#[test]
fn small() {
    assert_eq!(pick(1), 1);
}

#[test]
fn large() {
    assert_eq!(pick(7), 8);
}

#[test]
fn larger() {
    assert_eq!(pick(9), 10);
}
";

#[test]
fn each_case_has_a_coverage_profile() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", COVERED)]);
    // In the target directory, as cargo llvm-cov has it.
    let pattern = project.directory().join("target/demo-%p-%m.profraw");
    let call = |line: &str| {
        let call = project.cargo_test(line).env("LLVM_PROFILE_FILE", &pattern);
        call.env("RUSTFLAGS", "-C instrument-coverage").runner("")
    };
    let mut known = BTreeSet::new();
    for (line, cases) in [("--lib small", 1), ("--lib", 3)] {
        call(line).run().check(0, &[&format!("test result: ok. {cases} passed; 0 failed")]);
        let found = profiles(&project.directory().join("target"));
        let new: Vec<&PathBuf> = found.difference(&known).collect();
        // One more where the binary is asked for its list.
        assert!(new.len() >= cases, "one for each case: {new:?}");
        let whole = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > 0);
        assert!(new.iter().all(|path| whole(path)), "{new:?}");
        known = found;
    }
    let left = fs::read_dir(project.directory().join("target")).expect("it is there").flatten();
    let staged = |name: &str| name.starts_with(".isotest");
    assert!(!left.into_iter().any(|entry| staged(&entry.file_name().to_string_lossy())));
}

fn profiles(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).expect("it is there").flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "profraw")).collect()
}

#[test]
fn coverage_is_the_same_line_by_line() {
    if refused() || missing("cargo-llvm-cov") || !has_llvm_tools() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", COVERED)]);
    let lines = |call: Call| {
        call.run().check(0, &[]);
        let report = project.directory().join("lines");
        let lines = fs::read_to_string(&report).expect("it is a report");
        fs::remove_file(report).expect("it is ours");
        lines
    };
    let report = "--text --output-path lines";
    for line in ["--lib", "--lib -- small"] {
        let call = |tests: &str| project.cargo(&format!("llvm-cov {tests} {report} {line}"));
        let expected = lines(call(""));
        assert!(expected.contains("|pub fn pick"), "{expected}");
        assert_eq!(lines(call("").runner("")), expected, "cargo test {line}");
        if !missing("cargo-nextest") {
            assert_eq!(lines(call("nextest").runner("")), expected, "nextest {line}");
        }
        let own = format!(
            "eval \"$(cargo llvm-cov show-env --sh)\" && cargo llvm-cov clean --workspace && \
             '{}' isotest {line} && cargo llvm-cov report {report}",
            isotest().display()
        );
        let own = Call::new("sh", project.directory()).arg("-c").arg(own);
        assert_eq!(lines(own), expected, "cargo isotest {line}");
    }
}

/// True if there is an LLVM that reads the profiles: rustup's component, or the value of
/// `LLVM_COV`.
fn has_llvm_tools() -> bool {
    let libraries = Command::new("rustc").args(["--print", "target-libdir"]).output();
    let libraries = libraries.expect("it runs").stdout;
    let tool = Path::new(String::from_utf8_lossy(&libraries).trim()).with_file_name("bin/llvm-cov");
    let found = env::var_os("LLVM_COV").is_some() || tool.exists();
    if !found {
        skipped("there is neither the component `llvm-tools` nor `LLVM_COV`");
    }
    found
}

#[test]
fn mutants_are_caught_as_without() {
    if refused() || missing("cargo-mutants") {
        return;
    }
    let project = Project::new(&[("src/lib.rs", COVERED)]);
    let call = || {
        project.cargo("mutants --re replace.> --no-shuffle --no-times --colors never --timeout 300")
    };
    let outcomes = |run: Run| -> BTreeSet<String> {
        // 2: some were missed.
        assert_eq!(run.code, 2, "the exit code");
        let lines = run.stdout.lines().chain(run.stderr.lines());
        let told = |line: &&str| line.contains("mutants tested") || line.starts_with("MISSED");
        lines.filter(told).map(str::to_owned).collect()
    };
    let (expected, found) = (outcomes(call().run()), outcomes(call().runner("").run()));
    assert_eq!(found, expected);
    assert!(expected.iter().any(|line| line.contains(" caught")), "{expected:?}");
}

#[test]
fn what_crates_write_for_people_arrives_through_write_back() {
    if refused() {
        return;
    }
    let (project, _lock) = Project::fixture_alone("writers");
    if !fetched(&project) {
        return;
    }
    let rows = [
        ("insta", "", "written/tests/snapshots/insta__a_snapshot.snap.new", "---\nnew words"),
        (
            "insta",
            "INSTA_UPDATE=always",
            "written/tests/snapshots/insta__a_snapshot.snap",
            "---\nnew words",
        ),
        ("expect", "UPDATE_EXPECT=1", "written/tests/expect.rs", r#"expect!["new words"]"#),
        ("prop", "", "written/tests/prop.proptest-regressions", "# shrinks to n = 1"),
        ("ui", "", "compiled/wip/wrong.stderr", "error[E0308]: mismatched types"),
        ("ui", "TRYBUILD=overwrite", "compiled/tests/ui/wrong.stderr", "error[E0308]: mismatched"),
    ];
    for (test, variable, file, text) in rows {
        let path = project.directory().join(file);
        let found = || fs::read_to_string(&path).is_ok_and(|found| found.contains(text));
        let call = || {
            let call = project.cargo_test(&format!("--workspace --test {test}"));
            // One of them compiles.
            let call = call.runner("--timeout 5m");
            match variable.split_once('=') {
                Some((name, value)) => call.env(name, value),
                None => call,
            }
        };
        call().run().check_ran();
        assert!(!found(), "{test}: without it what is written to `{file}` is thrown away");
        let run = call().env("ISOTEST_WRITE_BACK", file).run();
        run.check_ran();
        assert!(found(), "{test}: `{file}` is not as it should be");
        run.check(run.code, &[&format!("wrote back {file}")]);
    }
    // What was accepted is accepted.
    let line = "--workspace --test insta --test expect --test ui";
    project.cargo_test(line).runner("--timeout 5m").run().check(0, &["test messages ... ok"]);
}

trait Ran {
    fn check_ran(&self);
}

impl Ran for Run {
    /// Checks that its one test has run, passed or failed.
    fn check_ran(&self) {
        self.check(self.code, &["running 1 test", "test result: "]);
    }
}

/// True if the crates that a fixture depends on are available.
fn fetched(project: &Project) -> bool {
    let fetch = || project.cargo("fetch --locked");
    let there = fetch().run().code == 0 || fetch().without("CARGO_NET_OFFLINE").run().code == 0;
    if !there {
        unavailable("the crates of a fixture can not be had: there is no network");
    }
    there
}
