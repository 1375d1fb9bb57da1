//! A command that runs, and what it came to.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{PipeReader, Read, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use crate::wait::{LIMIT, until, within};

/// End of reading a stream.
#[derive(Debug, Clone, Copy)]
pub enum Reading {
    /// To its end.
    All,
    /// It is closed once this has been read.
    CloseAfter(&'static str),
    /// It stays open, and nothing more is read once this has been.
    StallAfter(&'static str),
    /// To its end, a little at a time; only the last part of it is kept.
    Slowly,
}

/// A stream that is read beside the test.
#[derive(Debug)]
pub struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    /// Reads a pipe.
    pub fn read(mut pipe: PipeReader, reading: Reading) -> Stream {
        let text = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut buffer = match reading {
                Reading::Slowly => vec![0; 1 << 12],
                Reading::All | Reading::CloseAfter(_) | Reading::StallAfter(_) => vec![0; 1 << 16],
            };
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                let mut text = shared.lock().expect("no reader panics");
                text.extend_from_slice(&buffer[..length]);
                let read = |last: &str| String::from_utf8_lossy(&text).contains(last);
                match reading {
                    Reading::CloseAfter(last) if read(last) => break,
                    Reading::StallAfter(last) if read(last) => {
                        drop(text);
                        loop {
                            thread::park();
                        }
                    }
                    Reading::Slowly if text.len() > 1 << 20 => drop(text.drain(..1 << 19)),
                    Reading::All
                    | Reading::CloseAfter(_)
                    | Reading::StallAfter(_)
                    | Reading::Slowly => {}
                }
            }
        });
        Stream { text, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no reader panics")).into_owned()
    }
}

/// A command that has been started. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    line: String,
    directory: PathBuf,
    child: Child,
    streams: Option<[Stream; 2]>,
    /// The outer end of its terminal.
    terminal: Option<File>,
}

impl Running {
    pub(crate) fn new(
        line: String,
        directory: PathBuf,
        child: Child,
        out: Stream,
        err: Stream,
        terminal: Option<File>,
    ) -> Running {
        Running { line, directory, child, streams: Some([out, err]), terminal }
    }

    /// Presses keys of its terminal.
    pub fn press(&self, keys: &[u8]) {
        let mut terminal = self.terminal.as_ref().expect("it is typed at");
        terminal.write_all(keys).expect("its terminal is open");
    }

    /// The modes of its terminal.
    pub fn modes(&self) -> Termios {
        tcgetattr(self.terminal.as_ref().expect("it is typed at")).expect("it is a terminal")
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it has not been waited for");
    }

    /// Waits until it has printed a text on stdout.
    pub fn wait_for(&self, text: &str) {
        until(text, || self.has_printed(text).then_some(()));
    }

    /// True if it has printed a text on stdout.
    pub fn has_printed(&self, text: &str) -> bool {
        self.streams.as_ref().is_some_and(|[out, _]| out.text().contains(text))
    }

    /// True if the process itself has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is a child of this process").is_some()
    }

    /// Waits for the end of the process itself; returns the exit code, 128 + n after signal n.
    pub fn exit_code(&mut self) -> i32 {
        self.exit_code_within(LIMIT)
    }

    fn exit_code_within(&mut self, limit: Duration) -> i32 {
        let status = within(limit, &format!("the end of `{}`", self.line), || {
            self.child.try_wait().expect("it is a child of this process")
        });
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }

    /// Waits for its end, and for that of everything that has its streams open.
    pub fn end(self) -> Run {
        self.end_within(LIMIT)
    }

    /// The same with another limit.
    pub fn end_within(mut self, limit: Duration) -> Run {
        let code = self.exit_code_within(limit);
        self.terminal = None;
        let [out, err] = self.streams.take().expect("a command ends once");
        until("the end of its output", || {
            (out.reader.is_finished() && err.reader.is_finished()).then_some(())
        });
        Run {
            line: self.line.clone(),
            directory: self.directory.clone(),
            code,
            stdout: out.text(),
            stderr: err.text(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (true, Some([out, err])) = (thread::panicking(), &self.streams) {
            print(&self.line, "did not end", &out.text(), &err.text(), &self.directory);
        }
    }
}

/// Result of a command. It prints itself if the test fails.
#[derive(Debug)]
pub struct Run {
    line: String,
    directory: PathBuf,
    /// The exit code; 128 + n where signal n ended it.
    pub code: i32,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Run {
    /// Fails unless it exited with `code` and each text is found on one of its streams.
    #[track_caller]
    pub fn check(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "the exit code");
        for text in texts {
            let found = self.stdout.contains(text) || self.stderr.contains(text);
            assert!(found, "it did not print `{text}`");
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if thread::panicking() {
            let end = format!("exited with {}", self.code);
            print(&self.line, &end, &self.stdout, &self.stderr, &self.directory);
        }
    }
}

fn print(line: &str, end: &str, stdout: &str, stderr: &str, directory: &Path) {
    let files = listing(directory);
    println!(
        "---- `{line}` {end}\n---- in {}:\n{files}---- stdout:\n{}\n---- stderr:\n{}\n----",
        directory.display(),
        shortened(stdout),
        shortened(stderr),
    );
}

/// The files below a directory, without what cargo builds.
fn listing(directory: &Path) -> String {
    let mut listing = String::new();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let is_directory = path.is_dir() && !path.is_symlink();
        if is_directory && path.file_name() != Some(OsStr::new("target")) {
            listing += &self::listing(&path);
        } else {
            let _ = writeln!(listing, "{}", path.display());
        }
    }
    listing
}

/// Some tests flood.
fn shortened(text: &str) -> String {
    const MOST: usize = 20_000;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}\n… {} bytes more", &text[..end], text.len() - end),
        None => text.to_owned(),
    }
}
