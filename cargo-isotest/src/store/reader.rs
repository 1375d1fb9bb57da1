//! The file of a run as it is read: to its end, or to where it was cut off.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::path::{Path, PathBuf};

use crate::report::{
    FORMAT_VERSION, Fact, Input, Line, Listing, MAX_LINE, Message, Results, Start, Started, Suite,
};
use crate::store::error::StoreError;

/// Maximum bytes of all lines.
const TEXT: u64 = 1 << 32;

/// Maximum number of values in a line, which bounds the memory that it takes when it is parsed.
const VALUES: usize = 1 << 21;

/// Lines of a recorded run. It ends where the file does, or cannot be read any further
/// ([`trouble`](Lines::trouble)).
pub struct Lines<L> {
    path: PathBuf,
    text: BufReader<Take<zstd::Decoder<'static, BufReader<File>>>>,
    /// Reads one line.
    parse: fn(&[u8]) -> serde_json::Result<L>,
    /// Number of lines read so far.
    read: usize,
    trouble: Option<StoreError>,
}

impl Lines<Line> {
    /// All that is in a file that goes by `path`. Only the isotest that has written it reads it.
    fn exact(file: File, path: &Path) -> Result<Lines<Line>, StoreError> {
        Lines::open(file, path, |line| serde_json::from_slice(line))
    }
}

impl Lines<(f64, Fact)> {
    /// The results in a file that goes by `path`, of whichever version of isotest. Returns its first
    /// line, too.
    pub fn facts(file: File, path: &Path) -> Result<(Started, Lines<(f64, Fact)>), StoreError> {
        let mut lines = Lines::open(file, path, Fact::read)?;
        match lines.next() {
            Some((_, Fact::Started(started))) if started.format_version > FORMAT_VERSION => {
                Err(StoreError::Newer(path.to_owned(), started.format_version))
            }
            Some((_, Fact::Started(started))) => Ok((started, lines)),
            _ => Err(StoreError::NotARun(path.to_owned())),
        }
    }
}

impl<L> Lines<L> {
    fn open(
        file: File,
        path: &Path,
        parse: fn(&[u8]) -> serde_json::Result<L>,
    ) -> Result<Lines<L>, StoreError> {
        let read = |error| StoreError::Read(path.to_owned(), error);
        let mut file = BufReader::new(file);
        // The magic number of a zstd frame (RFC 8878).
        if !file.fill_buf().map_err(read)?.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            return Err(StoreError::NotARun(path.to_owned()));
        }
        let text = BufReader::new(zstd::Decoder::with_buffer(file).map_err(read)?.take(TEXT));
        Ok(Lines { path: path.to_owned(), text, parse, read: 0, trouble: None })
    }

    /// The error at which reading stopped. A file that is cut off is no error: its run was
    /// killed, or goes on.
    pub fn trouble(&mut self) -> Option<StoreError> {
        self.trouble.take()
    }

    /// The next line as it is in the file; none where the file ends.
    fn text(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        match self.text.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => Ok(Some(line)),
            Ok(length) if length as u64 == MAX_LINE => {
                Err(io::Error::other(format!("a line has more than {MAX_LINE} bytes")))
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

impl<L> Iterator for Lines<L> {
    type Item = L;

    fn next(&mut self) -> Option<L> {
        if self.trouble.is_some() {
            return None;
        }
        let line = self.text().and_then(|line| match line {
            Some(line) if values(&line) > VALUES => {
                Err(io::Error::other(format!("a line has more than {VALUES} values")))
            }
            Some(line) => Ok(Some((self.parse)(&line)?)),
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

/// At least the number of values in a line of JSON: what stands between commas, colons and brackets
/// outside of strings.
fn values(line: &[u8]) -> usize {
    let (mut count, mut rest) = (0, line);
    while let Some(quote) = memchr::memchr(b'"', rest) {
        count += separators(&rest[..quote]);
        rest = &rest[quote + 1..];
        // The end of the string.
        while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
            let is_end = rest[at] == b'"';
            rest = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
            if is_end {
                break;
            }
        }
    }
    count + separators(rest)
}

fn separators(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count()
}

/// The results in a file that goes by `path`, as far as it can be read.
pub fn results(file: File, path: &Path) -> Result<Results, StoreError> {
    let bytes = file.metadata().map_err(|error| StoreError::Read(path.to_owned(), error))?.len();
    let (started, mut lines) = Lines::facts(file, path)?;
    let run = started.run.clone().unwrap_or_default();
    let mut results = Results::new(Listing::new(run, bytes));
    let first = [(0.0, Fact::Started(started))];
    let mut too_long = None;
    for (at, fact) in first.into_iter().chain(&mut lines) {
        if let Err(error) = results.take(at, fact) {
            too_long = Some(error);
            break;
        }
    }
    let too_long = too_long.map(|error| lines.damaged(&error));
    match too_long.or_else(|| lines.trouble()) {
        Some(trouble) => Err(trouble),
        None => Ok(results),
    }
}

/// A recorded run whose binaries were read.
pub struct Recorded {
    /// Facts about its start.
    pub start: Start,
    /// Its binaries.
    pub suites: Vec<Suite>,
    /// Lines that follow.
    pub lines: Lines<Line>,
}

impl Recorded {
    /// Reads the beginning of a file, so that the run can be printed again.
    pub fn open(file: File, path: &Path) -> Result<Recorded, StoreError> {
        let check = file.try_clone().map_err(|error| StoreError::Read(path.to_owned(), error))?;
        Lines::facts(check, path)?;
        let mut lines = Lines::exact(rewound(file, path)?, path)?;
        let other = |lines: &mut Lines<Line>| {
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

/// The file, to be read from its start again.
fn rewound(mut file: File, path: &Path) -> Result<File, StoreError> {
    match io::Seek::rewind(&mut file) {
        Ok(()) => Ok(file),
        Err(error) => Err(StoreError::Read(path.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        assert_eq!(values(br#"{"a,":[1,2],"b":"[\",\\"}"#), 6);
        assert_eq!(values(br#"["ends in a backslash\"#), 1);
        assert_eq!(values(b"[[[]]]"), 3);
    }
}
