//! The memory in which cases tell the warden of themselves until their programs run.
//!
//! Each fork server shares memory of its own with the warden, which holds the slots of its cases
//! and no others: code that runs in a server can write to all of it. That of the cases which are
//! executed is shared with nothing but copies of the warden.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::sandbox::child::start::Slot;

/// Maximum number of cases in flight.
pub const SLOTS: usize = 1024;

/// A slot for each case that may be in flight.
pub struct Slots {
    cells: &'static [Slot],
}

impl Slots {
    /// Makes the memory, and the file of it that a server is given.
    pub fn new() -> Result<(Slots, OwnedFd), Errno> {
        let length = SLOTS * size_of::<Slot>();
        let file = memfd_create(c"isotest-slots", MFdFlags::MFD_CLOEXEC)?;
        nix::unistd::ftruncate(&file, length as i64)?;
        // SAFETY: a new mapping of a file of that length; zeroed memory is a valid array of slots,
        // and it stands as long as this value.
        let cells = unsafe {
            let memory = libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            if memory == libc::MAP_FAILED {
                return Err(Errno::last());
            }
            std::slice::from_raw_parts(memory.cast(), SLOTS)
        };
        Ok((Slots { cells }, file))
    }

    /// The slot of that number.
    pub fn get(&self, slot: usize) -> Option<&Slot> {
        self.cells.get(slot)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        let address = self.cells.as_ptr().cast_mut().cast();
        // SAFETY: the mapping is this value's, and whoever borrows a slot borrows it.
        unsafe { libc::munmap(address, size_of_val(self.cells)) };
    }
}
