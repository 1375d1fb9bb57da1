//! A command that is not started yet, and how it is planned.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::stdio::{stderr, stdout};

use super::child::Child;
use super::error::Error;
use super::running::Output;
use super::sandbox::Sandbox;
use crate::plan::{self, Plan, StartBy};
use crate::policy::Root;

/// Directories that are searched for a program without a slash, and the `PATH` of commands that
/// have set no other.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that is not started yet.
#[derive(Debug)]
#[must_use = "it is started by `output`, `status` or `spawn`"]
pub struct Command<'a> {
    sandbox: &'a Sandbox,
    /// The program and its arguments.
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    seed: u64,
}

impl Sandbox {
    /// A command that runs `program` in a sandbox of its own. A name without a slash is searched
    /// for in `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command<'_> {
        Command {
            sandbox: self,
            words: vec![program.as_ref().to_owned()],
            environment: vec![("PATH".into(), PATH.into())],
            directory: "/".into(),
            stdin: None,
            stdout: None,
            stderr: None,
            seed: 0,
        }
    }
}

impl<'a> Command<'a> {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.words.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.words.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable. A command inherits none: without this it has
    /// [`PATH`] alone.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let name = name.as_ref().to_owned();
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory, a path in the sandbox; `/` without this.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Passes a descriptor on as standard input; `/dev/null` without this.
    pub fn stdin(mut self, stdin: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Passes a descriptor on as standard output. [`Output::stdout`] is empty then.
    pub fn stdout(mut self, stdout: impl Into<OwnedFd>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Passes a descriptor on as standard error. [`Output::stderr`] is empty then.
    pub fn stderr(mut self, stderr: impl Into<OwnedFd>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Sets what the [perturbations](crate::policy::Policy::perturbations) of the sandbox follow from;
    /// 0 without this.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts it. What it writes is kept up to [`Limits::output`](crate::policy::Limits::output)
    /// bytes a stream, unless it is passed on.
    ///
    /// # Errors
    /// The program is not there, a descriptor would give access to the host (a directory, or one
    /// opened with O_PATH), or the warden has ended. A sandbox that cannot be
    /// set up is an error of [`Child::wait_with_output`].
    pub fn spawn(mut self) -> Result<Child<'a>, Error> {
        let plan = self.plan()?;
        let given = [self.stdin.take(), self.stdout.take(), self.stderr.take()];
        let case = self.sandbox.next.replace(self.sandbox.next.get() + 1);
        self.sandbox.running.borrow_mut().start(case, plan, given)?;
        Ok(Child { sandbox: self.sandbox, case })
    }

    /// Starts it and waits for its end.
    ///
    /// # Errors
    /// As [`Command::spawn`] and [`Child::wait_with_output`].
    pub fn output(self) -> Result<Output, Error> {
        self.spawn()?.wait_with_output()
    }

    /// Starts it with the standard output and standard error of the caller, unless others are
    /// given, and waits for its end.
    ///
    /// # Errors
    /// As [`Command::output`].
    pub fn status(mut self) -> Result<ExitStatus, Error> {
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(Error::Stream);
        if self.stdout.is_none() {
            self.stdout = Some(own(stdout())?);
        }
        if self.stderr.is_none() {
            self.stderr = Some(own(stderr())?);
        }
        Ok(self.output()?.status)
    }

    /// The plan that starts it: all that is done between clone and the program, as data.
    ///
    /// # Errors
    /// The program is not there, or a word has a NUL byte in it.
    pub fn plan(&self) -> Result<Plan, Error> {
        let Sandbox { host, project, policy, .. } = self.sandbox;
        let c_strings = |words: &[OsString]| {
            words.iter().map(|word| c_string(word)).collect::<Result<Vec<CString>, Error>>()
        };
        let variables = self.environment.iter().map(|(name, value)| {
            let mut variable = name.clone();
            variable.push("=");
            variable.push(value);
            variable
        });
        let command = plan::CommandSpec {
            program: c_string(self.find_program()?.as_os_str())?,
            arguments: c_strings(&self.words)?,
            environment: c_strings(&variables.collect::<Vec<_>>())?,
            directory: c_string(self.directory.as_os_str())?,
            start_by: StartBy::Exec("a single command"),
        };
        Ok(Plan {
            timeout: policy.limits.timeout,
            output_limit: policy.limits.output,
            weakened: policy.weakened.clone(),
            seed: self.seed,
            ..Plan::of(Arc::new(plan::sandbox_spec(host, project, policy, command)))
        })
    }

    /// Program that execvp(3) would find in the root filesystem of the sandbox.
    fn find_program(&self) -> Result<PathBuf, Error> {
        let name = Path::new(self.words.first().map_or(OsStr::new(""), OsString::as_os_str));
        if name.components().count() > 1 {
            return Ok(self.directory.join(name));
        }
        let path = self.environment.iter().find(|(known, _)| known == "PATH");
        let path = path.map_or(OsStr::new(PATH), |(_, path)| path);
        let root = match &self.sandbox.policy.root {
            Root::Host => Path::new("/"),
            Root::Directory(root) => root,
        };
        let root = open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let root = root.map_err(|cause| Error::Host(cause.into()))?;
        // An absolute symbolic link of that root stays in it.
        let is_program = |path: &PathBuf| {
            let found = openat2(
                &root,
                path,
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            );
            found.and_then(fstat).is_ok_and(|file| {
                FileType::from_raw_mode(file.st_mode) == FileType::RegularFile
                    && file.st_mode & 0o111 != 0
            })
        };
        let directories = path.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
        let mut paths = directories.map(|directory| Path::new(directory).join(name));
        paths.find(is_program).ok_or_else(|| Error::NoProgram(name.into(), path.into()))
    }
}

fn c_string(word: &OsStr) -> Result<CString, Error> {
    CString::new(word.as_bytes()).map_err(|_| Error::Nul(word.to_owned()))
}
