//! The order in which libtest runs the tests of a process, by `--shuffle-seed`. Pure.
//!
//! It is that of `shuffle_tests` in libtest, whose random numbers are hashes of the names. Another libtest
//! may have another one, so whoever asks for an order looks at the one that came.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Longest list for which a seed is sought that gives one order: there are 5040 orders of 7 tests.
const EXACT: usize = 7;
/// Seeds that are tried.
const SEEDS: u64 = 60_000;

/// A name as libtest hashes it: `TestName::AlignedTestName` with `NamePadding::PadNone`.
#[derive(Hash)]
#[expect(dead_code, reason = "a hash has the number of the variant")]
enum TestName<'a> {
    Static(&'a str),
    Dynamic(String),
    Aligned(&'a str, NamePadding),
}

#[derive(Hash)]
#[expect(dead_code, reason = "a hash has the number of the variant")]
enum NamePadding {
    None,
    OnRight,
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The order in which these tests run with a seed, as places in the list. The list is sorted by name.
fn order(names: &[&str], seed: u64) -> Vec<usize> {
    let named: Vec<TestName<'_>> =
        names.iter().map(|name| TestName::Aligned(name, NamePadding::None)).collect();
    shuffled(names.len(), seed, hash(&named.iter().collect::<Vec<_>>()))
}

fn shuffled(count: usize, seed: u64, extra: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = seed;
    for place in 0..count {
        state = hash(&(state, extra));
        let other = (state % (count - place) as u64) as usize;
        order.swap(place, place + other);
    }
    order
}

/// A seed with which tests run in this order; for long lists one with which the last runs last. `Some(None)`
/// if they do so without one.
pub fn seed_for(wanted: &[&str]) -> Option<Option<u64>> {
    let mut names = wanted.to_vec();
    names.sort_unstable();
    if names == wanted {
        return Some(None);
    }
    let fits = |order: &[usize]| match wanted.len() <= EXACT {
        true => order.iter().map(|place| names[*place]).eq(wanted.iter().copied()),
        false => order.last().map(|place| names[*place]) == wanted.last().copied(),
    };
    (0..SEEDS).find(|seed| fits(&order(&names, *seed))).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orders of libtest of Rust 1.95.0, by `--test-threads=1 --shuffle-seed`.
    #[test]
    fn the_order_is_that_of_libtest() {
        let names = [
            "brittle::a_setup",
            "brittle::brittle",
            "order_static::static_victim",
            "order_static::z_static_polluter",
        ];
        assert_eq!(order(&names, 5), [1, 2, 3, 0]);
        assert_eq!(order(&names, 77), [1, 3, 0, 2]);
    }

    #[test]
    fn every_order_of_a_short_list_has_a_seed() {
        let wanted = ["d", "a", "c", "b"];
        let seed = seed_for(&wanted).flatten().expect("there is one");
        let names = ["a", "b", "c", "d"];
        let found: Vec<&str> = order(&names, seed).into_iter().map(|place| names[place]).collect();
        assert_eq!(found, wanted);
        assert_eq!(seed_for(&names), Some(None));
    }

    #[test]
    fn the_last_of_a_long_list_runs_last() {
        let names: Vec<String> = (100..160).map(|it| format!("t{it}")).collect();
        let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let case = wanted.remove(7);
        wanted.push(case);
        let seed = seed_for(&wanted).flatten().expect("there is one");
        let sorted: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(order(&sorted, seed).last().map(|place| sorted[*place]), Some(case));
    }
}
