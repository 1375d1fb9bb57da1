//! Two runs of one test, compared. Pure.

use std::collections::BTreeSet;

use isotest_core::finding::{Code, FileChange};
use isotest_core::outcome::{Outcome, Verdict};

use super::fingerprint::{Failure, normalized};
use super::told::is_of_isotest;

/// Maximum number of files that are named.
const FILES: usize = 3;

/// What is the same in two runs of a hermetic test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// It passed, or failed in this way.
    verdict: Option<Failure>,
    /// The lines of its output, with numbers and paths replaced.
    lines: Vec<String>,
    /// Files, by what became of them.
    files: BTreeSet<(char, String)>,
    /// More files were changed than were read.
    is_cut: bool,
    /// Codes of its findings.
    findings: BTreeSet<Code>,
}

/// A way in which two runs differ, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `verdict`, `output`, `files` or `findings`.
    pub what: &'static str,
    /// The first run.
    pub first: String,
    /// The second run.
    pub second: String,
}

impl Observation {
    /// What is the same, of an outcome and the files that were changed.
    pub fn of(outcome: &Outcome, (changes, is_cut): &(Vec<FileChange>, bool)) -> Observation {
        let failure = outcome.verdict.is_failure().then(|| Failure::of(outcome));
        let output = outcome.output.to_bytes();
        let output = String::from_utf8_lossy(&output);
        // A failure is compared by itself, and what follows a panic has addresses and threads.
        let lines = match outcome.verdict {
            Verdict::Passed => output.lines().map(normalized_line).collect(),
            _ => Vec::new(),
        };
        let file =
            |it: &FileChange| (it.kind.letter(), normalized_name(&it.path.to_string_lossy()));
        let findings = outcome.findings.iter().filter(|it| !is_of_isotest(it));
        Observation {
            verdict: failure,
            lines,
            files: changes.iter().map(file).collect(),
            is_cut: *is_cut,
            findings: findings.map(|it| it.code()).collect(),
        }
    }

    /// The ways in which another run differs. Their output is compared only where both passed.
    pub fn differences(&self, other: &Observation) -> Vec<Difference> {
        let verdict = self.verdict_words() != other.verdict_words();
        let verdict = verdict.then(|| Difference {
            what: "verdict",
            first: self.verdict_words(),
            second: other.verdict_words(),
        });
        let both_passed = self.verdict.is_none() && other.verdict.is_none();
        let output = if both_passed { differing_lines(&self.lines, &other.lines) } else { None };
        let is_cut = self.is_cut || other.is_cut;
        let files = if is_cut { None } else { differing_files(&self.files, &other.files) };
        let codes = |it: &BTreeSet<Code>, but: &BTreeSet<Code>| {
            listed(it.difference(but).map(Code::to_string).collect())
        };
        let findings = (self.findings != other.findings).then(|| Difference {
            what: "findings",
            first: codes(&self.findings, &other.findings),
            second: codes(&other.findings, &self.findings),
        });
        verdict.into_iter().chain(output).chain(files).chain(findings).collect()
    }

    fn verdict_words(&self) -> String {
        match &self.verdict {
            None => "passed".to_owned(),
            Some(Failure { place, message, .. }) => {
                let message = normalized_line(message.lines().next().unwrap_or_default());
                let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
                format!("failed{at}: {message}")
            }
        }
    }
}

/// The first lines that differ.
fn differing_lines(first: &[String], second: &[String]) -> Option<Difference> {
    if first == second {
        return None;
    }
    let place = first.iter().zip(second).position(|(one, other)| one != other);
    let place = place.unwrap_or(first.len().min(second.len()));
    let line = |lines: &[String]| lines.get(place).map_or("(nothing)".to_owned(), Clone::clone);
    Some(Difference { what: "output", first: line(first), second: line(second) })
}

fn differing_files(
    first: &BTreeSet<(char, String)>,
    second: &BTreeSet<(char, String)>,
) -> Option<Difference> {
    let only = |one: &BTreeSet<(char, String)>, other: &BTreeSet<(char, String)>| {
        listed(one.difference(other).map(|(kind, path)| format!("{kind} {path}")).collect())
    };
    (first != second).then(|| Difference {
        what: "files",
        first: only(first, second),
        second: only(second, first),
    })
}

fn listed(mut names: Vec<String>) -> String {
    let hidden = names.len().saturating_sub(FILES);
    names.truncate(FILES);
    match (names.is_empty(), hidden) {
        (true, _) => "none of these".to_owned(),
        (false, 0) => names.join(", "),
        (false, hidden) => format!("{} and {hidden} more", names.join(", ")),
    }
}

/// A line of output, without the space that [`normalized`] ends with.
fn normalized_line(line: &str) -> String {
    normalized(line).trim_end().to_owned()
}

/// A path whose names with digits, which process ids and times make, are replaced: `/tmp/run-N`.
fn normalized_name(path: &str) -> String {
    let name = |name: &str| {
        let mut words = String::new();
        for letter in name.chars() {
            match letter.is_ascii_digit() {
                true if words.ends_with('N') => {}
                true => words.push('N'),
                false => words.push(letter),
            }
        }
        words
    };
    path.split('/').map(name).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use isotest_core::capture::Capture;
    use isotest_core::finding::ChangeKind;

    use super::*;

    fn outcome(verdict: Verdict, output: &str) -> Outcome {
        let mut outcome = Outcome::without_run(verdict);
        let mut capture = Capture::new(1 << 16);
        capture.push(output.as_bytes());
        outcome.output = capture.finish();
        outcome
    }

    fn passed(output: &str, files: &[(ChangeKind, &str)]) -> Observation {
        let change = |(kind, path): &(ChangeKind, &str)| FileChange {
            kind: *kind,
            path: path.into(),
            size: 1,
        };
        let changes = files.iter().map(change).collect();
        Observation::of(&outcome(Verdict::Passed, output), &(changes, false))
    }

    #[test]
    fn numbers_and_paths_make_no_difference() {
        let one = passed("took 3 ms in /tmp/a1\n", &[(ChangeKind::Added, "/tmp/log-17/x")]);
        let other = passed("took 412 ms in /var/b\n", &[(ChangeKind::Added, "/tmp/log-9/x")]);
        assert_eq!(one.differences(&other), []);
    }

    #[test]
    fn the_first_line_that_differs_is_told() {
        let found = passed("a\nb left\n", &[]).differences(&passed("a\nb right\nc\n", &[]));
        let expected =
            Difference { what: "output", first: "b left".to_owned(), second: "b right".to_owned() };
        assert_eq!(found, [expected]);
        let found = passed("a\n", &[]).differences(&passed("a\nb\n", &[]));
        assert_eq!((found[0].first.as_str(), found[0].second.as_str()), ("(nothing)", "b"));
    }

    #[test]
    fn files_are_told_that_only_one_run_leaves() {
        let added = |path| (ChangeKind::Added, path);
        let one = passed("", &[added("/tmp/both"), added("/tmp/a")]);
        let other = passed("", &[added("/tmp/both")]);
        let found = one.differences(&other);
        let letter = ChangeKind::Added.letter();
        assert_eq!(found[0].what, "files");
        assert_eq!(
            (found[0].first.clone(), found[0].second.as_str()),
            (format!("{letter} /tmp/a"), "none of these")
        );
    }

    #[test]
    fn a_failure_differs_from_a_pass_and_from_another_failure() {
        let failed = |line: u32| {
            let text = format!("\nthread 'a' (7) panicked at src/lib.rs:{line}:9:\nleft 3\n");
            Observation::of(&outcome(Verdict::Failed { code: 101 }, &text), &(vec![], false))
        };
        let found = passed("x", &[]).differences(&failed(3));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].first.as_str(), found[0].second.as_str()),
            ("passed", "failed at src/lib.rs:3: left N")
        );
        assert_eq!(failed(3).differences(&failed(3)), []);
        assert_eq!(failed(3).differences(&failed(4)).len(), 1);
    }
}
