//! Hosts that have filesystems mounted where a sandbox takes things from, as containers have: in a
//! mount namespace of the test's own.

use isotest_tests::program::isotest;
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, Run, refused, skipped};
use nix::unistd::geteuid;

/// Mounts by a script, in which `$2` is an empty directory, and runs isotest by the rest of it,
/// `$1`.
fn outer(script: &str) -> Option<Run> {
    if refused() {
        return None;
    }
    let project = Project::new(&[PASSING]);
    let empty = project.directory().with_file_name("empty");
    std::fs::create_dir(&empty).unwrap();
    let call = Call::new("unshare", project.directory());
    let call = call.words("--map-root-user --mount --pid --fork --kill-child --mount-proc sh -euc");
    Some(call.arg(script).arg("sh").arg(isotest()).arg(&empty).run())
}

/// The project is no part of this workspace, in whose directories other tests make and remove things:
/// with a mount below, each of them is shown by itself.
const ALONE: &str = "mount --bind . /mnt; cd /mnt;";

#[test]
fn programs_below_run_are_shown_where_path_has_them() {
    let script = r#"
        mount -t tmpfs tmpfs /run
        mkdir -p /run/wrappers/made.1 /run/other
        ln -s made.1 /run/wrappers/bin
        ln -s /usr /run/current-system
        ln -s /usr "$2/profile"
        for tool in /run/wrappers/bin/wrapped-tool /run/other/other-tool; do
            printf '#!/bin/sh\necho tool\n' > "$tool"
            chmod +x "$tool"
        done
        PATH=/run/wrappers/bin:/run/current-system/bin:$2/profile/bin:/run/other:$PATH
        "$1" isotest exec -- sh -c '
            wrapped-tool
            test -x /run/current-system/bin/env && echo system
            test -x "$1/profile/bin/env" && echo profile
            touch /run/wrappers/bin/new || echo read-only
            other-tool || echo hidden' sh "$2"
    "#;
    let Some(run) = outer(script) else { return };
    assert_eq!(run.stdout, "tool\nsystem\nprofile\nread-only\nhidden\n", "{}", run.stderr);
    run.check(0, &[]);
}

/// A sandbox's view of `/etc`, in which nothing can be written.
const LOOK: &str = r#"
    "$1" isotest exec -- sh -c '
        cat /etc/hostname; grep -c ^root: /etc/passwd
        cat /etc/private/key /etc/key /etc/shadow /etc/ssl/private/* || :
        (: > /etc/new) || :'
"#;

/// With these mounts a sandbox stands, and shows the same `/etc`.
#[track_caller]
fn check(mounts: &str) {
    let Some(run) = outer(&format!("{mounts}\n{LOOK}")) else { return };
    assert_eq!(run.stdout, "isotest\n1\n", "what is seen of `/etc` with {mounts}: {}", run.stderr);
    assert!(run.stderr.contains("/etc/new: Read-only file system"), "{}", run.stderr);
    run.check(0, &[]);
}

/// An `/etc` of the test's own, with secrets in it.
const OWN_ETC: &str = r#"
    mount -t tmpfs tmpfs "$2"
    cp -r /etc/. "$2" 2> /dev/null || :
    mkdir -p "$2/tmpfs" "$2/ssl/private"; mkdir -m 700 "$2/private"
    for file in private/key key shadow ssl/private/key; do
        echo secret > "$2/$file"
        chmod 600 "$2/$file"
    done
    mount -n --move "$2" /etc
"#;

#[test]
fn files_are_mounted_below_etc_as_docker_does() {
    check(
        "for file in hosts passwd; do
            cp /etc/$file $2/$file
            mount --bind $2/$file /etc/$file
        done",
    );
}

#[test]
fn a_filesystem_is_mounted_on_etc() {
    check(OWN_ETC);
}

#[test]
fn a_filesystem_is_mounted_below_an_etc_with_secrets() {
    check(&format!("{OWN_ETC} mount -t tmpfs tmpfs /etc/tmpfs"));
    check(&format!("{OWN_ETC} mount --bind /etc/ssl /etc/ssl; mount --bind /etc/key /etc/hosts"));
}

#[test]
fn etc_is_mounted_on_itself_with_all_that_is_in_it() {
    check("mount --rbind /etc /etc; mount --rbind /etc /etc; mount --bind /etc/hosts /etc/hosts");
}

#[test]
fn what_is_mounted_below_etc_is_seen() {
    let script = format!(
        r#"{OWN_ETC} mount -t tmpfs tmpfs /etc/tmpfs; echo content > /etc/tmpfs/file
        head -c 300000 /dev/zero > /etc/tmpfs/large; ln -s file /etc/tmpfs/link
        "$1" isotest exec -- sh -c 'cat /etc/tmpfs/link; wc -c < /etc/tmpfs/large'"#
    );
    let Some(run) = outer(&script) else { return };
    assert_eq!(run.stdout, "content\n300000\n", "{}", run.stderr);
    run.check(0, &[]);
}

#[test]
fn a_secret_that_comes_while_a_test_runs_is_absent() {
    let script = format!(
        r#"{OWN_ETC} mount -t tmpfs tmpfs /etc/tmpfs; mkdir "$2/s"
        "$1" isotest exec --rw "$2/s" -- sh -c '
            : > "$1/ready"; until [ -e "$1/go" ]; do :; done
            ls /etc/late /etc/key; cat /etc/passwd | wc -l' sh "$2/s" > "$2/seen" 2>&1 &
        until [ -e "$2/s/ready" ]; do :; done
        echo secret > /etc/late; chmod 600 /etc/late
        mv /etc/key /etc/passwd
        : > "$2/s/go"; wait; cat "$2/seen""#
    );
    let Some(run) = outer(&script) else { return };
    let lines: Vec<&str> = run.stdout.lines().collect();
    let absent = |name: &str| lines.iter().any(|l| l.contains(name) && l.contains("No such file"));
    assert!(absent("/etc/late") && absent("/etc/key"), "{lines:?}");
    assert!(
        lines.last().is_some_and(|count| count.parse::<u32>().is_ok_and(|n| n > 1)),
        "{lines:?}"
    );
}

/// With an overlay: nothing is mounted below `/etc`. Root of the machine may read anything, and tests
/// of root no more than everybody may.
#[test]
fn a_secret_that_comes_while_tests_of_root_run_cannot_be_read() {
    if !geteuid().is_root() || refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let empty = project.directory().with_file_name("empty");
    std::fs::create_dir(&empty).unwrap();
    let script = format!(
        r#"{OWN_ETC} mkdir "$2/s"
        "$1" isotest exec --rw "$2/s" $3 -- sh -c '
            : > "$1/ready"; until [ -e "$1/go" ]; do :; done
            cat /etc/late /etc/of-a-group /etc/directory/key /etc/key || :
            cat /etc/readable' sh "$2/s" > "$2/seen" 2>&1 &
        until [ -e "$2/s/ready" ]; do :; done
        (umask 077; echo secret > /etc/late; mkdir /etc/directory; echo secret > /etc/directory/key)
        (umask 027; echo secret > /etc/of-a-group; chgrp 42 /etc/of-a-group)
        echo seen > /etc/readable
        : > "$2/s/go"; wait; cat "$2/seen""#
    );
    for layers in ["", "--user=root", "--user=nobody"] {
        let call = Call::new("unshare", project.directory());
        let call = call.words("--mount --pid --fork --kill-child --mount-proc sh -euc");
        let call = call.arg(&script).arg("sh").arg(isotest()).arg(&empty).arg(layers);
        let run = call.run();
        let count = |words: &str| run.stdout.lines().filter(|line| line.ends_with(words)).count();
        assert_eq!(count("Permission denied"), 3, "{layers}: {}", run.stdout);
        assert_eq!(count("/etc/key: No such file or directory"), 1, "{layers}: {}", run.stdout);
        assert_eq!(run.stdout.lines().last(), Some("seen"), "{layers}: {}", run.stdout);
        std::fs::remove_dir_all(empty.join("s")).unwrap();
    }
}

#[test]
fn filesystems_are_mounted_below_system_directories() {
    check(
        "mount -t tmpfs tmpfs /usr/local
         mount --bind /usr/bin/env /usr/bin/env
         mount --rbind /usr/lib /usr/lib
         mount -t tmpfs tmpfs /opt",
    );
}

/// All but the FIFO is there: who reads at its other end is no test.
#[test]
fn what_leads_to_a_filesystem_below_a_system_directory_is_shown_without_fifos() {
    let script = r#"
        mount -t tmpfs tmpfs /opt
        mkdir -p /opt/a/inner /opt/a/mounted; chmod 751 /opt/a
        mount -t tmpfs tmpfs /opt/a/mounted
        echo mounted > /opt/a/mounted/file; echo inner > /opt/a/inner/file
        echo file > /opt/a/file; ln -s file /opt/a/link
        mkfifo /opt/a/fifo /opt/a/on-a-file; touch /opt/a/placeholder
        mount --bind /opt/a/fifo /opt/a/placeholder
        exec 3<> /opt/a/fifo
        "$1" isotest exec -- sh -c '
            cd /opt/a; cat mounted/file inner/file file link; stat -c %a .
            test -p fifo || test -p placeholder || echo none
            (: > new) 2> /dev/null || (: > inner/new) 2> /dev/null || echo read-only'
    "#;
    let Some(run) = outer(script) else { return };
    let expected = "mounted\ninner\nfile\nfile\n751\nnone\nread-only\n";
    assert_eq!(run.stdout, expected, "{}", run.stderr);
    run.check(0, &[]);
}

#[test]
fn doctor_finds_nothing_in_the_way() {
    let script = format!("{OWN_ETC} mount --bind /etc/hosts /etc/hosts; \"$1\" isotest doctor");
    let Some(run) = outer(&script) else { return };
    run.check(0, &["every test can have full isolation here"]);
}

/// A mount below the working directory is no reason for `doctor` to say that nothing works.
#[test]
fn doctor_shows_the_project_as_a_run_does() {
    let script = format!("{ALONE} mkdir m; mount -t tmpfs tmpfs m; \"$1\" isotest doctor");
    let Some(run) = outer(&script) else { return };
    run.check(0, &["every test can have full isolation here"]);
}

/// One that can be no layer of an overlay is read-only, and the rest of the project as ever.
#[test]
fn a_proc_below_the_project_is_read_only() {
    let script = r#"mkdir p; mount -t proc proc p; "$1" isotest exec -- sh -euc '
        test -r p/self/status; echo seen > src/new; cat src/new'"#;
    let Some(run) = outer(&format!("{ALONE} {script}")) else { return };
    assert_eq!(run.stdout, "seen\n", "{}", run.stderr);
    run.check(0, &[]);
}

/// As with `ProtectKernelTunables=yes` of systemd, where a whole proc is still to be seen somewhere.
#[test]
fn doctor_tries_no_setting_that_a_run_leaves_alone() {
    let script = "mount -t proc proc /mnt; mount --rbind /proc/sys /proc/sys
        mount -o remount,bind,ro /proc/sys
        \"$1\" isotest exec -- true && \"$1\" isotest doctor";
    let Some(run) = outer(script) else { return };
    run.check(0, &["every test can have full isolation here"]);
}

#[test]
fn a_proc_of_another_pid_namespace_is_named() {
    let project = Project::new(&[PASSING]);
    if refused() {
        return;
    }
    let call = Call::new("unshare", project.directory());
    let call = call.words("--map-root-user --pid --fork --kill-child").arg(isotest());
    call.words("isotest exec -- true").run().check(96, &["another pid namespace", "mount -t proc"]);
}

/// A root filesystem without directories for temporary files: all others are the host's.
const WITHOUT_TMP: &str = r#"
    mount -t tmpfs tmpfs "$2"; cd "$2"
    for name in /*; do
        case $name in /tmp | /run | /var) continue ;; esac
        if [ -L "$name" ]; then
            cp -P "$name" .
        elif [ -d "$name" ]; then
            mkdir ".$name"
            mount --rbind "$name" ".$name"
        fi
    done
    mkdir old own; cp "$1" own/isotest
    pivot_root . old; cd /own
    umount -l /old; rmdir /old
"#;

#[test]
fn a_root_filesystem_has_no_tmp() {
    let script = r#"
        ./isotest isotest doctor
        for tmp in fresh host; do
            ./isotest isotest exec --tmp $tmp -- sh -c ': > /tmp/a; : > /var/tmp/b; ls /tmp /var/tmp'
        done
        ls /
    "#;
    let Some(run) = outer(&format!("{WITHOUT_TMP}{script}")) else { return };
    run.check(0, &["   works  all layers together"]);
    assert!(!run.stdout.contains(" refused "), "{}", run.stdout);
    assert_eq!(run.stdout.matches("/tmp:\na\n\n/var/tmp:\nb\n").count(), 2, "{}", run.stdout);
    assert!(!run.stdout.contains("\ntmp\n"), "the host has none still");
}

#[test]
fn a_third_sandbox_within_two_is_refused_and_the_remedy_is_right() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    if isotest_core::host::is_root() {
        return skipped("the superuser's sandboxes hold no other");
    }
    let own = isotest().display().to_string();
    let two = format!("exec --ro {own} -- {own} isotest exec");
    project.isotest(&format!("{two} -- echo fine")).run().check(0, &["fine\n"]);
    let run = project.isotest(&format!("{two} --ro {own} -- {own} isotest exec -- true")).run();
    run.check(96, &["cannot mount overlay on `/new/", "hint: at most two overlays can be stacked"]);
}

#[test]
fn a_terminal_of_a_sandbox_has_a_name_in_it() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    for line in ["exec -- tty", "exec --init reaper -- tty", "exec --user root -- tty"] {
        project.isotest(line).on_terminal().run().check(0, &["/dev/pts/0"]);
    }
}
