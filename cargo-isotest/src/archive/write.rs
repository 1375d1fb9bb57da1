//! Writes an archive of a project's tests.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use nextest_metadata::BinaryListSummary;
use tar::{Builder, Header};
use zstd::Encoder;

use super::error::ArchiveError;
use super::layout::{BINARIES, LIBRARIES, METADATA, TOP};
use crate::config::{Include, OnMissing, RelativeTo};
use crate::discover::Built;
use crate::report;

/// All that goes into an archive.
pub struct ArchiveContents<'a> {
    /// The build.
    pub built: &'a Built,
    /// The selected binaries.
    pub summary: &'a BinaryListSummary,
    /// The paths that the configuration includes.
    pub included: &'a [Include],
    /// Place in the configuration that names them.
    pub place: &'a str,
}

/// An archive that is there.
pub struct ArchiveSummary {
    /// The number of files in it.
    pub files: usize,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Writes an archive to `path`, which the user calls `named`. A file that is there already is
/// replaced once the new one is whole.
pub fn write(
    named: &Path,
    path: &Path,
    level: i32,
    content: &ArchiveContents<'_>,
) -> Result<ArchiveSummary, ArchiveError> {
    let failed = |cause| ArchiveError::Write(named.to_owned(), cause);
    let parent = path.parent().unwrap_or(Path::new("/"));
    let file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(failed)?;
    let mut entries = Entries::new(file.as_file(), level, path).map_err(failed)?;
    add_all(&mut entries, content.built, content.summary)?;
    let target = &content.summary.rust_build_meta.target_directory;
    for include in content.included {
        entries.add_included(include, target, content.place)?;
    }
    let files = entries.finish().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(ArchiveSummary { files, bytes: fs::metadata(path).map_err(failed)?.len() })
}

/// All that tests need, what describes it first.
fn add_all(
    entries: &mut Entries<'_>,
    built: &Built,
    summary: &BinaryListSummary,
) -> Result<(), ArchiveError> {
    let json = serde_json::to_vec_pretty(summary).expect("names and paths can be written");
    entries.add_text(BINARIES, &json)?;
    entries.add_text(METADATA, &built.metadata)?;
    let top = Utf8Path::new(TOP);
    let meta = &summary.rust_build_meta;
    let target = &meta.target_directory;
    let build = meta.build_directory.as_ref().unwrap_or(target);
    for binary in summary.rust_binaries.values() {
        let path = &binary.binary_path;
        let inner = path.strip_prefix(build).or_else(|_| path.strip_prefix(target));
        let inner = inner.map_err(|_| {
            let cause = io::Error::other("it is outside the target directory");
            ArchiveError::Add(path.clone().into(), cause)
        })?;
        entries.add(path, &top.join(inner))?;
    }
    for other in meta.non_test_binaries.values().flatten() {
        entries.add(&target.join(&other.path), &top.join(&other.path))?;
    }
    for directory in meta.build_script_out_dirs.values().chain(&meta.linked_paths) {
        entries.add_files(&build.join(directory), &top.join(directory))?;
    }
    for (library, name) in built.libraries() {
        entries.add(&library, &Utf8Path::new(LIBRARIES).join(name))?;
    }
    Ok(())
}

/// The entries of an archive in the making.
struct Entries<'a> {
    archive: &'a Path,
    tar: Builder<Encoder<'static, BufWriter<&'a File>>>,
    added: BTreeSet<Utf8PathBuf>,
}

impl<'a> Entries<'a> {
    fn new(file: &'a File, level: i32, archive: &'a Path) -> io::Result<Entries<'a>> {
        let mut encoder = Encoder::new(BufWriter::new(file), level)?;
        encoder.include_checksum(true)?;
        Ok(Entries { archive, tar: Builder::new(encoder), added: BTreeSet::new() })
    }

    fn add_text(&mut self, name: &str, text: &[u8]) -> Result<(), ArchiveError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(now.as_secs());
        let added = self.tar.append_data(&mut header, name, text);
        added.map_err(|cause| ArchiveError::Write(self.archive.to_owned(), cause))?;
        self.added.insert(name.into());
        Ok(())
    }

    /// Adds a file, or what a link leads to, once.
    fn add(&mut self, path: &Utf8Path, name: &Utf8Path) -> Result<(), ArchiveError> {
        if self.added.insert(name.to_owned()) {
            let added = self.tar.append_path_with_name(path, name);
            added.map_err(|cause| ArchiveError::Add(path.to_owned().into(), cause))?;
        }
        Ok(())
    }

    /// Adds the files of a directory, as cargo-nextest does: not those of directories in it.
    /// A build script may name a directory that it does not make.
    fn add_files(&mut self, directory: &Utf8Path, name: &Utf8Path) -> Result<(), ArchiveError> {
        let failed = |cause| ArchiveError::Add(directory.to_owned().into(), cause);
        let entries = match directory.read_dir_utf8() {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.path().is_file() {
                self.add(entry.path(), &name.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Adds what the configuration names, which is given with its place.
    fn add_included(
        &mut self,
        include: &Include,
        target: &Utf8Path,
        place: &str,
    ) -> Result<(), ArchiveError> {
        let (base, top) = match include.relative_to {
            RelativeTo::Target => (target, Utf8Path::new(TOP)),
        };
        let (path, name) = (base.join(&include.path), top.join(&include.path));
        match (path.symlink_metadata(), include.on_missing) {
            (Ok(_), _) => self.add_tree(&path, &name, include.depth.0),
            (Err(cause), OnMissing::Error) if cause.kind() == io::ErrorKind::NotFound => {
                Err(ArchiveError::Missing(path.into(), place.to_owned()))
            }
            (Err(cause), OnMissing::Warn) if cause.kind() == io::ErrorKind::NotFound => {
                report::not_archived(path.as_std_path(), "it does not exist");
                Ok(())
            }
            (Err(cause), OnMissing::Ignore) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            (Err(cause), _) => Err(ArchiveError::Add(path.into(), cause)),
        }
    }

    /// Adds a file, or the files of a directory that lie so deep at the most. A link counts as the
    /// file that it leads to.
    fn add_tree(
        &mut self,
        path: &Utf8Path,
        name: &Utf8Path,
        depth: u32,
    ) -> Result<(), ArchiveError> {
        let failed = |cause| ArchiveError::Add(path.to_owned().into(), cause);
        let kind = path.symlink_metadata().map_err(failed)?.file_type();
        let leads_to = path.metadata().map_err(failed)?.file_type();
        if kind.is_dir() && depth > 0 {
            for entry in path.read_dir_utf8().map_err(failed)? {
                let entry = entry.map_err(failed)?;
                self.add_tree(entry.path(), &name.join(entry.file_name()), depth - 1)?;
            }
            return Ok(());
        }
        let why = match (kind.is_dir(), leads_to.is_dir(), leads_to.is_file()) {
            (false, false, true) => return self.add(path, name),
            (true, ..) => "it is deeper than its `depth`",
            // It may lead to a directory that it lies in.
            (false, true, _) => "it is a link to a directory",
            (false, false, false) => "it is neither a file nor a directory",
        };
        report::not_archived(path.as_std_path(), why);
        Ok(())
    }

    /// Ends the archive; returns how many files it has.
    fn finish(self) -> io::Result<usize> {
        let buffer = self.tar.into_inner()?.finish()?;
        buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(self.added.len())
    }
}
