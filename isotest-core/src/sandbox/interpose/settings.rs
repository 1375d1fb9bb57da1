//! Settings of the preloaded library, as a file of the case holds them: written by the warden, read by
//! the library.

/// Number of bytes of the file.
pub const LENGTH: usize = WORDS * size_of::<u64>();
const WORDS: usize = 8;
/// First word of the file: what it is, and the version of the rest.
const MAGIC: u64 = u64::from_le_bytes(*b"isotest\x01");

/// Random bytes follow from the seed.
const SEEDED_ENTROPY: u64 = 1;
/// Directories are listed in an order that follows from the seed.
const SHUFFLED_DIRECTORIES: u64 = 1 << 1;
/// The wall clock stands still.
const FROZEN: u64 = 1 << 2;
/// The wall clock shows another time than outside.
const SHIFTED: u64 = 1 << 3;
/// The tracer is told of environment variables.
const TOLD_VARIABLES: u64 = 1 << 4;

/// The option of prctl(2) by which the tracer is told of an environment variable: the arguments behind it
/// are a [`VariableUse`] and the address of the name. No kernel has this option: the call fails.
pub const TELLS_VARIABLE: u32 = u32::from_le_bytes(*b"isot");

/// Use of an environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableUse {
    /// getenv(3).
    Read = 1,
    /// setenv(3), unsetenv(3), putenv(3).
    Change = 2,
}

/// The wall clock of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WallClock {
    /// It shows what it shows outside.
    #[default]
    Same,
    /// It is so many nanoseconds later.
    Later(i64),
    /// It stands still at so many nanoseconds since the Epoch.
    Frozen(i64),
}

/// Settings of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// The wall clock.
    pub wall_clock: WallClock,
    /// Size in nanoseconds of the steps in which clocks advance; 0: as outside.
    pub resolution: u64,
    /// Random bytes follow from the seed.
    pub seeded_entropy: bool,
    /// Directories are listed in an order that follows from the seed.
    pub shuffled_directories: bool,
    /// Bytes that a new pipe holds; 0: as outside.
    pub pipe_capacity: u32,
    /// The tracer is told of environment variables.
    pub told_variables: bool,
    /// What random bytes and the order of directories follow from.
    pub seed: u64,
    /// The process id of the test: random bytes of another process are other ones.
    pub first_process: u32,
}

impl Settings {
    /// The file.
    pub fn bytes(&self) -> [u8; LENGTH] {
        let (clock, value) = match self.wall_clock {
            WallClock::Same => (0, 0),
            WallClock::Later(value) => (SHIFTED, value),
            WallClock::Frozen(value) => (FROZEN, value),
        };
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = clock
            | flag(self.seeded_entropy, SEEDED_ENTROPY)
            | flag(self.shuffled_directories, SHUFFLED_DIRECTORIES)
            | flag(self.told_variables, TOLD_VARIABLES);
        let words = [
            MAGIC,
            flags,
            value as u64,
            self.resolution,
            u64::from(self.pipe_capacity),
            self.seed,
            u64::from(self.first_process),
            0,
        ];
        let mut bytes = [0; LENGTH];
        for (place, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    #[cfg_attr(not(test), allow(dead_code, reason = "the library reads them"))]
    /// The settings in a file; `None` where it is no such file.
    pub fn read(bytes: &[u8; LENGTH]) -> Option<Settings> {
        let word = |index: usize| {
            let mut word = [0; size_of::<u64>()];
            let at = index * size_of::<u64>();
            word.copy_from_slice(bytes.get(at..at + size_of::<u64>()).unwrap_or(&[0; 8]));
            u64::from_le_bytes(word)
        };
        if word(0) != MAGIC {
            return None;
        }
        let has = |flag| word(1) & flag != 0;
        let value = word(2) as i64;
        Some(Settings {
            wall_clock: match (has(FROZEN), has(SHIFTED)) {
                (true, _) => WallClock::Frozen(value),
                (false, true) => WallClock::Later(value),
                (false, false) => WallClock::Same,
            },
            resolution: word(3),
            seeded_entropy: has(SEEDED_ENTROPY),
            shuffled_directories: has(SHUFFLED_DIRECTORIES),
            pipe_capacity: word(4) as u32,
            told_variables: has(TOLD_VARIABLES),
            seed: word(5),
            first_process: word(6) as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let clocks = [WallClock::Same, WallClock::Later(-7), WallClock::Frozen(i64::MAX)];
        for (index, wall_clock) in clocks.into_iter().enumerate() {
            let settings = Settings {
                wall_clock,
                resolution: 16_000_000,
                seeded_entropy: index == 1,
                shuffled_directories: index == 2,
                pipe_capacity: 4096,
                told_variables: index == 0,
                seed: u64::MAX - 1,
                first_process: 2,
            };
            assert_eq!(Settings::read(&settings.bytes()), Some(settings));
        }
        assert_eq!(Settings::read(&[0; LENGTH]), None, "a file of another version");
    }
}
