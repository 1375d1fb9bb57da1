//! `cargo isotest history`: the results of a test in recorded runs.

use isotest_core::escape::escape;

use crate::cli::{HistoryCommand, ReportFormat};
use crate::commands::recorded::{self, store_of};
use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Histories};
use crate::select::find_case::choose;
use crate::store::{self, StoreError};

/// Prints the history of a test.
pub fn history(command: &HistoryCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let _stopped = recorded::stop_commands(machine)?;
    let store = store_of(&command.project)?;
    let runs = store.runs()?;
    if runs.is_empty() {
        return Err(StoreError::Empty(store.path().to_owned()).into());
    }
    let mut histories = Histories::of(&command.case);
    for run in &runs {
        let read = |error| StoreError::Read(store.path().join(&run.id), error);
        let results = store.open(&run.id).map_err(read);
        match results.and_then(|file| store::results(file, &store.path().join(&run.id))) {
            Ok(results) => histories.take(&results),
            Err(error) => report::warning(&format_args!("the history is without a run: {error}")),
        }
    }
    let named = histories.tests().map(|(binary, test)| (binary, test, (binary, test)));
    let Some((binary, test)) = choose(named, &command.case)? else {
        return Err(Error::Case(format!(
            "no recorded run has a test named `{}`\n\
             hint: `cargo isotest list` prints all names; `cargo isotest runs`, the recorded runs",
            escape(&command.case)
        )));
    };
    let found = histories.histories(binary, test, command.runs.get());
    let printed = match command.format {
        ReportFormat::Human => report::histories_for_people(&found),
        ReportFormat::Json => report::histories_for_programs(&found),
    };
    printed.map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}
