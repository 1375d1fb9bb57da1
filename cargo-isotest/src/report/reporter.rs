//! The report of a run: takes its events, prints both streams.
//!
//! Each event is noted by the counts, the progress bar and the closing block when it comes, and
//! is printed when its binary has its turn. Nothing is written before [`Report::idle`] or until
//! much has gathered: call it whenever no event is waiting, and about ten times a second.

mod diagnosed;
mod files;
mod traced;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use isotest_core::case::CaseIndex;
use isotest_core::finding::{Codes, Finding};
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::schedule::{Event, Interruption, Stream};

use super::doctests::DoctestSummary;

use super::blocks::{BlockEvent, Blocks, CaseEvent};
use super::cargo;
use super::closing::{Closing, Grant};
use super::files::Files;
use super::format::Format;
use super::formats;
use super::github::{Github, Workflow};
use super::hints::Reruns;
use super::kept::{self, Kept};
use super::known::KnownDiagnosis;
use super::messages::{self, Message};
use super::notes;
use super::options::{FormatName, Frame, Options};
use super::paint::{self, WARNING};
use super::plain_json;
use super::progress::Progress;
use super::record::{Ending, Record};
use super::run_report::{EndedCase, Report, Summary};
use super::running;
use super::screen::Screen;
use super::start::Start;
use super::suite::{self, Suite};
use super::tally::Tally;
use super::traced_cases::TracedCases;
use super::traces::Trace;
use super::withheld::Withheld;
use super::words;

/// Prints a run.
pub struct Reporter {
    suites: Vec<Suite>,
    options: Options,
    /// The start of the run.
    begin: Instant,
    /// The same, later by the time for which the run was stopped.
    start: Instant,
    /// Time that the cases took.
    wall: Duration,
    screen: Screen,
    progress: Progress,
    blocks: Blocks,
    kept: Kept,
    format: Box<dyn Format>,
    /// The counts of the open block.
    block: Tally,
    /// The indices of the binaries for which cargo would print an error.
    failed_binaries: Vec<usize>,
    total: Tally,
    closing: Closing,
    files: Files,
    github: Option<Github>,
    record: Option<Record>,
    /// Findings of binaries whose tests share a sandbox, and the codes that are denied.
    shared: Vec<(usize, Vec<Finding>, Codes)>,
    /// What is known of cases that have not ended, for those that fail.
    known: BTreeMap<CaseIndex, KnownDiagnosis>,
    /// Cases that were traced, or may be.
    traced: TracedCases,
}

impl Reporter {
    /// The report of a run that starts now.
    pub fn new(
        suites: Vec<Suite>,
        options: Options,
        stdout: Box<dyn Write>,
        stderr: Box<dyn Write>,
    ) -> Self {
        let start = Instant::now();
        let cases = suites.iter().map(|suite| suite.cases.len()).sum();
        let mut reporter = Reporter {
            begin: start,
            start,
            wall: Duration::ZERO,
            screen: Screen::new(stdout, stderr),
            progress: Progress::new(cases, options.style, start),
            blocks: Blocks::new(&suites, options.show_output, options.order),
            kept: Kept::new(suites.len()),
            format: formats::choose(&options),
            block: Tally::default(),
            failed_binaries: Vec::new(),
            total: Tally::default(),
            closing: Closing::new(options.slowest, options.findings),
            files: Files::default(),
            github: None,
            record: None,
            shared: Vec::new(),
            known: BTreeMap::new(),
            traced: TracedCases::default(),
            suites,
            options,
        };
        if reporter.has_messages() {
            for message in messages::first(&reporter.suites, options.shuffle_seed, None) {
                reporter.say(&message).expect("the screen gathers it in memory");
            }
        }
        reporter
    }

    /// The start of the run.
    pub(super) fn begin(&self) -> Instant {
        self.begin
    }

    pub(super) fn has_messages(&self) -> bool {
        self.options.format == FormatName::Messages
    }

    /// Prints a message of isotest's own format.
    fn say(&mut self, message: &Message) -> io::Result<()> {
        self.screen.print(Stream::Stdout, |out| {
            plain_json::write(&mut *out, message)?;
            writeln!(out)
        })
    }

    /// Records the run too.
    pub fn with_record(mut self, mut record: Record, start: &Start) -> Self {
        let messages = messages::first(&self.suites, self.options.shuffle_seed, Some(start));
        record.start(messages, start, &self.suites);
        self.record = Some(record);
        self.closing.take_is_recorded();
        self
    }

    /// Options of the report.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Ends the record of the run. Returns the error that has ended it before.
    pub fn end_record(&mut self) -> Option<io::Error> {
        self.record.take().and_then(|mut record| record.take_error())
    }

    /// Takes output of rustdoc, which prints it itself.
    pub fn take_documentation(&mut self, bytes: &[u8]) {
        if let Some(record) = &mut self.record {
            record.documentation(bytes);
        }
    }

    /// Facts about the end of the run, for its record.
    fn ending(&mut self) -> Option<&mut Ending> {
        self.record.as_mut().map(|record| &mut record.ending)
    }

    /// Takes note of what the configuration grants.
    pub fn take_grants(&mut self, grants: Vec<Grant>) {
        if let Some(ending) = self.ending() {
            ending.grants.clone_from(&grants);
        }
        self.closing.take_grants(grants);
    }

    /// Takes note of variables that did not reach the tests, by name.
    pub fn take_withheld(&mut self, withheld: Withheld) {
        if let Some(ending) = self.ending() {
            ending.withheld.clone_from(&withheld);
        }
        self.closing.take_withheld(withheld);
    }

    /// Takes note of what the programs of failed tests name.
    pub fn take_traces(&mut self, traces: Vec<Trace>) {
        if let Some(ending) = self.ending() {
            ending.traces.clone_from(&traces);
        }
        self.closing.take_traces(traces);
    }

    /// Takes note of entries of the baseline that no longer occur.
    pub fn take_gone(&mut self, gone: Vec<String>) {
        if let Some(ending) = self.ending() {
            ending.gone.clone_from(&gone);
        }
        self.closing.take_gone(gone);
    }

    /// The places of binaries of which a case has failed and nothing is known of why, and whether one
    /// has written that something is not there.
    pub fn unexplained(&self) -> impl Iterator<Item = (usize, bool)> {
        self.closing.unexplained()
    }

    /// Takes note of the binaries whose failures `--rerun-failed` runs again.
    pub fn take_recorded(&mut self, binaries: BTreeSet<usize>) {
        if let Some(ending) = self.ending() {
            ending.recorded = binaries.iter().copied().collect();
        }
        self.closing.take_recorded(binaries);
    }

    /// The places of binaries of which a case has failed.
    pub fn failed_binaries(&self) -> impl Iterator<Item = usize> {
        self.closing.failed_binaries()
    }

    /// Tells a workflow of GitHub Actions too; the paths of panics are relative to `workspace`.
    pub fn with_github(mut self, workflow: Workflow, workspace: &Path) -> io::Result<Self> {
        let github = Github::new(workflow, workspace);
        self.screen.print(Stream::Stderr, |err| github.stop_commands(err))?;
        self.github = Some(github);
        Ok(self)
    }

    /// All cases have ended: prints what is left of the blocks, and cargo's last lines. A block
    /// with a case that has not ended stays open, and those behind it are not printed.
    pub fn end(&mut self) -> io::Result<()> {
        self.end_after(self.start.elapsed())
    }

    /// The same; the cases took this time.
    pub(super) fn end_after(&mut self, wall: Duration) -> io::Result<()> {
        self.wall = wall;
        self.print_blocks()?;
        self.progress.clear();
        let colour = self.options.style.stderr_colour;
        if self.options.frame == Frame::Cargo {
            return self.screen.flush(&self.progress);
        }
        let failed: Vec<&Suite> =
            self.failed_binaries.iter().map(|&index| &self.suites[index]).collect();
        self.screen.print(Stream::Stderr, |err| cargo::targets_failed(&failed, colour, err))?;
        self.screen.flush(&self.progress)
    }

    /// The cause that ended the run early.
    pub fn interrupted(&self) -> Option<Interruption> {
        self.closing.interrupted()
    }

    /// Number of failed cases.
    pub fn failures(&self) -> usize {
        self.total.failed
    }

    /// What failed cases have written of and do not have.
    pub fn named(&self) -> &BTreeMap<CaseIndex, Vec<Finding>> {
        self.closing.named()
    }

    /// The cases that have failed at every attempt; none where the run was interrupted.
    pub fn failed(&self) -> Vec<CaseIndex> {
        match self.closing.interrupted() {
            Some(_) => Vec::new(),
            None => self.closing.failed(),
        }
    }

    /// The binaries of the run.
    pub fn suites(&self) -> &[Suite] {
        &self.suites
    }

    /// Every case, and what is known of it.
    pub fn ended(&self) -> impl Iterator<Item = EndedCase<'_>> {
        self.suites.iter().enumerate().flat_map(move |(binary, suite)| {
            suite.cases.iter().enumerate().map(move |(case, listed)| {
                let index = CaseIndex { binary, case };
                let codes = self.closing.gates().codes(index);
                EndedCase { suite, case: listed, state: self.closing.state(index), codes }
            })
        })
    }

    /// Prints the closing block.
    pub fn finish(&mut self, reruns: Reruns, doctests: DoctestSummary) -> io::Result<Summary> {
        let colour = self.options.style.stderr_colour;
        if self.has_messages() || self.record.is_some() {
            let (total, wall) = (&self.total, self.wall);
            let last = messages::last(&self.suites, total, wall, doctests, &reruns, &self.shared);
            if let Some(record) = &mut self.record {
                record.ending.wall = wall;
                record.ending.reruns.clone_from(&reruns);
                record.ending.doctests = doctests;
                record.end(&last, self.begin.elapsed());
            }
            if self.has_messages() {
                self.say(&last)?;
            }
        }
        self.github.iter_mut().for_each(|it| it.take_reruns(&self.suites, &reruns));
        self.closing.take_reruns(reruns);
        self.closing.take_doctests(doctests);
        let is_expected = !self.options.quiet && self.options.frame == Frame::Isotest;
        let is_noteworthy =
            self.closing.is_noteworthy(&self.total, self.options.quiet) || notes::any(&self.suites);
        if is_expected || is_noteworthy {
            let (wall, seed) = (self.wall, self.options.shuffle_seed);
            self.screen.print(Stream::Stderr, |err| {
                self.closing.write(&self.suites, &self.total, wall, seed, colour, err)
            })?;
        }
        if let Some(github) = &self.github {
            self.screen.print(Stream::Stderr, |err| {
                github.annotate(&self.suites, self.closing.findings(), err)
            })?;
        }
        self.screen.flush(&self.progress)?;
        Ok(Summary { tally: self.total, interrupted: self.closing.interrupted() })
    }

    /// Adds to the summary of a workflow, where there is one.
    pub fn summarize(&self) -> io::Result<()> {
        let findings = self.closing.findings();
        self.github
            .as_ref()
            .map_or(Ok(()), |github| github.summarize(&self.total, self.wall, findings))
    }

    /// Takes an event that happened at this time.
    pub(super) fn event_at(&mut self, mut event: Event, now: Instant) -> io::Result<()> {
        self.progress.observe(&event, now);
        if self.has_messages() || self.record.is_some() {
            let message = messages::of_event(&self.suites, &event);
            if let Some(record) = &mut self.record {
                record.event(&self.suites, &message, now - self.begin, &event);
            }
            if self.has_messages() {
                self.say(&message)?;
            }
        }
        if let Event::Finished(index, outcome) = &mut event {
            let is_shown = self.options.show_output || !self.suites[index.binary].harness;
            if kept::is_kept(outcome, is_shown) {
                self.kept.add(index.binary, outcome);
            }
        }
        self.observe_trace(&mut event, now)?;
        match &event {
            Event::Finished(index, outcome) => {
                self.total.count(outcome);
                self.closing.observe(&self.suites, *index, outcome);
                self.files.observe(&self.suites, *index, outcome);
                if let Some(github) = &mut self.github {
                    github.observe(&self.suites, *index, outcome);
                }
                self.observe_diagnosis(*index, outcome, now)?;
            }
            Event::Slow(index, age, _) => self.slow(*index, *age)?,
            Event::Retried(index, attempt, most) => self.retried(*index, *attempt, *most)?,
            Event::Running(snapshots) => {
                let ended = self.total.total();
                let colour = self.options.style.stderr_colour;
                self.screen.print(Stream::Stderr, |err| {
                    running::write(&self.suites, snapshots, ended, colour, err)
                })?;
            }
            Event::Interrupted(cause) => self.closing.interrupt(*cause),
            Event::Resumed(stopped) => self.start += *stopped,
            Event::Started(_) | Event::Output(..) => {}
        }
        self.blocks.push(event, now);
        self.print_blocks()?;
        if self.screen.is_full() { self.idle() } else { Ok(()) }
    }

    fn print_blocks(&mut self) -> io::Result<()> {
        while let Some(turn) = self.blocks.next_event() {
            match turn {
                BlockEvent::Open(binary) => self.open(binary)?,
                BlockEvent::Case(index, news) => self.case(index, news)?,
                BlockEvent::Close(binary, elapsed) => self.close(binary, elapsed)?,
            }
        }
        Ok(())
    }

    fn open(&mut self, binary: usize) -> io::Result<()> {
        self.block = Tally::default();
        let suite = &self.suites[binary];
        let colour = self.options.style.stderr_colour;
        if !self.options.quiet && self.options.frame == Frame::Isotest {
            self.screen.print(Stream::Stderr, |err| cargo::running(suite, colour, err))?;
        }
        if !self.options.format.is_for_programs() {
            self.screen
                .print(Stream::Stdout, |out| words::root_line(suite.root.as_deref(), out))?;
        }
        if suite.harness {
            self.screen.print(Stream::Stdout, |out| self.format.open(suite, out))?;
        }
        Ok(())
    }

    fn case(&mut self, index: CaseIndex, news: CaseEvent) -> io::Result<()> {
        let passes_on = !self.has_messages();
        let suite = &self.suites[index.binary];
        let case = &suite.cases[index.case];
        let (screen, format) = (&mut self.screen, &mut self.format);
        match news {
            CaseEvent::Output(stream, bytes) if passes_on => {
                screen.print(stream, |out| out.write_all(&bytes))
            }
            CaseEvent::Started if suite.harness => {
                screen.print(Stream::Stdout, |out| format.started(case, out))
            }
            CaseEvent::Slow if suite.harness => {
                screen.print(Stream::Stdout, |out| format.slow(case, out))
            }
            CaseEvent::Output(..) | CaseEvent::Started | CaseEvent::Slow => Ok(()),
            CaseEvent::Finished(outcome) => {
                self.block.count(&outcome);
                if !suite.harness {
                    return self.program(index.binary, &outcome);
                }
                screen.print(Stream::Stdout, |out| format.finished(case, *outcome, out))
            }
        }
    }

    /// A program that is no harness: what it wrote and, should it fail, how.
    fn program(&mut self, binary: usize, outcome: &Outcome) -> io::Result<()> {
        if !self.has_messages() {
            let output = outcome.output.to_bytes();
            self.screen.print(Stream::Stdout, |out| out.write_all(&output))?;
        }
        self.report_failure(binary)?;
        self.screen.print(Stream::Stderr, |err| cargo::cause(&outcome.verdict, err))
    }

    fn close(&mut self, binary: usize, elapsed: Duration) -> io::Result<()> {
        if self.files.junit.is_none() {
            self.kept.release(binary);
        }
        let suite = &self.suites[binary];
        if !suite.harness {
            return Ok(());
        }
        self.screen
            .print(Stream::Stdout, |out| self.format.close(suite, &self.block, elapsed, out))?;
        self.report_failure(binary)
    }

    /// cargo's line behind a block in which something failed.
    fn report_failure(&mut self, binary: usize) -> io::Result<()> {
        if self.block.failed + self.block.not_run > 0 {
            self.failed_binaries.push(binary);
        }
        if self.options.frame == Frame::Cargo {
            return Ok(());
        }
        let suite = &self.suites[binary];
        let colour = self.options.style.stderr_colour;
        self.screen.print(Stream::Stderr, |err| cargo::failed(suite, &self.block, colour, err))
    }

    /// Tells at once of a case that has failed and is started again.
    fn retried(&mut self, index: CaseIndex, attempt: u32, most: u32) -> io::Result<()> {
        if self.options.quiet {
            return Ok(());
        }
        let verb = paint::verb(self.options.style.stderr_colour, WARNING, "Retry");
        let label = suite::label(&self.suites, index);
        self.screen.print(Stream::Stderr, |err| {
            writeln!(err, "{verb} {label} has failed; attempt {attempt} of {most}")
        })
    }

    /// Tells at once of a case that takes long, whichever block has its turn.
    fn slow(&mut self, index: CaseIndex, age: Duration) -> io::Result<()> {
        let verb = paint::verb(self.options.style.stderr_colour, WARNING, "Slow");
        let label = suite::label(&self.suites, index);
        let age = match age.subsec_nanos() {
            0 => words::counted(age.as_secs() as usize, "second"),
            _ => format!("{age:?}"),
        };
        self.screen.print(Stream::Stderr, |err| {
            writeln!(err, "{verb} {label} has been running for over {age}")
        })
    }
}

impl Report for Reporter {
    fn event(&mut self, event: Event) -> io::Result<()> {
        self.event_at(event, Instant::now())
    }

    fn take_shared(&mut self, binary: usize, findings: &[Finding], deny: Codes) {
        if let Some(ending) = self.ending() {
            ending.shared.push((binary, findings.to_vec(), deny));
        }
        let is_denied = |finding: &&Finding| deny.contains(finding.code());
        let denied: Vec<Finding> = findings.iter().filter(is_denied).cloned().collect();
        self.total.denied_binaries += usize::from(!denied.is_empty());
        let verdict = if denied.is_empty() { Verdict::Passed } else { Verdict::Denied(denied) };
        self.closing.take_shared(binary, findings, &verdict);
        self.files.take_shared(&self.suites, binary, findings, &verdict);
        self.shared.push((binary, findings.to_vec(), deny));
    }

    fn idle(&mut self) -> io::Result<()> {
        if let Some(record) = &mut self.record {
            record.flush();
        }
        self.screen.flush(&self.progress)?;
        self.progress.draw(&self.suites, &self.total, Instant::now());
        Ok(())
    }
}
#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use isotest_core::finding::{Finding, Leftover};
    use isotest_core::outcome::NotRun;

    use super::*;
    use crate::report::suite::example;

    /// Both streams as one reader of a terminal sees them.
    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<Vec<u8>>>);

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(suites: Vec<Suite>, options: Options, events: Vec<Event>) -> String {
        let terminal = Terminal::default();
        let (stdout, stderr) = (Box::new(terminal.clone()), Box::new(terminal.clone()));
        let mut reporter = Reporter::new(suites, options, stdout, stderr);
        for event in events {
            reporter.event(event).expect("a Vec takes all");
            reporter.idle().expect("a Vec takes all");
        }
        reporter.end().expect("a Vec takes all");
        reporter.finish(Reruns::default(), DoctestSummary::default()).expect("a Vec takes all");
        let bytes = terminal.0.lock().expect("no writer panics");
        without_times(std::str::from_utf8(&bytes).expect("text"))
    }

    /// Every `1.23s` becomes `0.00s`.
    fn without_times(text: &str) -> String {
        let is_break = |character: char| !character.is_ascii_alphanumeric() && character != '.';
        let normal = |piece: &str| {
            let (word, end) = piece.split_at(piece.trim_end_matches(is_break).len());
            let seconds = word.strip_suffix('s').and_then(|number| number.parse::<f64>().ok());
            format!("{}{end}", if seconds.is_some() { "0.00s" } else { word })
        };
        text.split_inclusive(is_break).map(normal).collect()
    }

    fn finished(binary: usize, case: usize, verdict: Verdict) -> Event {
        Event::Finished(CaseIndex { binary, case }, Box::new(Outcome::without_run(verdict)))
    }

    #[test]
    fn a_run_reads_as_cargo_tests_and_ends_with_the_closing_block() {
        let mut suites = vec![example(&["a", "b"]), example(&["raw"])];
        suites[1].harness = false;
        suites[1].rerun = "--test raw".to_owned();
        suites[1].again = "--test raw".to_owned();
        let mut raw = Outcome::without_run(Verdict::Failed { code: 3 });
        raw.output.head = b"raw program\n".to_vec();
        let mut left = Outcome::without_run(Verdict::Passed);
        let sleep = Leftover {
            pid: 3,
            name: "sleep".to_owned(),
            command_line: String::new(),
            ancestors: Vec::new(),
        };
        left.findings.push(Finding::ProcessesLeft(vec![sleep]));
        let events = vec![
            Event::Finished(CaseIndex { binary: 1, case: 0 }, Box::new(raw)),
            Event::Finished(CaseIndex { binary: 0, case: 1 }, Box::new(left)),
            finished(0, 0, Verdict::Failed { code: 101 }),
        ];
        let expected = "     Running tests/it.rs (target/debug/deps/it-2c77)

running 2 tests
test b ... ok
test a ... FAILED

failures:

failures:
    a

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `--test it`
     Running tests/it.rs (target/debug/deps/it-2c77)
raw program
error: test failed, to rerun pass `--test raw`

Caused by:
  exited with code 3
error: 2 targets failed:
    `--test it`
    `--test raw`

     Summary 3 tests in 0.00s: 1 passed, 2 failed

note[leaves-process]: 1 test left processes behind
    demo::it::b: left 1 process behind: sleep (pid 3)

help: to rerun the failed tests
    cargo isotest --test it -- --exact a
    cargo isotest --test raw
";
        assert_eq!(printed(suites, Options::default(), events), expected);
    }

    #[test]
    fn quiet_says_nothing_on_stderr_where_all_is_well() {
        let options = Options { quiet: true, format: FormatName::Terse, ..Options::default() };
        let text = printed(vec![example(&["a"])], options, vec![finished(0, 0, Verdict::Passed)]);
        assert!(text.starts_with("\nrunning 1 test\n.\ntest result: ok. 1 passed"));
        assert!(text.ends_with("finished in 0.00s\n\n"));
    }

    #[test]
    fn an_interrupted_run_prints_what_it_has() {
        let suites = vec![example(&["a", "b"]), example(&["c"])];
        let cancelled = |binary, case| finished(binary, case, Verdict::NotRun(NotRun::Cancelled));
        let events = vec![
            finished(0, 0, Verdict::Passed),
            Event::Interrupted(Interruption::Signal(2)),
            cancelled(0, 1),
            cancelled(1, 0),
        ];
        let text = printed(suites, Options::default(), events);
        assert!(text.contains("test a ... ok\n\ntest result: FAILED. 1 passed; 0 failed;"));
        assert_eq!(text.matches("Running").count(), 1);
        assert!(text.ends_with("error: interrupted by SIGINT; 2 tests did not run to the end\n"));
    }

    #[test]
    fn output_passed_through_waits_for_its_block() {
        let suites = vec![example(&["a"]), example(&["b"])];
        let index = CaseIndex { binary: 1, case: 0 };
        let events = vec![
            Event::Output(index, Stream::Stderr, b"from b\n".to_vec()),
            finished(1, 0, Verdict::Passed),
            finished(0, 0, Verdict::Passed),
        ];
        let text = printed(suites, Options::default(), events);
        assert!(text.contains("\nrunning 1 test\nfrom b\ntest b ... ok\n"));
    }
}
