//! Runs cargo and the compiler, and puts together what they say.
//!
//! Three processes run side by side: the build, `cargo metadata --no-deps` and `rustc --print`.
//! Without dependencies, metadata resolves nothing: it takes no lock that the build would have to
//! wait for, needs no network and refuses no feature flags; and the local packages among the
//! dependencies, exactly those that were built, are named by the build's own messages.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::semver::Version;

use super::config::{self, ConfigError};
use super::environment::{self, Layout, Surroundings};
use super::manifest::Manifest;
use super::messages::{Build, TestArtifact};
use super::metadata::{Metadata, Package};
use super::project::{Binary, BinaryKind, Project, Scope};

/// What is to be built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Options for `cargo test --no-run`.
    pub build_arguments: Vec<OsString>,
    /// Those of them that `cargo metadata` takes.
    pub metadata_arguments: Vec<OsString>,
    /// `--target-dir`, which `cargo metadata` does not take.
    pub target_dir: Option<PathBuf>,
    /// The values of `--config`.
    pub config: Vec<OsString>,
    /// Which packages the command line names.
    pub scope: Scope,
}

/// Why a project could not be discovered.
#[derive(Debug)]
pub enum DiscoverError {
    /// A program could not be started.
    Start {
        /// The program.
        program: OsString,
        /// Why.
        cause: io::Error,
    },
    /// The build failed, or there is nothing to build; cargo has said why. Exit code 101.
    Build(ExitStatus),
    /// Cargo's messages could not be read.
    Messages(io::Error),
    /// `cargo metadata` failed. Exit code 102.
    Metadata {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        message: String,
    },
    /// The output of `cargo metadata` could not be understood. Exit code 102.
    MetadataJson(serde_json::Error),
    /// `rustc --print` failed or printed something else.
    Compiler {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        message: String,
    },
    /// A manifest could not be read.
    ReadManifest {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A manifest could not be understood.
    ParseManifest {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        cause: Box<toml::de::Error>,
    },
    /// A configuration file of cargo could not be used.
    Config(ConfigError),
    /// The current directory is gone.
    CurrentDirectory(io::Error),
    /// Cargo built a test of a package that it does not know.
    UnknownPackage(String),
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiscoverError::Start { program, cause } => {
                write!(f, "cannot start `{}`: {cause}", program.display())?;
                match cause.kind() == io::ErrorKind::NotFound {
                    true => write!(f, "\nhint: it must be on PATH; see https://rustup.rs"),
                    false => Ok(()),
                }
            }
            DiscoverError::Build(status) => write!(f, "cannot build the tests: cargo: {status}"),
            DiscoverError::Messages(cause) => write!(f, "cannot read cargo's messages: {cause}"),
            DiscoverError::Metadata { status, message } => {
                write!(
                    f,
                    "cannot read the project's metadata: cargo: {status}\n{message}"
                )
            }
            DiscoverError::MetadataJson(cause) => {
                write!(f, "cannot read the project's metadata: {cause}")
            }
            DiscoverError::Compiler { status, message } => {
                write!(f, "cannot ask rustc for its sysroot: {status}\n{message}")
            }
            DiscoverError::ReadManifest { path, cause } => {
                write!(f, "cannot read `{path}`: {cause}")
            }
            DiscoverError::ParseManifest { path, cause } => {
                write!(f, "cannot read `{path}`: {cause}")
            }
            DiscoverError::Config(error) => write!(f, "{error}"),
            DiscoverError::CurrentDirectory(cause) => {
                write!(f, "cannot find the current directory: {cause}")
            }
            DiscoverError::UnknownPackage(id) => {
                write!(
                    f,
                    "cannot find package `{id}`: `cargo metadata` does not know it"
                )
            }
        }
    }
}

impl std::error::Error for DiscoverError {}

/// Builds the project's tests and says what was built. Compiler messages go to stderr as cargo
/// prints them.
pub fn discover(request: &Request) -> Result<Project, DiscoverError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let (build, metadata, compiler) = thread::scope(|scope| {
        let metadata = scope.spawn(|| metadata(&cargo, request, &request.metadata_arguments));
        let compiler = scope.spawn(Compiler::ask);
        let build = build(&cargo, request);
        (build, metadata.join(), compiler.join())
    });
    // In this order: cargo has already said why a build failed, and the rest says the same again.
    let build = build?;
    let mut metadata = metadata.expect("the thread has no panic path")?;
    let compiler = compiler.expect("the thread has no panic path")?;
    add_foreign_packages(&cargo, request, &build, &mut metadata)?;
    let around = surroundings(request, compiler)?;
    assemble(request.scope, build, &metadata, &around)
}

fn build(cargo: &OsStr, request: &Request) -> Result<Build, DiscoverError> {
    let mut child = Command::new(cargo)
        .args([
            "test",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .args(&request.build_arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|cause| DiscoverError::Start {
            program: cargo.to_owned(),
            cause,
        })?;
    let stdout = child.stdout.take().expect("stdout is piped above");
    let build = Build::from_messages(BufReader::new(stdout));
    let status = child.wait().map_err(DiscoverError::Messages)?;
    if !status.success() {
        return Err(DiscoverError::Build(status));
    }
    build.map_err(DiscoverError::Messages)
}

fn metadata(
    cargo: &OsStr,
    request: &Request,
    arguments: &[OsString],
) -> Result<Metadata, DiscoverError> {
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--no-deps", "--format-version=1"])
        .args(arguments);
    if let Some(directory) = &request.target_dir {
        command.env("CARGO_TARGET_DIR", directory);
    }
    let output = output(&mut command)?;
    if !output.status.success() {
        let message = message(&output);
        return Err(DiscoverError::Metadata {
            status: output.status,
            message,
        });
    }
    Metadata::from_json(&output.stdout).map_err(DiscoverError::MetadataJson)
}

/// `cargo test -p` also takes packages outside the workspace; they are asked for by manifest.
fn add_foreign_packages(
    cargo: &OsStr,
    request: &Request,
    build: &Build,
    metadata: &mut Metadata,
) -> Result<(), DiscoverError> {
    for test in &build.tests {
        let manifest = &test.manifest_path;
        if metadata
            .packages
            .iter()
            .any(|package| package.manifest_path == *manifest)
        {
            continue;
        }
        let argument = format!("--manifest-path={manifest}").into();
        metadata
            .packages
            .extend(self::metadata(cargo, request, &[argument])?.packages);
    }
    Ok(())
}

/// Where the compiler that cargo calls stands.
struct Compiler {
    sysroot: Utf8PathBuf,
    host: String,
}

impl Compiler {
    /// Beside `$CARGO` where cargo started us: rustup's proxy would cost more than the compiler.
    fn ask() -> Result<Self, DiscoverError> {
        let beside = env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
        let program = env::var_os("RUSTC")
            .or_else(|| {
                beside
                    .filter(|path| path.is_file())
                    .map(PathBuf::into_os_string)
            })
            .unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(program);
        let output = output(command.args(["--print", "sysroot", "--print", "target-libdir"]))?;
        Compiler::read(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
            let message = message(&output);
            DiscoverError::Compiler {
                status: output.status,
                message,
            }
        })
    }

    /// Two lines: `SYSROOT` and `SYSROOT/lib/rustlib/HOST/lib`. `--print host-tuple` is too young.
    fn read(printed: &str) -> Option<Self> {
        let mut lines = printed.lines();
        let sysroot = Utf8PathBuf::from(lines.next()?);
        let host = Utf8Path::new(lines.next()?)
            .parent()?
            .file_name()?
            .to_owned();
        Some(Compiler { sysroot, host })
    }

    /// What cargo has in `CARGO`: the one that started us, or the one that rustup's proxy starts.
    fn cargo(&self) -> OsString {
        let own = self.sysroot.join("bin/cargo");
        env::var_os("CARGO")
            .or_else(|| own.is_file().then(|| own.into()))
            .or_else(|| on_path("cargo").map(PathBuf::into_os_string))
            .unwrap_or_default()
    }

    /// `LD_LIBRARY_PATH` as cargo has it. Rustup's proxy puts the toolchain's `lib` in front of it;
    /// where cargo started us that has happened already.
    fn library_path(&self) -> OsString {
        let inherited = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let by_rustup = self
            .sysroot
            .parent()
            .is_some_and(|dir| dir.ends_with("toolchains"));
        if env::var_os("CARGO").is_some() || !by_rustup {
            return inherited;
        }
        let mut path = OsString::from(self.sysroot.join("lib"));
        if !inherited.is_empty() {
            path.push(":");
            path.push(inherited);
        }
        path
    }
}

fn output(command: &mut Command) -> Result<Output, DiscoverError> {
    let output = command.stdin(Stdio::null()).output();
    output.map_err(|cause| DiscoverError::Start {
        program: command.get_program().into(),
        cause,
    })
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn surroundings(request: &Request, compiler: Compiler) -> Result<Surroundings, DiscoverError> {
    let directory = env::current_dir().map_err(DiscoverError::CurrentDirectory)?;
    let cargo_home = env::var_os("CARGO_HOME")
        .map(|home| directory.join(home))
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let env_table = config::env_table(&directory, cargo_home.as_deref(), &request.config)
        .map_err(DiscoverError::Config)?;
    Ok(Surroundings {
        cargo: compiler.cargo(),
        library_path: compiler.library_path(),
        sysroot: compiler.sysroot,
        host: compiler.host,
        variables: env::vars_os().collect(),
        env_table,
    })
}

/// Puts the project together from what cargo and the compiler said.
fn assemble(
    scope: Scope,
    build: Build,
    metadata: &Metadata,
    around: &Surroundings,
) -> Result<Project, DiscoverError> {
    let packages: BTreeMap<&Utf8Path, &Package> = metadata
        .packages
        .iter()
        .map(|p| (p.manifest_path.as_path(), p))
        .collect();
    let mut manifests = BTreeMap::new();
    let mut tests = Vec::new();
    for test in &build.tests {
        let package = *packages
            .get(test.manifest_path.as_path())
            .ok_or_else(|| DiscoverError::UnknownPackage(test.package_id.clone()))?;
        if !manifests.contains_key(&test.manifest_path) {
            manifests.insert(&test.manifest_path, read_manifest(&test.manifest_path)?);
        }
        tests.push((test, package));
    }
    tests.sort_by_cached_key(|(test, package)| order(test, package));
    let assembly = Assembly {
        named: needs_package_flag(scope, metadata),
        metadata,
        around,
    };
    let binaries = tests
        .into_iter()
        .map(|(test, package)| {
            let harness = manifests[&test.manifest_path].harness(test.kind, &test.target_name);
            assembly.binary(test, package, harness, &build)
        })
        .collect();
    Ok(Project {
        workspace_root: metadata.workspace_root.clone(),
        target_directory: metadata.target_directory.clone(),
        build_directory: metadata.build_directory().clone(),
        package_directories: package_directories(&build, metadata),
        linked_paths: linked_paths(&build),
        sysroot: around.sysroot.clone(),
        binaries,
    })
}

/// What all binaries of a project share.
struct Assembly<'a> {
    named: bool,
    metadata: &'a Metadata,
    around: &'a Surroundings,
}

impl Assembly<'_> {
    fn binary(
        &self,
        test: &TestArtifact,
        package: &Package,
        harness: bool,
        build: &Build,
    ) -> Binary {
        let root = package.root();
        let target = &self.metadata.target_directory;
        let layout = Layout::of(&test.executable, target, self.metadata.build_directory());
        let flag = test.kind.target_flag(&test.target_name);
        Binary {
            id: test.kind.id(&package.name, &test.target_name),
            package_name: package.name.clone(),
            package_id: test.package_id.clone(),
            target_name: test.target_name.clone(),
            kind: test.kind,
            source: test
                .source
                .strip_prefix(&root)
                .unwrap_or(&test.source)
                .to_owned(),
            executable: test.executable.clone(),
            harness,
            environment: environment::variables(
                test,
                package,
                &layout,
                &build.scripts,
                self.around,
            ),
            rerun_flag: match self.named {
                true => format!("-p {} {flag}", package.name),
                false => flag,
            },
            working_directory: root,
        }
    }
}

/// Cargo's order of test binaries, that of its units: package, kind of target, name.
fn order(
    test: &TestArtifact,
    package: &Package,
) -> (
    String,
    Option<Version>,
    String,
    BinaryKind,
    String,
    Utf8PathBuf,
) {
    (
        package.name.clone(),
        Version::parse(&package.version).ok(),
        test.package_id.clone(),
        test.kind,
        test.target_name.clone(),
        test.executable.clone(),
    )
}

/// Whether cargo's advice on rerunning names the package (`Packages::needs_spec_flag`).
fn needs_package_flag(scope: Scope, metadata: &Metadata) -> bool {
    match scope {
        Scope::Default => metadata.default_members() > 1,
        Scope::Workspace => metadata.workspace_members.len() > 1,
        Scope::Named => true,
    }
}

fn read_manifest(path: &Utf8Path) -> Result<Manifest, DiscoverError> {
    let text = std::fs::read_to_string(path).map_err(|cause| DiscoverError::ReadManifest {
        path: path.to_owned(),
        cause,
    })?;
    Manifest::from_toml(&text).map_err(|cause| DiscoverError::ParseManifest {
        path: path.to_owned(),
        cause: Box::new(cause),
    })
}

fn package_directories(build: &Build, metadata: &Metadata) -> Vec<Utf8PathBuf> {
    let mut directories: Vec<Utf8PathBuf> = metadata.packages.iter().map(Package::root).collect();
    directories.extend(build.local_packages.iter().cloned());
    directories.sort();
    directories.dedup();
    directories
}

fn linked_paths(build: &Build) -> Vec<Utf8PathBuf> {
    let mut paths = environment::native_directories(&build.scripts);
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(members: usize, default: usize) -> Metadata {
        let ids = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        Metadata {
            packages: Vec::new(),
            workspace_members: ids(members),
            workspace_default_members: Some(ids(default)),
            workspace_root: "/w".into(),
            target_directory: "/w/target".into(),
            build_directory: None,
        }
    }

    #[test]
    fn the_package_is_named_where_cargo_names_it() {
        assert!(!needs_package_flag(Scope::Default, &metadata(3, 1)));
        assert!(needs_package_flag(Scope::Default, &metadata(3, 2)));
        assert!(needs_package_flag(Scope::Workspace, &metadata(3, 1)));
        assert!(!needs_package_flag(Scope::Workspace, &metadata(1, 1)));
        assert!(needs_package_flag(Scope::Named, &metadata(1, 1)));
    }

    #[test]
    fn the_host_is_read_off_the_library_directory() {
        let compiler = Compiler::read("/s\n/s/lib/rustlib/x86_64-unknown-linux-gnu/lib\n");
        let compiler = compiler.expect("two lines");
        assert_eq!(compiler.sysroot, "/s");
        assert_eq!(compiler.host, "x86_64-unknown-linux-gnu");
        assert!(Compiler::read("error").is_none());
    }

    #[test]
    fn packages_stand_in_the_order_of_name_and_version() {
        let test = |kind, name: &str| TestArtifact {
            package_id: String::new(),
            manifest_path: "/p/Cargo.toml".into(),
            target_name: name.to_owned(),
            kind,
            source: "/p/src/lib.rs".into(),
            executable: "/t/x".into(),
        };
        let package = |version: &str| Package {
            name: "p".to_owned(),
            version: version.to_owned(),
            ..Package::default()
        };
        let old = order(&test(BinaryKind::Test, "z"), &package("0.9.0"));
        let new = order(&test(BinaryKind::Lib, "a"), &package("0.10.0"));
        let newer = order(&test(BinaryKind::Bin, "a"), &package("0.10.0"));
        assert!(old < new && new < newer);
    }
}
