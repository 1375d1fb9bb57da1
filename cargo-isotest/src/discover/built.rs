//! A build in the words of cargo-nextest, as its archives have it. The opposite of
//! [`reused`](super::reused).
//!
//! Pure, but for a look at where the standard libraries are.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use nextest_metadata::{
    BinaryListSummary, BuildPlatform, BuildPlatformsSummary, BuildScriptInfoSummary,
    HostPlatformSummary, PlatformLibdirSummary, PlatformLibdirUnavailable, RustBinaryId,
    RustBuildMetaSummary, RustNonTestBinaryKind, RustNonTestBinarySummary, RustTestBinaryKind,
    RustTestBinarySummary, TargetPlatformSummary,
};
use target_spec::summaries::PlatformSummary;

use super::environment::{
    CargoEnvironment, HOST_LIBRARY, Layout, TARGET_LIBRARY, native_directories, own_script,
};
use super::messages::BuildOutput;
use super::metadata::Metadata;
use super::project::{Binary, BinaryKind, Project};

/// A built project, and what an archive tells of it.
#[derive(Debug)]
pub struct Built {
    /// The project.
    pub project: Project,
    /// The output of `cargo metadata`, dependencies included.
    pub metadata: Vec<u8>,
    pub(super) build: BuildOutput,
    pub(super) packages: Metadata,
    pub(super) cargo_env: CargoEnvironment,
}

impl Built {
    /// The list of what was built, of the test binaries those that are selected.
    pub fn summary(&self, selects: impl Fn(&Binary) -> bool) -> BinaryListSummary {
        let project = &self.project;
        let binaries: Vec<&Binary> = project.binaries.iter().filter(|it| selects(it)).collect();
        let layouts: Vec<Layout> = binaries.iter().map(|binary| self.layout(binary)).collect();
        let platforms = self.platforms(&layouts);
        let mut summary = RustBuildMetaSummary {
            target_directory: project.target_directory.clone(),
            build_directory: (project.build_directory != project.target_directory)
                .then(|| project.build_directory.clone()),
            base_output_directories: layouts.iter().map(|layout| layout.base.clone()).collect(),
            non_test_binaries: self.others(),
            build_script_out_dirs: BTreeMap::new(),
            build_script_info: Some(BTreeMap::new()),
            linked_paths: self.linked(),
            target_platforms: vec![target_platform(&platforms)],
            target_platform: platforms.targets.first().map(|target| target.platform.triple.clone()),
            platforms: Some(platforms),
        };
        for (binary, layout) in binaries.iter().zip(&layouts) {
            self.add_script(binary, layout, &mut summary);
        }
        let tests = binaries.into_iter().map(|binary| {
            let id = RustBinaryId::new(&binary.id);
            (id, test(binary))
        });
        BinaryListSummary { rust_build_meta: summary, rust_binaries: tests.collect() }
    }

    /// The standard libraries that tests may be linked to, and their names below
    /// `nextest/libdirs` of the target directory.
    pub fn libraries(&self) -> Vec<(Utf8PathBuf, Utf8PathBuf)> {
        let triples: BTreeSet<Option<String>> =
            self.project.binaries.iter().map(|binary| self.layout(binary).triple).collect();
        let asked = triples.into_iter().flatten().map(|triple| (Some(triple), TARGET_LIBRARY));
        let directories = [(None, HOST_LIBRARY)].into_iter().chain(asked);
        let found = directories.filter_map(|(triple, name)| {
            let library = standard_library(&self.libdir(triple.as_deref()))?;
            let name = Utf8Path::new(name).join(library.file_name()?);
            Some((library, name))
        });
        found.collect()
    }

    fn layout(&self, binary: &Binary) -> Layout {
        let project = &self.project;
        Layout::of(&binary.executable, &project.target_directory, &project.build_directory)
    }

    fn libdir(&self, triple: Option<&str>) -> Utf8PathBuf {
        let cargo_env = &self.cargo_env;
        let triple = triple.unwrap_or(&cargo_env.host);
        cargo_env.sysroot.join("lib/rustlib").join(triple).join("lib")
    }

    fn platforms(&self, layouts: &[Layout]) -> BuildPlatformsSummary {
        let libdir = |triple: Option<&str>| match self.libdir(triple) {
            path if path.is_dir() => PlatformLibdirSummary::Available { path },
            _ => PlatformLibdirSummary::Unavailable {
                reason: PlatformLibdirUnavailable::RUSTC_OUTPUT_ERROR,
            },
        };
        let asked: BTreeSet<&str> =
            layouts.iter().filter_map(|layout| layout.triple.as_deref()).collect();
        let targets = asked.into_iter().map(|triple| TargetPlatformSummary {
            platform: PlatformSummary::new(triple),
            libdir: libdir(Some(triple)),
        });
        BuildPlatformsSummary {
            targets: targets.collect(),
            host: HostPlatformSummary {
                platform: PlatformSummary::new(&self.cargo_env.host),
                libdir: libdir(None),
            },
        }
    }

    /// Binaries and libraries that tests start or load, by package.
    fn others(&self) -> BTreeMap<String, BTreeSet<RustNonTestBinarySummary>> {
        let mut others: BTreeMap<String, BTreeSet<RustNonTestBinarySummary>> = BTreeMap::new();
        for other in &self.build.others {
            let Ok(path) = other.path.strip_prefix(&self.project.target_directory) else {
                continue;
            };
            let kind = match other.is_library {
                true => RustNonTestBinaryKind::DYLIB,
                false => RustNonTestBinaryKind::BIN_EXE,
            };
            others.entry(other.package_id.clone()).or_default().insert(RustNonTestBinarySummary {
                name: other.name.clone(),
                kind,
                path: path.to_owned(),
                build_platform: Some(BuildPlatform::Target),
            });
        }
        others
    }

    /// The directories of libraries that build scripts have made.
    fn linked(&self) -> BTreeSet<Utf8PathBuf> {
        let directories = native_directories(&self.build.scripts);
        let inner = directories.iter().filter_map(|directory| self.in_build(directory));
        inner.collect()
    }

    /// Adds the output directory of a package's build script.
    fn add_script(&self, binary: &Binary, layout: &Layout, summary: &mut RustBuildMetaSummary) {
        let id = &binary.package_id;
        if !self.packages.workspace_members.contains(id) {
            return;
        }
        let script = own_script(id, layout, &self.build.scripts);
        let Some(script) = script else { return };
        let Some(directory) = self.in_build(&script.out_dir) else { return };
        summary.build_script_out_dirs.insert(id.clone(), directory);
        let envs: BTreeMap<String, String> = script.environment.iter().cloned().collect();
        if !envs.is_empty() {
            let info = BuildScriptInfoSummary { envs };
            summary.build_script_info.get_or_insert_default().insert(id.clone(), info);
        }
    }

    fn in_build(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        path.strip_prefix(&self.project.build_directory).ok().map(Utf8Path::to_owned)
    }
}

/// Platform of the tests: the requested target, or the host.
fn target_platform(platforms: &BuildPlatformsSummary) -> PlatformSummary {
    let asked = platforms.targets.first().map(|target| &target.platform);
    asked.unwrap_or(&platforms.host.platform).clone()
}

fn test(binary: &Binary) -> RustTestBinarySummary {
    RustTestBinarySummary {
        binary_id: RustBinaryId::new(&binary.id),
        binary_name: binary.target_name.clone(),
        package_id: binary.package_id.clone(),
        kind: RustTestBinaryKind::new(binary.kind.as_str()),
        binary_path: binary.executable.clone(),
        build_platform: match binary.kind {
            BinaryKind::ProcMacro => BuildPlatform::Host,
            BinaryKind::Lib
            | BinaryKind::Bin
            | BinaryKind::Test
            | BinaryKind::Bench
            | BinaryKind::ExampleLib
            | BinaryKind::Example => BuildPlatform::Target,
        },
    }
}

/// `libstd-HASH.so`: what a procedural macro's tests, and those built with `prefer-dynamic`, load.
fn standard_library(directory: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut files = directory.read_dir_utf8().ok()?.flatten();
    let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".so");
    files.find(|file| is_std(file.file_name())).map(|file| file.into_path())
}
