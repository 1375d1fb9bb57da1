//! Running: retries, order, shards, stress, and what is written of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use isotest_tests::program::cargo;
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, Run, missing, refused, until};
use nix::sys::signal::Signal;
use quick_junit::{
    FlakyOrRerun, NonSuccessKind, NonSuccessReruns, Report, TestCase, TestCaseStatus, XmlString,
};
use serde_json::Value;

/// Fails until it has run as often as the number behind its name says, counted by files in the
/// project, which the tests share: `--workspace shared`.
const FLAKY: &str = r#"
#[cfg(test)]
fn run_of(name: &str) -> usize {
    let directory = std::path::Path::new("runs").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let run = std::fs::read_dir(&directory).unwrap().count() + 1;
    std::fs::write(directory.join(run.to_string()), "").unwrap();
    println!("this is run {run} of {name}");
    run
}

#[test]
fn passes_at_3() {
    assert!(run_of("passes_at_3") >= 3);
}

#[test]
fn passes() {
    run_of("passes");
}

#[test]
fn fails() {
    panic!("run {}", run_of("fails"));
}
"#;

/// A project whose tests are flaky, run with `--workspace shared`.
fn flaky(line: &str) -> (Project, Run) {
    let project = Project::new(&[("src/lib.rs", FLAKY)]);
    let run = project.isotest(&format!("--lib --workspace=shared {line}")).run();
    (project, run)
}

/// Number of runs of a test.
fn runs(project: &Project, name: &str) -> usize {
    fs::read_dir(project.directory().join("runs").join(name)).map_or(0, Iterator::count)
}

#[test]
fn a_test_that_fails_is_started_again_until_it_passes() {
    if refused() {
        return;
    }
    let (project, run) = flaky("--retries 4 passes");
    run.check(
        0,
        &[
            "test passes ... ok\n",
            "test passes_at_3 ... ok, FLAKY 3/5\n",
            "flaky:\n\n---- passes_at_3 stdout ----\nisotest: attempt 1 of 5 failed\n",
            "this is run 1 of passes_at_3\n",
            "isotest: attempt 2 of 5 failed\n",
            "this is run 2 of passes_at_3\n",
            "isotest: attempt 3 of 5 passed\n",
            "test result: ok. 2 passed; 0 failed;",
            "       Retry demo::passes_at_3 has failed; attempt 2 of 5\n",
            "2 passed (1 flaky)\n",
            "warning: 1 test failed and then passed\n    FLAKY 3/5 demo::passes_at_3\n",
        ],
    );
    assert_eq!((runs(&project, "passes"), runs(&project, "passes_at_3")), (1, 3));
}

#[test]
fn a_test_that_never_passes_shows_every_attempt() {
    if refused() {
        return;
    }
    let (project, run) = flaky("--retries 2 fails");
    run.check(
        100,
        &[
            "test fails ... FAILED\n",
            "isotest: attempt 1 of 3 failed\nthis is run 1 of fails\n",
            "isotest: attempt 2 of 3 failed\nthis is run 2 of fails\n",
            "isotest: attempt 3 of 3 failed\nthis is run 3 of fails\n",
            "0 passed, 1 failed\n",
        ],
    );
    assert_eq!(runs(&project, "fails"), 3);
}

#[test]
fn without_retries_a_test_runs_once() {
    if refused() {
        return;
    }
    let (project, run) = flaky("fails passes_at_3");
    run.check(100, &["0 passed, 2 failed\n"]);
    assert!(!run.stdout.contains("attempt"));
    assert_eq!((runs(&project, "fails"), runs(&project, "passes_at_3")), (1, 1));
}

#[test]
fn a_flaky_test_is_a_failed_one_where_that_is_asked_for() {
    if refused() {
        return;
    }
    let (_project, run) = flaky("--retries 2 --flaky-result fail passes");
    run.check(
        100,
        &[
            "test passes_at_3 ... FAILED, FLAKY 3/3\n",
            "isotest: attempt 3 of 3 passed\nthis is run 3 of passes_at_3\n",
            "isotest: passed only on a retry, which counts as a failure (`flaky-result` is `fail`)\n",
            "1 passed, 1 failed (1 flaky)\n",
            "help: to rerun the failed tests\n    cargo isotest --workspace=shared --lib -- --exact passes_at_3\n",
        ],
    );
}

#[test]
fn the_json_result_of_a_retried_test_has_its_failed_attempts() {
    if refused() {
        return;
    }
    let (_project, run) =
        flaky("--retries 2 passes_at_3 -- --format json -Z unstable-options --report-time");
    run.check(0, &[]);
    let events = run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let events: Vec<Value> = events.collect();
    let started = events.iter().filter(|event| event["event"] == "started");
    assert_eq!(started.filter(|event| event["type"] == "test").count(), 1);
    let result = events.iter().find(|event| event["event"] == "ok").expect("a result");
    assert_eq!((&result["attempt"], &result["attempts"]), (&3.into(), &3.into()));
    let failed = result["failed_attempts"].as_array().expect("a list");
    assert_eq!(failed.len(), 2);
    for (attempt, number) in failed.iter().zip(1..) {
        assert_eq!(attempt["attempt"], number);
        assert!(attempt["exec_time"].is_f64());
        let stdout = attempt["stdout"].as_str().expect("text");
        assert!(stdout.contains(&format!("this is run {number} of passes_at_3\n")), "{stdout}");
    }
}

#[test]
fn after_enough_failures_nothing_is_started_again() {
    if refused() {
        return;
    }
    // One at a time, by name: `fails` has used up its attempts before `passes_at_3` starts.
    let (project, run) = flaky("--retries 2 --fail-fast --test-threads 1");
    run.check(100, &["0 passed, 1 failed, 2 cancelled\n"]);
    assert_eq!((runs(&project, "fails"), runs(&project, "passes_at_3")), (3, 0));
}

/// Tests that end in different ways, below a name that XML has to escape.
const WAYS: &str = r#"
#[test]
fn passes() {
    println!("not shown");
}

#[test]
fn fails() {
    println!("before \u{1b}[31m<red>\u{1b}[0m \u{1} & after");
    panic!("one < two");
}

#[test]
fn returns_an_error() -> Result<(), String> {
    Err("bad".into())
}

#[test]
fn aborts() {
    std::process::abort();
}

#[test]
fn hangs() {
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "needs a \"database\""]
fn is_ignored() {}

#[test]
fn leaves_a_process() {
    std::process::Command::new("sleep").arg("1000").spawn().unwrap();
}
"#;

/// The report that a run has written to `junit.xml`.
fn report(project: &Project) -> Report {
    let text = fs::read_to_string(project.directory().join("out/junit.xml")).expect("a report");
    Report::deserialize_from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// A case of a report.
fn case<'a>(report: &'a Report, name: &str) -> &'a TestCase {
    let mut cases = report.test_suites.iter().flat_map(|suite| &suite.test_cases);
    cases.find(|case| case.name.as_str() == name).unwrap_or_else(|| panic!("no case {name}"))
}

/// Type, message and text of a failed case, and its reruns.
fn failure(case: &TestCase) -> (&str, &str, &str, &NonSuccessReruns) {
    let TestCaseStatus::NonSuccess { kind, message, ty, description, reruns } = &case.status else {
        panic!("{case:?}");
    };
    assert_eq!(*kind, NonSuccessKind::Failure);
    let [ty, message, description] =
        [ty, message, description].map(|it| it.as_ref().map_or("", XmlString::as_str));
    (ty, message, description, reruns)
}

#[test]
fn a_junit_report_has_every_way_to_end() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", WAYS), ("tests/it.rs", "#[test]\nfn it() {}\n")]);
    let line = "--lib --test it --timeout 5s --junit out/junit.xml";
    project.isotest(line).run().check(100, &["3 passed, 4 failed"]);
    let report = report(&project);
    assert_eq!((report.tests, report.failures, report.skipped, report.errors), (8, 4, 1, 0));
    assert!(report.time.is_some() && report.timestamp.is_some());
    let [lib, it] = &report.test_suites[..] else { panic!("{:?}", report.test_suites) };
    assert_eq!((lib.name.as_str(), it.name.as_str()), ("demo", "demo::it"));
    let has = |name, value| {
        let mut properties = lib.properties.iter();
        properties.any(|it| it.name.as_str() == name && it.value.as_str() == value)
    };
    assert!(has("isotest.net", "loopback") && has("isotest.timeout", "5s"), "{:?}", lib.properties);

    let passed = case(&report, "passes");
    assert_eq!(passed.status, TestCaseStatus::success());
    assert_eq!(passed.classname.as_ref().map(XmlString::as_str), Some("demo"));
    assert_eq!(passed.system_out, None);
    assert!(passed.time.is_some() && passed.timestamp.is_some());

    let failed = case(&report, "fails");
    let (kind, message, text, _) = failure(failed);
    assert_eq!(kind, "test failure with exit code 101");
    assert!(message.starts_with("thread 'fails' ") && message.contains("panicked at src/lib.rs"));
    assert!(text.ends_with("\none < two"), "{text}");
    let output = failed.system_out.as_ref().expect("its output").as_str();
    assert!(output.starts_with("before <red>  & after\n"), "{output}");
    assert_eq!(failure(case(&report, "returns_an_error")).1, "Error: \"bad\"");
    assert_eq!(failure(case(&report, "aborts")).0, "test abort with SIGABRT");
    let (kind, message, ..) = failure(case(&report, "hangs"));
    assert_eq!(kind, "test timeout");
    assert!(message.starts_with("timed out after 5s"), "{message}");

    let TestCaseStatus::Skipped { message: Some(reason), .. } = &case(&report, "is_ignored").status
    else {
        panic!("{:?}", case(&report, "is_ignored"))
    };
    assert_eq!(reason.as_str(), "needs a \"database\"");
    let [finding] = &case(&report, "leaves_a_process").properties[..] else { panic!("no finding") };
    assert_eq!(finding.name.as_str(), "isotest.finding.leaves-process");
    assert!(finding.value.as_str().starts_with("left 1 process behind: `sleep"), "{finding:?}");
}

#[test]
fn a_junit_report_has_the_attempts_of_what_was_retried() {
    if refused() {
        return;
    }
    let (project, _) = flaky("--retries 2 --junit out/junit.xml");
    let flaky_pass = report(&project);
    let TestCaseStatus::Success { flaky_runs } = &case(&flaky_pass, "passes_at_3").status else {
        panic!("{flaky_pass:?}")
    };
    let outputs: Vec<&str> = flaky_runs
        .iter()
        .filter_map(|run| run.system_out.as_ref())
        .map(XmlString::as_str)
        .collect();
    assert_eq!(outputs.len(), 2);
    assert!(outputs[1].starts_with("this is run 2 of passes_at_3\n"), "{outputs:?}");
    let failed = case(&flaky_pass, "fails");
    let (_, _, text, reruns) = failure(failed);
    assert!(text.ends_with("\nrun 1"), "{text}");
    assert_eq!((reruns.kind, reruns.runs.len()), (FlakyOrRerun::Rerun, 2));
    let last = reruns.runs[1].description.as_ref().expect("a panic");
    assert!(last.as_str().ends_with("\nrun 3"), "{last:?}");

    let (project, _) = flaky("--retries 2 --flaky-result fail --junit out/junit.xml passes_at_3");
    let flaky_fail = report(&project);
    let (_, _, _, reruns) = failure(case(&flaky_fail, "passes_at_3"));
    assert_eq!((reruns.kind, reruns.runs.len()), (FlakyOrRerun::Flaky, 2));
}

#[test]
fn a_junit_report_is_xml_whatever_a_test_prints() {
    if refused() {
        return;
    }
    const PRINTS: &str = r#"
#[test]
fn prints() {
    println!("one\u{fffe}\u{0}\u{1b}[31m ]]> <two>");
    panic!("three\u{ffff}\u{8}");
}
"#;
    let project = Project::new(&[("src/lib.rs", PRINTS)]);
    project.isotest("--lib --junit junit.xml").run().check(100, &[]);
    let file = project.directory().join("junit.xml");
    let text = fs::read_to_string(file).expect("the run has left it");
    // The rule `Char` of XML 1.0.
    let is_xml = |character| {
        matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}'
            | '\u{10000}'..)
    };
    assert!(text.chars().all(is_xml), "{text:?}");
    assert!(text.contains("one ]]&gt; &lt;two&gt;") && text.contains("three"), "{text}");
}

#[test]
fn a_junit_report_that_cannot_be_written_is_told_of() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    // Nothing is run for a report that could not be written then.
    let early = project.isotest("--lib --junit Cargo.toml/junit.xml").run();
    early.check(110, &["error: cannot write the JUnit report `", "/Cargo.toml/junit.xml`: "]);
    assert!(!early.stdout.contains("running"));
    let late = project.isotest("--lib --junit /dev/full").run();
    late.check(
        110,
        &[
            "test passes ... ok",
            "error: cannot write the JUnit report `/dev/full`: No space left on device",
        ],
    );
}

/// A test has put something in the place of the report, an earlier one or one of this run: nothing is
/// written elsewhere, and nobody waits for a reader.
#[test]
fn a_junit_report_is_written_through_no_link_and_no_fifo() {
    if refused() {
        return;
    }
    let places = r#"
        #[test]
        fn places() {
            std::fs::remove_file("junit.xml").unwrap();
            let made = match std::env::var("PLACE_A_LINK") {
                Ok(_) => std::process::Command::new("ln").args(["-s", "Cargo.toml", "junit.xml"]).status(),
                Err(_) => std::process::Command::new("mkfifo").arg("junit.xml").status(),
            };
            assert!(made.unwrap().success());
        }"#;
    let project = Project::new(&[("src/lib.rs", places)]);
    let manifest = || fs::read_to_string(project.directory().join("Cargo.toml")).unwrap();
    let (before, report) = (manifest(), project.directory().join("junit.xml"));
    let run = |variable: Option<&str>| {
        let call =
            project.isotest("--lib --junit junit.xml --workspace shared --pass-env PLACE_A_LINK");
        variable.into_iter().fold(call, |call, value| call.env("PLACE_A_LINK", value)).run()
    };
    for variable in [None, Some("link")] {
        run(variable).check(0, &["1 passed"]);
        assert!(fs::symlink_metadata(&report).unwrap().is_file(), "{variable:?}");
        assert!(fs::read_to_string(&report).unwrap().contains("places"), "{variable:?}");
    }
    fs::remove_file(&report).unwrap();
    symlink("Cargo.toml", &report).unwrap();
    run(None).check(110, &["junit.xml` is a symbolic link, which is not followed"]);
    fs::remove_file(&report).unwrap();
    nix::unistd::mkfifo(&report, nix::sys::stat::Mode::S_IRWXU).unwrap();
    run(None).check(110, &["junit.xml`: it is not a regular file"]);
    assert_eq!(manifest(), before);
}

/// The program of a failed test is searched for clues only if it is still a regular file.
#[test]
fn a_test_that_puts_a_fifo_in_the_place_of_its_program_keeps_nobody_waiting() {
    if refused() {
        return;
    }
    let fails = r#"
        #[test]
        fn fails() {
            let program = std::env::current_exe().unwrap();
            std::fs::remove_file(&program).unwrap();
            std::process::Command::new("mkfifo").arg(&program).status().unwrap();
            panic!("No such file or directory");
        }"#;
    let project = Project::new(&[("src/lib.rs", fails)]);
    let call = project.isotest("--lib --workspace shared").env("SOME_NAME", "x");
    call.run().check(100, &["1 failed"]);
}

/// Two binaries of twelve tests that pass, one that is ignored, and one that fails where a file
/// says so.
fn many() -> Project {
    let test = |number| format!("#[test]\nfn t{number:02}() {{}}\n");
    let tests: String = (0..12).map(test).collect();
    let ignored = "#[test]\n#[ignore]\nfn is_ignored() {}\n";
    let unit = format!("#[cfg(test)]\nmod tests {{\n{tests}{ignored}}}\n");
    Project::new(&[("src/lib.rs", &unit), ("tests/it.rs", &tests)])
}

/// The names of the tests that have run, with their binaries, in the order in which they ended.
fn order(run: &Run) -> Vec<String> {
    let mut binary = 0;
    let name = |line: &str| {
        binary += usize::from(line.starts_with("running "));
        let name = line.strip_prefix("test ")?.strip_suffix(" ... ok")?;
        Some(format!("{binary} {name}"))
    };
    run.stdout.lines().filter_map(name).collect()
}

#[test]
fn a_seed_gives_an_order_and_gives_it_again() {
    if refused() {
        return;
    }
    let project = many();
    let shuffled = |words: &str| {
        let run = project.isotest(&format!("--lib --test it --test-threads 1 {words}")).run();
        run.check(0, &["24 passed, 1 ignored"]);
        (order(&run), run)
    };
    let (usual, run) = shuffled("");
    assert!(usual.is_sorted() && !run.stdout.contains("seed"), "{usual:?}");
    let (seven, run) = shuffled("--shuffle=7");
    run.check(0, &["running 13 tests (shuffle seed: 7)\n", " (shuffle seed: 7): 24 passed"]);
    assert!(!seven.is_sorted(), "{seven:?}");
    assert_eq!(shuffled("--shuffle=7").0, seven);
    assert_ne!(shuffled("--shuffle=8").0, seven);
    // A seed of its own, which is told.
    let (random, run) = shuffled("--shuffle");
    let seed = run.stderr.split("(shuffle seed: ").nth(1).and_then(|rest| rest.split(')').next());
    let seed: u64 = seed.and_then(|seed| seed.parse().ok()).expect("a seed");
    assert_eq!(shuffled(&format!("--shuffle={seed}")).0, random);
    // What is left out does not change the order of the rest.
    let run = project.isotest("--lib --test it --test-threads 1 --shuffle=7 t0").run();
    let rest: Vec<String> = seven.into_iter().filter(|name| name.contains("t0")).collect();
    assert_eq!(order(&run), rest);
}

#[test]
fn json_and_junit_have_the_seed() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let line = "--lib --shuffle=7 --junit out/junit.xml -- -Z unstable-options --format json";
    let run = project.isotest(line).run();
    run.check(0, &[r#""event": "started", "test_count": 1, "shuffle_seed": 7 }"#]);
    let report = report(&project);
    let mut properties = report.test_suites[0].properties.iter();
    assert!(
        properties.any(|it| it.name.as_str() == "isotest.shuffle-seed" && it.value.as_str() == "7")
    );
}

#[test]
fn what_has_failed_is_run_again_until_it_passes() {
    if refused() {
        return;
    }
    let failing = |name: &str| {
        format!("#[test]\nfn {name}() {{\n    assert!(std::fs::exists(\"{name}\").unwrap());\n}}\n")
    };
    let text = failing("one") + &failing("two") + "#[test]\nfn passes() {}\n";
    let project = Project::new(&[("src/lib.rs", &text)]);
    let again = || project.isotest("--lib --rerun-failed").run();
    let nothing = "error: no failed tests to rerun";
    again().check(4, &[nothing, "/target/isotest/runs`"]);
    project.isotest("--lib").run().check(100, &["1 passed, 2 failed"]);
    let run = again();
    run.check(100, &["running 2 tests\n", "0 passed, 2 failed"]);
    assert!(!run.stdout.contains("test passes"));
    fs::write(project.directory().join("one"), "").expect("it is writable");
    again().check(100, &["1 passed, 1 failed"]);
    // What a run leaves alone stays.
    project.isotest("--lib passes").run().check(0, &["1 passed"]);
    again().check(100, &["running 1 test\ntest two ... FAILED\n"]);
    fs::write(project.directory().join("two"), "").expect("it is writable");
    again().check(0, &["1 passed"]);
    again().check(4, &[nothing]);
}

#[test]
fn a_test_that_is_gone_is_not_run_again() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", "#[test]\nfn fails() {\n    panic!();\n}\n")]);
    project.isotest("--lib").run().check(100, &["1 failed"]);
    fs::write(project.directory().join(PASSING.0), PASSING.1).expect("it is writable");
    project.isotest("--lib --rerun-failed").run().check(4, &["cannot find a test"]);
    project.isotest("--lib").run().check(0, &["1 passed"]);
    project.isotest("--lib --rerun-failed").run().check(4, &["no failed tests to rerun"]);
}

#[test]
fn an_order_may_be_asked_for_as_of_libtest() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let line = "--lib -- -Z unstable-options --shuffle-seed 7";
    project.isotest(line).run().check(0, &["running 1 test (shuffle seed: 7)\n"]);
    let line = "--lib -- -Z unstable-options --shuffle";
    project.isotest(line).run().check(0, &["running 1 test (shuffle seed: "]);
}

#[test]
fn readers_of_xml_take_what_a_test_has_written_much_of() {
    if refused() || missing("xmllint") {
        return;
    }
    let text = r#"
fn write(text: &str) {
    use std::io::Write;
    let text = text.repeat(13_000_000 / text.len());
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}
#[test]
fn a_escaped() {
    write("<&>\"'\n");
    panic!("{}", "<".repeat(12_000_000));
}
#[test]
fn b_lines() {
    write("a line as a server logs it\n");
}
#[test]
fn c_two_bytes() {
    write("\u{e4}\u{fc}");
    panic!("at the end");
}
"#;
    let project = Project::new(&[("src/lib.rs", text)]);
    let line = "--lib --timeout 2m --junit out/junit.xml --retries 1 -- --show-output";
    let run = project.isotest(line).run();
    assert_eq!(run.code, 100);
    assert!(run.stderr.contains("1 passed, 2 failed"));
    let read = Call::new("xmllint", project.directory()).words("--noout out/junit.xml").run();
    read.check(0, &[]);
    assert_eq!(read.stderr, "");
    let report = report(&project);
    let output = case(&report, "b_lines").system_out.as_ref().expect("its output").as_str();
    assert!(output.starts_with("a line as a server logs it\n"));
    // Who reads the report leaves out the last end of a line.
    assert!(output.trim_end().ends_with("a line as a server logs it"));
    assert!(output.contains("\n[isotest: ") && output.contains(" bytes cut here"), "it is cut");
}

/// The tests that `list` names in one part.
fn listed(project: &Project, part: &str) -> Vec<String> {
    let line = format!("list --lib --test it --partition {part}");
    let run = project.isotest(&line).run();
    run.check(0, &[]);
    run.stdout
        .lines()
        .filter(|line| line.contains("t0") || line.contains("t1"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn parts_are_disjoint_and_together_are_all() {
    if refused() {
        return;
    }
    let project = many();
    let mut all = listed(&project, "slice:1/1");
    assert_eq!(all.len(), 24);
    all.sort();
    for scheme in ["slice", "hash", "count"] {
        let part = |number| listed(&project, &format!("{scheme}:{number}/3"));
        let parts: Vec<Vec<String>> = (1..=3).map(part).collect();
        assert!(parts.iter().all(|part| !part.is_empty()), "{scheme}: {parts:?}");
        let mut together = parts.concat();
        together.sort();
        assert_eq!(together, all, "{scheme}");
    }
}

#[test]
fn a_part_runs_what_it_lists() {
    if refused() {
        return;
    }
    let project = many();
    let line = "--lib --test it --partition slice:2/5 --junit out/junit.xml";
    let run = project.isotest(line).run();
    run.check(0, &["     Summary 5 tests in", "5 passed", "10 filtered out"]);
    assert_eq!(order(&run).len(), listed(&project, "slice:2/5").len());
    // A test that no part runs is told of once.
    project.isotest("--lib --partition slice:1/5").run().check(0, &["1 ignored"]);
    let report = report(&project);
    let mut properties = report.test_suites[0].properties.iter();
    let is_part = |value: &str| value == "slice:2/5";
    assert!(
        properties.any(|it| it.name.as_str() == "isotest.partition" && is_part(it.value.as_str()))
    );
}

#[test]
fn the_ci_system_tells_the_part() {
    if refused() {
        return;
    }
    let project = many();
    let call = |variables: &[(&str, &str)]| {
        let call = project.isotest("list --lib --test it --partition auto");
        variables.iter().fold(call, |call, (name, value)| call.env(name, value)).run()
    };
    let second = project.isotest("list --lib --test it --partition slice:2/3").run();
    let run = call(&[("CIRCLE_NODE_INDEX", "1"), ("CIRCLE_NODE_TOTAL", "3")]);
    run.check(0, &[]);
    assert_eq!(run.stdout, second.stdout);
    let said = "error: cannot determine the partition for `--partition auto`: none of these";
    call(&[]).check(2, &[said]);
    call(&[("GITHUB_ACTIONS", "true")])
        .check(2, &["STRATEGY_JOB_INDEX: ${{ strategy.job-index }}"]);
    let line = "--partition slice:9/3";
    project.isotest(line).run().check(2, &["there is no part 9 of 3: they are numbered from 1"]);
    let empty = project.isotest("--lib t03 --partition slice:2/3").run();
    empty.check(4, &["cannot find a test that the filters select in part 2 of 3, among 13"]);
}

#[test]
fn parts_are_those_of_nextest() {
    if refused() {
        return;
    }
    let project = many();
    let nextest =
        |words: &str| Call::new(cargo(), project.directory()).words("nextest").words(words).run();
    if nextest("--version").code != 0 {
        println!("skipped: cargo nextest is not installed");
        return;
    }
    // Both print the same JSON.
    let selected = |run: Run| {
        let list: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let suites = list["rust-suites"].as_object().expect("suites").clone();
        let mut names = Vec::new();
        for (id, suite) in suites {
            for (name, case) in suite["testcases"].as_object().expect("cases") {
                let is_run =
                    case["filter-match"]["status"] == "matches" && case["ignored"] == false;
                names.extend(is_run.then(|| format!("{id} {name}")));
            }
        }
        names.sort();
        assert!(!names.is_empty());
        names
    };
    for part in ["slice:1/3", "slice:3/3", "hash:1/3", "hash:2/3", "count:2/5"] {
        let words = format!("list --lib --test it --message-format json --partition {part}");
        let theirs = selected(nextest(&words));
        assert_eq!(selected(project.isotest(&words).run()), theirs, "{part}");
    }
}

#[test]
fn the_slowest_tests_are_named_in_their_order() {
    if refused() {
        return;
    }
    let project = many();
    let run = project.isotest("--lib --test it --slowest 5").run();
    run.check(0, &["\nslowest:\n    "]);
    let list = run.stderr.split("\nslowest:\n").nth(1).unwrap_or_default();
    let rows = list.lines().filter_map(|line| line.trim_start().split_once("s demo::"));
    let seconds: Vec<f64> = rows.filter_map(|(seconds, _)| seconds.parse().ok()).collect();
    assert_eq!(seconds.len(), 5, "{list}");
    assert!(seconds.is_sorted_by(|one, next| one >= next), "{list}");
    assert!(!project.isotest("--lib t03").run().stderr.contains("slowest"));
}

#[test]
fn a_workflow_gets_annotations_and_a_summary() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", FLAKY)]);
    let summary = project.directory().join("summary.md");
    fs::write(&summary, "# Before\n").expect("it is writable");
    let call = || project.isotest("--lib --workspace=shared --retries 2");
    let call_in_workflow = |summary: &Path| {
        call()
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_WORKSPACE", project.directory().parent().expect("it has one"))
            .env("GITHUB_STEP_SUMMARY", summary)
    };
    let run = call_in_workflow(&summary).run();
    let name = project.directory().file_name().expect("it has one").display().to_string();
    run.check(
        100,
        &[
            &format!("\n::error file={name}/src/lib.rs,line="),
            ",title=demo%3A%3Afails::thread 'fails' ",
            "::warning title=Flaky test::FLAKY 3/3 demo::passes_at_3\n",
        ],
    );
    // What tests print between the two is no command.
    let stopped = run.stderr.split_once("::stop-commands::").expect("they are stopped").1;
    let (token, rest) = stopped.split_once('\n').expect("a line");
    let (before, after) =
        rest.split_once(&format!("\n::{token}::\n")).expect("they are not any more");
    assert!(!before.contains("::error") && after.starts_with("::error"), "{rest}");
    let text = fs::read_to_string(&summary).expect("it was there");
    assert!(text.starts_with("# Before\n## Tests\n"), "{text}");
    assert!(text.contains("| 2 | 1 | 1 | 0 | 0 | "), "{text}");
    assert!(text.contains("❌ <code>demo::fails</code>"), "{text}");
    let warning = "warning: cannot write the summary to the file of GITHUB_STEP_SUMMARY: ";
    call_in_workflow(project.directory()).run().check(100, &[warning]);
    // Elsewhere nothing of it is printed.
    assert!(!call().run().stderr.contains("::error"));
}

/// Passes once there are two of it at the same time.
const TOGETHER: &str = r#"
#[test]
fn meets_its_like() {
    let name = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    std::fs::create_dir_all("here").unwrap();
    std::fs::write(format!("here/{}", name.trim()), "").unwrap();
    while std::fs::read_dir("here").unwrap().count() < 2 {
        std::thread::yield_now();
    }
}
"#;

#[test]
fn copies_of_a_test_run_beside_each_other() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", TOGETHER)]);
    let line = "--lib --workspace=shared --stress-count 2 --test-threads 2";
    let run = project.isotest(line).run();
    run.check(
        0,
        &["test demo::meets_its_like ... ok, 2 runs · 0 failures (0.0 %, 95 %: 0.0–84.2 %)"],
    );
}

#[test]
fn a_stress_run_counts_failures_and_shows_the_first() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", FLAKY)]);
    let line = "--lib --workspace=shared --stress-count 20 --test-threads 1 --shuffle=1";
    let run = project.isotest(line).run();
    run.check(
        100,
        &[
            "test demo::passes ... ok, 20 runs · 0 failures (0.0 %, 95 %: 0.0–16.8 %) · ",
            "test demo::fails ... FAILED, 20 runs · 20 failures (100.0 %, 95 %: 83.2–100.0 %) · ",
            "test demo::passes_at_3 ... FAILED, 20 runs · 2 failures (10.0 %, 95 %: 1.2–31.7 %) · ",
            "\n---- demo::passes_at_3, run 1 ----\nthis is run 1 of passes_at_3\n",
            "     Summary 60 runs · 22 failures (36.7 %, 95 %: 24.6–50.1 %) · ",
        ],
    );
    assert_eq!(run.stdout.matches("\n---- ").count(), 2);
    for name in ["passes", "fails", "passes_at_3"] {
        assert_eq!(runs(&project, name), 20, "{name}");
    }
}

#[test]
fn a_stress_run_ends_in_time_at_a_failure_or_by_a_signal() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", FLAKY)]);
    let call = |words: &str| project.isotest(&format!("--lib --workspace=shared {words}"));
    call("--stress-duration 1s --exact passes").run().check(0, &["test demo::passes ... ok, "]);
    assert!(runs(&project, "passes") > 1);
    call("--stress-duration 1h --fail-fast fails").run().check(100, &["... FAILED, "]);
    let before = runs(&project, "passes");
    let running = call("--stress-duration 1h --exact passes").start();
    until("some runs", || (runs(&project, "passes") > before + 3).then_some(()));
    running.signal(Signal::SIGINT);
    running.end().check(130, &["test demo::passes ... ok, ", "error: interrupted by SIGINT"]);
}

#[test]
fn what_does_not_go_with_stress_is_refused() {
    let project = Project::new(&[PASSING]);
    let refused = |line: &str, said: &str| project.isotest(line).run().check(2, &[said]);
    refused("--stress-count 2 --retries 1", "a stress run cannot retry failed tests");
    refused("--stress-count 2 --junit x.xml", "cannot be used with");
    refused("--stress-count 0", "number would be zero");
    refused("--stress-duration soon", "try `90s` or `2m`");
    refused(
        "--stress-count 2 -- --format json -Z unstable-options",
        "error: a stress run has no results in JSON",
    );
}

#[test]
fn threads_are_counted_from_the_processors() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    for count in ["-1", "-1000", "num-cpus", "2"] {
        project.isotest(&format!("--lib --test-threads {count}")).run().check(0, &["1 passed"]);
    }
    let none = project.isotest("--lib --test-threads 0").run();
    none.check(
        2,
        &["no test could run then; try `4`, `-1` (all processors but one) or `num-cpus`"],
    );
}

#[test]
fn what_is_built_and_not_run_is_named_as_by_cargo() {
    let project = Project::new(&[PASSING, ("tests/it.rs", "#[test]\nfn fails() { panic!() }\n")]);
    let lines = |run: &Run| {
        let is_told = |line: &&str| line.starts_with("  Executable ");
        run.stderr.lines().filter(is_told).map(str::to_owned).collect::<Vec<_>>()
    };
    let [ours, cargos] =
        [project.isotest("--no-run"), project.cargo_test("--no-run")].map(|call| call.run());
    ours.check(0, &["  Executable unittests src/lib.rs (target/debug/deps/demo-"]);
    assert_eq!(lines(&ours), lines(&cargos));
    assert_eq!(ours.stdout, "");
    let quiet = project.isotest("--no-run --quiet").run();
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
}
