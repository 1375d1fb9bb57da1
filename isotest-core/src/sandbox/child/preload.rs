//! The library that makes a fork server of a test binary, by being loaded before it (ld.so(8),
//! LD_PRELOAD).
//!
//! It is linked with `-z initfirst` (DF_1_INITFIRST of the ELF gABI's Solaris extensions, which
//! glibc honours): its initialiser runs before that of any other library and before those of the
//! program. It uses no library itself, so that it can be loaded beside any C library of glibc's.

#![no_std]
#![no_builtins]
#![allow(dead_code, reason = "the other crate that has these files uses the rest")]

mod bytecode;
mod image;
mod kernel;
mod linked;
mod order;
mod server;
mod start;

use core::ffi::c_char;

type Initialiser = unsafe extern "C" fn(i32, *mut *const c_char, *mut *const c_char);

#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISER: Initialiser = initialise;

/// Initialiser that the dynamic loader calls, with the arguments of `main`.
unsafe extern "C" fn initialise(argc: i32, argv: *mut *const c_char, envp: *mut *const c_char) {
    // SAFETY: the arguments are the loader's, and `-z initfirst` makes this the first initialiser.
    unsafe { server::serve(argc as usize, argv, envp) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    kernel::exit(101)
}

// What the compiler and `core` expect of a C library and of an unwinder, hidden from the program.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl memcpy",
    ".hidden memcpy",
    "memcpy:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "rep movsb",
    "ret",
    ".globl memset",
    ".hidden memset",
    "memset:",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    ".globl memcmp",
    ".hidden memcmp",
    ".globl bcmp",
    ".hidden bcmp",
    "memcmp:",
    "bcmp:",
    "xor eax, eax",
    "mov rcx, rdx",
    "repe cmpsb",
    "je 2f",
    "movzx eax, byte ptr [rdi - 1]",
    "movzx ecx, byte ptr [rsi - 1]",
    "sub eax, ecx",
    "2: ret",
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality:",
    "ud2",
);

// What the compiler and `core` expect of a C library and of an unwinder, hidden from the program.
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl memcpy",
    ".hidden memcpy",
    "memcpy:",
    "mov x3, x0",
    "0: cbz x2, 1f",
    "ldrb w4, [x1], #1",
    "strb w4, [x3], #1",
    "sub x2, x2, #1",
    "b 0b",
    "1: ret",
    ".globl memset",
    ".hidden memset",
    "memset:",
    "mov x3, x0",
    "2: cbz x2, 3f",
    "strb w1, [x3], #1",
    "sub x2, x2, #1",
    "b 2b",
    "3: ret",
    ".globl memcmp",
    ".hidden memcmp",
    ".globl bcmp",
    ".hidden bcmp",
    "memcmp:",
    "bcmp:",
    "4: cbz x2, 5f",
    "ldrb w3, [x0], #1",
    "ldrb w4, [x1], #1",
    "sub x2, x2, #1",
    "cmp w3, w4",
    "b.eq 4b",
    "sub w0, w3, w4",
    "ret",
    "5: mov w0, wzr",
    "ret",
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality:",
    "brk 1",
);
