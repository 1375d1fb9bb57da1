//! Files of the workspace that a layer is made of: found by globs, told apart by their contents.
//!
//! A test may have put anything there, where it shares the workspace: no link is followed, and nothing
//! but regular files is read.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use isotest_core::untrusted::{Dir, FileType};
use sha2::{Digest as _, Sha256};

use super::error::LayerCause;
use crate::config::InputGlob;

/// Maximum number of files and directories that are looked at for one glob.
const ENTRIES: usize = 1 << 20;
/// Maximum bytes of one input: all of it is read in each run.
const BYTES: u64 = 4 << 30;

/// Content of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file: whether its owner may execute it, and the SHA-256 of its content.
    File { executable: bool, sum: Vec<u8> },
    /// A symbolic link, by its target.
    Link(OsString),
}

/// Inputs by their paths in the workspace.
pub type Inputs = BTreeMap<PathBuf, Input>;

/// Finds the inputs. `left_out` are directories in the workspace that only a glob that begins in them
/// looks into. A glob that matches nothing is an error.
pub fn find(
    workspace: &Dir,
    globs: &[InputGlob],
    left_out: &[PathBuf],
) -> Result<Inputs, LayerCause> {
    let mut inputs = Inputs::new();
    for glob in globs {
        let mut search = Search { workspace, glob, left_out, left: ENTRIES, found: Inputs::new() };
        let failed = |(path, error)| LayerCause::Input { glob: glob.text.clone(), path, error };
        search.run().map_err(failed)?;
        if search.found.is_empty() {
            return Err(LayerCause::NoInput(glob.text.clone()));
        }
        inputs.append(&mut search.found);
    }
    Ok(inputs)
}

/// An error, and the path in the workspace that has it.
type Failed = (PathBuf, io::Error);

/// A search for what one glob matches.
struct Search<'a> {
    workspace: &'a Dir,
    glob: &'a InputGlob,
    left_out: &'a [PathBuf],
    /// Number of entries that may still be looked at.
    left: usize,
    found: Inputs,
}

impl Search<'_> {
    fn run(&mut self) -> Result<(), Failed> {
        let base = &self.glob.base;
        let (parent, name) = match (base.parent(), base.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => return self.directories(vec![(PathBuf::new(), false)]),
        };
        let directory = match self.open(parent) {
            Ok(directory) => directory,
            // It matches nothing.
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let Ok(stat) = directory.stat(name) else { return Ok(()) };
        let mut waiting = Vec::new();
        self.entry(
            &directory,
            parent,
            name,
            FileType::from_raw_mode(stat.st_mode),
            false,
            &mut waiting,
        )?;
        self.directories(waiting)
    }

    /// Goes through directories, and those in them. The second part of each is true where the glob
    /// matches the whole directory.
    fn directories(&mut self, mut waiting: Vec<(PathBuf, bool)>) -> Result<(), Failed> {
        while let Some((path, is_matched)) = waiting.pop() {
            let directory = self.open(&path)?;
            let entries =
                directory.entries(self.left + 1).map_err(|error| (path.clone(), error))?;
            self.left = self.left.checked_sub(entries.len()).ok_or_else(|| {
                let what = format!("there are more than {ENTRIES} files and directories");
                (path.clone(), io::Error::other(what))
            })?;
            for (name, kind) in entries {
                self.entry(&directory, &path, &name, kind, is_matched, &mut waiting)?;
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<Dir, Failed> {
        let opened = match path.as_os_str().is_empty() {
            true => self.workspace.try_clone(),
            false => self.workspace.directory(path),
        };
        opened.map_err(|error| (path.to_owned(), error))
    }

    fn entry(
        &mut self,
        directory: &Dir,
        parent: &Path,
        name: &OsStr,
        kind: FileType,
        is_matched: bool,
        waiting: &mut Vec<(PathBuf, bool)>,
    ) -> Result<(), Failed> {
        let path = parent.join(name);
        let is_matched = is_matched || self.glob.matcher.is_match(&path);
        let read = match kind {
            FileType::Directory => {
                if !self.leaves_out(&path) {
                    waiting.push((path, is_matched));
                }
                return Ok(());
            }
            FileType::RegularFile if is_matched => file(directory, name),
            FileType::Symlink if is_matched => directory.link(name).map(Input::Link),
            // Sockets, FIFOs and devices have no content.
            _ => return Ok(()),
        };
        let input = read.map_err(|error| (path.clone(), error))?;
        self.found.insert(path, input);
        Ok(())
    }

    fn leaves_out(&self, path: &Path) -> bool {
        let begins_in = |left_out: &Path| self.glob.base.starts_with(left_out);
        let is_left_out = path.file_name() == Some(OsStr::new(".git"))
            || self.left_out.iter().any(|left_out| left_out == path);
        is_left_out && !begins_in(path)
    }
}

fn file(directory: &Dir, name: &OsStr) -> io::Result<Input> {
    /// The owner's permission to execute.
    const EXECUTE: u32 = 0o100;
    let file = directory.file(name)?;
    let metadata = file.metadata()?;
    if metadata.len() > BYTES {
        return Err(io::Error::other(format!("it has more than {} GiB", BYTES >> 30)));
    }
    let executable = metadata.mode() & EXECUTE != 0;
    // Not what is written to it meanwhile.
    let mut file = file.take(metadata.len());
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Input::File { executable, sum: sum.finalize().to_vec() }),
            length => sum.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::config::input_glob;

    fn place(files: &[&str]) -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = place.path().join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it is writable");
            fs::write(path, file).expect("it is writable");
        }
        let directory = Dir::open(place.path()).expect("it is there");
        (place, directory)
    }

    fn found(workspace: &Dir, globs: &[&str]) -> Result<Vec<String>, LayerCause> {
        let globs: Vec<InputGlob> =
            globs.iter().map(|text| input_glob(text).expect("a glob")).collect();
        let found = find(workspace, &globs, &["target".into()])?;
        Ok(found.keys().map(|path| path.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn globs_name_files_and_directories_of_the_workspace() {
        let files = [
            "sql/1.sql",
            "sql/deep/2.sql",
            "sql/x.txt",
            "Cargo.lock",
            "target/t.sql",
            ".git/g.sql",
        ];
        let (_place, workspace) = place(&files);
        let found = |globs: &[&str]| found(&workspace, globs).expect("they match");
        assert_eq!(found(&["sql/*.sql", "Cargo.lock"]), ["Cargo.lock", "sql/1.sql"]);
        assert_eq!(found(&["**/*.sql"]), ["sql/1.sql", "sql/deep/2.sql"]);
        assert_eq!(found(&["sql"]), ["sql/1.sql", "sql/deep/2.sql", "sql/x.txt"]);
        assert_eq!(found(&["sql/**"]), found(&["./sql"]));
        assert_eq!(found(&["target/*.sql"]), ["target/t.sql"]);
    }

    #[test]
    fn a_glob_that_matches_nothing_is_an_error() {
        let (_place, workspace) = place(&["sql/1.sql"]);
        for glob in ["sqll/**", "sql/*.txt", "sql/1.sql/x", "missing/deep/*"] {
            match found(&workspace, &["sql", glob]) {
                Err(LayerCause::NoInput(text)) => assert_eq!(text, glob),
                Err(LayerCause::Input { .. }) if glob == "sql/1.sql/x" => {}
                other => panic!("{glob}: {other:?}"),
            }
        }
    }

    #[test]
    fn content_permission_and_target_count_and_no_link_is_followed() {
        let (place, workspace) = place(&["in/a"]);
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("secret"), "x").expect("it is writable");
        symlink(outside.path(), place.path().join("in/link")).expect("a link");
        let socket = place.path().join("in/socket");
        let _socket = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        let read = || {
            find(&workspace, &[input_glob("in/**").expect("a glob")], &[]).expect("it is readable")
        };
        let first = read();
        assert_eq!(first[Path::new("in/link")], Input::Link(outside.path().into()));
        assert_eq!(first.len(), 2);
        assert_eq!(read(), first);
        let path = place.path().join("in/a");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let executable = read();
        assert_ne!(executable, first);
        fs::write(&path, "b").expect("it is writable");
        assert_ne!(read(), executable);
    }
}
