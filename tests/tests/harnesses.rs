//! Harnesses that are not libtest.

use std::fs;

use isotest_tests::{Call, Project, refused};

/// A package whose target `own` has a harness of its own, and a library with a test of libtest's.
fn demo(program: &str) -> Project {
    let manifest = "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    [[test]]\nname = \"own\"\nharness = false\n";
    let library = "#[test]\nfn of_libtest() {}\n";
    Project::new(&[("Cargo.toml", manifest), ("src/lib.rs", library), ("tests/own.rs", program)])
}

/// It lists three tests, and says with what and in which environment each is called.
const LISTS: &str = r#"
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let nextest = ["NEXTEST", "NEXTEST_EXECUTION_MODE"].map(|name| std::env::var(name));
    let nextest = nextest.map(|value| value.unwrap_or_default()).join(" ");
    if arguments.first().is_some_and(|word| word == "--list") {
        assert_eq!(nextest, "1 process-per-test");
        if arguments.iter().all(|word| word != "--ignored") {
            println!("passes: test\n--fails: test");
        }
        println!("ignored: test");
        return;
    }
    println!("called with {arguments:?}, {nextest}");
    std::process::exit(i32::from(arguments.iter().any(|word| word == "--fails")));
}
"#;

/// It has no list, and says with what it is called.
const ONE: &str = r#"
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    println!("called with {arguments:?}, {:?}", std::env::var("NEXTEST"));
    std::process::exit(if arguments == ["--list", "--format", "terse"] { 2 } else { 0 });
}
"#;

#[test]
fn what_libtest_does_not_know_is_passed_on_to_other_harnesses() {
    if refused() {
        return;
    }
    let project = demo(LISTS);
    let line = "--test own -- --bless --tags @smoke -j2 --include-ignored --show-output";
    let run = project.isotest(line).run();
    let passed_on = r#""--bless", "--tags", "@smoke", "-j2""#;
    let called = |words: &str| format!("called with [{words}], 1 process-per-test");
    run.check(
        100,
        &[
            &called(&format!(r#""--exact", "passes", "--nocapture", {passed_on}"#)),
            &called(&format!(r#""--exact", "ignored", "--nocapture", "--ignored", {passed_on}"#)),
            &called(&format!(r#""--exact", "--nocapture", {passed_on}, "--", "--fails""#)),
            "2 passed, 1 failed",
            "-- --include-ignored --bless --tags @smoke -j2 --exact -- --fails\n",
        ],
    );
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    // A filter stands before, or behind `--`.
    let run = project.isotest("--test own -- pas --tags @smoke").run();
    run.check(0, &["running 1 test", "1 passed"]);
    let run = project.isotest("--test own -- --tags @smoke -- pas").run();
    run.check(0, &["running 1 test", "1 passed"]);
    // What `--rerun-failed` and a list are asked with is the same.
    project.isotest("list --test own -- --bless").run().check(0, &["passes"]);
}

#[test]
fn what_libtest_does_not_know_is_passed_on_to_programs_without_a_list() {
    if refused() {
        return;
    }
    let project = demo(ONE);
    let run = project.isotest("--test own -- --tags @smoke").run();
    run.check(0, &[r#"called with ["--tags", "@smoke"], Err(NotPresent)"#, "1 passed"]);
    let run = project.cargo_test("--test own -- --tags @smoke").runner("").run();
    run.check(0, &[r#"called with ["--tags", "@smoke"], Err(NotPresent)"#]);
}

#[test]
fn what_nobody_knows_is_refused_as_by_libtest() {
    if refused() {
        return;
    }
    let project = demo(LISTS);
    for line in ["--lib -- --bless", "--lib -- -b", "--doc -- --bless", "list --lib -- --bless"] {
        let name = if line.ends_with("-b") { "b" } else { "bless" };
        let run = project.isotest(line).run();
        run.check(2, &[&format!("error: Unrecognized option: '{name}'\n")]);
    }
    // It may be a flag of libtest's that is spelt wrong.
    let run = project.isotest("-- pas of_ --ignroed").run();
    run.check(
        0,
        &[
            "warning: `--ignroed` is passed only to harnesses other than libtest, which does not \
             know it\n",
            "2 passed",
        ],
    );
}

#[test]
fn the_runner_passes_on_what_libtest_does_not_know() {
    if refused() {
        return;
    }
    let project = demo(LISTS);
    let run = project.cargo_test("--test own -- --tags @smoke --show-output").runner("").run();
    run.check(
        101,
        &[
            r#"called with ["--exact", "passes", "--nocapture", "--tags", "@smoke"], 1"#,
            "1 passed; 1 failed; 1 ignored",
            "cargo isotest -p demo --test own -- --tags @smoke --exact -- --fails\n",
        ],
    );
    let run = project.cargo_test("--lib -- --tags").runner("").run();
    run.check(101, &["error: Unrecognized option: 'tags'"]);
}

/// The library and another harness have one name.
#[test]
fn the_runner_knows_the_library_from_a_benchmark_of_its_name() {
    if refused() {
        return;
    }
    let manifest = "[workspace]\n[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    [[bench]]\nname = \"demo\"\nharness = false\ntest = true\n";
    let library = "#[test]\nfn is_called_as_libtest() {\n\
                       assert!(std::env::args().any(|word| word == \"--test-threads=2\"));\n\
                   }\n";
    let files = [("Cargo.toml", manifest), ("src/lib.rs", library), ("benches/demo.rs", LISTS)];
    let project = Project::new(&files);
    let run = project.cargo_test("--lib").runner("").run();
    run.check(0, &["test is_called_as_libtest ... ok"]);
    let run = project.cargo_test("--bench demo -- --show-output passes").runner("").run();
    run.check(0, &[r#"called with ["--exact", "passes", "--nocapture"], 1"#]);
    let run = project.isotest("--lib --bench demo -- passes is_called --show-output").run();
    run.check(0, &[r#"called with ["--exact", "passes", "--nocapture"], 1"#, "2 passed"]);
}

/// It may take as long each time.
#[test]
fn a_program_that_ignores_its_arguments_is_run_twice() {
    if refused() {
        return;
    }
    let place = Project::new(&[("runs", "")]);
    let runs = place.directory().join("runs");
    let program = format!(
        "use std::io::Write;\nfn main() {{\n\
             let file = std::fs::OpenOptions::new().append(true).open({runs:?});\n\
             writeln!(file.unwrap(), \"run\").unwrap();\n\
             println!(\"all is well\");\n\
         }}\n"
    );
    let project = demo(&program);
    let shown = place.directory().display();
    let counted = |call: Call| {
        fs::write(&runs, "").expect("it is writable");
        call.run().check(0, &["all is well"]);
        fs::read_to_string(&runs).expect("it is there").lines().count()
    };
    let isotest = || project.isotest("--test own").arg(format!("--rw={shown}"));
    assert_eq!(counted(isotest()), 2, "once for its list");
    assert_eq!(counted(isotest().arg("own")), 2);
    let runner = project.cargo_test("--test own").runner("").env("ISOTEST_RW", shown.to_string());
    assert_eq!(counted(runner), 2, "once for its list");
}

/// As rusty-fork: it starts the program again for the test, and takes the word after `--nocapture`
/// for its value.
#[test]
fn a_test_that_is_run_in_a_process_of_its_own_is_run() {
    if refused() {
        return;
    }
    let tests = r#"
#[test]
#[ignore]
fn forks_and_fails() {
    assert!(std::env::var_os("FORKED").is_none(), "it was run");
    let mut words = std::env::args();
    let program = words.next().unwrap();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        let is_flag = word == "--nocapture";
        kept.push(word);
        is_flag.then(|| words.next());
    }
    let status = std::process::Command::new(program).args(kept).env("FORKED", "1").status();
    assert!(status.unwrap().success());
}
"#;
    let project = Project::new(&[("tests/it.rs", tests)]);
    for line in ["--test it --include-ignored", "--test it -- --ignored", "--run-ignored all"] {
        let failed = ["test forks_and_fails ... FAILED", "it was run"];
        project.isotest(line).run().check(100, &failed);
    }
    for line in ["--test it -- --include-ignored", "--test it -- --ignored"] {
        let failed = ["test forks_and_fails ... FAILED", "it was run"];
        project.cargo_test(line).runner("").run().check(101, &failed);
    }
}
