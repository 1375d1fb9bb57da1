//! Errnos of other libraries as those of nix, which the crate uses throughout.

use std::io;

use nix::errno::Errno;

/// Errno of an error of the standard library; EIO if it has none.
pub fn of_io(error: io::Error) -> Errno {
    Errno::try_from(error).unwrap_or(Errno::EIO)
}

/// Errno of an error of rustix.
pub fn of_rustix(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
