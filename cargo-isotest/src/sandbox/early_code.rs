//! Code of a program that the dynamic loader runs before any initialiser: it would run in the fork
//! server.
//!
//! Resolvers of indirect functions (STT_GNU_IFUNC, relocations IRELATIVE), libraries for auditing
//! (DT_AUDIT), another loader. The program is examined with the libraries that the loader may find
//! outside the directories of the system.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use isotest_core::untrusted::{self, Dir};
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::read::{ReadCache, ReadRef};

/// Directories whose code is trusted as the dynamic loader is.
const SYSTEM: [&str; 10] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/nix/store",
    "/gnu/store",
];
/// Directories below one of libraries, in which glibc before 2.37 looks too (ld.so(8)).
const LEGACY: [&str; 5] = ["tls", "x86_64", "haswell", "xeon_phi", "atomics"];
/// The most libraries that are examined.
const MOST: usize = 1000;

#[cfg(target_arch = "x86_64")]
const IRELATIVE: u32 = elf::R_X86_64_IRELATIVE;
#[cfg(target_arch = "aarch64")]
const IRELATIVE: u32 = elf::R_AARCH64_IRELATIVE;

const UNKNOWN: &str = "it cannot be known which code its dynamic loader runs";

/// Parts of an ELF file that decide which code the loader runs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// Names of libraries.
    libraries: Vec<OsString>,
    /// The lists of directories in which they are searched for, DT_RPATH and DT_RUNPATH.
    paths: Vec<OsString>,
}

/// The reason why code of the project may run before the initialisers of a program; `None` if none
/// does. `libraries` are the directories of LD_LIBRARY_PATH; relative ones lie in `directory`.
pub fn found(program: &Path, libraries: &[PathBuf], directory: &Path) -> Option<&'static str> {
    let mut directories: BTreeSet<PathBuf> =
        libraries.iter().map(|it| directory.join(it)).collect();
    let mut examined = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut left = vec![program.to_owned()];
    // A directory that one library names is searched for the libraries of all.
    while let Some(path) = left.pop() {
        let Ok(path) = path.canonicalize() else { return Some(UNKNOWN) };
        let is_trusted = is_of_system(&path) && !examined.is_empty();
        if is_trusted || !examined.insert(path.clone()) {
            continue;
        }
        if examined.len() > MOST {
            return Some(UNKNOWN);
        }
        let Ok(file) = untrusted::file(&path) else { return Some(UNKNOWN) };
        let needs = match examine(&ReadCache::new(file)) {
            Ok(Ok(needs)) => needs,
            Ok(Err(reason)) => return Some(reason),
            Err(_) => return Some(UNKNOWN),
        };
        let origin = path.parent().unwrap_or(Path::new("/"));
        for list in &needs.paths {
            let Some(named) = expand(list, origin) else { return Some(UNKNOWN) };
            directories.extend(std::env::split_paths(&named).map(|it| directory.join(it)));
        }
        for name in &needs.libraries {
            let Some(name) = expand(name, origin) else { return Some(UNKNOWN) };
            names.insert(name);
        }
        for place in &directories {
            let Some(places) = searched(place) else { return Some(UNKNOWN) };
            left.extend(places.iter().flat_map(|place| names.iter().map(|name| place.join(name))));
        }
        let with_slash = names.iter().filter(|name| name.as_bytes().contains(&b'/'));
        left.extend(with_slash.map(|name| directory.join(name)));
        left.retain(|path| path.exists());
    }
    None
}

fn is_of_system(path: &Path) -> bool {
    SYSTEM.iter().any(|directory| path.starts_with(directory))
}

/// The directories that are searched if this one is named. `None` if it has ones whose names depend
/// on the processor.
fn searched(directory: &Path) -> Option<Vec<PathBuf>> {
    if is_of_system(directory) {
        return Some(Vec::new());
    }
    if LEGACY.iter().any(|name| directory.join(name).is_dir()) {
        return None;
    }
    let hwcaps = directory.join("glibc-hwcaps");
    let variants = match Dir::open(&hwcaps).and_then(|it| it.entries(MOST)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        variants => variants.ok()?,
    };
    let variants = variants.into_iter().map(|(name, _)| hwcaps.join(name));
    Some(variants.chain([directory.to_owned()]).collect())
}

/// A path with the directory of its file in place of `$ORIGIN`; `None` if it has other variables.
fn expand(path: &OsStr, origin: &Path) -> Option<OsString> {
    let mut expanded = Vec::new();
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        let (before, variable) = rest.split_at(at);
        let names: [&[u8]; 2] = [b"$ORIGIN", b"${ORIGIN}"];
        let after = names.iter().find_map(|name| variable.strip_prefix(*name))?;
        expanded.extend_from_slice(before);
        expanded.extend_from_slice(origin.as_os_str().as_bytes());
        rest = after;
    }
    expanded.extend_from_slice(rest);
    Some(OsString::from_vec(expanded))
}

fn examine<'a>(data: impl ReadRef<'a>) -> object::read::Result<Result<Needs, &'static str>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    for segment in header.program_headers(endian, data)? {
        if let Some(interpreter) = segment.interpreter(endian, data)?
            && !Path::new(OsStr::from_bytes(interpreter))
                .canonicalize()
                .is_ok_and(|it| is_of_system(&it))
        {
            return Ok(Err("its dynamic loader is not the system's"));
        }
    }
    let sections = header.sections(endian, data)?;
    for section in sections.iter() {
        if let Some((relocations, _)) = section.rela(endian, data)?
            && relocations.iter().any(|it| it.r_type(endian, false) == IRELATIVE)
        {
            return Ok(Err("it has a resolver of an indirect function"));
        }
    }
    let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM)?;
    let is_resolver = |symbol: &elf::Sym64<Endianness>| {
        symbol.st_type() == elf::STT_GNU_IFUNC && !symbol.is_undefined(endian)
    };
    if symbols.iter().any(is_resolver) {
        return Ok(Err("it has a resolver of an indirect function"));
    }
    let Some((entries, strings)) = sections.dynamic(endian, data)? else { return Ok(Err(UNKNOWN)) };
    let strings = sections.strings(endian, data, strings)?;
    let mut needs = Needs::default();
    for entry in entries {
        let text = || {
            let text = entry.val32(endian).and_then(|name| strings.get(name).ok());
            OsStr::from_bytes(text.unwrap_or_default()).to_owned()
        };
        match entry.tag32(endian) {
            Some(elf::DT_AUDIT | elf::DT_DEPAUDIT) => {
                return Ok(Err("it names a library for auditing"));
            }
            Some(elf::DT_NEEDED | elf::DT_FILTER | elf::DT_AUXILIARY) => {
                needs.libraries.push(text());
            }
            Some(elf::DT_RPATH | elf::DT_RUNPATH) => needs.paths.push(text()),
            Some(_) | None => {}
        }
    }
    Ok(Ok(needs))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_of_the_project_without_resolvers_has_none() {
        let own = std::env::current_exe().expect("it has a name");
        assert_eq!(found(&own, &[], Path::new("/")), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_trusted() {
        let place = tempfile::tempdir().expect("there is a temporary directory");
        let file = place.path().join("program");
        assert_eq!(found(&file, &[], Path::new("/")), Some(UNKNOWN));
        fs::write(&file, "#!/bin/sh\n").expect("it is writable");
        assert_eq!(found(&file, &[], Path::new("/")), Some(UNKNOWN));
    }

    #[test]
    fn only_the_directory_of_a_file_is_known() {
        let expand = |text: &str| expand(OsStr::new(text), Path::new("/a"));
        assert_eq!(expand("$ORIGIN/b:${ORIGIN}:/c"), Some("/a/b:/a:/c".into()));
        assert_eq!(expand("/$LIB"), None);
    }

    #[test]
    fn directories_of_variants_are_searched() {
        let place = tempfile::tempdir().expect("there is a temporary directory");
        let variant = place.path().join("glibc-hwcaps/x86-64-v3");
        fs::create_dir_all(&variant).expect("it is writable");
        assert_eq!(searched(place.path()), Some(vec![variant, place.path().to_owned()]));
        fs::create_dir(place.path().join("tls")).expect("it is writable");
        assert_eq!(searched(place.path()), None);
        assert_eq!(searched(Path::new("/usr/lib")), Some(vec![]));
    }
}
