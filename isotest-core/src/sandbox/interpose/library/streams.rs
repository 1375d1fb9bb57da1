//! The entries of a directory, all read at once and put in the order of the seed.

use super::entropy::mixed;
use super::kernel::{self, Errno, number as kernel_number};
use super::number;

/// Memory of this process alone, mmap(2).
struct Memory {
    address: usize,
    length: usize,
}

impl Memory {
    fn new(length: usize) -> Result<Memory, Errno> {
        const PROT_READ_WRITE: usize = 3;
        const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
        let arguments = [0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, usize::MAX, 0];
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let address = unsafe { kernel::call(kernel_number::MMAP, arguments) }?;
        Ok(Memory { address, length })
    }

    fn double(&mut self) -> Result<(), Errno> {
        const MREMAP_MAYMOVE: usize = 1;
        let arguments = [self.address, self.length, 2 * self.length, MREMAP_MAYMOVE, 0, 0];
        // SAFETY: the mapping is this one's, and nobody holds an address in it.
        self.address = unsafe { kernel::call(number::MREMAP, arguments) }?;
        self.length *= 2;
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let arguments = [self.address, self.length, 0, 0, 0, 0];
        // SAFETY: nobody uses it afterwards.
        let _ = unsafe { kernel::call(kernel_number::MUNMAP, arguments) };
    }
}

/// Header of `struct dirent64`, as getdents64(2) has it and glibc's `struct dirent`.
#[repr(C)]
pub struct Entry {
    inode: u64,
    /// Position behind it.
    pub offset: i64,
    /// Its length with the name.
    pub length: u16,
    kind: u8,
    name: [u8; 0],
}

/// An entry by its place in the order.
#[derive(Clone, Copy)]
struct Ordered {
    key: u64,
    at: usize,
}

/// The entries of a directory in order.
pub struct Entries {
    entries: Memory,
    order: Option<Memory>,
    count: usize,
    position: usize,
}

/// Bytes for which there is room whenever the kernel is asked.
const ROOM: usize = 64 << 10;

impl Entries {
    /// Reads an open directory from where it stands to its end.
    pub fn read(directory: i32, seed: u64) -> Result<Entries, Errno> {
        let mut entries = Memory::new(2 * ROOM)?;
        let mut length = 0;
        loop {
            if entries.length - length < ROOM {
                entries.double()?;
            }
            let room = [directory as usize, entries.address + length, entries.length - length];
            // SAFETY: the memory is this one's from there on.
            match unsafe { kernel::call(number::GETDENTS64, [room[0], room[1], room[2], 0, 0, 0]) }?
            {
                0 => break,
                read => length += read,
            }
        }
        let mut all = Entries { entries, order: None, count: 0, position: 0 };
        all.put_in_order(length, seed)?;
        Ok(all)
    }

    fn put_in_order(&mut self, length: usize, seed: u64) -> Result<(), Errno> {
        let count = self.places(length).count();
        if count == 0 {
            return Ok(());
        }
        let memory = Memory::new(count * size_of::<Ordered>())?;
        // SAFETY: the memory is new, aligned to a page, and of any bytes such a list is valid.
        let order =
            unsafe { core::slice::from_raw_parts_mut(memory.address as *mut Ordered, count) };
        for (ordered, at) in order.iter_mut().zip(self.places(length)) {
            *ordered = Ordered { key: self.key(at, seed), at };
        }
        order.sort_unstable_by_key(|entry| entry.key);
        for (position, entry) in order.iter().enumerate() {
            let entry = (self.entries.address + entry.at) as *mut Entry;
            // SAFETY: the kernel has written an entry there.
            unsafe { (*entry).offset = position as i64 + 1 };
        }
        (self.order, self.count) = (Some(memory), count);
        Ok(())
    }

    /// Where the entries are, in the kernel's order.
    fn places(&self, length: usize) -> impl Iterator<Item = usize> + use<'_> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let place = (at < length).then_some(at)?;
            at += usize::from(self.at(place).length);
            Some(place)
        })
    }

    fn at(&self, place: usize) -> &Entry {
        // SAFETY: the kernel has written an entry there, with the alignment of a word.
        unsafe { &*((self.entries.address + place) as *const Entry) }
    }

    /// What the place of an entry follows from: the seed and the name.
    fn key(&self, place: usize, seed: u64) -> u64 {
        let mut name = self.entries.address + place + core::mem::offset_of!(Entry, name);
        let mut key = mixed(seed);
        // SAFETY: the name ends with a NUL within the entry.
        unsafe {
            while *(name as *const u8) != 0 {
                key = mixed(key ^ u64::from(*(name as *const u8)));
                name += 1;
            }
        }
        key
    }

    /// The next entry; `None` at the end.
    pub fn next(&mut self) -> Option<*mut Entry> {
        let order = self.order.as_ref().filter(|_| self.position < self.count)?;
        let place = (order.address as *const Ordered).wrapping_add(self.position);
        self.position += 1;
        // SAFETY: the list has more entries than that.
        Some((self.entries.address + unsafe { (*place).at }) as *mut Entry)
    }

    /// Number of entries that were given.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes on behind so many entries.
    pub fn seek(&mut self, position: usize) {
        self.position = position.min(self.count);
    }
}
