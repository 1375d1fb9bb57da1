//! GitHub Actions: annotations at the lines that failed, and a summary on the page of the run.
//!
//! Annotations are workflow commands on stderr, which the runner reads as it does stdout; the
//! summary is Markdown behind what earlier commands of the step have written. Sources: GitHub's
//! "Workflow commands for GitHub Actions".

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::outcome::{Outcome, Verdict};

use super::finding_groups::{FindingGroups, Level};
use super::hints::Reruns;
use super::suite::{self, Suite};
use super::tally::Tally;
use super::words::{self, counted};

/// Number of annotations of each level that GitHub shows for a step.
const ANNOTATIONS: usize = 10;
/// Maximum number of failed tests in the summary.
const FAILED: usize = 50;
/// Maximum bytes of each: a summary has 1 MiB at most.
const TEXT: usize = 1 << 14;

/// Variables of a workflow's step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// The checked-out repository, which paths of annotations are relative to.
    pub repository: Option<PathBuf>,
    /// The file that summaries are added to.
    pub summary: Option<PathBuf>,
}

/// Has the runner take nothing for a command until the token resumes commands.
pub fn stop_commands(token: &str, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "::stop-commands::{token}")
}

/// Has the runner take commands again.
pub fn resume_commands(token: &str, err: &mut dyn Write) -> io::Result<()> {
    writeln!(err, "::{token}::")
}

/// Workflow commands are stopped as long as this is there: names and output in a record are those of
/// tests.
#[derive(Debug)]
pub struct StoppedCommands(String);

impl StoppedCommands {
    /// Stops them.
    pub fn stop() -> io::Result<StoppedCommands> {
        let token = token();
        stop_commands(&token, &mut io::stderr())?;
        Ok(StoppedCommands(token))
    }
}

impl Drop for StoppedCommands {
    fn drop(&mut self) {
        // Where stderr is gone nobody reads commands.
        let _ = resume_commands(&self.0, &mut io::stderr());
    }
}

/// A token that no test knows.
pub fn token() -> String {
    // The keys of a `RandomState` are random.
    format!("isotest-{:016x}", RandomState::new().build_hasher().finish())
}

/// Data of the annotations and the summary.
#[derive(Debug)]
pub struct Github {
    workflow: Workflow,
    /// Token that enables workflow commands again. Tests cannot know it.
    token: String,
    /// The project's workspace, which paths of panics are relative to.
    workspace: PathBuf,
    failed: Vec<FailedCase>,
    failures: usize,
    flaky: Vec<String>,
    quarantined: Vec<String>,
    /// Explanations of failures: a title, and the lines below it.
    explained: Vec<(String, String)>,
}

#[derive(Debug)]
struct FailedCase {
    label: String,
    place: Option<(String, String)>,
    text: String,
}

impl Github {
    /// Nothing yet.
    pub fn new(workflow: Workflow, workspace: &Path) -> Github {
        let (workspace, failed, flaky) = (workspace.to_owned(), Vec::new(), Vec::new());
        let (token, quarantined, explained) = (token(), Vec::new(), Vec::new());
        Github { workflow, token, workspace, failed, failures: 0, flaky, quarantined, explained }
    }

    /// Takes note of what running failed cases once more has shown.
    pub fn take_reruns(&mut self, suites: &[Suite], reruns: &Reruns) {
        self.explained = reruns.texts(suites);
    }

    /// Takes note of a case that has ended.
    pub fn observe(&mut self, suites: &[Suite], index: CaseIndex, outcome: &Outcome) {
        let label = || suite::label(suites, index);
        if let Some(flaky) = words::flaky(outcome) {
            self.flaky.push(format!("{flaky} {}", label()));
        }
        if outcome.is_quarantined() {
            let why = words::quarantine(outcome).unwrap_or_default();
            self.quarantined.push(format!("{} failed, {why}", label()));
        }
        if !outcome.fails_run() {
            return;
        }
        self.failures += 1;
        if self.failed.len() < FAILED {
            let said = words::failure(&String::from_utf8_lossy(&words::failure_text(outcome)));
            let explained = || words::explain(&outcome.verdict);
            let text = match &outcome.verdict {
                // What it wrote is not what it failed for.
                Verdict::Denied(_) => explained(),
                _ => said.or_else(explained),
            };
            let text = text.unwrap_or_default();
            let place = self.place(&text);
            self.failed.push(FailedCase { label: label(), place, text });
        }
    }

    /// File and line of a panic, as the repository has it.
    fn place(&self, text: &str) -> Option<(String, String)> {
        let (file, line) = words::panic_place(text)?;
        let file = self.workspace.join(file);
        let file = file.strip_prefix(self.workflow.repository.as_ref()?).ok()?;
        Some((file.to_str()?.to_owned(), line.to_string()))
    }

    /// From here on nothing that is written is a command, until the annotations are: what a test
    /// prints could otherwise speak to the workflow.
    pub fn stop_commands(&self, err: &mut dyn Write) -> io::Result<()> {
        stop_commands(&self.token, err)
    }

    /// Writes the annotations: for each failed case, each flaky one, and each code of findings.
    pub fn annotate(
        &self,
        suites: &[Suite],
        findings: &FindingGroups,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        resume_commands(&self.token, err)?;
        for FailedCase { label, place, text } in self.failed.iter().take(ANNOTATIONS) {
            let place = place.as_ref().map_or(String::new(), |(file, line)| {
                format!("file={},line={line},", escaped_property(file))
            });
            let (title, text) = (escaped_property(label), escaped(text));
            writeln!(err, "::error {place}title={title}::{text}")?;
        }
        for flaky in self.flaky.iter().take(ANNOTATIONS) {
            writeln!(err, "::warning title=Flaky test::{}", escaped(flaky))?;
        }
        for quarantined in self.quarantined.iter().take(ANNOTATIONS) {
            writeln!(err, "::notice title=Quarantined test::{}", escaped(quarantined))?;
        }
        let left = |told: usize| ANNOTATIONS.saturating_sub(told);
        for (title, lines) in self.explained.iter().take(left(self.quarantined.len())) {
            let text = escaped(&format!("{title}\n{lines}"));
            writeln!(err, "::notice title=Why tests fail::{text}")?;
        }
        for (level, left) in [
            (Level::Error, left(self.failed.len())),
            (Level::Warning, left(self.flaky.len())),
            (Level::Note, left(self.quarantined.len() + self.explained.len())),
        ] {
            let command = match level {
                Level::Error => "error",
                Level::Warning => "warning",
                Level::Note => "notice",
            };
            let groups = findings.groups().filter(|(_, group)| group.level() == level);
            for (code, group) in groups.take(left) {
                let (lines, hidden) = group.lines(suites);
                let title = std::iter::once(group.title(code));
                let lines = title.chain(lines).chain(words::more(hidden));
                let text = lines.collect::<Vec<_>>().join("\n");
                writeln!(err, "::{command} title={code}::{}", escaped(&text))?;
            }
        }
        Ok(())
    }

    /// Adds the summary to the workflow's file, where there is one.
    pub fn summarize(
        &self,
        tally: &Tally,
        wall: Duration,
        findings: &FindingGroups,
    ) -> io::Result<()> {
        let Some(path) = &self.workflow.summary else { return Ok(()) };
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(self.markdown(tally, wall, findings).as_bytes())
    }

    fn markdown(&self, tally: &Tally, wall: Duration, findings: &FindingGroups) -> String {
        let mut text =
            String::from("## Tests\n\n| passed | flaky | failed | ignored | not run | time |\n");
        text += "|---|---|---|---|---|---|\n";
        let Tally { passed, flaky, failed, ignored, not_run, cancelled, .. } = tally;
        let (not_run, seconds) = (not_run + cancelled, wall.as_secs_f64());
        add(
            &mut text,
            format_args!(
                "| {passed} | {flaky} | {failed} | {ignored} | {not_run} | {seconds:.2}s |\n"
            ),
        );
        for FailedCase { label, text: said, .. } in &self.failed {
            let said = html(said.get(..said.floor_char_boundary(TEXT)).unwrap_or_default());
            add(
                &mut text,
                format_args!(
                    "\n<details><summary>❌ <code>{}</code></summary>\n<pre>{said}</pre>\n</details>\n",
                    html(label)
                ),
            );
        }
        if self.failures > self.failed.len() {
            let more = counted(self.failures - self.failed.len(), "failed test");
            add(&mut text, format_args!("\n… and {more} more\n"));
        }
        if !self.flaky.is_empty() {
            text += "\nFlaky:\n\n";
            for flaky in self.flaky.iter().take(FAILED) {
                add(&mut text, format_args!("- <code>{}</code>\n", literal(flaky)));
            }
        }
        if !self.quarantined.is_empty() {
            text += "\nQuarantined:\n\n";
            for quarantined in self.quarantined.iter().take(FAILED) {
                add(&mut text, format_args!("- <code>{}</code>\n", literal(quarantined)));
            }
        }
        for (title, lines) in &self.explained {
            let (title, lines) = (literal(title), html(lines));
            add(
                &mut text,
                format_args!(
                    "\n<details><summary>{title}</summary>\n<pre>{lines}</pre>\n</details>\n"
                ),
            );
        }
        if !findings.is_empty() {
            text += "\nFindings:\n\n";
            for (code, group) in findings.groups() {
                let title = literal(&group.title(code));
                add(&mut text, format_args!("- <code>{code}</code>: {title}\n"));
            }
        }
        text
    }
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a String takes all");
}

/// The message of a workflow command.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a workflow command.
fn escaped_property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text between the tags of a block of HTML in Markdown.
fn html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // A line of blanks would end the block, and what follows would be Markdown.
    let line =
        |line: &str| if line.trim().is_empty() { "&nbsp;".to_owned() } else { line.to_owned() };
    text.split(['\n', '\r']).map(line).collect::<Vec<_>>().join("\n")
}

/// Text between the tags of inline HTML in Markdown, which is read for its punctuation.
fn literal(text: &str) -> String {
    let character = |character: char| match character.is_ascii_punctuation() {
        true => format!("&#{};", u32::from(character)),
        false => character.to_string(),
    };
    text.chars().map(character).collect()
}

#[cfg(test)]
mod tests {

    use isotest_core::finding::Finding;

    use super::*;
    use crate::report::finding_groups::Doer;
    use crate::report::options::FindingsShown;
    use crate::report::suite::example;

    #[test]
    fn a_panic_is_annotated_where_it_happened() {
        let workflow = Workflow { repository: Some("/w".into()), summary: None };
        let mut github = Github::new(workflow, Path::new("/w/sub"));
        let suites = [example(&["a", "b"])];
        let mut failed = Outcome::without_run(Verdict::Failed { code: 101 });
        failed.output.head =
            b"thread 'a' (7) panicked at src/a,b.rs:3:5:\n100% <one>\n\ntwo\n".to_vec();
        github.observe(&suites, CaseIndex { binary: 0, case: 0 }, &failed);
        let killed = Outcome::without_run(Verdict::Signalled { signal: 9 });
        github.observe(&suites, CaseIndex { binary: 0, case: 1 }, &killed);
        let (none, mut err) = (FindingGroups::new(FindingsShown::Summary), Vec::new());
        github.stop_commands(&mut err).expect("a Vec takes all");
        github.annotate(&suites, &none, &mut err).expect("a Vec takes all");
        let err = String::from_utf8(err).expect("it is text");
        let (stopped, err) = err.split_once('\n').expect("a line");
        let token = stopped.strip_prefix("::stop-commands::").expect("a token");
        let err = err.strip_prefix(&format!("::{token}::\n")).expect("the same token");
        let expected = "::error file=sub/src/a%2Cb.rs,line=3,title=demo%3A%3Ait%3A%3Aa::thread 'a' (7) \
                        panicked at src/a,b.rs:3:5:%0A100%25 <one>%0A%0Atwo\n\
                        ::error title=demo%3A%3Ait%3A%3Ab::killed by SIGKILL\n";
        assert_eq!(err, expected);
        let text = github.markdown(&Tally { failed: 2, ..Tally::default() }, Duration::ZERO, &none);
        assert!(text.contains("| 0 | 0 | 2 | 0 | 0 | 0.00s |\n"), "{text}");
        assert!(text.contains("100% &lt;one&gt;\n&nbsp;\ntwo</pre>"), "{text}");
    }

    #[test]
    fn a_code_is_annotated_once() {
        let workflow = Workflow { repository: None, summary: None };
        let github = Github::new(workflow, Path::new("/w"));
        let suites = [example(&["a", "b", "c%\n::error::x"])];
        let mut findings = FindingGroups::new(FindingsShown::None);
        for case in 0..2 {
            let doer = Doer::Case(CaseIndex { binary: 0, case });
            findings.add(doer, &Finding::SignalDiscarded(15), &Verdict::Passed);
        }
        let doer = Doer::Case(CaseIndex { binary: 0, case: 2 });
        findings.add(doer, &Finding::IoUringRefused, &Verdict::Failed { code: 101 });
        let mut err = Vec::new();
        github.annotate(&suites, &findings, &mut err).expect("a Vec takes all");
        let err = String::from_utf8(err).expect("it is text");
        let lines: Vec<&str> = err.lines().skip(1).collect();
        let [warning, notice] = lines.as_slice() else { panic!("two lines: {err}") };
        assert!(warning.starts_with("::warning title=io-uring-refused::1 test failed"), "{err}");
        assert!(warning.contains(r"c%25\n::error::x: was refused"), "{err}");
        let text = "::notice title=signal-discarded::2 tests sent a signal that the kernel \
                    discarded%0A2 tests: sent itself SIGTERM";
        assert!(notice.starts_with(text), "{err}");
        let text = github.markdown(&Tally::default(), Duration::ZERO, &findings);
        assert!(text.contains("- <code>signal-discarded</code>: 2 tests sent"), "{text}");
    }

    #[test]
    fn what_a_test_says_is_no_command_and_no_markdown() {
        let workflow = Workflow { repository: Some("/w".into()), summary: None };
        let mut github = Github::new(workflow, Path::new("/w"));
        let suites = [example(&["a", "[b](c)"])];
        let mut failed = Outcome::without_run(Verdict::Failed { code: 101 });
        failed.output.head =
            b"thread 'a' (7) panicked at a.rs:3,title=x\r##[add-mask]e:5:\n\n \n\t\r\r# x\n"
                .to_vec();
        github.observe(&suites, CaseIndex { binary: 0, case: 0 }, &failed);
        assert_eq!(github.failed[0].place, None);
        let mut flaky = Outcome::without_run(Verdict::Passed);
        (flaky.earlier, flaky.attempts) = (vec![failed], 2);
        github.observe(&suites, CaseIndex { binary: 0, case: 1 }, &flaky);
        let none = FindingGroups::new(FindingsShown::Summary);
        let text = github.markdown(&Tally::default(), Duration::ZERO, &none);
        let said = text.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
        let (said, _) = said.expect("it is told");
        assert!(said.lines().all(|line| !line.trim().is_empty()), "{said:?}");
        assert!(text.contains("&#58;&#91;b&#93;&#40;c&#41;</code>"), "{text}");
    }
}
