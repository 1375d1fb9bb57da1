//! Captured output: a pipe, what is read of it, and the part of a stream that is kept.

use std::io;
use std::os::fd::OwnedFd;

use memchr::memmem;
use nix::errno::Errno;

use crate::serialized;

/// Output of a case on one stream: all of it, or its first and last part.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Captured {
    /// The first part; all of it where nothing was cut.
    #[serde(with = "serialized::bytes")]
    pub head: Vec<u8>,
    /// Bytes between `head` and `tail` that were thrown away.
    pub cut: u64,
    /// The last part; empty where nothing was cut.
    #[serde(with = "serialized::bytes")]
    pub tail: Vec<u8>,
}

impl Captured {
    /// The text as a reader sees it: a line in the middle says how much was cut.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut all = self.head.clone();
        if self.cut > 0 {
            all.extend_from_slice(
                format!("\n[isotest: {} bytes of output cut here]\n", self.cut).as_bytes(),
            );
            all.extend_from_slice(&self.tail);
        }
        all
    }

    /// True if these words stand in what was kept.
    pub fn contains(&self, words: &str) -> bool {
        let is_in = |part: &[u8]| memmem::find(part, words.as_bytes()).is_some();
        is_in(&self.head) || is_in(&self.tail)
    }

    /// Number of bytes that are kept.
    pub fn kept(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Keeps no more than `most` bytes, half of them from the start.
    pub fn shorten(&mut self, most: usize) {
        let (kept, half) = (self.kept(), most / 2);
        if kept <= most {
            return;
        }
        let last = if self.cut == 0 { &self.head } else { &self.tail };
        self.tail = last.get(last.len().saturating_sub(half)..).unwrap_or_default().to_vec();
        self.head.truncate(half);
        self.head.shrink_to_fit();
        self.cut += (kept - self.kept()) as u64;
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}

/// Keeps the first and the last part of a stream.
#[derive(Debug, Default)]
pub struct Capture {
    half: usize,
    head: Vec<u8>,
    tail: Vec<u8>,
    seen: u64,
}

impl Capture {
    /// Keeps `limit` bytes at the most, half of them from the start.
    pub fn new(limit: u64) -> Capture {
        let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
        Capture { half, ..Capture::default() }
    }

    /// Takes more of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        let room = self.half - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend_from_slice(rest);
        // Twice the half before it is shortened: each byte is moved once at the most.
        if self.tail.len() >= self.half.saturating_mul(2) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        self.tail.drain(..self.tail.len().saturating_sub(self.half));
    }

    /// The last `most` bytes so far, or fewer.
    pub fn last(&self, most: usize) -> Vec<u8> {
        let part = |bytes: &[u8], most: usize| {
            bytes.get(bytes.len().saturating_sub(most)..).unwrap_or_default().to_vec()
        };
        let tail = part(&self.tail, most);
        let is_whole = self.seen == (self.head.len() + self.tail.len()) as u64;
        let head = if is_whole { part(&self.head, most - tail.len()) } else { Vec::new() };
        [head, tail].concat()
    }

    /// The part that was kept.
    pub fn finish(mut self) -> Captured {
        self.shorten();
        let kept = (self.head.len() + self.tail.len()) as u64;
        let cut = self.seen - kept;
        if cut == 0 {
            self.head.append(&mut self.tail);
        }
        self.tail.shrink_to_fit();
        Captured { head: self.head, cut, tail: self.tail }
    }
}

/// Capacity of one pipe: the default of `/proc/sys/fs/pipe-max-size` (pipe(7)). All that a dead
/// writer has left is read.
const PIPE: usize = 1 << 20;

/// Reads what is there now, 1 MiB or little more. Returns whether the stream has ended.
pub fn drain(pipe: &OwnedFd, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> bool {
    let mut taken = 0;
    while taken < PIPE {
        match nix::unistd::read(pipe, buffer) {
            Ok(0) => return true,
            Ok(length) => {
                taken += length;
                take(buffer.get(..length).unwrap_or_default());
            }
            Err(Errno::EAGAIN) => return false,
            Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
    false
}

/// A pipe whose reading end does not block, both close-on-exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_its_first_and_its_last_part() {
        let mut capture = Capture::new(8);
        for byte in b"abcdefghijklmnopqrstuvwxyz" {
            capture.push(&[*byte]);
        }
        assert_eq!(capture.last(3), b"xyz");
        let captured = capture.finish();
        assert_eq!((captured.head.as_slice(), captured.cut), (&b"abcd"[..], 18));
        assert_eq!(captured.tail, b"wxyz");
    }

    #[test]
    fn what_is_kept_can_be_shortened_later() {
        let captured = |head: &[u8], cut, tail: &[u8]| Captured {
            head: head.to_vec(),
            cut,
            tail: tail.to_vec(),
        };
        let table = [
            (captured(b"abcdefgh", 0, b""), captured(b"ab", 4, b"gh")),
            (captured(b"abc", 5, b"xyz"), captured(b"ab", 7, b"yz")),
            (captured(b"abcdef", 5, b"z"), captured(b"ab", 9, b"z")),
            (captured(b"abcd", 0, b""), captured(b"abcd", 0, b"")),
        ];
        for (mut long, short) in table {
            long.shorten(4);
            assert_eq!(long, short);
        }
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let mut capture = Capture::new(8);
        capture.push(b"abcdef");
        assert_eq!((capture.last(4), capture.last(9)), (b"cdef".to_vec(), b"abcdef".to_vec()));
        let captured = capture.finish();
        assert_eq!((captured.head.as_slice(), captured.cut), (&b"abcdef"[..], 0));
    }
}
