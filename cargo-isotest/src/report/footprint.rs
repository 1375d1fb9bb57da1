//! What a traced case read, wrote, bound and looked at, in messages and records.

use std::collections::BTreeSet;

use isotest_core::trace::{Surrounding, Trace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of entries of a set.
const MOST: usize = 5_000;

/// Sets of a traced case. Paths are those that the case sees; an address has its transport before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct FootprintText {
    /// Files that it opened, listed, executed or looked up, and that were there.
    pub reads: Vec<String>,
    /// Paths that it looked up and that were missing.
    pub missing: Vec<String>,
    /// Paths that it made, wrote, changed or removed.
    pub writes: Vec<String>,
    /// Addresses that it bound or listened on.
    pub binds: Vec<String>,
    /// Addresses that it connected or sent to.
    pub dials: Vec<String>,
    /// Names that it asked a name server for.
    pub names: Vec<String>,
    /// Properties of its surroundings that it looked at: `entropy`, `zone`, `host-name`,
    /// `processors`, `clock`.
    pub surroundings: Vec<String>,
    /// Number of entries and events that were not kept.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// What the trace does not have, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<&Trace> for FootprintText {
    fn from(trace: &Trace) -> FootprintText {
        let footprint = trace.footprint();
        let mut left_out = trace.dropped;
        let mut set = |texts: Vec<String>| {
            left_out += texts.len().saturating_sub(MOST) as u64;
            texts.into_iter().take(MOST).collect::<Vec<_>>()
        };
        let texts = |set: BTreeSet<_>| set.iter().map(ToString::to_string).collect();
        FootprintText {
            reads: set(footprint.reads.into_iter().collect()),
            missing: set(footprint.missing.into_iter().collect()),
            writes: set(footprint.writes.into_iter().collect()),
            binds: set(texts(footprint.binds)),
            dials: set(texts(footprint.dials)),
            names: set(footprint.names.into_iter().collect()),
            surroundings: footprint.surroundings.iter().map(|it| word(*it).to_owned()).collect(),
            left_out,
            gaps: trace.gaps.iter().map(ToString::to_string).collect(),
        }
    }
}

fn word(surrounding: Surrounding) -> &'static str {
    match surrounding {
        Surrounding::Entropy => "entropy",
        Surrounding::Zone => "zone",
        Surrounding::HostName => "host-name",
        Surrounding::ProcessId => "process-id",
        Surrounding::Processors => "processors",
        Surrounding::Clock => "clock",
    }
}
