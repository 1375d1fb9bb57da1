//! The answers of binaries, while they come in.

use std::collections::BTreeMap;
use std::sync::mpsc;

use isotest_core::capture::Capture;
use isotest_core::outcome::{NotRun, Verdict};
use isotest_core::schedule::{Event, Interruption, Stream};

use super::error::ListingError;
use super::output::ListOutput;

/// The answer of a binary while it comes in.
struct PartialOutput {
    verdict: Verdict,
    stdout: Capture,
    stderr: Capture,
}

impl PartialOutput {
    fn new(limit: u64) -> PartialOutput {
        let capture = || Capture::new(limit);
        let verdict = Verdict::NotRun(NotRun::Cancelled);
        PartialOutput { verdict, stdout: capture(), stderr: capture() }
    }

    fn finish(self) -> ListOutput {
        let PartialOutput { verdict, stdout, stderr } = self;
        ListOutput { verdict, stdout: stdout.finish(), stderr: stderr.finish() }
    }
}

/// All answers, each of which keeps `limit` bytes of a stream.
pub fn collect(
    events: mpsc::Receiver<Event>,
    limit: u64,
) -> Result<BTreeMap<usize, ListOutput>, ListingError> {
    let mut answers: BTreeMap<usize, PartialOutput> = BTreeMap::new();
    for event in events {
        match event {
            Event::Started(index) => {
                answers.insert(index.binary, PartialOutput::new(limit));
            }
            Event::Output(index, stream, bytes) => {
                if let Some(answer) = answers.get_mut(&index.binary) {
                    match stream {
                        Stream::Stdout => answer.stdout.push(&bytes),
                        Stream::Stderr => answer.stderr.push(&bytes),
                    }
                }
            }
            Event::Finished(index, outcome) => {
                if let Some(answer) = answers.get_mut(&index.binary) {
                    answer.verdict = outcome.verdict;
                }
            }
            Event::Interrupted(Interruption::Signal(signal)) => {
                return Err(ListingError::Interrupted(signal));
            }
            // Each has a limit of its own, and all together none.
            Event::Interrupted(Interruption::Timeout(_)) => {}
            Event::Slow(..) | Event::Retried(..) | Event::Running(_) | Event::Resumed(_) => {}
        }
    }
    Ok(answers.into_iter().map(|(index, answer)| (index, answer.finish())).collect())
}
