//! A lock that is held for a short time. What a thread of another process held when this one was
//! forked is free.

use core::sync::atomic::{AtomicU64, Ordering};

use super::kernel;
use super::number;

/// The lock: the id of the process that holds it, or 0.
pub struct Lock(AtomicU64);

/// The lock, held.
pub struct Held<'a>(&'a Lock);

impl Lock {
    pub const fn new() -> Lock {
        Lock(AtomicU64::new(0))
    }

    /// Waits for the lock.
    pub fn hold(&self) -> Held<'_> {
        let process = kernel::plain(number::GETPID, [0; 5]).unwrap_or(1) as u64;
        loop {
            let holder = self.0.load(Ordering::Relaxed);
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            // Another thread of this process holds it, unless the holder is another process.
            if holder != process
                && self.0.compare_exchange_weak(holder, process, success, failure).is_ok()
            {
                return Held(self);
            }
            core::hint::spin_loop();
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Release);
    }
}
