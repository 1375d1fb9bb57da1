//! The record of a run, and the tests that one leaves to be run again.

use std::io::Write;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::cli::{ProjectOptions, RecordLimits, Recorded, RecordedOptions, RunCommand};
use crate::config::machine::Machine;
use crate::discover::{self, BuildRequest, Project};
use crate::error::Error;
use crate::report::{self, Record, Reporter, Start, Started, StoppedCommands};
use crate::select::unfinished::Unfinished;
use crate::store::{self, Durations, Keep, Lines, Store, StoreError, TestNames};

/// Stops workflow commands of GitHub Actions as long as the result is there.
pub fn stop_commands(machine: &Machine) -> Result<Option<StoppedCommands>, Error> {
    let stopped = machine.workflow().map(|_| StoppedCommands::stop());
    stopped.transpose().map_err(Error::Report)
}

/// Has a run recorded. Returns its id, too. What cannot be recorded is warned of; the run goes on.
pub fn record(
    reporter: Reporter,
    store: &Store,
    project: &Project,
    options: RecordedOptions,
) -> (Reporter, Option<String>) {
    let time = SystemTime::now();
    match store.create(time) {
        Ok((id, writer)) => {
            let start = Start {
                id: id.clone(),
                time: DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true),
                commit: store::commit(project.workspace_root.as_std_path()),
                repeated_options: options.repeated,
                other_options: options.others,
                options: *reporter.options(),
            };
            let out: Box<dyn Write> = Box::new(writer);
            (reporter.with_record(Record::new(out), &start), Some(id))
        }
        Err(error) => {
            report::not_recorded(store.path(), &error);
            (reporter, None)
        }
    }
}

/// Adds the run of this id to the index, for `--rerun-failed` and the order of later runs.
pub fn index(store: &Store, id: &str, durations: &Durations, reporter: &mut Reporter) {
    // Another run may have ended meanwhile.
    let mut index = store.index();
    index.add_run(id, reporter, durations);
    match store.write_index(&index) {
        Ok(()) => reporter.take_recorded(index.same_failures(reporter)),
        Err(error) => report::not_kept(store.path(), &error),
    }
}

/// Warns of a record that has ended before the run, and removes what is too much.
pub fn finish(reporter: &mut Reporter, store: &Store, limits: RecordLimits) {
    if let Some(error) = reporter.end_record() {
        report::not_recorded(store.path(), &error);
    }
    if let Err(error) = store.prune(&keep(limits), SystemTime::now()) {
        report::not_recorded(store.path(), &error);
    }
}

/// What the store keeps.
pub fn keep(RecordLimits { count, age, bytes }: RecordLimits) -> Keep {
    Keep { runs: count.get(), age, bytes }
}

/// The command with the options of the recorded run that it names, as far as they are repeated. The
/// name is an id then: there may be a later run when the build has ended.
pub fn repeat(
    command: &RunCommand,
    run: &Recorded,
    machine: &Machine,
) -> Result<RunCommand, Error> {
    let name = run.name.as_deref();
    let project = ProjectOptions {
        manifest_path: command.cargo.manifest_path.clone(),
        target_dir: command.cargo.target_dir.clone(),
    };
    let store = if Store::is_file(name) { Store::none() } else { store_of(&project)? };
    let (file, path) = store.find(name, &machine.directory)?;
    let (started, _) = Lines::facts(file, &path)?;
    let Started { repeated_options, other_options, .. } = started;
    let mut repeated = match command.repeat(&repeated_options) {
        Ok(repeated) => {
            if !command.cargo.quiet {
                report::repeated(&repeated_options, &other_options);
            }
            repeated
        }
        Err(why) => {
            report::not_repeated(&path, &why);
            command.clone()
        }
    };
    if !Store::is_file(name) {
        let id = path.file_stem().map(|id| id.to_string_lossy().into_owned());
        repeated.of = Some(Recorded { name: id });
    }
    Ok(repeated)
}

/// The request to cargo that the options make.
pub fn request(project: &ProjectOptions) -> BuildRequest {
    BuildRequest {
        metadata_arguments: project
            .manifest_path
            .iter()
            .flat_map(|path| ["--manifest-path".into(), path.clone().into_os_string()])
            .collect(),
        target_dir: project.target_dir.clone(),
        ..BuildRequest::default()
    }
}

/// The store of the project that the options name.
pub fn store_of(project: &ProjectOptions) -> Result<Store, Error> {
    let target = discover::target_directory(&request(project))?;
    Ok(Store::of(target.as_std_path()))
}

/// The tests that have failed, or were not run, in a recorded run.
pub fn unfinished(
    store: &Store,
    run: &Recorded,
    machine: &Machine,
) -> Result<Unfinished, StoreError> {
    let (file, path) = store.find(run.name.as_deref(), &machine.directory)?;
    let results = store::results(file, &path)?;
    let left: TestNames = results
        .binaries
        .into_iter()
        .map(|(binary, results)| {
            let left = results.tests.into_iter().filter(|(_, result)| result.is_left());
            (binary, left.map(|(test, _)| test).collect())
        })
        .collect();
    let left = Unfinished::from(left);
    if left.is_empty() {
        return Err(StoreError::NothingFailed(path));
    }
    Ok(left)
}
