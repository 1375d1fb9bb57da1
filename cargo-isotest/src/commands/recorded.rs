//! The record of a run, and the tests that one leaves to be run again.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::IgnoredAny;

use crate::cli::Recorded;
use crate::config::machine::Machine;
use crate::discover::Project;
use crate::report::{self, Message, Record, Reporter, Start, Verdict};
use crate::select::last_run::{FailedTest, Unfinished};
use crate::store::{self, Keep, Lines, Store, StoreError};

/// Has a run recorded. What cannot be recorded is warned of; the run goes on.
pub fn record(reporter: Reporter, store: &Store, project: &Project) -> Reporter {
    let time = SystemTime::now();
    match store.create(time) {
        Ok((id, writer)) => {
            let start = Start {
                id,
                time: DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true),
                commit: store::commit(project.workspace_root.as_std_path()),
                options: *reporter.options(),
            };
            let out: Box<dyn Write> = Box::new(writer);
            reporter.with_record(Record::new(out), &start)
        }
        Err(error) => {
            report::not_recorded(store.path(), &error);
            reporter
        }
    }
}

/// Warns of a record that has ended before the run, and removes what is too much.
pub fn finish(reporter: &mut Reporter, store: &Store) {
    if let Some(error) = reporter.end_record() {
        report::not_recorded(store.path(), &error);
    }
    if let Err(error) = store.prune(&Keep::default(), SystemTime::now()) {
        report::not_recorded(store.path(), &error);
    }
}

/// The tests that have failed, or were not run, in a recorded run.
pub fn unfinished(
    store: &Store,
    run: &Recorded,
    machine: &Machine,
) -> Result<Unfinished, StoreError> {
    let (file, path) = store.find(run.name.as_deref(), &machine.directory)?;
    let mut lines = Lines::<IgnoredAny>::open(file, &path)?;
    match lines.next().map(|line| line.message) {
        Some(Message::RunStarted { format_version, .. })
            if format_version > report::FORMAT_VERSION =>
        {
            return Err(StoreError::Newer(path, format_version));
        }
        Some(Message::RunStarted { .. }) => {}
        _ => return Err(StoreError::NotARun(path)),
    }
    let mut left = BTreeSet::new();
    for line in &mut lines {
        match line.message {
            Message::Binary(binary) => left.extend(binary.tests.into_iter().map(|test| {
                FailedTest { binary: binary.binary.clone(), root: binary.root.clone(), test }
            })),
            Message::TestFinished(finished) => {
                if matches!(finished.last.verdict, Verdict::Passed | Verdict::Ignored { .. }) {
                    let report::TestName { binary, root, test } = finished.test;
                    left.remove(&FailedTest { binary, root, test });
                }
            }
            Message::RunStarted { .. }
            | Message::TestStarted { .. }
            | Message::TestOutput { .. }
            | Message::TestSlow { .. }
            | Message::TestRetried { .. }
            | Message::Running { .. }
            | Message::Resumed { .. }
            | Message::Interrupted { .. }
            | Message::RunTimedOut { .. }
            | Message::RunFinished { .. } => {}
        }
    }
    match lines.trouble() {
        Some(trouble) => Err(trouble),
        None if left.is_empty() => Err(StoreError::NothingFailed(path)),
        None => Ok(left.into_iter().collect()),
    }
}
