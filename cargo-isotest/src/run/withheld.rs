//! Variables of the caller that a failed test may have missed.
//!
//! Most of the withheld variables matter to no test, and a CI system sets a hundred. Those come
//! first whose names are in the programs of failed tests, as the name of a variable that a program
//! reads is.

use std::io::{self, BufReader, Read};
use std::path::Path;

use isotest_core::policy::Policy;
use isotest_core::untrusted;

use crate::config::machine::Machine;
use crate::report::Withheld;
use crate::sandbox::environment;

/// Maximum bytes of a program that are read.
const MAX_BYTES: u64 = 256 << 20;

/// A shorter name stands in every program.
const MIN_NAME: usize = 4;

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
            let _ = untrusted::file(program).and_then(|file| search(file, &names, &mut found));
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

/// Notes which names stand in what is read.
pub fn search(program: impl Read, names: &[&str], found: &mut [bool]) -> io::Result<()> {
    let mut by_first: Vec<Vec<usize>> = vec![Vec::new(); 256];
    for (place, name) in names.iter().enumerate() {
        if name.len() >= MIN_NAME && !found[place] {
            by_first[usize::from(name.as_bytes()[0])].push(place);
        }
    }
    let longest = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let mut program = BufReader::new(program.take(MAX_BYTES));
    let (mut buffer, mut kept) = (vec![0; (1 << 20) + longest], 0);
    loop {
        let read = program.read(&mut buffer[kept..])?;
        let filled = &buffer[..kept + read];
        for (at, byte) in filled.iter().enumerate() {
            for &place in &by_first[usize::from(*byte)] {
                found[place] |= filled[at..].starts_with(names[place].as_bytes());
            }
        }
        if read == 0 {
            return Ok(());
        }
        // What may be the first part of a name.
        let rest = filled.len().saturating_sub(longest);
        kept = filled.len() - rest;
        buffer.copy_within(rest..rest + kept, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_it_stands() {
        let names = ["API_URL", "OTHER_URL", "ABC", "LAST_ONE"];
        let mut program = vec![b'x'; (1 << 20) - 3];
        program.extend_from_slice(b"API_URLcalled ABC\0");
        program.extend_from_slice(&vec![b'L'; 2 << 20]);
        program.extend_from_slice(b"LAST_ONE");
        let mut found = vec![false; names.len()];
        search(&*program, &names, &mut found).expect("memory can be read");
        assert_eq!(found, [true, false, false, true]);
    }
}
