//! Finds the program of a command in a root filesystem.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use isotest_core::plan::SandboxSpec;
use isotest_core::policy::{Policy, Root};

use crate::config::machine::Machine;
use crate::error::Error;
use crate::sandbox::factory::c_string;
use crate::sandbox::root::{Links, resolve};

/// The same sandbox with another program.
pub fn with_program(
    test: &SandboxSpec,
    words: &[OsString],
    policy: &Policy,
    machine: &Machine,
) -> Result<SandboxSpec, Error> {
    let program = find_program(words, policy, machine)?;
    Ok(SandboxSpec {
        program: c_string(program.as_os_str()),
        arguments: words.iter().map(|word| c_string(word)).collect(),
        ..test.clone()
    })
}

/// The program that execvp(3) would find for the first word.
pub fn find_program(
    words: &[OsString],
    policy: &Policy,
    machine: &Machine,
) -> Result<PathBuf, Error> {
    let name = words.first().map_or(OsStr::new(""), OsString::as_os_str);
    if Path::new(name).components().count() > 1 {
        return Ok(machine.directory.join(name));
    }
    let path = machine.variable("PATH").unwrap_or(OsStr::new("/usr/bin:/bin"));
    let mut paths = env::split_paths(path).map(|directory| directory.join(name));
    let found = paths.find(|path| is_program(path, policy, machine));
    found.ok_or_else(|| Error::Command(name.to_owned()))
}

/// True if the path of the root filesystem is a program.
pub fn is_program(path: &Path, policy: &Policy, machine: &Machine) -> bool {
    let executable = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    match &policy.root {
        Root::Host => executable(path),
        Root::Directory(root) => {
            // Cargo's home is shown in every root filesystem, nothing else of the host's is.
            let is_tool = machine.cargo_home().is_some_and(|home| path.starts_with(home));
            let inside = resolve(root, path, Links::Inside).is_ok_and(|path| executable(&path));
            inside || (is_tool && executable(path))
        }
    }
}
