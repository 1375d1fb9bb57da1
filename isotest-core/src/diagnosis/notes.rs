//! What a diagnosis knows at the point where it waits, is stopped or ends.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::attribution::{Attribution, Cause, Phase, Verdict};
use super::proof;
use super::rate::CONFIDENCE;
use super::record::Record;
use super::setting::Setting;

#[derive(Debug, Clone)]
pub(super) struct Notes {
    pub phase: Phase,
    pub causes: Vec<Cause>,
    /// Hypotheses that are not decided.
    pub left: Vec<BTreeSet<usize>>,
    /// Runs that would probably decide them.
    pub needed: u64,
    /// The failure of the baseline, which is looked for.
    pub fingerprint: Option<u64>,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes {
            phase: Phase::Preflight,
            causes: Vec::new(),
            left: Vec::new(),
            needed: 0,
            fingerprint: None,
        }
    }
}

impl Notes {
    /// The end of a diagnosis with its answer.
    pub fn concluded(&self, verdict: Verdict, record: &Record) -> Attribution {
        let fingerprint = self.fingerprint.or_else(|| record.fingerprint());
        let mut causes = self.causes.clone();
        causes.sort_by(by_weight);
        Attribution {
            verdict,
            causes,
            arms: record.arms(fingerprint),
            baseline: record.rate(&Setting::default(), fingerprint),
            fingerprint,
            runs: record.runs,
        }
    }

    /// The end of a diagnosis that may make no more runs.
    pub fn stopped(&self, record: &Record) -> Attribution {
        let verdict = if !self.causes.is_empty() {
            Verdict::Caused
        } else if record.failures == 0 {
            let baseline = record.rate(&Setting::default(), None);
            Verdict::NeverFailed { bound: proof::bound(baseline.runs, CONFIDENCE) }
        } else {
            Verdict::Undecided { left: self.left.clone(), needed: self.needed }
        };
        self.concluded(verdict, record)
    }
}

/// Causes of failures that were seen without a perturbation come first, then the strongest.
fn by_weight(cause: &Cause, other: &Cause) -> Ordering {
    let strength = |cause: &Cause| cause.failing.low - cause.clean.high;
    let latent = cause.is_latent.cmp(&other.is_latent);
    latent.then(strength(other).total_cmp(&strength(cause)))
}
