//! Dates on which a suite runs, and the search for the first one on which a test fails. Pure.

use std::time::{Duration, SystemTime};

use super::setting::Clock;

/// A clock under which the whole suite runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The clock.
    pub clock: Clock,
    /// So many days from today; `None` for a moment of its own, which may be over.
    pub days: Option<u16>,
}

const DAY: u64 = 86_400;
/// 2038-01-20, one day after the end of 32-bit time, in days since the Epoch.
const AFTER_32_BITS: u64 = 24_856;

/// The probes of a suite: later dates first, in their order, then moments.
pub fn probes(now: SystemTime) -> Vec<Probe> {
    let today = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / DAY;
    let last = u16::try_from(AFTER_32_BITS.saturating_sub(today)).unwrap_or(u16::MAX);
    let mut days: Vec<u16> = [1, 366, 3653, last].into_iter().filter(|it| *it > 0).collect();
    days.sort_unstable();
    days.dedup();
    let later = days.into_iter().map(|days| Probe { clock: Clock::Later(days), days: Some(days) });
    let moments = [Clock::MonthEnd, Clock::ZoneChange, Clock::Year2038];
    later.chain(moments.map(|clock| Probe { clock, days: None })).collect()
}

/// The date so many days later, in UTC: `2030-01-01`.
pub fn date(now: SystemTime, days: u16) -> String {
    let then = now + Duration::from_secs(u64::from(days) * DAY);
    humantime::format_rfc3339_seconds(then).to_string().chars().take(10).collect()
}

/// What the dates of a suite say about a test that passes today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// It passes on all of them.
    Passes,
    /// It passes so many days from today, and fails on every date that was tried from the other number of
    /// days on.
    FailsFrom(u16, u16),
    /// It fails so many days from today, and passes on a later date.
    FailsOn(u16),
}

/// The pattern of a test's outcomes by days, in ascending order; true has failed.
pub fn pattern(outcomes: &[(u16, bool)]) -> Pattern {
    let Some(first) = outcomes.iter().position(|(_, failed)| *failed) else {
        return Pattern::Passes;
    };
    let (day, _) = outcomes[first];
    match outcomes[first..].iter().all(|(_, failed)| *failed) {
        true => {
            let before = first.checked_sub(1).map_or(0, |before| outcomes[before].0);
            Pattern::FailsFrom(before, day)
        }
        false => Pattern::FailsOn(day),
    }
}

/// The search for the first day on which a test fails, by halving. Both ends are run again before they
/// are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstFailure {
    passes: u16,
    fails: u16,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Halving,
    PassesAgain,
    Found,
    /// The test did not do again what it had done.
    Contradicted,
}

impl FirstFailure {
    /// The search between a day on which it passes and a later one on which it fails.
    pub fn between(passes: u16, fails: u16) -> FirstFailure {
        FirstFailure { passes, fails, phase: Phase::Halving }
    }

    /// The day on which it is run next.
    pub fn next(&self) -> Option<u16> {
        match self.phase {
            Phase::Halving if self.fails - self.passes > 1 => {
                Some(self.passes + (self.fails - self.passes) / 2)
            }
            Phase::Halving => Some(self.fails),
            Phase::PassesAgain => Some(self.passes),
            Phase::Found | Phase::Contradicted => None,
        }
    }

    /// Takes the outcome of that run.
    pub fn tell(&mut self, failed: bool) {
        let Some(day) = self.next() else { return };
        self.phase = match (self.phase, failed) {
            (Phase::Halving, _) if day != self.fails => {
                match failed {
                    true => self.fails = day,
                    false => self.passes = day,
                }
                Phase::Halving
            }
            (Phase::Halving, true) => Phase::PassesAgain,
            (Phase::PassesAgain, false) => Phase::Found,
            _ => Phase::Contradicted,
        };
    }

    /// The first day on which it fails, once both ends were run again.
    pub fn found(&self) -> Option<u16> {
        (self.phase == Phase::Found).then_some(self.fails)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).expect("it is a time")
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let now = at("2026-11-30T19:00:00Z");
        assert_eq!(date(now, 0), "2026-11-30");
        assert_eq!(date(now, 1), "2026-12-01");
        assert_eq!(date(now, 456), "2028-02-29");
        let last = probes(now).iter().filter_map(|it| it.days).max();
        assert_eq!(date(now, last.expect("there is one")), "2038-01-20");
    }

    #[test]
    fn probes_are_in_order_and_none_is_in_the_past() {
        for now in ["2026-11-30T00:00:00Z", "2037-06-01T00:00:00Z", "2050-01-01T00:00:00Z"] {
            let days: Vec<u16> = probes(at(now)).iter().filter_map(|it| it.days).collect();
            assert!(days.is_sorted_by(|one, other| one < other) && days[0] == 1, "{days:?}");
        }
    }

    #[test]
    fn a_pattern_is_from_a_date_on_only_if_all_later_dates_fail() {
        let of = |failed: [bool; 4]| {
            pattern(&[1, 366, 3653, 4068].into_iter().zip(failed).collect::<Vec<_>>())
        };
        assert_eq!(of([false; 4]), Pattern::Passes);
        assert_eq!(of([true; 4]), Pattern::FailsFrom(0, 1));
        assert_eq!(of([false, false, true, true]), Pattern::FailsFrom(366, 3653));
        assert_eq!(of([false, true, false, true]), Pattern::FailsOn(366));
    }

    #[test]
    fn every_first_day_is_found() {
        for first in 1..=400 {
            let mut search = FirstFailure::between(0, 400);
            let mut runs = 0;
            while let Some(day) = search.next() {
                assert!(day <= 400);
                search.tell(day >= first);
                runs += 1;
            }
            assert_eq!(search.found(), Some(first));
            assert!(runs <= 11, "{runs}");
        }
    }

    #[test]
    fn what_does_not_fail_again_has_no_date() {
        let mut search = FirstFailure::between(3, 4);
        assert_eq!(search.next(), Some(4));
        search.tell(false);
        assert_eq!((search.next(), search.found()), (None, None));
        let mut search = FirstFailure::between(3, 4);
        search.tell(true);
        assert_eq!(search.next(), Some(3));
        search.tell(true);
        assert_eq!((search.next(), search.found()), (None, None));
    }
}
