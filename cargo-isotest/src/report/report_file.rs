//! Files of reports: `--junit FILE`, `--sarif FILE`.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use isotest_core::untrusted::{self, Dir, Link};

/// A report cannot be written.
#[derive(Debug)]
pub struct ReportFileError {
    what: &'static str,
    path: PathBuf,
    cause: io::Error,
}

impl fmt::Display for ReportFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReportFileError { what, path, cause } = self;
        write!(f, "cannot write the {what} `{}`: {cause}", path.display())?;
        match Link::is_cause(cause) {
            true => write!(f, "\nhint: remove the link, or name a file where it leads"),
            false => Ok(()),
        }
    }
}

/// The file of a report, which is written at the end of a run.
pub struct ReportFile {
    what: &'static str,
    path: PathBuf,
    destination: Destination,
}

impl ReportFile {
    /// Opens the file before anything is run: one that cannot be written is an error at once, and
    /// what an earlier run wrote is not taken for this one's. No link below `roots` is followed.
    pub fn at(
        what: &'static str,
        path: &Path,
        roots: &[&Path],
    ) -> Result<ReportFile, ReportFileError> {
        let path = path.to_owned();
        match Destination::open(&path, roots) {
            Ok(destination) => Ok(ReportFile { what, path, destination }),
            Err(cause) => Err(ReportFileError { what, path, cause }),
        }
    }

    /// Writes the report, or tells why there is none.
    pub fn write(&self, report: io::Result<Vec<u8>>) -> Result<(), ReportFileError> {
        let written = report.and_then(|report| self.destination.write(&report));
        written.map_err(|cause| ReportFileError { what: self.what, path: self.path.clone(), cause })
    }
}

/// Place of a report.
enum Destination {
    /// A stream, by one of the names that `/dev` has for them: `/dev/stdout`, `/dev/fd/63`.
    Stream(File),
    /// A file of this name in a directory. An earlier test may have put anything in its place.
    File(Dir, OsString),
}

impl Destination {
    /// Opens a stream, or empties the file. Tests may have put links in `roots`: none below these is
    /// followed.
    fn open(path: &Path, roots: &[&Path]) -> io::Result<Destination> {
        if path.starts_with("/dev") {
            return Ok(Destination::Stream(File::options().write(true).open(path)?));
        }
        let below = roots.iter().find_map(|root| Some((root, below(path, root)?)));
        let (directory, name) = match &below {
            Some((root, rest)) => {
                let root = Dir::open(&root.canonicalize()?)?;
                let parent = rest.parent().unwrap_or(Path::new(""));
                (root.make_across(parent, 0o777)?, rest.file_name().unwrap_or_default())
            }
            None => {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                untrusted::place(path)?
            }
        };
        match directory.file(name) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            Ok(_) | Err(_) => {}
        }
        let place = Destination::File(directory, name.to_owned());
        place.write(b"")?;
        Ok(place)
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        match self {
            Destination::Stream(stream) => (&*stream).write_all(text),
            Destination::File(directory, name) => directory.replace(name, text),
        }
    }
}

/// The part of a path below a directory, however the path names it, without `..`.
fn below(path: &Path, root: &Path) -> Option<PathBuf> {
    let identity = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let root = identity(root)?;
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    // The last one first would be a link back to the directory.
    above.reverse();
    let mut named = above.into_iter().filter(|above| identity(above) == Some(root));
    named.find_map(|above| without_dots(path.strip_prefix(above).ok()?))
}

/// A relative path without `.` and `..`; `None` where it leads out. Where no link is followed, the
/// kernel finds the same.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir if plain.pop() => {}
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    plain.file_name()?;
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_directory_is_found_by_any_of_its_names() {
        let place = tempfile::tempdir().expect("a directory");
        let (root, path) = (place.path().join("root"), |name| place.path().join(name));
        fs::create_dir_all(root.join("inner")).expect("it is writable");
        std::os::unix::fs::symlink("root", path("link")).expect("a link");
        std::os::unix::fs::symlink(".", root.join("inner/self")).expect("a link");
        std::os::unix::fs::symlink("..", root.join("back")).expect("a link");
        for (name, rest) in [
            ("root/a/b", Some("a/b")),
            ("link/a/b", Some("a/b")),
            ("root/../link/inner/../a", Some("a")),
            ("root/../root/a", Some("a")),
            // The links below it are left in.
            ("root/inner/self/a", Some("inner/self/a")),
            ("root/back/root/a", Some("back/root/a")),
            ("root", None),
            ("root/../a", None),
            ("other/a", None),
        ] {
            assert_eq!(below(&path(name), &root).as_deref(), rest.map(Path::new), "{name}");
        }
    }
}
