//! The words by which another run is given the same build, but for what selects tests.

use std::ffi::OsString;

use super::command::RunCommand;
use super::libtest::RunIgnored;

/// The typed options that another run needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rerun {
    /// Packages that are built, as typed. Their features depend on all of them.
    pub packages: Vec<OsString>,
    /// True if this is one package by its name.
    pub one_package: bool,
    /// Their targets.
    pub targets: Vec<OsString>,
    /// Build options.
    pub build: Vec<OsString>,
    /// Flags of libtest without which no test of these names is run.
    pub behind: Vec<&'static str>,
}

impl Rerun {
    /// Options of a run.
    pub fn of(command: &RunCommand) -> Rerun {
        let (cargo, libtest) = (&command.cargo, &command.libtest);
        let ignored = match libtest.run_ignored {
            // What has failed runs again, ignored or not.
            RunIgnored::No if command.runs_failed() => Some("--include-ignored"),
            RunIgnored::No => None,
            RunIgnored::Only => Some("--ignored"),
            RunIgnored::Yes => Some("--include-ignored"),
        };
        let modes = [(libtest.bench, "--bench"), (libtest.test, "--test")];
        let modes = modes.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag);
        Rerun {
            packages: cargo.to_package_arguments(),
            one_package: cargo.names_one_package(),
            targets: cargo.to_target_arguments(),
            build: cargo.to_rerun_arguments(),
            behind: ignored.into_iter().chain(modes).collect(),
        }
    }
}
