//! The way from runs to an answer, as a function of the runs so far.

use std::collections::BTreeSet;

use super::attribution::{Attribution, Cause, Phase, Verdict};
use super::proof;
use super::rate::CONFIDENCE;
use super::record::{Key, Record, Setting, Wait, most_frequent};

/// Runs of the baseline after which a test that fails in 1 % of them would have failed.
const NEVER: usize = 299;

/// What is known at the point where the procedure waits or ends.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    pub phase: Phase,
    pub causes: Vec<Cause>,
    /// Hypotheses that are not decided.
    pub left: Vec<BTreeSet<usize>>,
    /// Runs that would probably decide them.
    pub needed: u64,
    /// The failure that is looked for.
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

pub(super) struct Procedure<'a> {
    pub record: &'a mut Record,
    pub notes: Notes,
}

impl<'a> Procedure<'a> {
    pub fn new(record: &'a mut Record) -> Procedure<'a> {
        Procedure { record, notes: Notes::default() }
    }

    pub fn diagnose(&mut self) -> Result<Verdict, Wait> {
        let private = Key { stage: 0, setting: Setting::default() };
        self.notes.phase = Phase::Baseline;
        self.record.ask(&[(&private, 8)])?;
        let failures = |record: &Record, count| {
            record.first(&private, count).filter(|run| run.failure.is_some()).count()
        };
        if failures(self.record, 8) == 8 {
            return Ok(Verdict::AlwaysFails);
        }
        self.record.ask(&[(&private, NEVER)])?;
        self.notes.fingerprint = most_frequent(self.record.first(&private, NEVER));
        if failures(self.record, NEVER) > 0 {
            return Ok(Verdict::Unattributed);
        }
        Ok(Verdict::NeverFailed { bound: proof::bound(NEVER as u32, CONFIDENCE) })
    }
}

impl Notes {
    pub fn concluded(&self, verdict: Verdict, record: &Record) -> Attribution {
        let fingerprint = self.fingerprint.or_else(|| record.fingerprint());
        Attribution {
            verdict,
            causes: self.causes.clone(),
            arms: record.arms(fingerprint),
            baseline: record.rate(&Setting::default(), fingerprint),
            fingerprint,
            runs: record.runs,
        }
    }

    pub fn stopped(&self, record: &Record) -> Attribution {
        let baseline = record.rate(&Setting::default(), None);
        let verdict = if !self.causes.is_empty() {
            Verdict::Caused
        } else if record.failures == 0 {
            Verdict::NeverFailed { bound: proof::bound(baseline.runs, CONFIDENCE) }
        } else {
            Verdict::Undecided { left: self.left.clone(), needed: self.needed }
        };
        self.concluded(verdict, record)
    }
}
