//! The text of a configuration. The project, or an archive, may have put anything in its place.

use std::io;
use std::path::Path;

use isotest_core::untrusted;

use super::error::{ConfigError, LoadError};

/// Path of the configuration below the workspace root.
pub const PATH: &str = ".config/isotest.toml";

/// More than any configuration has.
const MAX_BYTES: u64 = 1 << 20;

/// Contents of a file.
pub struct Contents {
    /// Its text.
    pub text: String,
    /// Its name in messages.
    name: String,
    /// True if it is in the workspace; a link may lead to another file of the user's.
    is_inside: bool,
}

impl Contents {
    /// Reads a file of the workspace at `root` that goes by `name`.
    pub fn read(path: &Path, name: &str, root: &Path) -> Result<Contents, ConfigError> {
        let read = || -> io::Result<Contents> {
            let (file, real) = untrusted::followed(path)?;
            let bytes =
                untrusted::bounded(file, MAX_BYTES).map_err(|cause| match cause.kind() {
                    io::ErrorKind::FileTooLarge => io::Error::other("it is larger than 1 MiB"),
                    _ => cause,
                })?;
            let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
            let is_inside = real.starts_with(root.canonicalize()?);
            Ok(Contents { text, name: name.to_owned(), is_inside })
        };
        read().map_err(|cause| ConfigError::new(format!("cannot read `{name}`: {cause}")))
    }

    /// The same error, which quotes no file outside the workspace.
    pub fn fault(&self, error: LoadError) -> LoadError {
        match error {
            LoadError::Config(error) if !self.is_inside => error.withheld(&self.name).into(),
            error => error,
        }
    }
}
