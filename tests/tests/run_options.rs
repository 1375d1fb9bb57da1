//! Run options of the configuration: retries, slow notices, weights, test groups,
//! how many tests at a time, and when a run ends.

use std::collections::BTreeSet;
use std::fs;

use isotest_tests::{Project, Run, refused};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Fails always, and leaves a file for each run in the project, which the tests share:
/// `--workspace shared`.
const FAILING: &str = r#"
#[cfg(test)]
fn run_of(name: &str) {
    let directory = std::path::Path::new("runs").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let run = std::fs::read_dir(&directory).unwrap().count() + 1;
    std::fs::write(directory.join(run.to_string()), "").unwrap();
    assert!(name == "passes_at_2" && run > 1);
}

#[test]
fn a_fails() { run_of("a_fails"); }
#[test]
fn b_fails() { run_of("b_fails"); }
#[test]
fn passes_at_2() { run_of("passes_at_2"); }
"#;

fn failing(config: &str) -> Project {
    Project::new(&[("src/lib.rs", FAILING), (".config/isotest.toml", config)])
}

/// Number of runs of each test, with one test at a time.
#[track_caller]
fn runs(config: &str, line: &str, code: i32, texts: &[&str]) -> [usize; 3] {
    let project = failing(config);
    let run = project.isotest("--lib --workspace=shared").words(line).run();
    run.check(code, texts);
    ["a_fails", "b_fails", "passes_at_2"].map(|name| {
        fs::read_dir(project.directory().join("runs").join(name)).map_or(0, Iterator::count)
    })
}

#[test]
fn retries_and_what_flaky_means_are_those_of_the_test() {
    if refused() {
        return;
    }
    let config = r#"
[profile.default]
retries = 1
[[profile.default.override]]
filter = "test(b_fails)"
retries = { count = 3, backoff = "exponential", delay = "1ms", max-delay = "2ms", jitter = true }
[profile.strict]
flaky-result = "fail"
"#;
    let ran = runs(config, "", 100, &["1 passed (1 flaky)", "FLAKY 2/2"]);
    assert_eq!(ran, [2, 4, 2]);
    let strict = runs(config, "-P strict passes", 100, &["`flaky-result` is `fail`"]);
    assert_eq!(strict, [0, 0, 2]);
    let flag = runs(config, "--retries 0 --flaky-result pass -P strict", 100, &["3 failed"]);
    assert_eq!(flag, [1, 1, 1]);
    let line = "--stress-count 1 --retries 0 a_fails";
    let stress = runs(config, line, 100, &["1 run · 1 failure"]);
    assert_eq!(stress, [1, 0, 0]);
    let refused = ["error: a stress run cannot retry failed tests"];
    let stress = runs(config, "--stress-count 1 --retries 2 a_fails", 2, &refused);
    assert_eq!(stress, [0, 0, 0]);
}

#[test]
fn a_pause_lies_between_two_attempts_and_others_run_meanwhile() {
    if refused() {
        return;
    }
    // `a_fails` is not started again before `b_fails`, which ends the run.
    let config = r#"
[profile.default]
test-threads = 1
fail-fast = true
[[profile.default.override]]
filter = "test(a_fails)"
retries = { count = 1, delay = "1h" }
"#;
    let ran = runs(config, "", 100, &["2 failed, 1 cancelled"]);
    assert_eq!(ran, [1, 1, 0]);
}

#[test]
fn a_run_ends_when_the_first_who_says_so_says() {
    if refused() {
        return;
    }
    let config =
        "[profile.default]\nfail-fast = true\ntest-threads = 1\n[profile.two]\nmax-fail = 2\n";
    assert_eq!(runs(config, "", 100, &["1 failed, 2 cancelled"]), [1, 0, 0]);
    assert_eq!(runs(config, "-P two", 100, &["2 failed, 1 cancelled"]), [1, 1, 0]);
    assert_eq!(runs(config, "--max-fail all", 100, &["3 failed"]), [1, 1, 1]);
    assert_eq!(runs(config, "--nff", 100, &["3 failed"]), [1, 1, 1]);
    assert_eq!(runs("", "--ff --test-threads 1", 100, &["1 failed, 2 cancelled"]), [1, 0, 0]);
}

#[test]
fn what_still_runs_at_the_last_failure_is_killed_where_that_is_asked_for() {
    if refused() {
        return;
    }
    let source = "#[test]\nfn fails() { panic!(); }\n\
                  #[test]\nfn hangs() { loop { std::thread::park(); } }\n";
    let config = "[profile.default]\nmax-fail = \"1:immediate\"\ntimeout = \"none\"\n";
    let project = Project::new(&[("src/lib.rs", source), (".config/isotest.toml", config)]);
    let run = project.isotest("--lib --test-threads 2").run();
    run.check(100, &["test fails ... FAILED", "1 failed, 1 cancelled"]);
}

#[test]
fn variables_go_before_the_file() {
    if refused() {
        return;
    }
    let project = failing("[profile.default]\nretries = 5\nmax-fail = \"all\"\ntest-threads = 3\n");
    let run = |name: &str, value: &str| {
        let call = project.isotest("--lib --workspace=shared -E test(_fails)").env(name, value);
        call.run()
    };
    run("ISOTEST_RETRIES", "1").check(100, &["attempt 2 of 2", "2 failed"]);
    let shown = project.isotest("show-config").env("RUST_TEST_THREADS", "1").run();
    shown.check(0, &["test-threads     1                        environment"]);
    let shown = project.isotest("show-config").env("ISOTEST_FAIL_FAST", "1").run();
    shown.check(0, &["max-fail         1                        environment"]);
    run("ISOTEST_RETRIES", "many")
        .check(2, &["the environment variable `ISOTEST_RETRIES`: invalid value `many`"]);
    let both = project.isotest("list").env("ISOTEST_MAX_FAIL", "1").env("ISOTEST_FAIL_FAST", "0");
    both.run().check(2, &["`ISOTEST_FAIL_FAST` and `ISOTEST_MAX_FAIL`", "unset one of them"]);
}

#[test]
fn a_slow_test_is_told_of_time_and_again() {
    if refused() {
        return;
    }
    let hanging = "#[test]\nfn hangs() { loop { std::thread::park(); } }\n";
    let config = r#"
[profile.default]
slow-timeout = "1h"
[[profile.default.override]]
filter = "test(hangs)"
slow-timeout = "50ms"
timeout = "none"
"#;
    let project = Project::new(&[("src/lib.rs", hanging), (".config/isotest.toml", config)]);
    let running = project.isotest("-- --format json -Z unstable-options").merged().start();
    running.wait_for("Slow demo::hangs has been running for over 50ms");
    running.wait_for("Slow demo::hangs has been running for over 150ms");
    running.signal(Signal::SIGINT);
    let run = running.end();
    // Libtest tells of it once.
    assert_eq!(run.stdout.matches(r#""event": "timeout""#).count(), 1, "{}", run.stdout);
}

/// Tests that pass at once: what is in flight together is what the schedule lets be.
const QUICK: &str = "#[test] fn a1() {}\n#[test] fn a2() {}\n#[test] fn b1() {}\n\
                     #[test] fn b2() {}\n#[test] fn c1() {}\n#[test] fn c2() {}\n";

/// The tests in flight at each start of a test, in order, with four tests at a time.
#[track_caller]
fn in_flight(config: &str) -> Vec<String> {
    let project = Project::new(&[("src/lib.rs", QUICK), (".config/isotest.toml", config)]);
    // All that there is room for is started before the end of any is heard of.
    let run = project.isotest("--lib --test-threads 4 -- --format json -Z unstable-options").run();
    run.check(0, &[]);
    flights(&run)
}

fn flights(run: &Run) -> Vec<String> {
    let (mut flying, mut seen) = (BTreeSet::new(), Vec::new());
    for line in run.stdout.lines() {
        let event: Value = serde_json::from_str(line).expect("a line is an event");
        let Some(name) = event["name"].as_str().filter(|_| event["type"] == "test") else {
            continue;
        };
        if event["event"] == "started" {
            flying.insert(name.to_owned());
            seen.push(flying.iter().cloned().collect::<Vec<_>>().join(" "));
        } else {
            flying.remove(name);
        }
    }
    seen
}

#[test]
fn a_heavy_test_waits_for_its_room_and_nothing_passes_it() {
    if refused() {
        return;
    }
    let seen = in_flight("");
    assert_eq!(seen[3], "a1 a2 b1 b2", "four are in flight where each weighs one");
    for required in ["\"num-test-threads\"", "4", "99"] {
        let config = format!(
            "[[profile.default.override]]\nfilter = \"test(=b1)\"\nthreads-required = {required}\n"
        );
        let seen = in_flight(&config);
        assert_eq!(seen[..3], ["a1", "a1 a2", "b1"], "{required}: {seen:?}");
        assert_eq!(seen[3..6], ["b2", "b2 c1", "b2 c1 c2"].map(str::to_owned), "{required}");
    }
}

#[test]
fn tests_of_a_group_run_as_many_at_a_time_as_it_says() {
    if refused() {
        return;
    }
    let config = r#"
[test-groups]
one = { max-threads = 1 }
[[profile.default.override]]
filter = "test(=b1)"
test-group = "@global"
[[profile.default.override]]
filter = "test(a) + test(b)"
test-group = "one"
"#;
    let seen = in_flight(config);
    assert_eq!(seen[..4], ["a1", "a1 b1", "a1 b1 c1", "a1 b1 c1 c2"].map(str::to_owned));
    for flying in &seen {
        let members = ["a1", "a2", "b2"].iter().filter(|name| flying.contains(*name)).count();
        assert!(members <= 1, "{seen:?}");
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn expressions_of_the_command_line_know_the_groups() {
    if refused() {
        return;
    }
    let config = r#"
[test-groups]
db = { max-threads = 2 }
[[profile.default.override]]
filter = "test(a)"
test-group = "db"
"#;
    let project = Project::new(&[("src/lib.rs", QUICK), (".config/isotest.toml", config)]);
    let listed = |expression: &str| {
        let run = project.isotest("list -E").arg(expression).run();
        run.check(0, &[]);
        let names = run.stdout.lines().filter_map(|line| line.strip_prefix("    "));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed("group(db)"), ["a1", "a2"]);
    assert_eq!(listed("group(@global) - test(c)"), ["b1", "b2"]);
    project
        .isotest("list -E group(dbb)")
        .run()
        .check(94, &["| group(dbb)", "^^^\nhint: `cargo isotest show-config` lists"]);
    let circle = config.replace("test(a)", "group(db)");
    let project = Project::new(&[("src/lib.rs", QUICK), (".config/isotest.toml", &circle)]);
    project.isotest("list").run().check(94, &["--> .config/isotest.toml:5:17\n"]);
}

#[test]
fn show_config_and_explain_tell_of_it() {
    if refused() {
        return;
    }
    let config = r#"
[test-groups.db]
max-threads = 2
[profile.default]
retries = { count = 2, backoff = "exponential", delay = "1s", max-delay = "9s" }
fail-fast = true
[[profile.default.override]]
filter = "test(a)"
test-group = "db"
threads-required = "num-cpus"
"#;
    let project = Project::new(&[("src/lib.rs", QUICK), (".config/isotest.toml", config)]);
    let place = "profile `default` (.config/isotest.toml:4)";
    let retries = format!("retries          2, exponential from 1s to 9s {place}");
    let max_fail = format!("max-fail         1                        {place}");
    project.isotest("show-config").run().check(
        0,
        &[
            "course of a run\n",
            &retries,
            &max_fail,
            "test-threads     num-cpus                 default",
            "test groups\n    db               max-threads 2            .config/isotest.toml:2",
            "        threads-required num-cpus\n        test-group       db\n",
        ],
    );
    let place = "override 1 of profile `default` (.config/isotest.toml:7)";
    let group = format!("test-group       db                       {place}");
    let required = format!("threads-required num-cpus                 {place}");
    project.isotest("explain a1").run().check(0, &[&retries, &group, &required]);
}

/// The first passes, and the others never end.
const HANGING: &str = "#[test]\nfn a() {}\n\
                       #[test]\nfn b() { loop { std::thread::park() } }\n\
                       #[test]\nfn c() { loop { std::thread::park() } }\n";

#[test]
fn a_run_ends_when_its_time_is_up_and_tells_what_ran() {
    if refused() {
        return;
    }
    let config = "[profile.default]\nglobal-timeout = \"1s\"\ntimeout = \"none\"\n";
    let project = Project::new(&[("src/lib.rs", HANGING), (".config/isotest.toml", config)]);
    let run = project.isotest("--lib --test-threads 2 b c").run();
    let texts = [
        "Running 2 tests; 0 ended before",
        "---- demo::b, ",
        "2 tests in ",
        ": 0 passed, 2 cancelled",
        "error: the run took longer than 1s; 2 tests did not run to the end\n\
         hint: `global-timeout`, a key of the profile and a flag, gives it more time; \
         `--partition` splits it\n",
    ];
    run.check(100, &texts);
    let stress = "--lib --stress-count 2 c";
    project.isotest(stress).run().check(100, &["error: the run took longer than 1s\nhint: "]);
    let units = project.isotest("--lib --unit binary b c").run();
    units.check(100, &["0 passed, 2 cancelled", "error: the run took longer than 1s; 2 tests"]);
    let messages = project.isotest("--lib --message-format json c").run();
    messages
        .check(100, &["{\"type\":\"run-timed-out\",\"seconds\":1.0}", "\"type\":\"run-finished\""]);
    let call = project.cargo_test("--lib").runner("").env("ISOTEST_GLOBAL_TIMEOUT", "2s");
    call.run().check(101, &["error: the run took longer than 2s; "]);
    let shown = project.isotest("show-config").run();
    shown.check(0, &["global-timeout   1s                       profile `default`"]);
}

#[test]
fn a_run_that_ends_in_time_is_not_cut_short() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", HANGING)]);
    for limit in ["1h", "none", "0"] {
        let run = project.isotest("--lib --global-timeout").words(limit).words("a").run();
        run.check(0, &["test result: ok. 1 passed"]);
    }
    let wrong = project.isotest("--lib --global-timeout soon").run();
    wrong.check(2, &["invalid value 'soon' for '--global-timeout <DURATION>'", "`2m` or `none`"]);
    let config = "[[profile.default.override]]\nfilter = \"all()\"\nglobal-timeout = \"1s\"\n";
    let project = Project::new(&[("src/lib.rs", HANGING), (".config/isotest.toml", config)]);
    project.isotest("list").run().check(
        2,
        &[
            "`global-timeout` is not valid in an override: it applies to the whole run",
            ".config/isotest.toml:3:1",
        ],
    );
}

/// Each test says when it starts, in the project, which they share.
const IN_ORDER: &str = r#"
#[cfg(test)]
fn note(name: &str) {
    use std::io::Write;
    let file = std::fs::File::options().create(true).append(true).open("order");
    file.unwrap().write_all(name.as_bytes()).unwrap();
}
#[test]
fn a() { note("a"); }
#[test]
fn b() { note("b"); }
#[test]
fn c() { note("c"); }
#[test]
fn d() { note("d"); }
"#;

#[test]
fn tests_with_a_higher_priority_start_first() {
    if refused() {
        return;
    }
    let config = r#"
[profile.default]
test-threads = 1
[[profile.default.override]]
filter = "test(=c)"
priority = 100
[[profile.default.override]]
filter = "test(=a)"
priority = -1
[profile.stages]
[[profile.stages.override]]
filter = "test(=d)"
uts = "other"
priority = 7
"#;
    let project = Project::new(&[("src/lib.rs", IN_ORDER), (".config/isotest.toml", config)]);
    let order = |line: &str| {
        let _ = fs::remove_file(project.directory().join("order"));
        let run = project.isotest("--lib --workspace=shared").words(line).run();
        run.check(0, &["4 passed"]);
        fs::read_to_string(project.directory().join("order")).expect("they ran")
    };
    assert_eq!(order(""), "cbda");
    // Another sandbox runs behind, unless a test of it has the highest priority of all.
    assert_eq!(order("-P stages"), "cbad");
    let seeded = order("--shuffle=7");
    assert!(seeded.starts_with('c') && seeded.ends_with('a'), "{seeded}");
    let explained = project.isotest("explain a").run();
    explained.check(0, &["priority         -1                       override 2 of profile"]);
    let config = config.replace("priority = 7", "priority = 101");
    fs::write(project.directory().join(".config/isotest.toml"), config).expect("writable");
    project.isotest("list").run().check(2, &["invalid value `101`: 101 is not in -100..=100"]);
}
