//! Other root filesystems: one with nothing but a static busybox, one of Debian, and archives.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use isotest_tests::program::{isotest, staging_directory};
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, Run, missing, refused, unavailable};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use tempfile::TempDir;

/// A root filesystem with a static busybox, `sh`, `ls` and `cat`.
fn busybox() -> Option<TempDir> {
    let Some(program) = find("busybox").filter(|program| is_static(program)) else {
        unavailable("there is no static busybox: Debian's package `busybox-static` has it");
        return None;
    };
    let root = TempDir::with_prefix_in("root-", staging_directory())
        .expect("the staging directory is writable");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::create_dir(root.path().join("bin")).expect("it is empty");
    fs::copy(program, root.path().join("bin/busybox")).expect("programs can be read");
    for name in ["sh", "ls", "cat", "touch"] {
        symlink("busybox", root.path().join("bin").join(name)).expect("it is empty");
    }
    Some(root)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// True if a program names no interpreter.
fn is_static(program: &Path) -> bool {
    let bytes = fs::read(program).expect("programs can be read");
    !bytes.windows(8).any(|window| window == b"/ld-linu" || window == b"/ld-musl")
}

/// A minimal Debian, made once by debootstrap(8), which takes root and the network; what root has
/// made serves an ordinary user too.
fn debian() -> Option<PathBuf> {
    let root = staging_directory().join("debian");
    let lock = File::create(staging_directory().join("debian.lock"))
        .expect("the staging directory is writable");
    lock.lock().expect("files can be locked");
    if root.is_dir() {
        return Some(root);
    }
    let made = staging_directory().join("debian-in-the-making");
    if missing("debootstrap") {
        return None;
    }
    if !geteuid().is_root() {
        unavailable("only root can make a root filesystem of Debian");
        return None;
    }
    // What an earlier try has left.
    let _ = fs::remove_dir_all(&made);
    // What it mounts stays out of everybody else's sight.
    // A network may be slow, or stand still.
    let mut debootstrap = Command::new("timeout");
    debootstrap.args(["1200", "unshare", "--mount", "debootstrap", "--variant=minbase", "stable"]);
    let output = debootstrap.arg(&made).output().expect("it was found");
    if !output.status.success() {
        let _ = fs::remove_dir_all(&made);
        unavailable(&format!("debootstrap: {}", String::from_utf8_lossy(&output.stderr)));
        return None;
    }
    fs::rename(made, &root).expect("it is not there");
    Some(root)
}

/// Runs a script of sh in a sandbox with this root.
fn exec(root: &Path, options: &str, script: &str) -> Run {
    let project = Project::new(&[PASSING]);
    let call = project.isotest("exec --root").arg(root).words(options).words("-- sh -c");
    call.arg(script).env("XDG_CACHE_HOME", project.directory().join("cache")).run()
}

/// Checks the output of a script of sh in a sandbox with this root.
#[track_caller]
fn check(root: &Path, options: &str, script: &str, expected: &str) {
    let run = exec(root, options, script);
    assert_eq!(run.stdout.trim_end(), expected, "what the script printed");
    run.check(0, &[]);
}

#[track_caller]
fn check_busybox(options: &str, script: &str, expected: &str) {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    check(root.path(), options, script, expected);
}

#[test]
fn programs_come_from_the_root() {
    check_busybox(
        "",
        "echo /bin/*; ls -d /usr /lib 2>&1; true",
        "/bin/busybox /bin/cat /bin/ls /bin/sh /bin/touch\nls: /usr: No such file or directory\nls: /lib: No such file or directory",
    );
}

#[test]
fn the_root_is_read_only() {
    check_busybox("", "for d in / /bin /etc; do touch $d/x 2>/dev/null && echo $d; done; true", "");
}

#[test]
fn etc_and_dev_are_as_everywhere() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    let write = |path: &str, text: &str, mode| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it is writable");
        fs::write(&path, text).expect("it is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    write("etc/hostname", "other", 0o644);
    write("etc/release", "1", 0o644);
    write("etc/shadow", "secret", 0o600);
    write("dev/disk", "", 0o666);
    write("dev/null", "full", 0o666);
    let script =
        "cat /etc/hostname /etc/release; cat /dev/null; ls /dev/disk /etc/shadow 2>&1; true";
    check(
        root.path(),
        "",
        script,
        "isotest\n1ls: /dev/disk: No such file or directory\nls: /etc/shadow: No such file or directory",
    );
}

#[test]
fn an_absolute_link_leads_to_the_root() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    fs::remove_file(root.path().join("bin/sh")).expect("it is ours");
    symlink("/bin/busybox", root.path().join("bin/sh")).expect("it is free");
    check(root.path(), "", "echo $$", "1");
}

#[test]
fn a_program_that_only_the_host_has_is_not_found() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    let project = Project::new(&[PASSING]);
    let run = project.isotest("exec --root").arg(root.path()).words("-- setsid true").run();
    run.check(127, &["cannot find the command `setsid`"]);
}

/// There is no `/usr` in it.
#[test]
fn what_the_root_has_no_place_for_is_shown() {
    check_busybox(
        "--ro /usr/include",
        "ls /usr; ls /usr/include/stdio.h",
        "include\n/usr/include/stdio.h",
    );
}

#[test]
fn a_place_that_is_a_link_in_the_root_is_named() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    symlink("bin", root.path().join("usr")).expect("it is free");
    let run = exec(root.path(), "--ro /usr/include", "true");
    run.check(2, &["cannot show `/usr/include`", "`/usr` is not a directory there"]);
}

#[test]
fn the_project_is_writable_and_stays_as_it_is() {
    check_busybox("", "touch new && ls", "Cargo.toml\nnew\nsrc");
}

#[test]
fn the_root_of_the_host_is_the_host() {
    if refused() {
        return;
    }
    check(Path::new("/"), "", "ls -d /usr/bin", "/usr/bin");
}

#[test]
fn a_root_may_be_relative() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    let project = Project::below(root.path(), "bin/project", &[PASSING]);
    let line = "exec --root ../../.. -- sh -c pwd";
    let run = project.isotest(line).run();
    run.check(0, &[&project.directory().display().to_string()]);
}

#[test]
fn a_root_with_another_filesystem_below_it_is_refused_by_name() {
    if refused() || !geteuid().is_root() {
        return;
    }
    let Some(root) = busybox() else { return };
    let place = root.path().join("data");
    fs::create_dir(&place).expect("it is ours");
    let project = Project::new(&[PASSING]);
    let script = "mount -t tmpfs none \"$1\" && shift && exec \"$@\"";
    let run = Call::new("unshare", project.directory())
        .words("--mount sh -c")
        .arg(script)
        .arg("sh")
        .arg(&place)
        .arg(isotest())
        .words("isotest exec --root")
        .arg(root.path())
        .words("-- sh -c true")
        .run();
    let at = format!("another filesystem is mounted at `{}`", place.display());
    run.check(2, &[&at, "hint: unmount it, or use a tarball: `tar -C "]);
}

#[test]
fn a_root_whose_etc_leads_elsewhere_is_refused() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    symlink("/etc", root.path().join("etc")).expect("it is ours");
    let run = exec(root.path(), "", "ls /etc");
    run.check(2, &["cannot use the root filesystem: `", "/etc` is a symbolic link"]);
}

#[test]
fn a_root_that_is_not_there_is_an_error_of_usage() {
    let project = Project::new(&[PASSING]);
    let run = project.isotest("--root none").run();
    run.check(2, &["cannot use `", "none` as `--root`: No such file or directory"]);
}

/// A test that needs the interpreter of the host is a list that failed, and says why.
#[test]
fn a_dynamic_test_needs_its_interpreter() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    let project = Project::new(&[PASSING]);
    let run = project.isotest("--lib --root").arg(root.path()).run();
    run.check(96, &["No such file or directory (ENOENT)", "the interpreter that it names"]);
}

#[test]
fn a_static_test_needs_nothing() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    let run = static_test(root.path());
    run.check(0, &["test passes ... ok"]);
}

const STATIC: &str = "-C target-feature=+crt-static";

fn static_test(root: &Path) -> Run {
    let project = Project::new(&[(
        "src/lib.rs",
        "#[test]\nfn passes() { assert!(std::fs::read(\"/etc/hostname\").is_ok()); }\n",
    )]);
    project.isotest("--lib --root").arg(root).env("RUSTFLAGS", STATIC).run()
}

/// A project between two root filesystems, `one` and `two`; only `two` has a file `/mark`.
struct Both {
    project: Project,
    _busybox: TempDir,
}

const MARKED: &str = "\
#[test]
fn is_marked() { assert!(std::path::Path::new(\"/mark\").exists()); }
#[test]
fn passes() {}
";

impl Both {
    /// `None` where there is no busybox or no sandbox.
    fn new(tests: &str) -> Option<Both> {
        let busybox = if refused() { None } else { busybox() }?;
        let project = Project::new(&[("src/lib.rs", tests)]);
        for name in ["one", "two"] {
            let root = project.directory().with_file_name(name);
            fs::create_dir_all(root.join("bin")).expect("it is writable");
            fs::copy(busybox.path().join("bin/busybox"), root.join("bin/sh")).expect("it is there");
        }
        let both = Both { project, _busybox: busybox };
        fs::write(both.root("two").join("mark"), "").expect("it is writable");
        Some(both)
    }

    fn root(&self, name: &str) -> PathBuf {
        self.project.directory().with_file_name(name)
    }

    fn call(&self, line: &str) -> Call {
        let call = self.project.isotest("--lib --root ../one --root ../two").words(line);
        call.env("RUSTFLAGS", STATIC)
    }
}

#[test]
fn every_test_runs_once_in_each_root() {
    let Some(both) = Both::new(MARKED) else { return };
    let run = both.call("--test-threads 1").run();
    let lines: Vec<&str> = run.stdout.lines().collect();
    let is_told = |line: &&&str| line.starts_with("root: ") || line.starts_with("test ");
    let told: Vec<&str> = lines.iter().filter(is_told).copied().map(without_counts).collect();
    let expected = [
        "root: ../one",
        "test is_marked ... FAILED",
        "test passes ... ok",
        "test result: FAILED",
        "root: ../two",
        "test is_marked ... ok",
        "test passes ... ok",
        "test result: ok",
    ];
    assert_eq!(told, expected);
    let headings = run.stderr.lines().filter(|line| line.trim_start().starts_with("Running"));
    let ends: Vec<&str> =
        headings.filter_map(|line| line.rsplit_once(") ")).map(|it| it.1).collect();
    assert_eq!(ends, ["in ../one", "in ../two"]);
    run.check(
        100,
        &[
            "to rerun pass `--root ../one --lib`",
            "Summary 4 tests in ",
            "3 passed, 1 failed",
            "cargo isotest --test-threads=1 --root ../one --lib -- --exact is_marked\n",
        ],
    );
    assert!(!run.stderr.contains("--root ../two"), "all has passed there");
}

/// `test result: ok. 1 passed; …` without what follows the word; other lines as they are.
fn without_counts(line: &str) -> &str {
    let result = line.starts_with("test result: ").then(|| line.split_once(". ")).flatten();
    result.map_or(line, |(word, _)| word)
}

#[test]
fn json_tells_the_root_of_every_suite() {
    let Some(both) = Both::new(MARKED) else { return };
    let run = both.call("-- --format json -Z unstable-options").run();
    let roots: Vec<(String, String)> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("it is JSON"))
        .filter(|event| event["type"] == "suite")
        .map(|event| (event["event"].to_string(), event["root"].to_string()))
        .collect();
    let expected = [("started", "one"), ("failed", "one"), ("started", "two"), ("ok", "two")];
    let expected = expected.map(|(event, root)| (format!("\"{event}\""), format!("\"../{root}\"")));
    assert_eq!(roots, expected);
}

#[test]
fn a_failure_in_one_root_counts_in_the_next() {
    let Some(both) = Both::new(MARKED) else { return };
    let run = both.call("--fail-fast --test-threads 1").run();
    run.check(100, &["0 passed, 1 failed, 3 cancelled"]);
    assert!(!run.stdout.contains("root: ../two"), "nothing is run there");
    both.call("--max-fail 2 --test-threads 1").run().check(100, &["3 passed, 1 failed"]);
}

#[test]
fn an_interrupt_ends_the_run_in_all_roots() {
    let Some(both) = Both::new("#[test]\nfn hangs() { loop { std::thread::park(); } }\n") else {
        return;
    };
    let running = both.call("").start();
    running.wait_for("root: ../one");
    running.signal(Signal::SIGINT);
    let run = running.end();
    run.check(130, &["interrupted by SIGINT; 2 tests did not run to the end"]);
    assert!(!run.stdout.contains("root: ../two"), "nothing is run there");
}

#[test]
fn the_second_look_is_taken_in_each_root() {
    let is_first = "#[test]\nfn is_not_first() { assert_ne!(std::process::id(), 1); }\n";
    let Some(both) = Both::new(is_first) else { return };
    let names = ["demo::is_not_first in ../one", "demo::is_not_first in ../two"];
    let run = both.call("").run();
    run.check(
        100,
        &["2 tests fail because ", ": they pass with `--init reaper`", names[0], names[1]],
    );
}

#[test]
fn a_list_has_the_tests_of_each_root() {
    let Some(both) = Both::new(MARKED) else { return };
    let run = both.call("-- --list").run();
    let tests = "is_marked: test\npasses: test\n\n2 tests, 0 benchmarks\n";
    assert_eq!(run.stdout, format!("\nroot: ../one\n{tests}\nroot: ../two\n{tests}"));
    run.check(0, &[]);
}

/// A dynamic test starts where the host's interpreter is.
#[test]
fn tests_that_cannot_start_in_one_root_run_in_the_others() {
    let Some(both) = Both::new("#[test]\nfn passes() {}\n") else { return };
    let call = both.call("--root /").without("RUSTFLAGS");
    let run = call.run();
    run.check(
        96,
        &[
            "error: cannot run tests in `../one`: cannot list the tests of `demo`: cannot execute `",
            "error: cannot run tests in `../two`: ",
            "root: /\n",
            "Summary 1 test in ",
            "error: no tests ran in `../one`, `../two`\n",
        ],
    );
    let run = both.call("").without("RUSTFLAGS").run();
    run.check(96, &["cannot run tests in `../two`"]);
    assert!(!run.stderr.contains("Summary"), "there is nothing to sum up");
}

/// They are dynamic too: where the tests cannot start they are not tried.
#[test]
fn documentation_tests_run_in_the_roots_where_tests_do() {
    let tests = "/// ```\n/// ```\npub fn documented() {}\n#[test]\nfn passes() {}\n";
    let Some(both) = Both::new(tests) else { return };
    let run = both.project.isotest("--root ../one --root /").run();
    run.check(96, &["Summary 1 test in ", "1 passed; 1 documentation test passed"]);
    assert_eq!(run.stdout.matches("\nroot: /\n").count(), 2, "a block, and what rustdoc reports");
    assert!(!run.stdout.contains("root: ../one"), "nothing is run there");
}

#[test]
fn a_root_that_is_named_twice_counts_once() {
    let Some(both) = Both::new("#[test]\nfn passes() {}\n") else { return };
    let call = both.project.isotest("--lib --root ../one --root ../two/../one");
    let run = call.env("RUSTFLAGS", STATIC).run();
    run.check(0, &["Summary 1 test in "]);
}

#[test]
fn only_a_run_takes_several_roots() {
    let project = Project::new(&[PASSING]);
    for line in ["list", "explain passes", "shell passes", "exec"] {
        let (command, _) = line.split_once(' ').unwrap_or((line, ""));
        let run = project.isotest(line).words("--root one --root two").words(match command {
            "exec" => "-- true",
            _ => "",
        });
        run.run().check(2, &[&format!("`{command}` takes one `--root`")]);
    }
}

/// `$SHELL` is the host's, and the root has another or none.
#[test]
fn a_shell_is_one_that_the_root_has() {
    let Some(both) = Both::new("#[test]\nfn passes() {}\n") else { return };
    let call = |shell: &str| {
        let call = both.project.isotest("shell passes --root ../one").env("SHELL", shell);
        call.env("RUSTFLAGS", STATIC).run()
    };
    call("/usr/bin/fish").check(0, &["the test's own command:"]);
    call("/bin/sh").check(0, &[]);
    fs::remove_file(both.root("one").join("bin/sh")).expect("it is ours");
    call("/usr/bin/fish").check(
        127,
        &["cannot find a shell in the root filesystem: there is no `/usr/bin/fish` ($SHELL) and no `/bin/sh`",
          "hint: `cargo isotest shell CASE -- CMD`"],
    );
}

#[test]
fn tests_run_in_debian() {
    if refused() {
        return;
    }
    let Some(root) = debian() else { return };
    static_test(&root).check(0, &["test passes ... ok"]);
    let project = Project::new(&[(
        "src/lib.rs",
        "/// ```\n/// assert!(!std::path::Path::new(\"/usr/bin/cc\").exists());\n/// ```\npub fn documented() {}\n\
         #[test]\nfn passes() { assert!(std::fs::read_dir(\"/debootstrap\").is_err()); \
         assert!(std::path::Path::new(\"/var/lib/dpkg/status\").exists()); \
         assert!(!std::path::Path::new(\"/usr/bin/cc\").exists()); }\n",
    )]);
    let run = project.isotest("--root").arg(&root).run();
    run.check(0, &["test passes ... ok", "test src/lib.rs - documented (line 1) ... ok"]);
}

/// Debian has a `/usr/include`, without what a compiler brings.
#[test]
fn a_directory_of_the_host_stands_among_those_of_debian() {
    if refused() {
        return;
    }
    let Some(root) = debian() else { return };
    let script = "ls /usr/include/stdio.h /usr/lib/os-release";
    check(&root, "--ro /usr/include", script, "/usr/include/stdio.h\n/usr/lib/os-release");
}

#[test]
fn a_tarball_is_unpacked_once_and_used() {
    if refused() {
        return;
    }
    let Some(root) = busybox() else { return };
    let project = Project::new(&[PASSING]);
    let (file, cache) =
        (project.directory().join("root.tar.gz"), project.directory().join("cache"));
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root.path()).arg("-czf").arg(&file).arg(".");
    assert!(tar.status().expect("tar is there").success());
    let message = "   Unpacking root.tar.gz\n";
    for told in [message, ""] {
        let call = project.isotest("exec --root root.tar.gz -- sh -c").arg("echo $$ /bin/c*");
        let run = call.env("XDG_CACHE_HOME", &cache).run();
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("1 /bin/cat\n", told));
        run.check(0, &[]);
    }
    let roots = || fs::read_dir(cache.join("isotest/roots")).expect("it was made").count();
    // With the directories for sums and for what is being unpacked.
    assert_eq!(roots(), 3);
    let prune = || project.isotest("prune").env("XDG_CACHE_HOME", &cache).run();
    let call = project.isotest("exec --root root.tar.gz -- sh -c");
    let call = call.arg("echo started; while :; do cat /dev/zero | :; done");
    let running = call.env("XDG_CACHE_HOME", &cache).start();
    running.wait_for("started");
    prune().check(0, &["     Removed 0 root filesystems, 0.0 MiB; 1 in use\n"]);
    assert_eq!(roots(), 3);
    running.signal(Signal::SIGTERM);
    running.end().check(143, &[]);
    prune().check(0, &["     Removed 1 root filesystem, "]);
    assert_eq!(roots(), 2);
    prune().check(0, &["     Removed 0 root filesystems, 0.0 MiB\n"]);
    let call = project.isotest("exec --root root.tar.gz -- true").env("XDG_CACHE_HOME", &cache);
    call.run().check(127, &[message, "cannot find the command `true`"]);
}

#[test]
fn where_nothing_was_unpacked_there_is_nothing_to_prune() {
    let project = Project::new(&[PASSING]);
    let run = project.isotest("prune").env("XDG_CACHE_HOME", project.directory().join("cache"));
    run.run().check(0, &["Removed 0 root filesystems"]);
    assert!(!project.directory().join("cache").exists(), "nothing is made");
}

#[test]
fn a_hostile_tarball_is_refused() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let mut file = File::create(project.directory().join("root.tar")).expect("it is writable");
    file.write_all(&header("../escaped")).expect("it is writable");
    file.write_all(&[0; 1024]).expect("it is writable");
    let cache = project.directory().join("cache");
    let run = project.isotest("--root root.tar").env("XDG_CACHE_HOME", &cache).run();
    run.check(2, &["cannot unpack `", "its entry `../escaped` has `..` in its path"]);
    let unpacking = fs::read_dir(cache.join("isotest/roots/unpacking")).expect("it was made");
    assert_eq!(unpacking.count(), 0);
}

/// A layout's special file is refused by name, and not opened: a device has no end, a FIFO blocks.
#[test]
fn a_hostile_layout_is_refused() {
    /// Of the manifest below.
    const SUM: &str = "9fa64adcd8f1c70bbfd9c292b71dc17db13a2dbf4a46dce7fce58b9128f1f606";
    let layer = format!("blobs/sha256/{}", "0".repeat(64));
    let manifest = format!("blobs/sha256/{SUM}");
    let index = format!(r#"{{"manifests":[{{"digest":"sha256:{SUM}"}}]}}"#);
    let layers = format!(r#"{{"layers":[{{"digest":"sha256:{}"}}]}}"#, "0".repeat(64));
    for name in ["oci-layout", "index.json", manifest.as_str(), layer.as_str()] {
        let project = Project::new(&[
            PASSING,
            ("image/oci-layout", "{}"),
            ("image/index.json", index.as_str()),
            (&format!("image/{manifest}"), layers.as_str()),
            (&format!("image/{layer}"), ""),
        ]);
        let path = project.directory().join("image").join(name);
        fs::remove_file(&path).expect("it was made");
        mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("it is gone");
        let refusal =
            format!("cannot use the image `{}`", project.directory().join("image").display());
        check_layout(&project, &[&refusal, name, "it is not a regular file"]);
        fs::remove_file(&path).expect("it was made");
        symlink("/dev/zero", &path).expect("it is gone");
        check_layout(&project, &[&refusal, name, "is a symbolic link, which is not followed"]);
    }
}

#[track_caller]
fn check_layout(project: &Project, texts: &[&str]) {
    let call = project.isotest("--root image");
    let call = call.env("XDG_CACHE_HOME", project.directory().join("cache"));
    call.start().end_within(Duration::from_secs(20)).check(2, texts);
}

/// The header of an empty file, tar(5).
pub fn header(name: &str) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, b"00000000000\0");
    put(136, b"00000000000\0");
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
