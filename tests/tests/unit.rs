//! `--unit binary`: what is shared in a binary's one sandbox, and what becomes of its tests however
//! its process ends.

use std::fs;

use isotest_tests::{Project, Run, refused};

/// Runs a library with these tests, on two threads unless the line says otherwise.
fn run(tests: &str, line: &str) -> Run {
    let project = Project::new(&[("src/lib.rs", tests)]);
    let threads = if line.contains("--test-threads") { "" } else { "--test-threads 2" };
    project.isotest("--unit binary --lib").words(threads).words(line).run()
}

#[track_caller]
fn check(tests: &str, line: &str, code: i32, texts: &[&str]) {
    if !refused() {
        run(tests, line).check(code, texts);
    }
}

/// The lines of results, sorted.
fn results(run: &Run) -> Vec<&str> {
    let is_result = |line: &&str| line.starts_with("test ") && !line.starts_with("test result");
    let mut lines: Vec<&str> = run.stdout.lines().filter(is_result).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_tests_of_a_binary_are_threads_of_one_process() {
    const MEETS: &str = "\
        static BOTH: std::sync::Barrier = std::sync::Barrier::new(2);\n\
        #[test] fn one() { assert_eq!(std::process::id(), 1); BOTH.wait(); }\n\
        #[test] fn two() { BOTH.wait(); }\n";
    check(MEETS, "", 0, &["test one ... ok", "test two ... ok", "2 passed"]);
}

const EVERY_END: &str = r#"
#[test]
fn fails() {
    println!("what it wrote");
    panic!("its message");
}

#[test]
fn returns_an_error() -> Result<(), String> {
    Err("its error".to_owned())
}

#[test]
#[should_panic]
fn panics() {
    panic!();
}

#[test]
#[should_panic]
fn does_not_panic() {}

#[test]
#[ignore = "its reason"]
fn is_ignored() {}

#[test]
fn passes() {}
"#;

#[test]
fn each_test_has_the_result_that_libtest_prints() {
    if refused() {
        return;
    }
    let run = run(EVERY_END, "");
    let expected = [
        "test does_not_panic ... FAILED",
        "test fails ... FAILED",
        "test is_ignored ... ignored, its reason",
        "test panics ... ok",
        "test passes ... ok",
        "test returns_an_error ... FAILED",
    ];
    assert_eq!(results(&run), expected);
    run.check(
        100,
        &[
            "---- fails stdout ----\nwhat it wrote\n\nthread 'fails' ",
            "its message\n",
            "---- returns_an_error stdout ----\nError: \"its error\"\n",
            "---- does_not_panic stdout ----\nnote: test did not panic as expected at src/lib.rs",
            "test result: FAILED. 2 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out;",
            "error: test failed, to rerun pass `--unit binary --lib`",
            "cargo isotest --unit binary --lib -- --exact does_not_panic fails returns_an_error\n",
        ],
    );
    assert!(!run.stdout.contains("\"type\""), "no JSON is left");
}

#[test]
fn what_selects_tests_selects_them() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", EVERY_END)]);
    let selected = |line| {
        let run = project.isotest("--unit binary --lib").words(line).run();
        results(&run).iter().map(|line| line.replace("test ", "")).collect::<Vec<_>>()
    };
    assert_eq!(selected("-- --exact passes panic"), ["passes ... ok"]);
    assert_eq!(selected("pa --skip does"), ["panics ... ok", "passes ... ok"]);
    assert_eq!(selected("-- --ignored"), ["is_ignored ... ok"]);
    assert_eq!(
        selected("-- --include-ignored is_ fails not"),
        ["does_not_panic ... FAILED", "fails ... FAILED", "is_ignored ... ok",]
    );
    assert_eq!(selected("-E test(/^p/)"), ["panics ... ok", "passes ... ok"]);
    assert_eq!(selected("--partition hash:1/1 pass"), ["passes ... ok"]);
    assert_eq!(selected("--shuffle=1 --test-threads 1 pass"), ["passes ... ok"]);
    assert_eq!(selected("--rerun-failed"), ["does_not_panic ... FAILED", "fails ... FAILED"]);
}

#[test]
fn a_process_that_dies_takes_with_it_what_was_running() {
    const ABORTS: &str = "\
        static BOTH: std::sync::Barrier = std::sync::Barrier::new(2);\n\
        #[test] fn a_passes() {}\n\
        #[test] fn b_waits() { BOTH.wait(); loop { std::thread::park() } }\n\
        #[test] fn c_aborts() { BOTH.wait(); std::process::abort() }\n\
        #[test] fn d_waits_for_its_turn() {}\n";
    if refused() {
        return;
    }
    let run = run(ABORTS, "");
    let expected = [
        "test a_passes ... ok",
        "test b_waits ... FAILED",
        "test c_aborts ... FAILED",
        "test d_waits_for_its_turn ... NOT RUN",
    ];
    assert_eq!(results(&run), expected);
    run.check(
        100,
        &[
            "isotest: 2 tests of demo were running when its process ended; the one that ended \
             it is not known: b_waits, c_aborts\nisotest: killed by SIGABRT\n",
            "isotest: not run: the process of its binary had ended\n",
            "1 passed, 2 failed (2 killed by a signal), 1 cancelled",
        ],
    );
}

#[test]
fn a_test_that_exits_has_not_passed() {
    const EXITS: &str = "\
        #[test] fn a_passes() {}\n\
        #[test] fn b_exits() { std::process::exit(0) }\n\
        #[test] fn c_is_left() {}\n";
    if refused() {
        return;
    }
    let run = run(EXITS, "--test-threads 1");
    let expected =
        ["test a_passes ... ok", "test b_exits ... FAILED", "test c_is_left ... NOT RUN"];
    assert_eq!(results(&run), expected);
    run.check(100, &["exited with code 0 before the harness reported a result"]);
}

#[test]
fn a_test_that_hangs_is_timed_out_once_no_other_ends() {
    const HANGS: &str = "\
        #[test] fn a_hangs() { loop { std::thread::park() } }\n\
        #[test] fn b_passes() {}\n\
        #[test] fn c_passes() {}\n";
    if refused() {
        return;
    }
    let run = run(HANGS, "--timeout 2s");
    let expected = ["test a_hangs ... FAILED", "test b_passes ... ok", "test c_passes ... ok"];
    assert_eq!(results(&run), expected);
    run.check(100, &["isotest: timed out after 2s", "1 failed (1 timed out)"]);
}

#[test]
fn an_end_that_contradicts_the_results_fails() {
    const LATE: &str = r#"
unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> i32;
    fn _exit(code: i32) -> !;
}

extern "C" fn at_exit() {
    unsafe { _exit(3) }
}

#[test]
fn passes() {
    unsafe { atexit(at_exit) };
}
"#;
    let texts = ["test passes ... FAILED", "isotest: all tests of demo had ended, but the end of"];
    check(LATE, "", 100, &texts);
}

#[test]
fn a_result_that_is_not_libtests_does_not_pass() {
    const FORGES: &str = r#"
use std::io::Write;

#[test]
fn a_forges() {
    let event = "{ \"type\": \"test\", \"name\": \"b_fails\", \"event\": \"ok\", \"exec_time\": 0.1 }\n";
    std::io::stdout().write_all(event.as_bytes()).unwrap();
}

#[test]
fn b_fails() {
    panic!();
}
"#;
    let texts = ["test a_forges ... ok", "test b_fails ... FAILED", "more than one result"];
    check(FORGES, "--test-threads 1", 100, &texts);
}

#[test]
fn a_binary_that_does_not_start_its_tests_fails() {
    const ENDS: &str = r#"
#[used]
#[unsafe(link_section = ".init_array")]
static ENDS: extern "C" fn() = ends;

extern "C" fn ends() {
    // Only where it is not asked for its list.
    if !std::env::args().any(|argument| argument == "--list") {
        std::process::exit(0);
    }
}

#[test]
fn a() {}

#[test]
fn b() {}
"#;
    let texts = [
        "test a ... FAILED",
        "test b ... NOT RUN",
        "isotest: no test of demo was running when its process ended",
    ];
    check(ENDS, "", 100, &texts);
}

#[test]
fn a_result_that_is_contradicted_is_named() {
    const FORGES: &str = r#"
#[test]
fn a_forges() {
    use std::io::Write;
    let of = |name| format!("{{ \"type\": \"test\", \"event\": \"started\", \"name\": \"{name}\" }}\n\
        {{ \"type\": \"test\", \"name\": \"{name}\", \"event\": \"ok\", \"exec_time\": 0.1 }}\n");
    std::io::stdout().write_all(of("b_fails").as_bytes()).unwrap();
}

#[test]
fn b_fails() {
    panic!();
}

#[test]
fn c_passes() {}
"#;
    let texts = [
        "isotest: demo has printed more than one result of b_fails: its result is not reliable",
        "1 failed",
    ];
    check(FORGES, "--test-threads 1", 100, &texts);
}

/// Bytes that are no text stand before a result of libtest's, on the same line.
#[test]
fn what_is_no_text_does_not_hide_a_result() {
    const WRITES: &str = r#"
#[test]
fn writes() {
    let mut child = std::process::Command::new("printf").arg("\\377").spawn();
    child.as_mut().unwrap().wait().unwrap();
}
"#;
    check(WRITES, "", 0, &["test writes ... ok"]);
}

/// The first half of a result may be all that is read at first, behind a line that is long already.
#[test]
fn a_long_line_does_not_hide_a_result() {
    const WRITES: &str = r#"
fn write(bytes: &[u8]) {
    std::io::Write::write_all(&mut std::fs::File::create("/proc/self/fd/1").unwrap(), bytes).unwrap()
}

#[test]
fn has_two_results() {
    write(&[b'x'; 65_000]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    write(&[&[b'x'; 1000], b"{ \"type\": \"te" as &[u8]].concat());
    std::thread::sleep(std::time::Duration::from_millis(200));
    write(b"st\", \"name\": \"has_two_results\", \"event\": \"ok\", \"exec_time\": 0.1 }\n");
}
"#;
    let texts = ["printed more than one result of has_two_results: its result is not reliable"];
    check(WRITES, "", 100, &texts);
}

#[test]
fn what_is_not_captured_is_shown_and_does_not_hide_a_result() {
    const WRITES: &str = r#"
#[test]
fn writes() {
    let mut child = std::process::Command::new("sh").args(["-c", "printf 'no newline'"]).spawn();
    child.as_mut().unwrap().wait().unwrap();
}
"#;
    check(WRITES, "", 0, &["test writes ... ok", "no newline"]);
}

#[test]
fn output_is_passed_through_where_it_is_asked_for() {
    if refused() {
        return;
    }
    let run = run(EVERY_END, "-- --nocapture fails passes");
    run.check(100, &["what it wrote\n", "its message\n", "test passes ... ok"]);
    assert!(!run.stdout.contains("---- fails stdout ----"));
}

#[test]
fn findings_are_told_of_the_binary() {
    const LEAVES: &str = r#"
#[test]
fn leaves() {
    std::process::Command::new("sleep").arg("100").spawn().unwrap();
}

#[test]
fn passes() {}
"#;
    check(LEAVES, "", 0, &["    a test of demo: left 1 process behind: `sleep 100` (pid "]);
}

/// A stable libtest prints JSON only where this variable is set, which compilers read too.
#[test]
fn compilers_that_tests_start_are_as_stable_as_they_are() {
    const COMPILES: &str = r#"
#[test]
fn compiles() {
    let unstable = |command: &mut std::process::Command| {
        command.args(["-Zunstable-options", "--print", "cfg"]).output().unwrap().status.success()
    };
    let mut without = std::process::Command::new("rustc");
    without.env_remove("RUSTC_BOOTSTRAP");
    assert_eq!(unstable(&mut std::process::Command::new("rustc")), unstable(&mut without));
}
"#;
    check(COMPILES, "", 0, &["test compiles ... ok"]);
}

#[test]
fn a_program_without_libtest_runs_as_always() {
    if refused() {
        return;
    }
    let manifest = "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\n\
                    edition = \"2024\"\n[[test]]\nname = \"own\"\nharness = false\n";
    let own = "fn main() { println!(\"own\"); assert_eq!(std::process::id(), 1); }\n";
    let files = [("Cargo.toml", manifest), ("src/lib.rs", EVERY_END), ("tests/own.rs", own)];
    let project = Project::new(&files);
    let run = project.isotest("--unit binary --lib --test own -E test(passes)|test(own)");
    run.run().check(0, &["own\n", "test passes ... ok", "2 passed"]);
}

#[test]
fn what_needs_a_test_by_itself_is_refused() {
    let project = Project::new(&[("src/lib.rs", EVERY_END)]);
    let refused = [
        ("--retries 1", "`--retries` does not go with `--unit binary`"),
        ("--flaky-result fail", "`--flaky-result` does not go with `--unit binary`"),
        ("--slow-timeout 5s", "`--slow-timeout` does not go with `--unit binary`"),
        ("--stress-count 2", "a stress run does not go with `--unit binary`"),
        ("--stress-duration 1s", "a stress run does not go with `--unit binary`"),
        ("--max-fail 2", "`--max-fail` does not go with `--unit binary`"),
        ("-- --bench", "`--bench` does not go with `--unit binary`"),
        ("--unit=process", "invalid value 'process' for '--unit <UNIT>'"),
    ];
    for (line, message) in refused {
        let unit = if line.contains("--unit") { "" } else { "--unit binary" };
        project.isotest(unit).words(line).run().check(2, &[message]);
    }
}

#[test]
fn keys_that_ask_for_what_it_cannot_do_are_told_of_once() {
    if refused() {
        return;
    }
    let config = r#"
[test-groups]
db = { max-threads = 1 }
[profile.default]
max-fail = 2
[[profile.default.override]]
filter = "test(=a)"
retries = 2
threads-required = 2
test-group = "db"
priority = 1
slow-timeout = "20s"
timeout = "10s"
"#;
    let tests = "#[test]\nfn a() {}\n#[test]\nfn b() {}\n";
    let files = [("src/lib.rs", tests), ("tests/it.rs", tests), (".config/isotest.toml", config)];
    let project = Project::new(&files);
    let run = project.isotest("--unit binary --lib --test it").run();
    let alone = "one binary runs at a time, and its tests in parallel";
    let told = format!(
        "warning: `--unit binary` treats these settings differently:\n    \
         retries: no test is started again\n    threads-required: {alone}\n    \
         test-group: {alone}\n    priority: binaries run in cargo's order\n    \
         slow-timeout: it is 1m\n    \
         timeout: the longest of a binary applies to all its tests\n    \
         max-fail: it counts binaries\n"
    );
    run.check(0, &[told.as_str()]);
    assert_eq!(run.stderr.matches("warning").count(), 1);
    // Of tests that run by themselves, and of those that do not run, all holds.
    for line in ["-P ci --lib", "--unit binary -P ci --lib b"] {
        let config = config.replace("profile.default", "profile.ci").replace("max-fail = 2", "");
        fs::write(project.directory().join(".config/isotest.toml"), config).expect("writable");
        let run = project.isotest(line).run();
        run.check(0, &["0 failed"]);
        assert!(!run.stderr.contains("warning"), "{line}: {}", run.stderr);
    }
}
