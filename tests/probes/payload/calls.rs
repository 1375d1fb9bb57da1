//! System calls without a wrapper, and C strings for them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

/// A path as a C string.
pub fn c(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().as_os_str().as_bytes()).expect("no NUL byte in paths of a probe")
}

/// syscall(2) with up to six arguments.
pub fn call(number: i64, arguments: &[u64]) -> Result<i64, Errno> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: every caller passes numbers, or pointers to memory that it keeps for the call and
    // that the call named by `number` may read or write at the length that it is told.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    Errno::result(result)
}

/// The address of a value, as an argument of [`call`].
pub fn at<T: ?Sized>(value: &T) -> u64 {
    (value as *const T).cast::<()>().addr() as u64
}

/// The address of a value that the call writes to.
pub fn at_mut<T: ?Sized>(value: &mut T) -> u64 {
    (value as *mut T).cast::<()>().addr() as u64
}

/// Runs `act` in a child and returns its exit code; 255 where it died by a signal. The payload
/// has one thread.
pub fn in_child(act: impl FnOnce() -> u8) -> u8 {
    use nix::sys::wait::{WaitStatus, waitpid};
    // SAFETY: this process has one thread, so the child may do what it likes.
    match unsafe { nix::unistd::fork() } {
        Ok(nix::unistd::ForkResult::Child) => {
            let code = act();
            // SAFETY: ends the child without running what the parent registered for its exit.
            unsafe { libc::_exit(i32::from(code)) }
        }
        Ok(nix::unistd::ForkResult::Parent { child }) => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => code as u8,
            _ => 255,
        },
        Err(_) => 254,
    }
}
