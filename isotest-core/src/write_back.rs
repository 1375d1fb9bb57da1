//! Write-back: files that a case wrote in its throwaway layers are copied out, where the policy
//! names them.
//!
//! The layers are a test's to fill, so they are read as hostile input: only regular files below
//! the layer itself are looked at, no symbolic link is followed on either side (openat2(2)
//! RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS), and a file appears under its name whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use globset::GlobSet;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat, openat2,
    renameat, statat, unlinkat,
};

use crate::finding::Finding;
use crate::untrusted::Directory;

/// What is copied out, and to where.
#[derive(Debug)]
pub struct WriteBack {
    /// Which files, by their path relative to `root`.
    pub globs: GlobSet,
    /// The project's root.
    pub root: PathBuf,
    /// For every overlay the directory of its upper layer, below the scratch, and the host's
    /// directory that it covers.
    pub layers: Vec<(PathBuf, PathBuf)>,
    /// Where scratch on disk lies, a directory of its number for each case.
    pub disk: Option<Directory>,
}

/// How deep a layer is looked into.
const DEPTH: usize = 64;

impl WriteBack {
    /// Copies out what case number `case` wrote; tells what was copied and what could not be.
    /// Scratch on disk is removed.
    pub fn copy(&self, scratch: Option<OwnedFd>, case: u64) -> Vec<Finding> {
        let mut copy = Copy { plan: self, written: Vec::new(), failed: Vec::new() };
        if let Some(scratch) = scratch.filter(|_| !self.globs.is_empty()) {
            for (upper, covered) in &self.layers {
                if let Ok(layer) = open_directory(&scratch, upper.as_os_str()) {
                    copy.directory(&layer, covered, Path::new(""), DEPTH);
                }
            }
        }
        if let Some(disk) = &self.disk {
            // What stays is removed with the directory of the run.
            let _ = disk.remove(OsStr::new(&case.to_string()));
        }
        let Copy { written, failed, .. } = copy;
        let written = (!written.is_empty()).then_some(Finding::WrittenBack(written));
        written.into_iter().chain(failed).collect()
    }
}

struct Copy<'a> {
    plan: &'a WriteBack,
    written: Vec<PathBuf>,
    failed: Vec<Finding>,
}

impl Copy<'_> {
    /// Goes through one directory of a layer; `covered` is the host's directory below which
    /// `relative` lies.
    fn directory(&mut self, layer: &OwnedFd, covered: &Path, relative: &Path, depth: usize) {
        let Ok(entries) = Dir::read_from(layer) else { return };
        for entry in entries.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." || depth == 0 {
                continue;
            }
            let path = relative.join(&name);
            let Ok(stat) = statat(layer, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    if let Ok(inner) = open_directory(layer, &name) {
                        self.directory(&inner, covered, &path, depth - 1);
                    }
                }
                FileType::RegularFile => self.file(layer, &name, covered, &path),
                // Links, devices, sockets, and whiteouts, which are devices.
                _ => {}
            }
        }
    }

    fn file(&mut self, layer: &OwnedFd, name: &OsStr, covered: &Path, relative: &Path) {
        let target = covered.join(relative);
        let Ok(inner) = target.strip_prefix(&self.plan.root) else { return };
        if !self.plan.globs.is_match(inner) {
            return;
        }
        match copy_file(layer, name, covered, relative) {
            Ok(()) => self.written.push(inner.to_owned()),
            Err(error) => {
                self.failed.push(Finding::WriteBackFailed(inner.to_owned(), error.to_string()));
            }
        }
    }
}

/// Opens a directory, not through a symbolic link.
fn open_directory(at: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Copies one file to `covered/relative`, by way of a temporary name beside it.
fn copy_file(layer: &OwnedFd, name: &OsStr, covered: &Path, relative: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut source = File::from(openat(layer, name, flags, Mode::empty())?);
    let metadata = source.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file any more"));
    }
    let directory = make_parents(covered, relative.parent().unwrap_or(Path::new("")))?;
    let temporary = temporary_name(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target = File::from(openat(&directory, &temporary, flags, Mode::from(0o600))?);
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    let copied = io::copy(&mut source, &mut target)
        .and_then(|_| Ok(fchmod(&target, Mode::from(mode))?))
        .and_then(|()| Ok(renameat(&directory, &temporary, &directory, name)?));
    if copied.is_err() {
        // What could not be finished must not stay under the temporary name.
        let _ = unlinkat(&directory, &temporary, AtFlags::empty());
    }
    copied
}

fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".isotest-");
    temporary.push(name);
    temporary
}

/// Opens `base/relative`, making what is missing, without following a symbolic link below
/// `base`.
fn make_parents(base: &Path, relative: &Path) -> io::Result<OwnedFd> {
    let mut directory = open_directory(CWD, base.as_os_str())?;
    for part in relative.components() {
        let name = part.as_os_str();
        match mkdirat(&directory, name, Mode::from(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        directory = openat2(&directory, name, flags, Mode::empty(), beneath)?;
    }
    Ok(directory)
}
