//! Changes of a case: what it writes, deletes and leaves in shared memory is a finding, what is a
//! matter of course is none.

use isotest_tests::{Call, Project, Run, refused};
use serde_json::Value;

/// Tests that have a finding, and their twins.
const TESTS: &str = r##"
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

fn home(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap()).join(name)
}
fn target(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn changes_everything() {
    fs::write("data/new\n.txt", "new").unwrap();
    fs::write("data/kept.txt", "KEPT").unwrap();
    fs::remove_file("data/gone.txt").unwrap();
    fs::set_permissions("data/mode.txt", fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir("made").unwrap();
    fs::write("made/inner", "12345").unwrap();
    fs::remove_dir_all("replaced").unwrap();
    fs::create_dir("replaced").unwrap();
    fs::write("replaced/other", "").unwrap();
    symlink("kept.txt", "data/link").unwrap();
    fs::create_dir_all(home(".config/app")).unwrap();
    fs::write(home(".config/app/state"), "x").unwrap();
}
#[test]
fn fails_and_writes() {
    fs::write("data/new.txt", "new").unwrap();
    panic!("on purpose");
}
#[test]
fn writes_what_is_there() {
    let kept = fs::read("data/kept.txt").unwrap();
    fs::write("data/kept.txt", kept).unwrap();
    let file = fs::File::options().append(true).open("data/mode.txt").unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::write("data/for_a_while", "").unwrap();
    fs::remove_file("data/for_a_while").unwrap();
    fs::remove_file("data/gone.txt").unwrap();
    fs::write("data/gone.txt", "gone\n").unwrap();
}
#[test]
fn writes_where_it_should() {
    fs::write(std::env::temp_dir().join("a"), "").unwrap();
    fs::write("/var/tmp/a", "").unwrap();
    fs::write(target("a"), "").unwrap();
}
#[test]
fn leaves_shared_memory() {
    fs::write("/dev/shm/segment", "x").unwrap();
    fs::write("/dev/shm/sem.lock", "x").unwrap();
}
#[test]
fn removes_shared_memory() {
    fs::write("/dev/shm/segment", "x").unwrap();
    fs::remove_file("/dev/shm/segment").unwrap();
}
#[test]
fn links_to_the_host() {
    symlink("/etc", "data/etc").unwrap();
    fs::remove_dir_all("replaced").unwrap();
    symlink("/etc", "replaced").unwrap();
}
"##;

fn project() -> Project {
    Project::new(&[
        ("tests/it.rs", TESTS),
        ("data/kept.txt", "kept\n"),
        ("data/gone.txt", "gone\n"),
        ("data/mode.txt", "mode\n"),
        ("replaced/one", "1"),
        ("replaced/two", "2"),
    ])
}

/// The findings of a test, by its name.
fn findings(run: &Run, test: &str) -> Vec<Value> {
    let messages = run.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ended = messages.filter(|message| message["type"] == "test-finished");
    let ended = ended.find(|message| message["test"] == test);
    let ended = ended.unwrap_or_else(|| panic!("{test} has ended: {}", run.stdout));
    ended["findings"].as_array().expect("a list").clone()
}

/// Changes of a finding, as `KIND PATH SIZE`.
fn changes(finding: &Value) -> Vec<String> {
    assert_eq!(finding["finding"], "writes-outside");
    let change = |change: &Value| {
        let (kind, path) = (change["kind"].as_str().unwrap(), change["path"].as_str().unwrap());
        let path = path
            .rsplit_once("/.config")
            .map_or(path.to_owned(), |(_, end)| format!("~/.config{end}"));
        format!("{kind} {path} {}", change["size"])
    };
    let mut changes: Vec<String> =
        finding["changes"].as_array().expect("a list").iter().map(change).collect();
    changes.sort();
    changes
}

fn run(project: &Project, options: &str) -> Run {
    let call: Call = project.isotest(&format!("--message-format json --test it {options}"));
    call.run()
}

#[test]
fn a_change_of_the_project_is_a_finding_and_a_no_op_is_none() {
    if refused() {
        return;
    }
    let project = project();
    for options in ["", "--no-fork-server", "--scratch disk", "--init reaper", "--user root"] {
        let run = run(&project, options);
        run.check(100, &[]);
        let [finding] = &findings(&run, "changes_everything")[..] else {
            panic!("one finding under {options}: {}", run.stdout)
        };
        let expected = [
            "A data/link 0",
            "A data/new\n.txt 3",
            "A made 0",
            "A made/inner 5",
            "A replaced/other 0",
            "A ~/.config 0",
            "A ~/.config/app 0",
            "A ~/.config/app/state 1",
            "C data/kept.txt 4",
            "C data/mode.txt 5",
            "D data/gone.txt 0",
            "D replaced/one 0",
            "D replaced/two 0",
        ];
        assert_eq!(changes(finding), expected, "{options}");
        assert_eq!(finding["all"], 13);
        let failed = findings(&run, "fails_and_writes");
        assert_eq!(changes(&failed[0]), ["A data/new.txt 3"], "{options}");
        let links = findings(&run, "links_to_the_host");
        assert_eq!(changes(&links[0]), ["A data/etc 0", "C replaced 0"], "{options}");
        for twin in ["writes_what_is_there", "writes_where_it_should", "removes_shared_memory"] {
            assert!(findings(&run, twin).is_empty(), "{twin} under {options}: {}", run.stdout);
        }
        let left = findings(&run, "leaves_shared_memory");
        assert_eq!(left.len(), 1, "{left:?}");
        let objects = ["shared memory /segment", "named semaphore /lock"];
        let told = left[0]["objects"].as_array().expect("a list");
        assert!(objects.iter().all(|it| told.contains(&Value::from(*it))), "{left:?}");
    }
}

#[test]
fn changes_that_are_copied_out_or_reach_the_host_are_no_finding() {
    if refused() {
        return;
    }
    let project = project();
    let run = run(&project, "--write-back data/** -- fails_and_writes");
    let codes: Vec<Value> =
        findings(&run, "fails_and_writes").iter().map(|it| it["finding"].clone()).collect();
    assert_eq!(codes, ["written-back"]);
}

#[test]
fn changes_of_a_whole_binary_are_its_own() {
    if refused() {
        return;
    }
    let project = project();
    let run = project.isotest("--unit binary --test it -- --exact changes_everything").run();
    run.check(0, &["a test of demo::it: added "]);
}

#[test]
fn diff_prints_what_a_test_has_changed() {
    if refused() {
        return;
    }
    let project = project();
    let run = project.isotest("diff --test it changes_everything").run();
    run.check(0, &["test changes_everything ... ok"]);
    let home = std::env::var("HOME").expect("a home");
    let expected = format!(
        "A          0 {home}/.config\nA          0 {home}/.config/app\nA          1 {home}/.config/app/state\n\
         D          0 data/gone.txt\nC          4 data/kept.txt\nA          0 data/link\n\
         C          5 data/mode.txt\nA          3 data/new\\n.txt\nA          0 made\n\
         A          5 made/inner\nD          0 replaced/one\nA          0 replaced/other\n\
         D          0 replaced/two\n"
    );
    let mut lines: Vec<&str> = run.stdout.lines().collect();
    let mut expected: Vec<&str> = expected.lines().collect();
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
    // What is a matter of course is a change, too.
    let run = project.isotest("diff --format json writes_where_it_should").run();
    let told: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let mut paths: Vec<&str> =
        told["changes"].as_array().unwrap().iter().filter_map(|it| it["path"].as_str()).collect();
    paths.sort();
    assert_eq!(paths, ["/tmp/a", "/var/tmp/a", "target/tmp/a"]);
    // A test that fails has changes as well.
    let run = project.isotest("diff fails_and_writes").run();
    run.check(0, &["on purpose", "test fails_and_writes ... FAILED"]);
    assert_eq!(run.stdout, "A          3 data/new.txt\n");
    project.isotest("diff nobody").run().check(4, &["cannot find a test named `nobody`"]);
}

#[test]
fn a_shell_comes_after_a_test() {
    if refused() {
        return;
    }
    let project = project();
    let line = "shell --after fails_and_writes -- sh -c";
    let run = project.isotest(line).arg("cat data/new.txt; echo \"'$0'\"").arg("it's").run();
    run.check(0, &["on purpose", "the test has ended with exit status 101"]);
    assert!(run.stdout.ends_with("new'it's'\n"), "{}", run.stdout);
    assert!(!project.directory().join("data/new.txt").exists());
}

#[test]
fn files_of_failed_tests_are_kept_and_pruned() {
    if refused() {
        return;
    }
    let project = project();
    let kept = project.directory().join("target/isotest/kept");
    let entries = || std::fs::read_dir(&kept).expect("it is there").count();
    project.isotest("--keep --test it -- --skip fails").run().check(0, &[]);
    assert_eq!(entries(), 0, "nothing has failed");
    let run = project.isotest("--keep --retries 1 --test it").run();
    run.check(100, &["note: the files of 2 failed attempts are kept", "target/isotest/kept/"]);
    let only = |directory: &std::path::Path| {
        let mut entries = std::fs::read_dir(directory).expect("it is there");
        let entry = entries.next().expect("an entry").expect("it can be read").path();
        assert!(entries.next().is_none(), "{}", directory.display());
        entry
    };
    let run = only(&kept);
    let read = |path: &str| std::fs::read_to_string(run.join(path));
    for attempt in ["demo__it fails_and_writes", "demo__it fails_and_writes (2)"] {
        let attempt = attempt.replace("__", "::");
        let list = read(&format!("{attempt}/changes.txt")).expect("it is there");
        assert_eq!(list, "A          3 data/new.txt\n");
        let file = read(&format!("{attempt}/project/data/new.txt"));
        assert_eq!(file.expect("it is there"), "new");
    }
    project.isotest("prune").run().check(0, &[]);
    assert_eq!(entries(), 0);
    // Nothing of a case's making is followed.
    let target = project.directory().join("target/isotest");
    std::fs::remove_dir(&kept).expect("it is empty");
    let elsewhere = target.join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("it is writable");
    std::os::unix::fs::symlink(&elsewhere, &kept).expect("it is writable");
    let run = project.isotest("--keep --test it").run();
    run.check(110, &["error: cannot keep or remove files of failed tests in", "symbolic link"]);
}

#[test]
fn what_is_told_and_kept_of_many_files_has_a_limit() {
    if refused() {
        return;
    }
    let test = r#"
#[test]
fn makes_many() {
    let mut deep = std::path::PathBuf::from("data");
    (0..15).for_each(|_| deep.push("d".repeat(200)));
    std::fs::create_dir_all(&deep).unwrap();
    let make = |path: std::path::PathBuf| drop(std::fs::File::create(path).unwrap());
    (0..60).for_each(|it| make(deep.join(it.to_string())));
    (0..5000).for_each(|it| make(format!("data/{it}").into()));
    panic!("on purpose");
}
"#;
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", test), ("data/old", "")]);
    let run = project.isotest("--keep --test it --message-format json").run();
    run.check(100, &["note: the files of 1 failed attempt are kept"]);
    let mut events = run.stdout.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
    let ended = events.rfind(|event| event["type"] == "test-finished");
    let finding = &ended.expect("it has ended")["findings"][0];
    let named = finding["changes"].as_array().expect("a list");
    let bytes: usize = named.iter().filter_map(|it| Some(it["path"].as_str()?.len())).sum();
    assert!((1..=64 << 10).contains(&bytes), "{bytes}");
    let words = finding["text"].as_str().unwrap_or_default();
    assert!(words.ends_with(" more"), "its end is not told");
    let kept = project.directory().join("target/isotest/kept");
    let attempt = std::fs::read_dir(kept).expect("it is there").next().expect("a run");
    let list = attempt.expect("it can be read").path().join("demo::it makes_many/changes.txt");
    let list = std::fs::read_to_string(list).expect("it is there");
    let last = list.lines().next_back();
    assert!(last.is_some_and(|it| it.ends_with(" more changes are not kept")), "{last:?}");
    assert!(list.lines().count() <= 4097, "{}", list.lines().count());
}
