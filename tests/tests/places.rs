//! Paths that have a place already, or are named through a link of the root.

use std::fs;

use isotest_tests::program::isotest;
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, Run, refused, word};
use nix::unistd::geteuid;
use serde_json::Value;

fn run(line: &str, home: Option<&str>) -> Option<Run> {
    if refused() {
        return None;
    }
    let project = Project::new(&[PASSING]);
    let call = Call::new(isotest(), project.directory()).words("isotest").words(line);
    let call = home.into_iter().fold(call, |call, home| call.env("HOME", home));
    Some(call.run())
}

/// `echo` runs with this path shown.
#[track_caller]
fn check(line: &str) {
    let Some(run) = run(&format!("exec {line}"), None) else { return };
    run.check(0, &["seen"]);
}

/// It is refused, and named.
#[track_caller]
fn check_refused(flag: &str, path: &str, cause: &str) {
    let Some(run) = run(&format!("exec {flag} {path} -- true"), None) else { return };
    run.check(2, &[path, flag, cause]);
}

/// No more is shown than by a run of the tests, where other packages lie around it.
#[test]
fn a_command_sees_the_workspace_that_cargo_finds() {
    if refused() {
        return;
    }
    let package = |rest: &str| format!("[package]\nname = \"p\"\n{rest}");
    let (outer, alone) = (package(""), package(""));
    let (named, misled) = (package("workspace = \"../w\""), package("workspace = \"..\""));
    let files = [
        ("Cargo.toml", outer.as_str()),
        ("mark", "outer\n"),
        ("alone/Cargo.toml", &alone),
        ("alone/src/mark", "alone\n"),
        ("w/Cargo.toml", "[workspace]\nexclude = [\"out\"]\n"),
        ("w/mark", "w\n"),
        ("w/member/Cargo.toml", &alone),
        ("w/out/Cargo.toml", &alone),
        ("named/Cargo.toml", &named),
        ("named/mark", "named\n"),
        ("misled/Cargo.toml", &misled),
    ];
    // Above the usual place of projects is the workspace of isotest.
    let project = Project::below(&std::env::temp_dir(), "project", &files);
    let check = |directory: &str, shown: &[&str]| {
        let directory = project.directory().join(directory);
        let all = ["mark", "alone/src/mark", "w/mark", "named/mark"];
        let paths = all.map(|path| word(&project.directory().join(path)));
        let line = format!("isotest exec -- cat {}", paths.join(" "));
        let run = Call::new(isotest(), &directory).words(&line).run();
        assert_eq!(run.stdout.lines().collect::<Vec<_>>(), shown, "{}", directory.display());
    };
    check("", &["outer", "alone", "w", "named"]);
    check("alone/src", &["alone"]);
    check("w", &["w"]);
    check("w/member", &["w"]);
    check("w/out", &[]);
    check("named", &["w", "named"]);
    check("misled", &[]);
}

#[test]
fn a_program_is_named_through_a_link_of_the_root() {
    check("-- /bin/echo seen");
    for directory in ["/bin", "/lib", "/lib64", "/sbin", "/usr/bin/", "/usr"] {
        if fs::exists(directory).is_ok_and(|exists| exists) {
            check(&format!("--ro {directory} -- /bin/echo seen"));
            check(&format!("--ro {directory} -- echo seen"));
        }
    }
}

#[test]
fn a_program_in_the_root_directory_shows_no_more_than_itself() {
    if let Some(run) = run("exec -- /no-such", None) {
        run.check(96, &["cannot execute `/no-such`: No such file or directory (ENOENT)"]);
    }
}

#[test]
fn what_every_test_has_may_be_named() {
    for path in ["/etc", "/etc/hosts", "/etc/passwd", "/etc/ssl", "/dev/null", "/dev/zero"] {
        check(&format!("--ro {path} -- echo seen"));
    }
    check("--rw /dev/null -- sh -c echo${IFS}seen>/dev/stdout");
    for path in ["/tmp", "/var/tmp", "/run", "/var/run", "/dev/shm"] {
        check(&format!("--ro {path} -- echo seen"));
        check(&format!("--rw {path} -- echo seen"));
    }
}

#[test]
fn a_file_of_etc_that_is_named_is_the_hosts() {
    let Some(run) = run("exec --ro /etc/hosts -- cat /etc/hosts", None) else { return };
    assert_eq!(run.stdout, fs::read_to_string("/etc/hosts").unwrap());
    run.check(0, &[]);
}

#[test]
fn a_secret_that_is_named_is_shown() {
    if !geteuid().is_root() {
        return;
    }
    let Some(run) = run("exec --ro /etc/shadow -- cat /etc/shadow", None) else { return };
    assert_eq!(run.stdout, fs::read_to_string("/etc/shadow").unwrap());
    run.check(0, &[]);
}

#[test]
fn what_cannot_be_shown_is_refused() {
    check_refused("--ro", "/", "it is the whole root");
    check_refused("--rw", "/dev", "has its own");
    check_refused("--ro", "/proc/sys", "has its own");
    check_refused("--rw", "/dev/ptmx", "has its own");
    check_refused("--rw", "/dev/pts", "has its own");
    let full = std::path::Path::new("/dev/kmsg");
    if full.exists() {
        check_refused("--ro", "/dev/kmsg", "use `--rw`");
    }
}

#[test]
fn a_device_that_is_asked_for_can_be_used() {
    let usable = ["/dev/kvm", "/dev/net/tun", "/dev/fuse"];
    let device =
        usable.iter().find(|path| fs::File::options().read(true).write(true).open(path).is_ok());
    let Some(device) = device else { return };
    let Some(run) = run(&format!("exec --rw {device} -- sh -c :<>{device}"), None) else { return };
    run.check(0, &[]);
}

#[test]
fn a_home_that_is_a_part_of_the_system_is_no_home() {
    for home in ["/", "/dev", "/etc", "/usr", "/bin", "/proc", "/nonexistent", "/usr/nonexistent"] {
        let Some(run) = run("exec -- sh -c echo${IFS}seen>/dev/stdout", Some(home)) else { return };
        run.check(0, &["seen"]);
    }
}

#[test]
fn doctor_tries_what_a_run_does() {
    // The last one is nowhere, as below an empty `/home` of systemd's ProtectHome=tmpfs.
    for home in ["/", "/dev", "/usr", "/home/nobody/here"] {
        let Some(run) = run("doctor", Some(home)) else { return };
        assert!(!run.stdout.contains("cannot bind"), "{home}: {}", run.stdout);
        run.check(0, &["every test can have full isolation here"]);
    }
}

#[test]
fn doctor_says_in_json_which_checks_count() {
    let Some(run) = run("doctor --format json", None) else { return };
    run.check(0, &[]);
    let diagnosis: Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    assert_eq!(diagnosis["full-isolation"], true);
    let checks = diagnosis["checks"].as_array().expect("it has checks");
    let of = |name: &str| checks.iter().find(|check| check["feature"] == name).expect(name);
    for name in ["user + mnt namespaces, root", "overlay with userxattr", "all layers together"] {
        assert_eq!((&of(name)["works"], &of(name)["required"]), (&true.into(), &true.into()));
    }
    // They are no part of the default, whether they work here or not.
    for name in ["cgroup v2, delegated", "seccomp listener"] {
        assert_eq!(of(name)["required"], false, "{name}");
    }
    // With all layers together, nothing that is refused alone counts.
    for check in checks.iter().filter(|check| check["works"] == false) {
        assert_eq!(check["required"], false, "{check}");
    }
}
