//! Tests for which the guard has to leave something open: a seccomp listener of their own, and what
//! is known of tests where isotest leaves it to them; io_uring.

use isotest_tests::{Project, refused};

const TESTS: (&str, &str) = (
    "src/lib.rs",
    r#"
#[cfg(target_arch = "x86_64")]
const SECCOMP: i64 = 317;
#[cfg(target_arch = "aarch64")]
const SECCOMP: i64 = 277;
#[repr(C)]
struct Instruction { code: u16, yes: u8, no: u8, value: u32 }
#[repr(C)]
struct Program { length: u16, instructions: *const Instruction }
unsafe extern "C" { fn syscall(number: i64, ...) -> i64; }
/// SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_NEW_LISTENER: all is allowed.
#[test]
fn listens() {
    let allow = Instruction { code: 6, yes: 0, no: 0, value: 0x7fff_0000 };
    let program = Program { length: 1, instructions: &allow };
    let listener = unsafe { syscall(SECCOMP, 1_i64, 8_i64, &program) };
    assert!(listener >= 0, "{}", std::io::Error::last_os_error());
}
#[test]
fn passes() {}
#[test]
fn fails() { panic!("as it should") }
#[test]
fn exits() { std::process::exit(0) }
#[test]
fn aborts() { std::process::abort() }
"#,
);

const MANIFEST: (&str, &str) = (
    "Cargo.toml",
    "[package]\nname = 'listens'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n",
);

fn line(name: &str, result: &str) -> String {
    format!("test {name} ... {result}\n")
}

#[test]
fn a_test_may_install_a_listener_where_the_guard_leaves_room_for_it() {
    if refused() {
        return;
    }
    let project = Project::new(&[MANIFEST, TESTS]);
    for more in ["", " --no-fork-server"] {
        let run = project.isotest(&format!("--lib{more}")).run();
        let result = line("listens", "FAILED");
        run.check(100, &[&result, "Device or resource busy", "killed by SIGABRT"]);
        let run = project.isotest(&format!("--lib --guard no-listener{more}")).run();
        let expected = [
            line("listens", "ok"),
            line("passes", "ok"),
            line("fails", "FAILED"),
            line("exits", "FAILED"),
            line("aborts", "FAILED"),
        ];
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        run.check(100, &expected);
    }
}

#[test]
fn one_test_may_listen_and_the_others_are_heard_all_the_same() {
    if refused() {
        return;
    }
    let config = "[[profile.default.override]]\nfilter = 'test(=listens)'\nguard = 'no-listener'\n\
                  reason = 'it answers system calls of its own'\n";
    let project = Project::new(&[MANIFEST, TESTS, (".config/isotest.toml", config)]);
    let run = project.isotest("--lib").run();
    let result = line("listens", "ok");
    run.check(100, &[&result, "killed by SIGABRT", "it answers system calls of its own"]);
    let run = project.isotest("explain listens").run();
    run.check(0, &["no-listener", "it answers system calls of its own"]);
}

/// `io_uring_setup(1, …)`, by a test and by a program that it starts, whose orphan asks last.
const RINGS: (&str, &str) = (
    "src/lib.rs",
    r#"
unsafe extern "C" { fn syscall(number: i64, ...) -> i64; fn fork() -> i32; fn _exit(code: i32) -> !;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32; }
const IO_URING_SETUP: i64 = 425;
fn ring() -> std::io::Result<()> {
    let parameters = [0_u32; 30];
    let made = unsafe { syscall(IO_URING_SETUP, 1_i64, parameters.as_ptr()) };
    if made < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
#[test]
fn needs_a_ring() { ring().unwrap() }
#[test]
fn goes_on_without() { assert_eq!(ring().unwrap_err().raw_os_error(), Some(38)) }
#[test]
fn a_grandchild_needs_a_ring() {
    let mut status = 0;
    unsafe {
        let child = fork();
        if child == 0 {
            let grandchild = fork();
            if grandchild == 0 { _exit(ring().is_err() as i32) }
            waitpid(grandchild, &mut status, 0);
            _exit((status != 0) as i32)
        }
        waitpid(child, &mut status, 0);
    }
    assert_eq!(status, 0, "its grandchild has no ring")
}
"#,
);

#[test]
fn io_uring_is_refused_and_a_failure_that_asked_for_it_says_how_to_have_it() {
    if refused() {
        return;
    }
    let project = Project::new(&[MANIFEST, RINGS]);
    let told = "2 tests failed and were refused io_uring; `--guard io-uring` may help";
    for more in ["", " --no-fork-server", " --init reaper", " --user root"] {
        let run = project.isotest(&format!("--lib{more}")).run();
        let [first, second, third] = [
            line("needs_a_ring", "FAILED"),
            line("a_grandchild_needs_a_ring", "FAILED"),
            line("goes_on_without", "ok"),
        ];
        run.check(100, &[&first, &second, &third, "Function not implemented", told]);
    }
    let strict = project.isotest("--lib --guard strict").run();
    strict.check(100, &["Function not implemented", told]);
    let events = project.isotest("--lib --message-format json").run();
    events.check(100, &[r#""finding":"io-uring-refused""#]);
}

#[test]
fn io_uring_is_there_where_it_is_asked_for() {
    if refused() {
        return;
    }
    if std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|it| it != "0\n") {
        return isotest_tests::skipped("this kernel has io_uring switched off");
    }
    let config = "[[profile.default.override]]\nfilter = 'test(ring)'\nguard = 'io-uring'\n\
                  reason = 'tokio-uring'\n";
    let project = Project::new(&[MANIFEST, RINGS, (".config/isotest.toml", config)]);
    let ok = ["needs_a_ring", "a_grandchild_needs_a_ring", "goes_on_without"]
        .map(|name| line(name, "ok"));
    for more in ["", " --no-fork-server", " --init reaper"] {
        project.isotest(&format!("--lib{more}")).run().check(0, &[&ok[0], &ok[1], &ok[2]]);
    }
    project.isotest("explain needs_a_ring").run().check(0, &["io-uring", "tokio-uring"]);
}
