//! What an earlier diagnosis has found of a test, in a few facts: later runs of the same binary tell it
//! beside a failure.

use std::io::{self, Write};

use isotest_core::escape::escape;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cause_words::why;
use super::diagnosed::Diagnosed;
use super::diagnosed_text::certainty;
use super::groups::write_more;
use super::paint::{self, HINT};

/// Maximum number of tests that are listed.
const LISTED: usize = 10;

/// The result of a diagnosis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct KnownDiagnosis {
    /// The verdict, as `diagnose --format json` has it.
    pub verdict: String,
    /// The code of the cause, several joined by `+`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The first cause in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The thing at which the test meets the other party, or on which it depends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The other party of the first cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_party: Option<String>,
    /// The layer or the condition of the first cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The first cause is wrong less than once in so many diagnoses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<f64>,
    /// Runs that failed where the failure is best seen.
    pub failed: u32,
    /// Runs there.
    pub runs: u32,
    /// Place of the failure, `src/lib.rs:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_at: Option<String>,
    /// The fix in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The argument of `cargo isotest repro` that makes it fail again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl KnownDiagnosis {
    /// The facts of a diagnosis.
    pub fn of(it: &Diagnosed) -> KnownDiagnosis {
        let first = it.causes.first();
        KnownDiagnosis {
            verdict: it.verdict.to_owned(),
            cause: it.cause.clone(),
            why: first.map(|cause| why(cause.cause, cause.other_party.as_ref()).to_owned()),
            resource: first.and_then(|cause| cause.resource.clone()),
            other_party: it.other_party.clone(),
            layer: it.layer.clone(),
            certainty: first.map(|cause| cause.certainty),
            failed: it.rate.failed,
            runs: it.rate.runs,
            failure_at: it.failure_at.clone(),
            fix: first.map(|cause| cause.fix.text.clone()),
            token: it.token.clone(),
        }
    }

    /// True if the test was found to be flaky.
    pub fn is_of_flaky(&self) -> bool {
        self.failed > 0 && self.verdict != "always-fails"
    }

    /// What was found, in a sentence.
    pub fn sentence(&self) -> String {
        let other = self.other_party.as_ref().map(|other| format!(" The other party: {other}."));
        let other = other.unwrap_or_default();
        match (&self.why, self.verdict.as_str()) {
            (Some(why), _) => format!("{why}{other}"),
            (None, "undecided") => "The cause is not decided yet.".to_owned(),
            (None, _) => "The cause is not known.".to_owned(),
        }
    }

    /// Its facts, each with a name, for reports that have properties.
    pub fn properties(&self) -> Vec<(&'static str, String)> {
        let own = |value: &Option<String>| value.clone();
        let rate = format!("{} of {} runs", self.failed, self.runs);
        let all = [
            ("verdict", Some(self.verdict.clone())),
            ("cause", own(&self.cause)),
            ("why", own(&self.why)),
            ("resource", own(&self.resource)),
            ("other-party", own(&self.other_party)),
            ("layer", own(&self.layer)),
            ("certainty", self.certainty.map(certainty)),
            ("rate", Some(rate)),
            ("fix", own(&self.fix)),
            ("token", own(&self.token)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Writes what is known of failed tests, where something is: each has its label.
pub fn write(
    known: &[(String, KnownDiagnosis)],
    colour: bool,
    err: &mut dyn Write,
) -> io::Result<()> {
    if known.is_empty() {
        return Ok(());
    }
    let help = paint::styled(colour, HINT, "help");
    writeln!(err, "\n{help}: failed tests that were diagnosed before, in this build")?;
    for (label, it) in known.iter().take(LISTED) {
        writeln!(err, "    {}: {}", escape(label), escape(&it.sentence()))?;
        if let Some(fix) = &it.fix {
            writeln!(err, "        fix: {}", escape(fix))?;
        }
    }
    write_more(known.len().saturating_sub(LISTED), err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> KnownDiagnosis {
        KnownDiagnosis {
            verdict: "cause".to_owned(),
            cause: Some("port-collision".to_owned()),
            why: Some("Another test uses the same port.".to_owned()),
            other_party: Some("b".to_owned()),
            certainty: Some(2500.0),
            failed: 11,
            runs: 14,
            fix: Some("Bind port 0.".to_owned()),
            ..KnownDiagnosis::default()
        }
    }

    #[test]
    fn what_is_known_of_a_failed_test_stands_with_its_fix() {
        let written = |known: &[(String, KnownDiagnosis)]| {
            let mut text = Vec::new();
            write(known, false, &mut text).expect("memory takes it");
            String::from_utf8(text).expect("it is text")
        };
        assert_eq!(written(&[]), "");
        let expected = "\nhelp: failed tests that were diagnosed before, in this build\n    demo::it::a: \
                        Another test uses the same port. The other party: b.\n        fix: Bind port 0.\n";
        assert_eq!(written(&[("demo::it::a".to_owned(), known())]), expected);
        let many = written(&vec![("a".to_owned(), known()); 12]);
        assert!(many.ends_with("    … and 2 more\n"), "{many}");
    }

    #[test]
    fn a_property_is_left_out_if_its_fact_is_not_known() {
        let properties = known().properties();
        let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
        let expected = ["verdict", "cause", "why", "other-party", "certainty", "rate", "fix"];
        assert_eq!(names, expected);
        assert_eq!(properties[4].1, "wrong less than once in 2,000");
    }
}
