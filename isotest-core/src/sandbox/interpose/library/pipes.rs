//! Pipes: pipe(2), pipe2(2), with another capacity.

use super::kernel::{self, Errno, number as kernel_number};
use super::libc;
use super::number;
use super::state::settings;

/// pipe2(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipe2(ends: *mut [i32; 2], flags: i32) -> i32 {
    // SAFETY: the caller's pointer, which the kernel checks.
    let made = unsafe { kernel::call(number::PIPE2, [ends as usize, flags as usize, 0, 0, 0, 0]) };
    let capacity = settings().pipe_capacity;
    if made.is_err() || capacity == 0 {
        return libc::result(made) as i32;
    }
    // SAFETY: the kernel has written to it.
    let ends = unsafe { *ends };
    match resize(ends, capacity) {
        Ok(()) => 0,
        Err(errno) => {
            for end in ends {
                let _ = kernel::plain(kernel_number::CLOSE, [end as usize, 0, 0, 0, 0]);
            }
            libc::fail(errno) as i32
        }
    }
}

fn resize([end, _]: [i32; 2], capacity: u32) -> Result<(), Errno> {
    const F_SETPIPE_SZ: usize = 1031;
    let arguments = [end as usize, F_SETPIPE_SZ, capacity as usize, 0, 0];
    kernel::plain(kernel_number::FCNTL, arguments).map(drop)
}

/// pipe(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipe(ends: *mut [i32; 2]) -> i32 {
    // SAFETY: the caller's pointer.
    unsafe { pipe2(ends, 0) }
}
