//! `harness = false`, which only the manifest tells: neither cargo's messages nor its metadata say
//! whether a test binary is built with libtest.
//!
//! Pure. A target that cargo finds by itself has no table in the manifest, and so a harness.

use camino::Utf8Path;
use serde::Deserialize;

use super::project::BinaryKind;

/// The tables of a Cargo.toml that can say `harness = false`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Manifest {
    package: Option<Package>,
    workspace: Option<Workspace>,
    lib: Option<Target>,
    #[serde(default)]
    bin: Vec<Target>,
    #[serde(default)]
    test: Vec<Target>,
    #[serde(default)]
    bench: Vec<Target>,
    #[serde(default)]
    example: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Workspace {
    #[serde(default)]
    exclude: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    workspace: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Target {
    #[serde(default)]
    name: String,
    harness: Option<bool>,
}

impl Manifest {
    pub(super) fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Whether the target is built with libtest.
    pub(super) fn harness(&self, kind: BinaryKind, name: &str) -> bool {
        let named = |targets: &[Target]| {
            targets.iter().find(|target| target.name == name).and_then(|target| target.harness)
        };
        let said = match kind {
            BinaryKind::Lib | BinaryKind::ProcMacro => {
                self.lib.as_ref().and_then(|lib| lib.harness)
            }
            BinaryKind::Bin => named(&self.bin),
            BinaryKind::Test => named(&self.test),
            BinaryKind::Bench => named(&self.bench),
            BinaryKind::ExampleLib | BinaryKind::Example => named(&self.example),
        };
        said.unwrap_or(true)
    }

    /// Whether the target that this crate was built from is built with libtest, where it is not
    /// known which kind of target that is: false where any of the name is not.
    pub(super) fn is_harness(&self, crate_name: &str) -> bool {
        let is_named = |name: &str| name.replace('-', "_") == crate_name;
        let library = self.lib.iter().filter(|lib| match (lib.name.as_str(), &self.package) {
            ("", Some(package)) => is_named(&package.name),
            (name, _) => is_named(name),
        });
        let others = [&self.bin, &self.test, &self.bench, &self.example].into_iter().flatten();
        let named = library.chain(others.filter(|target| is_named(&target.name)));
        named.filter_map(|target| target.harness).all(|harness| harness)
    }

    /// The directory of the workspace's manifest, relative to the package's, where the package
    /// says it.
    pub(super) fn named_root(&self) -> Option<&str> {
        self.package.as_ref()?.workspace.as_deref()
    }

    /// Whether it is the root of a workspace that a package in `relative` below it may belong to.
    pub(super) fn is_root_of(&self, relative: &Utf8Path) -> bool {
        let excludes = |workspace: &Workspace| {
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
        assert!(!manifest.harness(BinaryKind::Lib, "p"));
        assert!(!manifest.harness(BinaryKind::Test, "custom"));
        assert!(manifest.harness(BinaryKind::Test, "plain"));
        assert!(manifest.harness(BinaryKind::Test, "autodiscovered"));
        assert!(manifest.harness(BinaryKind::Bench, "custom"));
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
    fn a_crate_has_no_harness_where_a_target_of_its_name_has_none() {
        let manifest = Manifest::from_toml(
            "[package]\nname = 'p-q'\nworkspace = '../root'\n[lib]\nharness = false\n\
             [[bench]]\nname = 'cust-om'\nharness = false\n[[test]]\nname = 'plain'\n",
        )
        .expect("a manifest");
        assert!(!manifest.is_harness("p_q") && !manifest.is_harness("cust_om"));
        assert!(manifest.is_harness("plain") && manifest.is_harness("autodiscovered"));
        assert_eq!(manifest.named_root(), Some("../root"));
    }
}
