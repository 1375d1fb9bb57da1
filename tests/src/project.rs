//! Projects to run isotest on.
//!
//! A fixture is copied to a stable place, so that it is compiled once for all tests, and once for
//! all their runs: isotest never writes to a project. A project that a test makes has a temporary
//! directory of its own and goes with it.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::call::Call;
use crate::program::{cargo, isotest, staging_directory, workspace};
use crate::skip::unavailable;

/// A directory with a `Cargo.toml`.
#[derive(Debug)]
pub struct Project {
    directory: PathBuf,
    /// Removed with the project; a fixture's copy stays.
    _temporary: Option<TempDir>,
}

const MANIFEST: &str = "\
[workspace]

[package]
name = \"demo\"
version = \"0.1.0\"
edition = \"2024\"
";

/// A library with one test, which passes.
pub const PASSING: (&str, &str) = ("src/lib.rs", "#[test]\nfn passes() {}\n");

/// The commands that run no tests.
const COMMANDS: [&str; 9] =
    ["adopt", "list", "doctor", "explain", "shell", "exec", "prune", "completions", "man"];

/// The option by which no fork server is used.
pub const EXECUTED: &str = "--no-fork-server";

/// True if `ISOTEST_EXECUTES` is set: all tests of a run are executed.
pub fn executes() -> bool {
    env::var_os("ISOTEST_EXECUTES").is_some()
}

impl Project {
    /// The copy of `fixtures/NAME`.
    pub fn fixture(name: &str) -> Project {
        let directory = staging_directory().join(name);
        let lock = staging_directory().join(format!("{name}.lock"));
        fs::create_dir_all(lock.parent().expect("it has one"))
            .expect("the staging directory is writable");
        let lock = File::create(lock).expect("the staging directory is writable");
        lock.lock().expect("files can be locked");
        let copied = synchronise(&workspace().join("fixtures").join(name), &directory);
        copied.unwrap_or_else(|error| panic!("cannot copy the fixture {name}: {error}"));
        Project { directory, _temporary: None }
    }

    /// The same, as long as no other test has it in this way: its tests change it. The file is the
    /// lock.
    pub fn fixture_alone(name: &str) -> (Project, File) {
        let lock = File::create(staging_directory().join(format!("{name}.used")))
            .expect("the staging directory is writable");
        lock.lock().expect("files can be locked");
        (Project::fixture(name), lock)
    }

    /// A new package `demo` with these files; a manifest among them replaces the usual one.
    pub fn new(files: &[(&str, &str)]) -> Project {
        Project::below(staging_directory(), "project", files)
    }

    /// As [`Project::new`], in a directory `name` of a temporary one below `parent`.
    pub fn below(parent: &Path, name: impl AsRef<Path>, files: &[(&str, &str)]) -> Project {
        let temporary = TempDir::with_prefix_in("isotest-tests-", parent);
        let temporary = temporary.unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
        let directory = temporary.path().join(name);
        for (path, text) in [("Cargo.toml", MANIFEST)].iter().chain(files) {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().expect("it has a name")).expect("it is writable");
            fs::write(path, text).expect("it is writable");
        }
        Project { directory, _temporary: Some(temporary) }
    }

    /// True if the crates that it locks are available: missing ones are downloaded. If that fails,
    /// [`unavailable`] is called.
    pub fn has_crates(&self) -> bool {
        let fetch = || self.cargo("fetch --locked");
        let has = fetch().run().code == 0 || fetch().without("CARGO_NET_OFFLINE").run().code == 0;
        if !has {
            unavailable("the crates of a fixture can not be had: there is no network");
        }
        has
    }

    /// Directory of its manifest.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `cargo isotest LINE` in it; where [`executes`], no fork server starts its tests.
    pub fn isotest(&self, line: &str) -> Call {
        let call = Call::new(isotest(), &self.directory).arg("isotest");
        let command = line.split_whitespace().next().unwrap_or_default();
        if executes() && !COMMANDS.contains(&command) && !line.contains(EXECUTED) {
            return call.arg(EXECUTED).words(line);
        }
        call.words(line)
    }

    /// `cargo LINE` in it.
    pub fn cargo(&self, line: &str) -> Call {
        Call::new(cargo(), &self.directory).words(line)
    }

    /// `cargo test LINE` in it.
    pub fn cargo_test(&self, line: &str) -> Call {
        self.cargo("test").words(line)
    }
}

/// Makes `copy` what `source` is, without touching what is the same: cargo goes by times. What
/// cargo has built stays.
fn synchronise(source: &Path, copy: &Path) -> io::Result<()> {
    fs::create_dir_all(copy)?;
    let names = |directory: &Path| -> io::Result<BTreeSet<_>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let wanted = names(source)?;
    for name in names(copy)?.difference(&wanted).filter(|name| *name != "target") {
        let path = copy.join(name);
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    for name in wanted.iter().filter(|name| *name != "target") {
        let (source, copy) = (source.join(name), copy.join(name));
        if source.is_dir() {
            synchronise(&source, &copy)?;
        } else {
            let bytes = fs::read(&source)?;
            if fs::read(&copy).ok().as_ref() != Some(&bytes) {
                fs::write(&copy, bytes)?;
            }
        }
    }
    Ok(())
}
