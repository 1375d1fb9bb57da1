//! What a test, an archive or the project can put in place of a file: isotest, which runs outside
//! every sandbox, does not follow it, does not wait for it and takes only so much of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use isotest_tests::{Call, Project, Run, refused};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

const TESTS: &str = "#[test]\nfn one() {}\n#[test]\nfn two() {}\n#[test]\nfn three() {}\n";

/// A project with a directory of the user's beside its sources.
fn project() -> Project {
    Project::new(&[("src/lib.rs", TESTS), ("../victim/deep/file", "the user's")])
}

#[track_caller]
fn is_untouched(project: &Project) {
    let victim = project.directory().join("../victim");
    let file = fs::read_to_string(victim.join("deep/file")).expect("it is there");
    assert_eq!(file, "the user's");
    assert_eq!(fs::read_dir(victim).expect("it is there").count(), 1);
}

/// A command with scratch on disk, in a target directory of the project's own.
fn on_disk(project: &Project, options: &str) -> Call {
    let target = project.directory().join("target");
    project.isotest("exec --scratch disk").words(options).env("CARGO_TARGET_DIR", target)
}

/// Runs a script that has every capability inside.
fn attack_scratch(project: &Project, script: &str) -> Run {
    let victim = project.directory().join("../victim").canonicalize().expect("it is there");
    let call = on_disk(project, "--user root -- sh -c");
    call.arg(script).arg("sh").arg(victim).run()
}

/// No directory of a run or a case is left.
#[track_caller]
fn is_swept(project: &Project) {
    let scratch = fs::read_dir(project.directory().join("target/isotest/scratch"));
    assert_eq!(scratch.expect("a run has made it").count(), 0, "directories in the scratch");
}

/// Below its `/tmp` a test with capabilities finds what the sandbox was made of.
#[test]
fn clean_up_of_scratch_on_disk_follows_no_link() {
    if refused() {
        return;
    }
    for script in [
        // What stands beside its own directory.
        "umount -l /tmp; for d in /tmp/d/* /tmp/*/run-*; do mv $d $d.x && ln -s $1 $d; done; true",
        // Its own directory, and what is in it.
        "umount -l /tmp; cd /tmp/s && for d in *; do mv $d m$d; ln -s $1 $d; done; true",
        "for d in /tmp/a /tmp/b/c; do mkdir -p ${d%/*}; ln -s $1 $d; done",
        // Through every mount that it still has.
        "umount -l /tmp; umount -l /tmp; ls -la /tmp >&2; rm -rf /tmp/s; ln -s $1 /tmp/s; true",
    ] {
        let project = project();
        attack_scratch(&project, script).check(0, &[]);
        is_untouched(&project);
        is_swept(&project);
    }
}

/// No test sees the directories of others, in which it could wait for them.
#[test]
fn the_parent_of_scratch_on_disk_is_not_shown() {
    if refused() {
        return;
    }
    let project = project();
    let script = "umount -l /tmp; ls -d /tmp/d /tmp/*/run-* 2>/dev/null; echo end";
    let run = attack_scratch(&project, script);
    assert_eq!(run.stdout, "end\n");
    run.check(0, &[]);
}

#[test]
fn directories_of_a_run_are_for_their_owner_alone() {
    if refused() {
        return;
    }
    let project = project();
    let running = on_disk(&project, "-- sleep 60").start();
    let scratch = project.directory().join("target/isotest/scratch");
    let made = isotest_tests::until("the directory of the run", || {
        fs::read_dir(&scratch).ok()?.flatten().next()
    });
    let mode = made.metadata().expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
    drop(running);
}

#[test]
fn no_set_user_id_program_and_no_device_works_in_scratch_on_disk() {
    if refused() {
        return;
    }
    let script = "grep ' /tmp ' /proc/self/mountinfo | grep -c ' rw,nosuid,nodev'";
    let run = on_disk(&project(), "-- sh -c").arg(script).run();
    assert_eq!(run.stdout, "1\n");
}

/// Longer than any path may be (PATH_MAX).
#[test]
fn a_tree_deeper_than_any_path_is_removed_from_the_disk() {
    if refused() {
        return;
    }
    let project = project();
    let name = "d".repeat(200);
    let script = format!(
        "cd /tmp; for i in $(seq 60); do mkdir {name} && cd -P {name} || exit 1; done; touch file"
    );
    on_disk(&project, "-- bash -c").arg(script).run().check(0, &[]);
    is_swept(&project);
}

/// A root of the test's own, in which `/tmp` is no directory.
const OTHER_ROOT: &str = "mkdir -p /tmp/r/usr && mount --rbind /usr /tmp/r/usr && cd /tmp/r && \
                          for d in bin lib lib64; do ln -s usr/$d $d; done && ";

/// A test that has failed is looked at before it has ended: whether it has filled its `/tmp`.
#[test]
fn a_test_that_fails_in_a_root_of_its_own_keeps_nobody() {
    if refused() {
        return;
    }
    let project = project();
    for tmp in [
        "mkfifo tmp",
        "ln -s /proc/self/root/../fifo tmp && mkfifo fifo",
        "ln -s /dev/zero tmp",
        "mkdir tmp && mount --bind /usr tmp",
        "mkdir tmp && mount -t tmpfs tmpfs tmp",
    ] {
        for init in ["none", "reaper"] {
            let script = format!("{OTHER_ROOT}{tmp} && exec chroot /tmp/r /usr/bin/sh -c 'exit 7'");
            let line = format!("exec --user root --init {init} --timeout 20s -- sh -c");
            project.isotest(&line).arg(script).run().check(7, &[]);
        }
    }
}

/// What the next run reads: a device without end, a FIFO, a file without end.
#[test]
fn what_is_remembered_may_be_anything() {
    if refused() {
        return;
    }
    let project = project();
    project.isotest("--lib").run().check(0, &["3 passed; 0 failed"]);
    let own = project.directory().join("target/isotest");
    let put: [fn(&Path); 4] = [
        |path| symlink("/dev/zero", path).expect("a link"),
        |path| mkfifo(path, Mode::S_IRWXU).expect("a FIFO"),
        |path| fs::create_dir(path).expect("a directory"),
        |path| fs::File::create(path).and_then(|file| file.set_len(1 << 40)).expect("a file"),
    ];
    for put in put {
        for name in ["lists.json", "durations.json", "failed.json"] {
            let path = own.join(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            put(&path);
        }
        project.isotest("--lib").run().check(0, &["3 passed; 0 failed"]);
    }
}
