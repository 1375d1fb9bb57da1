//! Every way to end, against the table of the zoo: `fixtures/zoo/expected.tsv`.

use std::collections::BTreeMap;
use std::fs;

use isotest_tests::{Project, refused};
use serde_json::Value;

/// A binary, as its heading names it, and a test of it.
type Case = (String, String);

/// The column of the table that is meant.
#[derive(Clone, Copy)]
enum Init {
    None,
    Reaper,
}

#[test]
fn every_test_of_the_zoo_ends_as_it_must() {
    check("", Init::None);
}

#[test]
fn every_test_of_the_zoo_ends_as_it_must_under_an_init() {
    check("--init reaper", Init::Reaper);
}

const SPINS: &str = r#"
[[profile.default.override]]
filter = "test(=spins_for_ever)"
timeout = "1s"
"#;

/// Runs the zoo and compares each verdict with the table.
fn check(options: &str, init: Init) {
    if refused() {
        return;
    }
    let zoo = Project::fixture("zoo");
    let table =
        fs::read_to_string(zoo.directory().join("expected.tsv")).expect("the table is there");
    // One that spins needs no longer limit: it cannot end by itself.
    let config = zoo.directory().join(".config");
    fs::create_dir_all(&config).expect("the copy is writable");
    fs::write(config.join("isotest.toml"), SPINS).expect("the copy is writable");
    // Many at a time: those that hang only wait for their time limit.
    let targets = "--workspace --all-targets --features failing --test-threads 12 --timeout 15s";
    let run = zoo
        .isotest(&format!("{targets} {options} -- -Z unstable-options --format json"))
        .env("ZOO_SECRET", "secret")
        .env("CARGO_REGISTRY_TOKEN", "secret")
        .merged()
        .run();
    let (expected, found) = (expected(&table, init), verdicts(&run.stdout));
    let all: BTreeMap<&Case, _> = expected.iter().chain(&found).collect();
    let differing: Vec<String> = all
        .keys()
        .map(|case| (case, expected.get(case), found.get(case)))
        .filter(|(_, expected, found)| expected != found)
        .map(|((binary, test), expected, found)| {
            let text = |verdict: Option<&String>| {
                verdict.map_or("no such test", String::as_str).to_owned()
            };
            format!("{binary} {test}: {} instead of {}", text(found), text(expected))
        })
        .collect();
    assert!(differing.is_empty(), "{} rows differ:\n{}", differing.len(), differing.join("\n"));
    run.check(100, &["Summary"]);
}

/// The rows of the table.
fn expected(table: &str, init: Init) -> BTreeMap<Case, String> {
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('\t').collect();
        let [binary, test, alone, rest @ ..] = cells.as_slice() else {
            panic!("`{row}` is no row")
        };
        let verdict = match init {
            Init::None => alone,
            Init::Reaper => rest.first().unwrap_or(alone),
        };
        ((binary.to_string(), test.to_string()), verdict.to_string())
    })
    .collect()
}

/// Results of the cases of a run in JSON, with both streams as one. A program without a harness has
/// no events: it has passed unless cargo's line says otherwise.
fn verdicts(merged: &str) -> BTreeMap<Case, String> {
    let mut found = BTreeMap::new();
    let (mut binary, mut target, mut harness) = (String::new(), String::new(), true);
    let mut close = |binary: &str, target: &str, harness: bool, verdict: &str| {
        if !harness {
            found
                .entry((binary.to_owned(), target.to_owned()))
                .or_insert_with(|| verdict.to_owned());
        }
    };
    let mut cases = Vec::new();
    for line in merged.lines() {
        if let Some(heading) = line.trim_start().strip_prefix("Running ") {
            close(&binary, &target, harness, "passed");
            (binary, target) = names(heading);
            harness = false;
        } else if line.starts_with("error: test failed, to rerun pass") {
            close(&binary, &target, harness, "failed");
        } else if let Ok(event) = serde_json::from_str::<Value>(line) {
            harness = true;
            if event["type"] == "test" && event["event"] != "started" {
                let name = event["name"].as_str().unwrap_or_default();
                cases.push(((binary.clone(), name.to_owned()), verdict(&event)));
            }
        }
    }
    close(&binary, &target, harness, "passed");
    found.extend(cases);
    found
}

/// The binary's name in the table and the target's, from `tests/NAME.rs (target/…)`.
fn names(heading: &str) -> (String, String) {
    let (path, program) =
        heading.trim_start_matches("unittests ").split_once(" (").unwrap_or_default();
    let program = program.rsplit('/').next().and_then(|name| name.rsplit_once('-'));
    let target = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    let binary = match path.split('/').next() {
        Some("tests") => format!("zoo::{target}"),
        Some("benches") => format!("zoo::bench/{target}"),
        Some("examples") => format!("zoo::example/{target}"),
        _ if path.starts_with("src/bin/") => format!("zoo::bin/{target}"),
        _ => program.unwrap_or_default().0.replace('_', "-"),
    };
    (binary, target.to_owned())
}

/// An event in the words of the table.
fn verdict(event: &Value) -> String {
    let message = event["message"].as_str().and_then(|text| text.strip_prefix("isotest: "));
    let word = message.and_then(|text| {
        let signal = text.strip_prefix("killed by ").map(str::to_owned);
        let code = text.strip_prefix("exited with code ").and_then(|rest| rest.split(' ').next());
        let timed_out = text.starts_with("timed out").then(|| "timed out".to_owned());
        signal.or(code.map(|code| format!("exited early {code}"))).or(timed_out)
    });
    match (word, message, event["event"].as_str()) {
        (Some(word), ..) => word,
        (None, Some(message), _) => message.to_owned(),
        (None, None, Some("ok")) => "passed".to_owned(),
        (None, None, other) => other.unwrap_or("no event").to_owned(),
    }
}
