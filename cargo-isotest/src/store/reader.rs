//! The file of a run as it is read: to its end, or to where it was cut off.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::report::{FORMAT_VERSION, Input, Line, Message, Start, Suite};
use crate::store::error::StoreError;

/// Maximum bytes of a line.
const LINE: u64 = 1 << 26;

/// Maximum bytes of all lines.
const TEXT: u64 = 1 << 32;

/// Lines of a recorded run, each with its input as `I`. It ends where the file does, or cannot be
/// read any further ([`trouble`](Lines::trouble)).
pub struct Lines<I> {
    path: PathBuf,
    text: BufReader<Take<zstd::Decoder<'static, BufReader<File>>>>,
    /// Number of lines read so far.
    read: usize,
    trouble: Option<StoreError>,
    input: PhantomData<I>,
}

impl<I: DeserializeOwned> Lines<I> {
    /// Reads a file that goes by `path`.
    pub fn open(file: File, path: &Path) -> Result<Lines<I>, StoreError> {
        let read = |error| StoreError::Read(path.to_owned(), error);
        let mut file = BufReader::new(file);
        // The magic number of a zstd frame (RFC 8878).
        if !file.fill_buf().map_err(read)?.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            return Err(StoreError::NotARun(path.to_owned()));
        }
        let text = BufReader::new(zstd::Decoder::with_buffer(file).map_err(read)?.take(TEXT));
        Ok(Lines { path: path.to_owned(), text, read: 0, trouble: None, input: PhantomData })
    }

    /// The error at which reading stopped. A file that is cut off is no error: its run was
    /// killed, or goes on.
    pub fn trouble(&mut self) -> Option<StoreError> {
        self.trouble.take()
    }

    /// The next line as it is in the file; none where the file ends.
    fn text(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        match self.text.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => Ok(Some(line)),
            Ok(length) if length as u64 == LINE => {
                Err(io::Error::other(format!("a line has more than {LINE} bytes")))
            }
            Ok(_) if self.text.get_ref().limit() == 0 => {
                Err(io::Error::other(format!("it has more than {TEXT} bytes")))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The error of a line that cannot be used.
    pub fn damaged(&self, why: &dyn std::fmt::Display) -> StoreError {
        StoreError::Damaged(self.path.clone(), self.read, why.to_string())
    }
}

impl<I: DeserializeOwned> Iterator for Lines<I> {
    type Item = Line<I>;

    fn next(&mut self) -> Option<Line<I>> {
        if self.trouble.is_some() {
            return None;
        }
        let line = self.text().and_then(|line| match line {
            Some(line) => Ok(Some(serde_json::from_slice(&line)?)),
            None => Ok(None),
        });
        match line {
            Ok(line) => {
                self.read += 1;
                line
            }
            Err(error) => {
                self.trouble = Some(self.damaged(&error));
                None
            }
        }
    }
}

/// A recorded run whose binaries were read.
pub struct Recorded {
    /// Facts about its start.
    pub start: Start,
    /// Its binaries.
    pub suites: Vec<Suite>,
    /// Lines that follow.
    pub lines: Lines<Input>,
}

impl Recorded {
    /// Reads the beginning of a file, so that the run can be printed again.
    pub fn open(file: File, path: &Path) -> Result<Recorded, StoreError> {
        let check = file.try_clone().map_err(|error| StoreError::Read(path.to_owned(), error))?;
        first(check, path)?;
        let mut lines = Lines::<Input>::open(rewound(file, path)?, path)?;
        let other = |lines: &mut Lines<Input>| {
            let why = "another version of isotest has written it";
            lines.trouble().unwrap_or_else(|| lines.damaged(&why))
        };
        let (start, binaries) = match lines.next() {
            Some(Line {
                message: Message::RunStarted { binaries, .. },
                exact: Input::Start(start),
                ..
            }) => (start, binaries),
            _ => return Err(other(&mut lines)),
        };
        let mut suites = Vec::new();
        for _ in 0..binaries {
            match lines.next() {
                Some(Line { exact: Input::Suite(suite), .. }) if suite.is_printable() => {
                    suites.push(*suite);
                }
                _ => return Err(other(&mut lines)),
            }
        }
        Ok(Recorded { start, suites, lines })
    }
}

/// The first message of a file, of whichever version of isotest.
pub fn first(file: File, path: &Path) -> Result<Message, StoreError> {
    let mut lines = Lines::<IgnoredAny>::open(file, path)?;
    match lines.next() {
        Some(Line { message: Message::RunStarted { format_version, .. }, .. })
            if format_version > FORMAT_VERSION =>
        {
            Err(StoreError::Newer(path.to_owned(), format_version))
        }
        Some(Line { message: message @ Message::RunStarted { .. }, .. }) => Ok(message),
        _ => Err(StoreError::NotARun(path.to_owned())),
    }
}

/// The file, to be read from its start again.
fn rewound(mut file: File, path: &Path) -> Result<File, StoreError> {
    match io::Seek::rewind(&mut file) {
        Ok(()) => Ok(file),
        Err(error) => Err(StoreError::Read(path.to_owned(), error)),
    }
}
