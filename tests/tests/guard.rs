//! A test that installs a seccomp listener of its own, and what is known of tests where isotest
//! leaves it to them.

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
