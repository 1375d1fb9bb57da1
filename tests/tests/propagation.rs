//! Mounts that travel between host and sandbox, in a mount namespace where every mount would.

use std::fs;
use std::path::Path;

use isotest_tests::program::isotest;
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, refused};
use tempfile::TempDir;

/// Runs a script in a user and a mount namespace of its own, where all mounts are shared; `$1` is
/// isotest, `$2` a directory with empty directories `m` and `s`, `$3` the flag that shows it, `$4`
/// the propagation. The directory lies beside the project, and below `/tmp`, where a sandbox puts it
/// together in another way.
#[track_caller]
fn check(propagation: &str, script: &str, expected: &str) {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let script = format!("WAIT\n{script}").replace("WAIT", WAIT);
    let beside = project.directory().parent().expect("it lies in a directory");
    for (flag, parent) in ["--ro", "--rw"]
        .into_iter()
        .flat_map(|flag| [beside, Path::new("/tmp")].map(|parent| (flag, parent)))
    {
        let temporary = TempDir::with_prefix_in("isotest-tests-", parent).expect("it is writable");
        let shown = temporary.path().join("shown");
        for name in ["m", "s"] {
            fs::create_dir_all(shown.join(name)).expect("it is writable");
        }
        let run = outer(project.directory(), &script, &shown, flag).arg(propagation).run();
        let place = parent.display();
        assert_eq!(run.stdout.trim_end(), expected, "what the script printed: {flag}, in {place}");
        run.check(0, &[]);
    }
}

/// Expansion of `WAIT` in a script: waits for a file, for a minute at most, since its maker may
/// have failed.
const WAIT: &str = r#"
    wait_for() {
        left=6000
        until [ -e "$1" ]; do
            [ $left -gt 0 ] || { echo "waited in vain for $1" >&2; exit 1; }
            left=$((left - 1))
            sleep 0.01
        done
    }
"#;

fn outer(directory: &Path, script: &str, shown: &Path, flag: &str) -> Call {
    let call = Call::new("unshare", directory);
    let call = call.words(
        "--map-root-user --pid --fork --kill-child --mount-proc --propagation shared sh -euc",
    );
    call.arg(script).arg("sh").arg(isotest()).arg(shown).arg(flag)
}

/// The host mounts, and unmounts, while a command runs inside. The script proves itself first: a
/// mount does travel to a namespace that receives.
const HOST_MOUNTS: &str = r#"
    mkdir "$2/m/n"
    look='
        WAIT
        look() { : > "$1/s/$2$3"; wait_for "$1/s/go$3"; ls "$1/m/n"; }
        look "$1" "$2" 1; echo then; look "$1" "$2" 2'
    unshare --mount --propagation unchanged sh -c "$look" sh "$2" control > "$2/control" &
    "$1" isotest exec "$3" "$2/m" --rw "$2/s" --propagation "$4" -- sh -c "$look" sh "$2" inside > "$2/seen" &
    wait_for "$2/s/control1"
    wait_for "$2/s/inside1"
    mount -t tmpfs tmpfs "$2/m/n"
    mkdir "$2/m/n/mounted"
    : > "$2/s/go1"
    wait_for "$2/s/control2"
    wait_for "$2/s/inside2"
    umount "$2/m/n"
    : > "$2/s/go2"
    wait
    echo "elsewhere:" $(cat "$2/control")
    echo "inside:" $(cat "$2/seen")
"#;

#[test]
fn a_mount_that_the_host_makes_is_not_seen_inside() {
    for propagation in ["private", "unbindable"] {
        check(propagation, HOST_MOUNTS, "elsewhere: mounted then\ninside: then");
    }
}

#[test]
fn a_mount_that_the_host_makes_is_seen_by_a_slave() {
    check("slave", HOST_MOUNTS, "elsewhere: mounted then\ninside: mounted then");
}

/// Below a read-only path too: the kernel copies a mount as it is.
#[test]
fn what_a_slave_receives_has_the_hosts_flags() {
    check(
        "slave",
        r#"
        mkdir "$2/m/n"
        "$1" isotest exec "$3" "$2/m" --rw "$2/s" --propagation "$4" -- sh -c '
            WAIT
            : > "$1/s/started"; wait_for "$1/s/go"; echo text > "$1/m/n/file"' sh "$2" &
        wait_for "$2/s/started"
        mount -t tmpfs tmpfs "$2/m/n"
        : > "$2/s/go"
        wait
        cat "$2/m/n/file"
        "#,
        "text",
    );
}

/// Every mount that has a master shows the same directory: what was asked for, and its copies that
/// the sandbox is put together from.
#[test]
fn nothing_else_receives_the_hosts_mounts() {
    check(
        "slave",
        r#"
        mkdir "$2/m/n" "$2/e"
        "$1" isotest exec "$3" "$2/m" --propagation slave -- sh -c '
            grep master: /proc/self/mountinfo | cut -d " " -f 4 | sort -u | grep -o "[^/]*/m$"'
        "#,
        "shown/m",
    );
}

#[test]
fn a_mount_that_a_test_makes_is_not_seen_by_the_host() {
    for propagation in ["private", "slave", "unbindable"] {
        check(
            propagation,
            r#"
            "$1" isotest exec --user root "$3" "$2" --propagation "$4" -- sh -euc '
                mount -t tmpfs tmpfs "$1/m"; : > "$1/m/mounted"; ls "$1/m"' sh "$2"
            echo "outside: $(ls "$2/m")"
            "#,
            "mounted\noutside:",
        );
    }
}

/// Binds what is shown to another place, as root inside.
const BIND: &str = r#"
    "$1" isotest exec --user root "$3" "$2" --propagation "$4" -- sh -c '
        mkdir /tmp/other; mount --bind "$1" /tmp/other 2>/dev/null; ls /tmp/other; ls "$1"' sh "$2"
"#;

#[test]
fn what_is_shown_can_be_bound_to_another_place() {
    for propagation in ["private", "slave"] {
        check(propagation, BIND, "m\ns\nm\ns");
    }
}

#[test]
fn what_is_unbindable_cannot_be_bound_to_another_place() {
    check("unbindable", BIND, "m\ns");
}

#[test]
fn shared_mounts_are_refused_with_the_reason() {
    let project = Project::new(&[PASSING]);
    let run = project.isotest("--rw src --propagation shared").run();
    run.check(2, &["what a test mounts must not leave its sandbox", "mount_namespaces(7)"]);
    let run = project.isotest("--rw src --propagation both").run();
    run.check(2, &["it is one of `private`, `slave` and `unbindable`"]);
}

#[test]
fn a_propagation_without_a_path_is_an_error_of_usage() {
    let project = Project::new(&[PASSING]);
    let run = project.isotest("--propagation slave").run();
    run.check(2, &["`--propagation` needs a path from `--ro` or `--rw`"]);
}

#[test]
fn a_propagation_is_explained() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let run = project.isotest("explain passes --ro /usr/share --propagation slave").run();
    run.check(0, &["propagation      slave", "make `/` slave", "nosuid, nodev, slave"]);
}
