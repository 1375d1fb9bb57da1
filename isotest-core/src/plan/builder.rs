//! Builds lists of steps: one short verb for each operation that plans use.

use std::borrow::Cow;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::steps::{Op, Step};

/// A list of steps in the making.
#[derive(Default)]
pub struct Steps(pub Vec<Step>);

/// A path as a C string. Paths come from the kernel or from arguments, which hold no NUL.
pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("paths hold no NUL byte")
}

fn c_text(text: &str) -> CString {
    CString::new(text).expect("mount options hold no NUL byte")
}

impl Steps {
    pub fn add(&mut self, reason: impl Into<Cow<'static, str>>, op: Op) {
        self.0.push(Step { op, reason: reason.into() });
    }

    pub fn directory(&mut self, path: &Path, mode: u32, reason: &'static str) {
        self.add(reason, Op::MakeDirectory { path: c_path(path), mode });
    }

    pub fn file(&mut self, path: &Path, data: &[u8], mode: u32, reason: &'static str) {
        self.add(reason, Op::CreateFile { path: c_path(path), data: data.to_vec(), mode });
    }

    pub fn link(&mut self, target: &Path, path: &Path, reason: &'static str) {
        self.add(reason, Op::MakeSymlink { target: c_path(target), path: c_path(path) });
    }

    pub fn write(&mut self, path: &str, data: &str, reason: &'static str) {
        self.add(reason, Op::Write { path: c_text(path), data: data.as_bytes().to_vec() });
    }

    pub fn mount(
        &mut self,
        fstype: &str,
        target: &Path,
        flags: u64,
        options: &str,
        reason: impl Into<Cow<'static, str>>,
    ) {
        let options = (!options.is_empty()).then(|| c_text(options));
        let (fstype, target) = (c_text(fstype), c_path(target));
        self.add(reason, Op::Mount { fstype, target, flags, options });
    }

    pub fn bind(
        &mut self,
        source: &Path,
        target: &Path,
        recursive: bool,
        reason: impl Into<Cow<'static, str>>,
    ) {
        let (source, target) = (c_path(source), c_path(target));
        self.add(reason, Op::Bind { source, target, recursive });
    }

    /// A bind of what the host's users may move about meanwhile.
    pub fn bind_exact(
        &mut self,
        source: &Path,
        target: &Path,
        recursive: bool,
        reason: impl Into<Cow<'static, str>>,
    ) {
        let (source, target) = (c_path(source), c_path(target));
        self.add(reason, Op::BindExact { source, target, recursive });
    }

    /// Sets attributes on the mount at `path` and all below it, and makes them private.
    pub fn attributes(&mut self, path: &Path, set: u64, reason: impl Into<Cow<'static, str>>) {
        self.propagation(path, set, libc::MS_PRIVATE, reason);
    }

    /// Sets attributes and propagation, MS_*, on the mount at `path` and all below it.
    pub fn propagation(
        &mut self,
        path: &Path,
        set: u64,
        propagation: u64,
        reason: impl Into<Cow<'static, str>>,
    ) {
        let path = c_path(path);
        self.add(reason, Op::Attributes { path, recursive: true, set, propagation });
    }

    /// A bind that tests cannot write to; nor can set-user-ID bits or device nodes below it do
    /// anything.
    pub fn bind_read_only(
        &mut self,
        source: &Path,
        target: &Path,
        reason: impl Into<Cow<'static, str>>,
    ) {
        self.bind(source, target, true, reason);
        let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        self.attributes(target, set, "no case can write to it");
    }
}
