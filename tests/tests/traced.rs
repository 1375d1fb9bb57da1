//! Traces: what a test asks the kernel for is told, and changes nothing.

use isotest_tests::{Project, refused};

/// The lines of a trace.
#[track_caller]
fn trace(line: &str, code: i32, texts: &[&str]) -> String {
    let run = Project::fixture("traced").isotest(&format!("trace {line}")).run();
    run.check(code, texts);
    run.stdout.clone()
}

#[test]
fn files_are_told_whether_they_are_there_or_not() {
    if refused() {
        return;
    }
    let all = "reads_a_file_that_is_there_and_one_that_is_not";
    let text = trace(all, 0, &["reads     tests/data/input.txt\n", "config.toml: not found"]);
    assert!(!text.contains("input.txt: not found"), "{text}");
    let created = ["makes     /tmp/made/", "creates   /tmp/made/first"];
    let changed = ["renames   /tmp/made/first → /tmp/made/second", "removes   /tmp/made/second"];
    trace("writes_and_renames", 0, &[created, changed].concat());
}

#[test]
fn addresses_and_the_names_behind_them_are_told() {
    if refused() {
        return;
    }
    let texts = ["listens   tcp 127.0.0.1:8080", "connects  tcp 127.0.0.1:8080"];
    trace("listens_and_connects", 0, &[&texts[..], &["sends to  udp 127.0.0.1:9"]].concat());
    let texts = ["asks DNS  api.example.com (A)", "connects  tcp 192.0.2.7:443"];
    trace("resolves_a_name", 0, &texts);
}

#[test]
fn processes_and_what_is_printed_are_told() {
    if refused() {
        return;
    }
    for layer in ["", "--init reaper"] {
        let texts = ["stdout    │ before", "/sh -c cat /etc/hostname; exit 3", "stderr    │ after"];
        let text = trace(&format!("{layer} starts_a_process"), 0, &texts);
        let exits: Vec<&str> = text.lines().filter(|line| line.contains("  exits  ")).collect();
        assert!(exits.iter().any(|line| line.ends_with(" 3")), "{text}");
        assert!(text.contains("(host name)") && !text.contains("│ isotest"), "{text}");
    }
}

#[test]
fn surroundings_are_told_and_libtests_own_are_not() {
    if refused() {
        return;
    }
    let looked = "looked at: entropy, time zone, host name, number of processors";
    trace("looks_at_its_surroundings", 0, &[looked]);
    let text = trace("does_nothing", 0, &["loads ", "starts    the tests"]);
    assert!(!text.contains("looked at:"), "{text}");
    let full = trace("--full does_nothing", 0, &["/etc/ld.so.cache"]);
    assert!(full.lines().count() > 3 * text.lines().count(), "{full}");
}

#[test]
fn changes_of_the_process_are_told() {
    if refused() {
        return;
    }
    let limit = format!("changes   resource limit {} of the process", libc::RLIMIT_NOFILE);
    let texts = ["changes   working directory of the process", "changes   umask of the process"];
    let text = trace("changes_its_process", 0, &[&texts[..], &[&limit]].concat());
    // A limit that is only read is not changed.
    assert_eq!(text.matches("changes   resource limit").count(), 1, "{text}");
}

#[test]
fn a_flood_of_events_is_bounded_and_hides_nothing_new() {
    if refused() {
        return;
    }
    let texts = ["looks up  /tmp/none: not found", "creates   /tmp/last", "events not kept"];
    trace("looks_a_path_up_again_and_again", 0, &texts);
}

#[test]
fn a_failed_test_fails_under_trace() {
    if refused() {
        return;
    }
    trace("fails_without_a_configuration", 100, &[".gitconfig: not found", "exits     101"]);
    let refusal = ["error: cannot trace this test: `--guard no-listener`", "hint: "];
    trace("--guard no-listener does_nothing", 96, &refusal);
}

#[test]
fn a_traced_run_has_the_same_verdicts_and_tells_conflicts() {
    if refused() {
        return;
    }
    let (project, _lock) = Project::fixture_alone("traced");
    project.isotest("conflicts --target-dir target/none").run().check(4, &["no run is recorded"]);
    let counts = "12 passed, 1 failed";
    let plain = project.isotest("--no-fail-fast").run();
    plain.check(100, &[counts]);
    assert!(!plain.stderr.contains("were traced"), "{}", plain.stderr);
    let none = ["was traced", "hint: `cargo isotest --trace always`"];
    project.isotest("conflicts").run().check(4, &none);
    let traced = project.isotest("--no-fail-fast --trace always").run();
    traced.check(100, &[counts, "13 tests were traced"]);
    let port = "port tcp 8080\n    binds   traced::acts listens_and_connects\n";
    let file = "file /tmp/app.db\n    writes  traced::acts writes_a_shared_name\n    reads   \
                traced::acts reads_a_shared_name\n";
    let texts = ["13 traced tests", "would share 2 resources", port, file];
    project.isotest("conflicts").run().check(0, &texts);
    let json = "\"file\":\"/tmp/app.db\",\"writes\":[\"traced::acts writes_a_shared_name\"]";
    project.isotest("conflicts --format json").run().check(0, &[json]);
}

#[test]
fn failed_tests_are_traced_once_more() {
    if refused() {
        return;
    }
    let (project, _lock) = Project::fixture_alone("traced");
    let line = "--no-fail-fast --message-format json";
    let run = project.isotest(line).env("ISOTEST_TRACE", "on-failure").run();
    run.check(100, &["\"type\":\"test-traced\"", ".gitconfig\""]);
    assert_eq!(run.stdout.matches("test-traced").count(), 1);
    let again = project.isotest("replay --message-format json").run();
    assert_eq!(again.stdout, run.stdout);
    let run = project.isotest(&format!("{line} --trace on-retry")).run();
    assert_eq!(run.stdout.matches("test-traced").count(), 0);
    let run = project.isotest(&format!("{line} --trace on-retry --retries 1")).run();
    assert_eq!(run.stdout.matches("test-traced").count(), 1);
}
