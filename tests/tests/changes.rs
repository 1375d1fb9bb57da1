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
    run.check(0, &["a test of demo::it: changed files outside of /tmp and the target directory"]);
}
