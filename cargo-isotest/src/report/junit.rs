//! The JUnit XML report, `--junit FILE`.
//!
//! Elements and attributes as nextest writes them (its `aggregator/junit.rs`), so that what reads
//! its reports reads these: a test suite for each binary, the first failed attempt as the failure,
//! the others as `rerunFailure`, `flakyFailure` where a later one passed. Properties hold what only
//! isotest knows.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, FixedOffset, Utc};
use isotest_core::case::{Case, CaseIndex};
use isotest_core::finding::Finding;
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::wait_status::signal_name;
use quick_junit::{
    FlakyOrRerun, NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::category::Category;
use super::known::KnownDiagnosis;
use super::report_file::{ReportFile, ReportFileError};
use super::suite::Suite;
use super::words;

/// Characters that no XML has, and the library leaves in (the rule `Char` of XML 1.0).
const NO_XML: [char; 2] = ['\u{FFFE}', '\u{FFFF}'];

/// The most bytes of one text or attribute, as they stand in the file. libxml2, which xmllint, lxml
/// and others read with, refuses 10,000,000 of them as a "huge text node".
const NODE: usize = 9_000_000;

/// Name of the report.
const NAME: &str = "isotest-run";

/// A report that is being gathered.
pub struct Junit {
    file: ReportFile,
    show_output: bool,
    start: SystemTime,
    suites: Vec<TestSuite>,
}

impl Junit {
    /// Opens the file before anything is run: one that cannot be written is an error at once, and
    /// what an earlier run wrote is not taken for this one's. No link below `roots` is followed.
    /// `show_output` keeps what passed tests wrote.
    pub fn create(
        path: &Path,
        roots: &[&Path],
        suites: &[Suite],
        properties: &[(&str, String)],
        show_output: bool,
    ) -> Result<Junit, ReportFileError> {
        Ok(Junit {
            file: ReportFile::at("JUnit report", path, roots)?,
            show_output,
            start: SystemTime::now(),
            suites: suites.iter().map(|suite| test_suite(suite, properties)).collect(),
        })
    }

    /// Takes a case that has ended now.
    pub fn observe(&mut self, suites: &[Suite], index: CaseIndex, outcome: &Outcome) {
        let suite = &suites[index.binary];
        let case = self.test_case(suite, &suite.cases[index.case], outcome);
        let test_suite = &mut self.suites[index.binary];
        test_suite.time = Some(test_suite.time.unwrap_or_default() + whole_duration(outcome));
        test_suite.add_test_case(case);
    }

    /// Takes what is known of a case that was observed before.
    pub fn take_diagnosis(&mut self, suites: &[Suite], index: CaseIndex, known: &KnownDiagnosis) {
        let name = suites[index.binary].cases[index.case].name.as_str();
        let mut cases = self.suites[index.binary].test_cases.iter_mut().rev();
        if let Some(case) = cases.find(|case| case.name.as_str() == name) {
            let properties = known.properties().into_iter();
            case.add_properties(
                properties
                    .map(|(fact, value)| property(&format!("isotest.diagnosis.{fact}"), &value)),
            );
        }
    }

    /// Takes findings of a binary whose cases share a sandbox.
    pub fn take_shared(&mut self, binary: usize, findings: &[Finding]) {
        self.suites[binary].add_properties(findings.iter().map(finding));
    }

    /// Writes the report of a run that took `wall`.
    pub fn write(&mut self, wall: Duration) -> Result<(), ReportFileError> {
        let mut report = Report::new(NAME);
        report.set_timestamp(timestamp(self.start)).set_time(wall);
        for suite in &mut self.suites {
            suite.test_cases.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        }
        let suites = self.suites.drain(..).filter(|suite| !suite.test_cases.is_empty());
        report.add_test_suites(suites);
        // In memory first: its error does not tell why a file cannot be written.
        let text = report.to_string().map_err(io::Error::other);
        let text = text.map(|text| text.replace(NO_XML, ""));
        self.file.write(text.map(String::into_bytes))
    }

    fn test_case(&self, suite: &Suite, case: &Case, outcome: &Outcome) -> TestCase {
        let first = outcome.earlier.first().unwrap_or(outcome);
        let mut test_case = TestCase::new(&*case.name, status(case, outcome));
        test_case.set_classname(&*suite.id);
        if words::was_run(&outcome.verdict) {
            let started = SystemTime::now() - whole_duration(outcome);
            test_case.set_timestamp(timestamp(started)).set_time(outcome.duration);
        }
        // The first attempt of a failed case, the last one of a flaky case.
        let shown = if outcome.verdict.is_failure() { first } else { outcome };
        let text = words::written(shown);
        if (shown.verdict != Verdict::Passed || self.show_output) && !text.is_empty() {
            test_case.set_system_out_lossy(fitting(&text).as_ref());
        }
        test_case.add_properties(outcome.findings.iter().map(finding));
        let quarantine = words::quarantine(outcome);
        test_case.add_properties(quarantine.map(|it| property("isotest.quarantine", &it)));
        let weakened = outcome.weakened.iter();
        test_case.add_properties(weakened.map(|it| property("isotest.weakened", it.name())));
        test_case
    }
}

fn test_suite(suite: &Suite, properties: &[(&str, String)]) -> TestSuite {
    let behind = suite.root.as_ref().map_or(String::new(), |root| format!(" in {root}"));
    let mut test_suite = TestSuite::new(format!("{}{behind}", suite.id));
    let layers = suite.layers.iter();
    test_suite
        .add_properties(layers.map(|(name, value)| property(&format!("isotest.{name}"), value)));
    test_suite.add_properties(properties.iter().map(|(name, value)| property(name, value)));
    test_suite
}

fn finding(finding: &Finding) -> Property {
    property(&format!("isotest.finding.{}", finding.code()), &finding.to_string())
}

fn property(name: &str, value: &str) -> Property {
    Property::new(name, &*fitting(value.as_bytes()))
}

/// The text as one node takes it: where it is too long, its first and its last part.
fn fitting(text: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text);
    if text.len() <= NODE / LONGEST_ESCAPE || text.chars().map(written).sum::<usize>() <= NODE {
        return text;
    }
    let half = NODE / 2 - 100;
    let head =
        within(text.char_indices(), half).map_or(0, |(at, character)| at + character.len_utf8());
    let tail = within(text.char_indices().rev(), half).map_or(text.len(), |(at, _)| at);
    let cut = tail - head;
    let head = text[..head].trim_end_matches('\n');
    let tail = text[tail..].trim_start_matches('\n');
    Cow::Owned(format!(
        "{head}\n[isotest: {cut} bytes cut here: too large for XML readers]\n{tail}"
    ))
}

/// The last of the first characters that take no more than so many bytes in the file.
fn within(characters: impl Iterator<Item = (usize, char)>, most: usize) -> Option<(usize, char)> {
    let mut size = 0;
    let fits = |(_, character): &(usize, char)| {
        size += written(*character);
        size <= most
    };
    characters.take_while(fits).last()
}

/// Maximum bytes that a character takes in the file: `&quot;`, `&#xD;`.
fn written(character: char) -> usize {
    match character {
        '<' | '>' | '&' | '"' | '\'' | '\t' | '\n' | '\r' => LONGEST_ESCAPE,
        _ => character.len_utf8(),
    }
}

/// Bytes of the longest escape.
const LONGEST_ESCAPE: usize = 6;

/// The element inside `testcase`, with those of the other attempts.
fn status(case: &Case, outcome: &Outcome) -> TestCaseStatus {
    let mut status = match Category::of(outcome) {
        Category::Passed => TestCaseStatus::success(),
        Category::Ignored => skipped(words::ignore_reason(case, outcome).map(str::to_owned)),
        Category::Quarantined => return skipped(words::quarantine(outcome)),
        Category::Cancelled => skipped(words::explain(&outcome.verdict)),
        Category::NotRun => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("not run");
            if let Some(reason) = words::explain(&outcome.verdict) {
                status.set_message(reason);
            }
            status
        }
        Category::Failed => return failure(outcome),
    };
    status.add_reruns(outcome.earlier.iter().map(rerun));
    status
}

fn skipped(reason: Option<String>) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    if let Some(reason) = reason {
        status.set_message(reason);
    }
    status
}

/// A failed case: its first attempt, and the others behind it.
fn failure(outcome: &Outcome) -> TestCaseStatus {
    let mut attempts = outcome.earlier.iter().chain([outcome]);
    let first = attempts.next().unwrap_or(outcome);
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(kind(&first.verdict));
    if let Some(message) = message(first) {
        status.set_message(message);
    }
    if let Some(text) = description(first) {
        status.set_description(text);
    }
    if outcome.verdict == Verdict::Flaky {
        // That it passed in the end is no failed attempt.
        status.set_rerun_kind(FlakyOrRerun::Flaky);
        status.add_reruns(outcome.earlier.iter().map(rerun));
    } else {
        status.add_reruns(attempts.map(rerun));
    }
    status
}

fn rerun(attempt: &Outcome) -> TestRerun {
    let mut rerun = TestRerun::new(NonSuccessKind::Failure);
    rerun.set_type(kind(&attempt.verdict)).set_time(attempt.duration);
    if let Some(message) = message(attempt) {
        rerun.set_message(message);
    }
    if let Some(text) = description(attempt) {
        rerun.set_description(text);
    }
    if !attempt.output.is_empty() {
        rerun.set_system_out_lossy(fitting(&words::written(attempt)).as_ref());
    }
    rerun
}

/// The `type` of a failure, in nextest's words where it has them.
fn kind(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Failed { code } => format!("test failure with exit code {code}"),
        Verdict::ExitedEarly { code } => format!("exited early with exit code {code}"),
        Verdict::Signalled { signal } => format!("test abort with {}", signal_name(*signal)),
        Verdict::TimedOut { .. } => "test timeout".to_owned(),
        Verdict::NothingRun => "nothing run".to_owned(),
        Verdict::Denied(_) => "denied finding".to_owned(),
        Verdict::Unproven { .. } => "flaky new test".to_owned(),
        Verdict::Flaky => "flaky".to_owned(),
        Verdict::Passed | Verdict::Ignored | Verdict::NotRun(_) => "test failure".to_owned(),
    }
}

/// One line: isotest's own, or the panic's.
fn message(outcome: &Outcome) -> Option<String> {
    words::explain(&outcome.verdict).or_else(|| {
        let text = description(outcome)?;
        text.lines().next().map(|line| fitting(line.as_bytes()).into_owned())
    })
}

/// The failure in the test's own words; if it timed out, the stacks of its threads.
fn description(outcome: &Outcome) -> Option<String> {
    let said = words::failure(&String::from_utf8_lossy(&outcome.output.to_bytes()));
    let text = match &outcome.verdict {
        // What it wrote is not what it failed for.
        Verdict::Denied(_) => words::explain(&outcome.verdict),
        _ if outcome.stacks.is_empty() => said,
        _ => words::explanation(outcome),
    };
    text.map(|text| fitting(text.as_bytes()).into_owned())
}

/// Of all attempts together.
fn whole_duration(outcome: &Outcome) -> Duration {
    outcome.earlier.iter().chain([outcome]).map(|attempt| attempt.duration).sum()
}

fn timestamp(time: SystemTime) -> DateTime<FixedOffset> {
    DateTime::<Utc>::from(time).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_for_a_node_keeps_its_ends() {
        assert_eq!(fitting(b"<short>"), "<short>");
        for text in ["<".repeat(2_000_000), "x".repeat(NODE + 1), "\u{e4}\n".repeat(3_000_000)] {
            let text = format!("first{text}last");
            let fitted = fitting(text.as_bytes());
            assert!(fitted.chars().map(written).sum::<usize>() <= NODE, "{}", fitted.len());
            assert!(fitted.starts_with("first") && fitted.ends_with("last"));
            let cut = fitted.split_once("\n[isotest: ").and_then(|(_, rest)| rest.split_once(' '));
            let cut: usize = cut.and_then(|(cut, _)| cut.parse().ok()).expect("it says how much");
            assert!(cut > 0 && cut < text.len());
        }
        let fits = "x".repeat(NODE);
        assert_eq!(fitting(fits.as_bytes()), fits);
    }
}
