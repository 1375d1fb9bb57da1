//! Overrides for the grants that tests need: which of those that are there stay, and which are new.

use std::collections::{BTreeMap, BTreeSet};

use isotest_core::case::CaseIndex;

use super::filter::filter;
use super::grant::Grant;
use crate::config::ADOPTED;
use crate::select::selected::Selected;

/// Maximum number of phrases in a reason.
const PHRASES: usize = 3;

/// The grants that a test needs, and why: a phrase for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Sorted.
    pub grants: Vec<Grant>,
    /// What is known of it.
    pub phrases: Vec<String>,
}

/// An override that is there, with the selected cases that its filter selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its number in the profile, 1 being the first.
    pub number: usize,
    /// Its grants, sorted.
    pub grants: Vec<Grant>,
    /// Its reason.
    pub reason: String,
    /// The cases.
    pub cases: BTreeSet<CaseIndex>,
}

/// An override to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Its filter expression.
    pub filter: String,
    /// Its grants.
    pub grants: Vec<Grant>,
    /// Its reason.
    pub reason: String,
}

/// What becomes of the overrides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Numbers of those that are there and go.
    pub removed: Vec<usize>,
    /// New ones.
    pub added: Vec<Override>,
    /// Number of those that stay.
    pub kept: usize,
}

/// Everything that decides about overrides.
pub struct Adoption<'a> {
    /// The binaries with their cases.
    pub selected: &'a [Selected],
    /// The cases that need grants.
    pub needed: &'a BTreeMap<CaseIndex, Needed>,
    /// Cases of which nothing is known: flaky ones, and those that fail outside.
    pub unknown: &'a BTreeSet<CaseIndex>,
    /// The overrides that are there.
    pub present: &'a [Present],
    /// True if every test of the workspace is among the selected ones.
    pub is_whole: bool,
}

impl Adoption<'_> {
    /// The grants that a case has by overrides that are there.
    pub fn has(&self, index: CaseIndex) -> Vec<Grant> {
        let mut grants: Vec<Grant> = Vec::new();
        for present in self.present.iter().filter(|present| present.cases.contains(&index)) {
            for grant in &present.grants {
                let is_set = grants.iter().any(|one| one.is_single() && one.key == grant.key);
                if !is_set && !grants.contains(grant) {
                    grants.push(grant.clone());
                }
            }
        }
        grants.sort();
        grants
    }

    /// Cases whose grants are not those that they need, with the grants that are missing and those
    /// that are no longer needed.
    pub fn differences(&self) -> Vec<(CaseIndex, Vec<Grant>, Vec<Grant>)> {
        let granted = self.present.iter().flat_map(|present| &present.cases);
        let cases: BTreeSet<CaseIndex> = granted.chain(self.needed.keys()).copied().collect();
        let mut differences = Vec::new();
        for index in cases.into_iter().filter(|index| !self.unknown.contains(index)) {
            let has = self.has(index);
            let needs = self.needed.get(&index).map_or(&[][..], |needed| &needed.grants);
            let without = |all: &[Grant], others: &[Grant]| {
                all.iter().filter(|it| !others.contains(it)).cloned().collect::<Vec<_>>()
            };
            let (missing, unneeded) = (without(needs, &has), without(&has, needs));
            if !missing.is_empty() || !unneeded.is_empty() {
                differences.push((index, missing, unneeded));
            }
        }
        differences
    }

    /// Overrides that no selected test needs.
    pub fn idle(&self) -> Vec<&Present> {
        let is_idle = |present: &&Present| match self.is_whole {
            true => present.cases.is_empty(),
            // They may be for tests that are not built.
            false => false,
        };
        self.present.iter().filter(is_idle).collect()
    }

    /// What becomes of the overrides.
    pub fn changes(&self) -> Changes {
        if self.differences().is_empty() && self.idle().is_empty() {
            return Changes { kept: self.present.len(), ..Changes::default() };
        }
        if !self.is_whole {
            return self.additions();
        }
        let mut groups: BTreeMap<&[Grant], BTreeSet<CaseIndex>> = BTreeMap::new();
        for (index, needed) in self.needed {
            groups.entry(&needed.grants).or_default().insert(*index);
        }
        let mut changes = Changes::default();
        let mut kept: BTreeSet<usize> = BTreeSet::new();
        for (grants, cases) in groups {
            let mut same: Vec<&Present> =
                self.present.iter().filter(|present| present.grants == grants).collect();
            same.retain(|present| !present.cases.is_disjoint(&cases));
            let covered: BTreeSet<CaseIndex> =
                same.iter().flat_map(|present| &present.cases).copied().collect();
            let known: BTreeSet<CaseIndex> = covered.difference(self.unknown).copied().collect();
            if known == cases {
                kept.extend(same.iter().map(|present| present.number));
            } else {
                let reason = same.first().map(|present| present.reason.clone());
                changes.added.push(self.entry(grants, &cases, reason));
            }
        }
        let numbers = self.present.iter().map(|present| present.number);
        changes.removed = numbers.filter(|number| !kept.contains(number)).collect();
        changes.kept = kept.len();
        changes
    }

    /// Only what is missing: what is there may be for tests that are not among these.
    fn additions(&self) -> Changes {
        let mut groups: BTreeMap<Vec<Grant>, BTreeSet<CaseIndex>> = BTreeMap::new();
        for (index, missing, _) in self.differences() {
            if !missing.is_empty() {
                groups.entry(missing).or_default().insert(index);
            }
        }
        let added = groups.iter().map(|(grants, cases)| self.entry(grants, cases, None));
        Changes { removed: Vec::new(), added: added.collect(), kept: self.present.len() }
    }

    /// An override for these cases.
    fn entry(
        &self,
        grants: &[Grant],
        cases: &BTreeSet<CaseIndex>,
        reason: Option<String>,
    ) -> Override {
        let mut phrases: Vec<&String> = Vec::new();
        for needed in cases.iter().filter_map(|index| self.needed.get(index)) {
            let new: Vec<&String> =
                needed.phrases.iter().filter(|phrase| !phrases.contains(phrase)).collect();
            phrases.extend(new);
        }
        let more = phrases.len().saturating_sub(PHRASES);
        let more = (more > 0).then(|| format!("and {more} more"));
        let shown = phrases.into_iter().take(PHRASES).cloned().chain(more);
        let words = || format!("{ADOPTED}{}", shown.collect::<Vec<_>>().join("; "));
        let filter = filter(self.selected, cases);
        Override { filter, grants: grants.to_vec(), reason: reason.unwrap_or_else(words) }
    }
}

impl Override {
    /// Its text in the file.
    pub fn text(&self, profile: &str) -> String {
        let value = |text: &str| toml::Value::from(text).to_string();
        let is_bare = |byte: u8| byte == b'_' || byte == b'-' || byte.is_ascii_alphanumeric();
        let name = match profile.bytes().all(is_bare) && !profile.is_empty() {
            true => profile.to_owned(),
            false => value(profile),
        };
        let lines = Grant::lines(&self.grants).join("\n");
        let (filter, reason) = (value(&self.filter), value(&self.reason));
        format!("[[profile.{name}.override]]\nfilter = {filter}\n{lines}\nreason = {reason}\n")
    }
}
