//! Where something is refused or missing: it works all the same, or nothing is run and the message
//! names the step, the errno, and what to type. Nothing is ever isolated less.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use isotest_tests::program::{isotest, stage};
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, refused};
use nix::unistd::geteuid;
use tempfile::TempDir;

const OUTER: &str = env!("CARGO_BIN_EXE_outer");
const OK: &str = "test result: ok. 1 passed; 0 failed";

/// `cargo isotest LINE` after some acts of `outer`.
fn call(project: &Project, acts: &[&str], line: &str) -> Call {
    let call = Call::new(OUTER, project.directory());
    let call = acts.iter().fold(call, |call, act| call.arg(act));
    call.arg("--").arg(isotest()).arg("isotest").words(line)
}

/// Runs a command in a sandbox after some acts of `outer`.
fn check(acts: &[&str], code: i32, texts: &[&str]) {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    call(&project, acts, "exec -- true").run().check(code, texts);
}

/// A refusal: the exit code of `exec`, of `doctor` and of a run, and what each of them says.
fn check_refusal(acts: &[&str], texts: &[&str]) {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    project.cargo_test("--no-run").run().check(0, &[]);
    for line in ["exec -- true", "doctor", ""] {
        let run = call(&project, acts, line).run();
        run.check(96, texts);
        run.check(96, &["hint:"]);
        assert!(!run.stdout.contains("... ok"), "nothing is run");
    }
}

#[test]
fn no_user_namespaces_are_left() {
    let acts = ["namespaces", "write:/proc/sys/user/max_user_namespaces=0"];
    let texts = [
        "cannot clone a process into new namespaces",
        "(ENOSPC)",
        "sudo sysctl -w user.max_user_namespaces=",
    ];
    check_refusal(&acts, &texts);
}

#[test]
fn no_network_namespaces_are_left() {
    let acts = ["namespaces", "write:/proc/sys/user/max_net_namespaces=0"];
    let texts =
        ["cannot clone a process into new namespaces", "(ENOSPC)", "user.max_net_namespaces="];
    check_refusal(&acts, &texts);
}

/// As the seccomp profile of a container does: clone3(2) does not exist, clone(2) may not.
#[test]
fn new_namespaces_are_refused_by_a_filter() {
    let acts = ["refuse:clone3=ENOSYS", "refuse:clone=EPERM"];
    let texts =
        ["cannot clone a process into new namespaces", "(EPERM)", "seccomp=unconfined", "chroot"];
    check_refusal(&acts, &texts);
}

#[test]
fn clone_does_not_exist_for_namespaces() {
    let acts = ["refuse:clone3=ENOSYS", "refuse:clone=ENOSYS"];
    let texts = ["cannot clone a process into new namespaces", "(ENOSYS)", "seccomp=unconfined"];
    check_refusal(&acts, &texts);
}

#[test]
fn clone3_may_be_missing() {
    check(&["refuse:clone3=ENOSYS"], 0, &[]);
}

/// Neither cargo nor libc can start a thread then; a run does not come as far as a sandbox.
#[test]
fn clone3_is_forbidden() {
    let texts = ["cannot clone a process into new namespaces", "(EPERM)", "seccomp=unconfined"];
    check(&["refuse:clone3=EPERM"], 96, &texts);
}

#[test]
fn unshare_is_not_needed() {
    for errno in ["EPERM", "ENOSYS"] {
        check(&[&format!("refuse:unshare={errno}")], 0, &[]);
    }
}

#[test]
fn mount_is_refused_by_a_filter() {
    for errno in ["EPERM", "ENOSYS"] {
        let (act, errno) = (format!("refuse:mount={errno}"), format!("({errno})"));
        check_refusal(&[&act], &["cannot mount tmpfs on `", &errno, "seccomp=unconfined"]);
    }
}

#[test]
fn pivot_root_is_refused_by_a_filter() {
    for errno in ["EPERM", "ENOSYS"] {
        let (act, errno) = (format!("refuse:pivot_root={errno}"), format!("({errno})"));
        check_refusal(&[&act], &["cannot pivot the root to `", &errno, "seccomp=unconfined"]);
    }
}

#[test]
fn mount_attributes_are_unknown() {
    let texts = ["cannot make `", "(ENOSYS)", "the kernel is too old"];
    check_refusal(&["refuse:mount_setattr=ENOSYS"], &texts);
}

/// As containers do by default.
#[test]
fn keys_are_refused_by_a_filter() {
    let texts = ["cannot start a session keyring", "(EPERM)", "seccomp=unconfined"];
    check_refusal(&["refuse:keyctl=EPERM"], &texts);
}

/// As in a container that has dropped it: the capability that a map with uid 0 takes.
#[test]
fn root_without_a_capability_is_told_which() {
    let texts = ["cannot write the id maps of the user namespace", "(EPERM)", "CAP_SETFCAP"];
    match geteuid().is_root() {
        true => check_refusal(&["no-setfcap"], &texts),
        // Others map no uid 0, and have no capability to lose.
        false => check(&["namespaces", "no-setfcap"], 0, &[]),
    }
}

/// As containers do: without the whole of it the kernel gives no other.
#[test]
fn a_part_of_proc_is_masked() {
    let texts = ["cannot mount proc on `", "(EPERM)", "systempaths=unconfined"];
    check_refusal(&["namespaces", "tmpfs:/proc/sys"], &texts);
}

#[test]
fn a_part_of_proc_is_read_only() {
    let texts = ["cannot mount proc on `", "(EPERM)", "systempaths=unconfined"];
    check_refusal(&["namespaces", "read-only:/proc/sys"], &texts);
}

/// Ends before anything is made, with the reason.
fn check_forgery(acts: &[&str], text: &str) {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let run = call(&project, acts, "exec -- true").run();
    run.check(96, &["cannot look at this machine: ", text]);
}

#[test]
fn a_proc_of_plain_files_is_not_believed() {
    check_forgery(&["namespaces", "false-proc"], "`/proc` is no proc filesystem");
}

#[test]
fn a_null_device_that_is_a_link_is_not_followed() {
    let acts = ["namespaces", "devices:zero,full,random,urandom", "link:/dev/null=/dev/zero"];
    check_forgery(&acts, "`/dev/null` is not the null device");
}

#[test]
fn another_device_that_is_a_link_is_not_followed() {
    let acts = ["namespaces", "devices:null,full,random,urandom", "link:/dev/zero=/dev/null"];
    check_refusal(&acts, &["cannot bind `/old/dev/zero`", "(ELOOP)"]);
}

#[test]
fn in_a_chroot_there_are_no_user_namespaces() {
    let directory = TempDir::with_prefix("isotest-tests-").expect("a directory can be made");
    let act = format!("chroot:{}", directory.path().display());
    let texts = ["cannot clone a process into new namespaces", "(EPERM)", "chroot"];
    check_refusal(&["namespaces", &act], &texts);
}

#[test]
fn an_outer_user_namespace_does_no_harm() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    call(&project, &["namespaces"], "").run().check(0, &[OK]);
    call(&project, &["namespaces"], "--user root").run().check(0, &[OK]);
}

#[test]
fn no_new_privileges_do_no_harm() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    call(&project, &["no-new-privileges"], "").run().check(0, &[OK]);
}

#[test]
fn without_shared_memory_outside_a_test_has_its_own() {
    let shared = "#[test]\nfn shares() { std::fs::write(\"/dev/shm/file\", \"text\").unwrap(); }\n";
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", shared)]);
    let devices = "devices:null,zero,full,random,urandom";
    call(&project, &["namespaces", devices], "").run().check(0, &[OK]);
}

/// The project is an overlay there, and becomes the lower layer of another.
#[test]
fn inside_isotest_it_works_for_whoever_can_map_its_id() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let program = isotest().parent().expect("it has a name").display().to_string();
    let inner = |options: &str| {
        let line = format!("exec --ro {program} {options} --");
        let call = project.isotest(&line).arg(isotest()).words("isotest exec -- sh -c");
        call.arg("echo text > file && echo inside $$").run()
    };
    match geteuid().is_root() {
        // Uid 0 without capabilities, or with a /proc that the machine's settings are covered in.
        true => {
            let remedy = "the outer one as an ordinary user";
            inner("").check(96, &["cannot write the id maps", "(EPERM)", remedy]);
            let remedy = "the outer isotest as an ordinary user";
            inner("--user root").check(96, &["cannot mount proc on `", "(EPERM)", remedy]);
        }
        false => {
            inner("").check(0, &["inside 1"]);
            inner("--user root").check(0, &["inside 1"]);
        }
    }
    assert!(!project.directory().join("file").exists(), "what a command writes is thrown away");
}

#[test]
fn inside_bubblewrap_it_works_or_says_what_is_refused() {
    if refused() {
        return;
    }
    if !Path::new("/usr/bin/bwrap").exists() {
        eprintln!("not tested: bubblewrap is not installed");
        return;
    }
    let project = Project::new(&[PASSING]);
    let bwrap = Call::new("bwrap", project.directory()).words("--dev-bind / / --");
    bwrap.arg(isotest()).words("isotest exec -- true").run().check(0, &[]);
    let bwrap = Call::new("bwrap", project.directory());
    let bwrap = bwrap.words("--dev-bind / / --unshare-all --proc /proc --");
    let run = bwrap.arg(isotest()).words("isotest exec -- true").run();
    match geteuid().is_root() {
        // What root could write to in its /proc is read-only.
        true => run.check(96, &["cannot mount proc on `", "(EPERM)", "bubblewrap"]),
        false => run.check(0, &[]),
    }
}

/// A project that has been built, in a directory of that name.
fn check_directory(name: &OsStr) {
    if refused() {
        return;
    }
    let project = Project::below(stage(), name, &[PASSING]);
    project.isotest("").run().check(0, &[OK]);
}

#[test]
fn a_projects_path_may_have_quotes() {
    check_directory(OsStr::new("it's a \"project\""));
}

#[test]
fn a_projects_path_may_have_newlines() {
    check_directory(OsStr::new("two\nlines"));
}

/// cargo itself refuses it.
#[test]
fn a_projects_path_that_is_not_text_is_refused_by_cargo() {
    if refused() {
        return;
    }
    let name = OsString::from_vec(b"not \xff text".to_vec());
    let project = Project::below(stage(), &name, &[PASSING]);
    let run = project.isotest("").run();
    assert!([101, 102].contains(&run.code), "cargo's refusal: {}", run.code);
    run.check(run.code, &["error: "]);
    // A command needs no cargo.
    project.isotest("exec -- true").run().check(0, &[]);
}

#[test]
fn a_home_that_does_not_exist_does_no_harm() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let cargo_home = std::env::var_os("CARGO_HOME").unwrap_or_else(|| {
        Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cargo").into()
    });
    let call = project.isotest("exec -- sh -c").arg("cd && pwd").env("HOME", "/nonexistent/home");
    call.env("CARGO_HOME", cargo_home).run().check(0, &["/nonexistent/home"]);
}

/// A test that writes beside the sources.
const WRITING: (&str, &str) =
    ("src/lib.rs", "#[test]\nfn writes() { std::fs::write(\"file\", \"text\").unwrap(); }\n");

/// Runs isotest on a project below a directory, after some acts; nothing is written to it.
fn check_place(parent: &Path, acts: &[&str]) {
    if refused() {
        return;
    }
    let project = Project::below(parent, "project", &[WRITING]);
    call(&project, acts, "").run().check(0, &[OK]);
    assert!(!project.directory().join("file").exists(), "what a test writes is thrown away");
}

#[test]
fn a_project_may_lie_on_a_tmpfs() {
    check_place(Path::new("/dev/shm"), &[]);
}

#[test]
fn a_target_directory_may_lie_on_another_filesystem() {
    if refused() {
        return;
    }
    let target = TempDir::with_prefix_in("isotest-tests-", "/dev/shm").expect("it is writable");
    let project = Project::new(&[WRITING]);
    let line = format!("--target-dir {}", target.path().display());
    project.isotest(&line).run().check(0, &[OK]);
}

#[test]
fn a_target_directory_below_the_project_may_be_another_filesystem() {
    if refused() {
        return;
    }
    let project = Project::new(&[WRITING, ("target/.keep", "")]);
    let act = format!("tmpfs:{}/target", project.directory().display());
    call(&project, &["namespaces", &act], "").run().check(0, &[OK]);
}

#[test]
fn a_project_may_be_reached_by_a_symbolic_link() {
    if refused() {
        return;
    }
    let project = Project::new(&[WRITING]);
    let link = project.directory().with_file_name("link");
    symlink(project.directory(), &link).expect("it is writable");
    let call = Call::new(isotest(), &link).arg("isotest").env("PWD", &link);
    call.run().check(0, &[OK]);
    let manifest = format!("isotest --manifest-path {}/Cargo.toml", link.display());
    Call::new(isotest(), Path::new("/")).words(&manifest).run().check(0, &[OK]);
    fs::remove_file(link).expect("it is there");
}
