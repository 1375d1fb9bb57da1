//! `harness = false`, which only the manifest tells: neither cargo's messages nor its metadata say
//! whether a test binary is built with libtest.
//!
//! Pure. A target that cargo finds by itself has no table in the manifest, and so a harness.

use serde::Deserialize;

use super::project::BinaryKind;

/// The tables of a Cargo.toml that can say `harness = false`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Manifest {
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
}
