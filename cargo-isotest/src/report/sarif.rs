//! The SARIF log, `--sarif FILE`: findings for programs that show those of static analysis.
//!
//! SARIF 2.1.0, OASIS Standard. Every code is a rule, every finding of a case a result. The order is
//! that of the lists, however the cases were started, and a fingerprint holds nothing that differs
//! from run to run.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use isotest_core::case::CaseIndex;
use isotest_core::finding::{Code, Finding};
use isotest_core::outcome::{Outcome, Verdict};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::finding_groups::Level;
use super::known::KnownDiagnosis;
use super::report_file::{ReportFile, ReportFileError};
use super::suite::Suite;
use super::words::{self, counted};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Page of the codes.
const HELP: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/findings.md");

/// Page of the causes of flaky tests.
const HELP_FLAKY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/diagnosis.md");

/// The rule of tests that fail now and then.
const FLAKY: &str = "flaky";

/// Maximum number of results. GitHub refuses a log with more in a run.
const RESULTS: usize = 25_000;

/// The directory that paths are relative to, as a log names it.
const ROOT: &str = "%SRCROOT%";

/// A log that is being gathered.
pub struct Sarif {
    file: ReportFile,
    /// The workspace, which paths of panics and sources are relative to.
    workspace: PathBuf,
    /// The directory that paths of the log are relative to, which has the workspace in it.
    root: PathBuf,
    /// By case, code, and number among the findings of that code. Those of a binary come first.
    results: BTreeMap<(usize, Option<usize>, Code, usize), Value>,
    /// Results of cases that have failed and were diagnosed before.
    diagnosed: BTreeMap<(usize, usize), Value>,
    /// Number of results that are left out.
    cut: usize,
}

/// The place of a result.
struct Place<'a> {
    suite: &'a Suite,
    /// The case, or none where it is one of the binary.
    case: Option<usize>,
    /// File and line of the panic of a failed case.
    panic: Option<(&'a str, u32)>,
}

impl Sarif {
    /// Opens the file, through no link below `roots`. Paths of the log are relative to the repository,
    /// where it has the workspace in it, else to the workspace.
    pub fn create(
        path: &Path,
        roots: &[&Path],
        workspace: &Path,
        repository: Option<&Path>,
    ) -> Result<Sarif, ReportFileError> {
        let root = repository.filter(|repository| workspace.starts_with(repository));
        Ok(Sarif {
            file: ReportFile::at("SARIF log", path, roots)?,
            workspace: workspace.to_owned(),
            root: root.unwrap_or(workspace).to_owned(),
            results: BTreeMap::new(),
            diagnosed: BTreeMap::new(),
            cut: 0,
        })
    }

    /// Takes a case that has ended.
    pub fn observe(&mut self, suites: &[Suite], index: CaseIndex, outcome: &Outcome) {
        if outcome.findings.is_empty() {
            return;
        }
        let output =
            if outcome.verdict.is_failure() { outcome.output.to_bytes() } else { Vec::new() };
        let output = String::from_utf8_lossy(&output);
        let place = Place {
            suite: &suites[index.binary],
            case: Some(index.case),
            panic: words::panic_place(&output),
        };
        self.add(index.binary, &place, &outcome.findings, &outcome.verdict);
    }

    /// Takes what is known of a case that has failed. Its place is that of the failure, as the diagnosis
    /// has seen it.
    pub fn take_diagnosis(&mut self, suites: &[Suite], index: CaseIndex, known: &KnownDiagnosis) {
        if self.results.len() + self.diagnosed.len() >= RESULTS {
            self.cut += 1;
            return;
        }
        let suite = &suites[index.binary];
        let label = suite.label(&suite.cases[index.case]);
        let panic = known.failure_at.as_deref().and_then(|place| {
            let (file, line) = place.rsplit_once(':')?;
            Some((file, line.parse().ok()?))
        });
        let place = Place { suite, case: Some(index.case), panic };
        let fix = known.fix.as_ref().map_or(String::new(), |fix| format!(" Fix: {fix}"));
        let facts = known.properties().into_iter();
        let facts: Map<String, Value> = facts
            .map(|(name, value)| (format!("isotest.diagnosis.{name}"), value.into()))
            .collect();
        let result = json!({
            "ruleId": FLAKY,
            "ruleIndex": Code::ALL.len(),
            "level": "warning",
            "message": { "text": plain(&format!("{label} is flaky. {}{fix}", known.sentence())) },
            "locations": [self.location(&place)],
            "partialFingerprints": { "isotestFinding/v1": digest(&format!("{label}\0{FLAKY}")) },
            "properties": facts,
        });
        self.diagnosed.insert((index.binary, index.case), result);
    }

    /// Takes findings of a binary whose cases share a sandbox.
    /// `verdict` is theirs.
    pub fn take_shared(
        &mut self,
        suites: &[Suite],
        binary: usize,
        findings: &[Finding],
        verdict: &Verdict,
    ) {
        let place = Place { suite: &suites[binary], case: None, panic: None };
        self.add(binary, &place, findings, verdict);
    }

    fn add(&mut self, binary: usize, place: &Place<'_>, findings: &[Finding], verdict: &Verdict) {
        let mut numbers: BTreeMap<Code, usize> = BTreeMap::new();
        for finding in findings {
            let code = finding.code();
            let number = numbers.entry(code).or_default();
            if self.results.len() < RESULTS {
                let result = self.result(place, finding, *number, verdict);
                self.results.insert((binary, place.case, code, *number), result);
            } else {
                self.cut += 1;
            }
            *number += 1;
        }
    }

    fn result(
        &self,
        place: &Place<'_>,
        finding: &Finding,
        number: usize,
        verdict: &Verdict,
    ) -> Value {
        let (code, Place { suite, case, .. }) = (finding.code(), place);
        let level = level(Level::of(finding, verdict));
        let label = case.map_or_else(|| suite.id.clone(), |case| suite.label(&suite.cases[case]));
        json!({
            "ruleId": code.name(),
            "ruleIndex": Code::ALL.iter().position(|known| *known == code),
            "level": level,
            "message": { "text": plain(&format!("{label} {finding}")) },
            "locations": [self.location(place)],
            "partialFingerprints": { "isotestFinding/v1": fingerprint(&label, code, number) },
        })
    }

    /// The location of a result.
    fn location(&self, Place { suite, case, panic }: &Place<'_>) -> Value {
        let case = case.map(|case| &suite.cases[case]);
        let (name, label) = match case {
            Some(case) => (case.name.as_str(), suite.label(case)),
            None => (suite.id.as_str(), suite.id.clone()),
        };
        let mut physical = json!({});
        let panic = panic.and_then(|(file, line)| Some((self.uri(Path::new(file))?, line)));
        match (panic, self.uri(Path::new(&suite.source))) {
            (Some((uri, line)), _) => {
                physical = json!({
                    "artifactLocation": { "uri": uri, "uriBaseId": ROOT },
                    "region": { "startLine": line },
                });
            }
            (None, Some(uri)) => {
                physical = json!({ "artifactLocation": { "uri": uri, "uriBaseId": ROOT } });
            }
            (None, None) => {}
        }
        let kind = if case.is_some() { "function" } else { "module" };
        let logical = json!([{ "name": name, "fullyQualifiedName": label, "kind": kind }]);
        let mut location = json!({});
        if physical != json!({}) {
            location["physicalLocation"] = physical;
        }
        location["logicalLocations"] = logical;
        location
    }

    /// A file of the workspace in a log; none for one that is not in it.
    fn uri(&self, file: &Path) -> Option<String> {
        let path = self.workspace.join(file);
        let path = path.strip_prefix(&self.root).ok()?;
        let is_name = |part| matches!(part, Component::Normal(_));
        let is_plain = path.components().next().is_some() && path.components().all(is_name);
        let path = path.to_str().filter(|_| is_plain)?;
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let byte = |byte: u8| match is_unreserved(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        Some(path.bytes().map(byte).collect())
    }

    /// Writes the log.
    pub fn write(&mut self) -> Result<(), ReportFileError> {
        let results = std::mem::take(&mut self.results).into_values();
        let diagnosed = std::mem::take(&mut self.diagnosed).into_values();
        let results: Vec<Value> = results.chain(diagnosed).collect();
        let rules = Code::ALL.map(rule).into_iter().chain([rule_of_flaky()]);
        let rules: Vec<Value> = rules.collect();
        let mut invocation = json!({ "executionSuccessful": true });
        if self.cut > 0 {
            let text = format!("{} more are left out", counted(self.cut, "finding"));
            invocation["toolExecutionNotifications"] =
                json!([{ "level": "warning", "message": { "text": text } }]);
        }
        let log = json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "cargo-isotest",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "informationUri": env!("CARGO_PKG_REPOSITORY"),
                    "rules": rules,
                } },
                "invocations": [invocation],
                "originalUriBaseIds": {
                    ROOT: { "description": { "text": "The root of the repository or workspace" } },
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
            }],
        });
        let text = serde_json::to_vec_pretty(&log).map_err(io::Error::other);
        self.file.write(text)
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.name(),
        "shortDescription": { "text": code.description() },
        "fullDescription": { "text": code.description() },
        "help": { "text": code.help(), "markdown": code.help() },
        "helpUri": HELP,
        "defaultConfiguration": { "level": level(Level::of_code(code)) },
        "properties": { "tags": ["test", "isolation"] },
    })
}

/// The rule of tests that fail now and then.
fn rule_of_flaky() -> Value {
    let text =
        "A failed test that was found to be flaky by `cargo isotest diagnose`, in this build";
    let help = "`cargo isotest repro CASE` makes it fail again; `cargo isotest prove-fixed CASE` checks a fix.";
    json!({
        "id": FLAKY,
        "shortDescription": { "text": text },
        "fullDescription": { "text": text },
        "help": { "text": help, "markdown": help },
        "helpUri": HELP_FLAKY,
        "defaultConfiguration": { "level": "warning" },
        "properties": { "tags": ["test", "flaky"] },
    })
}

/// The same for the same finding of every run.
fn fingerprint(label: &str, code: Code, number: usize) -> String {
    digest(&format!("{label}\0{code}\0{number}"))
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text in which nothing is a link or a placeholder, as a message may have them (3.11.5 and 3.11.6).
/// Other brackets stay as they are: readers show the escapes.
fn plain(text: &str) -> String {
    let mut plain = text.to_owned();
    if text.contains("](") {
        plain = plain.replace('[', r"\[").replace(']', r"\]");
    }
    let is_placeholder = |rest: &str| {
        let (number, _) = rest.split_once('}').unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split('{').skip(1).any(is_placeholder) {
        true => plain.replace('{', "{{").replace('}', "}}"),
        false => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::suite::example;

    fn written(outcomes: Vec<(usize, Outcome)>) -> Value {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("findings.sarif");
        let (workspace, repository) = (Path::new("/w/sub"), Path::new("/w"));
        let mut sarif =
            Sarif::create(&path, &[], workspace, Some(repository)).expect("it is writable");
        let suites = [example(&["a", "[b](http://c) {0}"])];
        for (case, outcome) in outcomes {
            sarif.observe(&suites, CaseIndex { binary: 0, case }, &outcome);
        }
        sarif.write().expect("it is writable");
        let text = std::fs::read(&path).expect("it is there");
        serde_json::from_slice(&text).expect("it is JSON")
    }

    fn having(verdict: Verdict, findings: Vec<Finding>) -> Outcome {
        Outcome { findings, ..Outcome::without_run(verdict) }
    }

    #[test]
    fn a_finding_is_a_result_at_the_panic_or_in_the_source_of_the_target() {
        let mut failed = having(Verdict::Failed { code: 101 }, vec![Finding::NetworkTried(2)]);
        failed.output.head = b"thread 'a' (7) panicked at tests/it \xc3\xa4.rs:3:5:\nx\n".to_vec();
        let passed = having(Verdict::Passed, vec![Finding::SignalDiscarded(15)]);
        let log = written(vec![(1, passed.clone()), (0, failed.clone())]);
        let results = &log["runs"][0]["results"];
        let physical = |at: usize| &results[at]["locations"][0]["physicalLocation"];
        assert_eq!(physical(0)["artifactLocation"]["uri"], "sub/tests/it%20%C3%A4.rs");
        assert_eq!(physical(0)["region"]["startLine"], 3);
        assert_eq!(
            (&results[0]["level"], &results[0]["ruleIndex"]),
            (&json!("warning"), &json!(0))
        );
        assert_eq!(physical(1)["artifactLocation"]["uri"], "sub/tests/it.rs");
        assert_eq!(results[1]["level"], "note");
        let text = "demo::it::\\[b\\](http://c) {{0}} sent itself SIGTERM, which PID 1 of a pid \
                    namespace never receives";
        assert_eq!(results[1]["message"]["text"], text);
        let again = written(vec![(0, failed), (1, passed)]);
        assert_eq!(log, again, "the order of the cases is that of the list");
    }

    #[test]
    fn two_findings_of_a_code_have_two_fingerprints_and_files_outside_are_not_named() {
        let limit = |what: &'static str| Finding::LimitReached(what.into(), "--flag".into());
        let mut failed =
            having(Verdict::Failed { code: 101 }, vec![limit("memory"), limit("output")]);
        failed.output.head = b"thread 'a' (7) panicked at ../../etc/passwd:3:5:\nx\n".to_vec();
        let log = written(vec![(0, failed)]);
        let results = &log["runs"][0]["results"];
        assert_ne!(results[0]["partialFingerprints"], results[1]["partialFingerprints"]);
        let physical = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], "sub/tests/it.rs");
        assert_eq!(physical.get("region"), None);
    }
}
