//! The identity of a test in messages.

use isotest_core::case::CaseIndex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::suite::Suite;

/// Identity of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Test {
    /// The id of its binary.
    pub binary: String,
    /// The root filesystem that it runs in, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Its name.
    pub test: String,
}

/// The identity of a case.
pub fn test(suites: &[Suite], CaseIndex { binary, case }: CaseIndex) -> Test {
    let suite = &suites[binary];
    Test {
        binary: suite.id.clone(),
        root: suite.root.clone(),
        test: suite.cases[case].name.clone(),
    }
}
