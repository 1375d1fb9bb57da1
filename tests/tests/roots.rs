//! Other root filesystems: one with nothing but a static busybox, one of Debian, and archives.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use isotest_tests::program::stage;
use isotest_tests::project::PASSING;
use isotest_tests::{Project, Run, refused, unavailable};
use nix::unistd::geteuid;
use tempfile::TempDir;

/// A root filesystem with a static busybox, `sh`, `ls` and `cat`.
fn busybox() -> Option<TempDir> {
    let Some(program) = find("busybox").filter(|program| is_static(program)) else {
        unavailable("there is no static busybox; Debian has it in `busybox-static`");
        return None;
    };
    let root = TempDir::with_prefix_in("root-", stage()).expect("the stage is writable");
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

/// Whether a program names no interpreter.
fn is_static(program: &Path) -> bool {
    let bytes = fs::read(program).expect("programs can be read");
    !bytes.windows(8).any(|window| window == b"/ld-linu" || window == b"/ld-musl")
}

/// A minimal Debian, made once by debootstrap(8), which takes root and the network; what root has
/// made serves an ordinary user too.
fn debian() -> Option<PathBuf> {
    let root = stage().join("debian");
    let lock = File::create(stage().join("debian.lock")).expect("the stage is writable");
    lock.lock().expect("files can be locked");
    if root.is_dir() {
        return Some(root);
    }
    let made = stage().join("debian-in-the-making");
    if !geteuid().is_root() || find("debootstrap").is_none() {
        unavailable("making a root filesystem of Debian takes root and debootstrap");
        return None;
    }
    // What an earlier try has left.
    let _ = fs::remove_dir_all(&made);
    // What it mounts stays out of everybody else's sight.
    let mut debootstrap = Command::new("unshare");
    debootstrap.args(["--mount", "debootstrap", "--variant=minbase", "stable"]).arg(&made);
    let output = debootstrap.output().expect("it was found");
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

/// What a script of sh prints in a sandbox with this root.
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
    run.check(2, &["cannot show `/usr/include`", "`/usr` is no directory there"]);
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
    run.check(96, &["No such file or directory (ENOENT)", "ELF interpreter"]);
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

fn static_test(root: &Path) -> Run {
    let project = Project::new(&[(
        "src/lib.rs",
        "#[test]\nfn passes() { assert!(std::fs::read(\"/etc/hostname\").is_ok()); }\n",
    )]);
    let call = project.isotest("--lib --root").arg(root);
    call.env("RUSTFLAGS", "-C target-feature=+crt-static").run()
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
    for _ in 0..2 {
        let call = project.isotest("exec --root root.tar.gz -- sh -c").arg("echo $$ /bin/c*");
        let run = call.env("XDG_CACHE_HOME", &cache).run();
        assert_eq!(run.stdout, "1 /bin/cat\n");
        run.check(0, &[]);
    }
    let roots = fs::read_dir(cache.join("isotest/roots")).expect("it was made");
    // With the directories for sums and for what is being unpacked.
    assert_eq!(roots.count(), 3);
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

/// The header of an empty file, tar(5).
fn header(name: &str) -> [u8; 512] {
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
