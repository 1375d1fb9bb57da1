//! Flaky tests that are found in a suite: `hunt`, `verify`, `bisect-order`.

use isotest_tests::{Project, Run, refused, unavailable};
use serde_json::Value;

/// The fixture, where its crates can be had.
fn flaky() -> Option<Project> {
    if refused() {
        return None;
    }
    let flaky = Project::fixture("flaky");
    match flaky.has_crates() {
        true => Some(flaky),
        false => {
            unavailable("the crates of the fixture");
            None
        }
    }
}

fn json(run: &Run, code: i32) -> Value {
    run.check(code, &[]);
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{}", run.stdout))
}

/// The candidates of a hunt, with how they show themselves.
fn candidates(found: &Value) -> Vec<(String, Value)> {
    let groups = found["groups"].as_array().expect("there are groups");
    let tests = groups.iter().flat_map(|group| group["tests"].as_array().expect("it has tests"));
    let mut named: Vec<(String, Value)> = tests
        .map(|it| (it["test"].as_str().expect("it has a name").to_owned(), it["shows"].clone()))
        .collect();
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    named
}

#[test]
fn a_hunt_finds_the_tests_that_meet_and_tells_them_apart_from_their_twins() {
    let Some(flaky) = flaky() else { return };
    let run = flaky.isotest("hunt port_8080 always_fails --budget 20s --format json").run();
    let found = json(&run, 100);
    let names: Vec<String> = candidates(&found).into_iter().map(|(name, _)| name).collect();
    // Whoever comes second fails, so one of them is enough.
    let parties = ["port::port_8080", "port::port_8080_b"];
    let is_party = |name: &String| parties.contains(&name.as_str());
    assert!(!names.is_empty() && names.iter().all(is_party), "{}", run.stdout);
    let always = &found["always_fail"];
    assert_eq!(always[0][1], "none::always_fails", "{}", run.stdout);
    // They fail at one place with the same words.
    assert_eq!(found["groups"].as_array().map(Vec::len), Some(1), "{}", run.stdout);
    assert_eq!(found["tests"], 6);
    assert!(
        run.stderr.contains("Candidate flaky::shared_machine port::port_8080"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_suite_in_which_nothing_fails_has_no_candidate() {
    let Some(flaky) = flaky() else { return };
    let run = flaky.isotest("hunt always_passes --budget 2s").run();
    run.check(0, &["NOTHING FOUND  none of 1 test fails now and then", "WHAT WAS TRIED"]);
}

#[test]
fn the_first_day_on_which_a_test_fails_is_found() {
    let Some(flaky) = flaky() else { return };
    let line = "hunt --time-bombs dates::expires_2030 dates::time_bomb --format json";
    let found = json(&flaky.isotest(line).run(), 100);
    let from = |date: &str| serde_json::json!({ "fails-from": date });
    let expected = [
        ("dates::expires_2030".to_owned(), from("2030-01-01")),
        ("dates::time_bomb".to_owned(), from("2027-09-01")),
    ];
    assert_eq!(candidates(&found), expected);
}

#[test]
fn the_two_runs_of_a_test_differ_where_it_depends_on_its_conditions() {
    let Some(flaky) = flaky() else { return };
    let run = flaky.isotest("verify dates::time_bomb --format json").run();
    let found = json(&run, 100);
    let differing = found["differing"].as_array().expect("it is a list");
    assert_eq!(differing.len(), 1, "{}", run.stdout);
    assert_eq!(differing[0]["test"], "dates::time_bomb");
    assert_eq!(differing[0]["also_unchanged"], false);
    let differs = &differing[0]["differs"][0];
    assert_eq!((&differs["what"], &differs["first"]), (&"verdict".into(), &"passed".into()));
    // The twin.
    assert_eq!(found["same"], 1);
    let run = flaky.isotest("verify time_bomb_fixed").run();
    run.check(0, &["HERMETIC  both runs of 1 test are the same"]);
}

#[test]
fn files_that_only_one_run_leaves_make_a_test_not_hermetic() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", LEAVES)]);
    let run = project.isotest("verify").run();
    let expected = ["demo leaves  differs from run to run", "files     first   A /tmp/left-"];
    run.check(100, &expected);
    assert!(!run.stdout.contains("prints"), "a number makes no difference:\n{}", run.stdout);
}

/// The letter of a file's name is that of a random number.
const LEAVES: &str = r#"
use std::hash::{BuildHasher, RandomState};

#[test]
fn leaves() {
    let random = RandomState::new().hash_one(1);
    let letters: String = (0..16).map(|at| char::from(b'a' + (random >> (4 * at) & 15) as u8)).collect();
    std::fs::write(format!("/tmp/left-{letters}"), "").unwrap();
}

#[test]
fn prints() {
    println!("{}", std::process::id());
}
"#;

#[test]
fn a_polluter_and_a_state_setter_are_found_with_a_command_that_shows_it() {
    let Some(flaky) = flaky() else { return };
    let run = flaky.isotest("bisect-order order_static::static_victim --format json").run();
    let found = json(&run, 100);
    assert_eq!(found["answer"], "found");
    assert_eq!((&found["pollutes"], &found["tests"][0]), (&true.into(), &POLLUTER.into()));
    let command = found["command"].as_str().expect("there is a command");
    let line = command.strip_prefix("cargo isotest ").expect("it is ours");
    flaky.isotest(line).run().check(100, &["test order_static::static_victim ... FAILED"]);
    let run = flaky.isotest("bisect-order brittle::brittle").run();
    let expected = [
        "BRITTLE  brittle::brittle",
        "It fails alone, and passes after 1 test:\n     brittle::a_setup\n",
    ];
    run.check(100, &expected);
}

const POLLUTER: &str = "order_static::z_static_polluter";

#[test]
fn a_test_whose_order_makes_no_difference_is_said_to() {
    if refused() {
        return;
    }
    let source = "#[test]\nfn a() {}\n#[test]\nfn b() {}\n";
    let project = Project::new(&[("src/lib.rs", source)]);
    let run = project.isotest("bisect-order a").run();
    run.check(0, &["NO DIFFERENCE  a", "It passes alone and in 40 orders of all tests"]);
}

#[test]
fn a_filter_that_names_no_test_is_an_error() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", "#[test]\nfn a() {}\n")]);
    for command in ["hunt nothing", "verify nothing"] {
        let run = project.isotest(command).run();
        run.check(4, &["cannot find a test that runs and whose name contains one of the filters"]);
    }
}
