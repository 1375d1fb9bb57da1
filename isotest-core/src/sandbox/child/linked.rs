//! Objects that the dynamic loader has linked, by the structures that debuggers read (`link.h`).

use core::ffi::{CStr, c_char};

/// `struct link_map` of link.h.
#[repr(C)]
pub struct Linked {
    base: usize,
    name: *const c_char,
    dynamic: *const [usize; 2],
    next: *const Linked,
}

/// `Elf64_Phdr` of elf(5), as far as it is read.
#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: usize,
    address: usize,
    rest: [usize; 4],
}

/// `Elf64_Sym` of elf(5).
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: usize,
}

/// Linked objects, in the loader's order. Empty if the program does not list them.
///
/// # Safety
/// `envp` is that of the kernel, with the auxiliary vector behind it, and the dynamic loader has
/// linked the program.
pub unsafe fn all(envp: *mut *const c_char) -> impl Iterator<Item = &'static Linked> {
    // SAFETY: by this function's contract; the list ends with a null pointer, and stands as long as
    // nothing is loaded or unloaded.
    unsafe { from(first(envp)) }
}

/// Linked objects from one on.
///
/// # Safety
/// As for [`all`].
pub unsafe fn from(first: Option<*const Linked>) -> impl Iterator<Item = &'static Linked> {
    // SAFETY: by this function's contract; the list ends with a null pointer, and stands as long as
    // nothing is loaded or unloaded.
    unsafe {
        let mut next = first.and_then(|linked| linked.as_ref());
        core::iter::from_fn(move || {
            let linked = next?;
            next = linked.next.as_ref();
            Some(linked)
        })
    }
}

/// The head of the list.
///
/// # Safety
/// As for [`all`].
unsafe fn first(envp: *mut *const c_char) -> Option<*const Linked> {
    const AT_PHDR: usize = 3;
    const AT_PHNUM: usize = 5;
    const PT_DYNAMIC: u32 = 2;
    const PT_PHDR: u32 = 6;
    const DT_DEBUG: usize = 21;
    // SAFETY: by this function's contract all of it is there: null and zero end the lists.
    unsafe {
        let mut word = envp;
        while !(*word).is_null() {
            word = word.add(1);
        }
        let (mut pair, mut segments, mut count) = (word.add(1).cast::<[usize; 2]>(), 0, 0);
        while (*pair)[0] != 0 {
            match *pair {
                [AT_PHDR, value] => segments = value,
                [AT_PHNUM, value] => count = value,
                _ => {}
            }
            pair = pair.add(1);
        }
        if segments == 0 {
            return None;
        }
        let all = core::slice::from_raw_parts(segments as *const Segment, count);
        let find = |kind| all.iter().find(|segment| segment.kind == kind);
        let base = segments.wrapping_sub(find(PT_PHDR)?.address);
        let dynamic = base.wrapping_add(find(PT_DYNAMIC)?.address) as *const [usize; 2];
        // `struct r_debug` of link.h: a version, then the list of what is linked.
        let debug = entry(dynamic, DT_DEBUG).filter(|debug| *debug != 0)?;
        Some(*(debug as *const *const Linked).add(1))
    }
}

impl Linked {
    /// True if it is to be initialised before all others.
    pub fn is_first(&self) -> bool {
        const DT_FLAGS_1: usize = 0x6FFF_FFFB;
        const DF_1_INITFIRST: usize = 0x20;
        self.entry(DT_FLAGS_1).is_some_and(|flags| flags & DF_1_INITFIRST != 0)
    }

    /// True if its file has this name.
    pub fn is_called(&self, name: &[u8]) -> bool {
        if self.name.is_null() {
            return false;
        }
        // SAFETY: the loader's names are C strings.
        let path = unsafe { text(self.name) };
        path.strip_suffix(name).is_some_and(|directory| directory.ends_with(b"/"))
    }

    /// The address of a function that it defines, by its table of hashes (DT_GNU_HASH). Of several
    /// versions it is that to which programs are linked now.
    pub fn function(&self, name: &CStr) -> Option<usize> {
        const DT_SYMTAB: usize = 6;
        const DT_STRTAB: usize = 5;
        const DT_GNU_HASH: usize = 0x6FFF_FEF5;
        const DT_VERSYM: usize = 0x6FFF_FFF0;
        /// Bit of a version that is there for programs which were linked before.
        const HIDDEN: u16 = 0x8000;
        const FUNCTION: u8 = 2;
        let hash = name
            .to_bytes()
            .iter()
            .fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)));
        // Glibc makes addresses of them; other loaders leave them relative.
        let table = |tag| {
            let value = self.entry(tag)?;
            Some(if value < self.base { self.base.wrapping_add(value) } else { value })
        };
        let (symbols, names) = (table(DT_SYMTAB)? as *const Symbol, table(DT_STRTAB)?);
        let hashes = table(DT_GNU_HASH)? as *const u32;
        let versions = table(DT_VERSYM).map(|versions| versions as *const u16);
        // SAFETY: the tables are as the linker made them. A chain ends with an odd hash.
        unsafe {
            let [buckets, first, filters] = [0, 1, 2].map(|index| *hashes.add(index) as usize);
            let bucket = hashes.add(4).add(filters * 2);
            let chain = bucket.add(buckets);
            let mut index = *bucket.add((hash as usize).checked_rem(buckets)?) as usize;
            if index < first {
                return None;
            }
            loop {
                let (known, symbol) = (*chain.add(index - first), &*symbols.add(index));
                let called = (names + symbol.name as usize) as *const c_char;
                let is_it = known | 1 == hash | 1 && text(called) == name.to_bytes();
                let is_old = versions.is_some_and(|versions| *versions.add(index) & HIDDEN != 0);
                if is_it && !is_old && symbol.section != 0 && symbol.info & 0xF == FUNCTION {
                    return Some(self.base.wrapping_add(symbol.value));
                }
                if known & 1 == 1 {
                    return None;
                }
                index += 1;
            }
        }
    }

    fn entry(&self, tag: usize) -> Option<usize> {
        // SAFETY: it is the dynamic section of something that is linked.
        unsafe { entry(self.dynamic, tag) }
    }
}

/// An entry of a dynamic section.
///
/// # Safety
/// The section ends with a zero tag.
unsafe fn entry(mut section: *const [usize; 2], tag: usize) -> Option<usize> {
    // SAFETY: by this function's contract.
    unsafe {
        while (*section)[0] != 0 {
            if (*section)[0] == tag {
                return Some((*section)[1]);
            }
            section = section.add(1);
        }
    }
    None
}

/// The bytes of a C string. `CStr::from_ptr` calls for a C library.
///
/// # Safety
/// It is one, and stands as long as the bytes are used.
unsafe fn text<'a>(string: *const c_char) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: by this function's contract.
    unsafe {
        while *string.add(length) != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(string.cast(), length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        static mut environ: *mut *const c_char;
    }

    /// The libraries of this test program. Nothing has changed its environment yet, or `environ`
    /// would not be the kernel's.
    fn libraries() -> Vec<&'static Linked> {
        // SAFETY: cargo's tests are started with an environment that nobody has grown.
        unsafe { all(environ) }.collect()
    }

    #[test]
    fn functions_are_found_where_the_loader_finds_them() {
        let libraries = libraries();
        let find = |name: &[u8]| libraries.iter().find(|library| library.is_called(name));
        let libc = find(b"libc.so.6").expect("it is linked");
        // SAFETY: the name is a C string.
        let known = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getppid".as_ptr()) };
        assert_eq!(libc.function(c"getppid"), Some(known.addr()));
        assert_eq!(libc.function(c"no_such_function"), None);
        // It has two versions.
        // SAFETY: as above.
        let known = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"pthread_cond_timedwait".as_ptr()) };
        let found = libraries.iter().find_map(|it| it.function(c"pthread_cond_timedwait"));
        assert_eq!(found, Some(known.addr()));
        assert!(find(b"ibc.so.6").is_none(), "a name is whole");
        assert!(libraries.iter().all(|library| !library.is_first()));
    }
}
