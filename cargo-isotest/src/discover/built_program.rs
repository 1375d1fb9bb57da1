//! Identification of a program that cargo, or a substitute, has started through `target.runner`:
//! its project is read from the environment and the paths. Asking cargo would cost more than a
//! test.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use isotest_core::untrusted;

use super::assemble::read_manifest;
use super::error::DiscoverError;
use super::layout;
use super::manifest::Manifest;
use super::project::{Binary, BinaryKind, BuildOrigin, Project};

/// Call of a runner.
#[derive(Debug, Clone, Copy)]
pub struct ProgramCall<'a> {
    /// The program, absolute.
    pub program: &'a Path,
    /// The working directory.
    pub directory: &'a Path,
    /// The environment.
    pub variables: &'a [(OsString, OsString)],
    /// Variables that were set for this program.
    pub set: &'a [(OsString, OsString)],
}

/// A program and the project it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltProgram {
    /// The project, without its binaries.
    pub project: Project,
    /// The program.
    pub binary: Binary,
    /// Its purpose.
    pub purpose: Purpose,
    /// True if the caller keeps all of its output.
    pub is_kept: bool,
}

/// Purpose of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be tested or measured.
    Test,
    /// To be used: a binary or an example, as `cargo run` runs it.
    Use,
    /// Unknown: it lies outside of a target directory, as documentation tests do.
    Unknown,
}

/// Describes a program that cargo has built and started.
pub fn built_program(call: &ProgramCall<'_>) -> Result<BuiltProgram, DiscoverError> {
    let directory = utf8(call.directory)?;
    let program = utf8(call.program)?;
    let package = match call.variable("CARGO_MANIFEST_DIR") {
        Some(manifest) => utf8(manifest.as_ref())?,
        None => directory.clone(),
    };
    let manifest = manifest_in(&package)?.unwrap_or_default();
    let workspace_root = match manifest.named_root() {
        Some(root) => package.join(root),
        None => workspace_root(&package)?,
    };
    let beside = program.parent().unwrap_or(&program);
    let build_directory = cache(&program).unwrap_or(beside).to_owned();
    let target_directory = target_directory(call, &directory)?
        .unwrap_or_else(|| cache(&program).map_or(workspace_root.join("target"), Into::into));
    let project = Project {
        workspace_root,
        target_directory,
        build_directory,
        package_directories: vec![package],
        linked_paths: library_directories(call),
        moved: Vec::new(),
        sysroot: sysroot(call).unwrap_or_default(),
        has_doctests: false,
        binaries: Vec::new(),
    };
    let purpose = match (hashed(&program), cache(&program)) {
        (Some(_), _) => Purpose::Test,
        (None, Some(_)) => Purpose::Use,
        (None, None) => Purpose::Unknown,
    };
    let binary = binary(call, program, directory, &manifest, &project);
    Ok(BuiltProgram { project, binary, purpose, is_kept: false })
}

/// The name of the crate, where cargo has added a hash to that of the program.
fn hashed(program: &Utf8Path) -> Option<&str> {
    crate_name(program.file_name().unwrap_or_default())
}

/// The binary that the program is.
fn binary(
    call: &ProgramCall<'_>,
    program: Utf8PathBuf,
    directory: Utf8PathBuf,
    manifest: &Manifest,
    project: &Project,
) -> Binary {
    let package: &Utf8Path = project.package_directories.first().map_or(&directory, |path| path);
    let package_name = call.variable("CARGO_PKG_NAME").map_or_else(
        || package.file_name().unwrap_or_default().to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let target_name = hashed(&program).unwrap_or(program.file_name().unwrap_or_default());
    let source = source(&program, &project.workspace_root, package);
    let target = source.as_deref().and_then(|source| layout::target(source, &package_name));
    let target = target.filter(|(_, name)| name.replace('-', "_") == target_name);
    let built = program.strip_prefix(&project.build_directory).unwrap_or(&program);
    let mut rerun = layout::build_options(built);
    rerun.push(format!("-p {package_name}"));
    rerun.extend(target.map(|(kind, name)| kind.target_flag(name)));
    let declared = manifest.declared_of(target_name, source.as_deref());
    // A library is named like its package.
    let guessed = match target_name == package_name.replace('-', "_") {
        true => BinaryKind::Lib,
        false => BinaryKind::Test,
    };
    let (kind, target_name) = target.unwrap_or((guessed, target_name));
    Binary {
        id: kind.id(&package_name, target_name),
        package_id: package_name.clone(),
        target_name: target_name.to_owned(),
        kind,
        source: Utf8PathBuf::new(),
        executable: program.clone(),
        working_directory: directory,
        declared,
        runner: Vec::new(),
        environment: call.set.to_vec(),
        presets: Vec::new(),
        rerun_flag: rerun.join(" "),
        package_name,
        origin: BuildOrigin::Here,
    }
}

impl BuiltProgram {
    /// The project with no other binary than the program.
    pub fn alone(&self) -> Project {
        Project { binaries: vec![self.binary.clone()], ..self.project.clone() }
    }
}

impl<'a> ProgramCall<'a> {
    fn variable(&self, name: &str) -> Option<&'a OsStr> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }
}

/// The main source file of a program, relative to its package, where rustc has told it beside the
/// program: in `NAME.d`, as the first prerequisite of a rule (`rustc --emit=dep-info`). Cargo
/// compiles in the root of the workspace.
fn source(program: &Utf8Path, root: &Utf8Path, package: &Utf8Path) -> Option<Utf8PathBuf> {
    /// Names of files; no crate has so many.
    const MAX_BYTES: u64 = 16 << 20;
    let rules = format!("{program}.d");
    let (directory, name) = untrusted::place(Path::new(&rules)).ok()?;
    let rules = String::from_utf8(directory.read(name, MAX_BYTES).ok()?).ok()?;
    let prerequisites = rules.lines().next()?.split_once(": ")?.1;
    let ends = prerequisites.match_indices(' ').map(|(at, _)| at);
    let end = ends.into_iter().find(|at| !prerequisites[..*at].ends_with('\\'));
    let first = prerequisites[..end.unwrap_or(prerequisites.len())].replace("\\ ", " ");
    let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
    let source = real(&root.join(first))?;
    source.strip_prefix(real(package)?).ok().map(Utf8PathBuf::from)
}

/// The name of the crate, where a file's name ends in cargo's hash: nothing that is built to be
/// used does.
fn crate_name(file: &str) -> Option<&str> {
    let (name, hash) = file.rsplit_once('-')?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (hash.len() == 16 && hash.bytes().all(is_digit)).then_some(name)
}

/// The directory that cargo has marked as its own (CACHEDIR.TAG), of those above a path.
fn cache(path: &Utf8Path) -> Option<&Utf8Path> {
    path.ancestors().skip(1).find(|above| above.join("CACHEDIR.TAG").is_file())
}

/// The target directory, where it need not be that of the program: a build directory of its own
/// has what is tested, and the target directory the binaries that tests start. The loader looks
/// there first.
fn target_directory(
    call: &ProgramCall<'_>,
    directory: &Utf8Path,
) -> Result<Option<Utf8PathBuf>, DiscoverError> {
    if let Some(target) = call.variable("CARGO_TARGET_DIR") {
        return Ok(Some(directory.join(utf8(target.as_ref())?)));
    }
    let is_binary = |name: &OsStr| name.to_string_lossy().starts_with("CARGO_BIN_EXE_");
    let binary = call.set.iter().find(|(name, _)| is_binary(name));
    let binary = binary.map(|(_, path)| utf8(path.as_ref())).transpose()?;
    let libraries = library_directories(call);
    let found = binary.as_deref().into_iter().chain(libraries.iter().map(Utf8PathBuf::as_path));
    Ok(found.filter_map(cache).next().map(Into::into))
}

/// The directory of the package or workspace that a directory is in, and that of its workspace, both as
/// cargo finds them. A manifest that cannot be read has no workspace. `None` if there is no package.
pub fn project_around(directory: &Path) -> Option<(PathBuf, PathBuf)> {
    let package = directory.ancestors().find(|above| above.join("Cargo.toml").is_file())?;
    let root = Utf8Path::from_path(package).and_then(|package| root_of(package).ok());
    Some((package.to_owned(), root.map_or(package.to_owned(), Into::into)))
}

/// The root of a package's workspace, which the package names or which is found above it.
fn root_of(package: &Utf8Path) -> Result<Utf8PathBuf, DiscoverError> {
    let own = manifest_in(package)?;
    let Some(named) = own.as_ref().and_then(Manifest::named_root) else {
        return workspace_root(package);
    };
    let named = package.join(named);
    let is_root = manifest_in(&named)?.is_some_and(|manifest| manifest.is_root_of("".into()));
    Ok(if is_root { named } else { package.to_owned() })
}

/// The nearest directory, the package's or above it, with the manifest of a workspace that does not
/// exclude the package; the package's where there is none.
fn workspace_root(package: &Utf8Path) -> Result<Utf8PathBuf, DiscoverError> {
    for above in package.ancestors() {
        let relative = package.strip_prefix(above).unwrap_or(package);
        if manifest_in(above)?.is_some_and(|manifest| manifest.is_root_of(relative)) {
            return Ok(above.to_owned());
        }
    }
    Ok(package.to_owned())
}

fn manifest_in(directory: &Utf8Path) -> Result<Option<Manifest>, DiscoverError> {
    let path = directory.join("Cargo.toml");
    path.is_file().then(|| read_manifest(&path)).transpose()
}

/// Search path of the loader: directories that build scripts link, and the standard library.
fn library_directories(call: &ProgramCall<'_>) -> Vec<Utf8PathBuf> {
    let path = call.variable("LD_LIBRARY_PATH").unwrap_or_default();
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.filter_map(|directory| Utf8PathBuf::try_from(directory).ok()).collect()
}

/// The toolchain that `CARGO` is part of.
fn sysroot(call: &ProgramCall<'_>) -> Option<Utf8PathBuf> {
    let cargo = Path::new(call.variable("CARGO")?).canonicalize().ok()?;
    let sysroot = cargo.parent()?.parent()?;
    sysroot.join("lib/rustlib").is_dir().then(|| Utf8PathBuf::try_from(sysroot.to_owned()).ok())?
}

fn utf8(path: &Path) -> Result<Utf8PathBuf, DiscoverError> {
    Utf8PathBuf::try_from(path.to_owned())
        .map_err(|error| DiscoverError::NotUtf8(error.into_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tested_has_a_hash_in_its_name() {
        assert_eq!(crate_name("de_mo-c892aaa1a3e82ffc"), Some("de_mo"));
        assert_eq!(crate_name("de-mo"), None);
        assert_eq!(crate_name("rust_out"), None);
        assert_eq!(crate_name("a-C892AAA1A3E82FFC"), None);
    }

    #[test]
    fn the_root_is_that_of_the_nearest_workspace_that_has_the_package() {
        let place = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(place.path()).expect("UTF-8");
        let write = |directory: &str, text| {
            std::fs::create_dir_all(root.join(directory)).expect("writable");
            std::fs::write(root.join(directory).join("Cargo.toml"), text).expect("writable");
        };
        write("", "[workspace]\n");
        write("w", "[workspace]\nexclude = ['out']\n");
        write("w/in", "[package]\nname = 'in'\n");
        write("w/out", "[package]\nname = 'out'\n");
        write("w/own", "[package]\nname = 'own'\n[workspace]\n");
        let found = |package| workspace_root(&root.join(package)).expect("manifests");
        assert_eq!(found("w/in"), root.join("w"));
        assert_eq!(found("w/out"), *root);
        assert_eq!(found("w/own"), root.join("w/own"));
        write("w/broken", "[package\n");
        write("w/named", "[package]\nname = 'named'\nworkspace = '../own'\n");
        write("w/misled", "[package]\nname = 'misled'\nworkspace = '../in'\n");
        std::fs::create_dir_all(root.join("w/in/src/deep")).expect("writable");
        let around = |directory: &str, package: &str, workspace: &str| {
            let expected = (root.join(package).into(), root.join(workspace).into());
            assert_eq!(project_around(root.join(directory).as_ref()), Some(expected));
        };
        around("w/in/src/deep", "w/in", "w");
        around("w/broken", "w/broken", "w/broken");
        around("w/named", "w/named", "w/named/../own");
        around("w/misled", "w/misled", "w/misled");
        assert_eq!(project_around(Path::new("/")), None);
    }
}
