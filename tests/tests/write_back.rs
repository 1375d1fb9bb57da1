//! Files that tests write for people: several tests may write one, and the recipes of the book hold.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use isotest_tests::program::{isotest, workspace};
use isotest_tests::{Call, Project, refused};
use nix::sys::signal::Signal;

/// Each test is one of several that write the same file.
const WRITERS: &str = r#"
#![cfg(test)]
use std::fs;

fn change(file: &str, change: impl Fn(String) -> String) {
    let text = fs::read_to_string(file).unwrap_or_default();
    fs::write(file, change(text)).unwrap();
}

mod parts {
    #[test] fn one() { super::change("lines", |text| text.replace("one\n", "1\n1\n1\n")) }
    #[test] fn two() { super::change("lines", |text| text.replace("two\n", "2\n")) }
    #[test] fn three() { super::change("lines", |text| text.replace("three\n", "")) }
    #[test] fn more() { super::change("lines", |text| text + "more\n") }
    #[test] fn yet_more() { super::change("lines", |text| text + "yet more\n") }
}

mod list {
    #[test] fn one() { super::change("a.pending-snap", |text| text + "header\none\n") }
    #[test] fn two() { super::change("a.pending-snap", |text| text + "header\ntwo\n") }
}

mod same_lines {
    #[test] fn one() { super::change("lines", |text| text.replace("one\n", "1\n")) }
    #[test] fn uno() { super::change("lines", |text| text.replace("one\n", "uno\n")) }
}

mod new_file {
    #[test] fn one() { super::change("made", |text| text + "one\n") }
    #[test] fn two() { super::change("made", |text| text + "two\n") }
}

mod same_file {
    #[test] fn one() { super::change("made", |text| text + "both\n") }
    #[test] fn two() { super::change("made", |text| text + "both\n") }
}

mod attempts {
    #[test]
    fn fails() {
        let now = std::time::SystemTime::now();
        super::change("made", |_| format!("{now:?}"));
        panic!("again");
    }
}
"#;

/// As if the test had written to the host, whose umask is 077; its own is 022.
#[test]
fn permissions_follow_the_umask_and_those_of_the_host() {
    if refused() {
        return;
    }
    let script = "echo a >new; echo a >run; chmod 4777 run; echo a >>kept; echo a >opened; chmod 666 opened; \
                  rm private; echo a >private; chmod 4755 bits";
    for (scratch, umask, expected) in [
        ("memory", "077", [0o600, 0o700, 0o664, 0o600, 0o600, 0o700]),
        ("disk", "022", [0o644, 0o755, 0o664, 0o644, 0o644, 0o755]),
    ] {
        let files = ["kept", "opened", "private", "bits"].map(|name| (name, "old\n"));
        let project = Project::new(&[&files[..], &[("src/lib.rs", "")]].concat());
        let path = |name: &str| project.directory().join(name);
        let old = [("kept", 0o664), ("opened", 0o600), ("private", 0o600), ("bits", 0o700)];
        for (name, mode) in old {
            fs::set_permissions(path(name), Permissions::from_mode(mode)).expect("it is ours");
        }
        let wanted = "--write-back * --write-back **/*";
        let outer = format!("umask {umask}; exec \"$0\" \"$@\"");
        let call = Call::new("sh", project.directory()).arg("-c").arg(outer).arg(isotest());
        let call = call.words(&format!("isotest exec --scratch {scratch} {wanted} -- sh -c"));
        call.arg(script).run().check(0, &[]);
        let found = ["new", "run", "kept", "opened", "private", "bits"].map(|name| {
            fs::metadata(path(name)).expect("it was written").permissions().mode() & 0o7777
        });
        assert_eq!(found.map(|it| format!("{it:o}")), expected.map(|it| format!("{it:o}")));
    }
}

/// Runs one module of [`WRITERS`], and returns what it says, and what is in a file then.
#[track_caller]
fn check(module: &str, line: &str, file: &str, expected: &str, texts: &[&str]) {
    if refused() {
        return;
    }
    for scratch in ["memory", "disk"] {
        let files = [("src/lib.rs", WRITERS), ("lines", "one\nmiddle\ntwo\nmiddle\nthree\nend\n")];
        let project = Project::new(&files);
        let line = format!("--lib --write-back * --scratch {scratch} {line} {module}::");
        let run = project.isotest(&line).run();
        run.check(run.code, texts);
        let found = fs::read_to_string(project.directory().join(file)).unwrap_or_default();
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&found), sorted(expected), "{file}: {found}");
        let left = project.directory().join("target/isotest/scratch");
        let left: Vec<_> = fs::read_dir(left).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_several_tests_change_in_one_file_is_all_kept() {
    let expected = "1\n1\n1\nmiddle\n2\nmiddle\nend\nmore\nyet more\n";
    // One after the other, too: none of them sees what another one has written.
    check("parts", "", "lines", expected, &["wrote back lines"]);
    check("parts", "--test-threads 1", "lines", expected, &["wrote back lines"]);
    check("list", "", "a.pending-snap", "header\none\ntwo\n", &["wrote back a.pending-snap"]);
}

#[test]
fn what_two_tests_write_alike_is_written_once() {
    check("same_file", "", "made", "both\n", &["2 tests wrote files that were copied"]);
}

#[test]
fn what_cannot_be_merged_is_told_and_the_first_is_kept() {
    if refused() {
        return;
    }
    let rows = [("same_lines", "lines", ["1", "uno"]), ("new_file", "made", ["one", "two"])];
    for (module, file, either) in rows {
        let project = Project::new(&[("src/lib.rs", WRITERS), ("lines", "one\n")]);
        let run = project.isotest(&format!("--lib --write-back * {module}::")).run();
        let told = format!("could not write back {file}: another test has changed the same lines");
        run.check(0, &["1 test wrote files that could not be copied out", &told, "wrote back"]);
        let found = fs::read_to_string(project.directory().join(file)).expect("one was written");
        assert!(either.contains(&found.trim()), "{found}");
    }
}

#[test]
fn of_several_attempts_the_last_one_writes() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", WRITERS)]);
    let run = project.isotest("--lib --write-back * --retries 2 attempts::").run();
    run.check(100, &["wrote back made"]);
    assert!(!run.stderr.contains("could not write back"), "{}", run.stderr);
}

#[test]
fn what_was_changed_outside_meanwhile_is_not_overwritten() {
    if refused() {
        return;
    }
    // No wildcard reaches into a target directory, and that of isotest itself is one.
    let files = [("src/lib.rs", ""), ("notes", "old\n")];
    let project = Project::below(&std::env::temp_dir(), "project", &files);
    let script = "echo inside > notes; echo new > made; echo written; sleep 1000";
    let call =
        project.isotest("exec --write-back **/notes --write-back **/made -- sh -c").arg(script);
    let running = call.start();
    running.wait_for("written");
    let notes = project.directory().join("notes");
    fs::write(&notes, "outside\n").expect("it can be written");
    running.signal(Signal::SIGTERM);
    let told = ["warning: could not write back ", "notes: it was changed while the test ran"];
    running.end().check(128 + 15, &told);
    assert_eq!(fs::read_to_string(&notes).expect("it is there"), "outside\n");
    let made = fs::read_to_string(project.directory().join("made"));
    assert_eq!(made.expect("nobody else has made it"), "new\n");
}

/// The commands of a section of the recipes, each with the crate before it.
fn recipes() -> Vec<(String, String)> {
    let page = fs::read_to_string(workspace().join("docs/recipes.md")).expect("it is there");
    let (_, section) = page.split_once("\n## Snapshots").expect("it has this section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = |row: &str| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        (cells.nth(1).expect("a crate"), cells.next().expect("a command"))
    };
    rows.map(cells).collect()
}

/// A file, and how often it has which text.
type Wanted = (&'static str, usize, &'static str);

/// Files that each command writes, with its crate and the package of the fixture.
const WRITTEN: [(&str, &str, &[Wanted]); 7] = [
    (
        "insta",
        "written",
        &[
            ("tests/snapshots/insta__a_snapshot.snap.new", 1, "---\nnew words"),
            ("tests/.inline.rs.pending-snap", 6, "\"snapshot\":\"new words of "),
        ],
    ),
    ("insta", "written", &[("tests/snapshots/insta__a_snapshot.snap", 1, "---\nnew words")]),
    (
        "expect-test",
        "written",
        &[
            ("tests/expectations.rs", 4, "expect![\"new words of "),
            ("tests/expectations.rs", 4, "        new words\n        of "),
            ("tests/expect.rs", 1, "expect![\"new words\"]"),
        ],
    ),
    ("trybuild", "compiled", &[("wip/wrong.stderr", 1, "error[E0308]: mismatched types")]),
    ("trybuild", "compiled", &[("tests/ui/wrong.stderr", 1, "error[E0308]: mismatched types")]),
    (
        "goldenfile",
        "written",
        &[("tests/golden/words.txt", 1, "new words"), ("tests/golden/more.txt", 1, "new words")],
    ),
    ("proptest", "written", &[("tests/prop.proptest-regressions", 1, "# shrinks to n = 1")]),
];

#[test]
fn the_recipes_for_what_tests_write_hold() {
    if refused() {
        return;
    }
    let (project, _lock) = Project::fixture_alone("writers");
    if !project.has_crates() {
        return;
    }
    let recipes = recipes();
    let names: Vec<&str> = recipes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, WRITTEN.map(|(name, ..)| name), "the recipes and what they write");
    for ((_, command), (_, package, files)) in recipes.iter().zip(WRITTEN) {
        let directory = project.directory().join(package);
        run(command, &directory);
        for (file, count, text) in files {
            let found = fs::read_to_string(directory.join(file)).unwrap_or_default();
            assert_eq!(found.matches(text).count(), *count, "`{command}` and {file}:\n{found}");
        }
    }
    // What insta keeps of inline snapshots is that of the last run alone.
    let pending = project.directory().join("written/tests/.inline.rs.pending-snap");
    let pending = fs::read_to_string(pending).expect("it was written");
    let runs: Vec<&str> = pending.lines().filter_map(|line| line.get(..40)).collect();
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
}

/// Runs a line as a shell would, with this isotest.
fn run(line: &str, directory: &Path) {
    let program = isotest();
    let own = program.parent().expect("it lies in a directory");
    let path = std::env::var("PATH").expect("there is a PATH");
    let status = Command::new("sh")
        .args(["-c", line])
        .current_dir(directory)
        .env("PATH", format!("{}:{path}", own.display()))
        // One of them compiles.
        .env("ISOTEST_TIMEOUT", "5m")
        .env("CARGO_NET_OFFLINE", "true")
        // Where it is set, insta writes no new snapshots.
        .env_remove("CI")
        .env_remove("TF_BUILD")
        .output()
        .expect("sh can be run");
    // Most tests fail: what they write is not what was accepted.
    let code = status.status.code();
    let stderr = String::from_utf8_lossy(&status.stderr);
    assert!(matches!(code, Some(0 | 100)), "`{line}` ended with {code:?}:\n{stderr}");
}
