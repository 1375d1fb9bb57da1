//! `cargo isotest replay`: prints a recorded run again.

use std::collections::BTreeSet;
use std::io;

use isotest_core::escape::escape;

use crate::cli::ReplayCommand;
use crate::commands::recorded::{self, store_of};
use crate::config::machine::Machine;
use crate::config::settings;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Line, Reporter};
use crate::store::{Recorded, Store};

/// Prints a recorded run again.
pub fn replay(command: &ReplayCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let _stopped = recorded::stop_commands(machine)?;
    let name = command.run.as_deref();
    // A file needs no project.
    let store = if Store::is_file(name) { Store::none() } else { store_of(&command.project)? };
    let (file, path) = store.find(name, &machine.directory)?;
    let Recorded { start, suites, mut lines } = Recorded::open(file, &path)?;
    let cases: Vec<usize> = suites.iter().map(|suite| suite.cases.len()).collect();
    let options = settings::of_replay(command, start.options, machine);
    let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
    let mut reporter = Reporter::new(suites, options, stdout, stderr);
    // The target directory, where tests may have placed links.
    let target = store.path().ancestors().nth(2).unwrap_or(&machine.directory);
    let roots = [target, &machine.directory];
    if let Some(path) = &command.sarif {
        let path = machine.directory.join(path);
        reporter = reporter.with_sarif(&path, &roots, &machine.directory, None)?;
    }
    if let Some(path) = &command.junit {
        reporter = reporter.with_junit(&machine.directory.join(path), &roots, &[])?;
    }
    let (mut ended, mut fits) = (BTreeSet::new(), true);
    let inputs = lines.by_ref().map(Line::into_input).take_while(|input| {
        fits = input.fits(&cases, &mut ended);
        fits
    });
    let (mut reporter, replayed) = report::replay(reporter, inputs).map_err(Error::Report)?;
    reporter.write_files()?;
    let unfit = (!fits).then(|| lines.damaged(&"it does not fit the lines before it"));
    if let Some(trouble) = unfit.or_else(|| lines.trouble()) {
        return Err(trouble.into());
    }
    if !replayed.is_whole {
        report::cut_off(&escape(&start.id), store.is_written(&start.id));
    }
    Ok(match command.exit_code {
        true => ExitCode::of_run(&replayed.summary).with(replayed.doctests),
        false => ExitCode::Passed,
    })
}
