//! Variables of the caller that a failed test may have missed.
//!
//! Most of the withheld variables matter to no test, and a CI system sets a hundred. Those come
//! first whose names are in the programs of failed tests, as the name of a variable that a program
//! reads is.

use std::path::Path;

use isotest_core::policy::Policy;
use isotest_core::untrusted;
use isotest_core::word_search::search;

use crate::config::machine::Machine;
use crate::report::Withheld;
use crate::sandbox::environment;

/// Prefixes of what CI systems set: told of where a program has the name, and only then.
const SYSTEMS: [&str; 12] = [
    "ACTIONS_",
    "AGENT_",
    "ANDROID_",
    "BUILDKITE_",
    "CHROME",
    "CIRCLE_",
    "CI_",
    "GITHUB_",
    "GITLAB_",
    "GOROOT_",
    "JAVA_HOME_",
    "RUNNER_",
];

/// The names of variables that are set and reach no test of this policy: those that stand in one of
/// these programs, and the others.
pub fn withheld(machine: &Machine, policy: &Policy, programs: &[&Path]) -> Withheld {
    let names = environment::withheld(&machine.variables, policy);
    let mut found = vec![false; names.len()];
    if !names.is_empty() {
        for program in programs {
            // One that cannot be read has been run, and has nothing to say here.
            let _ =
                untrusted::file(program).and_then(|mut file| search(&mut file, &names, &mut found));
        }
    }
    let is_systems = |name: &str| SYSTEMS.iter().any(|prefix| name.starts_with(prefix));
    let mut withheld = Withheld::default();
    for (name, found) in names.into_iter().zip(found) {
        match found {
            true => withheld.named.push(name.to_owned()),
            false if is_systems(name) => {}
            false => withheld.others.push(name.to_owned()),
        }
    }
    withheld
}
