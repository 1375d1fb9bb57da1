//! Amplifiers: conditions under which a whole suite runs, so that its flaky tests show themselves.

use std::collections::BTreeSet;

use super::setting::{Clock, LAYERS, Layer, Setting, ZONES};

/// Conditions of one round over a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Amplifier {
    /// None: each test alone, as in an ordinary run.
    Ordinary,
    /// All tests at once in one lab, then once more: they share every layer with each other.
    Crowd,
    /// The tests of each binary in one process, in another order.
    OneProcess,
    /// Random numbers and directory order from a seed; another process id, under a reaping init.
    Seeds,
    /// Another umask, host name, zone and uptime, `localhost` is `::1`, stdin is a terminal.
    Surroundings,
    /// 256 open files.
    FewFiles,
    /// One processor.
    OneProcessor,
    /// Each test is stopped most of the time.
    SlowProcessor,
    /// A wall clock.
    Clock(Clock),
}

impl Amplifier {
    /// All of them, the cheapest and most telling first.
    pub const ALL: [Amplifier; 12] = [
        Amplifier::Ordinary,
        Amplifier::Crowd,
        Amplifier::OneProcess,
        Amplifier::Seeds,
        Amplifier::SlowProcessor,
        Amplifier::Surroundings,
        Amplifier::OneProcessor,
        Amplifier::FewFiles,
        Amplifier::Clock(Clock::Midnight),
        Amplifier::Clock(Clock::Later(400)),
        Amplifier::Clock(Clock::Coarse),
        Amplifier::Clock(Clock::Frozen),
    ];

    /// The settings that it turns on.
    pub fn settings(self) -> BTreeSet<Setting> {
        let settings: Vec<Setting> = match self {
            Amplifier::Ordinary => Vec::new(),
            Amplifier::Crowd => {
                LAYERS.into_iter().filter(|it| *it != Layer::Env).map(Setting::Shared).collect()
            }
            Amplifier::OneProcess => vec![Setting::Together],
            Amplifier::Seeds => {
                vec![Setting::Entropy, Setting::DirectoryOrder, Setting::Reaper]
            }
            Amplifier::Surroundings => vec![
                Setting::Umask,
                Setting::HostName,
                Setting::Uptime,
                Setting::Ipv4Only,
                Setting::Terminal,
                Setting::Zone(ZONES[0]),
            ],
            Amplifier::FewFiles => vec![Setting::FewFiles],
            Amplifier::OneProcessor => vec![Setting::OneProcessor],
            Amplifier::SlowProcessor => vec![Setting::SlowProcessor(30)],
            Amplifier::Clock(clock) => vec![Setting::Clock(clock)],
        };
        settings.into_iter().collect()
    }

    /// The name in JSON.
    pub fn name(self) -> String {
        match self {
            Amplifier::Ordinary => "ordinary".to_owned(),
            Amplifier::Crowd => "crowd".to_owned(),
            Amplifier::OneProcess => "one-process".to_owned(),
            Amplifier::Seeds => "seeds".to_owned(),
            Amplifier::Surroundings => "surroundings".to_owned(),
            Amplifier::FewFiles
            | Amplifier::OneProcessor
            | Amplifier::SlowProcessor
            | Amplifier::Clock(_) => self.only_setting(Setting::name),
        }
    }

    /// The words for it: the tests ran …
    pub fn words(self) -> String {
        match self {
            Amplifier::Ordinary => "alone, everything private".to_owned(),
            Amplifier::Crowd => "all at once, everything shared".to_owned(),
            Amplifier::OneProcess => "in one process for each binary, in another order".to_owned(),
            Amplifier::Seeds => "other random numbers, directory orders and process ids".to_owned(),
            Amplifier::Surroundings => {
                "another umask, host name, zone and uptime, `::1`, a terminal".to_owned()
            }
            Amplifier::FewFiles
            | Amplifier::OneProcessor
            | Amplifier::SlowProcessor
            | Amplifier::Clock(_) => self.only_setting(Setting::words),
        }
    }

    fn only_setting(self, words: impl Fn(&Setting) -> String) -> String {
        self.settings().iter().map(words).collect()
    }

    /// True if tests of one round meet each other.
    pub fn is_shared(self) -> bool {
        matches!(self, Amplifier::Crowd | Amplifier::OneProcess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_amplifier_has_a_name_of_its_own_and_is_told_in_a_line() {
        let names: BTreeSet<String> = Amplifier::ALL.into_iter().map(Amplifier::name).collect();
        assert_eq!(names.len(), Amplifier::ALL.len());
        for amplifier in Amplifier::ALL {
            assert!((1..=64).contains(&amplifier.words().len()), "{}", amplifier.words());
            assert_eq!(amplifier.settings().is_empty(), amplifier == Amplifier::Ordinary);
        }
    }
}
