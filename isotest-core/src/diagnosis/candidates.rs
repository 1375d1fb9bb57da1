//! Candidates: the arms of a round that may stand out.

use std::collections::BTreeSet;

use super::effort::Effort;
use super::procedure::Procedure;
use super::question::SwitchKind;
use super::setting::{Effect, Setting};

/// An arm that may stand out.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) kind: Kind,
    /// What makes the effect of the switches visible, and has none by itself.
    pub(super) amplifier: BTreeSet<usize>,
    pub(super) switches: BTreeSet<usize>,
    pub(super) companions: BTreeSet<usize>,
    pub(super) runs: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Shared,
    Together,
    Host,
    /// A perturbation, or the sources of chance.
    Perturbation,
    /// Everything shared, under a perturbation.
    Crossed,
}

impl Procedure<'_> {
    /// The arms that differ most from the test alone.
    pub(super) fn sides(&self, runs: usize) -> Vec<Candidate> {
        let all = |kind| self.switches(kind);
        let suspects = self.question.suspects.clone();
        let with_suspects = match suspects.is_empty() {
            true => BTreeSet::new(),
            false => all(SwitchKind::Together),
        };
        let side = |kind, switches, companions| Candidate {
            kind,
            amplifier: BTreeSet::new(),
            switches,
            companions,
            runs,
        };
        let amplified = Candidate {
            amplifier: all(SwitchKind::Amplifier),
            ..side(Kind::Together, with_suspects, suspects)
        };
        let mut sides = vec![
            side(Kind::Shared, all(SwitchKind::Shared), self.companions()),
            amplified,
            side(Kind::Together, all(SwitchKind::Together), self.companions()),
            side(Kind::Host, all(SwitchKind::Host), BTreeSet::new()),
        ];
        sides.retain(|side| !side.switches.is_empty());
        sides
    }

    /// Those of which many runs are asked for, or those of which few are. What changes the timing at random
    /// shows its effect in some of the runs.
    pub(super) fn perturbations(&self, runs: usize, is_heavy: bool) -> Vec<Candidate> {
        const FEW: usize = 6;
        let all = self.switches(SwitchKind::Perturbation).into_iter();
        let runs_of = |switch: usize| match self.question.switches[switch].changes_timing {
            true if !is_heavy && runs < FEW => 2 * runs,
            _ => runs,
        };
        all.filter(|switch| runs > 0 && self.is_costly(*switch) == is_heavy)
            .map(|switch| Candidate {
                kind: Kind::Perturbation,
                amplifier: BTreeSet::new(),
                switches: BTreeSet::from([switch]),
                companions: BTreeSet::new(),
                runs: runs_of(switch),
            })
            .collect()
    }

    /// Perturbations with which the test has failed seldom, if at all, with as many runs as it takes to tell
    /// that from its rate alone.
    pub(super) fn removals(&self, effort: Effort, is_of_timing: bool) -> Vec<Candidate> {
        const MOST: f64 = 60.0;
        let passed = self.count(&Setting::default(), effort.baseline, Effect::Pass);
        let enough = (5.0 / (1.0 - passed.share())).min(MOST) as usize;
        let mut all = self.perturbations(effort.perturbation, false);
        all.extend(self.perturbations(effort.heavy_perturbation, true));
        // That a test passes on a slow machine says nothing of its cause.
        let is_load = |one: &Candidate| {
            one.switches.iter().any(|switch| self.question.switches[*switch].is_heavy)
        };
        // A quarter of the failures: what removes most of them is looked into as well.
        let enough_passes = 1.0 - (1.0 - passed.share()) / 4.0;
        let has_passed = |one: &Candidate| {
            self.count(&one.setting(), one.runs, Effect::Pass).share() >= enough_passes
        };
        let is_timing = |one: &Candidate| {
            one.switches.iter().all(|switch| self.question.switches[*switch].changes_timing)
        };
        all.retain(|one| !is_of_timing || is_timing(one));
        all.retain(|one| !is_load(one) && has_passed(one));
        all.iter_mut().for_each(|one| one.runs = one.runs.max(enough));
        all
    }

    pub(super) fn seeds_candidate(&self, effort: Effort) -> Option<Candidate> {
        let switches = self.switches(SwitchKind::Determinism);
        let is_one = !switches.is_empty() && effort.seeds > 0;
        let companions = BTreeSet::new();
        is_one.then_some(Candidate {
            kind: Kind::Perturbation,
            amplifier: BTreeSet::new(),
            switches,
            companions,
            runs: effort.seeds,
        })
    }

    pub(super) fn is_costly(&self, switch: usize) -> bool {
        let switch = &self.question.switches[switch];
        switch.is_heavy || switch.is_slow
    }

    pub(super) fn crossed(&self, effort: Effort) -> Vec<Candidate> {
        let mut crossed = Vec::new();
        let is_crossed = |side: &Candidate| side.kind != Kind::Host && side.amplifier.is_empty();
        for side in self.sides(0).into_iter().filter(is_crossed) {
            for switch in self.switches(SwitchKind::Perturbation) {
                if !self.question.switches[switch].changes_timing {
                    continue;
                }
                let runs =
                    if self.is_costly(switch) { effort.heavy_crossed } else { effort.crossed };
                let mut candidate = Candidate { kind: Kind::Crossed, runs, ..side.clone() };
                candidate.switches.insert(switch);
                crossed.extend((runs > 0).then_some(candidate));
            }
        }
        crossed
    }

    /// Arms in which the test has failed too seldom for an answer, with more runs.
    pub(super) fn rare(&self, effort: Effort) -> Vec<Candidate> {
        const TIMES: usize = 4;
        let mut all = self.sides(effort.sides);
        all.extend(self.perturbations(effort.perturbation, false));
        all.extend(self.perturbations(effort.heavy_perturbation, true));
        all.extend(self.crossed(effort));
        let has_failed =
            |one: &Candidate| self.count(&one.setting(), one.runs, Effect::Pass).share() < 1.0;
        all.retain(has_failed);
        all.iter_mut().for_each(|one| one.runs *= TIMES);
        all
    }
}

impl Candidate {
    pub(super) fn setting(&self) -> Setting {
        let base = Setting::default().with(&self.amplifier);
        base.with(&self.switches).beside(&self.companions)
    }

    pub(super) fn wanted(&self) -> (Setting, usize) {
        (self.setting(), self.runs)
    }
}
