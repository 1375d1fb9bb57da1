//! The record of a run: its messages, and what it takes to print the run again.
//!
//! A line is an object with the keys of [`Message`], `at`, and `exact`: the input of the report
//! that the message is made of. Readers of results need the message alone, whose format is stable.
//! `exact` is for [`replay`](mod@super::replay) by the same version of isotest.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::finding::{Codes, Finding};
use isotest_core::outcome::Outcome;
use isotest_core::schedule::Event;
use isotest_core::serialized;
use serde::{Deserialize, Serialize};

use super::closing::Grant;
use super::doctests::DoctestSummary;
use super::hints::Reruns;
use super::messages::{self, Message};
use super::start::Start;
use super::suite::Suite;
use super::traces::Trace;
use super::withheld::Withheld;

/// A line of a record.
#[derive(Debug, Deserialize)]
pub struct Line {
    /// The event in the format of `--message-format json`.
    #[serde(flatten)]
    pub message: Message,
    /// The input of the report.
    pub exact: Input,
}

/// Inputs of a report, as they are read.
#[derive(Debug, Deserialize)]
pub enum Input {
    /// The run starts.
    Start(Start),
    /// One of its binaries.
    Suite(Box<Suite>),
    /// An event, and its time since the start.
    Event(Duration, Event),
    /// The message of the line is all.
    Said(Option<Box<Message>>),
    /// The run has ended.
    End(Box<Ending>),
}

impl Line {
    /// The input of the report, with the message where that is all.
    pub fn into_input(self) -> Input {
        match self.exact {
            Input::Said(_) => Input::Said(Some(Box::new(self.message))),
            input => input,
        }
    }
}

/// Maximum duration in a record: ten years.
const DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl Input {
    /// True if it can follow in a run whose binaries have so many cases; `ended` are those that have
    /// ended before.
    pub fn fits(&self, cases: &[usize], ended: &mut BTreeSet<CaseIndex>) -> bool {
        let is_case =
            |index: &CaseIndex| cases.get(index.binary).is_some_and(|count| index.case < *count);
        let is_short = |outcome: &Outcome| outcome.duration <= DURATION;
        match self {
            Input::Event(at, event) => {
                *at <= DURATION
                    && match event {
                        Event::Started(index)
                        | Event::Output(index, ..)
                        | Event::Slow(index, ..)
                        | Event::Retried(index, ..) => is_case(index),
                        Event::Finished(index, outcome) => {
                            is_case(index)
                                && ended.insert(*index)
                                && is_short(outcome)
                                && outcome.earlier.iter().all(is_short)
                        }
                        Event::Running(tests) => tests.iter().all(|test| is_case(&test.index)),
                        Event::Resumed(stopped) => *stopped <= DURATION,
                        Event::Interrupted(_) => true,
                    }
            }
            Input::End(ending) => {
                ending.wall <= DURATION
                    && ending.shared.iter().all(|(binary, ..)| *binary < cases.len())
                    && ending.recorded.iter().all(|binary| *binary < cases.len())
                    && ending.reruns.cases().all(is_case)
            }
            Input::Said(_) => true,
            Input::Start(_) | Input::Suite(_) => false,
        }
    }
}

/// The same, as they are written.
#[derive(Serialize)]
enum InputRef<'a> {
    Start(&'a Start),
    Suite(&'a Suite),
    Event(Duration, &'a Event),
    Said(Option<()>),
    End(&'a Ending),
}

/// Facts about a run that are known at its end, beside its events.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ending {
    /// Time that the tests took.
    pub wall: Duration,
    /// Grants of the configuration.
    pub grants: Vec<Grant>,
    /// Findings of binaries whose tests share a sandbox, and the codes that are denied.
    pub shared: Vec<(usize, Vec<Finding>, Codes)>,
    /// Variables that did not reach the tests.
    pub withheld: Withheld,
    /// Paths and variables that the programs of failed tests name.
    pub traces: Vec<Trace>,
    /// The binaries whose failures `--rerun-failed` runs again.
    pub recorded: Vec<usize>,
    /// Entries of the baseline that no longer occur.
    #[serde(default)]
    pub gone: Vec<String>,
    /// Results of the rerun variants.
    pub reruns: Reruns,
    /// Counts of documentation tests.
    pub doctests: DoctestSummary,
    /// The output of rustdoc on stdout.
    #[serde(with = "serialized::bytes")]
    pub documentation: Vec<u8>,
}

/// Maximum bytes of rustdoc's output that are kept.
const DOCUMENTATION: usize = 16 << 20;

/// Maximum bytes of output in a line. JSON may need six for one, and has it twice, so that a line has
/// at most [`MAX_LINE`] bytes.
const LONGEST: usize = 4 << 20;

/// Maximum bytes of a line.
pub const MAX_LINE: u64 = 1 << 26;

/// Bytes of output of a case, in all its attempts.
fn size(outcome: &Outcome) -> usize {
    let services = outcome.services.iter().map(|service| service.output.kept());
    let earlier = outcome.earlier.iter().map(size);
    outcome.output.kept() + outcome.stacks.len() + services.chain(earlier).sum::<usize>()
}

/// Cuts each output of a case, in all its attempts.
fn shorten(outcome: &mut Outcome, most: usize) {
    outcome.output.shorten(most);
    outcome.services.iter_mut().for_each(|service| service.output.shorten(most));
    outcome.earlier.iter_mut().for_each(|earlier| shorten(earlier, most));
}

/// Writes the record of a run. After an error nothing more is written; the run goes on.
pub struct Record {
    out: Box<dyn Write>,
    error: Option<io::Error>,
    line: Vec<u8>,
    pub(super) ending: Ending,
}

impl Record {
    /// A record that goes to `out`. Each flush of it makes durable what was written.
    pub fn new(out: Box<dyn Write>) -> Record {
        Record { out, error: None, line: Vec::new(), ending: Ending::default() }
    }

    /// Writes the first lines.
    pub(super) fn start(&mut self, messages: Vec<Message>, start: &Start, suites: &[Suite]) {
        let inputs = suites.iter().map(InputRef::Suite);
        for (message, input) in
            messages.iter().zip([InputRef::Start(start)].into_iter().chain(inputs))
        {
            self.write(message, Duration::ZERO, input);
        }
        self.flush();
    }

    /// Writes an event. Of an output that makes its line too long to be read, the first and the last
    /// part are kept.
    pub(super) fn event(
        &mut self,
        suites: &[Suite],
        message: &Message,
        at: Duration,
        event: &Event,
    ) {
        match event {
            Event::Finished(index, outcome) if size(outcome) > LONGEST => {
                let mut outcome = outcome.clone();
                let outputs = (1 + outcome.services.len()) * (1 + outcome.earlier.len());
                shorten(&mut outcome, LONGEST / outputs);
                let event = Event::Finished(*index, outcome);
                let message = messages::of_event(suites, &event);
                self.write(&message, at, InputRef::Event(at, &event));
            }
            _ => self.write(message, at, InputRef::Event(at, event)),
        }
    }

    /// Writes a message that is in no report but that of messages.
    pub(super) fn said(&mut self, message: &Message, at: Duration) {
        self.write(message, at, InputRef::Said(None));
    }

    /// Writes the last line.
    pub(super) fn end(&mut self, message: &Message, at: Duration) {
        let ending = std::mem::take(&mut self.ending);
        self.write(message, at, InputRef::End(&ending));
        self.flush();
    }

    /// Keeps output of rustdoc, which follows the tests.
    pub(super) fn documentation(&mut self, bytes: &[u8]) {
        let kept = &mut self.ending.documentation;
        let room = DOCUMENTATION.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Makes durable what was written.
    pub(super) fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.out.flush().err();
        }
    }

    /// The error that has ended the record.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    fn write(&mut self, message: &Message, at: Duration, exact: InputRef<'_>) {
        #[derive(Serialize)]
        struct LineRef<'a> {
            #[serde(flatten)]
            message: &'a Message,
            at: f64,
            exact: InputRef<'a>,
        }
        if self.error.is_some() {
            return;
        }
        self.line.clear();
        let line = LineRef { message, at: at.as_secs_f64(), exact };
        serde_json::to_writer(&mut self.line, &line)
            .expect("it has no map with other keys than text");
        self.line.push(b'\n');
        self.error = self.out.write_all(&self.line).err();
    }
}
