//! Runs cargo and the compiler, side by side, and has what they say put together.
//!
//! Three processes: the build, `cargo metadata --no-deps` and `rustc --print`. Without
//! dependencies, metadata resolves nothing: it takes no lock that the build would have to wait for,
//! needs no network and refuses no feature flags; and the local packages among the dependencies,
//! exactly those that were built, are named by the build's own messages.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use camino::Utf8PathBuf;

use super::assemble::assemble;
use super::built::Built;
use super::compiler::Compiler;
use super::config::{self, CargoConfig};
use super::environment::CargoEnvironment;
use super::error::DiscoverError;
use super::messages::BuildOutput;
use super::metadata::Metadata;
use super::process::{message, output};
use super::project::{Project, Scope};
use super::runners;

/// Options of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildRequest {
    /// Options for `cargo test --no-run`.
    pub build_arguments: Vec<OsString>,
    /// Those that `cargo metadata` takes.
    pub metadata_arguments: Vec<OsString>,
    /// `--target-dir`, which `cargo metadata` does not take.
    pub target_dir: Option<PathBuf>,
    /// The values of `--config`.
    pub config: Vec<OsString>,
    /// Packages that the command line selects.
    pub scope: Scope,
}

/// Builds the project's tests and says what was built. Compiler messages go to stderr as cargo
/// prints them.
pub fn discover(request: &BuildRequest) -> Result<Project, DiscoverError> {
    let BuildParts { build, metadata, cargo_env } = parts(request)?;
    assemble(request.scope, build, &metadata, &cargo_env)
}

/// The same, with all that an archive has of it.
pub fn build_for_archive(request: &BuildRequest) -> Result<Built, DiscoverError> {
    let BuildParts { build, metadata: packages, cargo_env } = parts(request)?;
    let project = assemble(request.scope, build.clone(), &packages, &cargo_env)?;
    let mut command = metadata_command(&cargo(), &request.metadata_arguments);
    // Dependencies of other platforms need not be there.
    let metadata = stdout(command.args(["--all-features", "--filter-platform", &cargo_env.host]))?;
    Ok(Built { project, metadata, build, packages, cargo_env })
}

/// Output of cargo and the compiler.
struct BuildParts {
    build: BuildOutput,
    metadata: Metadata,
    cargo_env: CargoEnvironment,
}

fn parts(request: &BuildRequest) -> Result<BuildParts, DiscoverError> {
    let cargo = cargo();
    let (build, metadata, compiler) = thread::scope(|scope| {
        let metadata = scope.spawn(|| metadata(&cargo, request, &request.metadata_arguments));
        let compiler = scope.spawn(Compiler::find);
        let build = build(&cargo, request);
        (build, metadata.join(), compiler.join())
    });
    // In this order: cargo has already said why a build failed, and the rest says the same again.
    let build = build?;
    let mut metadata = metadata.expect("the thread has no panic path")?;
    let compiler = compiler.expect("the thread has no panic path")?;
    add_foreign_packages(&cargo, request, &build, &mut metadata)?;
    let cargo_env = surroundings(request, compiler)?;
    Ok(BuildParts { build, metadata, cargo_env })
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn build(cargo: &OsStr, request: &BuildRequest) -> Result<BuildOutput, DiscoverError> {
    let mut child = Command::new(cargo)
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(&request.build_arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|cause| DiscoverError::Start { program: cargo.to_owned(), cause })?;
    let stdout = child.stdout.take().expect("stdout is piped above");
    let build = BuildOutput::from_messages(BufReader::new(stdout));
    let status = child.wait().map_err(DiscoverError::Messages)?;
    if !status.success() {
        return Err(DiscoverError::Build(status));
    }
    build.map_err(DiscoverError::Messages)
}

fn metadata(
    cargo: &OsStr,
    request: &BuildRequest,
    arguments: &[OsString],
) -> Result<Metadata, DiscoverError> {
    let mut command = metadata_command(cargo, arguments);
    command.arg("--no-deps");
    if let Some(directory) = &request.target_dir {
        command.env("CARGO_TARGET_DIR", directory);
    }
    Metadata::from_json(&stdout(&mut command)?).map_err(DiscoverError::MetadataJson)
}

/// The target directory of the project that a request names.
pub fn target_directory(request: &BuildRequest) -> Result<Utf8PathBuf, DiscoverError> {
    Ok(metadata(&cargo(), request, &request.metadata_arguments)?.target_directory)
}

/// The root of the workspace that a request names.
pub fn workspace_root(request: &BuildRequest) -> Result<Utf8PathBuf, DiscoverError> {
    Ok(metadata(&cargo(), request, &request.metadata_arguments)?.workspace_root)
}

/// Output of `cargo metadata`; with `dependencies`, those of every feature are resolved.
pub(super) fn metadata_json(
    arguments: &[OsString],
    dependencies: bool,
) -> Result<Vec<u8>, DiscoverError> {
    let mut command = metadata_command(&cargo(), arguments);
    command.arg(if dependencies { "--all-features" } else { "--no-deps" });
    stdout(&mut command)
}

fn metadata_command(cargo: &OsStr, arguments: &[OsString]) -> Command {
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version=1"]).args(arguments);
    command
}

fn stdout(command: &mut Command) -> Result<Vec<u8>, DiscoverError> {
    let output = output(command)?;
    if !output.status.success() {
        let message = message(&output);
        return Err(DiscoverError::Metadata { status: output.status, message });
    }
    Ok(output.stdout)
}

/// `cargo test -p` also takes packages outside the workspace; they are asked for by manifest.
fn add_foreign_packages(
    cargo: &OsStr,
    request: &BuildRequest,
    build: &BuildOutput,
    metadata: &mut Metadata,
) -> Result<(), DiscoverError> {
    for test in &build.tests {
        let manifest = &test.manifest_path;
        if metadata.packages.iter().any(|package| package.manifest_path == *manifest) {
            continue;
        }
        let argument = format!("--manifest-path={manifest}").into();
        metadata.packages.extend(self::metadata(cargo, request, &[argument])?.packages);
    }
    Ok(())
}

/// The words of the runner that cargo has for documentation tests of the project; none where there
/// is none. `triple` is that of the target, where one is asked for.
pub fn runner(
    request: &BuildRequest,
    triple: Option<&str>,
) -> Result<Vec<OsString>, DiscoverError> {
    let cargo_env = surroundings(request, Compiler::find()?)?;
    Ok(runners::words(&cargo_env.config.runners, triple.unwrap_or(&cargo_env.host))?)
}

fn surroundings(
    request: &BuildRequest,
    compiler: Compiler,
) -> Result<CargoEnvironment, DiscoverError> {
    let directory = env::current_dir().map_err(DiscoverError::CurrentDirectory)?;
    let variables: Vec<_> = env::vars_os().collect();
    Ok(CargoEnvironment {
        config: config(&directory, &request.config, &variables)?,
        cargo: compiler.cargo(),
        library_path: compiler.library_path(),
        sysroot: compiler.sysroot,
        host: compiler.host,
        variables,
        archived_libraries: None,
    })
}

/// Cargo's configuration as it sees it from a directory.
pub(super) fn config(
    directory: &Path,
    options: &[OsString],
    variables: &[(OsString, OsString)],
) -> Result<CargoConfig, DiscoverError> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(|home| directory.join(home))
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let reader =
        config::ConfigReader { directory, cargo_home: cargo_home.as_deref(), includes: &includes };
    reader.read(options, variables).map_err(DiscoverError::Config)
}

/// True if cargo knows `include` in its configuration, as it does since 1.94. If there is no cargo,
/// the newest is assumed.
fn includes() -> bool {
    let version = Command::new(cargo()).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let minor = version.iter().flat_map(|text| text.split('.').nth(1)).next();
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_none_or(|minor| minor >= 94)
}
