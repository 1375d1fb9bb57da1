//! `--message-format`: what programs are told of a run.

use isotest_tests::normalise::normalise_json;
use isotest_tests::{Project, Run, refused};
use serde_json::{Value, json};

const MANIFEST: (&str, &str) = (
    "Cargo.toml",
    r#"
[workspace]

[package]
name = "demo"
version = "0.1.0"
edition = "2024"

[[test]]
name = "it"

[[test]]
name = "raw"
harness = false
"#,
);

const LIBRARY: (&str, &str) = (
    "src/lib.rs",
    "//! ```\n//! assert!(demo::is_there());\n//! ```\n\n/// Whether it is there.\npub fn is_there() -> bool {\n    true\n}\n",
);

const IT: (&str, &str) = (
    "tests/it.rs",
    r#"
#[test]
fn passes() {
    println!("this is {}", env!("CARGO_PKG_NAME"));
}

#[test]
fn fails() {
    panic!("on purpose");
}

#[test]
fn aborts() {
    std::process::abort();
}

#[test]
fn hangs() {
    std::thread::sleep(std::time::Duration::from_secs(1000));
}

#[test]
#[ignore = "not today"]
fn is_ignored() {}

#[test]
fn leaves_a_process() {
    std::process::Command::new("sleep").arg("1000").spawn().unwrap();
}
"#,
);

const RAW: (&str, &str) = ("tests/raw.rs", "fn main() {\n    println!(\"raw program\");\n}\n");

fn project() -> Project {
    Project::new(&[MANIFEST, LIBRARY, IT, RAW])
}

/// Every line of stdout, which has nothing but objects.
fn messages(run: &Run) -> Vec<Value> {
    let object = |line: &str| {
        let value = serde_json::from_str(line);
        let value: Value = value.unwrap_or_else(|error| panic!("{error} in `{line}`"));
        assert!(value["type"].is_string(), "`{line}`");
        value
    };
    run.stdout.lines().map(object).collect()
}

fn of_type<'a>(messages: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    messages.iter().filter(|message| message["type"] == wanted).collect()
}

fn finished<'a>(messages: &'a [Value], test: &str) -> &'a Value {
    let found = of_type(messages, "test-finished");
    let found = found.into_iter().find(|message| message["test"] == test);
    found.unwrap_or_else(|| panic!("`{test}` has not finished"))
}

#[test]
fn everything_is_told_of_a_run() {
    if refused() {
        return;
    }
    let run = project().isotest("--message-format json --timeout 2s --timeout-stacks proc").run();
    run.check(100, &["test src/lib.rs - (line 1) ... ok"]);
    let messages = messages(&run);
    let (first, last) = (&messages[0], &messages[messages.len() - 1]);
    assert_eq!(first["type"], "run-started");
    assert_eq!((&first["format-version"], &first["tests"]), (&json!(1), &json!(7)));
    assert_eq!(last["type"], "run-finished");
    let counts = &last["tests"];
    assert_eq!((&counts["passed"], &counts["failed"]), (&json!(3), &json!(3)));
    assert_eq!((&counts["ignored"], &counts["timed-out"]), (&json!(1), &json!(1)));
    let documented = json!({"selected": 1, "passed": 1, "failed": false});
    assert_eq!(last["documentation-tests"], documented);

    let binaries = of_type(&messages, "binary");
    let ids: Vec<&Value> = binaries.iter().map(|binary| &binary["binary"]).collect();
    assert_eq!(ids, ["demo", "demo::it", "demo::raw"]);
    assert_eq!(binaries[1]["layers"]["net"], "loopback");
    assert_eq!(binaries[1]["tests"].as_array().expect("names").len(), 6);

    let passes = finished(&messages, "passes");
    assert_eq!((&passes["verdict"], &passes["binary"]), (&json!("passed"), &json!("demo::it")));
    assert_eq!(passes["output"], "this is demo\n");
    assert!(passes["usage"]["max-rss"].as_u64().expect("bytes") > 100_000);
    let fails = finished(&messages, "fails");
    assert_eq!((&fails["verdict"], &fails["exit-code"]), (&json!("failed"), &json!(101)));
    assert!(fails["output"].as_str().expect("text").contains("on purpose"));
    assert_eq!(finished(&messages, "aborts")["signal"], "SIGABRT");
    let hangs = finished(&messages, "hangs");
    assert_eq!((&hangs["verdict"], &hangs["limit"]), (&json!("timed-out"), &json!(2.0)));
    assert!(hangs["stacks"].as_str().expect("text").contains(" in clock_nanosleep"));
    assert_eq!(finished(&messages, "is_ignored")["reason"], "not today");
    let finding = &finished(&messages, "leaves_a_process")["findings"][0];
    assert_eq!(finding["finding"], "leaves-process");
    assert_eq!(finding["processes"][0]["name"], "sleep");
    // What is no harness has its output passed through.
    assert_eq!(finished(&messages, "raw")["verdict"], "passed");
    let outputs = of_type(&messages, "test-output");
    assert_eq!(outputs.len(), 1);
    assert_eq!(
        (&outputs[0]["test"], &outputs[0]["text"]),
        (&json!("raw"), &json!("raw program\n"))
    );
}

#[test]
fn events_do_not_wait_for_those_of_other_binaries() {
    if refused() {
        return;
    }
    let run = project().isotest("--message-format json --timeout 2s hangs raw").run();
    run.check(100, &[]);
    let messages = messages(&run);
    let at = |test: &str| {
        messages
            .iter()
            .position(|message| message["type"] == "test-finished" && message["test"] == test)
    };
    assert!(at("raw") < at("hangs"), "though cargo runs `raw` behind `it`");
}

#[test]
fn output_that_is_passed_through_is_told_of_in_messages() {
    if refused() {
        return;
    }
    let run = project().isotest("--message-format json --no-capture passes raw").run();
    run.check(0, &[]);
    let messages = messages(&run);
    let texts: Vec<&Value> = of_type(&messages, "test-output");
    let said = |test: &str, text: &str| {
        let is_it = |message: &&&Value| message["test"] == test && message["text"] == text;
        texts.iter().filter(is_it).count() == 1
    };
    assert!(said("passes", "this is demo\n") && said("raw", "raw program\n"), "{texts:#?}");
}

#[test]
fn attempts_are_told_of_one_by_one() {
    if refused() {
        return;
    }
    let run = project().isotest("--message-format json --retries 2 --exact fails").run();
    run.check(100, &[]);
    let messages = messages(&run);
    let attempts = |message: &&Value| message["attempt"].as_u64().expect("a number");
    let retried: Vec<u64> = of_type(&messages, "test-retried").iter().map(attempts).collect();
    assert_eq!(retried, [2, 3]);
    let fails = finished(&messages, "fails");
    assert_eq!((&fails["attempt"], &fails["attempts"]), (&json!(3), &json!(3)));
    let failed = fails["failed-attempts"].as_array().expect("attempts");
    assert_eq!(failed.len(), 2);
    assert!(failed.iter().all(|attempt| attempt["exit-code"] == 101));
}

#[test]
fn nextests_formats_are_libtests_and_a_key_more() {
    if refused() {
        return;
    }
    let project = project();
    let events = |options: &str| {
        let run = project.isotest(&format!("--test it passes fails {options}")).run();
        run.check(100, &[]);
        run
    };
    let plain = events("-- --format json -Z unstable-options");
    let same = events("--message-format libtest-json");
    assert_eq!(normalise_json(&same.stdout), normalise_json(&plain.stdout));
    let plus = messages(&events("--message-format libtest-json-plus"));
    let told = json!({"crate": "demo", "test_binary": "it", "kind": "test"});
    let suites = of_type(&plus, "suite");
    assert_eq!(suites.len(), 2);
    assert!(suites.iter().all(|suite| suite["nextest"] == told), "{suites:#?}");
}

#[test]
fn what_has_no_messages_is_refused() {
    let project = Project::new(&[MANIFEST, LIBRARY, IT, RAW]);
    for (options, message) in [
        ("--stress-count 2", "a stress run has no results in JSON"),
        ("--doc", "`--message-format` needs one sandbox for each test"),
        ("--format pretty", "cannot be used with"),
    ] {
        project.isotest(&format!("--message-format json {options}")).run().check(2, &[message]);
    }
}
