//! A build that was made before, perhaps on another machine: cargo-nextest's description of it and
//! the output of `cargo metadata` become a [`Project`]. Neither cargo nor rustc is needed.
//!
//! Both name paths of the machine that has built; [`RemapPaths`] says where these are now.

use std::env;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use guppy::CargoMetadata;
use guppy::graph::PackageGraph;
use nextest_metadata::{BinaryListSummary, RustTestBinarySummary};

use super::assemble::assemble;
use super::cargo;
use super::compiler::Compiler;
use super::environment::CargoEnvironment;
use super::error::DiscoverError;
use super::filterset::FilterPackages;
use super::messages::{BuildOutput, BuildScript, TestArtifact};
use super::metadata::{Metadata, Package};
use super::project::{BinaryKind, BuildOrigin, Project, Scope};
use isotest_core::escape::is_deceptive;

/// Present places of the directories of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemapPaths {
    /// The root of the workspace; `None`: where it was.
    pub workspace: Option<Utf8PathBuf>,
    /// The target directory; `None`: where it was.
    pub target: Option<Utf8PathBuf>,
    /// The build directory; `None`: where it was.
    pub build: Option<Utf8PathBuf>,
}

/// A build that was made before.
#[derive(Debug)]
pub struct Reused {
    summary: BinaryListSummary,
    metadata: Metadata,
    graph: PackageGraph,
    moves: Vec<PathRemap>,
}

/// A directory, and where it is now.
#[derive(Debug)]
struct PathRemap {
    from: Utf8PathBuf,
    to: Utf8PathBuf,
}

impl Reused {
    /// From cargo-nextest's list of binaries and the output of `cargo metadata`, both in JSON.
    pub fn read(
        binaries: &str,
        metadata: &str,
        places: RemapPaths,
    ) -> Result<Reused, DiscoverError> {
        let summary: BinaryListSummary =
            serde_json::from_str(binaries).map_err(DiscoverError::BinariesMetadata)?;
        let graph = CargoMetadata::parse_json(metadata).and_then(CargoMetadata::build_graph);
        let graph = graph.map_err(|cause| DiscoverError::Graph(Box::new(cause)))?;
        let mut metadata =
            Metadata::from_json(metadata.as_bytes()).map_err(DiscoverError::MetadataJson)?;
        // What comes from a registry is neither tested nor shown.
        metadata.packages.retain(|package| package.source.is_none());
        let build = &summary.rust_build_meta;
        let target_directory = &build.target_directory;
        let build_directory = build.build_directory.as_ref().unwrap_or(target_directory);
        // The target directory often lies in the workspace: it comes first. What is built lies in
        // these two.
        let moves = [
            (build_directory, places.build),
            (target_directory, places.target),
            (&metadata.workspace_root, places.workspace),
        ];
        let moves = moves.map(|(from, to)| PathRemap {
            to: to.unwrap_or_else(|| from.clone()),
            from: from.clone(),
        });
        let reused = Reused { graph, moves: moves.into(), summary, metadata };
        reused.check()?;
        Ok(reused)
    }

    /// Fails where a path or a name is none that cargo would give. Nobody vouches for the
    /// description, and what it names is shown to tests.
    fn check(&self) -> Result<(), DiscoverError> {
        let build = &self.summary.rust_build_meta;
        let directories = [&self.metadata.workspace_root, &build.target_directory];
        for directory in directories.into_iter().chain(&build.build_directory) {
            check_path("the directory", directory, Utf8Path::is_absolute, "is not absolute")?;
        }
        for package in &self.metadata.packages {
            check_name("the package", &package.name)?;
            let whole = Utf8Path::is_absolute;
            check_path("the manifest", &package.manifest_path, whole, "is not absolute")?;
        }
        let of_build = |path: &Utf8Path| {
            let built = self.moves.iter().take(2);
            path.is_absolute() && built.into_iter().any(|built| path.starts_with(&built.from))
        };
        for binary in self.summary.rust_binaries.values() {
            check_name("the binary", &binary.binary_name)?;
            check_path("the binary", &binary.binary_path, of_build, OUTSIDE)?;
        }
        let made = build.build_script_out_dirs.values().chain(&build.linked_paths);
        for path in made.map(|path| Utf8Path::new(path.as_str())) {
            check_path("the directory", path, Utf8Path::is_relative, OUTSIDE)?;
        }
        Ok(())
    }

    /// The directory of the workspace's manifest.
    pub fn workspace_root(&self) -> Utf8PathBuf {
        self.place(&self.metadata.workspace_root)
    }

    /// The packages of the workspace, for filter expressions.
    pub fn workspace(&self) -> FilterPackages {
        FilterPackages::known(self.graph.clone(), self.workspace_root())
    }

    /// The project: its test binaries in cargo's order, each with its environment. Its sources must
    /// be there.
    pub fn project(&self) -> Result<Project, DiscoverError> {
        let root = self.workspace_root();
        if !root.join("Cargo.toml").is_file() {
            return Err(DiscoverError::NoSources(root));
        }
        let metadata = self.placed_metadata();
        let build = self.build(&metadata)?;
        let cargo_env = self.surroundings(&root)?;
        let mut project = assemble(Scope::Named, build, &metadata, &cargo_env)?;
        // Rustdoc would have to build them.
        project.has_doctests = false;
        project.moved = self.moved();
        self.check_linked(&project)?;
        // Of other directories than packages' the description has nothing to say.
        project.package_directories.retain(|directory| directory.join("Cargo.toml").is_file());
        for binary in &mut project.binaries {
            binary.rerun_flag = format!("-E 'binary_id(={})'", binary.id);
            binary.origin = BuildOrigin::Elsewhere;
        }
        Ok(project)
    }

    /// Fails where a directory with libraries is elsewhere than it says, by a link.
    fn check_linked(&self, project: &Project) -> Result<(), DiscoverError> {
        let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
        let built = [&project.target_directory, &project.build_directory].map(|path| real(path));
        let is_built = |path: Utf8PathBuf| built.iter().flatten().any(|it| path.starts_with(it));
        // A path that does not exist cannot be shown.
        let is_elsewhere = |path: &&Utf8PathBuf| real(path).is_some_and(|path| !is_built(path));
        match project.linked_paths.iter().find(is_elsewhere) {
            Some(path) => {
                let (what, name) = ("the directory", path.to_string());
                Err(DiscoverError::Strange { what, name, wrong: OUTSIDE })
            }
            None => Ok(()),
        }
    }

    /// Present place of a path of the build.
    fn place(&self, path: &Utf8Path) -> Utf8PathBuf {
        let moved = self.moves.iter().find_map(|PathRemap { from, to }| {
            let inner = path.strip_prefix(from).ok()?;
            Some(if inner.as_str().is_empty() { to.clone() } else { to.join(inner) })
        });
        moved.unwrap_or_else(|| path.to_owned())
    }

    /// The directories that have moved and have a name of their own.
    fn moved(&self) -> Vec<(Utf8PathBuf, Utf8PathBuf)> {
        let below_another = |path: &Utf8Path| {
            self.moves.iter().any(|other| other.from != path && path.starts_with(&other.from))
        };
        let moved = self.moves.iter().filter(|one| one.from != one.to && !below_another(&one.from));
        moved.map(|PathRemap { from, to }| (from.clone(), to.clone())).collect()
    }

    fn placed_metadata(&self) -> Metadata {
        let mut metadata = self.metadata.clone();
        let build = &self.summary.rust_build_meta;
        metadata.workspace_root = self.place(&metadata.workspace_root);
        metadata.target_directory = self.place(&build.target_directory);
        let build_directory = build.build_directory.as_ref().unwrap_or(&build.target_directory);
        metadata.build_directory = Some(self.place(build_directory));
        for package in &mut metadata.packages {
            package.manifest_path = self.place(&package.manifest_path);
            for target in &mut package.targets {
                target.src_path = self.place(&target.src_path);
            }
        }
        metadata
    }

    /// The messages that cargo would have printed.
    fn build(&self, metadata: &Metadata) -> Result<BuildOutput, DiscoverError> {
        let binaries = self.summary.rust_binaries.values();
        let tests = binaries.map(|binary| self.test(binary, metadata));
        Ok(BuildOutput { tests: tests.collect::<Result<_, _>>()?, ..self.scripts(metadata) })
    }

    fn test(
        &self,
        binary: &RustTestBinarySummary,
        metadata: &Metadata,
    ) -> Result<TestArtifact, DiscoverError> {
        let of_id = |package: &&Package| package.id == binary.package_id;
        let package = metadata.packages.iter().find(of_id);
        let package =
            package.ok_or_else(|| DiscoverError::UnknownPackage(binary.package_id.clone()))?;
        let kind = BinaryKind::from_name(binary.kind.as_str()).ok_or_else(|| {
            let id = binary.binary_id.as_str().to_owned();
            DiscoverError::UnknownKind { binary: id, kind: binary.kind.as_str().to_owned() }
        })?;
        let source = package.source_of(&binary.binary_name, kind);
        Ok(TestArtifact {
            package_id: package.id.clone(),
            manifest_path: package.manifest_path.clone(),
            target_name: binary.binary_name.clone(),
            kind,
            source: source.map(Utf8Path::to_owned).unwrap_or_default(),
            executable: self.place(&binary.binary_path),
        })
    }

    /// Output of the build scripts alone. The script of each linked directory is not known, and
    /// nothing depends on it.
    fn scripts(&self, metadata: &Metadata) -> BuildOutput {
        let build = &self.summary.rust_build_meta;
        let directory = metadata.build_directory();
        let own = build.build_script_out_dirs.iter().map(|(package_id, out_dir)| {
            let known = build.build_script_info.as_ref().and_then(|known| known.get(package_id));
            let environment = known.map(|known| known.envs.clone().into_iter().collect());
            BuildScript {
                package_id: package_id.clone(),
                out_dir: directory.join(out_dir),
                environment: environment.unwrap_or_default(),
                linked: Vec::new(),
            }
        });
        let linked = build.linked_paths.iter().map(|linked| directory.join(linked));
        let linked = BuildScript {
            package_id: String::new(),
            out_dir: Utf8PathBuf::new(),
            environment: Vec::new(),
            linked: linked.collect(),
        };
        BuildOutput { scripts: own.chain([linked]).collect(), ..BuildOutput::default() }
    }

    /// Of the toolchain, what tests themselves may call: what there is of one.
    fn surroundings(&self, root: &Utf8Path) -> Result<CargoEnvironment, DiscoverError> {
        let compiler = Compiler::find().ok();
        let target = self.place(&self.summary.rust_build_meta.target_directory);
        let archived = target.join(LIBRARIES);
        let host = self.summary.rust_build_meta.platforms.as_ref();
        let host = host.map(|platforms| platforms.host.platform.triple.clone());
        let variables: Vec<_> = env::vars_os().collect();
        Ok(CargoEnvironment {
            archived_libraries: archived.is_dir().then_some(archived),
            config: cargo::config(root.as_std_path(), &[], &variables)?,
            cargo: compiler.as_ref().map(Compiler::cargo).unwrap_or_default(),
            library_path: match &compiler {
                Some(compiler) => compiler.library_path(),
                None => env::var_os("LD_LIBRARY_PATH").unwrap_or_default(),
            },
            sysroot: compiler.map(|compiler| compiler.sysroot).unwrap_or_default(),
            host: host.unwrap_or_default(),
            variables,
        })
    }
}

/// Message for a path that is not in the directories of the build.
const OUTSIDE: &str = "is not in the target directory";

/// Fails where a path is not of this form, or could lead elsewhere than it says.
fn check_path(
    what: &'static str,
    path: &Utf8Path,
    is_right: impl Fn(&Utf8Path) -> bool,
    otherwise: &'static str,
) -> Result<(), DiscoverError> {
    let climbs = path.components().any(|part| part == Utf8Component::ParentDir);
    let wrong = match path.as_str() {
        name if name.contains('\0') => "has a NUL byte",
        _ if climbs => "has `..` in its path",
        _ if !is_right(path) => otherwise,
        _ => return Ok(()),
    };
    Err(DiscoverError::Strange { what, name: path.to_string(), wrong })
}

/// Fails where a name could be more than a name where it is printed.
fn check_name(what: &'static str, name: &str) -> Result<(), DiscoverError> {
    match name.contains(is_deceptive) {
        true => {
            let wrong = "has control or format characters";
            Err(DiscoverError::Strange { what, name: name.to_owned(), wrong })
        }
        false => Ok(()),
    }
}

/// Standard libraries in an archive, below the target directory.
const LIBRARIES: &str = "nextest/libdirs";

#[cfg(test)]
mod tests {
    use super::*;

    const BINARIES: &str = r#"{"rust-build-meta":{"target-directory":"/w/target",
        "base-output-directories":["debug"],"non-test-binaries":{},"linked-paths":[]},
        "rust-binaries":{}}"#;
    const METADATA: &str = r#"{"packages":[],"workspace_members":[],"resolve":{"nodes":[],
        "root":null},"target_directory":"/w/target","version":1,"workspace_root":"/w",
        "metadata":null}"#;

    fn places(workspace: Option<&str>, target: Option<&str>) -> Reused {
        let [workspace, target] = [workspace, target].map(|path| path.map(Utf8PathBuf::from));
        let places = RemapPaths { workspace, build: target.clone(), target };
        Reused::read(BINARIES, METADATA, places).expect("a description")
    }

    #[test]
    fn paths_of_the_build_are_placed_by_the_nearest_directory() {
        let reused = places(Some("/x"), Some("/y"));
        assert_eq!(reused.place("/w/target/debug/a".into()), "/y/debug/a");
        assert_eq!(reused.place("/w/src/lib.rs".into()), "/x/src/lib.rs");
        assert_eq!(reused.place("/w".into()), "/x");
        assert_eq!(reused.place("/elsewhere/Cargo.toml".into()), "/elsewhere/Cargo.toml");
    }

    #[test]
    fn what_has_not_moved_is_where_it_was() {
        let reused = places(None, Some("/y"));
        assert_eq!(reused.place("/w/src/lib.rs".into()), "/w/src/lib.rs");
        assert_eq!(places(None, None).place("/w/target/a".into()), "/w/target/a");
    }

    #[test]
    fn a_name_below_another_cannot_stand_beside_it() {
        let whole = places(Some("/x"), Some("/y")).moved();
        assert_eq!(whole, [("/w".into(), "/x".into())]);
        assert!(places(None, Some("/y")).moved().is_empty());
    }

    #[track_caller]
    fn check_refused(binaries: &str, metadata: &str, words: &str) {
        let places = RemapPaths { workspace: None, target: None, build: None };
        let error = Reused::read(binaries, metadata, places).expect_err("it is hostile");
        let error = error.to_string();
        assert!(error.starts_with("cannot use the description of the build: "), "{error}");
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_path_that_no_build_has_is_refused() {
        let linked = |path: &str| BINARIES.replace(r#""linked-paths":[]"#, path);
        let outside = "is not in the target directory";
        check_refused(&linked(r#""linked-paths":["/home"]"#), METADATA, outside);
        check_refused(&linked(r#""linked-paths":["a/../../b"]"#), METADATA, "has `..` in");
        check_refused(&linked(r#""linked-paths":["a\u0000"]"#), METADATA, "has a NUL byte");
        let made = r#""linked-paths":[],"build-script-out-dirs":{"p":"/home"}"#;
        check_refused(&linked(made), METADATA, outside);
        let target = BINARIES.replace("/w/target", "/../old/home");
        check_refused(&target, METADATA, "directory `/../old/home` has `..` in its path");
        let target = BINARIES.replace("/w/target", "target");
        check_refused(&target, METADATA, "directory `target` is not absolute");
        let workspace = METADATA.replace(r#""/w""#, r#""/proc/../home""#);
        check_refused(BINARIES, &workspace, "has `..` in its path");
    }

    #[test]
    fn a_linked_directory_that_is_a_link_to_another_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let place = Utf8Path::from_path(place.path()).expect("it is text");
        for directory in ["w", "t/inside", "other"] {
            std::fs::create_dir_all(place.join(directory)).expect("it is writable");
        }
        std::fs::write(place.join("w/Cargo.toml"), "").expect("it is writable");
        let link = |target: &str, link: &str| {
            std::os::unix::fs::symlink(place.join(target), place.join(link)).expect("a link");
        };
        link("other", "t/out");
        link("t/inside", "t/in");
        let project = |linked: &str| {
            let binaries = BINARIES
                .replace(r#""linked-paths":[]"#, &format!(r#""linked-paths":["{linked}"]"#));
            let target = Some(place.join("t"));
            let workspace = Some(place.join("w"));
            let places = RemapPaths { workspace, build: target.clone(), target };
            Reused::read(&binaries, METADATA, places).expect("a description").project()
        };
        for linked in ["inside", "in", "none"] {
            project(linked).expect("it is in the target directory");
        }
        let error = project("out").expect_err("it leads out").to_string();
        assert!(error.contains("/t/out` is not in the target directory"), "{error}");
    }

    #[test]
    fn a_binary_outside_of_the_build_is_refused() {
        let binary = |path: &str, name: &str| {
            let binary = format!(
                r#""rust-binaries":{{"b":{{"binary-id":"b","binary-name":"{name}","package-id":"p",
                "kind":"lib","binary-path":"{path}","build-platform":"target"}}}}"#
            );
            BINARIES.replace(r#""rust-binaries":{}"#, &binary)
        };
        let outside = "the binary `/usr/bin/sh` is not in the target directory";
        check_refused(&binary("/usr/bin/sh", "b"), METADATA, outside);
        let control = r"the binary `\u{1b}[m\n::error::` has control or format characters";
        check_refused(&binary("/w/target/b", r"\u001b[m\n::error::"), METADATA, control);
    }

    #[test]
    fn sources_that_are_not_there_are_asked_for() {
        let error = places(Some("/nowhere"), Some("/y")).project().expect_err("no sources");
        assert!(error.to_string().contains("`/nowhere`"), "{error}");
        assert!(error.to_string().contains("--workspace-remap"), "{error}");
    }
}
