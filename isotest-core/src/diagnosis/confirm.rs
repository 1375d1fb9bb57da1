//! Claims become causes: fresh runs of the arm with the effect and of the same arm without its cause,
//! in turn, until the evidence is enough or the effect is not what it seemed.

use std::collections::BTreeSet;

use super::attribution::{Cause, Direction, Phase};
use super::odds::Odds;
use super::pairs::{Pairs, pairs_needed};
use super::procedure::{Known, Procedure};
use super::rate::Count;
use super::record::arm_rate;
use super::setting::{Effect, Run, Setting};

/// All claims of a diagnosis together are wrong less than once in so many diagnoses.
const CERTAINTY: f64 = 1000.0;

/// The logarithm of the odds at which a claim is given up.
const HOPELESS: f64 = -5.0;

/// Rounds in which a claim is put off that takes longer than expected, or more pairs than this.
const EARLY: usize = 2;
const AFFORDABLE: f64 = 45.0;

/// Pairs of the first look.
const FIRST: usize = 6;

/// What is to be confirmed.
#[derive(Debug)]
pub(super) struct Claim {
    pub switches: BTreeSet<usize>,
    pub companions: BTreeSet<usize>,
    pub direction: Direction,
    /// The arm with the effect.
    pub with: Setting,
    /// Arms that do not have it. The first is the counterfactual that is reported.
    pub without: Vec<Setting>,
    pub effect: Effect,
}

/// Runs of all arms of a claim.
struct Trial {
    with: Vec<Run>,
    without: Vec<Vec<Run>>,
}

impl Procedure<'_> {
    /// The cause that a claim states, if fresh runs bear it out.
    ///
    /// Claim number j has to reach j (j + 1) times the certainty: the sum of all these chances to be
    /// wrong is one in [`CERTAINTY`], however many claims there are.
    pub fn confirm(&mut self, claim: Claim, odds: Odds) -> Known<Option<Cause>> {
        // In an early round others have had few runs: one of them may show the failure more often.
        let is_early = self.is_clean && self.reached.round < EARLY && claim.companions.is_empty();
        if is_early && self.pairs_to_confirm(odds) > AFFORDABLE {
            return Ok(None);
        }
        self.claims += 1;
        let stage = self.claims;
        self.notes.phase = Phase::Confirmation;
        self.notes.left = vec![claim.switches.clone()];
        let threshold = threshold(stage);
        let expected = pairs_needed(odds.with, odds.without, threshold);
        let times = if is_early { 1.5 } else { 4.0 };
        let most = (times * expected + 16.0).min(1e6) as usize;
        let mut count = FIRST;
        while count <= most {
            self.notes.needed = 2 * (expected - count as f64).max(FIRST as f64) as u64;
            let trial = self.trial(&claim, stage, count)?;
            let evidence = trial.evidence(claim.effect);
            if evidence >= threshold.ln() {
                return Ok(Some(self.cause(claim, &trial, evidence.exp() / weight(stage))));
            }
            if trial.with.len() < count || trial.is_hopeless(claim.effect, odds) {
                break;
            }
            count += (count / 8).max(1);
        }
        Ok(None)
    }

    /// Pairs that a claim with these odds probably needs.
    pub fn pairs_to_confirm(&self, odds: Odds) -> f64 {
        pairs_needed(odds.with, odds.without, threshold(self.claims + 1))
    }

    fn trial(&mut self, claim: &Claim, stage: u32, count: usize) -> Known<Trial> {
        let mut wanted = vec![(claim.with.clone(), count)];
        wanted.extend(claim.without.iter().map(|setting| (setting.clone(), count)));
        self.record.ask(stage, &wanted)?;
        let of = |setting: &Setting| self.record.first(stage, setting, count).collect();
        Ok(Trial { with: of(&claim.with), without: claim.without.iter().map(of).collect() })
    }

    fn cause(&self, claim: Claim, trial: &Trial, certainty: f64) -> Cause {
        let counterfactual = (&claim.without[0], &trial.without[0]);
        let effect = (&claim.with, &trial.with);
        let (failing, clean) = match claim.effect {
            Effect::Failure(_) => (effect, counterfactual),
            Effect::Pass => (counterfactual, effect),
        };
        let fingerprint = match claim.effect {
            Effect::Failure(fingerprint) => Some(fingerprint),
            Effect::Pass => self.notes.fingerprint,
        };
        let rate = |(setting, runs): (&Setting, &Vec<Run>)| {
            arm_rate(setting, runs.iter().copied(), fingerprint)
        };
        let failed = |run: &&Run| run.failure.is_some() && run.failure == fingerprint;
        let is_latent = self.is_clean
            && claim.switches.iter().any(|switch| self.takes_effect_by_itself(*switch));
        let failing_seed = failing.1.iter().find(failed).map(|run| run.seed);
        Cause {
            switches: claim.switches,
            companions: claim.companions,
            cleaners: BTreeSet::new(),
            direction: claim.direction,
            fingerprint,
            failing: rate(failing),
            clean: rate(clean),
            failing_seed,
            certainty,
            is_latent,
        }
    }
}

impl Trial {
    /// The logarithm of the e-value against the arm that is hardest to tell from that with the effect.
    fn evidence(&self, effect: Effect) -> f64 {
        let of = |without: &Vec<Run>| {
            let with = self.with.iter().map(|run| effect.is_in(*run));
            let without = without.iter().map(|run| effect.is_in_counterfactual(*run));
            Pairs::of(with.zip(without)).evidence()
        };
        self.without.iter().map(of).fold(f64::INFINITY, f64::min)
    }

    /// One of the arms has the rate that the claim ascribes to the other.
    fn is_hopeless(&self, effect: Effect, odds: Odds) -> bool {
        let without = |runs: &Vec<Run>| {
            let hits = runs.iter().map(|run| effect.is_in_counterfactual(*run));
            -odds.weigh(Count::of(hits)) < HOPELESS
        };
        let with = self.with.iter().map(|run| effect.is_in(*run));
        odds.weigh(Count::of(with)) < HOPELESS || self.without.iter().any(without)
    }
}

fn threshold(claim: u32) -> f64 {
    CERTAINTY * weight(claim)
}

fn weight(claim: u32) -> f64 {
    f64::from(claim) * f64::from(claim + 1)
}
