//! Environment that cargo sets for a test process, to the letter of cargo 1.95
//! (`Compilation::fill_env`).
//!
//! Pure. Nothing is set that cargo does not set: a suite may test for the absence of a variable.
//! The order of the result is cargo's order of setting; every name stands once, and what cargo sets
//! itself is never replaced by `[env]`.

use std::env::{join_paths, split_paths};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use camino::{Utf8Path, Utf8PathBuf};

use super::config::CargoConfig;
use super::messages::{BuildScript, TestArtifact};
use super::metadata::Package;

const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// The names that cargo-nextest gives to the standard libraries in an archive.
pub(super) const HOST_LIBRARY: &str = "host";
pub(super) const TARGET_LIBRARY: &str = "target/0";

/// Places of cargo and the compiler, and the caller's environment.
#[derive(Debug, Clone, Default)]
pub(super) struct CargoEnvironment {
    pub cargo: OsString,
    pub sysroot: Utf8PathBuf,
    pub host: String,
    /// `LD_LIBRARY_PATH` as cargo itself has it.
    pub library_path: OsString,
    pub variables: Vec<(OsString, OsString)>,
    pub config: CargoConfig,
    /// Place of the standard libraries in an archive.
    pub archived_libraries: Option<Utf8PathBuf>,
}

impl CargoEnvironment {
    /// The directory of the standard library: for the host, or for a target that was asked for.
    fn standard_library(&self, triple: Option<&str>) -> PathBuf {
        match (&self.archived_libraries, triple) {
            (Some(libraries), None) => libraries.join(HOST_LIBRARY).into(),
            (Some(libraries), Some(_)) => libraries.join(TARGET_LIBRARY).into(),
            (None, triple) => {
                let triple = triple.unwrap_or(&self.host);
                self.sysroot.join("lib/rustlib").join(triple).join("lib").into()
            }
        }
    }
}

/// Build directories of one binary: of the host, or of a requested target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Final artifacts: `target/debug`, `target/<triple>/debug`.
    pub artifacts: Utf8PathBuf,
    /// Intermediate files; the same directory unless `build.build-dir` says otherwise.
    pub build: Utf8PathBuf,
    /// The part that both end in: `debug`, `<triple>/debug`.
    pub base: Utf8PathBuf,
    /// The triple, where one was asked for.
    pub triple: Option<String>,
}

impl Layout {
    /// Reads it off the path of an executable: `<build>[/<triple>]/<profile>/{deps,examples,build}/…`.
    pub(super) fn of(executable: &Utf8Path, target: &Utf8Path, build: &Utf8Path) -> Self {
        let relative = executable.strip_prefix(build).unwrap_or(executable);
        let parts: Vec<&str> = relative.iter().collect();
        let is_inner = |part: &&str| ["deps", "examples", "build"].contains(part);
        let depth = parts.iter().skip(1).position(is_inner).map_or(1, |at| at + 1).min(2);
        let below: Utf8PathBuf = parts[..depth.min(parts.len())].iter().collect();
        Layout {
            artifacts: target.join(&below),
            build: build.join(&below),
            base: below,
            triple: (depth == 2).then(|| parts[0].to_owned()),
        }
    }
}

/// The variables that cargo sets for one binary, and the names of those that it leaves as the caller
/// has them.
pub(super) fn variables(
    artifact: &TestArtifact,
    package: &Package,
    layout: &Layout,
    scripts: &[BuildScript],
    cargo_env: &CargoEnvironment,
) -> (Vec<(OsString, OsString)>, Vec<OsString>) {
    let mut set = Variables::default();
    set.add(LIBRARY_PATH, library_path(layout, scripts, cargo_env));
    if let Some(script) = own_script(&artifact.package_id, layout, scripts) {
        for (name, value) in &script.environment {
            set.add(name, value);
        }
        set.add("OUT_DIR", &script.out_dir);
    }
    if !cargo_env.cargo.is_empty() {
        set.add("CARGO", &cargo_env.cargo);
    }
    for (name, value) in package.variables() {
        set.add(name, value);
    }
    if artifact.kind.sees_binaries() {
        for name in package.binaries() {
            set.add(format!("CARGO_BIN_EXE_{name}"), layout.artifacts.join(name));
        }
    }
    let presets = set.add_table(cargo_env);
    (set.0, presets)
}

/// The build script's run for the same side: a package that is built for host and target has two.
pub(super) fn own_script<'a>(
    package_id: &str,
    layout: &Layout,
    scripts: &'a [BuildScript],
) -> Option<&'a BuildScript> {
    let mut own = scripts.iter().filter(|script| script.package_id == package_id);
    own.clone().find(|script| script.out_dir.starts_with(&layout.build)).or_else(|| own.next())
}

/// Cargo's order: what build scripts link within the artifact directory, that directory, its
/// `deps`, the target's standard library, and what cargo itself was started with.
fn library_path(
    layout: &Layout,
    scripts: &[BuildScript],
    cargo_env: &CargoEnvironment,
) -> OsString {
    let mut search: Vec<PathBuf> = native_directories(scripts)
        .into_iter()
        .filter(|directory| directory.starts_with(&layout.artifacts))
        .map(Utf8PathBuf::into_std_path_buf)
        .collect();
    search.push(layout.artifacts.clone().into());
    search.push(layout.build.join("deps").into());
    search.push(cargo_env.standard_library(layout.triple.as_deref()));
    let inherited: Vec<PathBuf> = match cargo_env.library_path.is_empty() {
        true => Vec::new(),
        false => split_paths(&cargo_env.library_path).collect(),
    };
    if inherited.starts_with(&search) {
        // Cargo under cargo: the path is complete already.
        return cargo_env.library_path.clone();
    }
    search.extend(inherited);
    // A directory with a colon in its name cannot stand in the variable; cargo fails there.
    join_paths(search).unwrap_or_default()
}

/// The search directories of all build scripts, as cargo sorts them: with their `native=` prefix.
pub(super) fn native_directories(scripts: &[BuildScript]) -> Vec<Utf8PathBuf> {
    const PREFIXES: [&str; 5] = ["native", "crate", "dependency", "framework", "all"];
    let mut raw: Vec<&Utf8PathBuf> = scripts.iter().flat_map(|script| &script.linked).collect();
    raw.sort();
    raw.dedup();
    raw.into_iter()
        .map(|path| match path.as_str().split_once('=') {
            Some((prefix, rest)) if PREFIXES.contains(&prefix) => rest.into(),
            Some(_) | None => path.clone(),
        })
        .collect()
}

/// Variables in the order of setting.
#[derive(Default)]
struct Variables(Vec<(OsString, OsString)>);

impl Variables {
    fn add(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        let (name, value) = (name.as_ref().to_owned(), value.as_ref().to_owned());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds `[env]`, and names what of it the caller has already and is to keep: whether that reaches
    /// a test is not said by the table.
    fn add_table(&mut self, cargo_env: &CargoEnvironment) -> Vec<OsString> {
        let mut presets = Vec::new();
        for (name, entry) in &cargo_env.config.env {
            if self.0.iter().any(|(known, _)| known == name.as_str()) {
                continue;
            }
            self.add(name, &entry.value);
            let is_inherited = cargo_env.variables.iter().any(|(known, _)| known == name.as_str());
            if is_inherited && !entry.force {
                presets.push(name.into());
            }
        }
        presets
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{EnvTable, EnvValue};
    use super::super::metadata::Target;
    use super::super::project::BinaryKind;
    use super::*;

    fn script() -> BuildScript {
        BuildScript {
            package_id: "p".to_owned(),
            out_dir: "/t/debug/build/p-1/out".into(),
            environment: vec![("FROM_BUILD".to_owned(), "yes".to_owned())],
            linked: vec![
                "native=/t/debug/build/p-1/out/z".into(),
                "/t/debug/build/p-1/out/a".into(),
                "/usr/lib".into(),
            ],
        }
    }

    fn cargo_env() -> CargoEnvironment {
        CargoEnvironment {
            cargo: "/s/bin/cargo".into(),
            sysroot: "/s".into(),
            host: "h".to_owned(),
            library_path: "/s/lib".into(),
            ..CargoEnvironment::default()
        }
    }

    fn artifact(kind: BinaryKind) -> TestArtifact {
        TestArtifact {
            package_id: "p".to_owned(),
            manifest_path: "/w/p/Cargo.toml".into(),
            target_name: "t".to_owned(),
            kind,
            source: "/w/p/tests/t.rs".into(),
            executable: "/t/debug/deps/t-1".into(),
        }
    }

    fn package() -> Package {
        let target =
            Target { name: "my-bin".to_owned(), kind: vec!["bin".to_owned()], ..Target::default() };
        Package {
            name: "p".to_owned(),
            manifest_path: "/w/p/Cargo.toml".into(),
            targets: vec![target],
            ..Package::default()
        }
    }

    fn of(kind: BinaryKind, cargo_env: &CargoEnvironment) -> Vec<(OsString, OsString)> {
        let layout = Layout::of("/t/debug/deps/t-1".into(), "/t".into(), "/t".into());
        variables(&artifact(kind), &package(), &layout, &[script()], cargo_env).0
    }

    fn value(set: &[(OsString, OsString)], name: &str) -> Option<String> {
        let found = set.iter().find(|(known, _)| known == name)?;
        Some(found.1.to_string_lossy().into_owned())
    }

    #[test]
    fn layouts_are_read_off_executables() {
        let layout = Layout::of("/t/debug/deps/x-1".into(), "/t".into(), "/t".into());
        assert_eq!((layout.artifacts.as_str(), layout.triple), ("/t/debug", None));
        let layout = Layout::of("/b/tri/release/examples/x".into(), "/t".into(), "/b".into());
        assert_eq!(layout.artifacts, "/t/tri/release");
        assert_eq!(layout.build, "/b/tri/release");
        assert_eq!(layout.triple.as_deref(), Some("tri"));
        let layout = Layout::of("/b/debug/build/p/1/out/x".into(), "/t".into(), "/b".into());
        assert_eq!((layout.artifacts.as_str(), layout.triple), ("/t/debug", None));
    }

    #[test]
    fn the_library_path_stands_in_cargos_order() {
        assert_eq!(
            value(&of(BinaryKind::Lib, &cargo_env()), "LD_LIBRARY_PATH").as_deref(),
            Some(
                "/t/debug/build/p-1/out/a:/t/debug/build/p-1/out/z:/t/debug:/t/debug/deps:\
                 /s/lib/rustlib/h/lib:/s/lib"
            )
        );
    }

    #[test]
    fn a_complete_inherited_library_path_is_kept() {
        let whole = value(&of(BinaryKind::Lib, &cargo_env()), "LD_LIBRARY_PATH").expect("set");
        let cargo_env = CargoEnvironment { library_path: whole.clone().into(), ..cargo_env() };
        assert_eq!(value(&of(BinaryKind::Lib, &cargo_env), "LD_LIBRARY_PATH"), Some(whole));
    }

    #[test]
    fn only_integration_tests_and_benchmarks_see_binaries() {
        let name = "CARGO_BIN_EXE_my-bin";
        let path = Some("/t/debug/my-bin".to_owned());
        assert_eq!(value(&of(BinaryKind::Test, &cargo_env()), name), path);
        assert_eq!(value(&of(BinaryKind::Bench, &cargo_env()), name), path);
        assert_eq!(value(&of(BinaryKind::Bin, &cargo_env()), name), None);
    }

    #[test]
    fn the_env_table_replaces_only_when_forced_and_never_cargos_own() {
        let entry = |value: &str, force| EnvValue { value: value.into(), force };
        let cargo_env = CargoEnvironment {
            variables: vec![
                ("A".into(), "mine".into()),
                ("B".into(), "mine".into()),
                ("CARGO_PKG_NAME".into(), "outer".into()),
            ],
            config: CargoConfig {
                env: EnvTable::from([
                    ("A".to_owned(), entry("table", false)),
                    ("B".to_owned(), entry("table", true)),
                    ("C".to_owned(), entry("table", false)),
                    ("CARGO_PKG_NAME".to_owned(), entry("table", false)),
                ]),
                ..CargoConfig::default()
            },
            ..cargo_env()
        };
        let set = of(BinaryKind::Lib, &cargo_env);
        let values: Vec<_> =
            ["A", "B", "C", "CARGO_PKG_NAME"].iter().map(|name| value(&set, name)).collect();
        let values: Vec<_> = values.iter().map(|value| value.as_deref().unwrap_or("")).collect();
        assert_eq!(values, ["table", "table", "table", "p"]);
        let layout = Layout::of("/t/debug/deps/t-1".into(), "/t".into(), "/t".into());
        let (_, presets) =
            variables(&artifact(BinaryKind::Lib), &package(), &layout, &[], &cargo_env);
        assert_eq!(presets, ["A"], "the caller's own, where it passes");
    }

    #[test]
    fn the_build_scripts_own_variables_are_set() {
        let set = of(BinaryKind::Lib, &cargo_env());
        assert_eq!(value(&set, "FROM_BUILD").as_deref(), Some("yes"));
        assert_eq!(value(&set, "OUT_DIR").as_deref(), Some("/t/debug/build/p-1/out"));
    }
}
