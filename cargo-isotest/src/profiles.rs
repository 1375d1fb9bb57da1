//! Coverage profiles: what tests write where `LLVM_PROFILE_FILE` says gets out of their sandboxes.
//!
//! The directory that the variable names may be the project or the target directory, whose overlay
//! is thrown away and which tests must not change. So they write to a directory of their own in it,
//! and what is there at the end is moved to where it belongs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::environment::{self, PROFILE};
use crate::error::Error;
use crate::settings::Machine;

/// Does what starts tests; profiles go where the machine's variable says, in its stead. A machine
/// without the variable is passed on as it is, and one on which the directory cannot be made, where
/// there would be no profiles without a sandbox either.
pub fn collected<T>(
    machine: &Machine,
    act: impl FnOnce(&Machine) -> Result<T, Error>,
) -> Result<T, Error> {
    let Some((directory, staged)) = stage(machine) else { return act(machine) };
    let file = machine.variable(PROFILE).map(Path::new).and_then(Path::file_name);
    let pattern = staged.path().join(file.unwrap_or_default());
    let mut machine = machine.clone();
    machine.profiles = Some(staged.path().to_owned());
    environment::set(&mut machine.variables, PROFILE.into(), pattern.into_os_string());
    let result = act(&machine);
    let moved = move_files(staged.path(), &directory);
    // What `act` says is what matters more.
    let result = result?;
    moved.map_err(|cause| Error::Profiles(directory, cause))?;
    Ok(result)
}

/// The directory that profiles belong to, and the one in it that tests write to.
fn stage(machine: &Machine) -> Option<(PathBuf, TempDir)> {
    let pattern = machine.directory.join(machine.variable(PROFILE)?);
    let directory = pattern.parent()?.to_owned();
    fs::create_dir_all(&directory).ok()?;
    let staged = tempfile::Builder::new().prefix(".isotest-profiles-").tempdir_in(&directory);
    Some((directory, staged.ok()?))
}

fn move_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let name: OsString = entry?.file_name();
        fs::rename(from.join(&name), to.join(&name))?;
    }
    Ok(())
}
