//! The start of a run, in its record.

use serde::{Deserialize, Serialize};

use super::options::Options;

/// Facts about a run that are known at its start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// The id of the run.
    pub id: String,
    /// The time of its start, as RFC 3339 has it, in UTC.
    pub time: String,
    /// The commit that is checked out, where the project is a git repository.
    pub commit: Option<String>,
    /// Options that choose what is built, and the profile.
    pub repeated_options: Vec<String>,
    /// Names of other options that may matter.
    pub other_options: Vec<String>,
    /// Options of its report.
    pub options: Options,
}
