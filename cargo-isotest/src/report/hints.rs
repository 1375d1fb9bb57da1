//! Explanations of failures in the closing block: what a failed test passes with, and the lines of
//! configuration for it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use isotest_core::case::CaseIndex;
use isotest_core::escape::{escape, is_deceptive};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::groups::{GroupLines, LINES, write_more};
use super::paint::{self, HINT};
use super::suite::{self, Suite};
use super::words::counted;

/// Maximum number of tests of a binary that a filter names one by one.
const NAMED: usize = 5;

/// A difference from the policy of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// The flags.
    pub flag: String,
    /// The difference that they make.
    pub why: String,
    /// The same as keys of the configuration, a line each.
    pub setting: String,
}

/// A remedy with which failed cases pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The remedy.
    pub remedy: Remedy,
    /// The cases that pass.
    pub cases: Vec<CaseIndex>,
}

/// Results of the rerun variants: failed cases run once more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reruns {
    /// Cases that passed unchanged.
    pub flaky: Vec<CaseIndex>,
    /// Remedies with which the others pass.
    pub hints: Vec<Hint>,
}

impl Reruns {
    /// Writes them.
    pub fn write(&self, suites: &[Suite], colour: bool, err: &mut dyn Write) -> io::Result<()> {
        if !self.flaky.is_empty() {
            let mut group = GroupLines::default();
            self.flaky.iter().for_each(|index| group.add(|| suite::label(suites, *index)));
            let tests = counted(self.flaky.len(), "failed test");
            let verb = if self.flaky.len() == 1 { "it is" } else { "they are" };
            let title = format!("{tests} passed when run once more, unchanged: {verb} flaky");
            group.write(&title, colour, err)?;
        }
        self.hints.iter().try_for_each(|hint| hint.write(suites, colour, err))
    }
}

impl Hint {
    fn write(&self, suites: &[Suite], colour: bool, err: &mut dyn Write) -> io::Result<()> {
        let Hint { remedy: Remedy { flag, why, .. }, cases } = self;
        let title = paint::styled(colour, HINT, "help");
        let tests = counted(cases.len(), "failed test");
        let verb = if cases.len() == 1 { "passes" } else { "pass" };
        writeln!(err, "\n{title}: {tests} {verb} with `{}` ({why})", escape(flag))?;
        for index in cases.iter().take(LINES) {
            writeln!(err, "    {}", suite::label(suites, *index))?;
        }
        write_more(cases.len().saturating_sub(LINES), err)?;
        match self.configuration(suites) {
            None => Ok(()),
            Some(lines) => {
                writeln!(err, "  in .config/isotest.toml:")?;
                lines.lines().try_for_each(|line| writeln!(err, "    {line}"))
            }
        }
    }

    /// An override for these cases, as text of the configuration file. `None` if a name has
    /// characters that a reader would not see.
    pub fn configuration(&self, suites: &[Suite]) -> Option<String> {
        let Remedy { why, setting, .. } = &self.remedy;
        let filter = filter(suites, &self.cases);
        let is_visible =
            !filter.contains(is_deceptive) && !setting.replace('\n', "").contains(is_deceptive);
        let (filter, why) = (Value::from(filter), Value::from(why.as_str()));
        let lines =
            format!("[[profile.default.override]]\nfilter = {filter}\n{setting}\nreason = {why}\n");
        is_visible.then_some(lines)
    }
}

/// A filter expression for these cases.
fn filter(suites: &[Suite], cases: &[CaseIndex]) -> String {
    let mut binaries: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for index in cases {
        let suite = &suites[index.binary];
        binaries.entry(&suite.id).or_default().push(&suite.cases[index.case].name);
    }
    let of_binary = |(id, names): (&str, Vec<&str>)| {
        let binary = format!("binary_id(={})", literal(id));
        let tests: Vec<String> =
            names.iter().map(|name| format!("test(={})", literal(name))).collect();
        match tests.as_slice() {
            [test] => format!("({binary} & {test})"),
            tests if tests.len() <= NAMED => format!("({binary} & ({}))", tests.join(" | ")),
            _ => binary,
        }
    };
    let parts: Vec<String> = binaries.into_iter().map(of_binary).collect();
    match parts.as_slice() {
        [part] => {
            let inner = part.strip_prefix('(').and_then(|part| part.strip_suffix(')'));
            inner.unwrap_or(part).to_owned()
        }
        parts => parts.join(" | "),
    }
}

/// A text in a matcher of a filter expression.
pub fn literal(text: &str) -> String {
    let mut literal = String::new();
    for character in text.chars() {
        if matches!(character, '\\' | ')' | ',') {
            literal.push('\\');
        }
        literal.push(character);
    }
    literal
}
