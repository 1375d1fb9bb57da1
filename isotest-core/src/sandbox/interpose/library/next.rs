//! The definitions of the C library that this library hides.

use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::linked::{self, Linked};

/// `struct r_debug` of link.h, of which the dynamic loader has one.
#[repr(C)]
struct Debug {
    version: i32,
    list: *const Linked,
}

unsafe extern "C" {
    static _r_debug: Debug;
}

/// A function of the C library, found when it is first called.
pub struct Next {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Next {
    pub const fn new(name: &'static CStr) -> Next {
        Next { name, address: AtomicUsize::new(0) }
    }

    /// Its address; `own` is that of this library's definition. `None` where the C library has no
    /// such function, and so no program was linked to it.
    pub fn address(&self, own: usize) -> Option<usize> {
        match self.address.load(Ordering::Relaxed) {
            0 => {}
            known => return Some(known),
        }
        // SAFETY: the dynamic loader has linked this library, and a program that loads others
        // meanwhile appends to the list.
        let mut linked = unsafe { linked::from(Some(_r_debug.list)) };
        let found = linked.find_map(|it| it.function(self.name).filter(|at| *at != own))?;
        self.address.store(found, Ordering::Relaxed);
        Some(found)
    }
}
