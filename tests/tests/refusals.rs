//! Refused or missing features: either all works without, or nothing is run and the message names
//! the step, the errno, and the remedy. Nothing is ever isolated less.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use isotest_tests::program::{isotest, staging_directory};
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, missing, refused, word};
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

/// Effect of `--allow-weaker` on a refusal that the acts cause: a run passes and every outcome is
/// marked, and `explain` and `doctor` name the flag. `child` is the output of a script of sh in
/// such a sandbox.
fn check_weaker(acts: &[&str], layer: &str, texts: &[&str], (script, inside): (&str, &str)) {
    check_refusal(acts, texts);
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let flag = format!("--allow-weaker {layer}");
    let shared = format!("1 test shared the layer `{layer}` with the host (`{flag}`)");
    let warning =
        format!("warning: the layer `{layer}` is shared with the host (`{flag}`): cannot");
    let run = call(&project, acts, &format!("--lib {flag}")).run();
    run.check(0, &[OK, &shared, &warning]);
    run.check(0, texts);
    let line = format!("--lib {flag} -- --format json -Z unstable-options");
    let marked = format!(r#""event": "ok", "weakened": ["{layer}"]"#);
    call(&project, acts, &line).run().check(0, &[&marked]);
    let run = call(&project, acts, &format!("explain {flag} passes")).run();
    let row = run.stdout.lines().find(|line| line.trim_start().starts_with(&format!("{layer} ")));
    let row = row.unwrap_or_default();
    assert!(row.contains("host") && row.ends_with("--allow-weaker: this machine refuses another"));
    call(&project, acts, "doctor").run().check(96, &[&format!("`{flag}` runs tests without")]);
    let run = call(&project, acts, &format!("exec {flag} -- sh -c")).arg(script).run();
    assert_eq!(run.stdout.trim_end(), inside);
    // Another layer does not help, and this one does not help against another refusal.
    let other = if layer == "uts" { "ipc" } else { "uts" };
    let line = format!("exec --allow-weaker {other} -- true");
    call(&project, acts, &line).run().check(96, texts);
    let more: Vec<&str> = acts.iter().copied().chain(["refuse:pivot_root=EPERM"]).collect();
    let run = call(&project, &more, &format!("exec {flag} -- true")).run();
    run.check(96, &["error: cannot "]);
    assert!(!run.stderr.contains("is the host's"), "nothing is weakened for nothing");
}

#[test]
fn without_network_namespaces_the_hosts_may_be_allowed() {
    let acts = ["namespaces", "write:/proc/sys/user/max_net_namespaces=0"];
    let names = fs::read_to_string("/proc/net/dev").expect("there is a network");
    let count = names.lines().count().to_string();
    check_weaker(&acts, "net", &["(ENOSPC)"], ("wc -l < /proc/net/dev", &count));
}

/// As in a container. The network is the test's own all the same, though `/proc/sys` is not there.
#[test]
fn without_a_fresh_proc_the_hosts_processes_may_be_allowed() {
    let acts = ["namespaces", "tmpfs:/proc/sys"];
    let script = "test $$ -gt 1 && tail -n +3 /proc/net/dev | cut -d: -f1";
    check_weaker(&acts, "pid", &["cannot mount proc on `", "(EPERM)"], (script, "    lo"));
}

#[test]
fn without_pid_namespaces_the_hosts_processes_may_be_allowed() {
    let acts = ["namespaces", "write:/proc/sys/user/max_pid_namespaces=0"];
    check_weaker(&acts, "pid", &["(ENOSPC)"], ("test $$ -gt 1 && echo host", "host"));
}

#[test]
fn without_ipc_namespaces_the_hosts_may_be_allowed() {
    let acts = ["namespaces", "write:/proc/sys/user/max_ipc_namespaces=0"];
    let own = fs::read_link("/proc/self/ns/ipc").expect("there is one").display().to_string();
    check_weaker(&acts, "ipc", &["(ENOSPC)"], ("readlink /proc/self/ns/ipc", &own));
}

#[test]
fn without_a_host_name_of_its_own_the_hosts_may_be_allowed() {
    let acts = ["refuse:sethostname=EPERM"];
    let own = nix::unistd::gethostname().expect("it has one").display().to_string();
    check_weaker(&acts, "uts", &["cannot set the host name"], ("uname -n", &own));
}

/// A layer that can be had is had.
#[test]
fn nothing_is_weakened_where_nothing_is_refused() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let flags = "--allow-weaker net --allow-weaker pid --allow-weaker ipc --allow-weaker uts";
    let run = project.isotest(&format!("--lib {flags}")).run();
    run.check(0, &[OK]);
    assert!(!run.stderr.contains("allow-weaker"), "no outcome is marked");
    let script = "echo $$ $(uname -n) $(tail -n +3 /proc/net/dev | cut -d: -f1)";
    let run = project.isotest(&format!("exec {flags} -- sh -c")).arg(script).run();
    assert_eq!(run.stdout, "1 isotest lo\n");
}

#[test]
fn a_layer_that_cannot_be_weaker_is_refused_with_the_reason() {
    let project = Project::new(&[PASSING]);
    let check = |layer: &str, reason: &str| {
        project.isotest(&format!("--allow-weaker {layer}")).run().check(2, &[reason]);
    };
    check("user", "every other layer is built in the user and mount namespaces");
    check("guard", "a program could gain the privileges that a test has given up");
    check("workspace", "`--workspace readonly` isolates as well");
    check("tmp", "where a tmpfs is refused there is no place to build a sandbox in");
    check("init", "no machine refuses it");
    check("network", "it is one of `pid`, `ipc`, `uts` and `net`");
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
    let texts = ["cannot clone a process into new namespaces", "(EPERM)", "seccomp=unconfined"];
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
    run.check(96, &["cannot inspect this machine: ", text]);
}

#[test]
fn a_proc_of_plain_files_is_not_believed() {
    check_forgery(&["namespaces", "false-proc"], "`/proc` is not a proc filesystem");
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
    let program = word(isotest().parent().expect("it has a name"));
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
            let remedy = "an outer bubblewrap or isotest as an ordinary user";
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
    if refused() || missing("bwrap") {
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
        true => {
            let hint = "an outer bubblewrap or isotest as an ordinary user";
            run.check(96, &["cannot mount proc on `", "(EPERM)", hint]);
        }
        false => run.check(0, &[]),
    }
}

/// A project that has been built, in a directory of that name.
fn check_directory(name: &OsStr) {
    if refused() {
        return;
    }
    let project = Project::below(staging_directory(), name, &[PASSING]);
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
    let project = Project::below(staging_directory(), &name, &[PASSING]);
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
    let line = format!("--target-dir {}", word(target.path()));
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
    let manifest = format!("isotest --manifest-path {}/Cargo.toml", word(&link));
    Call::new(isotest(), Path::new("/")).words(&manifest).run().check(0, &[OK]);
    fs::remove_file(link).expect("it is there");
}
