//! Files that a test, an archive or the project can replace: isotest, which runs outside every
//! sandbox, follows no link there, does not wait, and reads only so much.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use isotest_tests::program::isotest;
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

/// Files that the next run reads: a device without end, a FIFO, a file without end.
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
        for name in ["lists.json", "runs/index.json"] {
            let path = own.join(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            put(&path);
        }
        project.isotest("--lib").run().check(0, &["3 passed; 0 failed"]);
    }
}

/// An archive, or an earlier test, has put a link on the way to the report: nothing is made or
/// written where it leads.
#[test]
fn a_junit_report_follows_no_link_below_target_and_workspace() {
    if refused() {
        return;
    }
    let project = project();
    let victim = project.directory().join("../victim").canonicalize().expect("it is there");
    let run = |options: &str| {
        let target = project.directory().join("target");
        project.isotest("--lib").words(options).env("CARGO_TARGET_DIR", target).run()
    };
    for (top, options) in [
        ("target/nextest", "--junit target/nextest/default/junit.xml"),
        ("target/nextest", "--junit ../project/src/../target/nextest/default/junit.xml"),
        ("reports", "--junit reports/default/junit.xml --workspace shared"),
        ("reports", "--junit reports/default/junit.xml"),
    ] {
        let top = project.directory().join(top);
        let places = [top.clone(), top.join("default"), top.join("default/junit.xml")];
        let leads_to = [victim.clone(), victim.join("deep"), victim.join("deep/file")];
        for (link, leads_to) in places.iter().zip(leads_to) {
            fs::create_dir_all(link.parent().expect("it has one")).expect("it is writable");
            symlink(leads_to, link).expect("a link");
            let told = format!("{}` is a symbolic link, which is not followed", link.display());
            run(options).check(110, &["cannot write the JUnit report", &told, "hint: remove"]);
            is_untouched(&project);
            assert_eq!(fs::read_dir(victim.join("deep")).expect("it is there").count(), 1);
            fs::remove_file(link).expect("it is a link");
        }
        run(options).check(0, &["3 passed; 0 failed"]);
        assert!(places[2].is_file(), "{options}");
        fs::remove_dir_all(top).expect("it is ours");
    }
}

/// The user's own links lead to what they name elsewhere, and to the target directory.
#[test]
fn a_junit_report_follows_links_of_the_user() {
    if refused() {
        return;
    }
    let project = project();
    fs::create_dir_all(project.directory().join("../elsewhere")).expect("it is writable");
    symlink("elsewhere", project.directory().join("../link")).expect("a link");
    let target = project.directory().join("target");
    symlink("../elsewhere", &target).expect("a link");
    for report in ["../link/a/junit.xml", "target/b/junit.xml"] {
        let call = project.isotest("--lib --junit").arg(report).env("CARGO_TARGET_DIR", &target);
        call.run().check(0, &["3 passed; 0 failed"]);
        assert!(project.directory().join(report).is_file(), "{report}");
    }
}

/// A configuration that is a link, a FIFO or a file without end.
#[test]
fn a_configuration_may_be_anything() {
    const SECRET: &str = "root:secret:1::::::";
    let project = Project::new(&[
        ("src/lib.rs", TESTS),
        ("../victim/secret", SECRET),
        ("../victim/right", "[profile.default]\nretries = 2\n"),
        ("../victim/filter", "[profile.default]\ndefault-filter = \"secret(a)\"\n"),
        ("inside", "secret\n"),
        (".config/other", ""),
    ]);
    let commands =
        [(".config/isotest.toml", "show-config"), (".config/nextest.toml", "import-nextest")];
    for (name, command) in commands {
        let path = project.directory().join(name);
        let told = |leads_to: &str, code, parts: &[&str]| {
            symlink(leads_to, &path).expect("a link");
            let run = project.isotest(command).run();
            run.check(code, parts);
            fs::remove_file(&path).expect("it is there");
            assert!(!leads_to.starts_with("../../") || !run.stderr.contains("secret"), "{run:?}");
        };
        let outside = format!(
            "cannot use `{name}`: it links to a file outside the workspace that has an error ({name}:"
        );
        told("../../victim/secret", 2, &[&outside, "1)\nhint: replace the link"]);
        // What is right is followed, and what is inside is quoted.
        told("../inside", 2, &["1 | secret"]);
        told("../../victim/right", 0, &[]);
        let _ = fs::remove_file(project.directory().join(".config/isotest.toml"));
        if command == "show-config" {
            told("../../victim/filter", 94, &[&outside, "2)"]);
        }
        let long = fs::File::create(&path).and_then(|file| file.set_len(3 << 30));
        long.expect("files have holes");
        let larger = format!("cannot read `{name}`: it is larger than 1 MiB");
        project.isotest(command).run().check(2, &[&larger]);
        fs::remove_file(&path).expect("it is there");
    }
    let path = project.directory().join(".config/nextest.toml");
    mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
    let run = project.isotest("import-nextest").run();
    run.check(2, &["cannot read `.config/nextest.toml`: it is not a regular file"]);
}

#[test]
fn an_import_writes_through_no_link() {
    let nextest = "[profile.default]\nretries = 2\n";
    let project = Project::new(&[
        ("src/lib.rs", TESTS),
        (".config/nextest.toml", nextest),
        ("../victim/deep/file", "the user's"),
    ]);
    let link = project.directory().join(".config/isotest.toml");
    for leads_to in ["../../victim/deep/file", "../../victim/new"] {
        symlink(leads_to, &link).expect("a link");
        project.isotest("import-nextest").run().check(2, &["it exists already", "`--force`"]);
        project.isotest("import-nextest --force").run().check(0, &["Wrote .config/isotest.toml"]);
        is_untouched(&project);
        assert!(fs::symlink_metadata(&link).expect("it is there").is_file());
        fs::remove_file(&link).expect("it is there");
    }
    let config = project.directory().join(".config");
    fs::rename(&config, project.directory().join("../config")).expect("it is ours");
    symlink("../config", &config).expect("a link");
    let told = "/.config` is a symbolic link, which is not followed\nhint: remove the link";
    project
        .isotest("import-nextest")
        .run()
        .check(2, &["cannot write `.config/isotest.toml`: `", told]);
    assert!(fs::metadata(link).is_err());
}

/// As [`project`], not below the target directory of another one, which is where these tests stand.
fn outside_targets() -> Project {
    Project::below(&env::temp_dir(), "project", &[("src/lib.rs", TESTS)])
}

/// A script in a sandbox from which everything is copied out.
fn write_back(project: &Project, options: &str, script: &str) -> Run {
    project.isotest("exec").words(options).words("-- sh -c").arg(script).run()
}

const ALL: &str = "--write-back ** --tmp-size 16m";

#[test]
fn what_is_written_back_has_the_holes_that_it_had() {
    if refused() {
        return;
    }
    let project = outside_targets();
    let script = "truncate -s 3G sparse; printf end >>sparse";
    write_back(&project, ALL, script).check(0, &[]);
    let made = project.directory().join("sparse").metadata().expect("it was written back");
    assert_eq!(made.len(), (3 << 30) + 3);
    assert!(made.blocks() < 2048, "{} blocks of 512 bytes", made.blocks());
}

/// One file under many names: what it takes inside is not what it takes outside.
#[test]
fn what_is_written_back_has_a_limit() {
    if refused() {
        return;
    }
    let project = outside_targets();
    let script = "mkdir links; head -c 12M /dev/zero >links/0; i=0; \
                  while [ $i -lt 100 ]; do i=$((i+1)); ln links/0 links/$i; done";
    let run = write_back(&project, ALL, script);
    run.check(0, &["could not write back links/", "nothing more of this test is copied"]);
    assert!(run.stderr.lines().count() < 10, "{}", run.stderr);
    let made = fs::read_dir(project.directory().join("links")).expect("some were written back");
    assert!(made.count() <= 1024 / 12);
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); mkdir d; cd d; done; echo >file";
    write_back(&project, ALL, script).check(0, &["it is more than 64 directories deep"]);
}

/// Files that git, cargo, an editor or a shell would run outside later.
#[test]
fn no_wildcard_writes_back_what_runs_outside() {
    if refused() {
        return;
    }
    let files = [
        (".git/hooks/pre-commit", ".git"),
        ("sub/.git/config", ".git"),
        (".cargo/config.toml", ".cargo"),
        (".config/isotest.toml", ".config"),
        (".github/workflows/ci.yml", ".github"),
        (".envrc", ".envrc"),
        ("build.rs", "build.rs"),
        ("Cargo.lock", "Cargo.lock"),
        ("rust-toolchain.toml", "rust-toolchain.toml"),
        ("target/debug/build/script", "target"),
        ("target/isotest/lists.json", "target"),
    ];
    for (file, name) in files {
        let project = outside_targets();
        let script = format!("mkdir -p $(dirname {file}); echo hostile >{file}; echo fine >fine");
        let target = project.directory().join("target");
        let call = |options: &str| {
            let call = project.isotest("exec").words(options).words("-- sh -c").arg(&script);
            call.env("CARGO_TARGET_DIR", &target).run()
        };
        let told = format!("could not write back {file}: no wildcard matches `{name}`");
        call("--write-back **").check(0, &[&told]);
        let place = project.directory().join(file);
        let read = || fs::read_to_string(&place).unwrap_or_default();
        assert_ne!(read(), "hostile\n", "{file}");
        let fine = fs::read_to_string(project.directory().join("fine"));
        assert_eq!(fine.expect("it was written back"), "fine\n");
        call(&format!("--write-back {file}")).check(0, &[]);
        assert_eq!(read(), "hostile\n", "{file}");
    }
}

/// A file of a test beside the profiles is moved only if it is named as a profile, and replaces
/// nothing else.
#[test]
fn what_is_no_profile_is_not_moved_out() {
    if refused() {
        return;
    }
    let project = outside_targets();
    fs::write(project.directory().join("a-1.raw"), "the user's").expect("it is writable");
    let script = "cd ${LLVM_PROFILE_FILE%/*}; echo hostile >Cargo.toml; ln -s /etc/passwd a-2.raw; \
                  printf '\\201rforpl\\377' >a-3.raw";
    let call = |script: &str| {
        let call = project.isotest("exec -- sh -c").arg(script);
        call.env("LLVM_PROFILE_FILE", "a-%p.raw").run()
    };
    let run = call(script);
    assert_ne!(run.code, 0, "a link named as a profile is told of: {}", run.stderr);
    call("cd ${LLVM_PROFILE_FILE%/*}; printf '\\201rforpl\\377' >a-3.raw").check(0, &[]);
    let run = call("echo hostile >${LLVM_PROFILE_FILE%/*}/a-1.raw");
    assert_ne!(run.code, 0, "nothing else is replaced: {}", run.stderr);
    let read = |name: &str| fs::read_to_string(project.directory().join(name)).unwrap_or_default();
    assert!(read("Cargo.toml").contains("[package]"));
    assert_eq!(read("a-1.raw"), "the user's");
    assert!(project.directory().join("a-3.raw").is_file());
    assert!(fs::symlink_metadata(project.directory().join("a-2.raw")).is_err());
}

/// The kernel counts the descriptors that a user's processes send, and compares them with the limit of
/// each sender: a test that has used up its own leaves isotest what it needs.
#[test]
fn a_test_may_open_fewer_files_than_isotest() {
    if refused() {
        return;
    }
    let project = project();
    for (own, inside) in [(4096, "3072\n"), (1000, "500\n")] {
        let script = format!("ulimit -n {own}; exec \"$0\" isotest exec -- sh -c 'ulimit -Hn'");
        let call = Call::new("sh", project.directory()).arg("-c").arg(script).arg(isotest());
        let run = call.run();
        run.check(0, &[]);
        assert_eq!(run.stdout, inside, "of {own}");
    }
}
