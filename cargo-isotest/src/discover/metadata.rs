//! The fields of `cargo metadata --no-deps` that are needed.
//!
//! The types are our own because `cargo_metadata::Package` turns `rust-version = "1.70"` into
//! 1.70.0, while `CARGO_PKG_RUST_VERSION` is `1.70`.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::project::BinaryKind;

/// The workspace.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    pub packages: Vec<Package>,
    pub workspace_members: Vec<String>,
    #[serde(default)]
    pub workspace_default_members: Option<Vec<String>>,
    pub workspace_root: Utf8PathBuf,
    pub target_directory: Utf8PathBuf,
    /// Since cargo 1.91.
    #[serde(default)]
    pub build_directory: Option<Utf8PathBuf>,
}

/// One package, as its manifest describes it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Package {
    pub id: String,
    /// The registry or repository that it is from; `None` for a local one.
    #[serde(default)]
    pub source: Option<String>,
    pub name: String,
    pub version: String,
    pub manifest_path: Utf8PathBuf,
    #[serde(default)]
    pub authors: Vec<String>,
    pub description: Option<String>,
    pub homepage: Option<String>,
    pub repository: Option<String>,
    pub license: Option<String>,
    pub license_file: Option<String>,
    pub readme: Option<String>,
    pub rust_version: Option<String>,
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// One target of a package.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Target {
    pub name: String,
    pub kind: Vec<String>,
    pub src_path: Utf8PathBuf,
    #[serde(default)]
    pub doctest: bool,
}

impl Metadata {
    pub(super) fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Intermediate files; before cargo 1.91 they always lie in the target directory.
    pub(super) fn build_directory(&self) -> &Utf8PathBuf {
        self.build_directory.as_ref().unwrap_or(&self.target_directory)
    }

    /// Number of packages that cargo takes if none is named.
    pub(super) fn default_members(&self) -> usize {
        self.workspace_default_members.as_ref().unwrap_or(&self.workspace_members).len()
    }
}

impl Package {
    /// The directory of its manifest.
    pub(super) fn root(&self) -> Utf8PathBuf {
        self.manifest_path.parent().map(Utf8PathBuf::from).unwrap_or_default()
    }

    /// The main source file of its target of this name and kind.
    pub(super) fn source_of(&self, name: &str, kind: BinaryKind) -> Option<&Utf8Path> {
        let is_kind = |target: &&Target| BinaryKind::from_target(&target.kind, &[]) == Some(kind);
        let mut named = self.targets.iter().filter(|target| target.name == name);
        let found = named.clone().find(is_kind).or_else(|| named.next());
        found.map(|target| target.src_path.as_path())
    }

    /// The names of its binaries, also of those that were not built.
    pub(super) fn binaries(&self) -> impl Iterator<Item = &str> {
        let is_binary = |target: &&Target| target.kind.iter().any(|kind| kind == "bin");
        self.targets.iter().filter(is_binary).map(|target| target.name.as_str())
    }

    /// `CARGO_MANIFEST_*` and `CARGO_PKG_*`, in the order of their names. What the manifest leaves
    /// out is set and empty.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let [major, minor, patch, pre] = version_parts(&self.version);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        vec![
            ("CARGO_MANIFEST_DIR", self.root().into_string()),
            ("CARGO_MANIFEST_PATH", self.manifest_path.to_string()),
            ("CARGO_PKG_AUTHORS", self.authors.join(":")),
            ("CARGO_PKG_DESCRIPTION", text(&self.description)),
            ("CARGO_PKG_HOMEPAGE", text(&self.homepage)),
            ("CARGO_PKG_LICENSE", text(&self.license)),
            ("CARGO_PKG_LICENSE_FILE", text(&self.license_file)),
            ("CARGO_PKG_NAME", self.name.clone()),
            ("CARGO_PKG_README", text(&self.readme)),
            ("CARGO_PKG_REPOSITORY", text(&self.repository)),
            ("CARGO_PKG_RUST_VERSION", text(&self.rust_version)),
            ("CARGO_PKG_VERSION", self.version.clone()),
            ("CARGO_PKG_VERSION_MAJOR", major.to_owned()),
            ("CARGO_PKG_VERSION_MINOR", minor.to_owned()),
            ("CARGO_PKG_VERSION_PATCH", patch.to_owned()),
            ("CARGO_PKG_VERSION_PRE", pre.to_owned()),
        ]
    }
}

/// Major, minor, patch and pre-release of a version that cargo has accepted.
pub(super) fn version_parts(version: &str) -> [&str; 4] {
    let (version, _build) = version.split_once('+').unwrap_or((version, ""));
    let (numbers, pre) = version.split_once('-').unwrap_or((version, ""));
    let mut numbers = numbers.split('.');
    let mut next = || numbers.next().unwrap_or_default();
    [next(), next(), next(), pre]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_apart() {
        assert_eq!(version_parts("1.2.3"), ["1", "2", "3", ""]);
        assert_eq!(version_parts("1.2.3-rc.1+build-7"), ["1", "2", "3", "rc.1"]);
    }

    #[test]
    fn what_a_manifest_leaves_out_is_set_and_empty() {
        let package = Package {
            name: "p".to_owned(),
            version: "1.2.3".to_owned(),
            authors: vec!["A".to_owned(), "B".to_owned()],
            rust_version: Some("1.70".to_owned()),
            ..Package::default()
        };
        let variables = package.variables();
        let value = |name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(value("CARGO_PKG_AUTHORS"), Some("A:B"));
        assert_eq!(value("CARGO_PKG_RUST_VERSION"), Some("1.70"));
        assert_eq!(value("CARGO_PKG_LICENSE"), Some(""));
    }
}
