//! A set-up as bytes: a list of system calls with their arguments, which two processes can read.
//!
//! [`compile`](super::super::compile) writes it, once per binary; it is walked once per case.

use core::sync::atomic::{AtomicU32, Ordering};

use super::kernel::{self, EINVAL, EIO, Errno};

/// Kinds of arguments of a call.
pub mod kind {
    /// The value itself.
    pub const VALUE: u64 = 0;
    /// The address of that offset in the data.
    pub const DATA: u64 = 1;
    /// Result of an earlier call that was kept under that number.
    pub const KEPT: u64 = 2;
    /// The descriptor of the case's scratch.
    pub const SCRATCH: u64 = 3;
    /// The address of the word that says that the id maps are written.
    pub const MAPPED: u64 = 4;
    /// The address of a copy of a structure that holds a pointer. At that offset in the data stand
    /// the place of the pointer in the structure and the offset that it is to, a word each, then
    /// the structure.
    pub const LINKED: u64 = 5;
    /// The descriptor of the user namespace that the warden has made for the case.
    pub const USER: u64 = 6;
    /// The address of one of several structures, by the slot of the case. At that offset in the data
    /// stand their number and their size, a word each, then they themselves.
    pub const BY_SLOT: u64 = 7;
}

/// The size of a structure of [`kind::LINKED`].
pub const LINKED_SIZE: usize = 120;

/// Words of the header, and what they hold.
pub mod header {
    /// Number of calls.
    pub const CALLS: usize = 0;
    /// CLONE_NEW* flags.
    pub const NAMESPACES: usize = 1;
    /// 1 where a reaping init is PID 1.
    pub const REAPER: usize = 2;
    /// 1 where the warden writes the id maps.
    pub const MAPS: usize = 3;
    /// Number of arguments before the case's own, and their place in the data.
    pub const ARGUMENTS: usize = 4;
    pub const ARGUMENTS_AT: usize = 5;
    /// The same of its environment.
    pub const ENVIRONMENT: usize = 6;
    pub const ENVIRONMENT_AT: usize = 7;
    /// Those of the CLONE_NEW* flags that are left to a step.
    pub const LATE: usize = 8;
    /// 1 where the steps have made the process one that no other may read, until it execs.
    pub const UNDUMPABLE: usize = 9;
    /// The file mode creation mask of the program.
    pub const UMASK: usize = 10;
    /// Number of words in the header.
    pub const WORDS: usize = 11;
}

/// Words of a call: its step, its number, an errno that is no failure, the number under which its
/// result is kept, the result that it must have, and six arguments of two words each.
pub const CALL_WORDS: usize = 17;
/// Nothing is kept; any result will do.
pub const NONE: u64 = u64::MAX;
/// Maximum number of results that are kept.
pub const KEPT: usize = 2;

/// Values of calls that are the case's own.
pub struct Values<'a> {
    /// Memory for the step in progress.
    pub step: &'a AtomicU32,
    /// The word that says that the id maps are written.
    pub mapped: &'a AtomicU32,
    /// The scratch filesystem, or -1.
    pub scratch: i32,
    /// The user namespace that the case is to enter, or -1.
    pub user: i32,
    /// Number of the slot of the case.
    pub slot: u32,
}

/// A set-up as bytes.
#[derive(Clone, Copy)]
pub struct Bytecode<'a>(pub &'a [u8]);

impl<'a> Bytecode<'a> {
    /// The CLONE_NEW* flags that a case is cloned with.
    pub fn early_namespaces(&self) -> Option<u64> {
        Some(self.header(header::NAMESPACES)? & !self.header(header::LATE)?)
    }

    /// A word of the header.
    pub fn header(&self, index: usize) -> Option<u64> {
        self.word(index)
    }

    fn word(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(8)?;
        let bytes = self.0.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The data behind the calls, from an offset on.
    pub fn data(&self, offset: u64) -> Option<&'a [u8]> {
        let calls = usize::try_from(self.header(header::CALLS)?).ok()?;
        let start = calls.checked_mul(CALL_WORDS)?.checked_add(header::WORDS)?.checked_mul(8)?;
        self.0.get(start.checked_add(usize::try_from(offset).ok()?)?..)
    }

    fn linked(&self, offset: u64) -> Option<PatchedData> {
        let data = self.data(offset)?;
        let word = |at| Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?));
        let (place, target) = (usize::try_from(word(0)?).ok()?, self.data(word(8)?)?);
        let mut linked = PatchedData([0; LINKED_SIZE]);
        for (to, from) in linked.0.iter_mut().zip(data.get(16..16 + LINKED_SIZE)?) {
            *to = *from;
        }
        let pointer = linked.0.get_mut(place..place.checked_add(size_of::<usize>())?)?;
        for (to, from) in pointer.iter_mut().zip((target.as_ptr() as usize).to_ne_bytes()) {
            *to = from;
        }
        Some(linked)
    }

    fn by_slot(&self, offset: u64, slot: u32) -> Option<&'a [u8]> {
        let data = self.data(offset)?;
        let word = |at| Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?));
        let index = u64::from(slot).checked_rem(word(0)?)?;
        let size = usize::try_from(word(8)?).ok()?;
        let start = usize::try_from(index).ok()?.checked_mul(size)?.checked_add(16)?;
        data.get(start..start.checked_add(size)?)
    }

    /// Makes every call in order. The step of the one that fails stands in `values.step`.
    ///
    /// # Safety
    /// The calls are those of a set-up, and this process is one that it may be done to.
    pub unsafe fn run(&self, values: &Values<'_>) -> Result<(), Errno> {
        let mut kept = [0; KEPT];
        let mut linked;
        let calls = self.header(header::CALLS).ok_or(EINVAL)?;
        for call in 0..calls as usize {
            let first = header::WORDS + call * CALL_WORDS;
            let word = |index| self.word(first + index).ok_or(EINVAL);
            values.step.store(word(0)? as u32, Ordering::Relaxed);
            let mut arguments = [0; 6];
            for (index, argument) in arguments.iter_mut().enumerate() {
                let value = word(6 + 2 * index)?;
                *argument = match word(5 + 2 * index)? {
                    kind::VALUE => value as usize,
                    kind::DATA => self.data(value).ok_or(EINVAL)?.as_ptr() as usize,
                    kind::KEPT => *kept.get(value as usize).ok_or(EINVAL)?,
                    kind::SCRATCH => values.scratch as usize,
                    kind::USER => values.user as usize,
                    kind::BY_SLOT => {
                        self.by_slot(value, values.slot).ok_or(EINVAL)?.as_ptr() as usize
                    }
                    kind::MAPPED => values.mapped.as_ptr() as usize,
                    kind::LINKED => {
                        linked = self.linked(value).ok_or(EINVAL)?;
                        linked.0.as_ptr() as usize
                    }
                    _ => return Err(EINVAL),
                };
            }
            // SAFETY: by this function's contract; every pointer is into data that outlives the
            // call.
            let result = match unsafe { kernel::call(word(1)? as usize, arguments) } {
                Err(errno) if errno.0 as u64 == word(2)? => continue,
                other => other?,
            };
            if let Some(slot) = kept.get_mut(word(3)? as usize) {
                *slot = result;
            }
            // A write that was cut short, on a full disk.
            if word(4)? != NONE && word(4)? != result as u64 {
                return Err(EIO);
            }
        }
        Ok(())
    }
}

/// A structure that holds a pointer.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct PatchedData([u8; LINKED_SIZE]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_set_up_are_refused() {
        let step = AtomicU32::new(0);
        let mapped = &AtomicU32::new(0);
        let values = Values { step: &step, mapped, scratch: -1, user: -1, slot: 0 };
        let mut one_call = vec![0; 8 * (header::WORDS + CALL_WORDS)];
        one_call[0] = 1;
        let mut huge = one_call.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let mut strange = one_call.clone();
        strange[8 * (header::WORDS + 5)] = 99;
        let mut outside = one_call.clone();
        outside[8 * (header::WORDS + 5)] = kind::DATA as u8;
        outside[8 * (header::WORDS + 6)] = 1;
        let short = one_call[..one_call.len() - 1].to_vec();
        for bytes in [vec![], short, strange, outside, huge] {
            // SAFETY: no call comes out of these bytes.
            let result = unsafe { Bytecode(&bytes).run(&values) };
            assert_eq!(result, Err(EINVAL), "{bytes:?}");
        }
    }

    /// A set-up of random words, and whether it says how many calls it has. They have a number that
    /// no kernel knows, and mostly go on.
    fn random_program(random: &mut fastrand::Rng) -> (Vec<u8>, bool) {
        const ENOSYS: u64 = 38;
        const UNKNOWN: u64 = 0x7FFF_FFFF;
        let word = |random: &mut fastrand::Rng| match random.u8(..4) {
            0 => random.u64(..),
            1 => u64::MAX - random.u64(..64),
            _ => random.u64(..256),
        };
        let count = random.usize(..6);
        let mut words: Vec<u64> = (0..header::WORDS).map(|_| word(random)).collect();
        let honest = random.u8(..8) != 0;
        words[header::CALLS] = if honest { count as u64 } else { word(random) };
        for _ in 0..count {
            let first = words.len();
            words.extend((0..CALL_WORDS).map(|_| word(random)));
            words[first + 1] = UNKNOWN;
            words[first + 2] = if random.u8(..4) == 0 { 0 } else { ENOSYS };
            for argument in 0..6 {
                // Mostly a kind that there is, and seldom one for which few words will do.
                words[first + 5 + 2 * argument] %= match random.u8(..64) {
                    0 => 64,
                    1..4 => 8,
                    _ => 7,
                };
            }
        }
        words.extend((0..random.usize(..40)).map(|_| word(random)));
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        // A call that was cut off; never one whose number is not ours.
        if random.u8(..4) == 0 {
            bytes.truncate(bytes.len() - random.usize(..8));
        }
        (bytes, honest)
    }

    #[test]
    fn any_set_up_is_walked_within_its_bytes() {
        let mut random = fastrand::Rng::with_seed(4);
        let step = AtomicU32::new(0);
        let mapped = &AtomicU32::new(0);
        let mut ends = [0; 3];
        for _ in 0..50_000 {
            let (bytes, honest) = random_program(&mut random);
            let bytecode = Bytecode(&bytes);
            for index in [0, header::WORDS, CALL_WORDS, usize::MAX, random.usize(..)] {
                let _ = bytecode.header(index);
                let data = bytecode.data(index as u64).unwrap_or_default();
                assert!(bytes.ends_with(data));
            }
            if let Some(linked) = bytecode.linked(random.u64(..400)) {
                // What was copied, but for the pointer, stands in the bytes.
                assert!(bytes.len() > LINKED_SIZE && linked.0.len() == LINKED_SIZE);
            }
            let _ = bytecode.by_slot(random.u64(..400), random.u32(..));
            // What lies behind the calls would be taken for more, with numbers that are not ours.
            if !honest {
                continue;
            }
            let values = Values { step: &step, mapped, scratch: -1, user: -1, slot: 0 };
            // SAFETY: the kernel knows no such call and looks at no argument.
            match unsafe { bytecode.run(&values) } {
                Ok(()) => ends[0] += 1,
                Err(EINVAL) => ends[1] += 1,
                Err(_) => ends[2] += 1,
            }
        }
        assert!(ends.iter().all(|count| *count > 300), "{ends:?}");
    }
}
