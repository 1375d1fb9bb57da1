//! A debugger that reads the stacks of a hostile test: it opens no file of the host that the test
//! names, whatever leads there.

use std::fs;

use isotest_tests::{Project, Run, missing, refused};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// The files of the host that the test names: by a link in the place of a library, as a library, and as
/// the file with its debug information.
const PLANTED: [&str; 3] = ["link.so", "mapped.so", "debug"];

/// A test that hangs with two libraries mapped: one was replaced by an absolute link, the other has the
/// path of a file of the host's and calls the function that hangs. The program names the file with its
/// debug information.
const HOSTILE: &str = r#"
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs;
use std::os::unix::fs::symlink;

std::arch::global_asm!(
    ".pushsection .gnu_debuglink, \"\", %progbits",
    ".ascii \"/../../../../../../../../../../../../../../../../HOST/debug\\0\"",
    ".balign 4",
    ".long 0x12345678",
    ".popsection",
);

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

type Backtrace = extern "C" fn(extern "C" fn(*mut c_void, *mut c_void) -> c_int, *mut c_void) -> c_int;

fn load(path: &str) -> *mut c_void {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let library = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let library = library.into_iter().find(|path| path.contains("/libgcc_s.so")).unwrap();
    fs::copy(library, path).unwrap();
    let name = CString::new(path).unwrap();
    let library = unsafe { dlopen(name.as_ptr(), 2) };
    assert!(!library.is_null());
    library
}

#[test]
fn hangs() {
    fs::create_dir_all("HOST").unwrap();
    let mapped = load("HOST/mapped.so");
    load("/tmp/replaced.so");
    fs::remove_file("/tmp/replaced.so").unwrap();
    symlink("HOST/link.so", "/tmp/replaced.so").unwrap();
    let backtrace: Backtrace = unsafe {
        let function = dlsym(mapped, c"_Unwind_Backtrace".as_ptr());
        assert!(!function.is_null());
        std::mem::transmute(function)
    };
    backtrace(in_here, std::ptr::null_mut());
}

extern "C" fn in_here(_: *mut c_void, _: *mut c_void) -> c_int {
    loop {
        std::thread::park();
    }
}

#[test]
fn one() {}

#[test]
fn two() {}
"#;

/// Files that were opened in a directory of the host while this debugger read the stacks of the
/// test.
fn opened_by(debugger: &str, options: &str) -> (Run, Vec<String>) {
    let host = tempfile::Builder::new().prefix("host").tempdir().expect("it is writable");
    for name in PLANTED {
        fs::write(host.path().join(name), "the user's").expect("it is writable");
    }
    let source = HOSTILE.replace("HOST", host.path().to_str().expect("it is text"));
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", &source)]);
    let watch = Inotify::init(InitFlags::IN_NONBLOCK).expect("one is free");
    watch.add_watch(host.path(), AddWatchFlags::IN_OPEN).expect("it is there");
    let call = project.isotest(&format!("--test it --timeout 3s --timeout-stacks {debugger}"));
    // gdb looks for the debug information of a program that has none.
    let run = call.words(options).env("CARGO_PROFILE_DEV_STRIP", "debuginfo").run();
    // Nothing to read is an error.
    let events = watch.read_events().unwrap_or_default();
    let names = events.into_iter().filter_map(|event| event.name);
    (run, names.map(|name| name.to_string_lossy().into_owned()).collect())
}

#[track_caller]
fn opens_nothing(debugger: &str) {
    if refused() || missing(debugger) {
        return;
    }
    // A name that a stack is known by. eu-stack finds no program whose mount is out of its sight.
    for (options, name) in [("", "it::hangs"), ("--user root", "\n#0 ")] {
        let (run, opened) = opened_by(debugger, options);
        run.check(100, &["Its threads at that time:\nT", "\n#0 ", name]);
        assert_eq!(opened, Vec::<String>::new(), "{options}");
    }
}

#[test]
fn gdb_opens_no_file_of_the_host_that_a_test_names() {
    opens_nothing("gdb");
}

#[test]
fn eu_stack_opens_no_file_of_the_host_that_a_test_names() {
    opens_nothing("eu-stack");
}

/// A test that hangs where nobody can make a mount namespace.
const FULL: &str = r#"
#[test]
fn hangs() {
    std::fs::write("/proc/sys/user/max_mnt_namespaces", "0").unwrap();
    loop {
        std::thread::park();
    }
}
"#;

#[test]
fn a_debugger_that_cannot_be_confined_is_not_run_and_the_reason_is_told() {
    if refused() || missing("gdb") {
        return;
    }
    let project = Project::new(&[("src/lib.rs", FULL)]);
    let run = project.isotest("--lib --user root --timeout 3s --timeout-stacks gdb").run();
    let why = "Its threads at that time:\nno debugger has read its stacks: cannot enter the user \
               namespace: No space left on device (ENOSPC)\n";
    run.check(100, &[why, " `hangs`: S (sleeping) in futex"]);
    assert!(!run.stdout.contains("\n#0 "), "{}", run.stdout);
}
