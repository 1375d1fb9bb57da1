//! `cargo isotest conflicts`: what tests of a traced run would share if they were not isolated.

use isotest_core::escape::escape;

use crate::cli::{ConflictsCommand, ReportFormat};
use crate::commands::recorded::{self, store_of};
use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Conflicts, Fact};
use crate::store::{Lines, Store, StoreError};

/// Prints the conflicts of a recorded run.
pub fn conflicts(command: &ConflictsCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let _stopped = recorded::stop_commands(machine)?;
    let name = command.run.as_deref();
    // A file needs no project.
    let store = if Store::is_file(name) { Store::none() } else { store_of(&command.project)? };
    let (file, path) = store.find(name, &machine.directory)?;
    let (started, mut lines) = Lines::facts(file, &path)?;
    let run = started.run.unwrap_or_else(|| path.display().to_string());
    let mut conflicts = Conflicts::of(&run);
    for (_, fact) in &mut lines {
        if let Fact::TestTraced(traced) = fact {
            conflicts.take(&traced);
        }
    }
    if let Some(trouble) = lines.trouble() {
        return Err(trouble.into());
    }
    if conflicts.traced() == 0 {
        return Err(StoreError::NotTraced(escape(&run).into_owned()).into());
    }
    let printed = match command.format {
        ReportFormat::Human => report::conflicts_for_people(&conflicts),
        ReportFormat::Json => report::conflicts_for_programs(&conflicts),
    };
    printed.map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}
