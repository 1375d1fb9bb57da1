//! Delta debugging (ddmin: Zeller, Hildebrandt 2002), asked and told.

use std::collections::BTreeSet;

/// The search for a smallest set that still has an effect: no single element can be left out.
///
/// The whole set is known to have the effect, and the empty set not to have it. A set of one element is
/// therefore the result without a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimise {
    kept: Vec<usize>,
    /// The kept elements are divided into so many parts.
    parts: usize,
    /// Sets of this division that had no effect: first the parts, then what is left without each.
    refused: usize,
}

impl Minimise {
    /// The search in `whole`. The parts are intervals of its order.
    pub fn new(whole: &BTreeSet<usize>) -> Minimise {
        Minimise { kept: whole.iter().copied().collect(), parts: 2, refused: 0 }
    }

    /// The set whose effect is asked for; `None` once the search is over.
    pub fn next(&self) -> Option<BTreeSet<usize>> {
        self.set(self.refused)
    }

    /// While the set is halved: the other half, which is asked for next if this one has no effect.
    pub fn other_half(&self) -> Option<BTreeSet<usize>> {
        if self.parts == 2 && self.refused == 0 { self.set(1) } else { None }
    }

    /// Answers [`next`](Minimise::next).
    pub fn tell(&mut self, has_effect: bool) {
        let Some(asked) = self.next() else { return };
        if has_effect {
            let is_part = self.refused < self.parts;
            self.parts = if is_part { 2 } else { (self.parts - 1).max(2) };
            self.kept = asked.into_iter().collect();
            self.refused = 0;
        } else {
            self.refused += 1;
            if self.refused == self.questions() && self.parts < self.kept.len() {
                self.parts = (2 * self.parts).min(self.kept.len());
                self.refused = 0;
            }
        }
    }

    /// The smallest set so far that has the effect.
    pub fn result(&self) -> BTreeSet<usize> {
        self.kept.iter().copied().collect()
    }

    /// Number of sets that this division asks for. What is left without one half is the other half.
    fn questions(&self) -> usize {
        if self.parts == 2 { 2 } else { 2 * self.parts }
    }

    fn set(&self, number: usize) -> Option<BTreeSet<usize>> {
        if self.kept.len() < 2 || number >= self.questions() {
            return None;
        }
        let part = self.part(number % self.parts);
        Some(if number < self.parts {
            part.iter().copied().collect()
        } else {
            self.kept.iter().copied().filter(|element| !part.contains(element)).collect()
        })
    }

    fn part(&self, number: usize) -> &[usize] {
        let at = |number: usize| number * self.kept.len() / self.parts;
        &self.kept[at(number)..at(number + 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for an effect that these sets have, and any set that holds one of them; and the
    /// number of questions.
    fn minimised(whole: usize, causes: &[&[usize]]) -> (Vec<usize>, u32) {
        let mut search = Minimise::new(&(0..whole).collect());
        let mut questions = 0;
        while let Some(set) = search.next() {
            assert!(!set.is_empty() && set.len() < search.result().len(), "{search:?}");
            let has = |cause: &&[usize]| cause.iter().all(|element| set.contains(element));
            search.tell(causes.iter().any(has));
            questions += 1;
        }
        (search.result().into_iter().collect(), questions)
    }

    #[test]
    fn one_element_is_found_in_any_place_by_halving() {
        for whole in 1..=40 {
            for cause in 0..whole {
                let (found, questions) = minimised(whole, &[&[cause]]);
                assert_eq!(found, [cause]);
                let halvings = whole.next_power_of_two().trailing_zeros();
                assert!(questions <= 2 * halvings, "{questions} questions for {whole}");
            }
        }
    }

    #[test]
    fn every_pair_and_every_triple_is_found() {
        for whole in 2..=14 {
            for a in 0..whole {
                for b in a + 1..whole {
                    assert_eq!(minimised(whole, &[&[a, b]]).0, [a, b]);
                    for c in b + 1..whole {
                        assert_eq!(minimised(whole, &[&[a, b, c]]).0, [a, b, c]);
                    }
                }
            }
        }
    }

    #[test]
    fn of_two_causes_one_is_found_whole() {
        assert_eq!(minimised(12, &[&[1, 9], &[4]]).0, [4]);
        assert_eq!(minimised(12, &[&[2, 3], &[8, 11]]).0, [2, 3]);
    }

    #[test]
    fn a_set_that_is_needed_as_a_whole_stays_whole() {
        let all: Vec<usize> = (0..9).collect();
        assert_eq!(minimised(9, &[&all]).0, all);
    }

    #[test]
    fn less_than_two_elements_need_no_question() {
        assert_eq!(minimised(1, &[&[0]]), (vec![0], 0));
        let mut nothing = Minimise::new(&BTreeSet::new());
        nothing.tell(true);
        assert_eq!((nothing.next(), nothing.result()), (None, BTreeSet::new()));
    }

    #[test]
    fn the_other_half_is_the_rest() {
        let mut search = Minimise::new(&(0..5).collect());
        let half = search.next().expect("five elements can be halved");
        let other = search.other_half().expect("there is another half");
        assert_eq!(half.union(&other).copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        search.tell(false);
        assert_eq!((search.next(), search.other_half()), (Some(other), None));
    }
}
