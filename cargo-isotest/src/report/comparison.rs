//! Comparison of two recorded runs. [`Comparison::of`] decides; the rest prints.

use std::io::{self, Write};

use isotest_core::escape::escape;
use serde::Serialize;

use super::fact::State;
use super::message_test::Test;
use super::paint::{ERROR, GOOD, STRONG, WARNING};
use super::plain_json;
use super::results::{BinaryName, Results, TestResult, shown_binary};
use super::runs::Listing;
use super::words::counted;

/// A test is slower if it takes so many times as long as before …
const TIMES: f64 = 2.0;

/// … and so many seconds longer.
const SECONDS: f64 = 0.05;

/// The differences between two runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// The first run.
    pub a: Listing,
    /// The second run.
    pub b: Listing,
    /// Number of tests that both runs have selected.
    pub compared: usize,
    /// Failed in B, and not in A; new tests among them.
    pub new_failing: Vec<Change>,
    /// Failed in A, and passed in B.
    pub fixed: Vec<Change>,
    /// Flaky in B, and not in A.
    pub newly_flaky: Vec<Change>,
    /// Passed in both, and took at least twice as long, and 50 ms longer, in B.
    pub slower: Vec<Change>,
    /// Findings in B that the test did not have in A; those of new tests among them.
    pub new_findings: Vec<NewFinding>,
    /// Tests that a binary has in B and, with nothing filtered out, not in A.
    pub new_tests: Vec<Change>,
    /// Tests that a binary had in A and, with nothing filtered out, not in B.
    pub gone_tests: Vec<Change>,
    /// Tests of a binary that the other run did not select, or does not have.
    pub left_out: Vec<LeftOut>,
}

/// A test in both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The test.
    #[serde(flatten)]
    pub test: Test,
    /// Its result in A.
    pub before: Option<Side>,
    /// Its result in B.
    pub after: Option<Side>,
}

/// Result of a test in one of the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Its verdict; none if it has not ended.
    pub verdict: Option<String>,
    /// What the verdict counts as.
    pub state: State,
    /// Its duration in seconds.
    pub seconds: f64,
}

/// A finding that is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewFinding {
    /// The test.
    #[serde(flatten)]
    pub test: Test,
    /// Its code.
    pub finding: String,
    /// The same in words.
    pub text: String,
}

/// Tests of a binary that only one of the runs has selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeftOut {
    /// The binary.
    #[serde(flatten)]
    pub binary: BinaryName,
    /// Number of them.
    pub tests: usize,
    /// The run that has them.
    pub only_in: Name,
}

/// Name of a run in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// The first one.
    A,
    /// The second one.
    B,
}

impl Comparison {
    /// Compares two runs.
    pub fn of(a: &Results, b: &Results) -> Comparison {
        let mut comparison = Comparison {
            a: a.run.clone(),
            b: b.run.clone(),
            compared: 0,
            new_failing: Vec::new(),
            fixed: Vec::new(),
            newly_flaky: Vec::new(),
            slower: Vec::new(),
            new_findings: Vec::new(),
            new_tests: Vec::new(),
            gone_tests: Vec::new(),
            left_out: Vec::new(),
        };
        for (binary, test, after) in b.tests() {
            if let Some(before) = a.of(binary, test) {
                comparison.compare(binary, test, before, after);
            }
        }
        comparison.only_in(Name::A, a, b);
        comparison.only_in(Name::B, b, a);
        comparison
    }

    /// Compares the results of a test that both runs have.
    fn compare(
        &mut self,
        binary: &BinaryName,
        test: &str,
        before: &TestResult,
        after: &TestResult,
    ) {
        self.compared += 1;
        let change = || Change {
            test: named(binary, test),
            before: Some(Side::of(before)),
            after: Some(Side::of(after)),
        };
        match (before.state, after.state) {
            (was, State::Failed) if was != State::Failed => self.new_failing.push(change()),
            (State::Failed, State::Passed) => self.fixed.push(change()),
            (was, State::Flaky) if was != State::Flaky => self.newly_flaky.push(change()),
            (was, is) if was.is_passed() && is.is_passed() => {
                let (before, after) = (before.seconds, after.seconds);
                if after >= TIMES * before && after - before >= SECONDS {
                    self.slower.push(change());
                }
            }
            _ => {}
        }
        self.add_findings(binary, test, Some(before), after);
    }

    fn add_findings(
        &mut self,
        binary: &BinaryName,
        test: &str,
        before: Option<&TestResult>,
        after: &TestResult,
    ) {
        let is_known = |code: &str| before.is_some_and(|before| before.findings.contains_key(code));
        let new = after.findings.iter().filter(|(code, _)| !is_known(code));
        self.new_findings.extend(new.map(|(finding, text)| NewFinding {
            test: named(binary, test),
            finding: finding.clone(),
            text: text.clone(),
        }));
    }

    /// Notes the tests that only one of the runs has.
    fn only_in(&mut self, name: Name, run: &Results, other: &Results) {
        for (binary, results) in &run.binaries {
            let there = other.binaries.get(binary);
            let has = |test: &str| there.is_some_and(|there| there.tests.contains_key(test));
            let only = results.tests.iter().filter(|(test, _)| !has(test));
            if there.is_none_or(|there| there.filtered_out > 0) {
                let tests = only.count();
                if tests > 0 {
                    self.left_out.push(LeftOut { binary: binary.clone(), tests, only_in: name });
                }
                continue;
            }
            for (test, result) in only {
                let (side, named) = (Some(Side::of(result)), named(binary, test));
                match name {
                    Name::A => {
                        self.gone_tests.push(Change { test: named, before: side, after: None });
                    }
                    Name::B => {
                        let change = Change { test: named, before: None, after: side };
                        if result.state == State::Failed {
                            self.new_failing.push(change.clone());
                        }
                        self.new_tests.push(change);
                        self.add_findings(binary, test, None, result);
                    }
                }
            }
        }
    }

    /// Prints it for people.
    pub fn for_people(&self) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        for (name, run) in [("A", &self.a), ("B", &self.b)] {
            writeln!(out, "{STRONG}{name}{STRONG:#}  {}", run.line())?;
        }
        let slower = format!("slower: at least {TIMES} times, and {} ms", SECONDS * 1000.0);
        let sections = [
            ("failed in B, and not in A", ERROR, &self.new_failing, Shown::Verdicts),
            ("fixed in B", GOOD, &self.fixed, Shown::Verdicts),
            ("flaky in B, and not in A", WARNING, &self.newly_flaky, Shown::Verdicts),
            (slower.as_str(), WARNING, &self.slower, Shown::Durations),
            ("new tests in B", STRONG, &self.new_tests, Shown::Verdicts),
            ("gone in B", STRONG, &self.gone_tests, Shown::Verdicts),
        ];
        let mut is_different = !self.new_findings.is_empty();
        for (title, style, changes, shown) in sections {
            if !changes.is_empty() {
                is_different = true;
                writeln!(out, "\n{style}{title}{style:#} ({})", changes.len())?;
            }
            for change in changes {
                let Change { test, before, after } = change;
                writeln!(out, "    {}  {}", title_of(test), shown.words(before, after))?;
            }
        }
        if !self.new_findings.is_empty() {
            let count = self.new_findings.len();
            writeln!(out, "\n{WARNING}new findings in B{WARNING:#} ({count})")?;
        }
        for NewFinding { test, finding, text } in &self.new_findings {
            let text = escape(text);
            writeln!(out, "    {}  {}: {text}", title_of(test), escape(finding))?;
        }
        if !is_different {
            let what = match self.compared {
                0 => "no test is in both runs".to_owned(),
                compared => format!("no difference in {}", counted(compared, "test")),
            };
            writeln!(out, "\n{what}")?;
        }
        if !self.left_out.is_empty() {
            writeln!(out)?;
        }
        for LeftOut { binary, tests, only_in } in &self.left_out {
            let (has, lacks) = match only_in {
                Name::A => ("A", "B"),
                Name::B => ("B", "A"),
            };
            writeln!(
                out,
                "note: {} of `{}` only in {has}: {lacks} selected others",
                counted(*tests, "test"),
                shown_binary(&binary.binary, binary.root.as_deref()),
            )?;
        }
        out.flush()
    }

    /// Prints it as one object.
    pub fn for_programs(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        plain_json::write(&mut out, self)?;
        writeln!(out)
    }
}

/// What a line says of a test.
#[derive(Clone, Copy)]
enum Shown {
    Verdicts,
    Durations,
}

impl Shown {
    fn words(self, before: &Option<Side>, after: &Option<Side>) -> String {
        let words = |side: &Side| match self {
            Shown::Verdicts => side.state.words(side.verdict.as_deref()),
            Shown::Durations => format!("{:.2}s", side.seconds),
        };
        let sides = [before, after].into_iter().flatten().map(words);
        sides.collect::<Vec<_>>().join(" -> ")
    }
}

impl Side {
    fn of(result: &TestResult) -> Side {
        let verdict = Some(result.verdict.clone()).filter(|verdict| !verdict.is_empty());
        Side { verdict, state: result.state, seconds: result.seconds }
    }
}

fn named(binary: &BinaryName, test: &str) -> Test {
    Test { binary: binary.binary.clone(), root: binary.root.clone(), test: test.to_owned() }
}

fn title_of(Test { binary, root, test }: &Test) -> String {
    format!("{} {}", shown_binary(binary, root.as_deref()), escape(test))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fact::Fact;

    /// A run of a binary with these tests: name, verdict, flaky, seconds, findings.
    fn run(filtered_out: usize, tests: &[(&str, &str, bool, f64, &[&str])]) -> Results {
        let mut results = Results::new(Listing::new("id".to_owned(), 0));
        let names: Vec<&str> = tests.iter().map(|(name, ..)| *name).collect();
        let mut take = |value: serde_json::Value| {
            let line = serde_json::to_vec(&value).expect("plain data");
            let (at, fact) = Fact::read(&line).expect("a fact");
            results.take(at, fact).expect("short names");
        };
        take(serde_json::json!({
            "type": "binary", "at": 0, "binary": "b", "tests": names, "filtered-out": filtered_out,
        }));
        for (test, verdict, flaky, seconds, findings) in tests {
            let findings: Vec<_> =
                findings.iter().map(|code| serde_json::json!({"finding": code})).collect();
            take(serde_json::json!({
                "type": "test-finished", "at": 1, "binary": "b", "test": test, "verdict": verdict,
                "flaky": flaky, "seconds": seconds, "findings": findings,
            }));
        }
        results
    }

    fn names(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.test.test.as_str()).collect()
    }

    #[test]
    fn each_difference_is_told_once() {
        let a = run(
            0,
            &[
                ("breaks", "passed", false, 0.1, &[]),
                ("mended", "signalled", false, 0.1, &["x"]),
                ("shaky", "passed", false, 0.1, &[]),
                ("mended-shaky", "failed", false, 0.1, &[]),
                ("slow", "passed", false, 0.1, &[]),
                ("short", "passed", false, 0.001, &[]),
                ("dials", "passed", false, 0.1, &["x"]),
                ("old", "passed", false, 0.1, &[]),
                ("same", "failed", false, 0.1, &[]),
            ],
        );
        let b = run(
            0,
            &[
                ("breaks", "timed-out", false, 9.0, &[]),
                ("mended", "passed", false, 0.1, &[]),
                ("shaky", "passed", true, 0.1, &[]),
                ("mended-shaky", "flaky", true, 0.1, &[]),
                ("slow", "passed", false, 0.2, &[]),
                ("short", "passed", false, 0.04, &[]),
                ("dials", "passed", false, 0.1, &["x", "y"]),
                ("new", "failed", false, 0.1, &[]),
                ("same", "failed", false, 0.9, &[]),
            ],
        );
        let found = Comparison::of(&a, &b);
        assert_eq!(names(&found.new_failing), ["breaks", "new"]);
        assert_eq!(names(&found.fixed), ["mended"]);
        assert_eq!(names(&found.newly_flaky), ["mended-shaky", "shaky"]);
        assert_eq!(names(&found.slower), ["slow"]);
        assert_eq!(names(&found.new_tests), ["new"]);
        assert_eq!(names(&found.gone_tests), ["old"]);
        let findings = &found.new_findings;
        assert_eq!((findings.len(), findings[0].finding.as_str()), (1, "y"));
        assert_eq!((found.compared, found.left_out), (8, Vec::new()));
    }

    #[test]
    fn a_test_that_a_filter_has_left_out_is_not_gone() {
        let whole =
            run(0, &[("one", "passed", false, 0.1, &[]), ("two", "passed", false, 0.1, &[])]);
        let part = run(1, &[("one", "passed", false, 0.1, &[])]);
        let found = Comparison::of(&whole, &part);
        assert!(found.gone_tests.is_empty());
        assert_eq!((found.left_out[0].tests, found.left_out[0].only_in), (1, Name::A));
        let found = Comparison::of(&part, &whole);
        assert!(found.new_tests.is_empty());
        assert_eq!(found.left_out[0].only_in, Name::B);
        let nothing = Results::new(Listing::new("id".to_owned(), 0));
        let found = Comparison::of(&nothing, &whole);
        assert_eq!((found.compared, found.left_out[0].tests), (0, 2));
    }
}
