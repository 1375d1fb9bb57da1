//! Builds the libraries that are loaded before test binaries, and travel inside isotest: the one that
//! makes a fork server, and the one that shows a case other clocks and the like.
//!
//! Each is one crate without dependencies and without a standard library, so that rustc alone can
//! build it, wherever cargo builds this one.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// No library, and its initialiser before all others.
const FORK_SERVER: [&str; 4] =
    ["-C", "link-arg=-nostdlib", "-C", "link-arg=-Wl,-z,initfirst,-z,defs"];
/// What it does not define is the C library's of each program, of whatever version.
const INTERPOSED: [&str; 2] = ["-C", "link-arg=-nostdlib"];

fn main() {
    build("preload", "src/sandbox/child/preload.rs", &FORK_SERVER);
    build("interpose", "src/sandbox/interpose/library/library.rs", &INTERPOSED);
    println!("cargo::rerun-if-changed=src/sandbox/child");
    println!("cargo::rerun-if-changed=src/sandbox/interpose");
}

/// Builds `NAME.so` in the output directory of this script.
fn build(name: &str, source: &str, linking: &[&str]) {
    let variable = |name: &str| env::var_os(name).expect("cargo sets it for build scripts");
    let library = PathBuf::from(variable("OUT_DIR")).join(name).with_extension("so");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-name", name, "--crate-type", "cdylib"]);
    rustc.arg("--target").arg(variable("TARGET")).arg("-o").arg(&library);
    rustc.args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"]).args(linking);
    // On musl targets a cdylib is for a program that is not static, as a fork server must be.
    rustc.args(["-C", "target-feature=-crt-static"]);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    rustc.arg(source);
    let status = rustc.status().expect("rustc can be started");
    assert!(status.success(), "{rustc:?} failed: {status}");
}
