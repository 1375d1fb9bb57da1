//! Explanations of failures in the closing block: what a failed test passes with, and the lines of
//! configuration for it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use isotest_core::case::CaseIndex;
use isotest_core::escape::{escape, is_deceptive};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::groups::{LINES, write_more};
use super::options::FindingsShown;
use super::paint::{self, HINT, WARNING};
use super::suite::{self, Suite};
use super::words::{counted, more};

/// Maximum number of tests of one cause that are named, and of a binary that a filter names one by
/// one.
const NAMED: usize = 5;
/// Maximum number of tests that are named in a line.
const FEW: usize = 3;

/// A difference from the policy of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// The flags.
    pub flag: String,
    /// What tests have without them, as a sentence.
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

/// Something that failed cases looked for and that is given to none unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untried {
    /// It, with the addresses or the processes that the cases asked for.
    pub what: String,
    /// The flags that give it.
    pub flag: String,
    /// The cases.
    pub cases: Vec<CaseIndex>,
}

/// Results of the rerun variants: failed cases run once more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reruns {
    /// Cases that passed unchanged.
    pub flaky: Vec<CaseIndex>,
    /// Remedies with which the others pass.
    pub hints: Vec<Hint>,
    /// What the rest looked for and was not given.
    #[serde(default)]
    pub untried: Vec<Untried>,
    /// Cases that fail with all layers of the host as well.
    #[serde(default)]
    pub unaffected: Vec<CaseIndex>,
}

/// How many cases of one thing are named.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// Maximum number of cases.
    pub most: usize,
    /// The command or the flag that names all.
    pub all: &'a str,
}

impl<'a> Naming<'a> {
    /// As many as the findings that are shown; `all` names all.
    pub fn of(shown: FindingsShown, all: &'a str) -> Naming<'a> {
        let most = match shown {
            FindingsShown::All => usize::MAX,
            FindingsShown::Summary | FindingsShown::None => NAMED,
        };
        Naming { most, all }
    }

    fn write(self, suites: &[Suite], cases: &[CaseIndex], err: &mut dyn Write) -> io::Result<()> {
        for index in cases.iter().take(self.most) {
            writeln!(err, "    {}", suite::label(suites, *index))?;
        }
        match more(cases.len().saturating_sub(self.most)) {
            None => Ok(()),
            Some(more) => writeln!(err, "    {more} (`{}`)", self.all),
        }
    }
}

impl Reruns {
    /// All cases that are named.
    pub fn cases(&self) -> impl Iterator<Item = &CaseIndex> {
        let hinted = self.hints.iter().flat_map(|hint| &hint.cases);
        let untried = self.untried.iter().flat_map(|untried| &untried.cases);
        self.flaky.iter().chain(hinted).chain(untried).chain(&self.unaffected)
    }

    /// Adds those of other cases: what helps both is told once.
    pub fn extend(&mut self, others: Reruns) {
        self.flaky.extend(others.flaky);
        self.unaffected.extend(others.unaffected);
        for hint in others.hints {
            match self.hints.iter_mut().find(|known| known.remedy == hint.remedy) {
                Some(known) => known.cases.extend(hint.cases),
                None => self.hints.push(hint),
            }
        }
        let same = |known: &Untried, it: &Untried| known.flag == it.flag && known.what == it.what;
        for untried in others.untried {
            match self.untried.iter_mut().find(|known| same(known, &untried)) {
                Some(known) => known.cases.extend(untried.cases),
                None => self.untried.push(untried),
            }
        }
    }

    /// Writes them.
    pub fn write(
        &self,
        suites: &[Suite],
        naming: Naming<'_>,
        colour: bool,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        if !self.flaky.is_empty() {
            let title = paint::styled(colour, WARNING, "warning");
            let tests = counted(self.flaky.len(), "failed test");
            let verb = if self.flaky.len() == 1 { "it is" } else { "they are" };
            writeln!(err, "\n{title}: {tests} passed when run once more, unchanged: {verb} flaky")?;
            naming.write(suites, &self.flaky, err)?;
        }
        self.hints.iter().try_for_each(|hint| hint.write(suites, naming, colour, err))?;
        self.write_unaffected(suites, naming, colour, err)?;
        self.write_untried(suites, colour, err)
    }

    /// The same as texts: a title each, and behind it the lines below it.
    pub fn texts(&self, suites: &[Suite]) -> Vec<(String, String)> {
        let named = |cases: &[CaseIndex]| {
            let names = cases.iter().take(NAMED).map(|index| suite::label(suites, *index));
            let names = names.chain(more(cases.len().saturating_sub(NAMED)));
            names.map(|name| name + "\n").collect::<String>()
        };
        let hints = self.hints.iter().map(|hint| {
            let lines = hint.configuration(suites).unwrap_or_default();
            (hint.title(), named(&hint.cases) + &lines)
        });
        let unaffected = (!self.unaffected.is_empty())
            .then(|| (self.unaffected_title(), named(&self.unaffected)));
        let lines = self.untried.iter().take(LINES).map(|it| it.line(suites) + "\n");
        let untried =
            (!self.untried.is_empty()).then(|| (UNTRIED.to_owned(), lines.collect::<String>()));
        hints.chain(unaffected).chain(untried).collect()
    }

    fn write_unaffected(
        &self,
        suites: &[Suite],
        naming: Naming<'_>,
        colour: bool,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        if self.unaffected.is_empty() {
            return Ok(());
        }
        let title = paint::styled(colour, HINT, "note");
        writeln!(err, "\n{title}: {}", self.unaffected_title())?;
        naming.write(suites, &self.unaffected, err)
    }

    /// `2 tests fail with all layers of this machine as well`
    fn unaffected_title(&self) -> String {
        let tests = counted(self.unaffected.len(), "test");
        let verb = if self.unaffected.len() == 1 { "fails" } else { "fail" };
        format!("{tests} {verb} with all layers of this machine as well: none of them is the cause")
    }

    fn write_untried(&self, suites: &[Suite], colour: bool, err: &mut dyn Write) -> io::Result<()> {
        if self.untried.is_empty() {
            return Ok(());
        }
        let title = paint::styled(colour, HINT, "help");
        writeln!(err, "\n{title}: {UNTRIED}")?;
        for untried in self.untried.iter().take(LINES) {
            writeln!(err, "    {}", untried.line(suites))?;
        }
        write_more(self.untried.len().saturating_sub(LINES), err)
    }
}

/// Title of what was not given to failed tests.
const UNTRIED: &str = "failed tests looked for what the sandbox does not have; \
    `--explain-failures always` tries it";

impl Untried {
    /// `the network (tcp 192.0.2.1:80): `--net host` (demo::it::a)`
    fn line(&self, suites: &[Suite]) -> String {
        let Untried { what, flag, cases } = self;
        let named: Vec<String> =
            cases.iter().take(FEW).map(|index| suite::label(suites, *index)).collect();
        let more = match cases.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}: `{}` ({}{more})", escape(what), escape(flag), named.join(", "))
    }
}

impl Hint {
    fn write(
        &self,
        suites: &[Suite],
        naming: Naming<'_>,
        colour: bool,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        let title = paint::styled(colour, HINT, "help");
        writeln!(err, "\n{title}: {}", self.title())?;
        naming.write(suites, &self.cases, err)?;
        match self.configuration(suites) {
            None => Ok(()),
            Some(lines) => {
                writeln!(err, "  in .config/isotest.toml:")?;
                lines.lines().try_for_each(|line| writeln!(err, "    {line}"))
            }
        }
    }

    /// `2 tests fail because …: they pass with `--init reaper``
    fn title(&self) -> String {
        let Hint { remedy: Remedy { flag, why, .. }, cases } = self;
        let tests = counted(cases.len(), "test");
        let (verb, passes) = match cases.len() {
            1 => ("fails", "it passes"),
            _ => ("fail", "they pass"),
        };
        format!("{tests} {verb} because {}: {passes} with `{}`", escape(why), escape(flag))
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
