//! Environment variables: getenv(3), setenv(3) and the like, as the C library has them. The tracer of the
//! case is told of each, a change once it is made.

use core::ffi::c_char;
use core::mem::transmute;

use super::kernel::{self, number};
use super::libc;
use super::next::Next;
use super::settings::{TELLS_VARIABLE, VariableUse};
use super::state::settings;

/// errno.h: the function is not there.
const ENOSYS: kernel::Errno = kernel::Errno(38);

/// Tells the tracer.
fn tell(name: *const c_char, how: VariableUse) {
    if !settings().told_variables || name.is_null() {
        return;
    }
    let errno = libc::errno();
    let arguments = [TELLS_VARIABLE as usize, how as usize, name as usize, 0, 0];
    let _ = kernel::plain(number::PRCTL, arguments);
    libc::set_errno(errno);
}

/// Defines functions that look a name up.
macro_rules! reads {
    ($($name:ident $text:literal;)*) => { $(
        #[doc = concat!($text, "(3).")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(name: *const c_char) -> *mut c_char {
            type Function = unsafe extern "C" fn(*const c_char) -> *mut c_char;
            static NEXT: Next = Next::new(match core::ffi::CStr::from_bytes_with_nul(
                concat!($text, "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => c"",
            });
            tell(name, VariableUse::Read);
            match NEXT.address($name as *const () as usize) {
                // SAFETY: the C library's function has this type, and the argument is the caller's.
                Some(next) => unsafe { transmute::<usize, Function>(next)(name) },
                None => core::ptr::null_mut(),
            }
        }
    )* };
}

reads! {
    getenv "getenv";
    secure_getenv "secure_getenv";
}

/// setenv(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setenv(name: *const c_char, value: *const c_char, overwrite: i32) -> i32 {
    type Function = unsafe extern "C" fn(*const c_char, *const c_char, i32) -> i32;
    static NEXT: Next = Next::new(c"setenv");
    let Some(next) = NEXT.address(setenv as *const () as usize) else {
        return libc::fail(ENOSYS) as i32;
    };
    // SAFETY: the C library's function has this type, and the arguments are the caller's.
    let result = unsafe { transmute::<usize, Function>(next)(name, value, overwrite) };
    tell(name, VariableUse::Change);
    result
}

/// unsetenv(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unsetenv(name: *const c_char) -> i32 {
    type Function = unsafe extern "C" fn(*const c_char) -> i32;
    static NEXT: Next = Next::new(c"unsetenv");
    let Some(next) = NEXT.address(unsetenv as *const () as usize) else {
        return libc::fail(ENOSYS) as i32;
    };
    // SAFETY: as above.
    let result = unsafe { transmute::<usize, Function>(next)(name) };
    tell(name, VariableUse::Change);
    result
}

/// putenv(3). What the tracer is told is `NAME=VALUE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn putenv(pair: *mut c_char) -> i32 {
    type Function = unsafe extern "C" fn(*mut c_char) -> i32;
    static NEXT: Next = Next::new(c"putenv");
    let Some(next) = NEXT.address(putenv as *const () as usize) else {
        return libc::fail(ENOSYS) as i32;
    };
    // SAFETY: as above.
    let result = unsafe { transmute::<usize, Function>(next)(pair) };
    tell(pair, VariableUse::Change);
    result
}
