//! `cargo isotest list`: prints the selected cases.

use crate::cli::{ListCommand, ReportFormat};
use crate::commands::build::Build;
use crate::config::FlagValues;
use crate::config::machine::Machine;
use crate::config::settings;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Listed};
use crate::select::partition;
use crate::select::prepare::SelectOptions;
use crate::select::selected::Selected;

/// Lists the selected cases.
pub fn list(command: &ListCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let build = Build::open(&command.reuse, &command.cargo, machine)?;
    let given = FlagValues::of(&command.layers, &command.config);
    let config = build.config(FlagValues { filterset: Some(&command.filterset), ..given })?;
    let filter = settings::selection(&command.libtest);
    let part = partition::resolve(command.libtest.partition, machine)?;
    let passed_on = &command.libtest.unknown;
    let selecting =
        SelectOptions { filter: &filter, config: &config, passed_on, jobs: machine.cores };
    let (mut prepared, project, _signals) = build.prepare(selecting)?;
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
