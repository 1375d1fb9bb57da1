//! The settings of this process, read once from a file of the case.
//!
//! A fork server has none: in its sandbox the file is empty. Its cases read theirs when they are
//! initialised.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::kernel::{self, number};
use super::settings::{LENGTH, Settings};

/// Place of the file in every case; `plan::SETTINGS_PATH` is the same.
const PATH: &CStr = c"/etc/isotest/case";
const WORDS: usize = LENGTH / size_of::<u64>();

/// The file, once it was read.
static FILE: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static IS_READ: AtomicU32 = AtomicU32::new(0);

/// Reads the file. Errors leave the settings as they are: the warden executes no program that
/// has no such file.
pub fn load() {
    let Some(bytes) = read_file() else { return };
    if Settings::read(&bytes).is_none() {
        return;
    }
    for (word, part) in FILE.iter().zip(bytes.chunks_exact(size_of::<u64>())) {
        let mut value = [0; size_of::<u64>()];
        value.copy_from_slice(part);
        word.store(u64::from_le_bytes(value), Ordering::Relaxed);
    }
    IS_READ.store(1, Ordering::Release);
}

/// The settings. Initialisers of libraries may ask before this one's has run.
pub fn settings() -> Settings {
    if IS_READ.load(Ordering::Acquire) == 0 {
        load();
    }
    let mut bytes = [0; LENGTH];
    for (word, place) in FILE.iter().zip(bytes.chunks_exact_mut(size_of::<u64>())) {
        place.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    Settings::read(&bytes).unwrap_or_default()
}

fn read_file() -> Option<[u8; LENGTH]> {
    const AT_FDCWD: usize = -100_isize as usize;
    const O_CLOEXEC: usize = 0o2_000_000;
    let mut bytes = [0; LENGTH];
    let (path, buffer) = (PATH.as_ptr() as usize, (&raw mut bytes) as usize);
    // SAFETY: the path is a C string, and the buffer has the given length.
    unsafe {
        let file = kernel::call(number::OPENAT, [AT_FDCWD, path, O_CLOEXEC, 0, 0, 0]).ok()?;
        let length = kernel::call(number::READ, [file, buffer, LENGTH, 0, 0, 0]);
        let _ = kernel::plain(number::CLOSE, [file, 0, 0, 0, 0]);
        (length == Ok(LENGTH)).then_some(bytes)
    }
}
