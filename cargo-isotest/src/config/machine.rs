//! The surroundings of this process: environment, working directory, terminals, processors.
//!
//! But for `discover`, which does as cargo does, nothing else asks for an environment variable or
//! whether a stream is a terminal.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use isotest_core::schedule::Stacks;

use crate::cli::{Color, TimeoutStacks};
use crate::report::Workflow;

/// A variable and its value.
pub type Variable = (OsString, OsString);

/// The surroundings of this process.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The environment.
    pub variables: Vec<Variable>,
    /// The working directory.
    pub directory: PathBuf,
    /// True if stdin is a terminal.
    pub stdin_terminal: bool,
    /// True if stdout is a terminal.
    pub stdout_terminal: bool,
    /// True if stderr is a terminal.
    pub stderr_terminal: bool,
    /// Number of processors that this process may use.
    pub cores: usize,
    /// True if this process runs as root.
    pub is_root: bool,
    /// The directory that tests write coverage profiles to.
    pub profiles: Option<PathBuf>,
}

impl Machine {
    /// Looks around.
    pub fn read() -> io::Result<Machine> {
        Ok(Machine {
            variables: env::vars_os().collect(),
            directory: env::current_dir()?,
            stdin_terminal: io::stdin().is_terminal(),
            stdout_terminal: io::stdout().is_terminal(),
            stderr_terminal: io::stderr().is_terminal(),
            is_root: isotest_core::host::is_root(),
            profiles: None,
            cores: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        })
    }

    /// An environment variable; an empty one counts as unset.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// `$HOME`, where it is an absolute path.
    pub fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
    }

    /// `$XDG_CACHE_HOME`, or its default (XDG Base Directory Specification).
    pub fn cache_directory(&self) -> Option<PathBuf> {
        let given = self.variable("XDG_CACHE_HOME").map(PathBuf::from);
        let default = || self.home().map(|home| home.join(".cache"));
        given.filter(|path| path.is_absolute()).or_else(default)
    }

    /// `$CARGO_HOME`, or its default.
    pub fn cargo_home(&self) -> Option<PathBuf> {
        let default = || self.home().map(|home| home.join(".cargo"));
        self.variable("CARGO_HOME").map(PathBuf::from).or_else(default)
    }

    /// `$RUSTUP_HOME`, or its default.
    pub fn rustup_home(&self) -> Option<PathBuf> {
        let default = || self.home().map(|home| home.join(".rustup"));
        self.variable("RUSTUP_HOME").map(PathBuf::from).or_else(default)
    }

    /// Cargo's files with tokens, there or not.
    pub fn credentials(&self) -> Vec<PathBuf> {
        let home = self.cargo_home().and_then(|home| home.canonicalize().ok());
        let files = ["credentials.toml", "credentials"];
        home.iter().flat_map(|home| files.map(|file| home.join(file))).collect()
    }

    /// A path as cargo prints it: relative to the working directory where it lies below it.
    pub fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.directory).unwrap_or(path)
    }

    /// The first program of that name on `PATH`.
    fn program(&self, name: &str) -> Option<PathBuf> {
        let paths = env::split_paths(self.variable("PATH").unwrap_or_default());
        paths.map(|directory| directory.join(name)).find(|path| path.is_file())
    }

    /// Tool that captures the stacks of a case before it is killed for its time.
    pub fn stacks(&self, asked: TimeoutStacks) -> Result<Stacks, MissingDebugger> {
        let gdb = || self.program("gdb").map(Stacks::Gdb);
        let eu_stack = || self.program("eu-stack").map(Stacks::EuStack);
        match asked {
            TimeoutStacks::Auto => Ok(gdb().or_else(eu_stack).unwrap_or(Stacks::Proc)),
            TimeoutStacks::Proc => Ok(Stacks::Proc),
            TimeoutStacks::Gdb => gdb().ok_or(MissingDebugger("gdb")),
            TimeoutStacks::EuStack => eu_stack().ok_or(MissingDebugger("eu-stack")),
            TimeoutStacks::None => Ok(Stacks::None),
        }
    }

    /// The workflow of GitHub Actions that this process is started by.
    pub fn workflow(&self) -> Option<Workflow> {
        let path = |name| self.variable(name).map(PathBuf::from);
        self.variable("GITHUB_ACTIONS").filter(|value| *value == "true")?;
        Some(Workflow {
            repository: path("GITHUB_WORKSPACE"),
            summary: path("GITHUB_STEP_SUMMARY"),
        })
    }

    /// When colours are used: by flag, then `NO_COLOR`, then `CARGO_TERM_COLOR`.
    pub fn colour(&self, flag: Option<Color>) -> Color {
        let cargo = self.variable("CARGO_TERM_COLOR").and_then(OsStr::to_str);
        match (flag, cargo) {
            (Some(Color::Always), _) => Color::Always,
            (Some(Color::Never), _) => Color::Never,
            (None | Some(Color::Auto), _) if self.variable("NO_COLOR").is_some() => Color::Never,
            (None | Some(Color::Auto), Some("always")) => Color::Always,
            (None | Some(Color::Auto), Some("never")) => Color::Never,
            (None | Some(Color::Auto), _) => Color::Auto,
        }
    }

    /// True if a stream is coloured.
    pub fn colours(&self, flag: Option<Color>, terminal: bool) -> bool {
        match self.colour(flag) {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && self.variable("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// A progress bar is shown: by `CARGO_TERM_PROGRESS_WHEN`, else at a terminal outside of CI.
    pub fn shows_progress(&self) -> bool {
        match self.variable("CARGO_TERM_PROGRESS_WHEN").and_then(OsStr::to_str) {
            Some("always") => true,
            Some("never") => false,
            Some(_) | None => {
                self.stderr_terminal
                    && self.variable("CI").is_none()
                    && self.variable("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// A debugger that is asked to read stacks, and is not on `PATH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingDebugger(&'static str);

impl fmt::Display for MissingDebugger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.0;
        write!(
            f,
            "cannot use `--timeout-stacks {program}`: there is no `{program}` on PATH\n\
             hint: install it; `--timeout-stacks proc` needs no debugger, and `auto` uses an installed one"
        )
    }
}

impl std::error::Error for MissingDebugger {}

/// A shell could set a variable of this name.
pub fn is_variable_name(name: &str) -> bool {
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    name.chars().all(is_part) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}
