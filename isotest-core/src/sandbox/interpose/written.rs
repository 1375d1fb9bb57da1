//! The settings of a case, written to its scratch.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, openat};

use super::settings::{Settings, WallClock};
use crate::errno;
use crate::perturbation::{Time, TimeOrigin};
use crate::plan::{Interposed, SETTINGS_NAME};
use crate::seed;

/// Writes the settings of a case that starts now.
pub fn write(scratch: &OwnedFd, interposed: &Interposed, seed: u64) -> Result<(), Errno> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::RGRP | Mode::ROTH;
    let file = openat(scratch, SETTINGS_NAME, flags, mode).map_err(errno::of_rustix)?;
    let bytes = settings(interposed, seed, now).bytes();
    File::from(file).write_all(&bytes).map_err(errno::of_io)
}

/// The settings of a case that starts at so many nanoseconds since the Epoch.
fn settings(interposed: &Interposed, seed: u64, now: i64) -> Settings {
    let resolution = interposed.time.resolution.unwrap_or_default();
    Settings {
        wall_clock: wall_clock(interposed.time, seed, now),
        resolution: u64::try_from(resolution.as_nanos()).unwrap_or(u64::MAX),
        seeded_entropy: interposed.seeded_entropy,
        shuffled_directories: interposed.shuffled_directories,
        pipe_capacity: interposed.pipe_capacity.unwrap_or(0),
        told_variables: interposed.told_variables,
        seed,
        first_process: interposed.first_process,
    }
}

fn wall_clock(time: Time, seed: u64, now: i64) -> WallClock {
    let (shown, later) = match time.origin {
        TimeOrigin::Now => (now, 0),
        TimeOrigin::At(shown) => (shown, shown.saturating_sub(now)),
        TimeOrigin::Later(later) => (now.saturating_add(later), later),
        TimeOrigin::Before(at, most) => {
            let before = seed::mix(seed) % (u64::from(most) * 1000).max(1);
            let shown = at.saturating_sub(before as i64);
            (shown, shown.saturating_sub(now))
        }
    };
    match (time.is_frozen, later) {
        (true, _) => WallClock::Frozen(shown),
        (false, 0) => WallClock::Same,
        (false, later) => WallClock::Later(later),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_its_origin_when_the_case_starts() {
        use TimeOrigin::{At, Later, Now};
        use WallClock::{Frozen, Same};
        for (origin, is_frozen, clock) in [
            (Now, false, Same),
            (Now, true, Frozen(100)),
            (At(130), false, WallClock::Later(30)),
            (At(130), true, Frozen(130)),
            (Later(-7), false, WallClock::Later(-7)),
            (Later(-7), true, Frozen(93)),
        ] {
            let time = Time { origin, is_frozen, resolution: None };
            assert_eq!(wall_clock(time, 0, 100), clock, "{time:?}");
        }
        let time = Time { origin: TimeOrigin::Before(10_000_000, 1000), ..Time::default() };
        let shown = |seed| match wall_clock(time, seed, 100) {
            WallClock::Later(later) => later + 100,
            other => panic!("{other:?}"),
        };
        assert!((0..100).all(|seed| (9_000_000..=10_000_000).contains(&shown(seed))));
        assert_ne!(shown(1), shown(2));
    }

    #[test]
    fn the_library_reads_its_settings_where_the_plan_shows_them() {
        let library = include_str!("library/state.rs");
        let path = crate::plan::SETTINGS_PATH;
        assert!(library.contains(&format!("const PATH: &CStr = c\"{path}\";")), "{path}");
    }
}
