//! The record of a run, and the tests that one leaves to be run again.

use std::io::Write;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::cli::{RecordLimits, Recorded};
use crate::config::machine::Machine;
use crate::discover::Project;
use crate::report::{self, Record, Reporter, Start};
use crate::select::unfinished::Unfinished;
use crate::store::{self, Durations, Keep, Store, StoreError, TestNames};

/// Has a run recorded. Returns its id, too. What cannot be recorded is warned of; the run goes on.
pub fn record(reporter: Reporter, store: &Store, project: &Project) -> (Reporter, Option<String>) {
    let time = SystemTime::now();
    match store.create(time) {
        Ok((id, writer)) => {
            let start = Start {
                id: id.clone(),
                time: DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true),
                commit: store::commit(project.workspace_root.as_std_path()),
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
        Err(error) => report::not_kept(&error),
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
