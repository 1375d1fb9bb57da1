//! A command line before it is run.

#![allow(unsafe_code)]

use std::env;
use std::env::consts::ARCH;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeReader, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::{SigHandler, Signal, signal};
use tempfile::TempDir;

use crate::program::isotest;
use crate::run::{Reading, Run, Running, Stream};
use crate::terminal;

/// Variables of the caller that a command gets: what it takes to find and run a toolchain. What
/// cargo has set for this test itself must not reach it.
const KEPT: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "CARGO",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUSTFLAGS",
    "LLVM_COV",
    "LLVM_PROFDATA",
];

/// Placeholder in a line for a blank of a path.
const BLANK: &str = "\u{1f}";

/// A path as one word of a line: a checkout may lie where a path has blanks.
pub fn word(path: &Path) -> String {
    path.display().to_string().replace(' ', BLANK)
}

/// Another name of a file where its own has blanks, which cargo splits a variable at.
fn without_blanks(file: &Path) -> PathBuf {
    static LINK: OnceLock<PathBuf> = OnceLock::new();
    if !file.display().to_string().contains(' ') {
        return file.to_owned();
    }
    let link = LINK.get_or_init(|| {
        let name = file.file_name().expect("it has a name");
        // One for each user and process; it goes with the machine's next start.
        let directory = TempDir::with_prefix("isotest-tests-").expect("it is writable").keep();
        symlink(file, directory.join(name)).expect("it is empty");
        directory.join(name)
    });
    link.clone()
}

/// Output of a command.
#[derive(Debug, Clone, Copy)]
enum Output {
    Pipes,
    OnePipe,
    Terminal,
    /// One that is typed at, too.
    TypedAt,
}

/// A command line, its directory and its environment.
#[derive(Debug)]
pub struct Call {
    command: Command,
    output: Output,
    reading: Reading,
}

/// A shell without job control has what it starts in the background ignore SIGINT, and this test
/// would hand that on.
fn hear_interrupts() -> io::Result<()> {
    // SAFETY: the default disposition runs no code.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }?;
    Ok(())
}

impl Call {
    /// `program` in `directory`, with no colours, no back traces and no network for cargo.
    pub fn new(program: impl AsRef<OsStr>, directory: &Path) -> Call {
        let mut command = Command::new(program);
        command.current_dir(directory).stdin(Stdio::null()).env_clear();
        let kept = KEPT.into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
        command.envs(kept);
        command.envs([
            ("CARGO_TERM_COLOR", "never"),
            ("CARGO_NET_OFFLINE", "true"),
            ("RUST_BACKTRACE", "0"),
            // A fixture is compiled once and run for a moment.
            ("CARGO_INCREMENTAL", "0"),
            ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"),
        ]);
        Call { command, output: Output::Pipes, reading: Reading::All }
    }

    /// Adds the words of a line. A path in it is a [`word`].
    pub fn words(mut self, line: &str) -> Call {
        self.command.args(line.split_whitespace().map(|word| word.replace(BLANK, " ")));
        self
    }

    /// Adds one argument as it is.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Call {
        self.command.arg(argument);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Call {
        self.command.env(name, value);
        self
    }

    /// Has cargo start what it runs with `cargo-isotest runner OPTIONS`.
    pub fn runner(self, options: &str) -> Call {
        let name = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", ARCH.to_uppercase());
        self.env(&name, format!("{} runner {options}", without_blanks(isotest()).display()))
    }

    /// Takes a variable away.
    pub fn without(mut self, name: &str) -> Call {
        self.command.env_remove(name);
        self
    }

    /// Builds with all debug information: gdb prints the path of a function.
    pub fn debuggable(self) -> Call {
        self.without("CARGO_PROFILE_DEV_DEBUG")
    }

    /// Both streams arrive as one, in the order of writing, in [`Run::stdout`].
    pub fn merged(mut self) -> Call {
        self.output = Output::OnePipe;
        self
    }

    /// All three streams are a terminal, and the command is the leader of its session. What is
    /// written arrives in [`Run::stdout`]; once it is no longer read the terminal is closed.
    pub fn on_terminal(mut self) -> Call {
        self.output = Output::Terminal;
        self
    }

    /// The same, and keys can be pressed ([`Running::press`]): the terminal stays open while it runs.
    pub fn typed_at(mut self) -> Call {
        self.output = Output::TypedAt;
        self
    }

    /// Stdout is read slowly, and only the end of it is kept.
    pub fn read_slowly(mut self) -> Call {
        self.reading = Reading::Slowly;
        self
    }

    /// Stdout is closed once this has been read from it.
    pub fn closed_after(mut self, text: &'static str) -> Call {
        self.reading = Reading::CloseAfter(text);
        self
    }

    /// Nothing more is read from stdout once this has been, though it stays open. Such a command
    /// ends only when it is killed.
    pub fn stalled_after(mut self, text: &'static str) -> Call {
        self.reading = Reading::StallAfter(text);
        self
    }

    /// Its standard input is this file.
    pub fn reading(mut self, file: File) -> Call {
        self.command.stdin(file);
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Run {
        self.start().end()
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let (out, out_write): (PipeReader, OwnedFd) = match self.output {
            Output::Pipes | Output::OnePipe => {
                let (out, write) = pipe().expect("a pipe can be made");
                (out, write.into())
            }
            Output::Terminal | Output::TypedAt => terminal::open(&mut self.command),
        };
        let (err, err_write) = pipe().expect("a pipe can be made");
        let err_write = match self.output {
            Output::Pipes => err_write.into(),
            Output::OnePipe | Output::Terminal | Output::TypedAt => {
                out_write.try_clone().expect("a descriptor is free")
            }
        };
        let terminal = matches!(self.output, Output::TypedAt).then(|| {
            let terminal = out.try_clone().expect("a descriptor is free");
            File::from(OwnedFd::from(terminal))
        });
        self.command.stdout(out_write).stderr(err_write);
        // SAFETY: sigaction(2) is a plain system call; nothing is allocated.
        unsafe { self.command.pre_exec(hear_interrupts) };
        let line = self.line();
        let directory = self.command.get_current_dir().expect("it is always set").to_owned();
        let child = self.command.spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        // The command holds the writing ends too: only without them do the streams end.
        drop(self.command);
        Running::new(
            line,
            directory,
            child,
            Stream::read(out, self.reading),
            Stream::read(err, Reading::All),
            terminal,
        )
    }

    /// As it would be typed.
    fn line(&self) -> String {
        let words = [self.command.get_program()].into_iter().chain(self.command.get_args());
        let words: Vec<OsString> = words.map(OsStr::to_owned).collect();
        words.join(OsStr::new(" ")).to_string_lossy().into_owned()
    }
}
