//! Waits until a time of the wall clock: condition variables, semaphores, mutexes.
//!
//! The C library is given the time at which the kernel's clock shows the same.

use core::ffi::c_void;
use core::mem::transmute;

use super::clocks::{REALTIME, deadline_of_kernel, is_wall_clock};
use super::kernel::EINVAL;
use super::libc::TimeSpec;
use super::lock::Lock;
use super::next::Next;

/// errno.h: the function is not there.
const ENOSYS: i32 = 38;

/// The deadline for the C library.
///
/// # Safety
/// `deadline` is null or valid.
unsafe fn translated(clock: i32, deadline: *const TimeSpec) -> Option<TimeSpec> {
    // SAFETY: by this function's contract.
    let deadline = unsafe { deadline.as_ref() }?;
    Some(if is_wall_clock(clock) { deadline_of_kernel(*deadline) } else { *deadline })
}

/// Defines functions of one object and a deadline of the wall clock.
macro_rules! until {
    ($($name:ident $text:literal $failure:expr;)*) => { $(
        #[doc = concat!($text, "(3).")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(object: *mut c_void, deadline: *const TimeSpec) -> i32 {
            type Function = unsafe extern "C" fn(*mut c_void, *const TimeSpec) -> i32;
            static NEXT: Next = Next::new(match core::ffi::CStr::from_bytes_with_nul(
                concat!($text, "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => c"",
            });
            let Some(next) = NEXT.address($name as *const () as usize) else { return $failure };
            // SAFETY: the C library's function has this type, and the arguments are the caller's.
            unsafe {
                let next: Function = transmute(next);
                match translated(REALTIME, deadline) {
                    Some(deadline) => next(object, &raw const deadline),
                    None => next(object, deadline),
                }
            }
        }
    )* };
}

/// Defines functions of one object, a clock and a deadline of it.
macro_rules! until_of_clock {
    ($($name:ident $text:literal $failure:expr;)*) => { $(
        #[doc = concat!($text, "(3).")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            object: *mut c_void,
            clock: i32,
            deadline: *const TimeSpec,
        ) -> i32 {
            type Function = unsafe extern "C" fn(*mut c_void, i32, *const TimeSpec) -> i32;
            static NEXT: Next = Next::new(match core::ffi::CStr::from_bytes_with_nul(
                concat!($text, "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => c"",
            });
            let Some(next) = NEXT.address($name as *const () as usize) else { return $failure };
            // SAFETY: as above.
            unsafe {
                let next: Function = transmute(next);
                match translated(clock, deadline) {
                    Some(deadline) => next(object, clock, &raw const deadline),
                    None => next(object, clock, deadline),
                }
            }
        }
    )* };
}

until! {
    sem_timedwait "sem_timedwait" -1;
    pthread_mutex_timedlock "pthread_mutex_timedlock" ENOSYS;
    pthread_rwlock_timedrdlock "pthread_rwlock_timedrdlock" ENOSYS;
    pthread_rwlock_timedwrlock "pthread_rwlock_timedwrlock" ENOSYS;
}

until_of_clock! {
    sem_clockwait "sem_clockwait" -1;
    pthread_mutex_clocklock "pthread_mutex_clocklock" ENOSYS;
    pthread_rwlock_clockrdlock "pthread_rwlock_clockrdlock" ENOSYS;
    pthread_rwlock_clockwrlock "pthread_rwlock_clockwrlock" ENOSYS;
}

/// Condition variables of another clock than the wall clock, by address. A program that has more at
/// once waits for some of them until a time of the wall clock.
static OTHERS: Others = Others { lock: Lock::new(), list: [const { AtomicUsize::new(0) }; 4096] };

use core::sync::atomic::{AtomicUsize, Ordering};

struct Others {
    lock: Lock,
    list: [AtomicUsize; 4096],
}

impl Others {
    fn has(&self, address: usize) -> bool {
        self.list.iter().any(|place| place.load(Ordering::Acquire) == address)
    }

    /// Notes whether a condition variable has another clock.
    fn note(&self, address: usize, is_other: bool) {
        let _held = self.lock.hold();
        let (from, to) = if is_other { (0, address) } else { (address, 0) };
        if is_other && self.has(address) {
            return;
        }
        let place = self.list.iter().find(|place| place.load(Ordering::Relaxed) == from);
        if let Some(place) = place {
            place.store(to, Ordering::Release);
        }
    }
}

/// pthread_cond_init(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_init(object: *mut c_void, attributes: *const c_void) -> i32 {
    static NEXT: Next = Next::new(c"pthread_cond_init");
    static CLOCK: Next = Next::new(c"pthread_condattr_getclock");
    let Some(next) = NEXT.address(pthread_cond_init as *const () as usize) else { return ENOSYS };
    let mut clock = REALTIME;
    // SAFETY: the C library's functions have these types, and the arguments are the caller's.
    unsafe {
        if let Some(getclock) = CLOCK.address(0).filter(|_| !attributes.is_null()) {
            let getclock: unsafe extern "C" fn(*const c_void, *mut i32) -> i32 =
                transmute(getclock);
            getclock(attributes, &raw mut clock);
        }
        let next: unsafe extern "C" fn(*mut c_void, *const c_void) -> i32 = transmute(next);
        let made = next(object, attributes);
        if made == 0 {
            OTHERS.note(object as usize, !is_wall_clock(clock));
        }
        made
    }
}

/// pthread_cond_destroy(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_destroy(object: *mut c_void) -> i32 {
    static NEXT: Next = Next::new(c"pthread_cond_destroy");
    let own = pthread_cond_destroy as *const () as usize;
    let Some(next) = NEXT.address(own) else { return ENOSYS };
    OTHERS.note(object as usize, false);
    // SAFETY: the C library's function has this type, and the argument is the caller's.
    unsafe {
        let next: unsafe extern "C" fn(*mut c_void) -> i32 = transmute(next);
        next(object)
    }
}

/// pthread_cond_timedwait(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_timedwait(
    object: *mut c_void,
    mutex: *mut c_void,
    deadline: *const TimeSpec,
) -> i32 {
    type Function = unsafe extern "C" fn(*mut c_void, *mut c_void, *const TimeSpec) -> i32;
    static NEXT: Next = Next::new(c"pthread_cond_timedwait");
    let own = pthread_cond_timedwait as *const () as usize;
    let Some(next) = NEXT.address(own) else { return ENOSYS };
    // SAFETY: the C library's function has this type, and the arguments are the caller's.
    unsafe {
        let next: Function = transmute(next);
        if OTHERS.has(object as usize) {
            return next(object, mutex, deadline);
        }
        match translated(REALTIME, deadline) {
            Some(deadline) => next(object, mutex, &raw const deadline),
            None => EINVAL.0,
        }
    }
}

/// pthread_cond_clockwait(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_clockwait(
    object: *mut c_void,
    mutex: *mut c_void,
    clock: i32,
    deadline: *const TimeSpec,
) -> i32 {
    type Function = unsafe extern "C" fn(*mut c_void, *mut c_void, i32, *const TimeSpec) -> i32;
    static NEXT: Next = Next::new(c"pthread_cond_clockwait");
    let own = pthread_cond_clockwait as *const () as usize;
    let Some(next) = NEXT.address(own) else { return ENOSYS };
    // SAFETY: as above.
    unsafe {
        let next: Function = transmute(next);
        match translated(clock, deadline) {
            Some(deadline) => next(object, mutex, clock, &raw const deadline),
            None => EINVAL.0,
        }
    }
}
