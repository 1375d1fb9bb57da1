//! stdout of `cargo isotest` is stdout of `cargo test`, once durations, thread ids and the order of
//! lines are normalised.

use isotest_tests::normalise::{normalise, normalise_json};
use isotest_tests::{Project, Run, refused};
use nix::sys::signal::Signal::SIGINT;

/// Tests of the zoo that can run under `cargo test` without harm, and have libtest.
pub(super) const COMPARABLE: &str =
    "--test plain --test build_script --lib --bins --examples --benches";

/// Compares both commands with the same options.
fn check(project: &str, options: &str, normalise: fn(&str) -> String) {
    if refused() {
        return;
    }
    let project = Project::fixture(project);
    // Lets a stable libtest print JSON; isotest needs no leave.
    let expected =
        project.cargo_test(&format!("--no-fail-fast {options}")).env("RUSTC_BOOTSTRAP", "1").run();
    let found = project.isotest(options).env("RUSTC_BOOTSTRAP", "1").run();
    compare(&expected, &found, normalise);
    let code = match expected.code {
        101 => 100,
        code => code,
    };
    assert_eq!(found.code, code, "the exit code");
}

/// Fails unless both have printed the same.
pub(super) fn compare(expected: &Run, found: &Run, normalise: fn(&str) -> String) {
    let (expected, found) = (normalise(&expected.stdout), normalise(&found.stdout));
    assert!(expected.contains("test"), "cargo test ran something");
    if let Some(difference) = difference(&expected, &found) {
        panic!("it does not print what cargo test prints:\n{difference}");
    }
}

/// The first line that differs, with its neighbours.
fn difference(expected: &str, found: &str) -> Option<String> {
    let (expected, found): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), found.lines().collect());
    let at = (0..expected.len().max(found.len())).find(|&at| expected.get(at) != found.get(at))?;
    let around = |lines: &[&str]| {
        lines
            .iter()
            .skip(at.saturating_sub(3))
            .take(8)
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    Some(format!("cargo test:\n{}cargo isotest:\n{}", around(&expected), around(&found)))
}

fn check_zoo(options: &str) {
    check("zoo", &format!("{COMPARABLE} {options}"), normalise);
}

#[test]
fn by_default() {
    check_zoo("");
}

#[test]
fn with_show_output() {
    check_zoo("-- --show-output");
}

#[test]
fn with_ignored() {
    check_zoo("-- --ignored");
}

#[test]
fn with_include_ignored() {
    check_zoo("-- --include-ignored");
}

#[test]
fn when_quiet() {
    check_zoo("-q");
}

#[test]
fn with_a_name_to_look_for() {
    check_zoo("passes");
}

#[test]
fn with_names_to_skip() {
    check_zoo("-- --skip fails --skip inner");
}

#[test]
fn with_an_exact_name() {
    check_zoo("-- --exact passes inner::passes");
}

#[test]
fn with_one_thread() {
    check_zoo("-- --test-threads 1");
}

#[test]
fn in_json() {
    let options = format!("{COMPARABLE} -- -Z unstable-options --format json");
    check("zoo", &options, normalise_json);
}

#[test]
fn in_json_with_show_output() {
    let options = format!("{COMPARABLE} -- -Z unstable-options --format json --show-output");
    check("zoo", &options, normalise_json);
}

#[test]
fn for_the_library_of_the_showcase() {
    check("showcase", "--lib", normalise);
}

#[test]
fn where_nothing_fails() {
    check("zoo", "--test plain --lib passes", normalise);
}

/// Fails unless both print the same in the same order, with these options behind targets without
/// documentation tests.
#[track_caller]
fn check_order(files: &[(&str, &str)], options: &str) {
    if refused() {
        return;
    }
    let project = Project::new(files);
    let as_it_is = |text: &str| {
        let lines =
            text.lines().map(|line| line.split("; finished in ").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    };
    let line = format!("--tests {options}");
    let expected = project.cargo_test(&line).run();
    let found = project.isotest(&line).run();
    compare(&expected, &found, as_it_is);
    assert_eq!((expected.code, found.code), (0, 0), "the exit codes");
}

const ORDER: [(&str, &str); 2] = [
    (
        "src/lib.rs",
        "#[test]\nfn a() {}\n#[test]\n#[ignore]\nfn b() {}\n#[test]\nfn c() {}\n\
         #[test]\n#[ignore = \"why\"]\nfn d() {}\n",
    ),
    ("tests/it.rs", "#[test]\nfn e() {}\n"),
];

#[test]
fn what_is_ignored_has_its_place_with_one_thread() {
    check_order(&ORDER, "-- --test-threads=1");
    check_order(&ORDER, "-- --test-threads=1 --skip a");
}

#[test]
fn lists() {
    for options in ["--list", "--list --ignored", "--list c", "-q --list", "--list --format=terse"]
    {
        check_order(&ORDER, &format!("-- {options}"));
    }
}

/// A package with every kind of target, each with a test that a name selects.
const TARGETS: [(&str, &str); 7] = [
    (
        "Cargo.toml",
        "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [[example]]\nname = \"shown\"\ntest = true\n[[example]]\nname = \"hidden\"\n\
         [[bench]]\nname = \"fast\"\ntest = true\n[[bin]]\nname = \"plain\"\ntest = false\n",
    ),
    (
        "src/lib.rs",
        "/// ```\n/// demo::one();\n/// ```\npub fn one() {}\n#[test]\nfn one_lib() {}\n#[test]\nfn two() {}\n",
    ),
    ("src/bin/plain.rs", "fn main() {}\n#[test]\nfn one_bin() {}\n"),
    ("tests/it.rs", "#[test]\nfn one_test() {}\n"),
    ("benches/fast.rs", "#[test]\nfn one_bench() {}\n"),
    ("examples/shown.rs", "fn main() {}\n#[test]\nfn one_example() {}\n"),
    ("examples/hidden.rs", "fn main() {}\n"),
];

#[test]
fn a_name_takes_the_targets_and_documentation_tests_that_cargo_takes() {
    if refused() {
        return;
    }
    let project = Project::new(&TARGETS);
    let lines = [
        "",
        "one",
        "one -- two",
        "-- one",
        "--test it one",
        "--lib one",
        "--bins one",
        "--doc one",
        "--doc -- one",
        "--all-targets one",
        "--tests -- one",
        "-p demo one",
        "--workspace -- one",
    ];
    for line in lines {
        let ran = |run: &Run| {
            let is_test = |line: &&str| line.starts_with("test ") && line.contains(" ... ");
            let mut tests: Vec<String> =
                run.stdout.lines().filter(is_test).map(str::to_owned).collect();
            tests.sort();
            let heading = |line: &str| Some(line.trim().split_once(" (")?.0.to_owned());
            let is_heading =
                |line: &&str| ["Running", "Doc-tests"].iter().any(|it| line.trim().starts_with(it));
            let headings = run.stderr.lines().filter(is_heading);
            tests.extend(headings.map(|line| heading(line).unwrap_or(line.trim().to_owned())));
            tests
        };
        let (expected, found) = (project.cargo_test(line).run(), project.isotest(line).run());
        assert_eq!(ran(&found), ran(&expected), "`{line}`");
        assert_eq!((expected.code, found.code), (0, 0), "`{line}`");
    }
    let texts = ["cannot find a test", "hint: a name before `--` excludes documentation tests"];
    project.isotest("no_such_test").run().check(4, &texts);
    let run = project.isotest("--lib no_such_test").run();
    assert!(!run.stderr.contains("documentation"), "the target leaves them out");
}

/// Two binaries, the first of which hangs in one of its tests.
const SLOW: (&str, &str) = (
    "tests/a_slow.rs",
    "#[test]\nfn hangs() {\n    std::thread::sleep(std::time::Duration::from_secs(1000));\n}\n",
);
const FAST: (&str, &str) = ("tests/b_fast.rs", "#[test]\nfn fails() {\n    panic!(\"here\");\n}\n");

#[test]
fn on_a_terminal_no_binary_waits_for_a_slow_one() {
    if refused() {
        return;
    }
    let project = Project::new(&[SLOW, FAST]);
    let running = project.isotest("").on_terminal().start();
    // It would be heard of after a minute.
    running.wait_for("test result: ");
    running.signal(SIGINT);
    let run = running.end();
    run.check(130, &["test fails ... ", "here", "interrupted by SIGINT"]);
    assert!(!run.stdout.contains("test hangs"), "it has not ended");
}
