//! Place of the toolchain, and the variables that rustup's proxies would have set.
//!
//! No message of a build names the sysroot or cargo's own path.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use super::error::DiscoverError;
use super::process::{message, output};
use super::search_path::on_path;

/// Place of the compiler that cargo calls.
pub(super) struct Compiler {
    pub sysroot: Utf8PathBuf,
    /// The host's triple.
    pub host: String,
}

impl Compiler {
    /// Beside `$CARGO` where cargo started us: rustup's proxy would cost more than the compiler, and
    /// the compiler more than a look at what stands around it.
    pub(super) fn find() -> Result<Self, DiscoverError> {
        let beside = env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
        let beside = beside.filter(|path| path.is_file());
        let named = env::var_os("RUSTC");
        if let (None, Some(found)) = (&named, beside.as_deref().and_then(Compiler::cargo_env)) {
            return Ok(found);
        }
        let program =
            named.or_else(|| beside.map(PathBuf::into_os_string)).unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(program);
        let output = output(command.args(["--print", "sysroot", "--print", "target-libdir"]))?;
        Compiler::read(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
            let message = message(&output);
            DiscoverError::Compiler { status: output.status, message }
        })
    }

    /// The sysroot around a compiler: it holds libraries for its host, and for nobody else. `None`
    /// where that is not so, and where the compiler is a link to another place.
    fn cargo_env(rustc: &Path) -> Option<Self> {
        let rustc = Utf8Path::from_path(rustc)
            .filter(|path| path.symlink_metadata().is_ok_and(|file| file.is_file()))?;
        let sysroot = rustc.parent()?.parent()?;
        let mut hosts = sysroot.join("lib/rustlib").read_dir_utf8().ok()?.flatten();
        let is_host = |entry: &camino::Utf8DirEntry| entry.path().join("lib").is_dir();
        let mut hosts = hosts.by_ref().filter(is_host);
        let host = hosts.next()?.file_name().to_owned();
        hosts.next().is_none().then(|| Compiler { sysroot: sysroot.to_owned(), host })
    }

    /// Two lines: `SYSROOT` and `SYSROOT/lib/rustlib/HOST/lib`. `--print host-tuple` is too young.
    fn read(printed: &str) -> Option<Self> {
        let mut lines = printed.lines();
        let sysroot = Utf8PathBuf::from(lines.next()?);
        let host = Utf8Path::new(lines.next()?).parent()?.file_name()?.to_owned();
        Some(Compiler { sysroot, host })
    }

    /// Value of `CARGO` under cargo: the cargo that started isotest, or the one behind rustup's
    /// proxy.
    pub(super) fn cargo(&self) -> OsString {
        let own = self.sysroot.join("bin/cargo");
        env::var_os("CARGO")
            .or_else(|| own.is_file().then(|| own.into()))
            .or_else(|| on_path("cargo").map(PathBuf::into_os_string))
            .unwrap_or_default()
    }

    /// `LD_LIBRARY_PATH` as cargo has it. Rustup's proxy puts the toolchain's `lib` in front of it;
    /// where cargo started us that has happened already.
    pub(super) fn library_path(&self) -> OsString {
        let inherited = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let by_rustup = self.sysroot.parent().is_some_and(|dir| dir.ends_with("toolchains"));
        if env::var_os("CARGO").is_some() || !by_rustup {
            return inherited;
        }
        let mut path = OsString::from(self.sysroot.join("lib"));
        if !inherited.is_empty() {
            path.push(":");
            path.push(inherited);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysroot_for_one_host_is_seen_from_its_compiler() {
        let sysroot = tempfile::tempdir().expect("a directory");
        let make = |path: &str| std::fs::create_dir_all(sysroot.path().join(path));
        make("bin").expect("it is writable");
        make("lib/rustlib/etc").expect("it is writable");
        make("lib/rustlib/a-b-c/lib").expect("it is writable");
        let rustc = sysroot.path().join("bin/rustc");
        std::fs::write(&rustc, "").expect("it is writable");
        let found = Compiler::cargo_env(&rustc).expect("one host");
        assert_eq!((found.host.as_str(), found.sysroot.as_std_path()), ("a-b-c", sysroot.path()));
        make("lib/rustlib/wasm/lib").expect("it is writable");
        assert!(Compiler::cargo_env(&rustc).is_none(), "two hosts");
    }

    #[test]
    fn the_host_is_read_off_the_library_directory() {
        let compiler = Compiler::read("/s\n/s/lib/rustlib/x86_64-unknown-linux-gnu/lib\n");
        let compiler = compiler.expect("two lines");
        assert_eq!(compiler.sysroot, "/s");
        assert_eq!(compiler.host, "x86_64-unknown-linux-gnu");
        assert!(Compiler::read("error").is_none());
    }
}
