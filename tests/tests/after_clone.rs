//! Between clone and exec nothing is allocated and nothing freed: `sandbox/child` says so.
//!
//! A program of its own, since its allocator kills every process that does it all the same.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use isotest_core::host::Host;
use isotest_core::plan::{Access, CommandSpec, Exposure, Project, StartBy, sandbox_spec, template};
use isotest_core::policy::{Init, Policy, Propagation, User};
use isotest_core::sandbox::{AFTER_CLONE, End, Notice, Start, Warden};
use isotest_tests::refused;

/// Exit code of a process that allocates where it may not.
const CAUGHT: i32 = 99;

struct Guarded;

#[global_allocator]
static ALLOCATOR: Guarded = Guarded;

// SAFETY: every call goes on to the system's allocator as it came, or ends the process.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        die_after_clone();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        die_after_clone();
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn die_after_clone() {
    if AFTER_CLONE.load(Ordering::Relaxed) {
        const MESSAGE: &[u8] = b"memory was allocated or freed between clone and exec\n";
        // SAFETY: both are plain system calls; the pointer and the length are those of MESSAGE.
        unsafe {
            libc::write(2, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(CAUGHT);
        }
    }
}

/// Runs `true` under a policy. Every kind of layer is in the project, so that every operation is.
fn check(policy: &Policy) {
    if refused() {
        return;
    }
    let end = run(policy, c"/");
    assert_ne!(libc::WEXITSTATUS(end.status), CAUGHT, "memory was allocated or freed: {end:?}");
    assert!(end.fault.is_none() && end.status == 0, "{end:?}");
}

fn run(policy: &Policy, directory: &std::ffi::CStr) -> End {
    let host = Host::read(Path::new("/")).expect("the machine can be looked at");
    let exposure = |path: &str, access| Exposure {
        path: Path::new(path).canonicalize().expect("it is there"),
        directory: true,
        access,
        what: "for the test".to_owned(),
        propagation: Propagation::Private,
    };
    let project = Project {
        exposures: vec![
            exposure(env!("CARGO_MANIFEST_DIR"), Access::Workspace),
            exposure(env!("CARGO_TARGET_TMPDIR"), Access::ReadWrite),
        ],
        ..Project::default()
    };
    let mut warden = Warden::start(&host, policy).expect("a warden starts");
    warden.build(&template(&host, &project, policy), None).expect("the template can be built");
    let program = CString::from(c"/bin/true");
    let command = CommandSpec {
        arguments: vec![program.clone()],
        program,
        environment: Vec::new(),
        start_by: StartBy::ForkServer,
        directory: directory.to_owned(),
    };
    let spec = Arc::new(sandbox_spec(&host, &project, policy, command));
    let start = Start {
        case: 1,
        setup: 0,
        arguments: vec![],
        environment: vec![],
        terminal: false,
        seed: 0,
    };
    let null = File::options().read(true).write(true).open("/dev/null").expect("it is there");
    let sent = warden.spawn(&spec, start, &[null.as_fd(), null.as_fd()]);
    sent.expect("the warden is alive");
    match warden.notice(true) {
        Some(Notice::Ended(end, ..)) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_allocated_after_clone() {
    check(&Policy::default());
}

#[test]
fn nothing_is_allocated_after_clone_with_an_init() {
    check(&Policy { init: Init::Reaper, ..Policy::default() });
}

#[test]
fn nothing_is_allocated_after_clone_for_root() {
    check(&Policy { user: User::Root, ..Policy::default() });
}

/// The way out after a failure, too.
#[test]
fn nothing_is_allocated_where_a_step_fails() {
    if refused() {
        return;
    }
    let end = run(&Policy::default(), c"/no/such/directory");
    assert_ne!(libc::WEXITSTATUS(end.status), CAUGHT, "memory was allocated or freed: {end:?}");
    assert_eq!(end.fault.map(|fault| fault.errno), Some(libc::ENOENT), "{end:?}");
}
