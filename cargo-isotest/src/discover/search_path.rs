//! Search of `PATH`, as execvp(3) does it.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

/// First file of this name in the directories of `PATH`.
pub(super) fn on_path(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program.as_ref()))
        .find(|file| file.is_file())
}
