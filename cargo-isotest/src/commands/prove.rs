//! `--prove-new`: the tests that the base run does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::schedule::Interruption;

use crate::config::machine::Machine;
use crate::error::Error;
use crate::report::{self, Fact, Results};
use crate::run::batch::Batch;
use crate::run::context::{Cases, Context};
use crate::run::gates::Gates;
use crate::run::prove::{Proofs, prove};
use crate::select::selected::Selected;
use crate::store::{self, Durations, Lines, Store, StoreError};

/// The verdict of a new test that has failed, as a record has it.
const UNPROVEN: &str = "unproven";

/// The base run, and how often new tests run.
#[derive(Clone, Copy)]
pub struct ProveOptions<'a> {
    /// Its name; the latest recorded run of all tests without.
    pub against: Option<&'a str>,
    /// Number of runs.
    pub runs: NonZeroU32,
}

/// Runs the new tests, and keeps in `gates` which of them failed.
pub fn prove_new(
    context: Context<'_>,
    batches: &mut [Batch],
    selected: &[Selected],
    cases: Cases<'_>,
    (store, durations, options): (&Store, &mut Durations, ProveOptions<'_>),
    gates: &mut Gates,
) -> Result<(), Error> {
    let base = base(store, options.against, context.machine)?;
    let new = new(selected, &base);
    report::proving(new.len(), options.runs.get(), &base.run.run, context.settings.report.quiet)
        .map_err(Error::Report)?;
    if new.is_empty() {
        return Ok(());
    }
    let Proofs { failed, interrupted } =
        prove(context, batches, cases, durations, (&new, options.runs))?;
    match interrupted {
        Some(Interruption::Signal(signal)) => Err(Error::Interrupted(signal)),
        Some(Interruption::Timeout(_)) | None => {
            gates.proofs = failed;
            Ok(())
        }
    }
}

/// Results of the base run.
fn base(store: &Store, name: Option<&str>, machine: &Machine) -> Result<Results, StoreError> {
    if let Some(name) = name {
        let (file, path) = store.find(Some(name), &machine.directory)?;
        return store::results(file, &path);
    }
    for run in store.runs()? {
        // In a run of some tests the others are not new.
        let is_whole = store.open(&run.id).is_ok_and(|file| {
            Lines::facts(file, store.path()).is_ok_and(|(_, lines)| {
                let binaries = lines.map_while(|(_, fact)| match fact {
                    Fact::Binary(binary) => Some(binary.filtered_out),
                    _ => None,
                });
                let filtered_out: Vec<usize> = binaries.collect();
                !filtered_out.is_empty() && filtered_out.iter().all(|count| *count == 0)
            })
        });
        if is_whole {
            let (file, path) = store.find(Some(&run.id), &machine.directory)?;
            return store::results(file, &path);
        }
    }
    Err(StoreError::Empty(store.path().to_owned()))
}

/// The selected cases that run and are not among those of the base run.
fn new(selected: &[Selected], base: &Results) -> BTreeSet<CaseIndex> {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // One that has failed its proof is not known yet.
    for (binary, test, _) in base.tests().filter(|(.., result)| result.verdict != UNPROVEN) {
        known.entry(&binary.binary).or_default().insert(test);
    }
    let is_known =
        |binary: &str, test: &str| known.get(binary).is_some_and(|tests| tests.contains(test));
    let cases = selected.iter().enumerate().flat_map(|(binary, one)| {
        let cases = one.selection.cases.iter().enumerate();
        cases.map(move |(case, listed)| (CaseIndex { binary, case }, one, listed))
    });
    cases
        .filter(|(_, _, case)| case.ignore == Ignore::No)
        .filter(|(_, one, case)| !is_known(&one.binary.id, &case.name))
        .map(|(index, ..)| index)
        .collect()
}
