//! `cargo isotest show-config` and `import-nextest`.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use isotest_core::untrusted::{Directory, Link};

use crate::cli::{ImportNextestCommand, ShowConfigCommand};
use crate::config::settings::{self, Machine};
use crate::config::{self, Config, ConfigError, Contents, Given, Imported, Include, TestGroup};
use crate::discover::filterset::Workspace;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;

/// Where nextest's configuration is, below the root of the workspace.
const NEXTEST: &str = ".config/nextest.toml";

/// Prints the effective configuration, or the schema of the file.
pub fn show(command: &ShowConfigCommand, machine: &Machine) -> Result<ExitCode, Error> {
    if command.schema {
        report::schema(&config::schema()).map_err(Error::Report)?;
        return Ok(ExitCode::Passed);
    }
    let profile = command.config.profile.as_deref();
    let given =
        Given { layers: &command.layers, course: None, profile, filterset: None, reused: None };
    let config = Config::load(given, &command.cargo, machine)?;
    let layers = config.layers();
    let mut rows = config::rows(&settings::policy(&layers), &config.sources());
    // It is not looked for, nor unpacked, to be shown.
    for row in rows.iter_mut().filter(|row| row.name == "root" && !layers.root.is_empty()) {
        let names = layers.root.iter().map(|root| root.to_string_lossy());
        row.value = names.collect::<Vec<_>>().join(" ");
    }
    let sources = config.sources();
    let file = config.path.as_deref().map(|path| settings::shown(path, machine));
    let shown = report::Configuration {
        file: file.map(|path| path.to_string_lossy().into_owned()),
        profile: &config.profile,
        default_filter: config.default_filter.as_ref(),
        layers: &rows,
        course: &[config::case_rows(&sources), config::run_rows(&sources)].concat(),
        archived: config.archived.as_ref().map(archived),
        test_groups: &config.test_groups.iter().map(test_group).collect::<Vec<_>>(),
        overrides: &config.overrides().map(config::given).collect::<Vec<_>>(),
    };
    report::configuration(&shown).map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}

/// What archives have, in a line, and where that stands.
fn archived((included, place): &(Vec<Include>, String)) -> (String, &str) {
    let paths: Vec<&str> = included.iter().map(|include| include.path.as_str()).collect();
    (if paths.is_empty() { "none".to_owned() } else { paths.join(" ") }, place)
}

/// A group's name and size, and where it stands.
fn test_group((name, group, place): &(String, TestGroup, String)) -> [String; 3] {
    [name.clone(), format!("max-threads {}", group.max_threads), place.clone()]
}

/// Writes what nextest's configuration means to isotest.
pub fn import(command: &ImportNextestCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let workspace = Workspace::find(&settings::request(&command.cargo))?;
    let root = workspace.root().as_std_path();
    let (from, to) = (root.join(NEXTEST), root.join(config::PATH));
    let shown = |path: &Path| settings::shown(path, machine).to_string_lossy().into_owned();
    let contents = Contents::read(&from, &shown(&from), root)?;
    let Imported { text, notes } = config::import(&shown(&from), &contents.text)
        .map_err(|error| contents.fault(error.into()))?;
    if command.dry_run {
        report::text(&text).map_err(Error::Report)?;
        return Ok(ExitCode::Passed);
    }
    if to.symlink_metadata().is_ok() && !command.force {
        let message = format!("cannot write `{}`: it is there already", shown(&to));
        let hint = "`--force` replaces it, `--dry-run` prints what would be written";
        return Err(ConfigError::new(message).hint(Some(hint)).into());
    }
    write(root, text.as_bytes()).map_err(|cause| {
        let hint = "remove the link, or take what `--dry-run` prints";
        let hint = Link::is_cause(&cause).then_some(hint);
        ConfigError::new(format!("cannot write `{}`: {cause}", shown(&to))).hint(hint)
    })?;
    report::imported(&shown(&to), &notes);
    Ok(ExitCode::Passed)
}

/// Writes the configuration of the workspace at `root`, through no link of it.
fn write(root: &Path, text: &[u8]) -> io::Result<()> {
    let path = Path::new(config::PATH);
    let parent = path.parent().unwrap_or(Path::new(""));
    let directory = Directory::open(&root.canonicalize()?)?.make_across(parent, 0o777)?;
    directory.replace(path.file_name().unwrap_or(OsStr::new("")), text)
}
