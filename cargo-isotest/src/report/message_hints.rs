//! Explanations of failures in messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hints::{Hint, Untried};
use super::message_test::{Test, test};
use super::suite::Suite;

/// A flag with which failed tests pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suggestion {
    /// The flag.
    pub flag: String,
    /// What tests have without it, as a sentence.
    pub why: String,
    /// An override with it for these tests, as text of `.config/isotest.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// The tests.
    pub tests: Vec<Test>,
}

/// Something that failed tests looked for and that is given to none unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// It, in words.
    pub what: String,
    /// The flag that gives it.
    pub flag: String,
    /// The tests.
    pub tests: Vec<Test>,
}

/// A hint.
pub fn suggestion(suites: &[Suite], hint: &Hint) -> Suggestion {
    Suggestion {
        flag: hint.remedy.flag.clone(),
        why: hint.remedy.why.clone(),
        configuration: hint.configuration(suites),
        tests: hint.cases.iter().map(|index| test(suites, *index)).collect(),
    }
}

/// What was not tried.
pub fn wanted(suites: &[Suite], untried: &Untried) -> Wanted {
    Wanted {
        what: untried.what.clone(),
        flag: untried.flag.clone(),
        tests: untried.cases.iter().map(|index| test(suites, *index)).collect(),
    }
}
