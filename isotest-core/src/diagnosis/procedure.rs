//! The way from runs to an answer, as a function of the runs so far.
//!
//! The diagnosis goes in rounds, each with more runs of every arm than the one before, until one round
//! ends with a cause, or with none after the last. What stands out in a round is explained: see
//! `explain` for switches, `chance` for seeds.

use std::collections::BTreeSet;

use super::attribution::{ArmRate, Cause, Verdict};
use super::notes::Notes;
use super::odds::Odds;
use super::proof;
use super::question::{Question, SwitchKind};
use super::rate::{CONFIDENCE, Count};
use super::record::{Record, Wait, most_frequent};
use super::setting::{Effect, Run, Setting};

/// Every decision waits for its outcomes with `?`.
pub(super) type Known<T> = Result<T, Wait>;

/// The first step of a round that is not over, and the claims before it. None of the steps before it
/// found a cause, so that they need not be gone through again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reached {
    pub round: usize,
    pub step: usize,
    pub claims: u32,
}

/// The logarithm of a ratio of likelihoods, from which on the difference of two rates is looked into.
pub(super) const NOTICEABLE: f64 = 3.0;

pub(super) struct Procedure<'a> {
    pub question: &'a Question,
    pub record: &'a mut Record,
    pub notes: Notes,
    pub reached: Reached,
    /// Claims that were to be confirmed so far. Each has a stage of its own.
    pub claims: u32,
    /// The test never failed alone.
    pub is_clean: bool,
}

impl<'a> Procedure<'a> {
    /// The procedure from what it has reached before.
    pub fn new(question: &'a Question, record: &'a mut Record, reached: Reached) -> Procedure<'a> {
        let notes = Notes::default();
        Procedure { question, record, notes, reached, claims: reached.claims, is_clean: true }
    }

    /// The switches of a kind.
    pub fn switches(&self, kind: SwitchKind) -> BTreeSet<usize> {
        let switches = self.question.switches.iter().enumerate();
        switches.filter(|(_, switch)| switch.kind == kind).map(|(index, _)| index).collect()
    }

    /// The switch changes something that no other process shares.
    pub fn takes_effect_by_itself(&self, switch: usize) -> bool {
        match self.question.switches[switch].kind {
            SwitchKind::Perturbation | SwitchKind::Determinism => true,
            SwitchKind::Shared
            | SwitchKind::Host
            | SwitchKind::Together
            | SwitchKind::Amplifier => false,
        }
    }

    /// All companions.
    pub fn companions(&self) -> BTreeSet<usize> {
        (0..self.question.companions).collect()
    }

    /// Waits for so many runs of each setting.
    pub fn ask(&mut self, wanted: &[(Setting, usize)]) -> Known<()> {
        self.record.ask(0, wanted)
    }

    /// The first runs of a setting that explored it.
    pub fn runs(&self, setting: &Setting, count: usize) -> impl Iterator<Item = Run> {
        self.record.first(0, setting, count)
    }

    /// The first runs of a setting, counted by their effect.
    pub fn count(&self, setting: &Setting, count: usize, effect: Effect) -> Count {
        Count::of(self.runs(setting, count).map(|run| effect.is_in(run)))
    }

    /// The failure to look for in an arm: that of the baseline, or the most frequent one of the arm.
    pub fn failure(&self, setting: &Setting, count: usize) -> Option<u64> {
        self.notes.fingerprint.or_else(|| most_frequent(self.runs(setting, count)))
    }

    /// Takes a cause to the notes.
    pub fn found(&mut self, cause: Cause) {
        self.notes.causes.push(cause);
    }

    /// The end of a diagnosis without a cause. Failures in other arms alone are too rare for an answer.
    pub fn nothing(&self, passed: Count) -> Verdict {
        if self.record.failures == self.record.runs {
            return Verdict::AlwaysFails;
        }
        if self.record.failures == 0 {
            return Verdict::NeverFailed { bound: proof::bound(passed.runs, CONFIDENCE) };
        }
        if passed.hits < passed.runs {
            return Verdict::Unattributed;
        }
        let failing: Vec<ArmRate> =
            self.record.arms(None).into_iter().filter(|arm| arm.other > 0).collect();
        let rates = failing.iter().map(|arm| f64::from(arm.other) / f64::from(arm.runs));
        let rate = rates.fold(0.0, f64::max);
        let left: BTreeSet<BTreeSet<usize>> = failing.into_iter().map(|arm| arm.arm.on).collect();
        let odds = Odds::of(Count { hits: 1, runs: (1.0 / rate) as u32 }, passed.misses(), false);
        let needed = 2.0 * self.pairs_to_confirm(odds);
        Verdict::Undecided { left: left.into_iter().collect(), needed: needed.ceil() as u64 }
    }
}
