//! Puts a project together from what cargo and the compiler said.
//!
//! Reads the manifests of the tested packages, and is otherwise pure.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::semver::Version;

use super::environment::{self, CargoEnvironment, Layout};
use super::error::DiscoverError;
use super::manifest::Manifest;
use super::messages::{BuildOutput, TestArtifact};
use super::metadata::{Metadata, Package, Target};
use super::project::{Binary, BinaryKind, BuildOrigin, Declared, Project, Scope};
use super::runners;

/// The project: its test binaries in cargo's order, each with its environment.
pub(super) fn assemble(
    scope: Scope,
    build: BuildOutput,
    metadata: &Metadata,
    cargo_env: &CargoEnvironment,
) -> Result<Project, DiscoverError> {
    let packages: BTreeMap<&Utf8Path, &Package> =
        metadata.packages.iter().map(|p| (p.manifest_path.as_path(), p)).collect();
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
    let has_doctests = tests.iter().any(|(test, package)| {
        let is_library = matches!(test.kind, BinaryKind::Lib | BinaryKind::ProcMacro);
        let named = |target: &&Target| target.name == test.target_name;
        is_library && package.targets.iter().filter(named).any(|target| target.doctest)
    });
    let assembly = Assembly { named: needs_package_flag(scope, metadata), metadata, cargo_env };
    let binaries = tests
        .into_iter()
        .map(|(test, package)| {
            let manifest = &manifests[&test.manifest_path];
            let declared = manifest.declared(test.kind, &test.target_name);
            assembly.binary(test, package, declared, &build)
        })
        .collect::<Result<_, _>>()?;
    Ok(Project {
        workspace_root: metadata.workspace_root.clone(),
        target_directory: metadata.target_directory.clone(),
        build_directory: metadata.build_directory().clone(),
        package_directories: package_directories(&build, metadata),
        linked_paths: linked_paths(&build),
        moved: Vec::new(),
        sysroot: cargo_env.sysroot.clone(),
        has_doctests,
        binaries,
    })
}

/// Data that all binaries of a project share.
struct Assembly<'a> {
    named: bool,
    metadata: &'a Metadata,
    cargo_env: &'a CargoEnvironment,
}

impl Assembly<'_> {
    fn binary(
        &self,
        test: &TestArtifact,
        package: &Package,
        declared: Declared,
        build: &BuildOutput,
    ) -> Result<Binary, DiscoverError> {
        let root = package.root();
        let target = &self.metadata.target_directory;
        let layout = Layout::of(&test.executable, target, self.metadata.build_directory());
        let flag = test.kind.target_flag(&test.target_name);
        let triple = layout.triple.as_deref().unwrap_or(&self.cargo_env.host);
        let runner = runners::words(&self.cargo_env.config.runners, triple)?;
        let (environment, presets) =
            environment::variables(test, package, &layout, &build.scripts, self.cargo_env);
        Ok(Binary {
            id: test.kind.id(&package.name, &test.target_name),
            package_name: package.name.clone(),
            package_id: test.package_id.clone(),
            target_name: test.target_name.clone(),
            kind: test.kind,
            source: test.source.strip_prefix(&root).unwrap_or(&test.source).to_owned(),
            executable: test.executable.clone(),
            declared,
            runner,
            environment,
            presets,
            rerun_flag: match self.named {
                true => format!("-p {} {flag}", package.name),
                false => flag,
            },
            working_directory: root,
            origin: BuildOrigin::Here,
        })
    }
}

/// Cargo's order of test binaries, that of its units: package, kind of target, name.
fn order(
    test: &TestArtifact,
    package: &Package,
) -> (String, Option<Version>, String, BinaryKind, String, Utf8PathBuf) {
    (
        package.name.clone(),
        Version::parse(&package.version).ok(),
        test.package_id.clone(),
        test.kind,
        test.target_name.clone(),
        test.executable.clone(),
    )
}

/// True if cargo's advice on rerunning names the package (`Packages::needs_spec_flag`).
fn needs_package_flag(scope: Scope, metadata: &Metadata) -> bool {
    match scope {
        Scope::Default => metadata.default_members() > 1,
        Scope::Workspace => metadata.workspace_members.len() > 1,
        Scope::Named => true,
    }
}

/// The manifest at a path.
pub(super) fn read_manifest(path: &Utf8Path) -> Result<Manifest, DiscoverError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| DiscoverError::ReadManifest { path: path.to_owned(), cause })?;
    Manifest::from_toml(&text).map_err(|cause| DiscoverError::ParseManifest {
        path: path.to_owned(),
        cause: Box::new(cause),
    })
}

fn package_directories(build: &BuildOutput, metadata: &Metadata) -> Vec<Utf8PathBuf> {
    let mut directories: Vec<Utf8PathBuf> = metadata.packages.iter().map(Package::root).collect();
    directories.extend(build.local_packages.iter().cloned());
    directories.sort();
    directories.dedup();
    directories
}

fn linked_paths(build: &BuildOutput) -> Vec<Utf8PathBuf> {
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
