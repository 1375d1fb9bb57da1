//! `cargo isotest archive`: builds a project's tests into an archive.

use std::time::Instant;

use crate::archive::{self, ArchiveContents, ArchiveError, ArchiveSummary};
use crate::cli::{ArchiveCommand, LayerOptions};
use crate::config::machine::Machine;
use crate::config::settings;
use crate::config::{self, Config, FlagValues};
use crate::discover;
use crate::discover::filterset::FilterSubject;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Archived};

/// Builds the project's tests and writes them to an archive.
pub fn archive(command: &ArchiveCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let start = Instant::now();
    let request = settings::request(&command.cargo);
    let layers = LayerOptions::default();
    let given = FlagValues::of(&layers, &command.config);
    let config = Config::load(given, &command.cargo, machine)?;
    let expressions = config::binary_expressions(&command.filterset, &request)?;
    let built = discover::build_for_archive(&request)?;
    config.check(built.project.workspace_root.as_std_path())?;
    let is_selected = |subject: &FilterSubject| {
        expressions.is_empty() || expressions.iter().any(|it| it.selects_binary(subject))
    };
    let summary = built.summary(|binary| is_selected(&FilterSubject::of(binary)));
    if summary.rust_binaries.is_empty() {
        return Err(ArchiveError::Empty(built.project.binaries.len()).into());
    }
    let (included, place) = config.archived.unwrap_or_default();
    let content =
        ArchiveContents { built: &built, summary: &summary, included: &included, place: &place };
    let (named, level) = (&command.archive_file, command.zstd_level);
    let ArchiveSummary { files, bytes } =
        archive::write(named, &machine.directory.join(named), level, &content)?;
    if !command.cargo.quiet {
        let (binaries, took) = (summary.rust_binaries.len(), start.elapsed());
        report::archived(&Archived { path: named, binaries, files, bytes, took });
    }
    Ok(ExitCode::Passed)
}
