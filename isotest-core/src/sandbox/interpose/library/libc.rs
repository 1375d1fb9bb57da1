//! The C library as this one meets it: errno(3), `struct timespec`.

use super::kernel::Errno;

unsafe extern "C" {
    fn __errno_location() -> *mut i32;
}

/// errno.h.
pub const EFAULT: Errno = Errno(14);

/// `struct timespec` of time.h.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct TimeSpec {
    pub seconds: i64,
    pub nanoseconds: i64,
}

const SECOND: i64 = 1_000_000_000;

impl TimeSpec {
    /// Nanoseconds since the Epoch, as far as they can be told: to the year 2262.
    pub fn total(self) -> i64 {
        self.seconds.saturating_mul(SECOND).saturating_add(self.nanoseconds)
    }

    /// The time so many nanoseconds after the Epoch.
    pub fn of(total: i64) -> TimeSpec {
        TimeSpec { seconds: total.div_euclid(SECOND), nanoseconds: total.rem_euclid(SECOND) }
    }

    /// True if its parts are those of a time.
    pub fn is_valid(self) -> bool {
        (0..SECOND).contains(&self.nanoseconds)
    }
}

/// Sets errno, and returns -1.
pub fn fail(errno: Errno) -> isize {
    // SAFETY: the C library gives the address of the thread's own.
    unsafe { *__errno_location() = errno.0 };
    -1
}

/// The result of a system call, as a function of the C library returns it.
pub fn result(result: Result<usize, Errno>) -> isize {
    match result {
        Ok(value) => value as isize,
        Err(errno) => fail(errno),
    }
}

/// The present value of errno.
pub fn errno() -> i32 {
    // SAFETY: as above.
    unsafe { *__errno_location() }
}

/// Sets errno to what it was.
pub fn set_errno(value: i32) {
    // SAFETY: as above.
    unsafe { *__errno_location() = value };
}
