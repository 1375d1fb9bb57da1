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
    let project = project();
    let run = project.isotest("--test it").run();
    run.check(
        100,
        &[
            "note[leaves-process]: 3 tests left processes behind\n    2 tests: left 1 process behind: ",
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
