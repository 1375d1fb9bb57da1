//! Random bytes: getrandom(2), getentropy(3), arc4random(3).
//!
//! They follow from the seed, the process, the thread, and the number of the thread's call. Process
//! and thread are told by how far their ids are from the test's and from the process's, which are the
//! same in each run of a test that makes its threads in one order.

use core::sync::atomic::{AtomicU64, Ordering};

use super::kernel::{self, EIO};
use super::libc;
use super::number;
use super::settings::Settings;
use super::state::settings;

/// Calls of each thread. Threads whose ids are a multiple of this apart count together.
static CALLS: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];
/// The process that has counted them: a child of fork(2) begins anew.
static COUNTED_BY: AtomicU64 = AtomicU64::new(0);

/// SplitMix64: the next state, and its number.
pub fn mixed(state: u64) -> u64 {
    let mut word = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The seed of the next call.
fn next_seed(settings: &Settings) -> u64 {
    let id = |number| kernel::plain(number, [0; 5]).unwrap_or(0) as u64;
    let (process, thread) = (id(number::GETPID), id(number::GETTID));
    if COUNTED_BY.swap(process, Ordering::Relaxed) != process {
        CALLS.iter().for_each(|calls| calls.store(0, Ordering::Relaxed));
    }
    let own = CALLS.get(thread as usize % CALLS.len());
    let call = own.map_or(0, |calls| calls.fetch_add(1, Ordering::Relaxed));
    let process_from_first = process.wrapping_sub(u64::from(settings.first_process));
    [process_from_first, thread.wrapping_sub(process), call]
        .into_iter()
        .fold(mixed(settings.seed), |seed, part| mixed(seed ^ part))
}

/// Fills memory with the bytes of the next call.
///
/// # Safety
/// `buffer` is valid for `length` bytes.
unsafe fn fill(settings: &Settings, buffer: *mut u8, length: usize) {
    let mut state = next_seed(settings);
    let mut done = 0;
    while done < length {
        state = mixed(state);
        for byte in state.to_le_bytes().into_iter().take(length - done) {
            // SAFETY: by this function's contract.
            unsafe { *buffer.add(done) = byte };
            done += 1;
        }
    }
}

/// Random bytes of the kernel.
fn of_kernel(buffer: *mut u8, length: usize, flags: u32) -> Result<usize, kernel::Errno> {
    let arguments = [buffer as usize, length, flags as usize, 0, 0, 0];
    // SAFETY: the kernel refuses a buffer that is not the caller's.
    unsafe { kernel::call(number::GETRANDOM, arguments) }
}

/// getrandom(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    let settings = settings();
    // The kernel knows what flags there are, and what memory.
    let asked = if settings.seeded_entropy { length.min(1) } else { length };
    let done = of_kernel(buffer, asked, flags);
    if !settings.seeded_entropy || done.is_err() {
        return libc::result(done);
    }
    let length = length.min(isize::MAX as usize);
    // SAFETY: the caller's buffer.
    unsafe { fill(&settings, buffer, length) };
    length as isize
}

/// getentropy(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getentropy(buffer: *mut u8, length: usize) -> i32 {
    const MOST: usize = 256;
    if length > MOST {
        return libc::fail(EIO) as i32;
    }
    // SAFETY: the caller's buffer.
    match unsafe { getrandom(buffer, length, 0) } {
        done if done == length as isize => 0,
        -1 => -1,
        _ => libc::fail(EIO) as i32,
    }
}

/// arc4random(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn arc4random() -> u32 {
    let mut bytes = [0; 4];
    // SAFETY: the buffer is this frame's.
    unsafe { getrandom(bytes.as_mut_ptr(), bytes.len(), 0) };
    u32::from_le_bytes(bytes)
}

/// arc4random_buf(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn arc4random_buf(buffer: *mut u8, length: usize) {
    let mut done = 0;
    while done < length {
        // SAFETY: the caller's buffer. The kernel may give less than it is asked for.
        match unsafe { getrandom(buffer.add(done), length - done, 0) } {
            count @ 1.. => done += count as usize,
            _ => continue,
        }
    }
}

/// arc4random_uniform(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn arc4random_uniform(bound: u32) -> u32 {
    if bound < 2 {
        return 0;
    }
    // Numbers below this one would make some results likelier.
    let least = bound.wrapping_neg() % bound;
    loop {
        // SAFETY: it may be called at any time.
        let number = unsafe { arc4random() };
        if number >= least {
            return number % bound;
        }
    }
}
