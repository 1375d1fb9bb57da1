//! Streams of bytes on their way to the unpacker: decompressed, digested, metered.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use lzma_rust2::XzReader;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of what has been read.
pub type Sum = Rc<Cell<Option<String>>>;

/// Undoes the compression that the first bytes tell of; none of them is a tar archive's.
pub fn decompressed<R: Read + 'static>(stream: R) -> io::Result<Box<dyn Read>> {
    let mut stream = BufReader::new(stream);
    let start = stream.fill_buf()?;
    let is = |magic: &[u8]| start.starts_with(magic);
    Ok(if is(b"\x1f\x8b") {
        Box::new(flate2::bufread::MultiGzDecoder::new(stream))
    } else if is(b"\x28\xb5\x2f\xfd") {
        Box::new(zstd::Decoder::with_buffer(stream)?)
    } else if is(b"\xfd7zXZ\0") {
        Box::new(XzReader::new(stream, true))
    } else {
        Box::new(stream)
    })
}

/// A stream with the SHA-256 of all that is read from it, to be asked for at its end.
pub struct HashingReader<R> {
    inner: R,
    state: Sha256,
    sum: Sum,
}

impl<R: Read> HashingReader<R> {
    /// Begins; the sum is there once the stream has ended.
    pub fn new(inner: R) -> (HashingReader<R>, Sum) {
        let sum = Sum::default();
        (HashingReader { inner, state: Sha256::new(), sum: Rc::clone(&sum) }, sum)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.state.update(buffer.get(..length).unwrap_or_default());
        if length == 0 && !buffer.is_empty() {
            self.sum.set(Some(hex(&self.state.clone().finalize())));
        }
        Ok(length)
    }
}

/// The SHA-256 of a file, as hexadecimal digits.
pub fn sum_of(file: File) -> io::Result<String> {
    let (mut stream, sum) = HashingReader::new(file);
    io::copy(&mut stream, &mut io::sink())?;
    Ok(sum.take().expect("the stream has ended"))
}

/// The SHA-256 of a text.
pub fn sum_of_text(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stream that ends in an error where more is read than was allowed.
pub struct LimitedReader<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R> LimitedReader<R> {
    /// Begins with nothing allowed; the cell says how much more is.
    pub fn new(inner: R) -> (LimitedReader<R>, Rc<Cell<u64>>) {
        let left = Rc::new(Cell::new(0));
        (LimitedReader { inner, left: Rc::clone(&left) }, left)
    }
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        match self.left.get().checked_sub(length as u64) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other("its headers are longer than 1 MiB")),
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[track_caller]
    fn check(compressed: Vec<u8>) {
        let mut text = String::new();
        let mut stream = decompressed(io::Cursor::new(compressed)).unwrap();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "some text");
    }

    #[test]
    fn every_compression_is_undone() {
        let text = b"some text";
        check(text.to_vec());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        check(gzip.finish().unwrap());
        check(zstd::encode_all(&text[..], 1).unwrap());
        let mut xz =
            lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).unwrap();
        xz.write_all(text).unwrap();
        check(xz.finish().unwrap());
    }

    /// As pigz and pzstd write them.
    #[test]
    fn compressed_parts_are_put_together() {
        let parts = ["some", " text"].map(|part| zstd::encode_all(part.as_bytes(), 1).unwrap());
        check(parts.concat());
    }

    #[test]
    fn a_sum_is_there_at_the_end() {
        let (mut stream, sum) = HashingReader::new(&b"abc"[..]);
        io::copy(&mut stream, &mut io::sink()).unwrap();
        assert_eq!(sum.take(), Some(sum_of_text(b"abc")));
        assert_eq!(
            sum_of_text(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
