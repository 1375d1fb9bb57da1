//! Builds the library that makes a fork server of a test binary, which travels inside isotest.
//!
//! It is one crate without dependencies and without a standard library, so that rustc alone can
//! build it, wherever cargo builds this one.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCES: &str = "src/sandbox/child";

fn main() {
    println!("cargo::rerun-if-changed={SOURCES}");
    let variable = |name: &str| env::var_os(name).expect("cargo sets it for build scripts");
    let library = PathBuf::from(variable("OUT_DIR")).join("preload.so");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-name", "preload", "--crate-type", "cdylib"]);
    rustc.arg("--target").arg(variable("TARGET")).arg("-o").arg(&library);
    rustc.args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"]);
    // No library, and this one's initialiser before all others.
    rustc.args(["-C", "link-arg=-nostdlib", "-C", "link-arg=-Wl,-z,initfirst,-z,defs"]);
    // On musl targets a cdylib is for a program that is not static, as a fork server must be.
    rustc.args(["-C", "target-feature=-crt-static"]);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    rustc.arg(format!("{SOURCES}/preload.rs"));
    let status = rustc.status().expect("rustc can be started");
    assert!(status.success(), "{rustc:?} failed: {status}");
}
