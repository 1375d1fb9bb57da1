//! The tables `[env]` and `[target]` of cargo's configuration files.
//!
//! Cargo looks for `.cargo/config.toml` (or `.cargo/config`) in the current directory and all
//! above it, then in `CARGO_HOME`; the nearest wins, and `--config` wins over all. What a file
//! includes is read with it: its own values win, then those of the last file that it includes. Only
//! `[env]` and runners are read: `cargo config get` is unstable, and no other table matters to a
//! running test.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::runners::{self, Runner};

/// Variables of `[env]` by name.
pub(super) type EnvTable = BTreeMap<String, EnvValue>;

/// One variable of `[env]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnvValue {
    /// Its value, a relative path made absolute.
    pub value: OsString,
    /// True if it replaces a variable of the caller.
    pub force: bool,
}

/// Settings of cargo's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CargoConfig {
    /// `[env]`.
    pub env: EnvTable,
    /// The runners of targets by triple, by `cfg(…)`, or by the variable that names one. Of two for
    /// the same target the first counts.
    pub runners: Vec<(String, Runner)>,
}

/// A configuration file that cannot be used.
#[derive(Debug)]
pub struct CargoConfigError {
    /// The file, or the text after `--config`.
    pub path: PathBuf,
    /// The cause.
    pub cause: CargoConfigCause,
}

/// Causes.
#[derive(Debug)]
pub enum CargoConfigCause {
    /// It cannot be read.
    Read(io::Error),
    /// It is not what cargo expects.
    Parse(toml::de::Error),
    /// It includes itself, by way of others perhaps.
    Circle,
}

impl fmt::Display for CargoConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read cargo's configuration `{}`: ", self.path.display())?;
        match &self.cause {
            CargoConfigCause::Read(cause) => write!(f, "{cause}"),
            CargoConfigCause::Parse(cause) => write!(f, "{cause}"),
            CargoConfigCause::Circle => write!(f, "it includes itself"),
        }
    }
}

impl std::error::Error for CargoConfigError {}

#[derive(Default, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    env: BTreeMap<String, Entry>,
    #[serde(default)]
    target: BTreeMap<String, TargetTable>,
    include: Option<toml::Value>,
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

/// A table of `[target]`, of which only its runner is of interest.
#[derive(Default, Deserialize)]
struct TargetTable {
    runner: Option<StringOrList>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StringOrList {
    Line(String),
    List(Vec<String>),
}

/// An entry of `include`.
#[derive(Deserialize)]
#[serde(untagged)]
enum IncludeEntry {
    Path(PathBuf),
    Table {
        path: PathBuf,
        #[serde(default)]
        optional: bool,
    },
}

/// Reader of cargo's configuration.
pub(super) struct ConfigReader<'a> {
    /// The current directory.
    pub directory: &'a Path,
    /// `CARGO_HOME`.
    pub cargo_home: Option<&'a Path>,
    /// Tests whether cargo knows `include`; called if a file has it.
    pub includes: &'a dyn Fn() -> bool,
}

impl ConfigReader<'_> {
    /// Reads what cargo sees: the values of its `--config` options, runners that variables name, and
    /// the files.
    pub fn read(
        &self,
        options: &[OsString],
        variables: &[(OsString, OsString)],
    ) -> Result<CargoConfig, CargoConfigError> {
        let mut config = CargoConfig::default();
        for option in options.iter().rev() {
            config.add(self.option(option)?);
        }
        config.runners.extend(runners::of_environment(variables, self.directory));
        for file in files(self.directory, self.cargo_home) {
            config.add(self.file(&file, &[])?);
        }
        Ok(config)
    }

    fn option(&self, option: &OsStr) -> Result<CargoConfig, CargoConfigError> {
        let path = self.directory.join(option);
        if path.is_file() {
            return self.file(&path, &[]);
        }
        let text = option.to_string_lossy();
        self.parse(&text, Path::new(option), Bases::both(self.directory), &[])
    }

    /// Reads a file that `above` include one another up to.
    fn file(&self, path: &Path, above: &[&Path]) -> Result<CargoConfig, CargoConfigError> {
        let failed = |cause| CargoConfigError { path: path.to_path_buf(), cause };
        if above.contains(&path) {
            return Err(failed(CargoConfigCause::Circle));
        }
        let text =
            std::fs::read_to_string(path).map_err(|cause| failed(CargoConfigCause::Read(cause)))?;
        let directory = path.parent().unwrap_or(path);
        // Relative paths start at the parent of the directory that holds the file.
        let base = directory.parent().unwrap_or(path);
        self.parse(&text, path, Bases { includes: directory, paths: base }, above)
    }

    /// Reads a text that goes by `name`, with what it includes.
    fn parse(
        &self,
        text: &str,
        name: &Path,
        bases: Bases<'_>,
        above: &[&Path],
    ) -> Result<CargoConfig, CargoConfigError> {
        let failed = |cause| CargoConfigError {
            path: name.to_path_buf(),
            cause: CargoConfigCause::Parse(cause),
        };
        let ConfigFile { env, target, include } = toml::from_str(text).map_err(failed)?;
        let runner = |(key, target): (String, TargetTable)| {
            Some((key, Runner::new(target.runner?.words(), bases.paths)?))
        };
        let mut config = CargoConfig {
            env: env.into_iter().map(|(name, entry)| (name, entry.resolve(bases.paths))).collect(),
            runners: target.into_iter().filter_map(runner).collect(),
        };
        let Some(include) = include.filter(|_| (self.includes)()) else { return Ok(config) };
        let include: Vec<IncludeEntry> = include.try_into().map_err(failed)?;
        let above = [above, &[name]].concat();
        for IncludedFile { path, optional } in include.into_iter().rev().map(IncludeEntry::found) {
            let path = bases.includes.join(path);
            if !optional || path.exists() {
                config.add(self.file(&path, &above)?);
            }
        }
        Ok(config)
    }
}

/// The directories at which relative paths of a text start.
#[derive(Clone, Copy)]
struct Bases<'a> {
    /// Fails for the files that it includes.
    includes: &'a Path,
    /// All others.
    paths: &'a Path,
}

impl<'a> Bases<'a> {
    /// The same directory for all.
    fn both(directory: &'a Path) -> Bases<'a> {
        Bases { includes: directory, paths: directory }
    }
}

impl CargoConfig {
    /// Adds what this lacks: sources are read from the strongest to the weakest.
    fn add(&mut self, weaker: CargoConfig) {
        for (name, value) in weaker.env {
            self.env.entry(name).or_insert(value);
        }
        self.runners.extend(weaker.runners);
    }
}

/// A file that is included.
struct IncludedFile {
    path: PathBuf,
    optional: bool,
}

impl IncludeEntry {
    fn found(self) -> IncludedFile {
        match self {
            IncludeEntry::Path(path) => IncludedFile { path, optional: false },
            IncludeEntry::Table { path, optional } => IncludedFile { path, optional },
        }
    }
}

impl StringOrList {
    /// A text is parted by white space, as cargo does.
    fn words(self) -> Vec<OsString> {
        match self {
            StringOrList::Line(line) => line.split_whitespace().map(Into::into).collect(),
            StringOrList::List(words) => words.into_iter().map(Into::into).collect(),
        }
    }
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

/// Path of the configuration in a directory. If both names exist, cargo takes the one without
/// extension.
fn config_in(directory: &Path) -> Option<PathBuf> {
    ["config", "config.toml"].iter().map(|name| directory.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader<'a>(directory: &'a Path, includes: &'a dyn Fn() -> bool) -> ConfigReader<'a> {
        ConfigReader { directory, cargo_home: None, includes }
    }

    fn read(options: &[&str]) -> Result<CargoConfig, CargoConfigError> {
        let options: Vec<OsString> = options.iter().map(OsString::from).collect();
        reader(Path::new("/none/such"), &|| true).read(&options, &[])
    }

    #[test]
    fn values_are_plain_relative_or_forced() {
        let text = "[env]\nA = 'a'\nB = { value = 'd/e', relative = true }\n\
                    C = { value = 'c', force = true }\n[build]\njobs = 1\n";
        let table = read(&[text]).expect("a configuration").env;
        let value = |value: &str, force| EnvValue { value: value.into(), force };
        assert_eq!(table["A"], value("a", false));
        assert_eq!(table["B"], value("/none/such/d/e", false));
        assert_eq!(table["C"], value("c", true));
        assert!(read(&["env.A="]).is_err());
    }

    #[test]
    fn stronger_sources_are_kept() {
        let table = read(&["env.A='far'\nenv.B='far'", "env.A='near'"]).expect("toml").env;
        assert_eq!(table["A"].value, "near");
        assert_eq!(table["B"].value, "far");
    }

    #[test]
    fn own_values_win_over_what_is_included_and_later_files_over_earlier_ones() {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
            std::fs::write(path, text).expect("writable");
        };
        write(
            ".cargo/config.toml",
            "include = ['sub/a.toml', { path = '../b.toml' }, { path = 'c.toml', optional = true }]\n\
             [env]\nOWN = 'own'\n",
        );
        let path = "P = { value = 'p', relative = true }\n";
        write(".cargo/sub/a.toml", &format!("[env]\nOWN = 'a'\nBOTH = 'a'\nA = 'a'\n{path}"));
        write("b.toml", "include = ['.cargo/sub/a.toml', 'd.toml']\n[env]\nBOTH = 'b'\n");
        write("d.toml", "[env]\nA = 'd'\n[target.'cfg(unix)']\nrunner = ['./r', 'w x']\n");
        let read = |includes: &dyn Fn() -> bool| {
            reader(root, includes).read(&[], &[]).expect("a configuration")
        };
        let config = read(&|| true);
        let value = |name: &str| config.env[name].value.to_str().expect("text");
        assert_eq!([value("OWN"), value("BOTH"), value("A")], ["own", "b", "d"]);
        assert_eq!(config.env["P"].value, root.join(".cargo/../.cargo/p"));
        let [(target, runner)] = config.runners.as_slice() else { panic!("{config:?}") };
        assert_eq!(target, "cfg(unix)");
        assert_eq!(runner.words, [root.join(".cargo/./r").into_os_string(), "w x".into()]);
        // A cargo that does not know the key.
        assert_eq!(read(&|| false).env.len(), 1);
        write("d.toml", "include = ['b.toml']\n");
        let error = reader(root, &|| true).read(&[], &[]);
        let error = error.expect_err("a circle").to_string();
        assert!(error.ends_with("b.toml`: it includes itself"), "{error}");
    }
}
