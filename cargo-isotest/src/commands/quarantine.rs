//! The tests of a run that are in quarantine, and which entries still hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Datelike, Utc};
use isotest_core::case::CaseIndex;
use isotest_core::escape::escape;
use isotest_core::outcome::{Quarantine, Standing};

use crate::config::{Config, Day, QuarantineEntry};
use crate::discover::filterset::FilterSubject;
use crate::report::{self, Fact, State};
use crate::run::gates::Gates;
use crate::select::selected::{Selected, case};
use crate::store::{Lines, Store};

/// Number of results of a test in a row, all failed, with which its entry is broken.
const FAILED: u32 = 10;

/// Maximum number of recorded runs that are read for them.
const RUNS: usize = 50;

/// The gates of the selected cases. Warns of entries that select none, where all are known.
pub fn gates(
    config: &Config,
    store: &Store,
    selected: &[Selected],
    knows_all_tests: bool,
    time: SystemTime,
) -> Gates {
    if config.quarantine.is_empty() {
        return Gates::default();
    }
    let places = places(config, selected);
    if knows_all_tests && selected.iter().all(|binary| binary.selection.filtered_out == 0) {
        let used: BTreeSet<usize> = places.values().copied().collect();
        let unused = config.quarantine.iter().enumerate().filter(|(at, _)| !used.contains(at));
        unused.for_each(|(_, QuarantineEntry { filter, place, .. })| {
            report::warning(&format_args!(
                "the quarantine entry in {} selects no test: `{}`\n\
                 hint: remove it, or mend its `filter`; an earlier entry may have its tests",
                escape(place),
                escape(filter)
            ));
        });
    }
    let today = DateTime::<Utc>::from(time).date_naive();
    let today = Day {
        year: today.year().try_into().unwrap_or_default(),
        month: today.month().try_into().unwrap_or_default(),
        day: today.day().try_into().unwrap_or_default(),
    };
    let in_force = places.iter().filter(|(_, at)| config.quarantine[**at].until >= today);
    let names = in_force.map(|(index, _)| name(selected, *index)).collect();
    let broken = broken(store, names);
    let entry = |(index, at): (CaseIndex, usize)| {
        let entry = &config.quarantine[at];
        let standing = match entry.until < today {
            true => Standing::Expired,
            false if broken.contains(&name(selected, index)) => Standing::Broken(FAILED),
            false => Standing::Holds,
        };
        let quarantine = Quarantine {
            reason: entry.reason.clone(),
            until: entry.until.to_string(),
            token: entry.token.clone(),
            place: entry.place.clone(),
            standing,
        };
        (index, Arc::new(quarantine))
    };
    Gates { quarantine: places.into_iter().map(entry).collect(), ..Gates::default() }
}

/// The place of the entry of each case that is in quarantine.
fn places(config: &Config, selected: &[Selected]) -> BTreeMap<CaseIndex, usize> {
    let mut places = BTreeMap::new();
    for (binary, one) in selected.iter().enumerate() {
        let subject = FilterSubject::of(&one.binary);
        for (case, listed) in one.selection.cases.iter().enumerate() {
            if let Some(at) = config.quarantine_of(&subject, listed) {
                places.insert(CaseIndex { binary, case }, at);
            }
        }
    }
    places
}

/// A test: the id of its binary, and its name.
type TestName = (String, String);

fn name(selected: &[Selected], index: CaseIndex) -> TestName {
    (selected[index.binary].binary.id.clone(), case(selected, index).name.clone())
}

/// Those of these tests that have failed in each of the last recorded runs that they ran in. What
/// cannot be read is left out: fewer tests are broken then.
fn broken(store: &Store, mut tests: BTreeSet<TestName>) -> BTreeSet<TestName> {
    let mut failed: BTreeMap<TestName, u32> = BTreeMap::new();
    let runs = store.runs().unwrap_or_default();
    for run in runs.into_iter().take(RUNS) {
        if tests.is_empty() {
            break;
        }
        let Ok(file) = store.open(&run.id) else { continue };
        let Ok((_, lines)) = Lines::facts(file, store.path()) else { continue };
        for (_, fact) in lines {
            let Fact::TestFinished(finished) = fact else { continue };
            let state = finished.state();
            let name = (finished.binary, finished.test);
            match state {
                _ if !tests.contains(&name) => {}
                State::Passed | State::Flaky => {
                    tests.remove(&name);
                }
                State::Failed => {
                    let count = failed.entry(name.clone()).or_default();
                    *count += 1;
                    if *count >= FAILED {
                        tests.remove(&name);
                    }
                }
                State::Ignored | State::NotRun => {}
            }
        }
    }
    failed.into_iter().filter(|(_, count)| *count >= FAILED).map(|(name, _)| name).collect()
}
