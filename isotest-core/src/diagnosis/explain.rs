//! From an arm in which an effect shows to the smallest set of switches and companions that has it.

use std::collections::BTreeSet;
use std::slice;

use super::attribution::{Cause, Phase};
use super::confirm::Claim;
use super::minimise::Minimise;
use super::odds::Odds;
use super::procedure::{Known, NOTICEABLE, Procedure};
use super::question::SwitchKind;
use super::rate::Count;
use super::setting::{Contrast, Effect, Setting};

/// Runs of each side before the rates are taken to be known.
const FIRST: usize = 6;

/// Most runs of the other side that show that it is free of the effect.
const GATE: f64 = 300.0;

/// Most pairs of runs that a difference between two rates is worth, neither of them zero. A smaller
/// difference is looked into by a later round, which knows the rates better.
const BEARABLE: f64 = 150.0;

/// Runs that show whether a rare failure happens without the perturbation that makes it frequent.
const RARE: usize = 60;

/// Runs of the test without companions that are made before companions are looked for.
const AFFORDABLE: f64 = 60.0;

/// Runs of one arm after which a test of odds gives up, as a multiple of those without a hit that
/// would have decided it: its rate lies between the two.
const PATIENCE: f64 = 6.0;

/// An arm with an effect, and what is known of the rates.
struct Search {
    contrast: Contrast,
    with: Count,
    without: Count,
    is_strict: bool,
}

impl Search {
    fn odds(&self) -> Odds {
        Odds::of(self.with, self.without, self.is_strict)
    }
}

impl Procedure<'_> {
    /// The cause of a contrast, if there is one that can be confirmed. What has halved wrongly is
    /// halved once more, with more runs.
    pub fn explain(&mut self, contrast: Contrast) -> Known<Option<Cause>> {
        for is_strict in [false, true] {
            let Some(mut search) = self.search(contrast.clone(), is_strict)? else { break };
            let switches = self.smallest_switches(&mut search)?;
            let companions = self.smallest_companions(&mut search, &switches)?;
            let whole = search.contrast.switches.len() + search.contrast.companions.len();
            let claim = self.claim(&search, &switches, &companions)?;
            if let Some(mut cause) = self.confirm(claim, search.odds())? {
                cause.cleaners = self.cleaners(&search, &cause)?;
                return Ok(Some(cause));
            }
            if whole <= 1 {
                break;
            }
        }
        Ok(None)
    }

    /// One process shares every layer. Where sharing the layers between processes is enough, the
    /// contrast is that one.
    pub fn rather_shared(&mut self, contrast: Contrast) -> Known<Contrast> {
        let (together, shared) =
            (self.switches(SwitchKind::Together), self.switches(SwitchKind::Shared));
        if shared.is_empty() || contrast.switches.is_disjoint(&together) {
            return Ok(contrast);
        }
        // What one process adds is claimed only where sharing layers was given every chance.
        let Some(mut search) = self.search(contrast.clone(), true)? else { return Ok(contrast) };
        let mut rather = contrast.clone();
        rather.switches.retain(|switch| !together.contains(switch));
        rather.switches.extend(shared);
        let is_enough = self.first_with_effect(&mut search, &[rather.whole()])?.is_some();
        Ok(if is_enough { rather } else { contrast })
    }

    /// The rates of both sides, once they are known well enough to be told apart; `None` if they are
    /// not different after all.
    fn search(&mut self, contrast: Contrast, is_strict: bool) -> Known<Option<Search>> {
        self.notes.phase = Phase::Halving;
        self.notes.left =
            contrast.switches.iter().map(|switch| BTreeSet::from([*switch])).collect();
        let whole = contrast.whole();
        let (known, of_base) = contrast.seen;
        let (known, of_base) = (known.max(FIRST), of_base.max(FIRST));
        self.ask(&[(whole.clone(), known), (contrast.base.clone(), of_base)])?;
        let with = self.count(&whole, known, contrast.effect);
        if with.hits == 0 {
            return Ok(None);
        }
        let gate = (3.0 / with.quantile(0.1)).min(GATE).ceil() as usize;
        let gate = gate.max(of_base);
        self.ask(&[(contrast.base.clone(), gate)])?;
        let without = self.count(&contrast.base, gate, contrast.effect);
        let search = Search { contrast, with, without, is_strict };
        let is_less = without.share() < with.share();
        let is_clear = without.hits == 0 || with.difference(without) >= NOTICEABLE;
        self.estimate(&search, 1);
        let is_bearable = without.hits == 0 || self.pairs_to_confirm(search.odds()) <= BEARABLE;
        let is_worth_it = is_less && is_clear && is_bearable && search.odds().are_apart();
        Ok(is_worth_it.then_some(search))
    }

    /// Notes how many runs are probably needed from here on.
    fn estimate(&mut self, search: &Search, undecided: usize) {
        let odds = search.odds();
        let halvings = f64::from(usize::BITS - undecided.leading_zeros());
        let companions = search.contrast.companions.len();
        let parties = f64::from(usize::BITS - companions.leading_zeros());
        let pairs = (halvings + parties) * odds.pairs() + self.pairs_to_confirm(odds);
        self.notes.needed = (2.0 * pairs).ceil() as u64;
    }

    fn smallest_switches(&mut self, search: &mut Search) -> Known<BTreeSet<usize>> {
        let beside = search.contrast.base.beside(&search.contrast.companions);
        let whole = search.contrast.switches.clone();
        self.smallest(search, &whole, |set| beside.with(set))
    }

    /// The smallest set of companions with which these switches have the effect, which may be empty.
    fn smallest_companions(
        &mut self,
        search: &mut Search,
        switches: &BTreeSet<usize>,
    ) -> Known<BTreeSet<usize>> {
        self.notes.phase = Phase::OtherParty;
        self.notes.left = vec![switches.clone()];
        let alone = search.contrast.base.with(switches);
        let whole = search.contrast.companions.clone();
        if whole.is_empty() {
            return Ok(whole);
        }
        // A companion that does nothing is also seen when it is to be confirmed.
        let is_cheap = search.is_strict || search.odds().runs_without() < AFFORDABLE;
        if is_cheap && self.first_with_effect(search, slice::from_ref(&alone))?.is_some() {
            return Ok(BTreeSet::new());
        }
        self.smallest(search, &whole, |set| alone.beside(set))
    }

    /// Delta debugging. While a set is halved, both halves run in turn.
    fn smallest(
        &mut self,
        search: &mut Search,
        whole: &BTreeSet<usize>,
        setting: impl Fn(&BTreeSet<usize>) -> Setting,
    ) -> Known<BTreeSet<usize>> {
        let mut sets = Minimise::new(whole);
        while let Some(set) = sets.next() {
            if self.notes.phase == Phase::Halving {
                let left = sets.result();
                self.notes.left = left.iter().map(|switch| BTreeSet::from([*switch])).collect();
            }
            self.estimate(search, sets.result().len());
            let mut settings = vec![setting(&set)];
            settings.extend(sets.other_half().map(|half| setting(&half)));
            let found = self.first_with_effect(search, &settings)?;
            for number in 0..settings.len() {
                sets.tell(found == Some(number));
                if found == Some(number) {
                    break;
                }
            }
        }
        Ok(sets.result())
    }

    /// The first of these settings, run in turn, of which enough runs show the effect; `None` once
    /// enough runs of each show that it does not have it.
    fn first_with_effect(
        &mut self,
        search: &mut Search,
        settings: &[Setting],
    ) -> Known<Option<usize>> {
        let odds = search.odds();
        let effect = search.contrast.effect;
        let most = (PATIENCE * odds.runs_without()).ceil().min(1e6) as usize;
        let mut count = (1.0 / odds.with).ceil().clamp(2.0, 16.0) as usize;
        loop {
            let wanted: Vec<_> = settings.iter().map(|setting| (setting.clone(), count)).collect();
            self.ask(&wanted)?;
            let is_last = count >= most;
            if let Some(found) = self.decide(odds, effect, settings, count, is_last) {
                if let Some(found) = found {
                    let more = self.count(&settings[found], count, effect);
                    search.with = search.with.and(more);
                }
                return Ok(found);
            }
            count += (count / 4).max(1);
        }
    }

    /// Which of these settings has the effect after so many runs, or that none has; `None` if they are
    /// too few. Of two, one may be decided against the other; where both have the effect or none has,
    /// each is decided by itself.
    fn decide(
        &self,
        odds: Odds,
        effect: Effect,
        settings: &[Setting],
        count: usize,
        is_last: bool,
    ) -> Option<Option<usize>> {
        let hits = |setting| self.runs(setting, count).map(|run| effect.is_in(run));
        if let [first, second] = settings {
            let found = odds.decide_between(hits(first).zip(hits(second)));
            if found.is_some() {
                return Some(found);
            }
        }
        let decisions = settings.iter().map(|setting| {
            let is_over = is_last || self.runs(setting, count).count() < count;
            odds.decide(hits(setting)).or(is_over.then_some(false))
        });
        let decisions: Vec<Option<bool>> = decisions.collect();
        let found = decisions.iter().position(|decision| *decision == Some(true));
        (found.is_some() || decisions.iter().all(Option::is_some)).then_some(found)
    }

    /// What is to be confirmed: the smallest arm against the same without its switches, and, where it
    /// has companions, against the same without them.
    fn claim(
        &mut self,
        search: &Search,
        switches: &BTreeSet<usize>,
        companions: &BTreeSet<usize>,
    ) -> Known<Claim> {
        let amplifier = self.amplifier(search, switches, companions)?;
        let base = search.contrast.base.with(&amplifier);
        let mut without = vec![base.beside(companions)];
        if !companions.is_empty() {
            without.push(base.with(switches));
        }
        Ok(Claim {
            switches: switches - &amplifier,
            companions: companions.clone(),
            direction: search.contrast.effect.direction(),
            with: base.with(switches).beside(companions),
            without,
            effect: search.contrast.effect,
        })
    }

    /// Perturbations of these switches without which the others have the effect as well, though more
    /// rarely: the test depends on a shared layer, and the perturbation only makes that show.
    fn amplifier(
        &mut self,
        search: &Search,
        switches: &BTreeSet<usize>,
        companions: &BTreeSet<usize>,
    ) -> Known<BTreeSet<usize>> {
        let by_itself = |switch: &&usize| self.takes_effect_by_itself(**switch);
        let perturbations: BTreeSet<usize> = switches.iter().filter(by_itself).copied().collect();
        let others = switches - &perturbations;
        if perturbations.is_empty() || others.is_empty() {
            return Ok(BTreeSet::new());
        }
        let setting = search.contrast.base.with(&others).beside(companions);
        for count in [RARE / 3, 2 * RARE / 3, RARE] {
            self.ask(&[(setting.clone(), count)])?;
            if self.count(&setting, count, search.contrast.effect).hits > 0 {
                return Ok(perturbations);
            }
        }
        Ok(BTreeSet::new())
    }

    /// Companions that prevent a failure that their absence makes certain. They are looked for only
    /// where all companions together failed less often than the other parties alone.
    fn cleaners(&mut self, search: &Search, cause: &Cause) -> Known<BTreeSet<usize>> {
        let mut cleaners = BTreeSet::new();
        let with_all =
            search.contrast.base.with(&cause.switches).beside(&search.contrast.companions);
        let Effect::Failure(_) = search.contrast.effect else { return Ok(cleaners) };
        if cause.companions.is_empty() || cause.failing.failed < cause.failing.runs {
            return Ok(cleaners);
        }
        let known = search.contrast.seen.0.max(FIRST);
        self.ask(&[(with_all.clone(), known)])?;
        let together = self.count(&with_all, known, search.contrast.effect);
        if together.hits == together.runs {
            return Ok(cleaners);
        }
        let failing = Setting { arm: cause.failing.arm.clone(), seed: cause.failing.seed };
        let others: Vec<usize> =
            search.contrast.companions.difference(&cause.companions).copied().collect();
        let beside = |other: &usize| failing.beside(&BTreeSet::from([*other]));
        self.ask(&others.iter().map(|other| (beside(other), FIRST)).collect::<Vec<_>>())?;
        for other in others {
            let count = self.count(&beside(&other), FIRST, search.contrast.effect);
            if count.hits == 0 && count.runs == FIRST as u32 {
                cleaners.insert(other);
            }
        }
        Ok(cleaners)
    }
}
