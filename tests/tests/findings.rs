//! Findings in reports, and the gates that they open and close.

use std::fs;
use std::path::Path;

use isotest_tests::program::workspace;
use isotest_tests::{Project, Run, refused};
use serde_json::Value;

/// Tests that have findings: some pass, one fails, and the process of one has a hostile name.
const TESTS: &str = r#"
use std::process::Command;

#[test]
fn is_hermetic() {}

#[test]
fn leaves_one() {
    Command::new("sleep").arg("1000").spawn().unwrap();
}

#[test]
fn leaves_one_too() {
    Command::new("sleep").arg("1000").spawn().unwrap();
}

#[test]
fn leaves_a_hostile_one() {
    let script = "printf '[x](y){0}\u{202e}' > /proc/$$/comm; kill -STOP $$";
    let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
    let comm = format!("/proc/{}/comm", child.id());
    while !std::fs::read_to_string(&comm).unwrap().starts_with("[x]") {
        std::thread::yield_now();
    }
}

#[test]
fn fails_without_a_network() {
    let _ = std::net::UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", "192.0.2.1:9");
    panic!("no answer");
}
"#;

fn project() -> Project {
    Project::new(&[("src/lib.rs", ""), ("tests/it.rs", TESTS)])
}

/// A file of the project that a run has written.
fn read(project: &Project, path: impl AsRef<Path>) -> String {
    fs::read_to_string(project.directory().join(path)).expect("it was written")
}

/// A SARIF log that fits its schema.
fn log(project: &Project, path: &str) -> Value {
    let schema = fs::read(workspace().join("tests/schemas/sarif-2.1.0.json")).expect("it is there");
    let mut schema: Value = serde_json::from_slice(&schema).expect("it is JSON");
    for of in ["run", "toolComponent"] {
        // Its pattern is no regular expression; the second edition of the standard mends it.
        let language = &mut schema["definitions"][of]["properties"]["language"];
        language.as_object_mut().expect("a property").remove("pattern");
    }
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let log: Value = serde_json::from_str(&read(project, path)).expect("it is JSON");
    let errors: Vec<String> = validator
        .iter_errors(&log)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}\n{log:#}");
    log
}

/// Text of a stream behind the summary line.
fn closing(run: &Run) -> &str {
    run.stderr.split_once("Summary").expect("a summary").1
}

#[test]
fn findings_are_grouped_by_code_and_all_are_shown_on_demand() {
    if refused() {
        return;
    }
    // Few are listed one by one.
    let run = project().isotest("--test it").run();
    let few =
        "note[leaves-process]: 3 tests left processes behind\n    demo::it::leaves_a_hostile_one: ";
    run.check(100, &[few, "\n    demo::it::leaves_one: left 1 process behind: "]);
    assert!(!run.stderr.contains("--findings all"), "{}", run.stderr);
    let more = (0..4).map(|number| {
        format!("#[test]\nfn more_{number}() {{ Command::new(\"sleep\").arg(\"1000\").spawn().unwrap(); }}\n")
    });
    let tests = TESTS.to_owned() + &more.collect::<String>();
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", &tests)]);
    let run = project.isotest("--test it").run();
    run.check(
        100,
        &[
            "note[leaves-process]: 7 tests left processes behind\n    6 tests: left 1 process behind: ",
            "\n    demo::it::leaves_a_hostile_one: left 1 process behind: ",
            "warning[net-attempt]: 1 test tried to reach the network",
            "help: to list all findings\n    cargo isotest replay --findings all\n",
        ],
    );
    let all = project.isotest("replay --findings all").run();
    all.check(0, &["demo::it::leaves_one: left 1", "demo::it::leaves_one_too: left 1"]);
    let none = project.isotest("--test it --findings none").run();
    assert!(!closing(&none).contains("leaves-process"), "{}", none.stderr);
    let quiet = project.isotest("-q --test it -- leaves_one").run();
    assert!(!quiet.stderr.contains("Summary"), "{}", quiet.stderr);
    let loud = project.isotest("-q --test it").run();
    loud.check(100, &["warning[net-attempt]"]);
    let unrecorded = project.isotest("--test it --no-record").run();
    unrecorded.check(100, &["help: to list all findings\n    --findings all\n"]);
}

#[test]
fn a_sarif_log_fits_its_schema_and_is_the_same_of_each_run() {
    if refused() {
        return;
    }
    let project = project();
    project.isotest("--test it --sarif out/findings.sarif").run().check(100, &[]);
    let first = log(&project, "out/findings.sarif");
    let results = first["runs"][0]["results"].as_array().expect("a list");
    let of = |name: &str| {
        let name = format!("demo::it::{name}");
        let mut results = results.iter();
        let found = results.find(|result| {
            result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == name.as_str()
        });
        found.unwrap_or_else(|| panic!("no result of {name}: {results:?}"))
    };
    let failed = of("fails_without_a_network");
    assert_eq!((&failed["ruleId"], &failed["level"]), (&"net-attempt".into(), &"warning".into()));
    let place = &failed["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "tests/it.rs");
    assert_eq!(place["region"]["startLine"], 30);
    let hostile = of("leaves_a_hostile_one")["message"]["text"].as_str().expect("a text");
    assert!(hostile.contains(r"\[x\](y){{0}}"), "{hostile}");
    assert!(!hostile.contains('\u{202e}') && !hostile.contains('\n'), "{hostile}");
    assert_eq!(of("leaves_one")["level"], "note");

    project.isotest("replay --sarif out/again.sarif").run().check(0, &[]);
    let prints = |log: &Value| {
        let results = log["runs"][0]["results"].as_array().expect("a list").iter();
        results.map(|result| result["partialFingerprints"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(prints(&log(&project, "out/again.sarif")), prints(&first));
    project.isotest("--test it --test-threads 1 --sarif out/again.sarif").run().check(100, &[]);
    assert_eq!(prints(&log(&project, "out/again.sarif")), prints(&first));

    project.isotest("--test it --unit binary --sarif out/whole.sarif").run().check(100, &[]);
    let whole = log(&project, "out/whole.sarif");
    let location = &whole["runs"][0]["results"][0]["locations"][0]["logicalLocations"][0];
    assert_eq!((&location["kind"], &location["name"]), (&"module".into(), &"demo::it".into()));
    project
        .isotest("--test it --sarif /dev/full")
        .run()
        .check(110, &["cannot write the SARIF log"]);
    project.isotest("--test it --sarif target").run().check(110, &["cannot write the SARIF log"]);
}

#[test]
fn every_code_of_findings_has_its_row_in_the_book() {
    let page = fs::read_to_string(workspace().join("docs/findings.md")).expect("it is there");
    let codes = isotest_core::finding::Code::ALL;
    for code in codes {
        assert!(page.contains(&format!("| `{code}` |")), "{code}");
    }
}

/// A project whose configuration is `config`.
fn configured(config: &str) -> Project {
    let files = [("src/lib.rs", ""), ("tests/it.rs", TESTS), (".config/isotest.toml", config)];
    Project::new(&files)
}

#[test]
fn a_denied_finding_fails_the_test_with_the_finding_as_the_reason() {
    if refused() {
        return;
    }
    let project = project();
    let line = "--test it --deny leaves-process,memory --junit out/junit.xml -- --exact leaves_one";
    let run = project.isotest(line).run();
    run.check(
        100,
        &[
            "test leaves_one ... FAILED\n",
            "---- leaves_one stdout ----\nisotest: denied: left 1 process behind: ",
            " [leaves-process]\nisotest: hint: the test itself passed; ",
            "1 failed (1 denied)",
            "error[leaves-process]: 1 test left processes behind\n",
            "cargo isotest --deny=leaves-process,memory --test it -- --exact leaves_one\n",
        ],
    );
    assert!(!run.stderr.contains("flaky"), "it is not run again:\n{}", run.stderr);
    let report = read(&project, "out/junit.xml");
    assert!(report.contains("type=\"denied finding\">denied: left 1 process behind: "), "{report}");
    let json = project.isotest("--test it --deny all --message-format json").run();
    json.check(100, &["\"verdict\":\"denied\",\"codes\":[\"leaves-process\"]", "\"denied\":3"]);
    // A test that fails anyway stays what it is.
    json.check(100, &["\"test\":\"fails_without_a_network\",\"verdict\":\"failed\""]);
    let replayed = project.isotest("replay --format pretty").run();
    replayed.check(0, &["denied: left 1 process behind: "]);
    project.isotest("--rerun-failed --test it").run().check(100, &["4 tests", "1 failed"]);

    let retried = project.isotest("--test it --deny all --retries 2 leaves_one").run();
    retried.check(100, &["isotest: attempt 3 of 3 failed\nisotest: denied: "]);
    let stopped = project.isotest("--test it --deny all --fail-fast --test-threads 1 leaves").run();
    stopped.check(100, &["1 failed"]);
    project.isotest("--test it --deny none leaves").run().check(0, &["3 passed"]);
    let whole = project.isotest("--test it --unit binary --deny all leaves").run();
    whole.check(100, &["3 passed", "error[leaves-process]: 1 test left processes behind\n"]);
    whole.check(100, &["a test of demo::it: left 3 processes behind"]);
    project.isotest("replay --exit-code").run().check(100, &["error[leaves-process]"]);
}

#[test]
fn codes_are_denied_by_profile_and_override() {
    if refused() {
        return;
    }
    let project = configured(
        "[profile.default]\ndeny = [\"leaves-process\"]\n\
         [[profile.default.override]]\nfilter = \"test(leaves_one_too)\"\ndeny = [\"none\"]\n",
    );
    let run = project.isotest("--test it leaves").run();
    run.check(100, &["1 passed, 2 failed (2 denied)", "test leaves_one_too ... ok"]);
    project.isotest("--test it --deny memory leaves").run().check(0, &["3 passed"]);
    project.isotest("show-config").run().check(0, &["deny             leaves-process"]);
    let wrong = configured("[profile.default]\ndeny = [\"leaves-proces\"]\n");
    let texts = [
        "`deny`: invalid value `leaves-proces` (expected one of: `all`, `none`, `net-attempt`, ",
        "did you mean `leaves-process`?",
        " --> .config/isotest.toml:2:8",
    ];
    wrong.isotest("--test it").run().check(2, &texts);
    let texts =
        ["possible values: all, none, net-attempt", "similar value exists: 'leaves-thread'"];
    project.isotest("--deny leaves-threads").run().check(2, &texts);
}

const BASELINE: &str = ".config/isotest-baseline.toml";

#[test]
fn a_baseline_lets_known_findings_pass_and_no_others() {
    if refused() {
        return;
    }
    let project = project();
    project.isotest("baseline").run().check(4, &["no run is recorded"]);
    project.isotest("--test it -- --exact leaves_one").run().check(0, &[]);
    let check = project.isotest("baseline --check").run();
    check.check(100, &["+ demo::it::leaves_one: leaves-process\n", "would change: 1 new, 0 no"]);
    assert!(!project.directory().join(BASELINE).exists());
    project.isotest("baseline").run().check(0, &["wrote `.config/isotest-baseline.toml`: 1 known"]);
    let first = read(&project, BASELINE);
    let entry =
        "    { binary = \"demo::it\", test = \"leaves_one\", code = \"leaves-process\" },\n";
    assert!(first.contains(entry), "{first}");
    project.isotest("baseline --check").run().check(0, &["is up to date: 1 known finding"]);
    let run = project.isotest("--test it --deny all leaves_one").run();
    run.check(100, &["test leaves_one ... ok", "test leaves_one_too ... FAILED", "(1 denied)"]);

    // The tests that did not run keep their entries.
    project.isotest("--test it -- --exact leaves_one_too").run().check(0, &[]);
    let part = "note: in this run 4 tests were filtered out; their entries stay as they were";
    let texts = ["2 known findings, 1 new, 0 no longer occurred", part];
    project.isotest("baseline").run().check(0, &texts);
    project.isotest("--test it --deny all leaves_one").run().check(0, &["2 passed"]);

    // What is gone is told, and removed.
    let hermetic = TESTS.replacen("Command::new(\"sleep\").arg(\"1000\").spawn().unwrap();", "", 1);
    fs::write(project.directory().join("tests/it.rs"), hermetic).expect("it is writable");
    let texts = [
        "note: 1 entry of the baseline no longer occurs\n    demo::it::leaves_one: leaves-process",
    ];
    project.isotest("--test it --deny all leaves_one").run().check(0, &texts);
    project.isotest("replay").run().check(0, &texts);
    project.isotest("baseline").run().check(0, &["- demo::it::leaves_one: leaves-process\n"]);

    // A whole binary has entries of its own, and its tests keep theirs.
    project.isotest("--test it --unit binary leaves").run().check(0, &[]);
    let texts = ["+ a test of demo::it: leaves-process\n", "2 known findings"];
    project.isotest("baseline").run().check(0, &texts);
    project.isotest("--test it --unit binary --deny all leaves").run().check(0, &["3 passed"]);
}

#[test]
fn a_baseline_that_is_none_is_said_and_stays() {
    if refused() {
        return;
    }
    let project = project();
    project.isotest("--test it leaves").run().check(0, &[]);
    let path = project.directory().join(BASELINE);
    fs::create_dir_all(path.parent().expect("it has one")).expect("it is writable");
    for (text, wanted) in [
        ("version = 2\n", "it is not of version 1\n --> .config/isotest-baseline.toml:1:11"),
        ("[profile.default]\n", "it is no baseline of findings: `version` is missing"),
        (
            "version = 1\nfindings = [\n",
            "hint: remove it, and `cargo isotest baseline` writes another",
        ),
    ] {
        fs::write(&path, text).expect("it is writable");
        for line in ["baseline", "--test it leaves"] {
            project
                .isotest(line)
                .run()
                .check(2, &["cannot read `.config/isotest-baseline", wanted]);
        }
        assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
    }
    fs::remove_file(&path).expect("it is there");
    fs::remove_dir(path.parent().expect("it has one")).expect("it is empty");
    std::os::unix::fs::symlink("src", path.parent().expect("it has one")).expect("a link");
    let texts = ["cannot write `.config/isotest-baseline.toml`: ", "hint: remove the link"];
    project.isotest("baseline").run().check(2, &texts);
    assert!(!project.directory().join("src/isotest-baseline.toml").exists());
}

/// Entries of a quarantine until a day that is far away.
fn quarantine(filter: &str, until: &str) -> String {
    format!(
        "[[profile.default.quarantine]]\nfilter = \"{filter}\"\nreason = \"no server\"\n\
         until = {until}\ntoken = \"#7\"\n"
    )
}

#[test]
fn a_test_in_quarantine_fails_and_the_run_does_not() {
    if refused() {
        return;
    }
    let project = configured(&quarantine("test(fails_without)", "9999-12-31"));
    let run = project.isotest("--test it --junit out/junit.xml --fail-fast").run();
    run.check(
        0,
        &[
            "test fails_without_a_network ... ignored, quarantined until 9999-12-31: no server\n",
            "\nquarantined:\n\n---- fails_without_a_network stdout ----\n",
            "test result: ok. 4 passed; 0 failed; 1 ignored;",
            "5 tests in ",
            ": 4 passed, 1 quarantined\n",
            "note: 1 quarantined test failed\n    demo::it::fails_without_a_network: no server \
             (until 9999-12-31, #7)\n",
        ],
    );
    assert!(!run.stderr.contains("to rerun"), "{}", run.stderr);
    let report = read(&project, "out/junit.xml");
    assert!(
        report.contains("<skipped message=\"quarantined until 9999-12-31: no server\""),
        "{report}"
    );
    assert!(report.contains("name=\"isotest.quarantine\""), "{report}");
    let json = project.isotest("--test it --message-format json").run();
    json.check(0, &["\"standing\":\"holds\"", "\"quarantined\":1", "\"verdict\":\"failed\""]);
    let libtest = project.isotest("--test it --message-format libtest-json").run();
    libtest.check(0, &["\"event\": \"ignored\"", "quarantined until 9999-12-31"]);
    let terse = project.isotest("--test it -- -q").run();
    terse.check(0, &["fails_without_a_network --- QUARANTINED\n"]);
    project.isotest("replay --exit-code").run().check(0, &["1 quarantined"]);
    let history = project.isotest("history fails_without_a_network").run();
    history.check(0, &["    QQQQ  4 runs, ", "s  failed, quarantined; net-attempt"]);
    project.isotest("rerun").run().check(4, &[]);
    let whole = project.isotest("--test it --unit binary").run();
    whole.check(0, &["fails_without_a_network ... ignored, quarantined until", "1 quarantined"]);
    // A denied finding is a failure as others.
    let project = configured(&quarantine("test(leaves)", "9999-12-31"));
    let denied = project.isotest("--test it --deny all leaves").run();
    denied.check(0, &["3 quarantined"]);
}

#[test]
fn an_entry_that_is_over_or_broken_fails_the_run() {
    if refused() {
        return;
    }
    let project = configured(&quarantine("test(fails_without) | test(is_hermetic)", "2020-01-31"));
    let texts = [
        "test fails_without_a_network ... FAILED",
        "error: 1 test is in quarantine no longer\n    demo::it::fails_without_a_network: the entry in \
         .config/isotest.toml:1 expired on 2020-01-31\n",
    ];
    project.isotest("--test it").run().check(100, &texts);
    let fresh = configured(&quarantine("test(fails_without)", "9999-12-31"));
    for _ in 0..10 {
        fresh.isotest("--test it fails").run().check(0, &["1 quarantined"]);
    }
    let texts = [
        "test fails_without_a_network ... FAILED",
        "the entry in .config/isotest.toml:1 is broken: it failed in each of 10 runs\n",
    ];
    fresh.isotest("--test it fails").run().check(100, &texts);
    fresh.isotest("--test it fails --message-format json").run().check(100, &["\"broken\""]);
}

#[test]
fn what_is_wrong_with_a_quarantine_is_said() {
    if refused() {
        return;
    }
    let config = quarantine("test(gone)", "9999-12-31");
    let project = configured(&config);
    let warned =
        "warning: the quarantine entry in .config/isotest.toml:1 selects no test: `test(gone)`";
    project.isotest("leaves").run().check(0, &["3 passed"]);
    let some = project.isotest("--test it leaves").run();
    assert!(!some.stderr.contains("selects no test"), "{}", some.stderr);
    project.isotest("").run().check(100, &[warned]);
    for (old, new, wanted) in [
        ("9999-12-31", "\"9999-12-31\"", "`until` takes a date without quotation marks"),
        ("9999-12-31", "2026-13-01", "isotest.toml:4:"),
        ("token", "tokn", "did you mean `token`?"),
        ("reason", "reson", "did you mean `reason`?"),
        ("test(gone)", "tset(gone)", "cannot read a filter expression in `.config/isotest.toml`"),
    ] {
        let project = configured(&config.replace(old, new));
        let run = project.isotest("--test it").run();
        assert!(run.stderr.contains(wanted), "{new}: {}", run.stderr);
        assert!(run.stderr.contains(" --> .config/isotest.toml:"), "{new}: {}", run.stderr);
    }
}

/// A test that fails in about every fourth of its runs.
const UNSTEADY: &str = r#"
#[test]
fn is_old() {}

#[test]
fn is_new_and_steady() {}

#[test]
fn is_new_and_unsteady() {
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(started.subsec_nanos() / 1000 % 4 != 0, "an unlucky moment");
}
"#;

#[test]
fn new_tests_are_proved_before_they_count() {
    if refused() {
        return;
    }
    let old = "#[test]\nfn is_old() {}\n";
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", old)]);
    project.isotest("--test it --prove-new 5").run().check(4, &["no run is recorded"]);
    project.isotest("--test it").run().check(0, &[]);
    project.isotest("runs export latest base.isotest").run().check(0, &[]);
    let none = project.isotest("--test it --prove-new 5").run();
    none.check(0, &["Proving no test: run ", "1 passed"]);
    fs::write(project.directory().join("tests/it.rs"), UNSTEADY).expect("it is writable");
    // A run of some tests is no base.
    project.isotest("--test it is_old").run().check(0, &[]);
    let run = project.isotest("--test it --prove-new 60 --prove-against base.isotest").run();
    run.check(
        100,
        &[
            "Proving 2 tests that run ",
            "each 60 times",
            "test is_new_and_steady ... ok",
            "test is_new_and_unsteady ... FAILED",
            "an unlucky moment",
        ],
    );
    let latest = project.isotest("--test it --prove-new 1% -- --exact is_new_and_steady").run();
    latest.check(0, &["Proving no test: run "]);
    let texts = ["not a number of runs from 1 to 100000; try `20` or `1%`"];
    project.isotest("--prove-new 0%").run().check(2, &texts);
    let texts = ["`--prove-new` does not go with `--unit binary`"];
    project.isotest("--prove-new 5 --unit binary").run().check(2, &texts);
}
