//! Gates: what findings and failures of a case mean for the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::finding::Codes;
use isotest_core::outcome::{Gate, Proof, Quarantine};

use crate::config::{Baseline, Config};
use crate::report::{CaseState, Reporter};
use crate::select::selected::{Selected, case};

/// The gates of the selected cases.
#[derive(Debug, Default)]
pub struct Gates {
    /// The entries by which cases may fail.
    pub quarantine: BTreeMap<CaseIndex, Arc<Quarantine>>,
    /// New cases that have failed before this run.
    pub proofs: BTreeMap<CaseIndex, Arc<Proof>>,
}

impl Gates {
    /// The gate of a case for which these codes are denied, but for what the baseline has.
    pub fn of(
        &self,
        config: &Config,
        selected: &[Selected],
        index: CaseIndex,
        deny: Codes,
    ) -> Gate {
        let (binary, name) = (&selected[index.binary].binary.id, &case(selected, index).name);
        Gate {
            deny: deny.without(config.baseline.codes(binary, Some(name))),
            quarantine: self.quarantine.get(&index).cloned(),
            proof: self.proofs.get(&index).cloned(),
        }
    }

    /// The codes that are denied for a binary whose cases share a sandbox: which case has a finding
    /// is not known, so it must be denied for each.
    pub fn of_binary(config: &Config, binary: &str, deny: impl Iterator<Item = Codes>) -> Codes {
        let denied = deny.reduce(Codes::and).unwrap_or_default();
        denied.without(config.baseline.codes(binary, None))
    }
}

/// The entries of a baseline that no longer occur: their cases have ended without such a finding, in
/// every root filesystem.
pub fn gone(baseline: &Baseline, reporter: &Reporter) -> Vec<String> {
    let mut ended: BTreeMap<(&str, &str), Option<Codes>> = BTreeMap::new();
    for it in reporter.ended().filter(|it| it.case.ignore == Ignore::No) {
        let codes = match it.state {
            CaseState::Failed | CaseState::Passed => Some(it.codes),
            CaseState::NotEnded => None,
        };
        let known = ended.entry((&it.suite.id, &it.case.name)).or_insert(Some(Codes::default()));
        *known = known.zip(codes).map(|(known, codes)| known.iter().chain(codes.iter()).collect());
    }
    let gone = ended.into_iter().flat_map(|((binary, test), codes)| {
        let known = baseline.codes(binary, Some(test));
        let gone = codes.map_or(Codes::default(), |codes| known.without(codes));
        gone.iter().map(move |code| format!("{binary}::{test}: {code}")).collect::<Vec<_>>()
    });
    gone.collect()
}
