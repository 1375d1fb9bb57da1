//! Rounds of runs in many arms, and what stands out in them.

use std::collections::BTreeSet;

use super::attribution::{Direction, Phase, Verdict};
use super::candidates::{Candidate, Kind};
use super::effort::{ALWAYS_FAILS, Effort, FAILS_SOMETIMES, NEVER_FAILS, Nature, Step, steps};
use super::procedure::{Known, NOTICEABLE, Procedure, Reached};
use super::question::SwitchKind;
use super::rate::Count;
use super::setting::{Contrast, Effect, Setting};

/// Runs under a load that come before a rare failure among other tests is put down to these.
const LOADED: usize = 3;

/// Seeds that are tried where a failure was seen that is too rare for a round.
const RARE_SEEDS: usize = 1000;

/// An arm that stands out.
struct Standing {
    candidate: Candidate,
    effect: Effect,
    score: f64,
}

impl Procedure<'_> {
    /// The whole diagnosis, from where no cause was found up to.
    pub fn diagnose(&mut self) -> Known<Verdict> {
        for round in self.reached.round..NEVER_FAILS.len() {
            let (nature, effort) = self.nature(round)?;
            for step in &steps(nature, round)[self.reached.step..] {
                self.step(*step, nature, effort)?;
                if !self.notes.causes.is_empty() {
                    return Ok(Verdict::Caused);
                }
                let step = self.reached.step + 1;
                self.reached = Reached { round, step, claims: self.claims };
            }
            if self.is_enough(nature, effort, round) {
                return self.last_resort(nature, effort);
            }
            self.reached = Reached { round: round + 1, step: 0, claims: self.claims };
        }
        unreachable!("the last round is enough")
    }

    fn step(&mut self, step: Step, nature: Nature, effort: Effort) -> Known<()> {
        let candidates = match step {
            Step::Seeds => return self.explain_seeds(effort.seeds),
            Step::Sides => {
                let mut sides = self.sides(effort.sides);
                if nature == Nature::NeverFails && self.is_sometimes_seen(&sides) {
                    // Other tests are a load, too: a test that fails under any is not theirs.
                    sides.extend(self.perturbations(LOADED, true));
                }
                sides
            }
            Step::Perturbations => {
                let mut light = self.perturbations(effort.perturbation, false);
                light.extend(self.seeds_candidate(effort));
                light
            }
            Step::HeavyPerturbations => self.perturbations(effort.heavy_perturbation, true),
            Step::Removals(is_of_timing) => self.removals(effort, is_of_timing),
            Step::Crossed => self.crossed(effort),
        };
        let is_removal_enough = nature == Nature::AlwaysFails || matches!(step, Step::Removals(_));
        self.explain_all(nature, effort, candidates, is_removal_enough)
    }

    /// How the test behaves alone, and the runs of this round that follow.
    fn nature(&mut self, round: usize) -> Known<(Nature, Effort)> {
        self.notes.phase = if round == 0 { Phase::Preflight } else { Phase::Baseline };
        let mut effort = NEVER_FAILS[round];
        let baseline = (Setting::default(), effort.baseline);
        let mut wanted: Vec<_> = self.sides(effort.sides).iter().map(Candidate::wanted).collect();
        wanted.insert(0, baseline.clone());
        self.ask(&wanted)?;
        let nature = self.nature_in(effort.baseline);
        self.is_clean = nature == Nature::NeverFails;
        match nature {
            Nature::NeverFails => return Ok((nature, effort)),
            Nature::FailsSometimes => effort = FAILS_SOMETIMES[round],
            Nature::AlwaysFails => effort = ALWAYS_FAILS[round.min(ALWAYS_FAILS.len() - 1)],
        }
        self.notes.phase = Phase::Baseline;
        effort.baseline = effort.baseline.max(baseline.1);
        self.ask(&[(Setting::default(), effort.baseline)])?;
        self.notes.fingerprint = self.failure(&Setting::default(), effort.baseline);
        let nature = self.nature_in(effort.baseline);
        if nature == Nature::FailsSometimes {
            effort = Effort { baseline: effort.baseline, ..FAILS_SOMETIMES[round] };
        }
        Ok((nature, effort))
    }

    fn nature_in(&self, runs: usize) -> Nature {
        let passed = self.count(&Setting::default(), runs, Effect::Pass);
        match passed.hits {
            passes if passes == passed.runs => Nature::NeverFails,
            0 => Nature::AlwaysFails,
            _ => Nature::FailsSometimes,
        }
    }

    /// More rounds would show nothing that this one has not shown.
    fn is_enough(&self, nature: Nature, effort: Effort, round: usize) -> bool {
        let failed = 1.0 - self.count(&Setting::default(), effort.baseline, Effect::Pass).share();
        match nature {
            Nature::NeverFails => round + 1 == NEVER_FAILS.len(),
            Nature::AlwaysFails => round + 1 >= ALWAYS_FAILS.len(),
            Nature::FailsSometimes => {
                let rare = failed.min(1.0 - failed);
                let rounds = if rare > 0.15 {
                    3
                } else if rare > 0.05 {
                    4
                } else {
                    5
                };
                round + 1 >= rounds
            }
        }
    }

    /// Nothing provokes the failure. One that was seen may be of a rare seed.
    fn last_resort(&mut self, nature: Nature, effort: Effort) -> Known<Verdict> {
        if nature == Nature::NeverFails && self.has_failed_alone() {
            self.explain_seeds(RARE_SEEDS)?;
        }
        if nature == Nature::NeverFails && self.notes.causes.is_empty() {
            let rare = self.rare(effort);
            self.explain_all(nature, effort, rare, false)?;
        }
        if !self.notes.causes.is_empty() {
            return Ok(Verdict::Caused);
        }
        Ok(self.nothing(self.count(&Setting::default(), effort.baseline, Effect::Pass)))
    }

    /// A run without companions has failed, in any arm.
    fn has_failed_alone(&self) -> bool {
        let arms = self.record.arms(None);
        arms.iter().any(|arm| arm.other > 0 && arm.arm.companions.is_empty())
    }

    /// The test has failed in one of these arms, and not nearly always in any.
    fn is_sometimes_seen(&self, sides: &[Candidate]) -> bool {
        let passed = sides.iter().map(|side| self.count(&side.setting(), side.runs, Effect::Pass));
        let mut failed = passed.filter(|passed| passed.hits < passed.runs).peekable();
        failed.peek().is_some() && failed.all(|passed| passed.share() > 0.2)
    }

    /// Explains every arm of these that stands out, the clearest first.
    fn explain_all(
        &mut self,
        nature: Nature,
        effort: Effort,
        candidates: Vec<Candidate>,
        is_removal_enough: bool,
    ) -> Known<()> {
        self.notes.phase = Phase::Sweep;
        let wanted: Vec<_> = candidates.iter().map(Candidate::wanted).collect();
        self.ask(&wanted)?;
        let mut standing = Vec::new();
        for candidate in candidates {
            standing.extend(self.standing(nature, effort, candidate)?);
        }
        let is_removal = |one: &Standing| one.effect == Effect::Pass;
        let is_perturbation = |one: &Standing| one.candidate.kind == Kind::Perturbation;
        standing.retain(|one| is_removal_enough || !(is_removal(one) && is_perturbation(one)));
        let is_weak: Vec<bool> = standing.iter().map(|one| self.is_weak(one, &standing)).collect();
        let mut standing: Vec<(bool, Standing)> = is_weak.into_iter().zip(standing).collect();
        standing.sort_by(|(is_weak, one), (is_other_weak, other)| {
            let removal = is_removal(one).cmp(&is_removal(other));
            let weak = is_weak.cmp(is_other_weak);
            // What helps without another party is the simpler reason.
            let helps = |one: &Standing| is_removal(one) && one.candidate.kind == Kind::Host;
            let kind = helps(other).cmp(&helps(one));
            let kind = kind.then(one.candidate.kind.cmp(&other.candidate.kind));
            removal.then(weak).then(kind).then(other.score.total_cmp(&one.score))
        });
        for (is_weak, one) in standing {
            if is_weak && !self.notes.causes.is_empty() {
                break;
            }
            self.explain_one(effort, one)?;
        }
        Ok(())
    }

    /// The test fails now and then in this arm among other tests, and nearly always under a load alone.
    fn is_weak(&self, one: &Standing, all: &[Standing]) -> bool {
        let share = |one: &Standing| {
            self.count(&one.candidate.setting(), one.candidate.runs, one.effect).share()
        };
        let is_loaded = |other: &Standing| {
            let mut switches = other.candidate.switches.iter();
            other.candidate.kind == Kind::Perturbation
                && switches.all(|switch| self.question.switches[*switch].is_heavy)
                && share(other) > 0.9
        };
        let is_side = matches!(one.candidate.kind, Kind::Shared | Kind::Together);
        is_side && share(one) < 0.8 && all.iter().any(is_loaded)
    }

    /// The arm, if the test fails more or less often in it. One failure where there was none asks for
    /// more runs.
    fn standing(
        &mut self,
        nature: Nature,
        effort: Effort,
        mut candidate: Candidate,
    ) -> Known<Option<Standing>> {
        let setting = candidate.setting();
        if nature != Nature::FailsSometimes {
            let failed = self.count(&setting, candidate.runs, Effect::Pass);
            let failed = failed.runs - failed.hits;
            let changed = if nature == Nature::NeverFails {
                failed
            } else {
                failed.abs_diff(candidate.runs as u32)
            };
            if changed == 1 {
                candidate.runs = 2 * candidate.runs + 4;
                self.ask(&[(setting.clone(), candidate.runs)])?;
            }
        }
        let Some(failure) = self.failure(&setting, candidate.runs) else { return Ok(None) };
        let effects: &[Effect] = match nature {
            Nature::NeverFails => &[Effect::Failure(failure)],
            Nature::AlwaysFails => &[Effect::Pass],
            Nature::FailsSometimes if candidate.kind == Kind::Perturbation => {
                &[Effect::Failure(failure), Effect::Pass]
            }
            // Beside others it is lost as seldom by their timing.
            Nature::FailsSometimes => &[Effect::Failure(failure)],
        };
        for effect in effects {
            let with = self.count(&setting, candidate.runs, *effect);
            let without = self.count(&Setting::default(), effort.baseline, *effect);
            let score = with.difference(without);
            if nature == Nature::FailsSometimes && self.is_shifted(&candidate, *effect, with) {
                continue;
            }
            if with.share() > without.share() && is_clear(with, without, score) {
                return Ok(Some(Standing { candidate, effect: *effect, score }));
            }
        }
        Ok(None)
    }

    /// Whatever is done to a test changes its timing a little, and with it how often a race is lost. What
    /// is no matter of timing, and the cause, makes it fail in most runs.
    fn is_shifted(&self, candidate: &Candidate, effect: Effect, with: Count) -> bool {
        let is_timing = |switch: &usize| self.question.switches[*switch].changes_timing;
        matches!(effect, Effect::Failure(_))
            && matches!(candidate.kind, Kind::Perturbation | Kind::Host)
            && !candidate.switches.iter().any(is_timing)
            && with.share() < 0.5
    }

    fn explain_one(&mut self, effort: Effort, standing: Standing) -> Known<()> {
        let Standing { candidate, effect, .. } = standing;
        let base = Setting::default().with(&candidate.amplifier);
        // An amplifier alone is no condition that was tried.
        let runs_of_base =
            if candidate.amplifier.is_empty() { effort.baseline } else { candidate.runs };
        if self.is_explained(&candidate.switches, effect) {
            return Ok(());
        }
        let contrast = Contrast {
            base,
            switches: candidate.switches.clone(),
            companions: candidate.companions.clone(),
            effect,
            seen: (candidate.runs, runs_of_base),
        };
        let contrast = self.rather_shared(contrast)?;
        if self.is_explained(&contrast.switches, effect) {
            return Ok(());
        }
        let Some(cause) = self.explain(contrast.clone())? else { return Ok(()) };
        let used = &cause.failing.arm.on | &cause.clean.arm.on;
        let rest: BTreeSet<usize> = &contrast.switches - &used;
        self.found(cause);
        self.explain_rest(contrast, rest)
    }

    /// A second cause among the switches that are none of the first.
    fn explain_rest(&mut self, mut contrast: Contrast, rest: BTreeSet<usize>) -> Known<()> {
        const RUNS: usize = 4;
        if rest.is_empty() {
            return Ok(());
        }
        contrast.switches = rest;
        contrast.seen.0 = RUNS;
        let whole = contrast.whole();
        self.ask(&[(whole.clone(), RUNS)])?;
        if let Effect::Failure(_) = contrast.effect {
            let Some(failure) = self.failure(&whole, RUNS) else { return Ok(()) };
            contrast.effect = Effect::Failure(failure);
        }
        if self.count(&whole, RUNS, contrast.effect).hits < 2 {
            return Ok(());
        }
        if let Some(cause) = self.explain(contrast)? {
            self.found(cause);
        }
        Ok(())
    }

    /// A cause is known that has the same effect in this arm. One process shares every layer.
    fn is_explained(&self, switches: &BTreeSet<usize>, effect: Effect) -> bool {
        let has = |set: &BTreeSet<usize>, kind| {
            set.iter().any(|switch| self.question.switches[*switch].kind == kind)
        };
        self.notes.causes.iter().any(|cause| {
            let is_same = match (effect, cause.direction) {
                (_, Direction::Determines) | (Effect::Pass, Direction::Removes) => true,
                (Effect::Failure(failure), Direction::Provokes) => {
                    cause.fingerprint == Some(failure)
                }
                (Effect::Failure(_), Direction::Removes) | (Effect::Pass, Direction::Provokes) => {
                    false
                }
            };
            let is_shared =
                has(switches, SwitchKind::Together) && has(&cause.switches, SwitchKind::Shared);
            // What removes a failure in another way is no second cause.
            let is_removed = effect == Effect::Pass && cause.direction == Direction::Removes;
            is_removed || is_same && (cause.switches.is_subset(switches) || is_shared)
        })
    }

    /// The outcome follows from the seed; and a second cause that shows while the seed is one with which
    /// the test passes.
    fn explain_seeds(&mut self, count: usize) -> Known<()> {
        let Some(all) = self.all_pinned(&Setting::default()) else { return Ok(()) };
        self.notes.phase = Phase::Sweep;
        let mut known = 0;
        while known < count {
            known = (known + 8.max(known / 2)).min(count);
            self.ask(&[(all.clone(), known)])?;
            let passed = self.count(&all, known, Effect::Pass);
            if passed.hits > 0 && passed.hits < passed.runs {
                break;
            }
        }
        let Some((cause, passing)) = self.explain_chance(&Setting::default(), known)? else {
            return Ok(());
        };
        self.found(cause);
        self.explain_beside(&passing)
    }

    /// Causes that show in a setting in which the test passes.
    fn explain_beside(&mut self, passing: &Setting) -> Known<()> {
        const RUNS: usize = 4;
        let together = self.switches(SwitchKind::Together);
        for side in self.sides(RUNS) {
            // Other threads ask for random numbers there: a seed means another outcome.
            if !side.switches.is_disjoint(&together) {
                continue;
            }
            let base = passing.with(&side.amplifier);
            let setting = base.with(&side.switches).beside(&side.companions);
            self.ask(&[(setting.clone(), RUNS), (passing.clone(), RUNS)])?;
            let Some(failure) = self.failure(&setting, RUNS) else { continue };
            let effect = Effect::Failure(failure);
            if self.count(&setting, RUNS, effect).hits < 2
                || self.is_explained(&side.switches, effect)
            {
                continue;
            }
            let contrast = Contrast {
                base,
                switches: side.switches,
                companions: side.companions,
                effect,
                seen: (RUNS, RUNS),
            };
            if let Some(cause) = self.explain(contrast)? {
                self.found(cause);
            }
        }
        Ok(())
    }
}

/// The rates differ by more than chance often makes them.
fn is_clear(with: Count, without: Count, score: f64) -> bool {
    if without.hits == 0 { with.hits >= 2 } else { score >= NOTICEABLE }
}
