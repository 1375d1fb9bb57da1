//! The image of a fork server: what of it must change in a child, so that the program finds the
//! process that exec would have given it.
//!
//! That is: arguments and environment, on the stack and in the kernel's eyes, and what the kernel
//! and the dynamic loader remember of the thread. Everything else is as exec and the loader left
//! it.

use core::ffi::c_char;

use super::bytecode::{Bytecode, header};
use super::kernel::{self, EINVAL, Errno, number};
use super::order::Order;

/// `struct prctl_mm_map` of linux/prctl.h.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// State of this process, read before it serves.
pub struct Image {
    /// `argv` and `envp` on the stack, with how many strings each has.
    arguments: (*mut *const c_char, usize),
    environment: (*mut *const c_char, usize),
    map: MemoryMap,
    /// The list of robust futexes, which a child does not inherit: get_robust_list(2).
    robust_list: [usize; 2],
    /// Address at which the C library keeps the id of this thread: prctl(2) PR_GET_TID_ADDRESS.
    pub thread_id: usize,
}

const PR_SET_MM: usize = 35;
const PR_SET_MM_MAP: usize = 14;
const PR_GET_TID_ADDRESS: usize = 40;
const E2BIG: Errno = Errno(7);

impl Image {
    /// Reads the image of this process; an error where the kernel would not let it be changed.
    ///
    /// # Safety
    /// The arguments are those that the dynamic loader gives to initialisers.
    pub unsafe fn read(
        argc: usize,
        argv: *mut *const c_char,
        envp: *mut *const c_char,
    ) -> Result<Image, Errno> {
        let mut variables = 0;
        // SAFETY: by this function's contract `envp` ends with a null pointer.
        while unsafe { !(*envp.add(variables)).is_null() } {
            variables += 1;
        }
        let (mut thread_id, mut robust_list) = (0_usize, [0_usize; 2]);
        let [head, length] = robust_list.each_mut().map(|word| (&raw mut *word) as usize);
        let thread_id_at = (&raw mut thread_id) as usize;
        // SAFETY: each pointer is to a word that the call writes.
        unsafe {
            kernel::call(number::PRCTL, [PR_GET_TID_ADDRESS, thread_id_at, 0, 0, 0, 0])?;
            kernel::call(number::GET_ROBUST_LIST, [0, head, length, 0, 0, 0])?;
        }
        if thread_id == 0 {
            return Err(EINVAL);
        }
        let (arguments, environment) = ((argv, argc), (envp, variables));
        let map = read_map()?;
        let image = Image { arguments, environment, map, robust_list, thread_id };
        image.tell_kernel(&image.map)?;
        Ok(image)
    }

    /// prctl(2) PR_SET_MM_MAP, which needs no privilege and CONFIG_CHECKPOINT_RESTORE.
    fn tell_kernel(&self, map: &MemoryMap) -> Result<(), Errno> {
        let (address, size) = ((&raw const *map) as usize, size_of::<MemoryMap>());
        // SAFETY: `map` has the given size.
        unsafe { kernel::call(number::PRCTL, [PR_SET_MM, PR_SET_MM_MAP, address, size, 0, 0]) }
            .map(drop)
    }

    /// Gives this process, a child of the server, the arguments and the environment of a case.
    ///
    /// # Safety
    /// This process is such a child, and nothing holds on to the strings that it was executed
    /// with.
    pub unsafe fn assume(&self, bytecode: &Bytecode<'_>, order: &Order<'_>) -> Result<(), Errno> {
        let strings = |count, at| {
            let count = bytecode.header(count).ok_or(EINVAL)? as usize;
            let data = bytecode.data(bytecode.header(at).ok_or(EINVAL)?).ok_or(EINVAL)?;
            Ok(NulTerminated { left: count, bytes: data })
        };
        let arguments = order.arguments as usize;
        let own = NulTerminated { left: order.count(), bytes: order.strings };
        let (own_arguments, own_environment) = own.split(arguments);
        let lists = [
            (self.arguments, strings(header::ARGUMENTS, header::ARGUMENTS_AT)?, own_arguments),
            (
                self.environment,
                strings(header::ENVIRONMENT, header::ENVIRONMENT_AT)?,
                own_environment,
            ),
        ];
        let length = |strings: NulTerminated<'_>| -> usize { strings.map(<[u8]>::len).sum() };
        let [args, vars] = lists.map(|(_, shared, own)| length(shared) + length(own));
        // The strings end where those of exec ended; below is what the server was given to spare.
        let mut map = self.map;
        map.env_start = map.env_end - vars as u64;
        map.arg_end = map.env_start;
        map.arg_start = map.arg_end - args as u64;
        if map.arg_start < self.map.arg_start {
            return Err(E2BIG);
        }
        let mut place = map.arg_start as *mut u8;
        for ((array, count), shared, own) in lists {
            let mut strings = shared.chain(own);
            for index in 0..count {
                let text = strings.next().ok_or(EINVAL)?;
                // SAFETY: `array` has `count` elements, and the strings fit between the beginning
                // and the end of those that the kernel put on this stack.
                unsafe {
                    *array.add(index) = place.cast();
                    for byte in text {
                        *place = *byte;
                        place = place.add(1);
                    }
                }
            }
            if strings.next().is_some() {
                return Err(EINVAL);
            }
        }
        self.tell_kernel(&map)?;
        let [head, length] = self.robust_list;
        // SAFETY: they are what the C library has registered for the same addresses.
        unsafe { kernel::call(number::SET_ROBUST_LIST, [head, length, 0, 0, 0, 0]) }.map(drop)
    }
}

/// NUL-terminated strings, one behind the other, with their NULs.
#[derive(Clone, Copy)]
struct NulTerminated<'a> {
    left: usize,
    bytes: &'a [u8],
}

impl<'a> NulTerminated<'a> {
    /// The first `count` strings, and the others.
    fn split(self, count: usize) -> (Self, Self) {
        let mut rest = self;
        rest.by_ref().take(count).for_each(drop);
        (NulTerminated { left: count.min(self.left), ..self }, rest)
    }
}

impl<'a> Iterator for NulTerminated<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let end = self.bytes.iter().position(|byte| *byte == 0)? + 1;
        let (text, rest) = self.bytes.split_at_checked(end)?;
        self.bytes = rest;
        Some(text)
    }
}

/// Reads `/proc/self/stat`, proc_pid_stat(5).
fn read_map() -> Result<MemoryMap, Errno> {
    let mut buffer = [0_u8; 2048];
    let path = c"/proc/self/stat".as_ptr() as usize;
    const AT_FDCWD: usize = -100_isize as usize;
    let address = (&raw mut buffer) as usize;
    // SAFETY: `path` is a C string, and the buffer has the given size.
    let length = unsafe {
        let file = kernel::call(number::OPENAT, [AT_FDCWD, path, 0, 0, 0, 0])?;
        let length = kernel::call(number::READ, [file, address, buffer.len(), 0, 0, 0]);
        kernel::plain(number::CLOSE, [file, 0, 0, 0, 0])?;
        length?
    };
    let text = buffer.get(..length).ok_or(EINVAL)?;
    // The name, the second field, may hold anything; the third begins behind its parenthesis.
    let name_ends = text.iter().rposition(|byte| *byte == b')').ok_or(EINVAL)?;
    let field = |number: usize| {
        let rest = text.get(name_ends + 2..)?;
        let digits = rest.split(|byte| *byte == b' ' || *byte == b'\n').nth(number - 3)?;
        digits.iter().try_fold(0_u64, |value, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            value.checked_mul(10)?.checked_add(u64::from(digit))
        })
    };
    let field = |number| field(number).filter(|address| *address != 0).ok_or(EINVAL);
    Ok(MemoryMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: kernel::plain(number::BRK, [0; 5])? as u64,
        start_stack: field(28)?,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// prctl(2): the kernel tells what size it takes.
    #[test]
    fn a_memory_map_has_the_size_that_the_kernel_takes() {
        const PR_SET_MM_MAP_SIZE: usize = 15;
        let mut size = 0_u32;
        let address = (&raw mut size) as usize;
        // SAFETY: `size` is valid to write to.
        let told = unsafe {
            kernel::call(number::PRCTL, [PR_SET_MM, PR_SET_MM_MAP_SIZE, address, 0, 0, 0])
        };
        // EINVAL: a kernel without CONFIG_CHECKPOINT_RESTORE, where no server is made.
        assert!(told.is_ok() || told == Err(EINVAL), "{told:?}");
        if told.is_ok() {
            assert_eq!(size_of::<MemoryMap>(), size as usize);
        }
        assert_eq!(size_of::<MemoryMap>(), 12 * 8 + 8);
    }

    #[test]
    fn the_map_of_this_process_is_read() {
        let map = read_map().expect("it can be read");
        let words = std::fs::read("/proc/self/cmdline").expect("it can be read");
        assert_eq!((map.arg_end - map.arg_start) as usize, words.len());
        assert!(map.start_stack > map.start_brk && map.env_end >= map.env_start);
        let code = map.start_code..map.end_code;
        assert!(code.contains(&(read_map as *const () as u64)), "{code:?}");
    }

    /// The result is a part of the bytes, in order; for strings it is all of them.
    #[test]
    fn texts_are_the_strings_that_were_joined() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..4)).collect();
            let claimed = random.usize(..12);
            let all = NulTerminated { left: claimed, bytes: &bytes };
            let taken: Vec<&[u8]> = all.collect();
            assert!(taken.len() <= claimed && bytes.starts_with(&taken.concat()), "{bytes:?}");
            let ends = bytes.iter().filter(|byte| **byte == 0).count();
            assert_eq!(taken.len(), claimed.min(ends), "{bytes:?}");
            let (first, rest) = all.split(random.usize(..12));
            assert_eq!(first.chain(rest).collect::<Vec<_>>(), taken, "{bytes:?}");
        }
    }
}
