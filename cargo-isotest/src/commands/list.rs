//! `cargo isotest list`: prints the selected cases.

use crate::archive;
use crate::cli::{ListCommand, ReportFormat};
use crate::commands::one_case::prepare_with;
use crate::config::machine::Machine;
use crate::config::settings;
use crate::config::{Config, Given};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Listed};
use crate::select::partition;
use crate::select::prepare::Selected;

/// Lists the selected cases.
pub fn list(command: &ListCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let opened = archive::open(&command.reuse, machine, command.cargo.quiet)?;
    let reused = opened.as_ref().map(|opened| &opened.build);
    let given = Given {
        layers: &command.layers,
        course: None,
        profile: command.config.profile.as_deref(),
        filterset: Some(&command.filterset),
        reused,
    };
    let config = Config::load(given, &command.cargo, machine)?;
    let filter = settings::selection(&command.libtest);
    let part = partition::resolve(command.libtest.partition, machine)?;
    let (mut prepared, project, _signals) = prepare_with(
        &config,
        (&command.cargo, reused),
        (&filter, &command.libtest.unknown),
        machine,
    )?;
    if let Some(part) = &part {
        prepared.selected = partition::narrow(prepared.selected, part);
    }
    let listed: Vec<Listed<'_>> = prepared.selected.iter().map(listed).collect();
    let printed = match command.format {
        ReportFormat::Human => report::list_for_people(&listed),
        ReportFormat::Json => report::list_for_programs(&project, &listed),
    };
    printed.map_err(Error::Report)?;
    let empty = prepared.selected.iter().all(|selected| selected.selection.cases.is_empty());
    Ok(if empty { ExitCode::NothingToRun } else { ExitCode::Passed })
}

fn listed(selected: &Selected) -> Listed<'_> {
    Listed { binary: &selected.binary, cases: &selected.selection.cases }
}
