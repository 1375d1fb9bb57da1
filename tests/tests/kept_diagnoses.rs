//! Results of diagnoses that later commands find: `prove-fixed` and `repro` without a token, and failures of
//! ordinary runs.

use std::fs;

use isotest_tests::program::workspace;
use isotest_tests::{Call, Project, missing, refused};
use serde_json::Value;

/// A test that fails in every ordinary run, where it is PID 1.
const TESTS: &str = r#"
#[test]
fn passes() {}

#[test]
fn first() {
    assert_ne!(std::process::id(), 1, "it is the first process");
}
"#;

/// The code of its cause.
const CAUSE: &str = "pid1-artefact";

fn project() -> Project {
    Project::new(&[("src/lib.rs", ""), ("tests/it.rs", TESTS)])
}

/// The diagnosis of the test of a project.
fn diagnose(project: &Project) -> Value {
    let run = project.isotest("diagnose first --budget 3000 --format json").run();
    run.check(100, &[]);
    let told: Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    assert_eq!((&told["cause"], &told["layer"]), (&CAUSE.into(), &"init-reaper".into()), "{told}");
    told
}

fn read(project: &Project, path: &str) -> String {
    fs::read_to_string(project.directory().join(path)).expect("it was written")
}

/// The value of a property of the one test of a JUnit report that has it.
fn property(junit: &str, name: &str) -> Option<String> {
    let start = format!("<property name=\"isotest.diagnosis.{name}\" value=\"");
    let (_, rest) = junit.split_once(&start)?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

#[test]
fn failures_of_the_binary_that_was_diagnosed_have_the_cause_in_every_report() {
    if refused() {
        return;
    }
    let project = project();
    let told = diagnose(&project);
    let token = told["token"].as_str().expect("there is one");
    let line = "--test it --junit out/j.xml --sarif out/s.sarif --message-format json";
    let run = project.isotest(line).run();
    run.check(
        100,
        &[
            "failed tests that were diagnosed before",
            "isotest causes the failure: the test runs as PID 1",
        ],
    );
    let messages =
        run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let messages: Vec<Value> = messages.filter(|it| it["type"] == "test-diagnosed").collect();
    let schema = fs::read_to_string(workspace().join("docs/messages.schema.json")).expect("a file");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    assert!(validator.is_valid(&messages[0]), "{messages:?}");
    let diagnosis = &messages[0]["diagnosis"];
    assert_eq!((messages.len(), &messages[0]["test"]), (1, &"first".into()));
    assert_eq!((&diagnosis["cause"], &diagnosis["token"]), (&CAUSE.into(), &token.into()));
    // JUnit.
    if !missing("xmllint") {
        let read = Call::new("xmllint", project.directory()).words("--noout out/j.xml").run();
        read.check(0, &[]);
    }
    let junit = read(&project, "out/j.xml");
    assert_eq!(junit.matches("isotest.diagnosis.cause").count(), 1, "{junit}");
    assert_eq!(property(&junit, "cause").as_deref(), Some(CAUSE));
    assert_eq!(property(&junit, "layer").as_deref(), Some("init-reaper"));
    assert_eq!(property(&junit, "token").as_deref(), Some(token));
    assert!(
        property(&junit, "certainty").is_some_and(|it| it.starts_with("wrong less than once in "))
    );
    assert!(property(&junit, "fix").is_some_and(|it| it.ends_with('.')));
    // SARIF.
    let schema = fs::read(workspace().join("tests/schemas/sarif-2.1.0.json")).expect("it is there");
    let mut schema: Value = serde_json::from_slice(&schema).expect("it is JSON");
    for of in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][of]["properties"]["language"];
        language.as_object_mut().expect("a property").remove("pattern");
    }
    let sarif: Value = serde_json::from_str(&read(&project, "out/s.sarif")).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    assert!(validator.is_valid(&sarif), "{sarif:#}");
    let [result] = sarif["runs"][0]["results"].as_array().expect("results").as_slice() else {
        panic!("one result: {sarif:#}");
    };
    let rule = result["ruleIndex"].as_u64().expect("a number") as usize;
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][rule]["id"], "flaky");
    assert_eq!(result["properties"]["isotest.diagnosis.cause"], CAUSE);
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "tests/it.rs");
    assert_eq!(place["region"]["startLine"], 7);
    // A record has it too.
    project.isotest("replay --junit out/again.xml --sarif out/again.sarif").run().check(0, &[]);
    let again = read(&project, "out/again.xml");
    assert_eq!(property(&again, "token").as_deref(), Some(token));
    assert_eq!(read(&project, "out/again.sarif"), read(&project, "out/s.sarif"));
    // Of another build nothing is known.
    fs::write(project.directory().join("tests/it.rs"), format!("\n{TESTS}")).expect("writable");
    let run = project.isotest("--test it --junit out/j.xml --sarif out/s.sarif").run();
    run.check(100, &[]);
    assert!(!run.stderr.contains("diagnosed before"), "{run:?}");
    assert_eq!(property(&read(&project, "out/j.xml"), "cause"), None);
    assert!(!read(&project, "out/s.sarif").contains("isotest.diagnosis"));
}

#[test]
fn the_token_of_the_latest_diagnosis_is_found_by_the_name_of_the_test() {
    if refused() {
        return;
    }
    let project = project();
    let hint = "hint: `cargo isotest diagnose 'demo::it first'` makes one";
    let none = "no diagnosis of `demo::it first` that saw it fail is kept in `";
    project.isotest("prove-fixed first").run().check(4, &[none, hint]);
    project.isotest("repro first").run().check(4, &[none, hint]);
    let told = diagnose(&project);
    let token = told["token"].as_str().expect("there is one");
    let found = ["Token of the diagnosis of ", "(pid1-artefact)"];
    let run = project.isotest("repro first").run();
    run.check(0, &[found[0], found[1], "REPRODUCED  first", "it is the first process"]);
    assert!(!run.stdout.contains("another build"), "{run:?}");
    let unchanged = "The binary is the one that was diagnosed: nothing has changed since.";
    project.isotest("prove-fixed first").run().check(100, &[found[0], "NOT FIXED", unchanged]);
    // A rate needs no token.
    let run = project.isotest("prove-fixed first --rate 0.5").run();
    run.check(100, &["NOT FIXED  first"]);
    assert!(!run.stderr.contains(found[0]) && !run.stdout.contains(unchanged), "{run:?}");
    // Another build, in which it still fails, and one in which it does not.
    let place = project.directory().join("tests/it.rs");
    fs::write(&place, format!("{TESTS}\n#[test]\nfn more() {{}}\n")).expect("it is writable");
    let other = "The token is of another build of `demo::it`: the code has changed since.";
    let run = project.isotest(&format!("repro {token}")).run();
    run.check(0, &["REPRODUCED  first", other]);
    fs::write(&place, TESTS.replace(", 1,", ", 0,")).expect("it is writable");
    let run = project.isotest("prove-fixed first").run();
    run.check(0, &[found[0], "FIXED  first", "It fails in less than"]);
    assert!(!run.stdout.contains(unchanged), "{run:?}");
    let run = project.isotest("repro first --runs 4").run();
    run.check(100, &["DID NOT REPRODUCE  first  in 4 runs", other]);
}

#[test]
fn a_diagnosis_is_not_kept_if_nothing_is_recorded_and_damaged_ones_are_as_good_as_none() {
    if refused() {
        return;
    }
    let project = project();
    let kept = project.directory().join("target/isotest/diagnoses");
    let config = project.directory().join(".config/isotest.toml");
    fs::create_dir(config.parent().expect("it has one")).expect("it is writable");
    fs::write(&config, "[profile.default]\nrecord = false\n").expect("it is writable");
    let run = project.isotest("diagnose first --budget 3000").run();
    run.check(100, &["AGAIN  cargo isotest repro it1:", " --token it1:"]);
    assert!(!kept.exists());
    fs::remove_file(&config).expect("it is there");
    let run = project.isotest("diagnose first --budget 3000").run();
    run.check(100, &["CHECK  cargo isotest prove-fixed 'demo::it first'  ("]);
    let files: Vec<_> = fs::read_dir(&kept).expect("it is there").collect();
    let file = files[0].as_ref().expect("it is there").path();
    assert_eq!(files.len(), 1);
    fs::write(&file, "{").expect("it is writable");
    project.isotest("prove-fixed first").run().check(4, &["no diagnosis of `demo::it first`"]);
    project.isotest("--test it").run().check(100, &["1 passed, 1 failed"]);
}
