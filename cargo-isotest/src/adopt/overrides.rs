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
    /// True if all test targets of the packages are among the binaries.
    pub has_all_targets: bool,
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

    /// Overrides that select no test of a build of all tests. They stay: their tests may be built
    /// with other features, or for another target.
    pub fn idle(&self) -> Vec<&Present> {
        let idle = self.present.iter().filter(|present| present.cases.is_empty());
        idle.filter(|_| self.is_whole).collect()
    }

    /// What becomes of the overrides.
    pub fn changes(&self) -> Changes {
        if self.differences().is_empty() {
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
        // Nothing is known against those whose tests are flaky, fail outside or are not built.
        let is_open = |present: &&Present| present.cases.is_subset(self.unknown);
        let open = self.present.iter().filter(is_open);
        let mut kept: BTreeSet<usize> = open.map(|present| present.number).collect();
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
                let retained = covered.intersection(self.unknown);
                let all = cases.iter().chain(retained).copied().collect();
                changes.added.push(self.entry(grants, &all, reason));
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
        let filter = filter(self.selected, cases, self.has_all_targets);
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

#[cfg(test)]
mod tests {
    use isotest_core::policy::Policy;

    use super::*;

    fn case(case: usize) -> CaseIndex {
        CaseIndex { binary: 0, case }
    }

    fn grant(key: &str) -> Grant {
        let mut all = Grant::layers(&Policy::default()).into_iter();
        all.rfind(|grant| grant.key == key).expect("a layer")
    }

    fn present(number: usize, keys: &[&str], cases: &[usize]) -> Present {
        let mut grants: Vec<Grant> = keys.iter().map(|key| grant(key)).collect();
        grants.sort();
        let cases = cases.iter().map(|index| case(*index)).collect();
        Present { number, grants, reason: "adopt: why".to_owned(), cases }
    }

    fn needed(tests: &[(usize, &[&str])]) -> BTreeMap<CaseIndex, Needed> {
        let needed = tests.iter().map(|(index, keys)| {
            let grants = keys.iter().map(|key| grant(key)).collect();
            (case(*index), Needed { grants, phrases: vec!["why".to_owned()] })
        });
        needed.collect()
    }

    fn adoption<'a>(
        present: &'a [Present],
        needed: &'a BTreeMap<CaseIndex, Needed>,
        unknown: &'a BTreeSet<CaseIndex>,
    ) -> Adoption<'a> {
        Adoption { selected: &[], needed, unknown, present, is_whole: true, has_all_targets: true }
    }

    #[test]
    fn grants_of_several_overrides_are_compared_together() {
        let present = [present(1, &["uts"], &[0, 1]), present(3, &["net"], &[1, 2])];
        let needed = needed(&[(0, &["uts"]), (1, &["uts", "net"]), (2, &["ipc"])]);
        let unknown = BTreeSet::new();
        let adoption = adoption(&present, &needed, &unknown);
        assert_eq!(adoption.has(case(1)), [grant("uts"), grant("net")]);
        let differences = adoption.differences();
        assert_eq!(differences, [(case(2), vec![grant("ipc")], vec![grant("net")])]);
    }

    #[test]
    fn of_two_values_of_a_key_a_test_has_the_first() {
        let mut second = present(2, &["guard"], &[0]);
        second.grants = Grant::layers(&Policy::default());
        second.grants.retain(|grant| grant.value == "io-uring");
        let present = [present(1, &["guard"], &[0]), second];
        let (needed, unknown) = (BTreeMap::new(), BTreeSet::new());
        let has = adoption(&present, &needed, &unknown).has(case(0));
        assert_eq!(has, [grant("guard")]);
    }

    #[test]
    fn overrides_stay_for_tests_of_which_nothing_is_known() {
        let present = [present(1, &["net"], &[0, 1]), present(2, &["uts"], &[2])];
        let needed = needed(&[(0, &["net"])]);
        let unknown = BTreeSet::from([case(1), case(2)]);
        let changes = adoption(&present, &needed, &unknown).changes();
        assert_eq!(changes, Changes { kept: 2, ..Changes::default() });
        // Also where others go.
        let present = [&present[..], &[self::present(3, &["ipc"], &[3])]].concat();
        let changes = adoption(&present, &needed, &unknown).changes();
        assert_eq!(changes, Changes { removed: vec![3], kept: 2, ..Changes::default() });
    }

    #[test]
    fn an_override_for_no_test_stays_and_is_told_where_all_tests_are_there() {
        let present = [present(1, &["net"], &[]), present(2, &["ipc"], &[0])];
        let (needed, unknown) = (BTreeMap::new(), BTreeSet::new());
        let whole = adoption(&present, &needed, &unknown);
        assert_eq!(whole.idle(), [&present[0]]);
        assert_eq!(whole.changes(), Changes { removed: vec![2], kept: 1, ..Changes::default() });
        let alone = adoption(&present[..1], &needed, &unknown);
        assert_eq!(alone.changes(), Changes { kept: 1, ..Changes::default() });
        let part = Adoption { is_whole: false, ..whole };
        assert!(part.idle().is_empty());
        assert_eq!(part.changes(), Changes { kept: 2, ..Changes::default() });
    }
}
