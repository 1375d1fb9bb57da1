//! Sources of values: flags, the environment, overrides and profiles.

use std::fmt;

use crate::cli::Values;

/// Source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// A variable `ISOTEST_*`.
    Environment,
    /// An override.
    Override {
        /// Its place among those of its profile, 1 being the first.
        number: usize,
        /// The name of its profile.
        profile: String,
        /// Its file and line.
        place: String,
        /// Its filter expression.
        filter: String,
        /// Reason for its grants.
        reason: Option<String>,
    },
    /// A profile.
    Profile {
        /// Its name.
        name: String,
        /// Its file and line.
        place: String,
        /// Reason for its grants.
        reason: Option<String>,
    },
}

/// Values of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The place.
    pub origin: Origin,
    /// Its values.
    pub values: Values,
    /// Names of services and of setup commands that it asks for.
    pub services: Vec<String>,
    pub setup: Vec<String>,
}

impl Source {
    pub(super) fn typed(origin: Origin, values: Values) -> Source {
        Source { origin, values, services: Vec::new(), setup: Vec::new() }
    }
}

impl Source {
    /// True if the configuration grants tests more of the host here, and gives a reason.
    pub fn grants(&self) -> bool {
        match self.origin {
            Origin::Flag | Origin::Environment => false,
            Origin::Override { .. } | Origin::Profile { .. } => {
                !self.values.layers.grants().is_empty()
            }
        }
    }
}

/// Values of these sources in order of precedence.
pub fn merged(sources: &[&Source]) -> Values {
    let last = Values::default();
    sources.iter().rev().fold(last, |lower, source| source.values.over(lower))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Origin::Flag => return write!(f, "flag"),
            Origin::Environment => return write!(f, "environment"),
            Origin::Override { number, profile, place, reason, .. } => {
                write!(f, "override {number} of profile `{profile}` ({place})")?;
                reason
            }
            Origin::Profile { name, place, reason } => {
                write!(f, "profile `{name}` ({place})")?;
                reason
            }
        };
        match reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}
