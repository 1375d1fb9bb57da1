//! The file of a run while it is written.

use std::fs::File;
use std::io::{self, Write};

use zstd::stream::AutoFinishEncoder;

/// Compression level: the time counts, not the last percent of size.
const LEVEL: i32 = 1;

/// Compresses what is written. A flush writes all of it to the file; the end of the frame is
/// written when this is dropped. The file is locked (flock(2)) until then.
pub struct Writer {
    encoder: AutoFinishEncoder<'static, File>,
    /// Something was written since the last flush.
    is_dirty: bool,
}

impl Writer {
    /// Writes to a new file.
    pub fn new(file: File) -> io::Result<Writer> {
        file.try_lock()?;
        let encoder = zstd::Encoder::new(file, LEVEL)?.auto_finish();
        Ok(Writer { encoder, is_dirty: false })
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_dirty = true;
        self.encoder.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.is_dirty) {
            true => self.encoder.flush(),
            false => Ok(()),
        }
    }
}
