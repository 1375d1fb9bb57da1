//! Files of a workspace's configuration, written whole or not at all.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use isotest_core::untrusted::Dir;

use crate::config::machine::Machine;
use crate::config::{self, Config, ConfigError, Contents};

/// Writes a file of the workspace at `root`, through no link of it.
pub fn write(root: &Path, path: &str, text: &[u8]) -> io::Result<()> {
    let path = Path::new(path);
    let parent = path.parent().unwrap_or(Path::new(""));
    let directory = Dir::open(&root.canonicalize()?)?.make_across(parent, 0o777)?;
    directory.replace(path.file_name().unwrap_or(OsStr::new("")), text)
}

/// The file of the configuration, as it was before tests ran.
pub struct ConfigFile<'a> {
    root: &'a Path,
    /// Its path as it is printed.
    pub shown: String,
    /// Its text; empty where there is none.
    pub text: String,
}

impl ConfigFile<'_> {
    /// Reads the file of the workspace at `root`.
    pub fn read<'a>(
        config: &Config,
        root: &'a Path,
        machine: &Machine,
    ) -> Result<ConfigFile<'a>, ConfigError> {
        let path = root.join(config::PATH);
        let shown = machine.shown(&path).to_string_lossy().into_owned();
        let text = match config.path {
            Some(_) => Contents::read(&path, &shown, root)?.text,
            None => String::new(),
        };
        Ok(ConfigFile { root, shown, text })
    }

    /// Fails if the file cannot be replaced, as a link cannot: it would no longer be one.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.root.join(config::PATH).is_symlink() {
            return Ok(());
        }
        let what = format!("cannot write `{}`: it is a symbolic link", self.shown);
        Err(ConfigError::new(what).hint(Some("replace the link by the file itself")))
    }

    /// Writes another text, unless somebody else has changed the file meanwhile. `added` is new in it.
    pub fn replace(&self, text: &str, added: &[String]) -> Result<(), ConfigError> {
        self.check()?;
        let path = self.root.join(config::PATH);
        let now = match path.symlink_metadata() {
            Ok(_) => Contents::read(&path, &self.shown, self.root)?.text,
            Err(_) => String::new(),
        };
        if now != self.text {
            let what = format!("cannot write `{}`: it was changed while tests ran", self.shown);
            return Err(ConfigError::new(what).hint(Some("run `cargo isotest adopt` again")));
        }
        write(self.root, config::PATH, text.as_bytes()).map_err(|cause| {
            let lines: String = added.iter().map(|one| format!("\n{one}")).collect();
            let hint = format!("change the file by hand; these lines are new:\n{lines}");
            let error = ConfigError::new(format!("cannot write `{}`: {cause}", self.shown));
            error.hint(Some(hint.trim_end()))
        })
    }
}
