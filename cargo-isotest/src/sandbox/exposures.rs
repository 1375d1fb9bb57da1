//! Paths of the host that a project's tests see: the project, its target directory, its tools.
//!
//! The sandbox shows paths without symbolic links, and overlays only directories without other
//! filesystems below. The paths of cargo and of the user are brought into that form here.

use std::env;
use std::fmt;
use std::fs::{self, DirEntry, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use isotest_core::host::{Host, Piece, TEMPORARY, TopLevel};
use isotest_core::plan::{Access, Exposure, Ids, Project};
use isotest_core::policy::{Directory, Policy, Propagation, Root, StoredLayer};

use crate::config::machine::Machine;
use crate::discover;
use crate::sandbox::owners::{self, ForeignFiles, Scan, Tree};
use crate::sandbox::root::{Links, RootError, find_conflict, resolve};

/// The host could not be shown as it is asked for.
#[derive(Debug)]
pub enum ExposureError {
    /// A path of `--ro` or `--rw` cannot be shown.
    Path {
        /// The flag that names it.
        flag: &'static str,
        /// The path.
        path: PathBuf,
        /// The refusal.
        cause: io::Error,
    },
    /// The root filesystem has no place for a path.
    Root(RootError),
    /// The sandbox has no place for a layer that is made once.
    Layer {
        /// Its name.
        name: String,
        /// Its path in the sandbox.
        at: PathBuf,
        /// The reason.
        cause: String,
    },
}

impl fmt::Display for ExposureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExposureError::Path { flag, path, cause } => {
                write!(f, "cannot show `{}` (`{flag}`): {cause}", path.display())
            }
            ExposureError::Root(error) => write!(f, "{error}"),
            ExposureError::Layer { name, at, cause } => write!(
                f,
                "cannot show the layer `{name}` at `{}`: {cause}\n\
                 hint: `at` may be a path of its own below `/srv`, `/mnt`, `/var/lib` or `/tmp`",
                at.display()
            ),
        }
    }
}

impl std::error::Error for ExposureError {}

impl From<RootError> for ExposureError {
    fn from(error: RootError) -> Self {
        ExposureError::Root(error)
    }
}

/// Paths for the tests of a built project.
pub fn of_project(
    machine: &Machine,
    host: &Host,
    policy: &Policy,
    project: &discover::Project,
) -> Result<Project, ExposureError> {
    let mut exposures = Exposures::new(host, policy);
    exposures.project.root = project.workspace_root.as_std_path().canonicalize().ok();
    let directories = [
        (&project.workspace_root, "the project"),
        (&project.target_directory, "the target directory"),
        (&project.build_directory, "the build directory"),
    ];
    for (path, what) in directories {
        exposures.show(path.as_std_path(), Access::Workspace, what);
    }
    for path in &project.package_directories {
        exposures.show(path.as_std_path(), Access::Workspace, "a package of the project");
    }
    exposures.show_beside(project.sysroot.as_std_path(), "the toolchain");
    for path in &project.linked_paths {
        exposures.show_beside(path.as_std_path(), "a library directory");
    }
    // No more than the file: a directory around it may be the whole home.
    for binary in &project.binaries {
        if let Some(program) = binary.runner.first() {
            exposures.show_program(Path::new(program), Path::new(program));
        }
    }
    for (name, now) in &project.moved {
        if let Ok(now) = now.as_std_path().canonicalize() {
            exposures.add_link(name.clone().into(), now);
        }
    }
    let built = [&project.target_directory, &project.build_directory];
    exposures.project.built = built.iter().filter_map(|path| real(path.as_std_path())).collect();
    exposures.finish(machine, project.target_directory.clone().into_std_path_buf())
}

/// Paths for a command that runs in the working directory.
pub fn of_command(
    machine: &Machine,
    host: &Host,
    policy: &Policy,
    program: &Path,
    scan: Scan,
) -> Result<Project, ExposureError> {
    let mut exposures = Exposures { scan, ..Exposures::new(host, policy) };
    let directory = machine.directory.as_path();
    let found = discover::project_around(directory);
    let (package, root) = found.unwrap_or_else(|| (directory.to_owned(), directory.to_owned()));
    let root = root.canonicalize().unwrap_or(root);
    // The whole root or the whole home is no project.
    let is_project = |path: &Path| {
        let holds_home = machine.home().is_some_and(|home| home.starts_with(path));
        path.parent().is_some() && !holds_home
    };
    if is_project(&root) {
        exposures.project.root = Some(root.clone());
        exposures.show(&root, Access::Workspace, "the project");
    }
    let is_inside = package.canonicalize().is_ok_and(|package| package.starts_with(&root));
    if !is_inside && is_project(&package) {
        exposures.show(&package, Access::Workspace, "the package");
    }
    let target = machine.variable("CARGO_TARGET_DIR").map(|target| directory.join(target));
    if let Some(target) = &target {
        exposures.show(target, Access::Workspace, "the target directory");
    }
    if let Some(parent) = program.parent().filter(|parent| parent.is_absolute()) {
        // All of the root is no program's directory.
        let shown = if parent.parent().is_none() { program } else { parent };
        exposures.show_program(program, shown);
    }
    let target = target.unwrap_or_else(|| root.join("target"));
    exposures.project.built.extend(real(&target));
    exposures.finish(machine, target)
}

/// The path of a directory without symbolic links; it may be missing, as before the first build.
fn real(directory: &Path) -> Option<PathBuf> {
    let (parent, name) = (directory.parent()?, directory.file_name()?);
    directory.canonicalize().or_else(|_| parent.canonicalize().map(|parent| parent.join(name))).ok()
}

/// Below these NixOS and Guix have the programs of the system.
const SYSTEM_PROGRAMS: [&str; 2] = ["/run/current-system", "/run/wrappers"];

/// Directories in which the kernel or set-up makes all that there is, and a link.
const KERNELS: [&str; 5] = ["/dev", "/etc", "/proc", "/sys", "/var/run"];

/// A list of exposures in the making.
struct Exposures<'a> {
    host: &'a Host,
    policy: &'a Policy,
    /// Limit of the search for files of other owners.
    scan: Scan,
    project: Project,
}

impl<'a> Exposures<'a> {
    fn new(host: &'a Host, policy: &'a Policy) -> Exposures<'a> {
        Exposures { host, policy, scan: Scan::Short, project: Project::default() }
    }

    /// Shows a path. What does not exist cannot be shown, and is missed by nobody: cargo names
    /// directories that a build may not have made.
    fn show(&mut self, path: &Path, access: Access, what: &str) {
        let Ok(real) = path.canonicalize() else { return };
        if real != path {
            self.link(path);
        }
        let known = self.project.exposures.iter().any(|known| known.path == real);
        if known || self.project.hollow.contains(&real) {
            return;
        }
        let overlay = access == Access::Workspace && self.policy.shows_overlays();
        if overlay && !self.host.mounts_below(&real).is_empty() {
            return self.hollow_out(&real, what);
        }
        let directory = real.is_dir();
        if access != Access::ReadOnly
            && let Ok(metadata) = real.metadata()
        {
            self.project.owners.push((metadata.uid(), metadata.gid()));
        }
        self.project.exposures.push(Exposure {
            path: real,
            directory,
            access,
            what: what.into(),
            propagation: Propagation::Private,
        });
    }

    /// Shows a program by its file or a directory around it, unless another root filesystem has it.
    fn show_program(&mut self, program: &Path, shown: &Path) {
        let is_inside = match &self.policy.root {
            Root::Host => false,
            Root::Directory(root) => resolve(root, program, Links::Inside).is_ok(),
        };
        if !is_inside {
            self.show_beside(shown, "the program");
        }
    }

    /// Shows a path read-only that tests need beside the project, unless the project's layers hold
    /// it: there it is as writable as the rest, for a test that builds or writes beside its
    /// executable.
    fn show_beside(&mut self, path: &Path, what: &str) {
        let Ok(real) = path.canonicalize() else { return };
        let mut held =
            self.project.exposures.iter().filter(|known| known.access == Access::Workspace);
        match held.any(|known| real.starts_with(&known.path)) {
            true if real == path => {}
            true => self.link(path),
            false => self.show(path, Access::ReadOnly, what),
        }
    }

    /// Names the first symbolic link on the way to a path; what is behind it has no other name.
    fn link(&mut self, path: &Path) {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        let link = above.into_iter().find(|part| part.is_symlink());
        if let Some(link) = link
            && let Ok(target) = link.canonicalize()
        {
            self.add_link(link.to_owned(), target);
        }
    }

    fn add_link(&mut self, link: PathBuf, target: PathBuf) {
        if self.project.links.iter().all(|(known, _)| *known != link) {
            self.project.links.push((link, target));
        }
    }

    /// Shows a directory below which other filesystems are mounted: an overlay of its own for
    /// each directory in it, its files read-only, itself empty otherwise. So is what can be no layer.
    /// Sockets and FIFOs are left out: a test would reach the process behind them.
    fn hollow_out(&mut self, path: &Path, what: &str) {
        self.project.hollow.push(path.to_owned());
        let Ok(entries) = fs::read_dir(path) else { return };
        for entry in entries.flatten() {
            let inner = entry.path();
            let Ok(kind) = self.kind(&entry) else { continue };
            if kind.is_symlink() {
                let target = fs::read_link(&inner);
                target.into_iter().for_each(|target| self.add_link(inner.clone(), target));
            } else if kind.is_dir() && !self.host.refused_layers.contains(&inner) {
                self.show(&inner, Access::Workspace, what);
            } else if kind.is_dir() || kind.is_file() {
                self.show(&inner, Access::ReadOnly, what);
            }
        }
    }

    /// The kind of what is seen there: where something is mounted an entry tells that of what it
    /// covers. A filesystem that a program makes is not asked.
    fn kind(&self, entry: &DirEntry) -> io::Result<FileType> {
        let path = entry.path();
        match self.host.mount_points.contains(&path) && !self.host.is_remote(&path) {
            true => Ok(fs::symlink_metadata(&path)?.file_type()),
            false => entry.file_type(),
        }
    }

    /// True if it is a device that every test has.
    fn is_given(&self, path: &Path) -> bool {
        let real = path.canonicalize().unwrap_or_default();
        self.host.devices.iter().any(|name| real == Path::new("/dev").join(name))
    }

    /// Reason why a path cannot be shown, if there is one.
    fn refusal(&self, path: &Path, metadata: &Metadata, access: Access) -> Option<String> {
        let real = path.canonicalize().ok()?;
        let kind = metadata.file_type();
        let is_device = kind.is_char_device() || kind.is_block_device();
        let private = real.strip_prefix("/etc").ok().and_then(|rest| {
            self.host.hidden_etc.iter().find(|hidden| rest != *hidden && rest.starts_with(hidden))
        });
        if real.parent().is_none() {
            return Some("it is the whole root; name the paths that are needed".to_owned());
        }
        let own = ["/proc", "/dev/ptmx", "/dev/pts", "/dev/mqueue"];
        if real == Path::new("/dev") || own.iter().any(|path| real.starts_with(path)) {
            return Some("a test has its own".to_owned());
        }
        if is_device && !self.is_given(path) && access == Access::ReadOnly {
            return Some("a device is always writable; use `--rw`".into());
        }
        private.map(|hidden| {
            format!(
                "it lies in `/etc/{}`, which other users cannot enter; show that directory",
                hidden.display()
            )
        })
    }

    /// Finds the parts of what is read-only and cannot be shown as a whole.
    fn divide(&mut self) {
        let is_read_only = |shown: &&Exposure| match shown.access {
            Access::Workspace => !self.policy.shows_overlays(),
            Access::ReadOnly => true,
            Access::ReadWrite => false,
        };
        let shown = self.project.exposures.iter().filter(is_read_only);
        let whole = shown.filter(|shown| shown.directory);
        let parts =
            whole.filter_map(|shown| Some((shown.path.clone(), self.host.parts_of(&shown.path)?)));
        self.project.parts = parts.collect();
    }

    /// Finds what overlays could not take from others, in what is shown: from where tests are, and
    /// the working directory is, on.
    fn copy_foreign(&mut self, machine: &Machine) {
        if !self.policy.shows_overlays() {
            return;
        }
        let is_overlay = |shown: &&Exposure| shown.access == Access::Workspace && shown.directory;
        let overlays = self.project.exposures.iter().filter(is_overlay);
        let overlays: Vec<&Path> = overlays.map(|shown| shown.path.as_path()).collect();
        let ids = Ids::new(self.host, &self.project, self.policy);
        let is_in = |path: &Path, above: &Path| {
            let mut between = self.host.mounts_below(above).into_iter();
            path.starts_with(above) && !between.any(|point| path.starts_with(point))
        };
        let is_inner = |path: &Path| overlays.iter().any(|o| path != *o && is_in(path, o));
        let outer = overlays.iter().filter(|path| !is_inner(path));
        let built = &self.project.built;
        let working = machine.directory.canonicalize().ok();
        let tests = overlays.iter().map(|path| path.to_path_buf());
        let starts = tests.filter(|path| !built.contains(path)).chain(working);
        let starts: Vec<PathBuf> = starts.collect();
        let found: Vec<(PathBuf, ForeignFiles)> = outer
            .map(|root| {
                let tree = Tree { root, starts: &starts, built };
                let mut found = owners::find(&tree, &ids, self.scan);
                let is_secret =
                    |piece: &Piece| self.project.secrets.contains(&root.join(&piece.path));
                found.pieces.retain(|piece| !is_secret(piece));
                (root.to_path_buf(), found)
            })
            .collect();
        for (root, ForeignFiles { pieces, uncopied }) in found {
            self.project.uncopied.extend(uncopied);
            if !pieces.is_empty() {
                self.project.foreign.push((root, pieces.into()));
            }
        }
    }

    /// Shows directories of `PATH` that systems make at a place that is fresh for every case: on NixOS
    /// and Guix what they hold are links into the store, which is shown.
    fn show_programs(&mut self, machine: &Machine) {
        let path = machine.variable("PATH").unwrap_or_default();
        let top_level = self.host.top_level.iter().map(|entry| match entry {
            TopLevel::Directory(name) | TopLevel::Link(name, _) => Path::new("/").join(name),
        });
        let top_level: Vec<PathBuf> = top_level.collect();
        let is_shown = |path: &PathBuf| top_level.iter().any(|entry| path.starts_with(entry));
        let directories = env::split_paths(path);
        for directory in directories.filter(|path| path.is_absolute() && !is_shown(path)) {
            let Ok(real) = directory.canonicalize() else { continue };
            let is_made = SYSTEM_PROGRAMS.iter().any(|made| directory.starts_with(made));
            if self.host.is_system(&real) {
                self.link(&directory);
            } else if is_made {
                self.show(&directory, Access::ReadOnly, "a directory of `PATH`");
            }
        }
    }

    /// Shows a path that a flag names.
    fn show_asked(
        &mut self,
        flag: &'static str,
        path: &Path,
        access: Access,
    ) -> Result<(), ExposureError> {
        let refused = |cause| ExposureError::Path { flag, path: path.to_owned(), cause };
        let metadata = fs::metadata(path).map_err(refused)?;
        if let Some(cause) = self.refusal(path, &metadata, access) {
            return Err(refused(io::Error::other(cause)));
        }
        if self.is_given(path) {
            return Ok(());
        }
        // What is asked for by name goes before what a path is shown as otherwise.
        let known = path.canonicalize().ok();
        self.project.exposures.retain(|exposure| Some(&exposure.path) != known.as_ref());
        self.show(path, access, "asked for");
        let shown = self.project.exposures.iter_mut();
        for exposure in shown.filter(|exposure| Some(&exposure.path) == known.as_ref()) {
            exposure.propagation = self.policy.propagation;
        }
        Ok(())
    }

    /// Fails where a layer that is made once would hide something, or has no place.
    fn check_layers(&self) -> Result<(), ExposureError> {
        for StoredLayer { name, at, .. } in &self.policy.stored {
            if let Some(cause) = self.obstacle(at) {
                return Err(ExposureError::Layer { name: name.clone(), at: at.clone(), cause });
            }
        }
        Ok(())
    }

    /// What stands in the way of a layer, if something does.
    fn obstacle(&self, at: &Path) -> Option<String> {
        let top_level = self.host.top_level.iter().map(|entry| match entry {
            TopLevel::Directory(name) | TopLevel::Link(name, _) => Path::new("/").join(name),
        });
        let system: Vec<PathBuf> = top_level.chain(KERNELS.map(PathBuf::from)).collect();
        if let Some(path) = system.iter().find(|path| at.starts_with(path)) {
            return Some(format!("`{}` is a directory of the system", path.display()));
        }
        let Project { exposures, hollow, links, home, .. } = &self.project;
        let shown = exposures.iter().map(|shown| &shown.path).chain(hollow);
        let mut shown = shown.chain(links.iter().map(|(link, _)| link));
        if let Some(path) = shown.find(|path| at.starts_with(path) || path.starts_with(at)) {
            return Some(format!("the sandbox shows `{}`", path.display()));
        }
        let temporary = TEMPORARY.iter().map(|path| (Path::new(*path), self.policy.tmp));
        let home = home.iter().map(|home| (home.as_path(), self.policy.home));
        for (path, kind) in temporary.chain(home) {
            if path.starts_with(at) {
                return Some(format!("it would hide `{}`", path.display()));
            }
            if at.starts_with(path) && kind == Directory::Host {
                return Some(format!("`{}` is the host's", path.display()));
            }
        }
        None
    }

    /// Fails where another root filesystem has no place for what is shown.
    fn check_root(&self) -> Result<(), RootError> {
        let Root::Directory(root) = &self.policy.root else { return Ok(()) };
        if let Some(mount) = self.host.mounts_below(root).first() {
            return Err(RootError::Mounts(root.clone(), mount.to_path_buf()));
        }
        check_places(&self.project, self.policy, root)
    }

    /// Adds what every command sees: the tools, and what the policy asks for.
    fn finish(mut self, machine: &Machine, scratch: PathBuf) -> Result<Project, ExposureError> {
        let tools =
            [(machine.cargo_home(), "cargo's home"), (machine.rustup_home(), "rustup's home")];
        for (path, what) in tools {
            if let Some(path) = path {
                // Also below the project: tests may not write to it.
                self.show(&path, Access::ReadOnly, what);
            }
        }
        if self.policy.root == Root::Host {
            self.show_programs(machine);
        }
        if let Some(directory) = &machine.profiles {
            self.show(directory, Access::ReadWrite, "coverage profiles");
        }
        for path in &self.policy.read_only {
            self.show_asked("--ro", &machine.directory.join(path), Access::ReadOnly)?;
        }
        for path in &self.policy.read_write {
            self.show_asked("--rw", &machine.directory.join(path), Access::ReadWrite)?;
        }
        self.project.secrets = machine.credentials();
        let there = self.project.secrets.iter().filter(|path| path.is_file());
        self.project.masked = there.cloned().collect();
        // A home that is not there, where nothing can be made, is not there inside either.
        let can_be = |home: &PathBuf| home.is_dir() || !self.host.is_system(home);
        self.project.home = machine.home().filter(can_be);
        // What has moved may have left its place to others.
        let shown = self.project.exposures.iter().map(|exposure| &exposure.path);
        let taken: Vec<PathBuf> =
            shown.chain(&self.project.hollow).chain(&self.project.home).cloned().collect();
        self.project.links.retain(|(link, _)| taken.iter().all(|path| !path.starts_with(link)));
        self.project.scratch = Some(scratch);
        self.divide();
        self.copy_foreign(machine);
        self.check_layers()?;
        self.check_root()?;
        Ok(self.project)
    }
}

/// Fails where a mount point would hide what another root filesystem has.
fn check_places(project: &Project, policy: &Policy, root: &Path) -> Result<(), RootError> {
    let shown = project.exposures.iter().map(|exposure| exposure.path.as_path());
    let empty = project.hollow.iter().chain(&project.home).map(PathBuf::as_path);
    let stored = policy.stored.iter().map(|layer| layer.at.as_path());
    for path in shown.chain(empty).chain(stored) {
        if let Some(parent) = find_conflict(root, path) {
            let (root, path) = (root.to_owned(), path.to_owned());
            return Err(RootError::Conflict { root, path, parent });
        }
    }
    Ok(())
}
