//! No mount travels between host and sandbox, in a mount namespace where every mount would.

use std::fs;
use std::path::Path;

use isotest_tests::program::isotest;
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, refused};

/// Runs a script in a user and a mount namespace of its own, where all mounts are shared; `$1` is
/// isotest, `$2` a directory with an empty directory `m`, `$3` the flag that shows it.
#[track_caller]
fn check(script: &str, expected: &str) {
    if refused() {
        return;
    }
    for flag in ["--ro", "--rw"] {
        let project = Project::new(&[PASSING]);
        let shown = project.directory().with_file_name("shown");
        fs::create_dir_all(shown.join("m")).expect("it is writable");
        let run = outer(project.directory(), script, &shown, flag).run();
        assert_eq!(run.stdout.trim_end(), expected, "what the script printed with {flag}");
        run.check(0, &[]);
    }
}

fn outer(directory: &Path, script: &str, shown: &Path, flag: &str) -> Call {
    let call = Call::new("unshare", directory);
    let call = call.words(
        "--map-root-user --pid --fork --kill-child --mount-proc --propagation shared sh -euc",
    );
    call.arg(script).arg("sh").arg(isotest()).arg(shown).arg(flag)
}

/// The script proves itself first: a mount does travel to a namespace that receives.
#[test]
fn a_mount_that_the_host_makes_is_not_seen_inside() {
    check(
        r#"
        mkdir "$2/s" "$2/m/n"
        wait_for() { until [ -e "$1" ]; do :; done; }
        unshare --mount --propagation unchanged sh -c '
            : > "$1/s/ready"; until [ -e "$1/s/go" ]; do :; done; ls "$1/m/n"' sh "$2" > "$2/control" &
        "$1" isotest exec "$3" "$2/m" --rw "$2/s" -- sh -c '
            : > "$1/s/inside"; until [ -e "$1/s/go" ]; do :; done; ls "$1/m/n"' sh "$2" > "$2/seen" &
        wait_for "$2/s/ready"
        wait_for "$2/s/inside"
        mount -t tmpfs tmpfs "$2/m/n"
        mkdir "$2/m/n/mounted"
        : > "$2/s/go"
        wait
        echo "elsewhere: $(cat "$2/control")"
        echo "inside: $(cat "$2/seen")"
        "#,
        "elsewhere: mounted\ninside:",
    );
}

#[test]
fn a_mount_that_a_test_makes_is_not_seen_by_the_host() {
    check(
        r#"
        "$1" isotest exec --user root "$3" "$2" -- sh -euc '
            mount -t tmpfs tmpfs "$1/m"; : > "$1/m/mounted"; ls "$1/m"' sh "$2"
        echo "outside: $(ls "$2/m")"
        "#,
        "mounted\noutside:",
    );
}
