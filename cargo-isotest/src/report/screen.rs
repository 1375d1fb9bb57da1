//! Output of the process: stdout, stderr, and the progress bar that must not tear them.
//!
//! Text is gathered in the order in which it was printed and written when the run pauses, so that a
//! thousand short tests do not redraw the bar a thousand times. While there is a bar, only whole
//! lines are written: a bar drawn behind half a line would wipe it out.

use std::io::{self, Write};

use isotest_core::schedule::Stream;

use super::progress::Progress;

/// Maximum bytes of text that is gathered.
const FULL: usize = 64 * 1024;

/// Both streams, as one sequence of texts.
pub struct Screen {
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    pending: Vec<(Stream, Vec<u8>)>,
    size: usize,
}

impl Screen {
    /// Nothing printed yet.
    pub fn new(stdout: Box<dyn Write>, stderr: Box<dyn Write>) -> Self {
        Screen { stdout, stderr, pending: Vec::new(), size: 0 }
    }

    /// Prints through `print` to one stream.
    pub fn print(
        &mut self,
        stream: Stream,
        print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.pending.last().is_none_or(|(last, _)| *last != stream) {
            self.pending.push((stream, Vec::new()));
        }
        let (_, bytes) = self.pending.last_mut().expect("one was just pushed");
        let before = bytes.len();
        print(bytes)?;
        self.size += bytes.len() - before;
        Ok(())
    }

    /// True if enough has gathered to be written without waiting for a pause.
    pub fn is_full(&self) -> bool {
        self.size >= FULL
    }

    /// Writes what has gathered; while there is a bar, up to the last end of a line.
    pub fn flush(&mut self, progress: &Progress) -> io::Result<()> {
        let rest = if progress.is_shown() { self.split_last_line() } else { Vec::new() };
        let ready = std::mem::replace(&mut self.pending, rest);
        self.size = self.pending.iter().map(|(_, bytes)| bytes.len()).sum();
        if ready.is_empty() {
            return Ok(());
        }
        progress.suspend(|| self.write(&ready))
    }

    /// Takes what stands behind the last end of a line out of `pending`.
    fn split_last_line(&mut self) -> Vec<(Stream, Vec<u8>)> {
        let is_end = |byte: &u8| *byte == b'\n';
        let holds_end = |(_, bytes): &(Stream, Vec<u8>)| bytes.iter().any(is_end);
        let Some(chunk) = self.pending.iter().rposition(holds_end) else {
            return std::mem::take(&mut self.pending);
        };
        let mut rest = self.pending.split_off(chunk + 1);
        let (stream, bytes) = &mut self.pending[chunk];
        let end = bytes.iter().rposition(is_end).expect("this chunk has an end of a line");
        let half = bytes.split_off(end + 1);
        if !half.is_empty() {
            rest.insert(0, (*stream, half));
        }
        rest
    }

    fn write(&mut self, ready: &[(Stream, Vec<u8>)]) -> io::Result<()> {
        for (stream, bytes) in ready {
            let target = match stream {
                Stream::Stdout => &mut self.stdout,
                Stream::Stderr => &mut self.stderr,
            };
            target.write_all(bytes)?;
            // At once, so that both streams keep their order where they meet in one terminal.
            target.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(screen: &mut Screen, stream: Stream, text: &str) {
        let printed = screen.print(stream, |out| out.write_all(text.as_bytes()));
        printed.expect("a Vec takes all");
    }

    #[test]
    fn half_a_line_waits_for_its_end_while_there_is_a_bar() {
        let mut screen = Screen::new(Box::new(io::sink()), Box::new(io::sink()));
        print(&mut screen, Stream::Stdout, "one\n...");
        assert_eq!(screen.split_last_line(), [(Stream::Stdout, b"...".to_vec())]);
        assert_eq!(screen.pending, [(Stream::Stdout, b"one\n".to_vec())]);
        screen.pending.clear();
        print(&mut screen, Stream::Stdout, "...");
        print(&mut screen, Stream::Stderr, "two\n");
        assert!(screen.split_last_line().is_empty());
        assert_eq!(screen.pending.len(), 2);
    }
}
