//! Simulated runs, and surveys of many diagnoses.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::{
    Arm, Attribution, Budget, Cause, Diagnosis, Observed, Question, Request, Switch, SwitchKind,
    Verdict,
};
use crate::seed;

/// The switches of a diagnosis as they may be for a real test: kind, name, heavy or not.
const SWITCHES: [(SwitchKind, &str, bool); 25] = [
    (SwitchKind::Shared, "net", false),
    (SwitchKind::Shared, "tmp", false),
    (SwitchKind::Shared, "workspace", false),
    (SwitchKind::Shared, "home", false),
    (SwitchKind::Shared, "shm", false),
    (SwitchKind::Shared, "pids", false),
    (SwitchKind::Shared, "uts", false),
    (SwitchKind::Host, "host net", false),
    (SwitchKind::Host, "host home", false),
    (SwitchKind::Host, "host env", false),
    (SwitchKind::Together, "together", false),
    (SwitchKind::Perturbation, "one", false),
    (SwitchKind::Perturbation, "umask", false),
    (SwitchKind::Perturbation, "root", false),
    (SwitchKind::Perturbation, "clock", false),
    (SwitchKind::Perturbation, "zone", false),
    (SwitchKind::Perturbation, "descriptors", false),
    (SwitchKind::Perturbation, "addresses", false),
    (SwitchKind::Perturbation, "starve", false),
    (SwitchKind::Perturbation, "delay", false),
    (SwitchKind::Perturbation, "duty", true),
    (SwitchKind::Perturbation, "competitor", true),
    (SwitchKind::Determinism, "entropy", false),
    (SwitchKind::Determinism, "directories", false),
    (SwitchKind::Determinism, "pid", false),
];

/// Switches that change when a test does something, beside the heavy ones.
const TIMING: [&str; 3] = ["one", "starve", "delay"];

/// Companions of a simulated test.
pub const COMPANIONS: usize = 12;

/// Runs that a simulated machine makes at the same time.
const AT_ONCE: usize = 4;

/// A question with all switches.
pub fn question(seed: u64, budget: u32) -> Question {
    let switches = SWITCHES.map(|(kind, name, is_heavy)| Switch {
        kind,
        name: name.into(),
        is_heavy,
        is_slow: false,
        changes_timing: is_heavy || TIMING.contains(&name),
    });
    Question {
        switches: switches.into(),
        companions: COMPANIONS,
        suspects: BTreeSet::new(),
        budget: Budget { runs: budget },
        seed,
    }
}

/// Chance, from a seed.
#[derive(Debug)]
pub struct Dice(RefCell<(u64, u64)>);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(RefCell::new((seed, 0)))
    }

    fn bits(&self) -> u64 {
        let mut dice = self.0.borrow_mut();
        dice.1 += 1;
        seed::nth(dice.0, dice.1)
    }

    /// True with this probability.
    pub fn falls(&self, probability: f64) -> bool {
        ((self.bits() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

/// One run of a simulated test, as the test sees it.
pub struct Run<'a> {
    pub arm: &'a Arm,
    pub seed: u64,
    /// Number of runs before it.
    pub number: u32,
    dice: &'a Dice,
}

impl Run<'_> {
    pub fn is_on(&self, name: &str) -> bool {
        let index = SWITCHES.iter().position(|(_, other, _)| *other == name);
        self.arm.on.contains(&index.expect("there is such a switch"))
    }

    /// A layer is shared with the companions, in either way.
    pub fn is_shared(&self, name: &str) -> bool {
        self.is_on(name) || self.is_on("together")
    }

    pub fn is_beside(&self, companion: usize) -> bool {
        self.arm.companions.contains(&companion)
    }

    /// A number that follows from the seed, different for each source.
    pub fn mixed(&self, source: u64) -> u64 {
        seed::nth(self.seed, source) >> 20
    }

    pub fn fails(&self, fails: bool) -> Option<u64> {
        fails.then_some(1)
    }

    /// Fails with this fingerprint.
    pub fn on_failure(&self, fingerprint: u64, fails: bool) -> Option<u64> {
        fails.then_some(fingerprint)
    }

    /// Fails with this probability.
    pub fn chance(&self, probability: f64) -> Option<u64> {
        self.fails(self.dice.falls(probability))
    }
}

/// A simulated test: the fingerprint with which a run fails.
pub type Test<'a> = dyn Fn(&Run) -> Option<u64> + 'a;

/// A whole diagnosis. Runs end in an order of chance.
pub fn diagnose(question: Question, test: &Test) -> Attribution {
    let dice = Dice::new(seed::nth(question.seed, 1 << 40));
    let mut diagnosis = Diagnosis::new(question);
    let mut in_flight: Vec<Request> = Vec::new();
    let mut number = 0;
    while diagnosis.attribution().is_none() {
        in_flight.extend(diagnosis.next(AT_ONCE - in_flight.len()));
        let Some(index) = (dice.bits() as usize).checked_rem(in_flight.len()) else { continue };
        let request = in_flight.swap_remove(index);
        let run = Run { arm: &request.arm, seed: request.seed, number, dice: &dice };
        let observed = test(&run).map_or(Observed::Passed, Observed::Failed);
        diagnosis.tell(request.id, observed);
        number += 1;
    }
    diagnosis.attribution().expect("the loop ended").clone()
}

/// A cause in words, such as `net | 7 provokes`.
pub fn in_words(cause: &Cause) -> String {
    let switches: Vec<&str> = cause.switches.iter().map(|index| SWITCHES[*index].1).collect();
    let companions: Vec<String> = cause.companions.iter().map(usize::to_string).collect();
    let direction = format!("{:?}", cause.direction).to_lowercase();
    let latent = if cause.is_latent { " latent" } else { "" };
    format!("{}|{} {direction}{latent}", switches.join("+"), companions.join("+"))
}

/// What many diagnoses of one test came to.
pub struct Survey {
    pub diagnoses: usize,
    /// Every answer, and how often it was given.
    pub answers: BTreeMap<String, usize>,
    /// Runs of each diagnosis, in their order.
    pub runs: Vec<u32>,
}

/// So many diagnoses of one test.
pub fn survey(diagnoses: usize, budget: u32, test: &Test) -> Survey {
    let mut answers = BTreeMap::new();
    let mut runs = Vec::new();
    for number in 0..diagnoses {
        let attribution = diagnose(question(number as u64, budget), test);
        runs.push(attribution.runs);
        *answers.entry(answer(&attribution)).or_insert(0) += 1;
    }
    runs.sort_unstable();
    Survey { diagnoses, answers, runs }
}

/// The answer of a diagnosis in words.
pub fn answer(attribution: &Attribution) -> String {
    match &attribution.verdict {
        Verdict::NeverFailed { .. } => "never failed".into(),
        Verdict::AlwaysFails => "always fails".into(),
        Verdict::Caused => {
            let causes: BTreeSet<String> = attribution.causes.iter().map(in_words).collect();
            causes.into_iter().collect::<Vec<_>>().join(", ")
        }
        Verdict::Unattributed => "unattributed".into(),
        Verdict::Undecided { .. } => "undecided".into(),
    }
}

impl Survey {
    /// The share of diagnoses with this answer.
    pub fn share(&self, answer: &str) -> f64 {
        *self.answers.get(answer).unwrap_or(&0) as f64 / self.diagnoses as f64
    }

    pub fn median_runs(&self) -> u32 {
        self.runs[self.runs.len() / 2]
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let p90 = self.runs[self.runs.len() * 9 / 10];
        write!(formatter, "runs {} ({p90}):", self.median_runs())?;
        let mut answers: Vec<_> = self.answers.iter().collect();
        answers.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        answers
            .iter()
            .take(6)
            .try_for_each(|(answer, count)| write!(formatter, "  {count}× {answer};"))
    }
}
