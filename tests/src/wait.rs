//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a busy machine; nothing that works takes as long.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Looks again and again until there is something, and fails where that takes longer than
/// [`LIMIT`]. `what` completes "waited in vain for".
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(LIMIT, what, look)
}

/// The same with another limit.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
