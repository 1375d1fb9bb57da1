//! The smallest set of changes with which failed cases pass: all at once, then without one after the
//! other. Pure: it is told which cases pass with a set.

use std::collections::BTreeSet;

use isotest_core::case::CaseIndex;

/// A set of changes, and the cases that pass with it.
pub type Passing<C> = (BTreeSet<C>, Vec<CaseIndex>);

/// Which cases pass with a set of changes.
pub type Try<'a, C, E> = dyn FnMut(&BTreeSet<C>, &[CaseIndex]) -> Result<Vec<CaseIndex>, E> + 'a;

/// Finds sets with which cases pass and of which no change can be left out; `cases` pass with all
/// `changes`, and with none of them they fail. These are left out in their order, several at once
/// where that is possible. At most `runs` sets are tried; what has not been tried by then stays in.
pub fn smallest<C: Clone + Ord, E>(
    changes: &BTreeSet<C>,
    cases: Vec<CaseIndex>,
    runs: &mut usize,
    passing: &mut Try<'_, C, E>,
) -> Result<Vec<Passing<C>>, E> {
    let mut found = Vec::new();
    let all: Vec<C> = changes.iter().cloned().collect();
    let mut search = Search { runs, passing, found: &mut found };
    search.leave_out(changes.clone(), cases, &[&all])?;
    Ok(found)
}

struct Search<'a, 'b, C, E> {
    runs: &'a mut usize,
    passing: &'a mut Try<'b, C, E>,
    found: &'a mut Vec<Passing<C>>,
}

impl<C: Clone + Ord, E> Search<'_, '_, C, E> {
    /// Leaves out each of these parts of the set, or what of it can be left out.
    fn leave_out(
        &mut self,
        set: BTreeSet<C>,
        cases: Vec<CaseIndex>,
        parts: &[&[C]],
    ) -> Result<(), E> {
        let Some((part, rest)) = parts.split_first().filter(|_| *self.runs > 0) else {
            self.add(set, cases);
            return Ok(());
        };
        let fewer: BTreeSet<C> = set.iter().filter(|it| !part.contains(it)).cloned().collect();
        let passed = match fewer.is_empty() {
            true => Vec::new(),
            false => {
                *self.runs -= 1;
                (self.passing)(&fewer, &cases)?
            }
        };
        let (without, with): (Vec<CaseIndex>, Vec<CaseIndex>) =
            cases.into_iter().partition(|index| passed.contains(index));
        if !without.is_empty() {
            self.leave_out(fewer, without, rest)?;
        }
        if with.is_empty() {
            return Ok(());
        }
        let (first, second) = part.split_at(part.len() / 2);
        let halves: &[&[C]] = if part.len() > 1 { &[first, second] } else { &[] };
        self.leave_out(set, with, &[halves, rest].concat())
    }

    fn add(&mut self, set: BTreeSet<C>, cases: Vec<CaseIndex>) {
        match self.found.iter_mut().find(|(known, _)| *known == set) {
            Some((_, known)) => known.extend(cases),
            None => self.found.push((set, cases)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn case(case: usize) -> CaseIndex {
        CaseIndex { binary: 0, case }
    }

    /// Finds sets for cases of which each needs all changes of one of its sets; returns the number of
    /// runs, too.
    fn found(needs: &[&[&[u8]]], changes: u8, mut runs: usize) -> (Vec<Passing<u8>>, usize) {
        let mut count = 0;
        let mut passing = |set: &BTreeSet<u8>, cases: &[CaseIndex]| {
            count += 1;
            let passes = |index: &&CaseIndex| {
                needs[index.case].iter().any(|all| all.iter().all(|need| set.contains(need)))
            };
            Ok::<_, Infallible>(cases.iter().filter(passes).copied().collect::<Vec<_>>())
        };
        let changes = (0..changes).collect();
        let Ok(cases) = passing(&changes, &(0..needs.len()).map(case).collect::<Vec<_>>());
        let Ok(found) = smallest(&changes, cases, &mut runs, &mut passing);
        (found, count - 1)
    }

    #[test]
    fn one_change_needs_no_further_run() {
        assert_eq!(found(&[&[&[0]]], 1, 9), (vec![([0].into(), vec![case(0)])], 0));
        assert_eq!(found(&[&[&[7]]], 1, 9), (vec![], 0));
        assert_eq!(found(&[], 1, 9), (vec![], 0));
    }

    #[test]
    fn two_changes_are_found_where_none_alone_suffices() {
        assert_eq!(found(&[&[&[1, 3]]], 5, 9).0, [([1, 3].into(), vec![case(0)])]);
    }

    #[test]
    fn one_of_many_is_found_in_few_runs() {
        for need in 0..16 {
            let (sets, count) = found(&[&[&[need]]], 16, 99);
            assert_eq!(sets, [([need].into(), vec![case(0)])]);
            assert!(count <= 8, "{need}: {count}");
        }
    }

    #[test]
    fn no_change_of_a_set_that_is_found_can_be_left_out() {
        let needs: [&[&[u8]]; 4] =
            [&[&[0, 5], &[3]], &[&[1, 2, 6]], &[&[3], &[0, 1]], &[&[2, 3], &[7]]];
        for (set, cases) in found(&needs, 8, 99).0 {
            for index in cases {
                let passes = |set: &BTreeSet<u8>| {
                    needs[index.case].iter().any(|all| all.iter().all(|need| set.contains(need)))
                };
                assert!(passes(&set));
                for change in &set {
                    let fewer = set.iter().filter(|it| *it != change).copied().collect();
                    assert!(!passes(&fewer), "{set:?} {index:?}");
                }
            }
        }
    }

    #[test]
    fn each_case_gets_its_own_set_and_the_same_set_is_one() {
        let needs: [&[&[u8]]; 5] = [&[&[0, 2]], &[&[1]], &[&[0, 2]], &[&[9]], &[&[0], &[2]]];
        let (sets, _) = found(&needs, 3, 99);
        let expected = [
            ([2].into(), vec![case(4)]),
            ([1].into(), vec![case(1)]),
            ([0, 2].into(), vec![case(0), case(2)]),
        ];
        for one in &expected {
            assert!(sets.contains(one), "{sets:?}");
        }
        assert_eq!(sets.len(), expected.len());
    }

    #[test]
    fn every_set_that_is_found_passes_also_where_the_runs_end() {
        let needs: [&[&[u8]]; 4] = [&[&[0]], &[&[1, 2]], &[&[3], &[0, 1]], &[&[2, 3]]];
        for runs in 0..20 {
            let (sets, count) = found(&needs, 4, runs);
            assert!(count <= runs);
            for (set, cases) in &sets {
                for index in cases {
                    let has = |all: &&[u8]| all.iter().all(|need| set.contains(need));
                    assert!(needs[index.case].iter().any(has), "{set:?} {index:?}");
                }
            }
            let mut told: Vec<CaseIndex> = sets.into_iter().flat_map(|(_, cases)| cases).collect();
            told.sort();
            assert_eq!(told, (0..4).map(case).collect::<Vec<_>>());
        }
    }
}
