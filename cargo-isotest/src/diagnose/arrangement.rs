//! Arrangements: the tests and settings that a token names, found in this build.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use isotest_core::escape::escape;
use isotest_core::perturbation::Hold;
use isotest_core::policy::Policy;

use super::ground::Asked;
use super::investigate::HostArms;
use super::setting::Setting;
use super::token::Token;
use crate::run::context::Cases;
use crate::run::policies::Member;
use crate::run::traced::binary_hash;
use crate::select::selected::case;

/// A test with its companions, under settings.
#[derive(Debug, Clone)]
pub struct Arrangement {
    /// The test.
    pub test: Member,
    /// Its policy.
    pub policy: Policy,
    /// Its companions.
    pub companions: Vec<Member>,
    settings: BTreeSet<Setting>,
    holds: Vec<Hold>,
    is_after_itself: bool,
    hash: Option<String>,
}

/// A token that does not fit this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrangementError {
    /// A test of it is not there, or has another policy.
    NoTest(String),
    /// A setting of it is not known.
    NoSetting(String),
    /// It runs the test on this layer of the machine, which is not allowed.
    Host(&'static str),
}

impl fmt::Display for ArrangementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArrangementError::NoTest(test) => write!(
                f,
                "cannot find the test `{}`, which the token names\nhint: check out the commit of the \
                 token, or diagnose the test again",
                escape(test)
            ),
            ArrangementError::Host(layer) => write!(
                f,
                "cannot run the test of the token: it is to have the layer `{layer}` of this machine\n\
                 hint: `--host-arms always` allows it; the test can then change the machine"
            ),
            ArrangementError::NoSetting(name) => write!(
                f,
                "cannot read the token: it has the condition `{}`, which this isotest does not know\n\
                 hint: use the version of isotest that made it",
                escape(name)
            ),
        }
    }
}

impl std::error::Error for ArrangementError {}

impl Arrangement {
    /// The test alone, everything private.
    pub fn alone(test: Member, policy: Policy) -> Arrangement {
        Arrangement {
            test,
            policy,
            companions: Vec::new(),
            settings: BTreeSet::new(),
            holds: Vec::new(),
            is_after_itself: false,
            hash: None,
        }
    }

    /// What a token names, among these tests.
    pub fn of(
        token: &Token,
        groups: &[(Policy, Vec<Member>)],
        cases: Cases<'_>,
    ) -> Result<Arrangement, ArrangementError> {
        let wanted = (token.binary.clone(), token.test.clone());
        for (policy, members) in groups {
            if let Some(test) = members.iter().find(|member| names(cases, member) == wanted) {
                return Arrangement::under(token, test.clone(), policy.clone(), members, cases);
            }
        }
        Err(ArrangementError::NoTest(token.test.clone()))
    }

    /// This test under the settings of a token, with its companions among `others`.
    pub fn under(
        token: &Token,
        test: Member,
        policy: Policy,
        others: &[Member],
        cases: Cases<'_>,
    ) -> Result<Arrangement, ArrangementError> {
        let setting = |name: &String| {
            Setting::named(name).ok_or_else(|| ArrangementError::NoSetting(name.clone()))
        };
        let settings = token.settings.iter().map(setting).collect::<Result<_, _>>()?;
        let itself = (token.binary.clone(), token.test.clone());
        let named = token.companions.iter().filter(|it| **it != itself);
        let find = |wanted: &(String, String)| {
            let found = others.iter().find(|member| names(cases, member) == *wanted);
            found.cloned().ok_or_else(|| ArrangementError::NoTest(wanted.1.clone()))
        };
        Ok(Arrangement {
            test,
            policy,
            companions: named.map(find).collect::<Result<_, _>>()?,
            settings,
            holds: Vec::new(),
            is_after_itself: token.companions.contains(&itself),
            hash: Some(token.hash.clone()),
        })
    }

    /// The same, if it needs no layer of the machine or may have it. A token may come from somebody else.
    pub fn allowed(self, host: HostArms) -> Result<Arrangement, ArrangementError> {
        match layer_of_machine(&self.settings) {
            Some(layer) if host != HostArms::Always => Err(ArrangementError::Host(layer)),
            _ => Ok(self),
        }
    }

    /// The same with the waits of threads that the token has, in place of random ones. They name calls by
    /// their numbers, which another build need not have.
    pub fn with_waits(mut self, token: &Token, cases: Cases<'_>) -> io::Result<Arrangement> {
        if !token.holds.is_empty() && !self.is_other_build(cases)? {
            self.settings.remove(&Setting::Starved);
            self.holds = token.holds();
        }
        Ok(self)
    }

    /// One run of it.
    pub fn asked(&self, seed: u64) -> Asked {
        let mut companions: BTreeSet<usize> = (0..self.companions.len()).collect();
        if self.is_after_itself {
            companions.insert(self.companions.len());
        }
        let (settings, holds) = (self.settings.clone(), self.holds.clone());
        Asked { settings, companions, holds, ..Asked::alone(seed) }
    }

    /// True if the binary is not the one of the token.
    pub fn is_other_build(&self, cases: Cases<'_>) -> io::Result<bool> {
        let program = &cases.selected[self.test.index.binary].binary.executable;
        let hash = binary_hash(program.as_std_path())?;
        Ok(self.hash.as_ref().is_some_and(|known| *known != hash))
    }

    /// The id of the binary, and the name of the test.
    pub fn names(&self, cases: Cases<'_>) -> (String, String) {
        names(cases, &self.test)
    }

    /// Words for the settings.
    pub fn words(&self) -> String {
        match self.settings.is_empty() {
            true => "alone, everything private".to_owned(),
            false => self.settings.iter().map(Setting::words).collect::<Vec<_>>().join(" and "),
        }
    }
}

fn names(cases: Cases<'_>, member: &Member) -> (String, String) {
    let binary = &cases.selected[member.index.binary].binary;
    (binary.id.clone(), case(cases.selected, member.index).name.clone())
}

/// The first layer of the machine among settings.
fn layer_of_machine(settings: &BTreeSet<Setting>) -> Option<&'static str> {
    settings.iter().find_map(|setting| match setting {
        Setting::Host(layer) => Some(layer.name()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_the_machine_are_seen_in_settings_of_a_token() {
        let named = |names: &[&str]| names.iter().filter_map(|name| Setting::named(name)).collect();
        assert_eq!(layer_of_machine(&named(&["shared-net", "umask"])), None);
        assert_eq!(layer_of_machine(&named(&["umask", "host-home"])), Some("home"));
    }
}
