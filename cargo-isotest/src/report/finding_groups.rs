//! Findings by their code, as the closing block lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use isotest_core::case::CaseIndex;
use isotest_core::finding::{Code, Finding};
use isotest_core::outcome::Verdict;

use super::groups::write_more;
use super::options::FindingsShown;
use super::paint::{self, ERROR, HINT, WARNING};
use super::suite::{self, Suite};
use super::words::counted;

/// Maximum number of lines for one code, where not all are shown.
pub const LINES: usize = 5;

/// Maximum number of findings of one code that are kept, where not all are shown.
const KEPT: usize = 1000;

/// The one who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doer {
    /// A case.
    Case(CaseIndex),
    /// A case of this binary, whose cases share a sandbox.
    OneOf(usize),
}

impl Doer {
    fn label(self, suites: &[Suite]) -> String {
        match self {
            Doer::Case(index) => suite::label(suites, index),
            Doer::OneOf(binary) => format!("a test of {}", suites[binary].id),
        }
    }
}

/// Weight of the findings of one code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// All cases that have it passed.
    Note,
    /// A case that has it failed, or something that was asked for was not done.
    Warning,
    /// A case failed for it.
    Error,
}

/// All findings of a run.
#[derive(Debug)]
pub struct FindingGroups {
    shown: FindingsShown,
    groups: BTreeMap<Code, Group>,
}

/// The findings of one code.
#[derive(Debug)]
pub struct Group {
    level: Level,
    /// Number of those who have one.
    doers: usize,
    last: Option<Doer>,
    /// Number of findings.
    count: usize,
    /// The first of them.
    kept: Vec<Kept>,
}

/// One finding.
#[derive(Debug)]
struct Kept {
    doer: Doer,
    text: String,
    gist: String,
}

impl Level {
    /// Weight of a finding of a case with this verdict.
    pub fn of(finding: &Finding, verdict: &Verdict) -> Level {
        match verdict {
            Verdict::Denied(denied) if denied.contains(finding) => Level::Error,
            Verdict::Denied(_) => Level::of_code(finding.code()),
            verdict if verdict.is_failure() => Level::Warning,
            _ => Level::of_code(finding.code()),
        }
    }

    /// Weight of such a finding of a case that passed.
    pub fn of_code(code: Code) -> Level {
        if code == Code::WriteBackFailed { Level::Warning } else { Level::Note }
    }
}

impl FindingGroups {
    /// No findings yet.
    pub fn new(shown: FindingsShown) -> FindingGroups {
        FindingGroups { shown, groups: BTreeMap::new() }
    }

    /// Takes one.
    pub fn add(&mut self, doer: Doer, finding: &Finding, verdict: &Verdict) {
        let code = finding.code();
        let group = self.groups.entry(code).or_insert_with(|| Group {
            level: Level::Note,
            doers: 0,
            last: None,
            count: 0,
            kept: Vec::new(),
        });
        group.level = group.level.max(Level::of(finding, verdict));
        group.doers += usize::from(group.last.replace(doer) != Some(doer));
        group.count += 1;
        if self.shown == FindingsShown::All || group.kept.len() < KEPT {
            let (text, gist) = (finding.to_string(), finding.gist());
            group.kept.push(Kept { doer, text, gist });
        }
    }

    /// True if there is one that is more than a note.
    pub fn have_warnings(&self) -> bool {
        self.groups.values().any(|group| group.level > Level::Note)
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Each code, with its findings.
    pub fn groups(&self) -> impl Iterator<Item = (Code, &Group)> {
        self.groups.iter().map(|(code, group)| (*code, group))
    }

    /// Writes them; `all` is the command that shows all of them.
    pub fn write(
        &self,
        suites: &[Suite],
        all: &str,
        colour: bool,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        let is_whole = match self.shown {
            FindingsShown::None => return Ok(()),
            FindingsShown::Summary => false,
            FindingsShown::All => true,
        };
        let mut hides = false;
        for (code, group) in &self.groups {
            let (style, word) = match group.level {
                Level::Note => (HINT, "note"),
                Level::Warning => (WARNING, "warning"),
                Level::Error => (ERROR, "error"),
            };
            let word = paint::styled(colour, style, format_args!("{word}[{code}]"));
            writeln!(err, "\n{word}: {}", group.title(*code))?;
            let (lines, hidden) = match is_whole || group.count <= LINES {
                true => group.all(suites),
                false => group.lines(suites),
            };
            for line in &lines {
                writeln!(err, "    {line}")?;
            }
            write_more(hidden, err)?;
            hides |= lines.len() < group.count;
        }
        if hides {
            let help = paint::styled(colour, HINT, "help");
            writeln!(err, "\n{help}: to list all findings\n    {all}")?;
        }
        Ok(())
    }
}

impl Group {
    /// Its weight.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Its title.
    pub fn title(&self, code: Code) -> String {
        title(code, self.doers)
    }

    /// Each finding.
    fn all(&self, suites: &[Suite]) -> (Vec<String>, usize) {
        let mut kept: Vec<&Kept> = self.kept.iter().collect();
        kept.sort_by_key(|one| one.doer);
        let line = |one: &Kept| format!("{}: {}", one.doer.label(suites), one.text);
        (kept.into_iter().map(line).collect(), 0)
    }

    /// A line for all findings that say the same, those of the most cases first, and the number of
    /// findings that no line is for.
    pub fn lines(&self, suites: &[Suite]) -> (Vec<String>, usize) {
        let mut same: BTreeMap<&str, Vec<&Kept>> = BTreeMap::new();
        for one in &self.kept {
            same.entry(&one.gist).or_default().push(one);
        }
        let mut same: Vec<(&str, Vec<&Kept>)> = same.into_iter().collect();
        // In the order of the list, however the cases were started.
        same.sort_by_key(|(_, kept)| {
            (std::cmp::Reverse(kept.len()), kept.iter().map(|one| one.doer).min())
        });
        same.truncate(LINES);
        let shown: usize = same.iter().map(|(_, kept)| kept.len()).sum();
        let line = |(gist, kept): (&str, Vec<&Kept>)| match kept.as_slice() {
            [one] => format!("{}: {}", one.doer.label(suites), one.text),
            kept => {
                let doers: BTreeSet<Doer> = kept.iter().map(|one| one.doer).collect();
                format!("{}: {gist}", counted(doers.len(), "test"))
            }
        };
        (same.into_iter().map(line).collect(), self.count - shown)
    }
}

/// Title of the findings of one code, in so many cases, with the flag that helps.
fn title(code: Code, count: usize) -> String {
    let tests = counted(count, "test");
    let what = match code {
        Code::NetAttempt => "tried to reach the network; `--net host` allows it",
        Code::DnsAttempt => "tried to resolve host names; `--net host` allows it",
        Code::SendsMulticast => "sent packets that stay on the loopback interface",
        Code::NetSuspected => "failed and may need the network; `--net host` may help",
        Code::ListensFixedPort => "still listened on a fixed port at the end",
        Code::LeavesProcess => "left processes behind",
        Code::LeavesThread => "left threads behind",
        Code::LeavesIpc => "left IPC objects behind",
        Code::WritesOutside => "changed files outside of /tmp and the target directory",
        Code::SignalDiscarded => "sent a signal that the kernel discarded",
        Code::LimitHit => "reached a limit",
        Code::LimitSuspected => "may have reached a limit",
        Code::Memory => "used much memory",
        Code::OutOfMemory => "lost processes because memory ran out",
        Code::IoUringRefused => "failed and were refused io_uring; `--guard io-uring` may help",
        Code::PathNotShown => "failed and named a path that tests do not see; `--ro PATH` may help",
        Code::VariableNotPassed => {
            "failed and named a variable that does not reach tests; `--pass-env NAME` may help"
        }
        Code::WrittenBack => "wrote files that were copied into the project",
        Code::WriteBackFailed => "wrote files that could not be copied out",
    };
    format!("{tests} {what}")
}

#[cfg(test)]
mod tests {
    use isotest_core::finding::Leftover;

    use super::*;
    use crate::report::suite::example;

    fn left(pid: i32, name: &str) -> Finding {
        let (name, command_line) = (name.to_owned(), String::new());
        Finding::ProcessesLeft(vec![Leftover { pid, name, command_line, ancestors: Vec::new() }])
    }

    fn written(shown: FindingsShown, findings: &[(usize, Finding)]) -> String {
        let suites = [example(&["a", "b", "c", "d", "e", "f", "g", "h", "i"])];
        let mut groups = FindingGroups::new(shown);
        for (case, finding) in findings {
            groups.add(Doer::Case(CaseIndex { binary: 0, case: *case }), finding, &Verdict::Passed);
        }
        let mut text = Vec::new();
        groups.write(&suites, "COMMAND", false, &mut text).expect("a Vec takes all");
        String::from_utf8(text).expect("it is text")
    }

    #[test]
    fn what_many_tests_did_is_one_line_and_no_code_has_more_than_five() {
        let mut findings: Vec<_> =
            (0..7).map(|case| (case, left(3, &format!("p{case}")))).collect();
        findings.extend([(8, left(9, "p3")), (7, left(5, "p3"))]);
        let expected = "
note[leaves-process]: 9 tests left processes behind
    3 tests: left 1 process behind: p3
    demo::it::a: left 1 process behind: p0 (pid 3)
    demo::it::b: left 1 process behind: p1 (pid 3)
    demo::it::c: left 1 process behind: p2 (pid 3)
    demo::it::e: left 1 process behind: p4 (pid 3)
    … and 2 more

help: to list all findings
    COMMAND
";
        assert_eq!(written(FindingsShown::Summary, &findings), expected);
        let all = written(FindingsShown::All, &findings);
        assert!(all.contains("demo::it::h: left 1 process behind: p3 (pid 5)\n"), "{all}");
        assert_eq!(all.lines().count(), 11, "{all}");
        assert_eq!(written(FindingsShown::None, &findings), "");
    }

    #[test]
    fn a_test_with_two_findings_of_a_code_is_one_test() {
        let limit = |what: &'static str| Finding::LimitReached(what.into(), "--flag".into());
        let text = written(FindingsShown::Summary, &[(0, limit("memory")), (0, limit("output"))]);
        assert!(text.contains("note[limit-hit]: 1 test reached a limit\n"), "{text}");
        assert!(!text.contains("help"), "{text}");
    }
}
