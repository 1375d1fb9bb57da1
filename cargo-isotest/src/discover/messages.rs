//! Messages of the build: cargo's stream of JSON, reduced to what a test run needs.
//!
//! Reading is pure over any reader. Other lines are skipped: they are output of build scripts and
//! of compiler wrappers.

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use camino::Utf8PathBuf;
use cargo_metadata::{Artifact, CrateType, Message, TargetKind};

use super::project::BinaryKind;

/// A build, as far as its messages tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BuildOutput {
    /// The test binaries, in the order of completion.
    pub tests: Vec<TestArtifact>,
    /// The binaries and dynamic libraries beside them, which tests may use.
    pub others: Vec<OtherArtifact>,
    /// The build scripts' results.
    pub scripts: Vec<BuildScript>,
    /// The directories of the local packages that were built.
    pub local_packages: BTreeSet<Utf8PathBuf>,
}

/// An executable that was built as a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestArtifact {
    pub package_id: String,
    pub manifest_path: Utf8PathBuf,
    pub target_name: String,
    pub kind: BinaryKind,
    /// Absolute.
    pub source: Utf8PathBuf,
    /// Absolute.
    pub executable: Utf8PathBuf,
}

/// A binary, or a dynamic library, that is no test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OtherArtifact {
    pub package_id: String,
    /// The name of its target.
    pub name: String,
    /// Absolute.
    pub path: Utf8PathBuf,
    pub is_library: bool,
}

/// Output of a build script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuildScript {
    pub package_id: String,
    pub out_dir: Utf8PathBuf,
    /// `cargo::rustc-env`.
    pub environment: Vec<(String, String)>,
    /// `cargo::rustc-link-search`, with its prefix.
    pub linked: Vec<Utf8PathBuf>,
}

impl BuildOutput {
    /// Reads messages to the end of the stream.
    pub(super) fn from_messages(stream: impl BufRead) -> io::Result<Self> {
        let mut build = BuildOutput::default();
        for message in Message::parse_stream(stream) {
            build.add(message?);
        }
        Ok(build)
    }

    fn add(&mut self, message: Message) {
        match message {
            Message::CompilerArtifact(artifact) => self.add_artifact(artifact),
            Message::BuildScriptExecuted(script) => self.scripts.push(BuildScript {
                package_id: script.package_id.repr,
                out_dir: script.out_dir,
                environment: script.env,
                linked: script.linked_paths,
            }),
            // A foreign enum that may grow: diagnostics are rendered by cargo itself, and its exit
            // status says how the build went.
            _ => {}
        }
    }

    fn add_artifact(&mut self, artifact: Artifact) {
        if is_local(&artifact.package_id.repr) {
            self.local_packages.extend(artifact.manifest_path.parent().map(Utf8PathBuf::from));
        }
        if !artifact.profile.test {
            return self.others.extend(other(artifact));
        }
        let kinds: Vec<String> = artifact.target.kind.iter().map(ToString::to_string).collect();
        let crate_types: Vec<String> =
            artifact.target.crate_types.iter().map(ToString::to_string).collect();
        let kind = BinaryKind::from_target(&kinds, &crate_types);
        if let (Some(kind), Some(executable)) = (kind, artifact.executable) {
            self.tests.push(TestArtifact {
                package_id: artifact.package_id.repr,
                manifest_path: artifact.manifest_path,
                target_name: artifact.target.name,
                kind,
                source: artifact.target.src_path,
                executable,
            });
        }
    }
}

/// A binary of a package, or a library that is loaded when a program starts.
fn other(artifact: Artifact) -> Option<OtherArtifact> {
    let is_dynamic = |kind: &CrateType| matches!(kind, CrateType::DyLib | CrateType::CDyLib);
    let is_library = artifact.target.crate_types.iter().any(is_dynamic);
    let is_binary = artifact.target.kind.contains(&TargetKind::Bin);
    let mut files = artifact.filenames.into_iter();
    let path = match (is_binary, is_library) {
        (true, _) => artifact.executable,
        (false, true) => files.find(|file| file.extension() == Some("so")),
        (false, false) => None,
    }?;
    let (package_id, name) = (artifact.package_id.repr, artifact.target.name);
    Some(OtherArtifact { package_id, name, path, is_library })
}

/// `path+file:///p#0.1.0`; before cargo 1.77 `p 0.1.0 (path+file:///p)`.
fn is_local(package_id: &str) -> bool {
    package_id.starts_with("path+") || package_id.contains(" (path+")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"build-script-executed","package_id":"path+file:///w/p#0.1.0","linked_libs":[],"linked_paths":["native=/t/o"],"cfgs":[],"env":[["A","b"]],"out_dir":"/t/o"}
warning: not a message
{"reason":"compiler-artifact","package_id":"path+file:///w/p#0.1.0","manifest_path":"/w/p/Cargo.toml","target":{"kind":["test"],"crate_types":["bin"],"name":"it","src_path":"/w/p/tests/it.rs","edition":"2021","doc":false,"doctest":false,"test":true},"profile":{"opt_level":"0","debuginfo":2,"debug_assertions":true,"overflow_checks":true,"test":true},"features":[],"filenames":["/t/debug/deps/it-1"],"executable":"/t/debug/deps/it-1","fresh":true}
{"reason":"compiler-artifact","package_id":"registry+https://github.com/rust-lang/crates.io-index#x@1.0.0","manifest_path":"/r/x/Cargo.toml","target":{"kind":["lib"],"crate_types":["lib"],"name":"x","src_path":"/r/x/src/lib.rs","edition":"2021","doc":true,"doctest":true,"test":true},"profile":{"opt_level":"0","debuginfo":2,"debug_assertions":true,"overflow_checks":true,"test":false},"features":[],"filenames":["/t/debug/deps/libx.rlib"],"executable":null,"fresh":true}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn messages_are_reduced_to_tests_scripts_and_local_packages() {
        let build = BuildOutput::from_messages(MESSAGES.as_bytes()).expect("messages");
        assert_eq!(build.tests.len(), 1);
        assert_eq!(build.tests[0].kind, BinaryKind::Test);
        assert_eq!(build.tests[0].executable, "/t/debug/deps/it-1");
        assert_eq!(build.scripts[0].environment, [("A".to_owned(), "b".to_owned())]);
        assert_eq!(build.local_packages, BTreeSet::from(["/w/p".into()]));
    }

    #[test]
    fn local_packages_are_told_by_their_id() {
        assert!(is_local("path+file:///w/p#0.1.0"));
        assert!(is_local("p 0.1.0 (path+file:///w/p)"));
        assert!(!is_local("registry+https://github.com/rust-lang/crates.io-index#x@1.0.0"));
    }
}
