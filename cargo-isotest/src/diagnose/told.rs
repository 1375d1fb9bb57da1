//! An investigation in words: the causes with their meaning, the arms, the token.

use std::collections::BTreeSet;
use std::path::Path;

use isotest_core::diagnosis::{Arm, ArmRate, Cause, Direction, Verdict, proof};
use isotest_core::finding::Finding;

use super::absent::Absent;
use super::causes::{self, Known};
use super::facts::Facts;
use super::fingerprint::Failure;
use super::investigate::Investigation;
use super::lines::Lines;
use super::next_tools;
use super::places::place_of;
use super::setting::Setting;
use super::token::Token;
use super::waits::DecidingWaits;
use crate::discover::Binary;
use crate::report::{
    self, ArmPart, CauseCode, DIAGNOSIS_FORMAT, Diagnosed, DiagnosisVerdict, Effect, NamedTest,
    OtherParty, Rate, Skipped, ToldArm, ToldCause, ToldWait,
};
use crate::run::context::Cases;
use crate::run::policies::Member;
use crate::select::selected::case;

/// Confidence of the clean runs that `prove-fixed` makes.
pub const CONFIDENCE: f64 = 0.99;
/// The reason why layers of the machine are not tried.
const WITHHELD: &str =
    "the test reaches out of its sandbox: `--host-arms always` tries it all the same";
/// Number of arms of `Undecided` that are named.
const LEFT: usize = 4;

/// Everything that is told of an investigation.
pub fn tell(it: &Investigation, cases: Cases<'_>, test: &Member, hash: &str) -> Diagnosed {
    Telling { it, cases, test, hash }.tell()
}

struct Telling<'a> {
    it: &'a Investigation,
    cases: Cases<'a>,
    test: &'a Member,
    hash: &'a str,
}

impl Telling<'_> {
    fn tell(&self) -> Diagnosed {
        let attribution = &self.it.attribution;
        let fingerprint = attribution.fingerprint;
        let failure = fingerprint.and_then(|it| self.it.failures.get(&it));
        let causes = attribution.causes.iter().map(|cause| self.cause(cause, failure));
        let mut causes: Vec<ToldCause> = causes.collect();
        if let (Some(waits), Some(first)) = (&self.it.waits, causes.first_mut()) {
            (first.waits, first.waits_rate) = (self.waits(waits), Some(waits.rate));
        }
        causes.extend(self.it.absent.as_ref().map(|absent| self.missed(absent)));
        let causes = without_repetitions(causes);
        let answer = self.answer(&causes);
        let seen = self.best_seen();
        let clean_runs = seen.filter(|arm| arm.failed > 0).map(|arm| {
            let rate = f64::from(arm.failed) / f64::from(arm.runs);
            // The true rate may be the lowest of the interval.
            proof::runs_needed(arm.low.max(rate / 2.0), CONFIDENCE)
        });
        let clean_runs = clean_runs.flatten().map(u64::from);
        let (binary, name) = self.names(self.test);
        Diagnosed {
            format: DIAGNOSIS_FORMAT,
            binary,
            test: name,
            binary_hash: self.hash.to_owned(),
            verdict: answer.word(),
            cause: cause_of(&answer, &causes, &self.it.facts),
            other_party: causes.first().and_then(|it| it.other_party.as_ref()).and_then(party),
            layer: causes.first().map(|it| it.layer.clone()),
            answer,
            causes,
            rate: seen.map_or(rate(&attribution.baseline), rate),
            rate_of: seen.map_or_else(|| "alone".to_owned(), |arm| self.words(&arm.arm)),
            failure_at: failure.map(|it| it.place.clone()).filter(|place| !place.is_empty()),
            failure: failure.map(|it| it.message.clone()),
            findings: self.findings(),
            arms: attribution.arms.iter().map(|arm| self.arm(arm)).collect(),
            skipped: self.skipped(),
            runs: self.it.runs,
            seconds: self.it.took.as_secs_f64(),
            runs_per_second: self.it.throughput,
            token: self.token(),
            clean_runs,
            is_interrupted: self.it.is_interrupted,
        }
    }

    /// Without a confirmed cause a test that always fails may still have one that is certain: it tried
    /// what no sandbox has.
    fn answer(&self, causes: &[ToldCause]) -> DiagnosisVerdict {
        match &self.it.attribution.verdict {
            // What was not tried may fail.
            Verdict::NeverFailed { .. } if self.it.is_interrupted => {
                DiagnosisVerdict::Undecided { needed: 0, left: Vec::new() }
            }
            Verdict::NeverFailed { bound } => DiagnosisVerdict::NeverFailed { bound: *bound },
            Verdict::AlwaysFails if !causes.is_empty() => DiagnosisVerdict::Caused,
            Verdict::AlwaysFails => DiagnosisVerdict::AlwaysFails,
            Verdict::Caused if !causes.is_empty() => DiagnosisVerdict::Caused,
            Verdict::Caused | Verdict::Unattributed => DiagnosisVerdict::Unattributed,
            Verdict::Undecided { left, needed } => DiagnosisVerdict::Undecided {
                needed: *needed,
                left: left.iter().take(LEFT).map(|set| self.plain_words(set)).collect(),
            },
        }
    }

    fn cause(&self, cause: &Cause, failure: Option<&Failure>) -> ToldCause {
        let settings = self.it.settings(cause);
        let is_earlier_run = self.it.has_earlier_run(&cause.companions);
        let others: Vec<&Facts> =
            cause.companions.iter().filter_map(|it| self.it.others.get(it)).collect();
        let known = Known {
            facts: &self.it.facts,
            failure,
            others,
            is_earlier_run,
            is_of_order: self.it.is_of_order,
            is_concurrent: self.it.facts.is_concurrent(),
        };
        let meaning = causes::meaning(cause, &settings, &known);
        let names: Vec<String> = settings.iter().map(|it| it.name()).collect();
        let mut fix = report::fix(meaning.code);
        if matches!(meaning.code, CauseCode::Race | CauseCode::Deadlock) {
            fix.tools =
                next_tools::for_test(self.it, self.binary_of(self.test), &self.names(self.test).1);
        }
        ToldCause {
            cause: meaning.code,
            resource: meaning.resource.map(|it| it.text()),
            other_party: self.other_party(cause, &settings, meaning.code),
            cleaners: cause.cleaners.iter().filter_map(|it| self.companion(*it)).collect(),
            layer: names.first().cloned().unwrap_or_default(),
            settings: names,
            words: self.words_of(&cause.switches),
            effect: match cause.direction {
                Direction::Provokes => Effect::Provokes,
                Direction::Removes => Effect::Removes,
                Direction::Determines => Effect::Determines,
            },
            failing: rate(&cause.failing),
            clean: rate(&cause.clean),
            certainty: cause.certainty,
            is_latent: cause.is_latent,
            fix,
            waits: Vec::new(),
            waits_rate: None,
        }
    }

    /// The waits that decide, with their places in the sources.
    fn waits(&self, waits: &DecidingWaits) -> Vec<ToldWait> {
        let program = &self.binary_of(self.test).executable;
        let project =
            self.it.facts.project.first().map(|it| it.as_path()).unwrap_or(Path::new("/"));
        let lines = Lines::of(program.as_std_path(), project);
        let told = waits.holds.iter().map(|hold| ToldWait {
            thread: hold.thread_name.clone(),
            call: hold.call.clone(),
            milliseconds: hold.held.as_secs_f64() * 1e3,
            place: lines.as_ref().and_then(|lines| lines.innermost(&hold.code)),
        });
        told.collect()
    }

    fn binary_of(&self, member: &Member) -> &Binary {
        &self.cases.selected[member.index.binary].binary
    }

    /// The cause of a test that always fails, and passes with something of this machine.
    fn missed(&self, absent: &Absent) -> ToldCause {
        let failing = rate(&self.it.attribution.baseline);
        ToldCause {
            cause: absent.code,
            resource: Some(absent.things.join(", ")),
            other_party: Some(OtherParty::ThisMachine),
            cleaners: Vec::new(),
            layer: "files".to_owned(),
            settings: vec![absent.flag.clone()],
            words: format!("`{}`", absent.flag),
            effect: Effect::Removes,
            failing,
            clean: absent.clean,
            // Fisher's exact test of runs that all fail against runs that all pass.
            certainty: 1.0
                / proof::by_chance(
                    failing.runs + absent.clean.runs,
                    failing.runs,
                    failing.runs,
                    failing.runs,
                ),
            is_latent: false,
            fix: report::fix(absent.code),
            waits: Vec::new(),
            waits_rate: None,
        }
    }

    fn other_party(
        &self,
        cause: &Cause,
        settings: &[&Setting],
        code: CauseCode,
    ) -> Option<OtherParty> {
        let mut tests = Vec::new();
        for companion in &cause.companions {
            if let Some(member) = self.it.companions.get(*companion) {
                let (binary, name) = self.names(member);
                let own = &self.cases.selected[member.index.binary].binary;
                let package = own.working_directory.as_std_path();
                let place = place_of(&name, package, own.source.as_std_path());
                tests.push(NamedTest { binary, name, place });
            }
        }
        let is_host = settings.iter().any(|setting| matches!(setting, Setting::Host(_)));
        match () {
            () if !tests.is_empty() => Some(OtherParty::Tests(tests)),
            () if self.it.has_earlier_run(&cause.companions) => Some(OtherParty::EarlierRun),
            () if is_host => Some(OtherParty::ThisMachine),
            () if code == CauseCode::Pid1 => Some(OtherParty::Isotest),
            () => None,
        }
    }

    fn companion(&self, number: usize) -> Option<String> {
        self.it.companions.get(number).map(|member| self.names(member).1)
    }

    fn names(&self, member: &Member) -> (String, String) {
        let binary = &self.cases.selected[member.index.binary].binary;
        (binary.id.clone(), case(self.cases.selected, member.index).name.clone())
    }

    /// The arm in which the failure is best seen: that of an ordinary run, or else of the first cause.
    fn best_seen(&self) -> Option<&ArmRate> {
        let attribution = &self.it.attribution;
        let first = attribution.causes.first().map(|cause| match cause.direction {
            Direction::Removes => &cause.failing,
            Direction::Provokes | Direction::Determines => &cause.failing,
        });
        match attribution.baseline.failed {
            0 => first.or(Some(&attribution.baseline)),
            _ => Some(&attribution.baseline),
        }
    }

    fn arm(&self, arm: &ArmRate) -> ToldArm {
        let settings = arm.arm.on.iter().map(|number| self.it.switches.tried[*number].name());
        let causes = &self.it.attribution.causes;
        let is_cause = causes.iter().any(|cause| cause.failing.arm == arm.arm);
        let is_clean = causes.iter().any(|cause| cause.clean.arm == arm.arm);
        let mut words = self.words(&arm.arm);
        if let Some(seed) = arm.seed {
            words = format!("{words}, seed {seed:x}");
        }
        ToldArm {
            settings: settings.collect(),
            words,
            companions: arm.arm.companions.len(),
            rate: rate(arm),
            part: match (is_cause && arm.failed > 0, is_clean) {
                (true, _) => Some(ArmPart::Cause),
                (false, true) => Some(ArmPart::Removes),
                (false, false) => None,
            },
        }
    }

    /// Words for an arm: `alone`, `only the network shared, with 3 tests`.
    fn words(&self, arm: &Arm) -> String {
        if arm.on.is_empty() {
            return "alone, everything private".to_owned();
        }
        let settings = self.words_of(&arm.on);
        let is_shared = arm.on.iter().any(|number| self.it.switches.tried[*number].is_sharing());
        let tests = arm.companions.iter().filter(|it| **it < self.it.companions.len()).count();
        match (is_shared, tests, self.it.has_earlier_run(&arm.companions)) {
            (false, ..) | (_, 0, false) => settings,
            (true, 0, true) => format!("{settings}, after a run of itself"),
            (true, 1, _) => {
                let name = arm.companions.iter().find_map(|it| self.companion(*it));
                format!("{settings}, with {}", name.unwrap_or_default())
            }
            (true, tests, _) => format!("{settings}, with {tests} tests"),
        }
    }

    /// Words for settings: all shared layers are one.
    fn words_of(&self, numbers: &BTreeSet<usize>) -> String {
        let settings: Vec<&Setting> =
            numbers.iter().map(|number| &self.it.switches.tried[*number]).collect();
        let is_shared = |it: &&&Setting| matches!(it, Setting::Shared(_));
        let shared: Vec<&&Setting> = settings.iter().filter(is_shared).collect();
        let mut words: Vec<String> = match shared.as_slice() {
            [] => Vec::new(),
            [only] => vec![format!("only {}", only.words())],
            all if all.len() == self.shared_layers() => vec!["everything shared".to_owned()],
            some => {
                let things = some.iter().map(|it| match it {
                    Setting::Shared(layer) => layer.thing(),
                    _ => "",
                });
                vec![format!("{} shared", things.collect::<Vec<_>>().join(", "))]
            }
        };
        words.extend(settings.iter().filter(|it| !is_shared(it)).map(|it| it.words()));
        words.join(" and ")
    }

    /// Words for settings, one by one.
    fn plain_words(&self, numbers: &BTreeSet<usize>) -> String {
        let words = numbers.iter().map(|number| self.it.switches.tried[*number].words());
        words.collect::<Vec<_>>().join(" and ")
    }

    fn shared_layers(&self) -> usize {
        self.it.switches.tried.iter().filter(|it| matches!(it, Setting::Shared(_))).count()
    }

    fn findings(&self) -> Vec<(String, String)> {
        let findings = self.it.facts.findings.iter().filter(|it| !is_of_isotest(it));
        findings.map(|it| (it.code().to_string(), it.gist())).collect()
    }

    fn skipped(&self) -> Vec<Skipped> {
        let struck = self.it.switches.struck.iter().map(|it| {
            let is_withheld = matches!(it.setting, Setting::Host(_)) && self.it.host_is_withheld;
            let reason = if is_withheld { WITHHELD } else { it.reason };
            Skipped { setting: it.setting.name(), reason: reason.to_owned() }
        });
        let refused = self.it.refused.iter().filter(|(settings, _)| settings.len() == 1);
        let refused = refused.flat_map(|(settings, reason)| {
            let reason = reason.lines().next().unwrap_or_default().to_owned();
            settings.iter().map(move |it| Skipped { setting: it.name(), reason: reason.clone() })
        });
        struck.chain(refused).collect()
    }

    fn token(&self) -> Option<String> {
        let attribution = &self.it.attribution;
        let fingerprint = attribution.fingerprint?;
        let cause = attribution.causes.first();
        let (arm, seed) = match cause {
            Some(cause) => (&cause.failing, cause.failing_seed.or(cause.failing.seed)),
            None => (&attribution.baseline, None),
        };
        if arm.failed == 0 {
            return None;
        }
        let (binary, test) = self.names(self.test);
        let settings = arm.arm.on.iter().map(|number| self.it.switches.tried[*number].name());
        let companions = arm.arm.companions.iter().map(|number| {
            let member = self.it.companions.get(*number).unwrap_or(self.test);
            self.names(member)
        });
        // Any seed will do, unless the outcome follows from it.
        let is_determined = cause.is_some_and(|it| it.direction == Direction::Determines);
        let token = Token {
            binary,
            test,
            hash: self.hash.to_owned(),
            settings: settings.collect(),
            companions: companions.collect(),
            seed: seed.filter(|_| is_determined),
            fingerprint,
            rate: (arm.failed, arm.runs),
            holds: self.it.waits.as_ref().map_or(Vec::new(), |waits| Token::holds_of(&waits.holds)),
        };
        Some(token.text())
    }
}

/// Two conditions may show one cause: the first of them has shown it more clearly.
fn without_repetitions(causes: Vec<ToldCause>) -> Vec<ToldCause> {
    let mut told: Vec<ToldCause> = Vec::new();
    for cause in causes {
        let is_known = |known: &ToldCause| {
            (known.cause, &known.resource, &known.other_party)
                == (cause.cause, &cause.resource, &cause.other_party)
        };
        if !told.iter().any(is_known) {
            told.push(cause);
        }
    }
    told
}

/// The codes of the causes; without one, that of the first finding.
fn cause_of(answer: &DiagnosisVerdict, causes: &[ToldCause], facts: &Facts) -> Option<String> {
    if !causes.is_empty() {
        // The latent ones stand behind those that were seen.
        let is_latent = causes[0].is_latent;
        let codes = causes.iter().filter(|it| it.is_latent == is_latent).map(|it| it.cause.code());
        let codes: BTreeSet<&str> = codes.collect();
        return Some(codes.into_iter().collect::<Vec<_>>().join("+"));
    }
    match answer {
        DiagnosisVerdict::NeverFailed { .. } | DiagnosisVerdict::AlwaysFails => {
            let findings = facts.findings.iter().filter(|it| !is_of_isotest(it));
            findings.map(|it| it.code().to_string()).next()
        }
        _ => None,
    }
}

fn party(other: &OtherParty) -> Option<String> {
    match other {
        OtherParty::Tests(tests) => {
            Some(tests.iter().map(|test| test.name.as_str()).collect::<Vec<_>>().join(", "))
        }
        OtherParty::EarlierRun => Some("an earlier run of itself".to_owned()),
        OtherParty::ThisMachine => Some("this machine".to_owned()),
        OtherParty::Isotest => None,
    }
}

/// True if a finding is about isotest's own acts.
pub(super) fn is_of_isotest(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::WrittenBack(_) | Finding::WriteBackFailed(..) | Finding::MemoryUsed(..)
    )
}

fn rate(arm: &ArmRate) -> Rate {
    let ArmRate { failed, other, runs, low, high, .. } = arm;
    Rate { failed: *failed, other: *other, runs: *runs, low: *low, high: *high }
}
