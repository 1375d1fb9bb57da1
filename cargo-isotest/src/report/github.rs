//! GitHub Actions: annotations at the lines that failed, and a summary on the page of the run.
//!
//! Annotations are workflow commands on stderr, which the runner reads as it does stdout; the
//! summary is Markdown behind what earlier commands of the step have written. Sources: GitHub's
//! "Workflow commands for GitHub Actions".

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::outcome::Outcome;

use super::suite::{self, Suite};
use super::tally::Tally;
use super::words::{self, counted};

/// How many annotations of a step GitHub shows.
const ANNOTATIONS: usize = 10;
/// How many failed tests the summary tells.
const FAILED: usize = 50;
/// How much of each, in bytes: a summary has 1 MiB at the most.
const TEXT: usize = 1 << 14;

/// What a workflow tells its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// The checked-out repository, which paths of annotations are relative to.
    pub repository: Option<PathBuf>,
    /// The file that summaries are added to.
    pub summary: Option<PathBuf>,
}

/// What is gathered for both.
#[derive(Debug)]
pub struct Github {
    workflow: Workflow,
    /// The project's workspace, which paths of panics are relative to.
    workspace: PathBuf,
    failed: Vec<Failed>,
    failures: usize,
    flaky: Vec<String>,
}

#[derive(Debug)]
struct Failed {
    label: String,
    place: Option<(String, String)>,
    text: String,
}

impl Github {
    /// Nothing yet.
    pub fn new(workflow: Workflow, workspace: &Path) -> Github {
        let workspace = workspace.to_owned();
        Github { workflow, workspace, failed: Vec::new(), failures: 0, flaky: Vec::new() }
    }

    /// Takes note of a case that has ended.
    pub fn observe(&mut self, suites: &[Suite], index: CaseIndex, outcome: &Outcome) {
        let label = || suite::label(suites, index);
        if let Some(flaky) = words::flaky(outcome) {
            self.flaky.push(format!("{flaky} {}", label()));
        }
        if !outcome.verdict.is_failure() {
            return;
        }
        self.failures += 1;
        if self.failed.len() < FAILED {
            let said = words::failure(&String::from_utf8_lossy(&words::told(outcome)));
            let text = said.or_else(|| words::explain(&outcome.verdict)).unwrap_or_default();
            let place = self.place(&text);
            self.failed.push(Failed { label: label(), place, text });
        }
    }

    /// File and line of a panic, as the repository has it.
    fn place(&self, text: &str) -> Option<(String, String)> {
        let (_, place) = text.lines().next()?.rsplit_once(" panicked at ")?;
        let mut parts = place.trim_end_matches(':').rsplitn(3, ':');
        let (_column, line, file) = (parts.next()?, parts.next()?, parts.next()?);
        let file = self.workspace.join(file);
        let file = file.strip_prefix(self.workflow.repository.as_ref()?).ok()?;
        Some((file.to_str()?.to_owned(), line.to_owned()))
    }

    /// Writes the annotations.
    pub fn annotate(&self, err: &mut dyn Write) -> io::Result<()> {
        for Failed { label, place, text } in self.failed.iter().take(ANNOTATIONS) {
            let place = place.as_ref().map_or(String::new(), |(file, line)| {
                format!("file={},line={line},", escaped_property(file))
            });
            let (title, text) = (escaped_property(label), escaped(text));
            writeln!(err, "::error {place}title={title}::{text}")?;
        }
        for flaky in self.flaky.iter().take(ANNOTATIONS) {
            writeln!(err, "::warning title=Flaky test::{}", escaped(flaky))?;
        }
        Ok(())
    }

    /// Adds the summary to the workflow's file, where there is one.
    pub fn summarize(&self, tally: &Tally, wall: Duration) -> io::Result<()> {
        let Some(path) = &self.workflow.summary else { return Ok(()) };
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(self.markdown(tally, wall).as_bytes())
    }

    fn markdown(&self, tally: &Tally, wall: Duration) -> String {
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
        for Failed { label, text: said, .. } in &self.failed {
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
                add(&mut text, format_args!("- <code>{}</code>\n", html(flaky)));
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

/// Text between the tags of Markdown's HTML.
fn html(text: &str) -> String {
    // An empty line would end the HTML.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace("\n\n", "\n&nbsp;\n")
}

#[cfg(test)]
mod tests {
    use isotest_core::outcome::Verdict;

    use super::*;
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
        let mut err = Vec::new();
        github.annotate(&mut err).expect("a Vec takes all");
        let expected = "::error file=sub/src/a%2Cb.rs,line=3,title=demo%3A%3Ait%3A%3Aa::thread 'a' (7) \
                        panicked at src/a,b.rs:3:5:%0A100%25 <one>%0A%0Atwo\n\
                        ::error title=demo%3A%3Ait%3A%3Ab::killed by SIGKILL\n";
        assert_eq!(String::from_utf8_lossy(&err), expected);
        let text = github.markdown(&Tally { failed: 2, ..Tally::default() }, Duration::ZERO);
        assert!(text.contains("| 0 | 0 | 2 | 0 | 0 | 0.00s |\n"), "{text}");
        assert!(text.contains("100% &lt;one&gt;\n&nbsp;\ntwo</pre>"), "{text}");
    }
}
