//! From an archive, or the descriptions of a build, to a build that can be run.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use isotest_core::untrusted::{self, Dir};

use super::error::ArchiveError;
use super::layout::{BINARIES, METADATA, TOP};
use crate::cli::ReuseOptions;
use crate::config::machine::Machine;
use crate::discover::{DiscoverError, RemapPaths, Reused};
use crate::report;
use crate::sandbox::root::{LIMITS, Unpacker, Whiteouts, decompressed};
use crate::sandbox::run_directory::RunDirectory;

/// A build that was made before.
pub struct OpenedArchive {
    /// The build.
    pub build: Reused,
    /// The options by which another run has the same.
    pub flags: Vec<String>,
    /// Removes the extracted files when it is dropped.
    _place: Option<RunDirectory>,
}

/// Opens what the options name. `None` where they name nothing, and the project is built.
pub fn open(
    options: &ReuseOptions,
    machine: &Machine,
    quiet: bool,
) -> Result<Option<OpenedArchive>, ArchiveError> {
    if let Some(archive) = &options.archive_file {
        if !quiet {
            report::unpacking(archive);
        }
        return open_archive(archive, options, machine).map(Some);
    }
    let (Some(binaries), Some(metadata)) = (&options.binaries_metadata, &options.cargo_metadata)
    else {
        return Ok(None);
    };
    let described = [binaries, metadata].map(|path| {
        let text = read_named(&machine.directory.join(path));
        text.map_err(|cause| ArchiveError::Read(path.clone(), cause))
    });
    let target = directory("--target-dir-remap", options.target_dir_remap.as_deref(), machine)?;
    let build = directory("--build-dir-remap", options.build_dir_remap.as_deref(), machine)?;
    let places = [target.clone(), build.or(target)];
    read(binaries, described, places, options, machine).map(Some)
}

/// Reads the descriptions of a build whose target and build directory are there now; `named` is
/// what the options name it by.
fn read(
    named: &Path,
    described: [Result<String, ArchiveError>; 2],
    [target, build]: [Option<Utf8PathBuf>; 2],
    options: &ReuseOptions,
    machine: &Machine,
) -> Result<OpenedArchive, ArchiveError> {
    let [binaries, metadata] = described;
    let workspace = directory("--workspace-remap", options.workspace_remap.as_deref(), machine)?;
    let places = RemapPaths { workspace, target, build };
    let build = Reused::read(&binaries?, &metadata?, places)
        .map_err(|cause| ArchiveError::Description(named.to_owned(), Box::new(cause)))?;
    Ok(OpenedArchive { build, flags: flags(options), _place: None })
}

/// Unpacks an archive and reads what describes it.
fn open_archive(
    archive: &Path,
    options: &ReuseOptions,
    machine: &Machine,
) -> Result<OpenedArchive, ArchiveError> {
    let path = machine.directory.join(archive);
    let stream = stream(&path)?;
    let (directory, place) = destination(&path, options, machine)?;
    let target = directory.join(TOP);
    let is_new = fs::symlink_metadata(&target).is_err();
    if !is_new && !options.extract_overwrite {
        return Err(ArchiveError::Exists(path, target));
    }
    let failed = |cause| ArchiveError::Place(directory.clone(), cause);
    let place_of_all = Dir::open(&directory).map_err(failed)?;
    // What an earlier archive, or its tests, put there is no link to another directory.
    place_of_all.make(Path::new(TOP), 0o755).map_err(failed)?;
    let unpacked = Unpacker::new(&target, LIMITS).only(TOP).unpack(stream, Whiteouts::Kept);
    let unpacked = unpacked.map_err(|cause| ArchiveError::Unpack(path, cause));
    let whole = unpacked.and_then(|()| place_of_all.make(&scratch(), 0o755).map_err(failed));
    let opened = match whole {
        Ok(_) => describe(archive, &directory, &place_of_all, options, machine),
        Err(error) => Err(error),
    };
    if opened.is_err() && is_new {
        // Half of it is of no use; the next attempt reports what cannot be removed.
        let _ = place_of_all.remove(OsStr::new(TOP));
    }
    Ok(OpenedArchive { _place: place, ..opened? })
}

/// Directory for the files of tests. Cargo makes it at a build, and names it `CARGO_TARGET_TMPDIR`.
/// No archive has it.
fn scratch() -> PathBuf {
    Path::new(TOP).join("tmp")
}

/// Place of extracted archives in the user's cache directory.
const PLACE: &str = "isotest/archives";

/// Directory into which an archive is extracted, and the guard that removes it.
fn destination(
    archive: &Path,
    options: &ReuseOptions,
    machine: &Machine,
) -> Result<(PathBuf, Option<RunDirectory>), ArchiveError> {
    let Some(directory) = &options.extract_to else {
        let cache = machine.cache_directory();
        let cache = cache.ok_or_else(|| ArchiveError::NoPlace(archive.to_owned()))?;
        let parent = cache.join(PLACE);
        let place = RunDirectory::make(&cache, Path::new(PLACE))
            .map_err(|cause| ArchiveError::Place(parent, cause))?;
        return Ok((place.path().to_owned(), Some(place)));
    };
    let directory = machine.directory.join(directory);
    let made = fs::create_dir_all(&directory).and_then(|()| directory.canonicalize());
    Ok((made.map_err(|cause| ArchiveError::Place(directory, cause))?, None))
}

/// Reads what describes an archive that is unpacked there.
fn describe(
    archive: &Path,
    directory: &Path,
    unpacked: &Dir,
    options: &ReuseOptions,
    machine: &Machine,
) -> Result<OpenedArchive, ArchiveError> {
    let described = [BINARIES, METADATA].map(|name| {
        read_description(unpacked, name).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => ArchiveError::Foreign(archive.to_owned(), name),
            _ => ArchiveError::Read(directory.join(name), cause),
        })
    });
    let target = utf8(directory.join(TOP))?;
    let places = [Some(target.clone()), Some(target.clone())];
    let opened = read(archive, described, places, options, machine)?;
    let root = opened.build.workspace_root();
    let is_own = |root: PathBuf| target.canonicalize().is_ok_and(|target| root.starts_with(target));
    match options.workspace_remap {
        // The configuration of sources may run commands outside of every sandbox.
        None if root.as_std_path().canonicalize().is_ok_and(is_own) => {
            Err(ArchiveError::OwnSources(archive.to_owned(), root.into()))
        }
        Some(_) | None => Ok(opened),
    }
}

/// Maximum size of a description in bytes: far more than any project has.
const MAX_BYTES: u64 = 256 << 20;

/// The text of an untrusted file.
fn read_description(directory: &Dir, name: &str) -> io::Result<String> {
    text(directory.read(name, MAX_BYTES)?)
}

/// The text of a file that an option names.
fn read_named(path: &Path) -> io::Result<String> {
    let (file, _) = untrusted::followed(path)?;
    text(untrusted::bounded(file, MAX_BYTES)?)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The tar archive in a file that zstd has compressed.
fn stream(path: &Path) -> Result<Box<dyn Read>, ArchiveError> {
    const MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
    let failed = |cause| ArchiveError::Read(path.to_owned(), cause);
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    if start != MAGIC {
        return Err(ArchiveError::NotZstd(path.to_owned()));
    }
    file.rewind().map_err(failed)?;
    decompressed(file).map_err(failed)
}

/// The directory that an option names, where it is given.
fn directory(
    flag: &'static str,
    path: Option<&Path>,
    machine: &Machine,
) -> Result<Option<Utf8PathBuf>, ArchiveError> {
    let Some(path) = path else { return Ok(None) };
    let failed = |cause| ArchiveError::Remap(flag, path.to_owned(), cause);
    let real = machine.directory.join(path).canonicalize().map_err(failed)?;
    if !real.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    Ok(Some(utf8(real)?))
}

fn utf8(path: PathBuf) -> Result<Utf8PathBuf, ArchiveError> {
    let utf8 = Utf8PathBuf::try_from(path);
    utf8.map_err(|error| ArchiveError::Path(DiscoverError::NotUtf8(error.into_path_buf())))
}

/// The options as they are typed. What was unpacked to a directory is there then, and may be used.
fn flags(options: &ReuseOptions) -> Vec<String> {
    let named = [
        ("--archive-file", &options.archive_file),
        ("--extract-to", &options.extract_to),
        ("--workspace-remap", &options.workspace_remap),
        ("--binaries-metadata", &options.binaries_metadata),
        ("--cargo-metadata", &options.cargo_metadata),
        ("--target-dir-remap", &options.target_dir_remap),
        ("--build-dir-remap", &options.build_dir_remap),
    ];
    let named = named.into_iter().filter_map(|(flag, path)| Some((flag, path.as_ref()?)));
    let typed =
        named.map(|(flag, path)| format!("{flag} {}", report::quoted(&path.to_string_lossy())));
    let overwrites = options.extract_to.is_some().then(|| "--extract-overwrite".to_owned());
    typed.chain(overwrites).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_a_file_of_some_size() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("description");
        let directory = Dir::open(place.path()).expect("it is there");
        let read = || read_description(&directory, "description");
        let error = || read().expect_err("it is hostile").to_string();
        std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
        assert!(error().ends_with("is a symbolic link, which is not followed"), "{}", error());
        fs::remove_file(&path).expect("it is there");
        File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("files have holes");
        assert_eq!(error(), "it has more than 268435456 bytes");
        fs::write(&path, "{}").expect("it is writable");
        assert_eq!(read().expect("it is a file"), "{}");
    }

    #[test]
    fn a_description_that_an_option_names_is_a_file_of_some_size() {
        let place = tempfile::tempdir().expect("a directory");
        let (path, link) = (place.path().join("description"), place.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let error = |path: &Path| read_named(path).expect_err("it is hostile").to_string();
        assert_eq!(error(Path::new("/dev/zero")), "it is not a regular file");
        File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("files have holes");
        assert_eq!(error(&link), "it has more than 268435456 bytes");
        fs::write(&path, "{}").expect("it is writable");
        assert_eq!(read_named(&link).expect("a link of the user's own is followed"), "{}");
    }
}
