//! `cargo isotest import-nextest`: writes what nextest's configuration means to isotest.

use std::path::Path;

use isotest_core::untrusted::Link;

use crate::cli::ImportNextestCommand;
use crate::commands::config_file;
use crate::config::machine::Machine;
use crate::config::settings;
use crate::config::{self, ConfigError, Contents, Imported};
use crate::discover::filterset::FilterPackages;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;

/// Path of nextest's configuration below the workspace root.
const NEXTEST: &str = ".config/nextest.toml";

/// Writes what nextest's configuration means to isotest.
pub fn import(command: &ImportNextestCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let workspace = FilterPackages::find(&settings::request(&command.cargo))?;
    let root = workspace.root().as_std_path();
    let (from, to) = (root.join(NEXTEST), root.join(config::PATH));
    let shown = |path: &Path| machine.shown(path).to_string_lossy().into_owned();
    let contents = Contents::read(&from, &shown(&from), root)?;
    let Imported { text, notes } = config::import(&shown(&from), &contents.text)
        .map_err(|error| contents.fault(error.into()))?;
    if command.dry_run {
        report::text(&text).map_err(Error::Report)?;
        return Ok(ExitCode::Passed);
    }
    if to.symlink_metadata().is_ok() && !command.force {
        let message = format!("cannot write `{}`: it exists already", shown(&to));
        let hint = "`--force` replaces it, `--dry-run` prints what would be written";
        return Err(ConfigError::new(message).hint(Some(hint)).into());
    }
    config_file::write(root, config::PATH, text.as_bytes()).map_err(|cause| {
        let hint = "remove the link, or take what `--dry-run` prints";
        let hint = Link::is_cause(&cause).then_some(hint);
        ConfigError::new(format!("cannot write `{}`: {cause}", shown(&to))).hint(hint)
    })?;
    report::imported(&shown(&to), &notes);
    Ok(ExitCode::Passed)
}
