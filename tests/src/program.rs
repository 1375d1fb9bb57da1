//! The program under test, and where tests may write.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// The cargo that runs the tests.
pub fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The `cargo-isotest` of this workspace. A test of another package is not told where it is
/// (`CARGO_BIN_EXE_*`) and cargo does not build it for one, so it is built when first asked for.
pub fn isotest() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build)
}

/// A directory below the target directory, where copies of fixtures and temporary projects lie.
/// Not the system's: it is empty in a sandbox, which tests rely on.
pub fn staging_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        // TARGET_DIRECTORY/PROFILE/cargo-isotest
        let target = isotest().ancestors().nth(2).expect("cargo builds into its target directory");
        let directory = target.join("tmp/isotest-tests");
        fs::create_dir_all(&directory).expect("the target directory is writable");
        directory
    })
}

fn build() -> PathBuf {
    let mut command = Command::new(cargo());
    // With the tests, since a build of one package alone has other features in its dependencies:
    // cargo would compile them twice.
    command.args(["build", "--workspace", "--bin=cargo-isotest", "--test=main"]);
    command.arg("--message-format=json");
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.current_dir(workspace()).output().expect("cargo can be run");
    let messages = String::from_utf8(output.stdout).expect("cargo's messages are text");
    let executable = messages.lines().find_map(executable);
    executable.unwrap_or_else(|| {
        panic!("`{command:?}` built nothing:\n{}", String::from_utf8_lossy(&output.stderr))
    })
}

/// The path of `cargo-isotest`, if one of cargo's messages is about it.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    if message["target"]["name"] != "cargo-isotest" {
        return None;
    }
    message["executable"].as_str().map(PathBuf::from)
}
