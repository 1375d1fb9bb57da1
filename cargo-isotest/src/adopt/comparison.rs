//! What the runs of a test say when those outside are compared with the isolated ones.

use super::observed::Observed;
use super::outside::Results;

/// The runs of one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// Isolated runs that passed, of all of them.
    pub isolated: (u32, u32),
    /// Runs outside that passed, of all of them.
    pub outside: (u32, u32),
}

/// What a test is that has failed isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It fails outside as well.
    FailsOutside,
    /// Its results differ among runs in the same surroundings.
    Flaky,
    /// It passes outside and fails isolated, always.
    Differs,
}

impl Comparison {
    /// Of these runs.
    pub fn of(observed: &Observed, outside: Results) -> Comparison {
        let all = |passed, failed| (passed, passed + failed);
        Comparison {
            isolated: all(observed.passed, observed.failed),
            outside: all(outside.passed, outside.failed),
        }
    }
}

/// What the runs say. Nothing is concluded of a test that is flaky.
pub fn compare(Comparison { isolated, outside }: Comparison) -> Standing {
    match (isolated, outside) {
        ((0, _), (0, _)) => Standing::FailsOutside,
        ((0, _), (passed, all)) if passed == all => Standing::Differs,
        _ => Standing::Flaky,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_concluded_of_a_test_whose_results_differ() {
        let standing = |isolated, outside| {
            compare(Comparison { isolated: (isolated, 3), outside: (outside, 3) })
        };
        assert_eq!(standing(0, 3), Standing::Differs);
        assert_eq!(standing(0, 0), Standing::FailsOutside);
        for (isolated, outside) in [(0, 1), (0, 2), (1, 3), (2, 3), (1, 0), (2, 1)] {
            assert_eq!(standing(isolated, outside), Standing::Flaky);
        }
    }
}
