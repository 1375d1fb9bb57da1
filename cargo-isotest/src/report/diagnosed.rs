//! A diagnosis, as reports print it.

use schemars::JsonSchema;
use serde::Serialize;

use super::cause_code::CauseCode;

/// The version of the JSON of a diagnosis.
pub const FORMAT: u32 = 1;

/// Number of runs that failed, with the exact 95 % interval of their rate.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Rate {
    /// Runs that failed in the way that is looked for.
    pub failed: u32,
    /// Runs that failed in another way.
    pub other: u32,
    /// Runs.
    pub runs: u32,
    /// Lower end of the interval, 0 to 1.
    pub low: f64,
    /// Upper end of the interval, 0 to 1.
    pub high: f64,
}

/// Who the test meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OtherParty {
    /// Other tests, by binary and name, with the place of the first where it is known.
    Tests(Vec<NamedTest>),
    /// An earlier run of the test itself.
    EarlierRun,
    /// Something on this machine.
    ThisMachine,
    /// The way in which isotest starts tests.
    Isotest,
}

/// A test with the place of its function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NamedTest {
    /// The id of its binary.
    pub binary: String,
    /// Its name.
    pub name: String,
    /// `tests/admin.rs:31`, where it was found.
    pub place: Option<String>,
}

/// A cause.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ToldCause {
    /// Its code.
    pub cause: CauseCode,
    /// The thing at which the test meets the other party, or on which it depends.
    pub resource: Option<String>,
    /// The other party.
    pub other_party: Option<OtherParty>,
    /// Tests that prevent the failure where they run as well.
    pub cleaners: Vec<String>,
    /// Names of the settings, `shared-net`.
    pub settings: Vec<String>,
    /// Words for the settings.
    #[serde(skip)]
    pub words: String,
    /// The layer or perturbation, for machines: the first setting.
    pub layer: String,
    /// The settings make the test fail, make it pass, or make its outcome follow from a seed.
    pub effect: Effect,
    /// Runs with the cause.
    pub failing: Rate,
    /// The same runs without it.
    pub clean: Rate,
    /// The cause is wrong less than once in so many diagnoses.
    pub certainty: f64,
    /// The test never failed without a perturbation.
    pub is_latent: bool,
    /// The fix: a sentence, code, and what does not help.
    pub fix: Fix,
    /// Waits of threads that make the test fail, in their order: found by halving those of a run with
    /// starved threads that failed.
    pub waits: Vec<ToldWait>,
    /// Runs with these waits and nothing else changed: those that failed, and all.
    pub waits_rate: Option<(u32, u32)>,
}

/// A wait of a thread before a system call.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ToldWait {
    /// The name of the thread, at most 15 bytes of it.
    pub thread: String,
    /// The system call.
    pub call: String,
    /// How long it waits, in milliseconds.
    pub milliseconds: f64,
    /// The innermost line of the project in the call chain, `src/lib.rs:12`.
    pub place: Option<String>,
}

/// Effect of the settings of a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The test fails more often with them.
    Provokes,
    /// The test fails less often with them.
    Removes,
    /// The outcome follows from the seed with them.
    Determines,
}

/// A fix.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Fix {
    /// What to do.
    pub text: String,
    /// Code that does it, a line each.
    pub code: Vec<String>,
    /// Commands of other tools that look for all such races in the test, each with what it is good for.
    pub tools: Vec<NextTool>,
}

/// A tool that shows the races of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NextTool {
    /// Its name.
    pub name: String,
    /// What it does, and what it needs.
    pub what: String,
    /// The command, for this test.
    pub command: String,
}

/// The verdict of a diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiagnosisVerdict {
    /// No run failed: the rate is below this, with a confidence of 95 %.
    NeverFailed {
        /// The bound, 0 to 1.
        bound: f64,
    },
    /// Every run failed.
    AlwaysFails,
    /// The cause is known.
    Caused,
    /// The test fails now and then, and nothing that was tried changes how often.
    Unattributed,
    /// The budget was used up first.
    Undecided {
        /// Number of further runs that would probably decide it.
        needed: u64,
        /// What may still be the cause.
        left: Vec<String>,
    },
}

impl DiagnosisVerdict {
    /// Its word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            DiagnosisVerdict::NeverFailed { .. } => "never-failed",
            DiagnosisVerdict::AlwaysFails => "always-fails",
            DiagnosisVerdict::Caused => "cause",
            DiagnosisVerdict::Unattributed => "unattributed",
            DiagnosisVerdict::Undecided { .. } => "undecided",
        }
    }
}

/// An arm that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ToldArm {
    /// The settings, by name.
    pub settings: Vec<String>,
    /// Words for it.
    pub words: String,
    /// Number of companions.
    pub companions: usize,
    /// Its rate.
    #[serde(flatten)]
    pub rate: Rate,
    /// Its part in the answer.
    pub part: Option<ArmPart>,
}

/// Part of an arm in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArmPart {
    /// It has the cause.
    Cause,
    /// It is the same without the cause.
    Removes,
}

/// A setting that was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Skipped {
    /// Its name.
    pub setting: String,
    /// The reason.
    pub reason: String,
}

/// A diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Diagnosed {
    /// The version of this format.
    pub format: u32,
    /// The id of the binary.
    pub binary: String,
    /// The test.
    pub test: String,
    /// Hash of the contents of the binary (XXH64).
    pub binary_hash: String,
    /// The verdict's word.
    pub verdict: &'static str,
    /// The code of the cause, several joined by `+`; of a test that never or always fails that of its
    /// first finding.
    pub cause: Option<String>,
    /// The other party of the first cause.
    pub other_party: Option<String>,
    /// The layer or the condition of the first cause.
    pub layer: Option<String>,
    /// The verdict, with its numbers.
    pub answer: DiagnosisVerdict,
    /// Causes, the strongest first.
    pub causes: Vec<ToldCause>,
    /// The rate of the arm in which the failure is best seen, or of the test alone.
    pub rate: Rate,
    /// Words for that arm.
    pub rate_of: String,
    /// Place of the failure, `src/lib.rs:12`.
    pub failure_at: Option<String>,
    /// Message of the failure.
    pub failure: Option<String>,
    /// Codes of the findings of an ordinary run, with their texts.
    pub findings: Vec<(String, String)>,
    /// All arms that were tried.
    pub arms: Vec<ToldArm>,
    /// Settings that were not tried.
    pub skipped: Vec<Skipped>,
    /// Runs in all.
    pub runs: u32,
    /// Time in all.
    pub seconds: f64,
    /// Runs in a second.
    pub runs_per_second: f64,
    /// What `repro` is given.
    pub token: Option<String>,
    /// Clean runs that `prove-fixed` needs.
    pub clean_runs: Option<u64>,
    /// The diagnosis was interrupted.
    pub is_interrupted: bool,
}

impl Diagnosed {
    /// The flag or command that names the test.
    pub fn named(&self) -> String {
        super::rerun::quoted(&format!("{} {}", self.binary, self.test))
    }

    /// True if a run failed.
    pub fn has_failed(&self) -> bool {
        !matches!(self.answer, DiagnosisVerdict::NeverFailed { .. })
            && self.arms.iter().any(|arm| arm.rate.failed + arm.rate.other > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn the_schema_in_the_book_is_that_of_the_types() {
        let schema = schemars::schema_for!(Diagnosed);
        let made = serde_json::to_string_pretty(&schema).expect("plain data") + "\n";
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/diagnosis.schema.json");
        if env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(file, &made).expect("it is writable");
        }
        let kept = fs::read_to_string(file).expect("it is there");
        assert!(kept == made, "run this test again with `UPDATE_EXPECT=1`");
    }
}
