//! Directories: readdir(3) and the functions beside it, in an order that follows from the seed.
//!
//! `DIR` stays the C library's; its entries are read here when the first is asked for.

use core::ffi::c_void;
use core::mem::transmute;

use super::libc;
use super::lock::Lock;
use super::next::Next;
use super::state::settings;
use super::streams::{Entries, Entry};

/// A `DIR` of the C library.
type Directory = *mut c_void;

/// Maximum number of directories that are read at once. Further ones are listed as the kernel does.
const MOST: usize = 128;

/// The directories that are read.
struct Open {
    lock: Lock,
    list: core::cell::UnsafeCell<[Option<(usize, Entries)>; MOST]>,
}

// SAFETY: the list is used under the lock alone.
unsafe impl Sync for Open {}

static OPEN: Open =
    Open { lock: Lock::new(), list: core::cell::UnsafeCell::new([const { None }; MOST]) };

impl Open {
    /// Uses the place of a directory, or a free one.
    fn with<T>(
        &self,
        directory: Directory,
        work: impl FnOnce(Option<&mut Option<(usize, Entries)>>) -> T,
    ) -> T {
        let _held = self.lock.hold();
        // SAFETY: the lock is held.
        let list = unsafe { &mut *self.list.get() };
        let is = |place: &Option<(usize, Entries)>| {
            place.as_ref().is_some_and(|(owner, _)| *owner == directory as usize)
        };
        let place = list.iter().position(is).or_else(|| list.iter().position(Option::is_none));
        work(place.and_then(|place| list.get_mut(place)))
    }

    fn forget(&self, directory: Directory) {
        if !settings().shuffled_directories {
            return;
        }
        self.with(directory, |place| {
            if let Some(place) = place {
                *place = None;
            }
        });
    }
}

/// A function of the C library that takes a `DIR` alone.
///
/// # Safety
/// It is such a function, and the argument is the caller's.
unsafe fn call<T>(next: &Next, own: usize, directory: Directory) -> Option<T> {
    // SAFETY: by this function's contract.
    unsafe {
        let next: unsafe extern "C" fn(Directory) -> T = transmute(next.address(own)?);
        Some(next(directory))
    }
}

/// The next entry in the order of the seed; `None` where the C library is to give it.
///
/// # Safety
/// The argument is the caller's, an open directory.
unsafe fn shuffled(directory: Directory) -> Option<*mut Entry> {
    static DESCRIPTOR: Next = Next::new(c"dirfd");
    let settings = settings();
    if !settings.shuffled_directories {
        return None;
    }
    // SAFETY: by this function's contract.
    let descriptor: i32 = unsafe { call(&DESCRIPTOR, 0, directory) }?;
    OPEN.with(directory, |place| {
        let place = place?;
        if place.is_none() {
            match Entries::read(descriptor, settings.seed) {
                Ok(entries) => *place = Some((directory as usize, entries)),
                Err(errno) => {
                    libc::fail(errno);
                    return Some(core::ptr::null_mut());
                }
            }
        }
        let (_, entries) = place.as_mut()?;
        Some(entries.next().unwrap_or(core::ptr::null_mut()))
    })
}

/// readdir(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readdir(directory: Directory) -> *mut Entry {
    static NEXT: Next = Next::new(c"readdir");
    // SAFETY: the caller's argument.
    unsafe {
        shuffled(directory)
            .or_else(|| call(&NEXT, readdir as *const () as usize, directory))
            .unwrap_or(core::ptr::null_mut())
    }
}

/// readdir(3) where files have 64 bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readdir64(directory: Directory) -> *mut Entry {
    static NEXT: Next = Next::new(c"readdir64");
    // SAFETY: the caller's argument.
    unsafe {
        shuffled(directory)
            .or_else(|| call(&NEXT, readdir64 as *const () as usize, directory))
            .unwrap_or(core::ptr::null_mut())
    }
}

/// readdir_r(3), by `next` where nothing is shuffled. It returns its error.
///
/// # Safety
/// The arguments are the caller's, and `own` is the address of the function that has `next`.
unsafe fn read_into(
    next: &Next,
    own: usize,
    directory: Directory,
    entry: *mut Entry,
    result: *mut *mut Entry,
) -> i32 {
    type Function = unsafe extern "C" fn(Directory, *mut Entry, *mut *mut Entry) -> i32;
    const ENOSYS: i32 = 38;
    let before = libc::errno();
    libc::set_errno(0);
    // SAFETY: by this function's contract.
    unsafe {
        let found = shuffled(directory);
        let error = libc::errno();
        libc::set_errno(before);
        match (found, next.address(own)) {
            (Some(found), _) if found.is_null() => {
                *result = found;
                error
            }
            (Some(found), _) => {
                let length = usize::from((*found).length);
                core::ptr::copy_nonoverlapping(found.cast::<u8>(), entry.cast(), length);
                *result = entry;
                0
            }
            (None, Some(next)) => {
                let next: Function = transmute(next);
                next(directory, entry, result)
            }
            (None, None) => ENOSYS,
        }
    }
}

/// readdir_r(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readdir_r(
    directory: Directory,
    entry: *mut Entry,
    result: *mut *mut Entry,
) -> i32 {
    static NEXT: Next = Next::new(c"readdir_r");
    // SAFETY: the caller's arguments.
    unsafe { read_into(&NEXT, readdir_r as *const () as usize, directory, entry, result) }
}

/// readdir_r(3) where files have 64 bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readdir64_r(
    directory: Directory,
    entry: *mut Entry,
    result: *mut *mut Entry,
) -> i32 {
    static NEXT: Next = Next::new(c"readdir64_r");
    // SAFETY: the caller's arguments.
    unsafe { read_into(&NEXT, readdir64_r as *const () as usize, directory, entry, result) }
}

/// rewinddir(3): the directory is read anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rewinddir(directory: Directory) {
    static NEXT: Next = Next::new(c"rewinddir");
    OPEN.forget(directory);
    // SAFETY: the caller's argument.
    unsafe { call::<()>(&NEXT, rewinddir as *const () as usize, directory) };
}

/// closedir(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn closedir(directory: Directory) -> i32 {
    static NEXT: Next = Next::new(c"closedir");
    OPEN.forget(directory);
    // SAFETY: the caller's argument.
    unsafe { call(&NEXT, closedir as *const () as usize, directory) }.unwrap_or(-1)
}

/// telldir(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn telldir(directory: Directory) -> isize {
    static NEXT: Next = Next::new(c"telldir");
    let position = OPEN.with(directory, |place| {
        place.and_then(|place| place.as_ref().map(|(_, entries)| entries.position()))
    });
    match position {
        Some(position) => position as isize,
        // SAFETY: the caller's argument.
        None => unsafe { call(&NEXT, telldir as *const () as usize, directory) }.unwrap_or(-1),
    }
}

/// seekdir(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seekdir(directory: Directory, position: isize) {
    static NEXT: Next = Next::new(c"seekdir");
    let is_ours = OPEN.with(directory, |place| match place {
        Some(Some((_, entries))) => {
            entries.seek(position as usize);
            true
        }
        Some(None) | None => false,
    });
    if is_ours {
        return;
    }
    if let Some(next) = NEXT.address(seekdir as *const () as usize) {
        // SAFETY: the C library's function has this type, and the arguments are the caller's.
        unsafe {
            let next: unsafe extern "C" fn(Directory, isize) = transmute(next);
            next(directory, position);
        }
    }
}
