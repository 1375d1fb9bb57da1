//! Memory of a process of a case, read while it waits in a notification of the guard.
//!
//! By `/proc/PID/mem`, whose reads end with an error at a page that a process would have to fill
//! (userfaultfd(2)): the kernel faults it in without leave to wait (mm/memory.c,
//! `access_remote_vm`). process_vm_readv(2) has that leave and waits.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::dns::{self, Question};

/// The memory of a process.
pub struct Memory(File);

impl Memory {
    /// That of the process of a thread.
    pub fn of(thread: i32) -> Option<Memory> {
        File::open(format!("/proc/{thread}/mem")).ok().map(Memory)
    }

    /// Reads a structure of `N` bytes.
    pub fn array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    /// Reads `length` bytes, where there are no more than `most`.
    pub fn bytes(&self, address: u64, length: u64, most: usize) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok().filter(|length| *length <= most)?;
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }

    /// The host name that the first of the messages of a sendmmsg(2) asks for: `address` is that of
    /// its array of `struct mmsghdr`.
    pub fn name_asked_for(&self, address: u64) -> Option<String> {
        let word = |bytes: &[u8], index: usize| {
            Some(u64::from_ne_bytes(*bytes.get(8 * index..)?.first_chunk()?))
        };
        // `struct msghdr`: an address and its length, then the parts of the message.
        let header: [u8; 32] = self.array(address)?;
        let (parts, 1) = (word(&header, 2)?, word(&header, 3)?) else { return None };
        let part: [u8; 16] = self.array(parts)?;
        let question = self.bytes(word(&part, 0)?, word(&part, 1)?, dns::LONGEST)?;
        Some(Question::of_query(&question)?.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_within_bounds() {
        let own = Memory::of(std::process::id() as i32).expect("it can be read");
        let text = *b"in a frame";
        let address = text.as_ptr() as u64;
        assert_eq!(own.array(address), Some(text));
        assert_eq!(own.bytes(address, 4, 4).as_deref(), Some(&b"in a"[..]));
        assert_eq!(own.bytes(address, 5, 4), None);
        assert_eq!(own.bytes(0, 4, 4), None);
        assert_eq!(own.array::<8>(0), None);
    }
}
