//! Companions: the other tests that may run beside one, those first that share something with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use isotest_core::case::Ignore;
use isotest_core::diagnosis::Attribution;
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::signals::Signals;

use super::bench::Bench;
use super::facts::Facts;
use super::resources::shared;
use crate::discover::Harness;
use crate::run::context::Cases;
use crate::run::policies::Member;
use crate::select::selected::case;

/// Companions that are traced, in the order of their distance from the test.
const TRACED: usize = 200;
/// No further companion is traced after so long.
const TRACING: Duration = Duration::from_secs(4);
/// Maximum number of companions.
const COMPANIONS: usize = 16;
/// Maximum number of companions that share something with the test.
const NEAR: usize = 8;
/// Companions that are traced at a time.
const TRACED_AT_ONCE: usize = 16;

/// The companions of a test.
#[derive(Default)]
pub struct Companions {
    /// Them: those that share something with the test first.
    pub members: Vec<Member>,
    /// Number of those that run beside it; all others run in one process with it only.
    pub near: usize,
    /// Facts about those that were traced, by their places.
    pub known: BTreeMap<usize, Facts>,
    /// Runs that were made for them.
    pub runs: u32,
}

/// The companions: tests that use what this one uses first, then those of its binary, of which those come
/// first that change what it shares with them in one process.
pub fn companions(
    bench: &mut Bench<'_>,
    cases: Cases<'_>,
    test: &Member,
    others: &[Member],
    facts: &Facts,
) -> io::Result<Companions> {
    let mut near: Vec<&Member> = others.iter().filter(|it| runs(cases, it)).collect();
    near.sort_by_key(|it| {
        let is_other_binary = it.index.binary != test.index.binary;
        (is_other_binary, it.index.case.abs_diff(test.index.case))
    });
    if !facts.may_meet() && !bench.uses_project(facts) {
        // Only in one process.
        near.retain(|it| it.index.binary == test.index.binary);
    }
    let mut companions = Companions::default();
    let end = Instant::now() + TRACING;
    let mut traced: Vec<(Member, Option<Facts>)> = Vec::new();
    for part in near.chunks(TRACED_AT_ONCE) {
        let is_over = Instant::now() > end || traced.len() >= TRACED;
        let members: Vec<Member> = part.iter().map(|it| (*it).clone()).collect();
        if is_over || Signals::asked().is_some() {
            traced.extend(members.into_iter().map(|member| (member, None)));
            continue;
        }
        let outcomes = bench.trace_others(&members)?;
        companions.runs += members.len() as u32;
        for (member, outcome) in members.into_iter().zip(outcomes) {
            // One that is ended by itself ends others of its process.
            if !outcome.as_ref().is_some_and(is_ended) {
                traced.push((member, outcome.map(|it| bench.facts(&it))));
            }
        }
    }
    let is_known = facts.meets_at_files_only()
        && traced.iter().all(|(_, other)| other.as_ref().is_some_and(|other| other.is_whole));
    let meets = |other: &Facts| !shared(&facts.footprint, &other.footprint).is_empty();
    let (mut near, mut far): (Vec<_>, Vec<_>) =
        traced.into_iter().partition(|(_, other)| other.as_ref().is_some_and(meets));
    near.truncate(NEAR);
    let count = near.len();
    far.retain(|(member, _)| count == 0 || member.index.binary == test.index.binary);
    far.sort_by_key(|(member, other)| {
        let is_sibling = member.index.binary == test.index.binary;
        let changes = other.as_ref().is_some_and(|other| facts.may_be_changed_by(other));
        !(is_sibling && changes)
    });
    far.truncate(COMPANIONS - count);
    near.append(&mut far);
    companions.near = if count == 0 && !is_known { near.len().min(NEAR) } else { count };
    for (place, (member, facts)) in near.into_iter().enumerate() {
        companions.members.push(member);
        companions.known.extend(facts.map(|facts| (place, facts)));
    }
    Ok(companions)
}

/// Traces the other parties of the causes that were not traced yet.
pub fn trace_parties(
    bench: &mut Bench<'_>,
    attribution: &Attribution,
    known: &mut BTreeMap<usize, Facts>,
) -> io::Result<()> {
    let parties = attribution.causes.iter().flat_map(|cause| &cause.companions);
    let parties: BTreeSet<usize> = parties.copied().filter(|it| !known.contains_key(it)).collect();
    let (places, members): (Vec<usize>, Vec<Member>) =
        parties.into_iter().filter_map(|it| Some((it, bench.companion(it)?))).unzip();
    if !members.is_empty() {
        let outcomes = bench.trace_others(&members)?;
        let facts = places.into_iter().zip(outcomes);
        known.extend(facts.filter_map(|(place, outcome)| Some((place, bench.facts(&outcome?)))));
    }
    Ok(())
}

/// The companions in the binary of a test that change what it shares with them in one process.
pub fn suspects(
    test: &Member,
    facts: &Facts,
    companions: &[Member],
    known: &BTreeMap<usize, Facts>,
) -> BTreeSet<usize> {
    let places = companions.iter().enumerate();
    let places = places.filter(|(_, member)| member.index.binary == test.index.binary);
    let is_suspect = |place: &usize| known.get(place).is_some_and(|it| facts.may_be_changed_by(it));
    places.map(|(place, _)| place).filter(is_suspect).collect()
}

/// True if a signal or the time limit ended a test, or it ended its process.
fn is_ended(outcome: &Outcome) -> bool {
    matches!(
        outcome.verdict,
        Verdict::Signalled { .. } | Verdict::TimedOut { .. } | Verdict::ExitedEarly { .. }
    )
}

/// True if a test runs among others in an ordinary run.
pub fn runs(cases: Cases<'_>, member: &Member) -> bool {
    cases.selected[member.index.binary].harness != Harness::None
        && case(cases.selected, member.index).ignore == Ignore::No
}
