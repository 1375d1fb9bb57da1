//! Coverage profiles: what tests write where `LLVM_PROFILE_FILE` says gets out of their sandboxes.
//!
//! The directory that the variable names may be the project or the target directory, whose overlay
//! is thrown away and which tests must not change. So they write to a directory of their own in it,
//! and what is there at the end is moved to where it belongs.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process;

use isotest_core::untrusted::Dir;

use crate::config::machine::Machine;
use crate::sandbox::environment::{self, PROFILE};

/// Does what starts tests; profiles go where the machine's variable says, in its stead. A machine
/// without the variable is passed on as it is, and one on which the directory cannot be made, where
/// there would be no profiles without a sandbox either.
pub fn collected<T, E: From<ProfilesError>>(
    machine: &Machine,
    act: impl FnOnce(&Machine) -> Result<T, E>,
) -> Result<T, E> {
    let Some(staged) = ProfileDirectory::make(machine) else { return act(machine) };
    let pattern = staged.path.join(&staged.pattern);
    let mut machine = machine.clone();
    machine.profiles = Some(staged.path.clone());
    environment::set(&mut machine.variables, PROFILE.into(), pattern.into_os_string());
    let result = act(&machine);
    let moved = staged.move_profiles();
    // What `act` says is what matters more.
    let result = result?;
    moved.map_err(|cause| ProfilesError { directory: staged.destination.clone(), cause })?;
    Ok(result)
}

/// Coverage profiles could not be moved to where they belong.
#[derive(Debug)]
pub struct ProfilesError {
    directory: PathBuf,
    cause: io::Error,
}

impl fmt::Display for ProfilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProfilesError { directory, cause } = self;
        write!(f, "cannot move coverage profiles to `{}`: {cause}", directory.display())
    }
}

impl std::error::Error for ProfilesError {}

/// The directory that tests write profiles to. They may put anything there.
struct ProfileDirectory {
    /// The directory that profiles belong to.
    destination: PathBuf,
    parent: Dir,
    /// In that.
    name: OsString,
    directory: Dir,
    path: PathBuf,
    /// Pattern of the profiles' names, with `%`.
    pattern: OsString,
}

impl ProfileDirectory {
    fn make(machine: &Machine) -> Option<ProfileDirectory> {
        let pattern = machine.directory.join(machine.variable(PROFILE)?);
        let destination = pattern.parent()?.to_owned();
        fs::create_dir_all(&destination).ok()?;
        // The variable may name it by a link.
        let destination = destination.canonicalize().ok()?;
        let parent = Dir::open(&destination).ok()?;
        let own = process::id();
        let names = (0_u32..).map(|free| format!(".isotest-profiles-{own}.{free}").into());
        let (name, directory) = parent.make_new(names).ok()?;
        let path = destination.join(&name);
        let pattern = pattern.file_name()?.to_owned();
        Some(ProfileDirectory { destination, parent, name, directory, path, pattern })
    }

    /// Moves what is named as a profile to where it belongs; the first error, where there is any.
    fn move_profiles(&self) -> io::Result<()> {
        /// More than one for each test of any run.
        const MAX_ENTRIES: usize = 1 << 20;
        let mut moved = Ok(());
        for (name, _) in self.directory.entries(MAX_ENTRIES)? {
            if is_named_by(&self.pattern, &name) {
                moved = moved.and(self.directory.move_file(&name, &self.parent, is_profile));
            }
        }
        moved
    }
}

impl Drop for ProfileDirectory {
    fn drop(&mut self) {
        // What stays is hidden, and in nobody's way.
        let _ = self.parent.remove(&self.name);
    }
}

/// True if a pattern, in which `%` and the character after it match anything, matches a name.
fn is_named_by(pattern: &OsStr, name: &OsStr) -> bool {
    let mut pieces: Vec<&[u8]> = pattern.as_bytes().split(|byte| *byte == b'%').collect();
    // `%p`, `%4m`: digits, and a letter.
    for piece in pieces.iter_mut().skip(1) {
        let digits = piece.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *piece = piece.get(digits + 1..).unwrap_or_default();
    }
    let [first, middle @ .., last] = pieces.as_slice() else { return pattern == name };
    let inner = name.as_bytes().strip_prefix(*first).and_then(|rest| rest.strip_suffix(*last));
    let Some(mut rest) = inner else { return false };
    middle.iter().all(|piece| {
        let at = (0..=rest.len()).find(|at| rest[*at..].starts_with(piece));
        at.is_some_and(|at| {
            rest = &rest[at + piece.len()..];
            true
        })
    })
}

/// True if a file is a raw profile of LLVM, or empty.
fn is_profile(file: &File) -> bool {
    // A number that has `lprof` in the middle, in the order of bytes of the machine.
    let mut start = Vec::new();
    let read = file.take(8).read_to_end(&mut start);
    let has = |name: &[u8]| start.windows(name.len()).any(|part| part == name);
    read.is_ok() && (start.is_empty() || has(b"lprof") || has(b"forpl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_named_by_its_pattern() {
        let rows = [
            ("%p.profraw", "7-1.profraw", true),
            ("x-%p-%4m.profraw", "x-7-1-123_0.profraw", true),
            ("x-%p-%m.profraw", "x-7.profraw", false),
            ("x-%p.profraw", "x-7.profraw.sh", false),
            ("x-%p", "x-7", true),
            ("%p.raw", "a.raw.raw", true),
            ("x.profraw", "x.profraw", true),
            ("x.profraw", "x.profraw.sh", false),
            ("%p.profraw", "Cargo.toml", false),
        ];
        for (pattern, name, expected) in rows {
            let is_named = is_named_by(OsStr::new(pattern), OsStr::new(name));
            assert_eq!(is_named, expected, "{pattern} {name}");
        }
    }
}
