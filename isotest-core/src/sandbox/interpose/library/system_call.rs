//! syscall(2): libraries ask the kernel for the time and for random bytes by it, too.
//!
//! Calls that are not replaced are made without a frame on the stack, as the C library does: a child
//! that shares the stack of its parent may return from one.

use super::clocks::{TimeVal, clock_getres, clock_gettime, clock_nanosleep, gettimeofday, time};
use super::entropy::getrandom;
use super::kernel::Errno;
use super::libc::{self, TimeSpec};
use super::number;
use super::pipes::{pipe, pipe2};

/// syscall(2): calls that are replaced go on to [`replaced`], with the number and the first four
/// arguments in place.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall() {
    core::arch::naked_asm!(
        "cmp rdi, {gettime}",
        "je {replaced}",
        "cmp rdi, {getres}",
        "je {replaced}",
        "cmp rdi, {nanosleep}",
        "je {replaced}",
        "cmp rdi, {gettimeofday}",
        "je {replaced}",
        "cmp rdi, {time}",
        "je {replaced}",
        "cmp rdi, {getrandom}",
        "je {replaced}",
        "cmp rdi, {pipe}",
        "je {replaced}",
        "cmp rdi, {pipe2}",
        "je {replaced}",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 2f",
        "ret",
        "2: mov rdi, rax",
        "jmp {failed}",
        gettime = const number::CLOCK_GETTIME,
        getres = const number::CLOCK_GETRES,
        nanosleep = const number::CLOCK_NANOSLEEP,
        gettimeofday = const number::GETTIMEOFDAY,
        time = const number::TIME,
        getrandom = const number::GETRANDOM,
        pipe = const number::PIPE,
        pipe2 = const number::PIPE2,
        replaced = sym replaced,
        failed = sym failed,
    )
}

/// syscall(2): calls that are replaced go on to [`replaced`], with the number and the first four
/// arguments in place.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall() {
    core::arch::naked_asm!(
        "cmp x0, {gettime}",
        "b.eq 1f",
        "cmp x0, {getres}",
        "b.eq 1f",
        "cmp x0, {nanosleep}",
        "b.eq 1f",
        "cmp x0, {gettimeofday}",
        "b.eq 1f",
        "cmp x0, {getrandom}",
        "b.eq 1f",
        "cmp x0, {pipe2}",
        "b.eq 1f",
        "mov x8, x0",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "mov x3, x4",
        "mov x4, x5",
        "mov x5, x6",
        "svc 0",
        "cmn x0, 4095",
        "b.cs 2f",
        "ret",
        "1: b {replaced}",
        "2: b {failed}",
        gettime = const number::CLOCK_GETTIME,
        getres = const number::CLOCK_GETRES,
        nanosleep = const number::CLOCK_NANOSLEEP,
        gettimeofday = const number::GETTIMEOFDAY,
        getrandom = const number::GETRANDOM,
        pipe2 = const number::PIPE2,
        replaced = sym replaced,
        failed = sym failed,
    )
}

/// A call that failed, by what the kernel has returned.
extern "C" fn failed(result: isize) -> isize {
    libc::fail(Errno(-result as i32))
}

/// The calls that are replaced.
///
/// # Safety
/// The arguments are the caller's.
unsafe extern "C" fn replaced(call: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    // SAFETY: by this function's contract: each function has the arguments of its call.
    unsafe {
        match call {
            number::CLOCK_GETTIME => clock_gettime(a as i32, b as *mut TimeSpec) as isize,
            number::CLOCK_GETRES => clock_getres(a as i32, b as *mut TimeSpec) as isize,
            number::CLOCK_NANOSLEEP => {
                let (request, left) = (c as *const TimeSpec, d as *mut TimeSpec);
                match clock_nanosleep(a as i32, b as i32, request, left) {
                    0 => 0,
                    errno => libc::fail(Errno(errno)),
                }
            }
            number::GETTIMEOFDAY => gettimeofday(a as *mut TimeVal, b as *mut [i32; 2]) as isize,
            number::TIME => time(a as *mut i64) as isize,
            number::GETRANDOM => getrandom(a as *mut u8, b, c as u32),
            number::PIPE => pipe(a as *mut [i32; 2]) as isize,
            _ => pipe2(a as *mut [i32; 2], b as i32) as isize,
        }
    }
}
