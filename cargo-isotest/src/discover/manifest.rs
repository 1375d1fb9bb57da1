//! `harness = false`, which only the manifest tells: neither cargo's messages nor its metadata say
//! whether a test binary is built with libtest.
//!
//! Pure. A target that cargo finds by itself has no table in the manifest, and so a harness.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::project::{BinaryKind, Declared};

/// The tables of a Cargo.toml that can say `harness = false`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Manifest {
    package: Option<PackageTable>,
    workspace: Option<WorkspaceTable>,
    lib: Option<TargetTable>,
    #[serde(default)]
    bin: Vec<TargetTable>,
    #[serde(default)]
    test: Vec<TargetTable>,
    #[serde(default)]
    bench: Vec<TargetTable>,
    #[serde(default)]
    example: Vec<TargetTable>,
}

#[derive(Debug, Deserialize)]
struct WorkspaceTable {
    #[serde(default)]
    exclude: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct PackageTable {
    name: String,
    workspace: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TargetTable {
    #[serde(default)]
    name: String,
    path: Option<Utf8PathBuf>,
    harness: Option<bool>,
}

impl TargetTable {
    /// True if this is its main source file, relative to the package: by its `path`, or by cargo's
    /// rules.
    fn has_source(&self, kind: BinaryKind, source: &Utf8Path) -> bool {
        if let Some(path) = &self.path {
            return path.components().filter(|part| part.as_str() != ".").eq(source.components());
        }
        let in_directory = |directory: &str| {
            let stem = Utf8Path::new(directory).join(&self.name);
            source == format!("{stem}.rs") || source == stem.join("main.rs")
        };
        match kind {
            BinaryKind::Lib | BinaryKind::ProcMacro => source == "src/lib.rs",
            BinaryKind::Bin => source == "src/main.rs" || in_directory("src/bin"),
            BinaryKind::Test => in_directory("tests"),
            BinaryKind::Bench => in_directory("benches"),
            BinaryKind::ExampleLib | BinaryKind::Example => in_directory("examples"),
        }
    }
}

impl Manifest {
    pub(super) fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Harness of a target, by the manifest.
    pub(super) fn declared(&self, kind: BinaryKind, name: &str) -> Declared {
        let of_kind = self.targets().filter(|(of, _)| match kind {
            BinaryKind::Lib | BinaryKind::ProcMacro => *of == BinaryKind::Lib,
            BinaryKind::ExampleLib | BinaryKind::Example => *of == BinaryKind::Example,
            BinaryKind::Bin | BinaryKind::Test | BinaryKind::Bench => *of == kind,
        });
        // A package has one library, whatever its name.
        let is_it = |(of, target): &(BinaryKind, &TargetTable)| {
            *of == BinaryKind::Lib || target.name == name
        };
        match of_kind.filter(is_it).any(|(_, target)| target.harness == Some(false)) {
            true => Declared::NoHarness,
            false => Declared::Harness,
        }
    }

    /// Harness of the target that a crate was built from, by its name and, if known, its main
    /// source file relative to the package: targets of several kinds may share a name.
    pub(super) fn declared_of(&self, crate_name: &str, source: Option<&Utf8Path>) -> Declared {
        let is_named = |(kind, target): &(BinaryKind, &TargetTable)| {
            let name = match (kind, target.name.as_str(), &self.package) {
                (BinaryKind::Lib, "", Some(package)) => package.name.as_str(),
                (_, name, _) => name,
            };
            name.replace('-', "_") == crate_name
        };
        let named: Vec<_> = self.targets().filter(is_named).collect();
        let says_no = |target: &TargetTable| target.harness == Some(false);
        if !named.iter().any(|(_, target)| says_no(target)) {
            // Those that cargo finds by itself have one.
            return Declared::Harness;
        }
        let Some(source) = source else { return Declared::Unknown };
        let mut of_source = named.iter().filter(|(kind, target)| target.has_source(*kind, source));
        match of_source.next() {
            None => Declared::Harness,
            Some((_, first)) if of_source.all(|(_, it)| says_no(it) == says_no(first)) => {
                if says_no(first) { Declared::NoHarness } else { Declared::Harness }
            }
            Some(_) => Declared::Unknown,
        }
    }

    fn targets(&self) -> impl Iterator<Item = (BinaryKind, &TargetTable)> {
        let library = self.lib.iter().map(|target| (BinaryKind::Lib, target));
        library
            .chain(self.bin.iter().map(|target| (BinaryKind::Bin, target)))
            .chain(self.test.iter().map(|target| (BinaryKind::Test, target)))
            .chain(self.bench.iter().map(|target| (BinaryKind::Bench, target)))
            .chain(self.example.iter().map(|target| (BinaryKind::Example, target)))
    }

    /// The directory of the workspace's manifest, relative to the package's, where the package
    /// says it.
    pub(super) fn named_root(&self) -> Option<&str> {
        self.package.as_ref()?.workspace.as_deref()
    }

    /// True if it is the root of a workspace that may have a package in `relative` below it.
    pub(super) fn is_root_of(&self, relative: &Utf8Path) -> bool {
        let excludes = |workspace: &WorkspaceTable| {
            workspace.exclude.iter().any(|excluded| relative.starts_with(excluded))
        };
        self.workspace.as_ref().is_some_and(|workspace| !excludes(workspace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_target_of_the_kind_has_no_harness() {
        let manifest = Manifest::from_toml(
            "[package]\nname = 'p'\n[lib]\nharness = false\n\
             [[test]]\nname = 'custom'\nharness = false\n[[test]]\nname = 'plain'\n",
        )
        .expect("a manifest");
        let table = [
            (BinaryKind::Lib, "p", Declared::NoHarness),
            (BinaryKind::Test, "custom", Declared::NoHarness),
            (BinaryKind::Test, "plain", Declared::Harness),
            (BinaryKind::Test, "autodiscovered", Declared::Harness),
            (BinaryKind::Bench, "custom", Declared::Harness),
        ];
        for (kind, name, expected) in table {
            assert_eq!(manifest.declared(kind, name), expected, "{name}");
        }
    }

    #[test]
    fn a_workspace_has_what_it_does_not_exclude() {
        let manifest = Manifest::from_toml("[workspace]\nexclude = ['fixtures']\n");
        let manifest = manifest.expect("a manifest");
        assert!(manifest.is_root_of("".into()) && manifest.is_root_of("member".into()));
        assert!(!manifest.is_root_of("fixtures/zoo".into()));
        assert!(!Manifest::default().is_root_of("".into()));
    }

    #[test]
    fn targets_of_one_name_are_told_apart_by_their_source() {
        let manifest = Manifest::from_toml(
            "[package]\nname = 'p-q'\nworkspace = '../root'\n\
             [[bench]]\nname = 'p-q'\nharness = false\n\
             [[test]]\nname = 'moved'\npath = './in/moved.rs'\nharness = false\n\
             [[bin]]\nname = 'two'\nharness = false\npath = 'in/two.rs'\n\
             [[example]]\nname = 'two'\npath = 'in/two.rs'\n",
        )
        .expect("a manifest");
        let declared = |name, source: &str| manifest.declared_of(name, Some(source.into()));
        assert_eq!(declared("p_q", "src/lib.rs"), Declared::Harness);
        assert_eq!(declared("p_q", "benches/p-q.rs"), Declared::NoHarness);
        assert_eq!(declared("p_q", "benches/p-q/main.rs"), Declared::NoHarness);
        assert_eq!(declared("moved", "in/moved.rs"), Declared::NoHarness);
        assert_eq!(declared("moved", "tests/moved.rs"), Declared::Harness);
        assert_eq!(declared("two", "in/two.rs"), Declared::Unknown);
        assert_eq!(manifest.declared_of("p_q", None), Declared::Unknown);
        assert_eq!(manifest.declared_of("autodiscovered", None), Declared::Harness);
        assert_eq!(manifest.named_root(), Some("../root"));
    }

    #[test]
    fn a_library_without_a_name_has_that_of_its_package() {
        let manifest = "[package]\nname = 'p-q'\n[lib]\nharness = false\n";
        let manifest = Manifest::from_toml(manifest).expect("a manifest");
        let source = Some(Utf8Path::new("src/lib.rs"));
        assert_eq!(manifest.declared_of("p_q", source), Declared::NoHarness);
    }
}
