//! `cargo isotest replay`: prints a recorded run again.

use std::io;

use crate::cli::ReplayCommand;
use crate::commands::runs::store;
use crate::config::machine::Machine;
use crate::config::settings;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Reporter};
use crate::store::{Recorded, Store};

/// Prints a recorded run again.
pub fn replay(command: &ReplayCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let name = command.run.as_deref();
    // A file needs no project.
    let store = if Store::is_file(name) { Store::none() } else { store(&command.project)? };
    let (file, path) = store.find(name, &machine.directory)?;
    let Recorded { start, suites, mut lines } = Recorded::open(file, &path)?;
    let options = settings::of_replay(command, start.options, machine);
    let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
    let mut reporter = Reporter::new(suites, options, stdout, stderr);
    if let Some(path) = &command.junit {
        reporter =
            reporter.with_junit(&machine.directory.join(path), &[&machine.directory], &[])?;
    }
    let inputs = lines.by_ref().map(|line| line.exact);
    let (mut reporter, replayed) = report::replay(reporter, inputs).map_err(Error::Report)?;
    reporter.write_junit()?;
    if let Some(trouble) = lines.trouble() {
        return Err(trouble.into());
    }
    if !replayed.is_whole {
        report::cut_off(&start.id, store.is_written(&start.id));
    }
    Ok(match command.exit_code {
        true => ExitCode::of_run(&replayed.summary).with(replayed.doctests),
        false => ExitCode::Passed,
    })
}
