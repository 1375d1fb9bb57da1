//! The `[env]` table of cargo's configuration files.
//!
//! Cargo looks for `.cargo/config.toml` (or `.cargo/config`) in the current directory and all
//! above it, then in `CARGO_HOME`; the nearest wins, and `--config` wins over all. Only `[env]` is
//! read: `cargo config get` is unstable, and no other table matters to a running test.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Variables of `[env]` by name.
pub(super) type EnvTable = BTreeMap<String, EnvValue>;

/// One variable of `[env]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnvValue {
    /// Its value, a relative path made absolute.
    pub value: OsString,
    /// Whether it is set also where the caller's environment has the variable.
    pub force: bool,
}

/// A configuration file that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    /// The file, or the text after `--config`.
    pub path: PathBuf,
    /// Why.
    pub cause: ConfigCause,
}

/// Why a configuration file cannot be used.
#[derive(Debug)]
pub enum ConfigCause {
    /// It cannot be read.
    Read(io::Error),
    /// It is not what cargo expects.
    Parse(toml::de::Error),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read cargo's configuration `{}`: ", self.path.display())?;
        match &self.cause {
            ConfigCause::Read(cause) => write!(f, "{cause}"),
            ConfigCause::Parse(cause) => write!(f, "{cause}"),
        }
    }
}

impl std::error::Error for ConfigError {}

#[derive(Default, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    env: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Value(String),
    Table {
        value: String,
        #[serde(default)]
        force: bool,
        #[serde(default)]
        relative: bool,
    },
}

/// Reads `[env]` as cargo sees it from `directory`, with the values of its `--config` options.
pub(super) fn env_table(
    directory: &Path,
    cargo_home: Option<&Path>,
    options: &[OsString],
) -> Result<EnvTable, ConfigError> {
    let mut table = EnvTable::new();
    for option in options.iter().rev() {
        merge(&mut table, option_env(directory, option)?);
    }
    for file in files(directory, cargo_home) {
        merge(&mut table, file_env(&file)?);
    }
    Ok(table)
}

/// Adds what `table` lacks: the sources are read from the strongest to the weakest.
fn merge(table: &mut EnvTable, weaker: EnvTable) {
    for (name, value) in weaker {
        table.entry(name).or_insert(value);
    }
}

fn files(directory: &Path, cargo_home: Option<&Path>) -> Vec<PathBuf> {
    let project = directory.ancestors().map(|ancestor| ancestor.join(".cargo"));
    let mut files: Vec<PathBuf> =
        project.chain(cargo_home.map(Path::to_path_buf)).filter_map(|d| config_in(&d)).collect();
    let mut seen = Vec::new();
    files.retain(|file| {
        let new = !seen.contains(file);
        seen.push(file.clone());
        new
    });
    files
}

/// Where both names exist cargo takes the one without extension.
fn config_in(directory: &Path) -> Option<PathBuf> {
    ["config", "config.toml"].iter().map(|name| directory.join(name)).find(|path| path.is_file())
}

fn option_env(directory: &Path, option: &OsStr) -> Result<EnvTable, ConfigError> {
    let path = directory.join(option);
    if path.is_file() {
        return file_env(&path);
    }
    parse(&option.to_string_lossy(), directory)
        .map_err(|cause| ConfigError { path: option.into(), cause: ConfigCause::Parse(cause) })
}

fn file_env(path: &Path) -> Result<EnvTable, ConfigError> {
    let failed = |cause| ConfigError { path: path.to_path_buf(), cause };
    let text = std::fs::read_to_string(path).map_err(|cause| failed(ConfigCause::Read(cause)))?;
    // Relative paths start at the parent of the directory that holds the file.
    let base = path.parent().and_then(Path::parent).unwrap_or(path);
    parse(&text, base).map_err(|cause| failed(ConfigCause::Parse(cause)))
}

fn parse(text: &str, base: &Path) -> Result<EnvTable, toml::de::Error> {
    let file: ConfigFile = toml::from_str(text)?;
    Ok(file.env.into_iter().map(|(name, entry)| (name, entry.resolve(base))).collect())
}

impl Entry {
    fn resolve(self, base: &Path) -> EnvValue {
        match self {
            Entry::Value(value) => EnvValue { value: value.into(), force: false },
            Entry::Table { value, force, relative: true } => {
                EnvValue { value: base.join(value).into_os_string(), force }
            }
            Entry::Table { value, force, relative: false } => {
                EnvValue { value: value.into(), force }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_plain_relative_or_forced() {
        let text = "[env]\nA = 'a'\nB = { value = 'd/e', relative = true }\n\
                    C = { value = 'c', force = true }\n[build]\njobs = 1\n";
        let table = parse(text, Path::new("/base")).expect("a configuration");
        let value = |value: &str, force| EnvValue { value: value.into(), force };
        assert_eq!(table["A"], value("a", false));
        assert_eq!(table["B"], value("/base/d/e", false));
        assert_eq!(table["C"], value("c", true));
    }

    #[test]
    fn a_command_line_value_is_toml() {
        let table = option_env(Path::new("/"), OsStr::new("env.A='x'")).expect("a value");
        assert_eq!(table["A"].value, "x");
        assert!(option_env(Path::new("/"), OsStr::new("env.A=")).is_err());
    }

    #[test]
    fn stronger_sources_are_kept() {
        let mut table = parse("env.A='near'", Path::new("/")).expect("toml");
        merge(&mut table, parse("env.A='far'\nenv.B='far'", Path::new("/")).expect("toml"));
        assert_eq!(table["A"].value, "near");
        assert_eq!(table["B"].value, "far");
    }
}
