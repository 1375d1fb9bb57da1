//! Files that are copied out: those that a glob matches; files that run code outside every sandbox
//! only if the glob names them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use globset::{Error, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// Names that no wildcard matches, beside those that begin with a dot.
#[derive(Debug, Default)]
pub struct Reserved {
    /// Names of files and directories, in any letter case.
    pub names: &'static [&'static str],
    /// Directories, relative to the project's root.
    pub directories: Vec<PathBuf>,
}

/// Files that are copied out, by their path relative to the project's root.
#[derive(Debug)]
pub struct Wanted {
    globs: Vec<String>,
    set: GlobSet,
    reserved: Reserved,
}

/// Match of a file against the globs.
#[derive(Debug, PartialEq, Eq)]
pub enum GlobMatch<'a> {
    /// A glob matches it.
    Yes,
    /// None does.
    No,
    /// One does, but does not name this part of its path, as it must.
    Unnamed(&'a OsStr),
}

impl Wanted {
    /// By globs as a policy has them.
    pub fn new(globs: &[String], reserved: Reserved) -> Result<Wanted, Error> {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            set.add(build(glob)?);
        }
        Ok(Wanted { globs: globs.to_vec(), set: set.build()?, reserved })
    }

    /// True if nothing is copied out.
    pub fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    /// Match of a file against the globs.
    pub fn answer<'a>(&self, path: &'a Path) -> GlobMatch<'a> {
        let mut missing = None;
        for glob in self.set.matches(path) {
            let glob = self.globs.get(glob).map_or("", String::as_str);
            let named = |part: &&OsStr| glob.split('/').any(|word| OsStr::new(word) == *part);
            // The outermost one.
            match self.reserved_parts(path).filter(|part| !named(part)).last() {
                None => return GlobMatch::Yes,
                Some(part) => {
                    missing.get_or_insert(part);
                }
            }
        }
        missing.map_or(GlobMatch::No, GlobMatch::Unnamed)
    }

    /// The parts of a path that a glob must name.
    fn reserved_parts<'a>(&self, path: &'a Path) -> impl Iterator<Item = &'a OsStr> {
        let parts = path.ancestors().filter_map(|part| Some((part, part.file_name()?)));
        parts.filter(|(part, _)| self.is_reserved(part, path)).map(|(_, name)| name)
    }

    fn is_reserved(&self, part: &Path, path: &Path) -> bool {
        let name = part.file_name().unwrap_or_default();
        let is_known = self.reserved.names.iter().any(|known| name.eq_ignore_ascii_case(known));
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        // insta's, for snapshots in a source file: `.name.rs.pending-snap`.
        let is_pending = part == path && path.extension() == Some(OsStr::new("pending-snap"));
        is_known
            || is_hidden && !is_pending
            || self.reserved.directories.iter().any(|directory| directory == part)
    }
}

/// A glob in which no wildcard matches a slash.
fn build(glob: &str) -> Result<Glob, Error> {
    GlobBuilder::new(glob).literal_separator(true).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(globs: &[&str], path: &str, expected: GlobMatch<'_>) {
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        let reserved = Reserved {
            names: &["Makefile", "rust-toolchain"],
            directories: vec!["built".into(), "built/own".into()],
        };
        let wanted = Wanted::new(&globs, reserved).expect("globs");
        assert_eq!(wanted.answer(Path::new(path)), expected, "{globs:?} {path}");
    }

    #[test]
    fn a_wildcard_matches_nothing_that_runs_outside() {
        let unnamed = |part| GlobMatch::Unnamed(OsStr::new(part));
        check(&["**"], "src/a.snap", GlobMatch::Yes);
        check(&["*.snap"], "src/a.snap", GlobMatch::No);
        check(&["**"], ".git/hooks/pre-commit", unnamed(".git"));
        check(&["**"], "sub/.git/config", unnamed(".git"));
        check(&["**/config.toml"], ".cargo/config.toml", unnamed(".cargo"));
        check(&["?git/**", "[.]git/**", "{.git}/**", ".g*/**"], ".git/config", unnamed(".git"));
        check(&["**/.envr*"], ".envrc", unnamed(".envrc"));
        check(&["**"], "Makefile", unnamed("Makefile"));
        check(&["**"], "sub/mAKEFILE", unnamed("mAKEFILE"));
        check(&["**"], "rust-toolchain/a", unnamed("rust-toolchain"));
        check(&["**"], "built/a", unnamed("built"));
        check(&["**"], "built/own/a", unnamed("built"));
        check(&["built/**"], "built/own/a", unnamed("own"));
        check(&["**"], "src/built/a", GlobMatch::Yes);
    }

    #[test]
    fn a_glob_that_names_it_matches_it() {
        check(&["**", ".git/hooks/*"], ".git/hooks/pre-commit", GlobMatch::Yes);
        check(&["**/.git/**"], "sub/.git/config", GlobMatch::Yes);
        check(&[".git/**"], ".git/.hidden", GlobMatch::Unnamed(OsStr::new(".hidden")));
        // Each must name all of it.
        check(
            &["**/.cargo/**", "built/**"],
            "built/.cargo/a",
            GlobMatch::Unnamed(OsStr::new("built")),
        );
        check(&["**/Makefile"], "sub/Makefile", GlobMatch::Yes);
        check(&["built/own/**"], "built/own/a", GlobMatch::Yes);
        check(&["**/*.pending-snap"], "src/.a.rs.pending-snap", GlobMatch::Yes);
        check(&["**"], ".git/.a.pending-snap", GlobMatch::Unnamed(OsStr::new(".git")));
    }
}
