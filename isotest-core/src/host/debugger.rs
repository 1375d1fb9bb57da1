//! A debugger that reads the stacks of a case, and what of the host it is shown: programs, libraries
//! and the data of these.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The directory of its root with a debugger that lies in no system directory.
const ELSEWHERE: &str = "/.debugger";
/// Directories that are parted in what is the host's and what is the case's.
const PARTED: [&str; 3] = ["/", "/usr", "/usr/local"];
/// Top-level directories of the host that are shown: directories with programs, libraries and their
/// data.
const LIBRARIES: [&str; 8] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "share"];
/// The stores of NixOS and Guix.
const STORES: [&str; 2] = ["/nix/store", "/gnu/store"];
/// Target of Debian's links to programs and libraries.
const ALTERNATIVES: &str = "/etc/alternatives";
/// File that the dynamic loader reads first.
const CACHE: &str = "/etc/ld.so.cache";
/// Directories beside the `bin` of a program that was installed in a directory of its own.
const BESIDE: [&str; 4] = ["lib", "lib64", "libexec", "share/gdb"];

/// Paths at which a debugger opens the files of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// Below the root of a process.
    BelowRoot,
    /// At their paths in its own root.
    AtPaths,
}

/// Something of the host, and its place in the root of a debugger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebuggerFile {
    /// Its path on the host, without symbolic links.
    pub source: PathBuf,
    /// Its path in the root of the debugger.
    pub target: PathBuf,
    /// It is a directory.
    pub directory: bool,
}

/// A debugger and what it is shown of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Debugger {
    /// Its program, in its own root.
    pub program: PathBuf,
    /// Files and directories that it is shown, read-only.
    pub shown: Vec<DebuggerFile>,
    /// Symbolic links to that, as the host has them.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Names that lead to what the case has of that name.
    pub of_case: Vec<PathBuf>,
    /// A directory of the host on which the new root is mounted at first.
    pub base: PathBuf,
}

impl Debugger {
    /// Looks at the host for the debugger at this path. What it executes or loads is the host's: one
    /// that may look for its own files anywhere has no names of the case.
    pub fn find(program: &Path, lookup: Lookup) -> io::Result<Debugger> {
        let base = if Path::new("/tmp").is_dir() { "/tmp" } else { "/proc" };
        let mut found = Debugger { base: base.into(), ..Debugger::default() };
        let program = program.canonicalize()?;
        let store = STORES.iter().map(Path::new).find(|store| program.starts_with(store));
        let own = [Some(Path::new(ALTERNATIVES)), store];
        own.into_iter().flatten().for_each(|path| found.show(path, path));
        PARTED.iter().try_for_each(|directory| found.part(Path::new(directory)))?;
        let cache = Path::new(CACHE);
        if found.loads_from(&fs::read(cache).unwrap_or_default()) {
            found.show(cache, cache);
        }
        if lookup == Lookup::BelowRoot || !found.is_shown(&program) {
            found.of_case.clear();
        }
        found.place(program);
        Ok(found)
    }

    /// Shows what there is at a path; a symbolic link is none of it.
    fn show(&mut self, source: &Path, target: &Path) {
        let metadata = fs::symlink_metadata(source);
        if let Some(kind) = metadata.ok().map(|metadata| metadata.file_type())
            && (kind.is_dir() || kind.is_file())
        {
            let (source, target) = (source.to_owned(), target.to_owned());
            self.shown.push(DebuggerFile { source, target, directory: kind.is_dir() });
        }
    }

    /// Says of each name in a directory whether it is the host's or the case's.
    fn part(&mut self, directory: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let path = directory.join(&name);
            let is_library = LIBRARIES.iter().any(|known| name == OsStr::new(known));
            match fs::read_link(&path) {
                Ok(target) if is_library => self.links.push((path, target)),
                Err(_) if is_library => self.show(&path, &path),
                Ok(_) | Err(_) if !self.makes(&path) => self.of_case.push(path),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// True if the debugger has a directory of its own there.
    fn makes(&self, path: &Path) -> bool {
        let own = PARTED.iter().chain(&["/proc", "/dev", "/etc"]).map(Path::new);
        own.into_iter().any(|own| own == path)
            || self.shown.iter().any(|shown| shown.target.starts_with(path))
    }

    /// True if all that a cache of the dynamic loader names is shown (ldconfig(8)).
    fn loads_from(&self, cache: &[u8]) -> bool {
        let is_library =
            |text: &&[u8]| text.starts_with(b"/") && text.windows(3).any(|part| part == b".so");
        let mut paths = cache.split(|byte| *byte == 0).filter(is_library);
        paths.all(|path| {
            let path = Path::new(OsStr::from_bytes(path));
            let is_linked = self.links.iter().any(|(link, _)| path.starts_with(link));
            is_linked || self.is_shown(path)
        })
    }

    fn is_shown(&self, path: &Path) -> bool {
        self.shown.iter().any(|shown| shown.directory && path.starts_with(&shown.source))
    }

    /// Says where the program is, which has not all of its home shown for it.
    fn place(&mut self, program: PathBuf) {
        let name = program.file_name().unwrap_or_default();
        if self.is_shown(&program) {
            self.program = program;
            return;
        }
        let place = Path::new(ELSEWHERE);
        self.program = place.join("bin").join(name);
        match program.parent().filter(|directory| directory.ends_with("bin")) {
            None => self.show(&program, &self.program.clone()),
            Some(directory) => {
                self.show(directory, &place.join("bin"));
                let around = directory.parent().unwrap_or(directory);
                BESIDE.iter().for_each(|name| self.show(&around.join(name), &place.join(name)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debugger_is_shown_libraries_and_neither_homes_nor_temporary_files() {
        let shell = Path::new("/bin/sh");
        let found = Debugger::find(shell, Lookup::AtPaths).expect("every host has one");
        let is_shown = |path: &str| found.shown.iter().any(|shown| shown.source == Path::new(path));
        assert!(is_shown("/usr/lib") && !is_shown("/usr"));
        for path in ["/home", "/root", "/tmp", "/run", "/var", "/etc", "/proc", "/dev"] {
            assert!(!is_shown(path), "{path}");
        }
        let of_case = |path: &str| found.of_case.iter().any(|name| name == Path::new(path));
        assert!(of_case("/tmp"));
        for path in ["/usr", "/usr/local", "/usr/lib", "/lib", "/proc", "/etc", "/dev"] {
            assert!(!of_case(path), "{path}");
        }
        let found = Debugger::find(shell, Lookup::BelowRoot).expect("every host has one");
        assert!(found.of_case.is_empty());
    }

    #[test]
    fn a_cache_that_leads_elsewhere_is_not_shown() {
        let library = |path: &str| (path.into(), "usr/lib".into());
        let found = Debugger { links: vec![library("/lib")], ..Debugger::default() };
        assert!(found.loads_from(b"glibc-ld.so.cache1.1\0/\x01\0/lib/libc.so.6\0libc.so.6\0"));
        assert!(!found.loads_from(b"/lib/libc.so.6\0/opt/lib/libc.so.6\0"));
    }

    #[test]
    fn one_that_lies_elsewhere_has_what_is_beside_it_and_no_more() {
        let home = tempfile::tempdir().expect("it is writable");
        let home = home.path().canonicalize().expect("it is there");
        for name in ["bin", "lib", "share/gdb", ".ssh", "share/keyrings"] {
            fs::create_dir_all(home.join(name)).expect("it is writable");
        }
        let own = |path: &Path| {
            fs::write(path, "").expect("it is writable");
            let found = Debugger::find(path, Lookup::AtPaths).expect("it is there");
            assert_eq!(found.program, Path::new("/.debugger/bin/gdb"));
            assert!(found.of_case.is_empty());
            let own = found.shown.into_iter().filter(|shown| shown.source.starts_with(&home));
            own.map(|shown| shown.target).collect::<Vec<_>>()
        };
        let expected = ["/.debugger/bin", "/.debugger/lib", "/.debugger/share/gdb"];
        assert_eq!(own(&home.join("bin/gdb")), expected.map(PathBuf::from));
        assert_eq!(own(&home.join("gdb")), [PathBuf::from("/.debugger/bin/gdb")]);
    }
}
