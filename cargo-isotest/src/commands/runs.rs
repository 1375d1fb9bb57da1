//! `cargo isotest runs`: lists the recorded runs, compares two, or exports one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isotest_core::untrusted::{self, Budget};

use crate::cli::{ExportFormat, ProjectOptions, ReportFormat, RunsAct, RunsCommand};
use crate::commands::recorded::{self, store_of};
use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, ChromeTrace, Comparison, Fact, Listing, RunState};
use crate::store::{self, Lines, Store, StoreError, Stored};

/// Maximum bytes of an exported run; holes are none.
const EXPORTED: u64 = 4 << 30;

/// Maximum time in which a run is exported.
const EXPORT_TIME: Duration = Duration::from_secs(60 * 60);

/// Lists the recorded runs, compares two, or exports one.
pub fn runs(command: &RunsCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let _stopped = recorded::stop_commands(machine)?;
    match &command.act {
        None => list(&store_of(&command.project)?, command.format),
        Some(RunsAct::Export { run, file, format }) => {
            let store = store_for(&command.project, &[Some(run)])?;
            let run = store.find(Some(run), &machine.directory)?;
            let to = machine.directory.join(file);
            match format {
                ExportFormat::Isotest => export(run, &to),
                ExportFormat::ChromeTrace => export_trace(run, &to),
            }
        }
        Some(RunsAct::Diff { a, b, format }) => {
            let names = [a.as_deref(), b.as_deref()];
            let store = store_for(&command.project, &names)?;
            diff(&store, names, format.unwrap_or(command.format), machine)
        }
    }
}

/// The store of the project, unless all of these runs are files: they need none.
fn store_for(project: &ProjectOptions, names: &[Option<&str>]) -> Result<Store, Error> {
    match names.iter().all(|name| Store::is_file(*name)) {
        true => Ok(Store::none()),
        false => store_of(project),
    }
}

/// Lists the recorded runs.
fn list(store: &Store, format: ReportFormat) -> Result<ExitCode, Error> {
    let runs = store.runs()?;
    if runs.is_empty() && format == ReportFormat::Human {
        return Err(StoreError::Empty(store.path().to_owned()).into());
    }
    let listed: Vec<Listing> = runs.iter().map(|run| listing(store, run)).collect();
    let printed = match format {
        ReportFormat::Human => report::runs_for_people(&listed),
        ReportFormat::Json => report::runs_for_programs(&listed),
    };
    printed.map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}

/// Everything that the list says of a run.
fn listing(store: &Store, run: &Stored) -> Listing {
    let path = store.path().join(&run.id);
    let mut listing = Listing::new(run.id.clone(), run.bytes);
    let read = |error| StoreError::Read(path.clone(), error);
    let lines = store.open(&run.id).map_err(read).and_then(|file| Lines::facts(file, &path));
    match lines {
        Ok((started, mut lines)) => {
            listing.take(&Fact::Started(started), 0.0);
            lines.by_ref().for_each(|(at, fact)| listing.take(&fact, at));
            if lines.trouble().is_some() {
                listing.state = RunState::Damaged;
            }
        }
        Err(_) => listing.state = RunState::Damaged,
    }
    if listing.state == RunState::Killed && store.is_written(&run.id) {
        listing.state = RunState::Running;
    }
    listing
}

/// Compares two runs.
fn diff(
    store: &Store,
    [a, b]: [Option<&str>; 2],
    format: ReportFormat,
    machine: &Machine,
) -> Result<ExitCode, Error> {
    let before_latest = match a {
        Some(_) => None,
        None => Some(store.before_latest()?),
    };
    let results = |name| {
        let (file, path) = store.find(name, &machine.directory)?;
        store::results(file, &path)
    };
    let a = results(a.or(before_latest.as_deref()))?;
    let comparison = Comparison::of(&a, &results(b)?);
    let printed = match format {
        ReportFormat::Human => comparison.for_people(),
        ReportFormat::Json => comparison.for_programs(),
    };
    printed.map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}

/// Copies a run to a file that does not exist.
fn export((from, path): (File, PathBuf), to: &Path) -> Result<ExitCode, Error> {
    // A file that is no run is not copied.
    Lines::facts(from.try_clone().map_err(Error::Host)?, &path)?;
    let mut budget = Budget { bytes: EXPORTED, until: Instant::now() + EXPORT_TIME };
    write_new(to, |file| untrusted::copy_data(&from, file, &mut budget))
}

/// Writes the timeline of a run to a file that does not exist.
fn export_trace((from, path): (File, PathBuf), to: &Path) -> Result<ExitCode, Error> {
    let (started, mut lines) = Lines::facts(from, &path)?;
    let mut trace = ChromeTrace::of(started);
    lines.by_ref().for_each(|(at, fact)| trace.take(at, fact));
    if let Some(trouble) = lines.trouble() {
        return Err(trouble.into());
    }
    write_new(to, |file| {
        let mut out = BufWriter::new(file);
        trace.write(&mut out)?;
        out.flush()
    })
}

/// Writes a file that does not exist.
fn write_new(
    to: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<ExitCode, Error> {
    let written = untrusted::place(to).and_then(|(directory, name)| {
        let mut file = directory.create_new(name)?;
        write(&mut file)
    });
    match written {
        Ok(()) => Ok(ExitCode::Passed),
        Err(error) => Err(StoreError::Write(to.to_owned(), error).into()),
    }
}
