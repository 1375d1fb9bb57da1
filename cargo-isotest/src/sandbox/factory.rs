//! The sandboxes of one run: a warden with its template, and what is needed to plan for it.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use isotest_core::changes::Watched;
use isotest_core::host::Host;
use isotest_core::plan::{self, CommandSpec, SandboxSpec, StartBy};
use isotest_core::policy::{Policy, Root, Scratch};
use isotest_core::refusal::SandboxError;
use isotest_core::sandbox::{Disk, Warden};
use isotest_core::write_back::{Pending, Reserved, Wanted, WriteBack};

use crate::config::machine::Machine;
use crate::config::machine::Variable;
use crate::discover::{self, Binary};
use crate::sandbox::environment;
use crate::sandbox::exposures::{self, ExposureError};
use crate::sandbox::run_directory::RunDirectory;

/// The sandboxes of a run could not be had.
#[derive(Debug)]
pub enum FactoryError {
    /// The machine could not be looked at.
    Host(io::Error),
    /// The warden or its template could not be set up.
    Sandbox(SandboxError),
    /// The host could not be shown.
    Exposure(ExposureError),
    /// There is no directory for scratch on disk.
    Scratch(ScratchError),
    /// A glob cannot be read.
    Glob(GlobError),
}

impl From<SandboxError> for FactoryError {
    fn from(error: SandboxError) -> Self {
        FactoryError::Sandbox(error)
    }
}

impl From<ExposureError> for FactoryError {
    fn from(error: ExposureError) -> Self {
        FactoryError::Exposure(error)
    }
}

impl From<ScratchError> for FactoryError {
    fn from(error: ScratchError) -> Self {
        FactoryError::Scratch(error)
    }
}

impl From<GlobError> for FactoryError {
    fn from(error: GlobError) -> Self {
        FactoryError::Glob(error)
    }
}

/// The directory for scratch on disk could not be made.
#[derive(Debug)]
pub struct ScratchError(io::Error);

impl fmt::Display for ScratchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = &self.0;
        write!(f, "cannot make a directory for `--scratch disk` in the target directory: {cause}")
    }
}

impl std::error::Error for ScratchError {}

/// A glob of `--write-back` cannot be read.
#[derive(Debug)]
pub struct GlobError(globset::Error);

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read a glob of `--write-back`: {}", self.0)
    }
}

impl std::error::Error for GlobError {}

/// A warden that has not built its template yet: started first, while this process is small,
/// since every case is a copy of it.
pub struct SandboxBuilder {
    host: Host,
    policy: Policy,
    warden: Warden,
}

/// A warden with its template.
pub struct SandboxFactory {
    /// Properties of the machine.
    pub host: Host,
    /// The paths of the host that are shown.
    pub project: plan::Project,
    /// The value of every layer.
    pub policy: Policy,
    /// Starts cases.
    pub warden: Warden,
    /// The caller's variables that reach every test.
    pub variables: Vec<Variable>,
    /// Path of LLVM's coverage profiles, with `%p` in it.
    pub profile: Option<OsString>,
    /// Files that are copied out of the throwaway layers, or removed from the disk.
    pub write_back: Option<Arc<WriteBack>>,
    /// Where the changes of a case are found.
    pub watched: Arc<Watched>,
    /// The target directory, in which there may be scratch on disk.
    target: Option<PathBuf>,
    /// The directory of scratch on disk, removed at the end.
    _scratch: Option<RunDirectory>,
    /// The directory in which files wait to be written back.
    _waiting: Option<RunDirectory>,
}

impl SandboxBuilder {
    /// Looks at the machine and starts the warden.
    pub fn start(policy: Policy) -> Result<SandboxBuilder, FactoryError> {
        let root = match &policy.root {
            Root::Host => Path::new("/"),
            Root::Directory(directory) => directory,
        };
        let host = Host::read(root).map_err(FactoryError::Host)?;
        let warden = Warden::start(&host, &policy)?;
        Ok(SandboxBuilder { host, policy, warden })
    }

    /// The value of every layer.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Properties of the machine.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Builds the template for the tests of a project.
    pub fn build_for(
        self,
        project: &discover::Project,
        machine: &Machine,
    ) -> Result<SandboxFactory, FactoryError> {
        let shown = exposures::of_project(machine, &self.host, &self.policy, project)?;
        self.build(machine, shown)
    }

    /// Builds the template for what is shown.
    pub fn build(
        self,
        machine: &Machine,
        mut project: plan::Project,
    ) -> Result<SandboxFactory, FactoryError> {
        let SandboxBuilder { host, policy, mut warden } = self;
        let target = project.scratch.take();
        let own_directory =
            |target: &PathBuf| RunDirectory::make(target, Path::new(SCRATCH)).map_err(ScratchError);
        let scratch = match policy.scratch {
            Scratch::Disk => target.as_ref().map(own_directory).transpose()?,
            Scratch::Memory => None,
        };
        let waiting = match policy.write_back.is_empty() {
            false => target.as_ref().map(own_directory).transpose()?,
            true => None,
        };
        project.scratch = scratch.as_ref().map(|directory| directory.path().to_owned());
        let disk = scratch.as_ref().map(disk).transpose().map_err(ScratchError)?;
        warden.build(&plan::template(&host, &project, &policy), disk)?;
        let mut variables = environment::clean(&machine.variables, &policy);
        let profile = environment::take_profile(&mut variables);
        if waiting.is_some() && variables.iter().all(|(name, _)| name != RUN_ID) {
            // What insta keeps for inline snapshots is that of the last run.
            environment::set(&mut variables, RUN_ID.into(), run_id().into());
        }
        let watched = Arc::new(plan::watched(&host, &project, &policy));
        let directories = [scratch.as_ref(), waiting.as_ref()];
        let write_back = write_back(&host, &project, &policy, directories)?.map(Arc::new);
        Ok(SandboxFactory {
            host,
            project,
            policy,
            warden,
            variables,
            profile,
            write_back,
            watched,
            target,
            _scratch: scratch,
            _waiting: waiting,
        })
    }
}

impl SandboxFactory {
    /// The project as it was when the template was built.
    pub fn project(&self) -> plan::Project {
        plan::Project { scratch: self.target.clone(), ..self.project.clone() }
    }

    /// Variables of each case alone: each call gives another value.
    pub fn own_environment(&self) -> Vec<CString> {
        static CASES: AtomicU32 = AtomicU32::new(0);
        let unique = || format!("{}-{}", process::id(), CASES.fetch_add(1, Ordering::Relaxed));
        let profile = self.profile.iter();
        profile.map(|pattern| environment::profile(pattern, &unique())).collect()
    }

    /// Variables of a binary's cases, beside those of every test.
    pub fn environment_of(&self, binary: &Binary) -> Vec<Variable> {
        environment::unless_passed(&binary.environment, &binary.presets, &self.variables)
    }

    /// The directories in which the dynamic loader may search for the libraries of a binary, by
    /// LD_LIBRARY_PATH. `added` is what its cases have beside.
    pub fn library_directories(&self, binary: &Binary, added: &[Variable]) -> Vec<PathBuf> {
        let own = self.environment_of(binary);
        let all = self.variables.iter().chain(&own).chain(added);
        let paths = all.filter(|(name, _)| name == "LD_LIBRARY_PATH");
        paths.flat_map(|(_, value)| env::split_paths(value)).collect()
    }

    /// The set-up for a program, shared by all cases that run it. `variables` are added to those
    /// of every test.
    pub fn spec(
        &self,
        program: &OsStr,
        arguments: &[&OsStr],
        directory: &Path,
        variables: &[Variable],
        start_by: StartBy,
    ) -> Arc<SandboxSpec> {
        let mut all = self.variables.clone();
        for (name, value) in variables {
            environment::set(&mut all, name.clone(), value.clone());
        }
        if self.profile.is_some() {
            // Each case has its own.
            environment::take_profile(&mut all);
        }
        let arguments = [program].into_iter().chain(arguments.iter().copied());
        let command = CommandSpec {
            program: c_string(program),
            arguments: arguments.map(c_string).collect(),
            environment: environment::block(&all),
            directory: c_string(directory.as_os_str()),
            start_by,
        };
        Arc::new(plan::sandbox_spec(&self.host, &self.project, &self.policy, command))
    }
}

/// Place of the directories for scratch on disk, below a target directory.
const SCRATCH: &str = "isotest/scratch";
/// Names the run to which a test belongs.
const RUN_ID: &str = "NEXTEST_RUN_ID";

/// The same for all sandboxes of this process, and for no other.
fn run_id() -> String {
    static RUN: OnceLock<String> = OnceLock::new();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    RUN.get_or_init(|| format!("{}-{}", now(), process::id())).clone()
}

/// The directory of a run, as the warden gets it.
fn disk(scratch: &RunDirectory) -> io::Result<Disk> {
    let path = c_string(scratch.path().as_os_str());
    Ok(Disk { path, identity: scratch.directory().identity()? })
}

/// Files that cargo, rustup and other tools run or build by their name alone. `docs/layers.md`
/// lists them.
const RUN_OUTSIDE: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "rust-toolchain",
    "rust-toolchain.toml",
    "Makefile",
    "GNUmakefile",
    "Makefile.toml",
    "justfile",
    "flake.nix",
    "shell.nix",
    "default.nix",
];

/// Treatment of the layers of a case after its end, if there is any.
fn write_back(
    host: &Host,
    project: &plan::Project,
    policy: &Policy,
    [scratch, waiting]: [Option<&RunDirectory>; 2],
) -> Result<Option<WriteBack>, FactoryError> {
    let Some(root) = project.root.clone() else { return Ok(None) };
    if policy.write_back.is_empty() && scratch.is_none() {
        return Ok(None);
    }
    let clone = |own: Option<&RunDirectory>| {
        own.map(|own| own.directory().try_clone()).transpose().map_err(ScratchError)
    };
    let built = project.built.iter().filter_map(|path| path.strip_prefix(&root).ok());
    let own = |path: &Path| [path.to_owned(), path.join("isotest")];
    let reserved = Reserved { names: &RUN_OUTSIDE, directories: built.flat_map(own).collect() };
    Ok(Some(WriteBack {
        wanted: Wanted::new(&policy.write_back, reserved).map_err(GlobError)?,
        root,
        layers: plan::upper_layers(host, project, policy),
        disk: clone(scratch)?,
        waiting: clone(waiting)?,
        pending: Pending::default(),
    }))
}

/// An argument or a path as a C string; neither can hold a NUL byte.
pub fn c_string(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).expect("arguments and paths hold no NUL byte")
}
