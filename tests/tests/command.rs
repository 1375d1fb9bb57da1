//! The core's own door: `Sandbox`, `Command`, `Child`, as an outside program uses them.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process;
use std::time::Duration;

use isotest_core::command::{Child, Error};
use isotest_core::policy::{Guard, Limits, Net, Root, User};
use isotest_core::{Command, Output, Sandbox};
use isotest_tests::program::cargo;
use isotest_tests::refused;
use tempfile::TempDir;

fn shell<'a>(sandbox: &'a Sandbox, script: &str) -> Command<'a> {
    sandbox.command("sh").args(["-c", script])
}

fn text(output: &Output) -> (&str, &str) {
    let text = |bytes| str::from_utf8(bytes).expect("it is text");
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_command_has_what_it_was_given_and_no_more() {
    if refused() {
        return;
    }
    let sandbox = Sandbox::new().expect("it is built");
    let script = "echo $$ $A \"$1\"; pwd; env | grep -cv '^\\(A\\|PATH\\|PWD\\|SHLVL\\|_\\)='; echo no >&2; exit 7";
    let output = shell(&sandbox, script).args(["sh", "b c"]).env("A", "a").current_dir("/tmp");
    let output = output.output().expect("it runs");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output), ("1 a b c\n/tmp\n0\n", "no\n"));
    assert_eq!((output.timed_out, output.findings), (None, vec![]));
}

#[test]
fn a_hundred_run_at_once_and_none_sees_another() {
    if refused() {
        return;
    }
    let sandbox = Sandbox::new().expect("it is built");
    // More than a pipe holds: who waits for the last one reads for all.
    let script = "echo $$ >> /tmp/pids; cat /tmp/pids; head -c 200000 /dev/zero";
    let start = |_| shell(&sandbox, script).spawn().expect("it starts");
    let children: Vec<Child<'_>> = (0..100).map(start).collect();
    for child in children.into_iter().rev() {
        let output = child.wait_with_output().expect("it runs");
        assert!(output.status.success());
        assert_eq!((&output.stdout[..2], output.stdout.len()), (&b"1\n"[..], 200_002));
    }
}

#[test]
fn what_a_command_changes_is_gone_with_it() {
    if refused() {
        return;
    }
    let (project, shown) = (TempDir::new().expect("it is made"), TempDir::new().expect("it is"));
    fs::write(project.path().join("file"), "old").expect("it is written");
    fs::write(shown.path().join("file"), "shown").expect("it is written");
    let sandbox = Sandbox::builder().workspace(project.path()).read_only(shown.path());
    let sandbox = sandbox.build().expect("it is built");
    let script = "cat file; echo new > file; cat file; cat $0/file; echo > $0/file";
    let run = || {
        let command = shell(&sandbox, script).arg(shown.path()).current_dir(project.path());
        command.output().expect("it runs")
    };
    for _ in 0..2 {
        let output = run();
        let (out, error) = text(&output);
        assert_eq!(out, "oldnew\nshown");
        assert!(error.contains("Read-only file system"), "{error}");
    }
    assert_eq!(fs::read(project.path().join("file")).expect("it is there"), b"old");
}

#[test]
fn what_is_writable_is_the_hosts() {
    if refused() {
        return;
    }
    let directory = TempDir::new().expect("it is made");
    let sandbox = Sandbox::builder().read_write(directory.path()).build().expect("it is built");
    let status = shell(&sandbox, "echo text > $0/file").arg(directory.path()).output();
    assert!(status.expect("it runs").status.success());
    assert_eq!(fs::read(directory.path().join("file")).expect("it is there"), b"text\n");
}

#[test]
fn time_and_output_are_bounded_and_the_end_tells_the_signal() {
    if refused() {
        return;
    }
    let sandbox = Sandbox::builder().timeout(Duration::from_secs(2)).build();
    let sandbox = sandbox.expect("it is built");
    let output = shell(&sandbox, "echo begun; sleep 600").output().expect("it runs");
    assert_eq!(output.timed_out, Some(Duration::from_secs(2)));
    assert_eq!((output.status.signal(), output.stdout), (Some(libc::SIGKILL), b"begun\n".to_vec()));

    let limits = Limits { output: 1000, ..Limits::default() };
    let sandbox = Sandbox::builder().limits(limits).build().expect("it is built");
    let output = shell(&sandbox, "head -c 5000 /dev/zero").output().expect("it runs");
    let cut = String::from_utf8_lossy(&output.stdout).contains("4000 bytes of output cut here");
    assert!(cut && output.findings.len() == 1, "{output:?}");

    let child = shell(&sandbox, "sleep 600").spawn().expect("it starts");
    assert!(!child.has_ended().expect("it can be asked"));
    child.kill();
    let output = child.wait_with_output().expect("it runs");
    assert_eq!((output.status.signal(), output.timed_out), (Some(libc::SIGKILL), None));
}

#[test]
fn layers_are_methods() {
    if refused() {
        return;
    }
    let sandbox = Sandbox::builder().user(User::Root).net(Net::Host).guard(Guard::Strict).build();
    let sandbox = sandbox.expect("it is built");
    let output = shell(&sandbox, "id -u; readlink /proc/self/ns/net").output().expect("it runs");
    let own = fs::read_link("/proc/self/ns/net").expect("it is there");
    assert_eq!(text(&output).0, format!("0\n{}\n", own.display()));
}

/// Links of another root that name programs by absolute paths, as busybox has them.
#[test]
fn a_program_is_searched_for_in_the_root_of_the_sandbox() {
    if refused() {
        return;
    }
    let root = TempDir::new().expect("it is made");
    for directory in ["bin", "dev", "etc", "proc", "tmp", "usr"] {
        fs::create_dir(root.path().join(directory)).expect("it is made");
    }
    let here = root.path().join("bin/only-here");
    fs::write(&here, "#!/no/such\n").expect("it is written");
    fs::set_permissions(&here, PermissionsExt::from_mode(0o755)).expect("it is its own");
    symlink("/bin/only-here", root.path().join("bin/link")).expect("it is made");
    symlink("/usr/bin/true", root.path().join("bin/astray")).expect("it is made");
    let sandbox = Sandbox::builder().root(Root::Directory(root.path().to_owned())).build();
    let sandbox = sandbox.expect("it is built");
    let found = |name: &str| sandbox.command(name).plan().map(|plan| plan.spec.program.clone());
    assert_eq!(found("link").expect("it is there").as_c_str(), c"/bin/link");
    // What the links would lead to on the host is not there.
    for name in ["astray", "true"] {
        assert!(matches!(found(name), Err(Error::NoProgram(..))), "{name}");
    }
}

#[test]
fn streams_are_passed_on_and_what_leads_out_is_not() {
    if refused() {
        return;
    }
    let sandbox = Sandbox::new().expect("it is built");
    let (read, write) = std::io::pipe().expect("it is made");
    let given = sandbox.command("cat").stdin(File::open("/etc/passwd").expect("it is there"));
    let output = given.stdout(write).output().expect("it runs");
    assert!(output.stdout.is_empty());
    let passed = std::io::read_to_string(read).expect("it ends");
    assert_eq!(passed, fs::read_to_string("/etc/passwd").expect("it is there"));

    let error = sandbox.command("ls").stdin(File::open("/srv").expect("it is there")).output();
    let error = error.expect_err("a directory leads out").to_string();
    let expected = "cannot hand standard input to a program in a sandbox: it is a directory";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn an_error_says_what_cannot_be_done_why_and_what_to_do() {
    if refused() {
        return;
    }
    let sandbox = Sandbox::new().expect("it is built");
    let check = |error: Error, expected: &str| assert_eq!(error.to_string(), expected);
    check(
        sandbox.command("no-such").env("PATH", "/bin").output().expect_err("it is not there"),
        "cannot find `no-such` in `/bin`\nhint: name it by its absolute path",
    );
    check(
        sandbox.command("ls").arg("a\0b").output().expect_err("it has a NUL byte"),
        "cannot pass on `a\\u{0}b`: it has a NUL byte",
    );
    check(
        Sandbox::builder().read_only("/no/such").build().expect_err("it is not there"),
        "cannot show `/no/such`: No such file or directory (os error 2)",
    );
    let error = sandbox.command("/no/such").output().expect_err("it is not there");
    assert_eq!(error.errno(), Some(nix::errno::Errno::ENOENT));
    assert!(error.hint().is_some_and(|hint| hint.starts_with("the file, or the interpreter")));
    let error = sandbox.command("pwd").current_dir("/no/such").output().expect_err("it is not");
    check(error, "cannot change directory to `/no/such`: No such file or directory (ENOENT)");
    // A refusal ends no other command.
    assert!(sandbox.command("true").output().expect("it runs").status.success());
    let root = Root::Directory("/no/such".into());
    assert!(Sandbox::builder().root(root).build().is_err());
}

#[test]
fn the_examples_do_what_they_say() {
    if refused() {
        return;
    }
    let check = |name: &str, arguments: &[&str], expected: &str| {
        let mut run = process::Command::new(cargo());
        run.args(["run", "-q", "-p", "isotest-core", "--example", name, "--"]).args(arguments);
        let output = run.output().expect("cargo is there");
        let (out, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains(expected), "{name}: {out}{error}");
    };
    check("run_a_command", &["sh", "-c", "echo $$"], "1\n");
    check("run_a_hundred", &[], "100 sandboxes in ");
    check("inspect_the_plan", &[], "drop all capabilities: isolation depends on it");
}
