//! Projects that belong to others, whose ids a case has not: a group's checkout, a container's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use isotest_tests::program::isotest;
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, missing, refused};
use nix::unistd::geteuid;

const GROUP: u32 = 2000;
const OTHER: u32 = 2001;

/// `exec` takes the whole checkout for its project: it finds the files of every test here, also of
/// one that is removing them.
static ALONE: Mutex<()> = Mutex::new(());

/// Dropped after the project.
type Alone = MutexGuard<'static, ()>;

/// A project that belongs to somebody else and to a group, and may be written to with `mode`. Only
/// root can give files away.
fn given_away(mode: u32) -> Option<(Alone, Project)> {
    if !geteuid().is_root() || refused() || missing("setpriv") {
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let project = Project::new(&[PASSING]);
    fs::create_dir_all(project.directory().join("data/deep")).unwrap();
    fs::write(project.directory().join("data/deep/file"), "old\n").unwrap();
    fs::create_dir(project.directory().join("closed")).unwrap();
    fs::write(project.directory().join("closed/file"), "closed\n").unwrap();
    let all = walk(project.directory());
    for path in &all {
        let directory = if path.is_dir() { 0o111 } else { 0 };
        let closed = path.components().any(|part| part.as_os_str() == "closed");
        let mode = if closed { 0o444 | directory } else { mode | directory };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        lchown(path, Some(OTHER), Some(GROUP)).unwrap();
    }
    Some((alone, project))
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] });
    [directory.to_owned()].into_iter().chain(below).collect()
}

const WRITES: &str = "
    set -e
    test \"$(stat -c %Y data/deep/file)\" = \"$1\"
    echo new > data/deep/file; cat data/deep/file
    echo more >> Cargo.toml; chmod 600 Cargo.toml
    mkdir data/new; echo x > data/deep/x; mv data/deep/file data/moved; rm -r data/deep
    ! echo x > closed/file; ! echo x > closed/x; ! rm closed/file";

/// All that may be changed on the host can be changed inside, and the host keeps what it has.
#[track_caller]
fn check(project: &Project, command: Call, layers: &str) {
    let file = project.directory().join("data/deep/file");
    let before = file.metadata().unwrap();
    let call = command.words("isotest exec").words(layers).words("-- sh -c").arg(WRITES);
    let run = call.arg("sh").arg(before.mtime().to_string()).run();
    assert_eq!(run.stdout, "new\n", "{}", run.stderr);
    run.check(0, &["closed/file: Permission denied", "closed/x: Permission denied"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old\n");
    assert_eq!(file.metadata().unwrap().uid(), before.uid());
    assert!(!project.directory().join("data/new").exists());
}

#[test]
fn a_member_of_the_group_writes_to_a_groups_checkout() {
    let Some((_alone, project)) = given_away(0o664) else { return };
    check(&project, as_a_member(&project, ""), "");
}

#[test]
fn nobody_writes_to_what_everybody_may_write_to() {
    let Some((_alone, project)) = given_away(0o666) else { return };
    check(&project, Call::new(isotest(), project.directory()), "--user nobody");
}

#[test]
fn root_of_a_sandbox_writes_to_what_everybody_may_write_to() {
    let Some((_alone, project)) = given_away(0o666) else { return };
    let call = Call::new(isotest(), project.directory());
    let script = "echo new > data/deep/file; echo x > data/deep/x; cat data/deep/file data/deep/x";
    call.words("isotest exec --user root -- sh -c").arg(script).run().check(0, &["new\nx\n"]);
}

/// A project of one's own in which others have made something, deep, that a group may write to.
fn with_others_in_the_depth() -> Option<(Alone, Project, PathBuf)> {
    if !geteuid().is_root() || refused() || missing("setpriv") {
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let project = Project::new(&[PASSING]);
    let deep = project.directory().join("one/two/three");
    fs::create_dir_all(deep.join("shared")).unwrap();
    fs::write(deep.join("file"), "old\n").unwrap();
    let large = fs::File::create(deep.join("large")).unwrap();
    large.set_len(6 << 20).unwrap();
    for (name, mode) in [("shared", 0o775), ("file", 0o664), ("large", 0o664)] {
        fs::set_permissions(deep.join(name), fs::Permissions::from_mode(mode)).unwrap();
        lchown(deep.join(name), Some(OTHER), Some(GROUP)).unwrap();
    }
    Some((alone, project, deep))
}

/// One who may not map other ids than its own.
fn as_a_member(project: &Project, line: &str) -> Call {
    let caller = format!("--groups {GROUP} --bounding-set -setuid,-setgid --");
    Call::new("setpriv", project.directory()).words(&caller).arg(isotest()).words(line)
}

#[test]
fn what_others_have_made_deep_in_ones_own_project_can_be_changed() {
    let Some((_alone, project, deep)) = with_others_in_the_depth() else { return };
    let script = "set -e; cd one/two/three; echo new > file; echo x > shared/x; echo end >> large
        mv large shared/moved; cat file; tail -c 4 shared/moved";
    for layers in ["", "--guard no-listener"] {
        let call = as_a_member(&project, "isotest exec").words(layers).words("-- sh -c");
        let run = call.arg(script).run();
        run.check(0, &["new\nend\n"]);
        assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    }
    assert_eq!(fs::read_to_string(deep.join("file")).unwrap(), "old\n");
    assert_eq!(fs::read_dir(deep.join("shared")).unwrap().count(), 0);
}

#[test]
fn a_file_of_others_that_is_too_large_to_be_copied_is_told_of_before_the_run() {
    let Some((_alone, project, deep)) = with_others_in_the_depth() else { return };
    let large = fs::File::options().write(true).open(deep.join("large")).unwrap();
    large.set_len(200 << 20).unwrap();
    let told = format!("large` (200.0 MiB) belongs to {OTHER}:{GROUP} and is not copied: ");
    let hint = "or use `--workspace shared`";
    let run = as_a_member(&project, "isotest").run();
    run.check(0, &["warning: `", &told, hint]);
    let at = |words: &str| run.stderr.find(words).expect(words);
    assert!(at("warning: `") < at("Running"), "{}", run.stderr);
    let write = "isotest exec -- sh -c";
    let run = as_a_member(&project, write).arg("echo x >> one/two/three/large").run();
    run.check(2, &["warning: `", "Value too large for defined data type"]);
    let run = as_a_member(&project, "isotest exec --workspace shared -- true").run();
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    let run = as_a_member(&project, "isotest doctor").run();
    run.check(0, &["files of others", &told, hint]);
}
