//! The sandboxes of one run: a warden with its template, and what is needed to plan for it.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use globset::{GlobBuilder, GlobSetBuilder};
use isotest_core::host::Host;
use isotest_core::plan::{self, Command, Setup};
use isotest_core::policy::{Policy, Root, Scratch};
use isotest_core::sandbox::Warden;
use isotest_core::write_back::WriteBack;
use tempfile::TempDir;

use crate::environment::{self, Variable};
use crate::error::Error;
use crate::remembered;
use crate::settings::Machine;

/// A warden that has not built its template yet: started first, while this process is small,
/// since every case is a copy of it.
pub struct Unbuilt {
    host: Host,
    policy: Policy,
    warden: Warden,
}

/// A warden with its template.
pub struct Sandboxes {
    /// What the machine is like.
    pub host: Host,
    /// What of the host is shown.
    pub project: plan::Project,
    /// The value of every layer.
    pub policy: Policy,
    /// Starts cases.
    pub warden: Warden,
    /// The caller's variables that reach every test.
    pub variables: Vec<Variable>,
    /// Where LLVM's coverage profiles go, with `%p` in it.
    pub profile: Option<OsString>,
    /// What is copied out of the throwaway layers, or removed from the disk.
    pub write_back: Option<Arc<WriteBack>>,
    /// Where directories for scratch on disk may be made.
    scratch_parent: Option<PathBuf>,
    /// The directory of scratch on disk, removed at the end.
    _scratch: Option<TempDir>,
}

impl Unbuilt {
    /// Looks at the machine and starts the warden.
    pub fn start(policy: Policy) -> Result<Unbuilt, Error> {
        let root = match &policy.root {
            Root::Host => Path::new("/"),
            Root::Directory(directory) => directory,
        };
        let host = Host::read(root).map_err(Error::Host)?;
        let warden = Warden::start(&host, &policy)?;
        Ok(Unbuilt { host, policy, warden })
    }

    /// The value of every layer.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the machine is like.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Builds the template for a project.
    pub fn build(self, machine: &Machine, mut project: plan::Project) -> Result<Sandboxes, Error> {
        let Unbuilt { host, policy, mut warden } = self;
        let scratch = match (policy.scratch, &project.scratch) {
            (Scratch::Disk, Some(parent)) => {
                let made = remembered::make_own(parent).and_then(|()| locked_directory(parent));
                Some(made.map_err(Error::Scratch)?)
            }
            (Scratch::Disk, None) | (Scratch::Memory, _) => None,
        };
        let scratch_parent = project.scratch.take();
        project.scratch = scratch.as_ref().map(|directory| directory.path().to_owned());
        warden.build(&plan::template(&host, &project, &policy))?;
        let mut variables = environment::clean(&machine.variables, &policy);
        let profile = environment::take_profile(&mut variables);
        let write_back = write_back(&host, &project, &policy)?.map(Arc::new);
        Ok(Sandboxes {
            host,
            project,
            policy,
            warden,
            variables,
            profile,
            write_back,
            scratch_parent,
            _scratch: scratch,
        })
    }
}

impl Sandboxes {
    /// The project as it was when the template was built.
    pub fn project(&self) -> plan::Project {
        plan::Project { scratch: self.scratch_parent.clone(), ..self.project.clone() }
    }

    /// What the environment of each case has for itself: each call gives another.
    pub fn own_environment(&self) -> Vec<CString> {
        static CASES: AtomicU32 = AtomicU32::new(0);
        let unique = || format!("{}-{}", process::id(), CASES.fetch_add(1, Ordering::Relaxed));
        let profile = self.profile.iter();
        profile.map(|pattern| environment::profile(pattern, &unique())).collect()
    }

    /// The set-up for a program, shared by all cases that run it. `variables` are added to those
    /// of every test; `executed` says why no fork server may start it.
    pub fn setup(
        &self,
        program: &OsStr,
        arguments: &[&OsStr],
        directory: &Path,
        variables: &[Variable],
        executed: Option<&'static str>,
    ) -> Arc<Setup> {
        let mut all = self.variables.clone();
        for (name, value) in variables {
            environment::set(&mut all, name.clone(), value.clone());
        }
        if self.profile.is_some() {
            // Each case has its own.
            environment::take_profile(&mut all);
        }
        let arguments = [program].into_iter().chain(arguments.iter().copied());
        let command = Command {
            program: c_string(program),
            arguments: arguments.map(c_string).collect(),
            environment: environment::block(&all),
            directory: c_string(directory.as_os_str()),
            executed,
        };
        Arc::new(plan::setup(&self.host, &self.project, &self.policy, command))
    }
}

/// How the name of a directory of one run's own begins.
const RUN: &str = "run-";

/// A directory of this run's own. Those of runs that were killed are swept: nobody holds their
/// lock.
pub fn locked_directory(parent: &Path) -> io::Result<TempDir> {
    fs::create_dir_all(parent)?;
    for entry in fs::read_dir(parent)?.flatten() {
        let is_run = entry.file_name().as_bytes().starts_with(RUN.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_run && File::open(entry.path()).is_ok_and(|old| old.try_lock().is_ok()) {
            isotest_core::write_back::remove(&entry.path());
        }
    }
    let directory = tempfile::Builder::new().prefix(RUN).tempdir_in(parent)?;
    // Held until this process ends, however it does.
    let lock = File::open(directory.path())?;
    lock.try_lock().map_err(io::Error::other)?;
    std::mem::forget(lock);
    Ok(directory)
}

/// What is done with the layers of a case afterwards, where anything is.
fn write_back(
    host: &Host,
    project: &plan::Project,
    policy: &Policy,
) -> Result<Option<WriteBack>, Error> {
    let (Some(root), disk) = (project.root.clone(), project.scratch.clone()) else {
        return Ok(None);
    };
    if policy.write_back.is_empty() && disk.is_none() {
        return Ok(None);
    }
    let mut globs = GlobSetBuilder::new();
    for glob in &policy.write_back {
        globs.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(Error::Glob)?);
    }
    Ok(Some(WriteBack {
        globs: globs.build().map_err(Error::Glob)?,
        root,
        layers: plan::upper_layers(host, project, policy),
        disk,
    }))
}

/// An argument or a path as a C string; neither can hold a NUL byte.
pub fn c_string(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).expect("arguments and paths hold no NUL byte")
}
