//! Places of test functions in the sources of a package.

use std::path::Path;

use isotest_core::untrusted::Dir;

/// Maximum bytes of a source file that is read.
const LARGEST: u64 = 4 << 20;
/// Maximum number of files that are read, of entries of a directory, and of directories below each
/// other.
const FILES: usize = 2000;
const ENTRIES: usize = 10_000;
const DEPTH: usize = 12;

/// The place of the function of a test, `tests/admin.rs:31`. The main source file of its binary is
/// searched first, relative to the package; then the files below its directory, if exactly one
/// function has the name.
pub fn place_of(test: &str, package: &Path, source: &Path) -> Option<String> {
    let function = test.rsplit("::").next()?;
    let wanted = format!("fn {function}(");
    let directory = Dir::open(package).ok()?;
    if let Some(line) = line_of(&directory, source, &wanted) {
        return Some(format!("{}:{line}", source.display()));
    }
    let below = source.parent()?;
    let start = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let mut search = Search { wanted: &wanted, left: FILES, found: Vec::new() };
    search.below(&directory.directory(start).ok()?, below, DEPTH);
    match search.found.as_slice() {
        [place] => Some(place.clone()),
        _ => None,
    }
}

struct Search<'a> {
    wanted: &'a str,
    left: usize,
    found: Vec<String>,
}

impl Search<'_> {
    fn below(&mut self, directory: &Dir, path: &Path, depth: usize) {
        for (name, kind) in directory.entries(ENTRIES).unwrap_or_default() {
            let place = path.join(&name);
            if kind.is_dir() && depth > 0 && name != *"target" {
                if let Ok(inner) = directory.directory(&name) {
                    self.below(&inner, &place, depth - 1);
                }
            } else if kind.is_file() && place.extension().is_some_and(|it| it == "rs") {
                let Some(left) = self.left.checked_sub(1) else { return };
                self.left = left;
                let line = line_of(directory, Path::new(&name), self.wanted);
                self.found.extend(line.map(|line| format!("{}:{line}", place.display())));
            }
        }
    }
}

/// The number of the line that has these words.
fn line_of(directory: &Dir, file: &Path, wanted: &str) -> Option<usize> {
    let text = directory.read(file, LARGEST).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().position(|line| line.contains(wanted)).map(|line| line + 1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_test_is_found_in_its_file_or_in_the_one_file_that_has_its_name() {
        let package = tempfile::tempdir().expect("there is a temporary directory");
        let path = package.path();
        fs::create_dir_all(path.join("src/inner")).expect("it can be made");
        fs::write(path.join("src/lib.rs"), "mod inner;\n\nfn own() {}\nfn a() {}\n")
            .expect("written");
        fs::write(path.join("src/inner/mod.rs"), "\nfn deep() {}\nfn twice() {}\n")
            .expect("written");
        fs::write(path.join("src/inner/more.rs"), "fn twice() {}\n").expect("written");
        let place = |test: &str| place_of(test, path, Path::new("src/lib.rs"));
        assert_eq!(place("tests::own").as_deref(), Some("src/lib.rs:3"));
        assert_eq!(place("inner::deep").as_deref(), Some("src/inner/mod.rs:2"));
        assert_eq!(place("inner::twice"), None);
        assert_eq!(place("nowhere"), None);
    }
}
