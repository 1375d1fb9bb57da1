//! The library that shows a case other clocks, random bytes, orders of directories and capacities of
//! pipes, and its tracer the environment variables that are used, by being loaded before every program of the case (ld.so(8), `/etc/ld.so.preload`).
//!
//! It defines functions of the C library, which the dynamic loader finds here first. Those make
//! system calls by themselves where they can; where the C library must do the work, they call its
//! definition ([`next`]). Nothing is changed in the environment of the case, and nothing is allocated
//! by malloc(3). Settings come from a file of the case ([`state`]), so that a program with an empty
//! environment has them too.

#![no_std]
#![allow(dead_code, reason = "the other crate that has these files uses the rest")]

mod clocks;
mod directories;
mod entropy;
#[path = "../../child/kernel.rs"]
mod kernel;
mod libc;
#[path = "../../child/linked.rs"]
mod linked;
mod lock;
mod next;
mod number;
mod pipes;
#[path = "../settings.rs"]
mod settings;
mod state;
mod streams;
mod system_call;
mod variables;
mod waits;

use core::ffi::c_char;

type Initialiser = unsafe extern "C" fn(i32, *mut *const c_char, *mut *const c_char);

#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISER: Initialiser = initialise;

/// Reads the settings. A fork server's first initialiser is its own, and returns in a case.
unsafe extern "C" fn initialise(_: i32, _: *mut *const c_char, _: *mut *const c_char) {
    state::load();
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    kernel::exit_group(101)
}

// What `core` expects of an unwinder, hidden from the program.
core::arch::global_asm!(
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality:",
    "ret",
);
