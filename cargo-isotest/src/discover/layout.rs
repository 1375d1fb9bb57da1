//! Information from paths of a build: the target of a source file, by cargo's own rules ("Package
//! Layout" of the Cargo book), and the profile and platform of a program, by its directory ("Build
//! cache").

use camino::Utf8Path;

use super::project::BinaryKind;

/// The kind and the name of the target with this main source file, relative to the package. `None`
/// where a manifest alone can tell.
pub fn target<'a>(source: &'a Utf8Path, package: &'a str) -> Option<(BinaryKind, &'a str)> {
    let parts: Vec<&str> = source.components().map(|part| part.as_str()).collect();
    let stem = |file: &'a str| file.strip_suffix(".rs");
    Some(match parts.as_slice() {
        ["src", "lib.rs"] => (BinaryKind::Lib, package),
        ["src", "main.rs"] => (BinaryKind::Bin, package),
        ["src", "bin", name, "main.rs"] => (BinaryKind::Bin, name),
        ["src", "bin", file] => (BinaryKind::Bin, stem(file)?),
        ["tests", name, "main.rs"] => (BinaryKind::Test, name),
        ["tests", file] => (BinaryKind::Test, stem(file)?),
        ["benches", name, "main.rs"] => (BinaryKind::Bench, name),
        ["benches", file] => (BinaryKind::Bench, stem(file)?),
        ["examples", name, "main.rs"] => (BinaryKind::Example, name),
        ["examples", file] => (BinaryKind::Example, stem(file)?),
        _ => return None,
    })
}

/// The options by which cargo builds a program again as it was: `program` relative to the target or
/// build directory, `TRIPLE/PROFILE/deps/NAME`, where the first part is there with `--target` alone.
pub fn build_options(program: &Utf8Path) -> Vec<String> {
    let parts: Vec<&str> = program.components().map(|part| part.as_str()).collect();
    let (triple, profile) = match parts.as_slice() {
        [profile, "deps" | "build", ..] => (None, *profile),
        [triple, profile, "deps" | "build", ..] => (Some(*triple), *profile),
        _ => return Vec::new(),
    };
    let profile = match profile {
        "debug" => None,
        "release" => Some("--release".to_owned()),
        other => Some(format!("--profile {other}")),
    };
    let triple = triple.map(|triple| format!("--target {triple}"));
    profile.into_iter().chain(triple).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_is_the_root_of_a_target_where_cargo_finds_it() {
        let found = |source| target(Utf8Path::new(source), "my-demo");
        assert_eq!(found("src/lib.rs"), Some((BinaryKind::Lib, "my-demo")));
        assert_eq!(found("src/main.rs"), Some((BinaryKind::Bin, "my-demo")));
        assert_eq!(found("src/bin/a-b.rs"), Some((BinaryKind::Bin, "a-b")));
        assert_eq!(found("src/bin/a/main.rs"), Some((BinaryKind::Bin, "a")));
        assert_eq!(found("tests/it.rs"), Some((BinaryKind::Test, "it")));
        assert_eq!(found("tests/it/main.rs"), Some((BinaryKind::Test, "it")));
        assert_eq!(found("benches/my-demo.rs"), Some((BinaryKind::Bench, "my-demo")));
        assert_eq!(found("examples/e.rs"), Some((BinaryKind::Example, "e")));
        assert_eq!(found("tests/it/helper.rs"), None);
        assert_eq!(found("other/it.rs"), None);
    }

    #[test]
    fn a_path_tells_profile_and_platform() {
        let options = |path| build_options(Utf8Path::new(path)).join(" ");
        assert_eq!(options("debug/deps/it-0"), "");
        assert_eq!(options("release/deps/it-0"), "--release");
        assert_eq!(options("small/build/demo/0/out/it-0"), "--profile small");
        let aarch64 = "--target aarch64-unknown-linux-gnu";
        assert_eq!(options("aarch64-unknown-linux-gnu/debug/deps/it-0"), aarch64);
        let both = format!("--release {aarch64}");
        assert_eq!(options("aarch64-unknown-linux-gnu/release/deps/it-0"), both);
        assert_eq!(options("it-0"), "");
    }
}
