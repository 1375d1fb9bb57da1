//! Prints a recorded run again: its report gets the same inputs at the same times.

use std::io::{self, Write};

use super::doctests::DoctestSummary;
use super::record::{Ending, Input};
use super::reporter::Reporter;
use super::run_report::{Report, Summary};

/// A run that was printed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Its counts.
    pub summary: Summary,
    /// Those of its documentation tests.
    pub doctests: DoctestSummary,
    /// The record has the end of the run.
    pub is_whole: bool,
}

/// Gives a report the inputs of a record, which follow those of its binaries.
pub fn replay(
    mut reporter: Reporter,
    inputs: impl Iterator<Item = Input>,
) -> io::Result<(Reporter, Replayed)> {
    let begin = reporter.begin();
    let mut now = begin;
    let mut ending = None;
    for input in inputs {
        match input {
            Input::Event(at, event) => {
                now = begin + at;
                reporter.event_at(event, now)?;
            }
            Input::End(last) => ending = Some(*last),
            Input::Said(message) => {
                message.map_or(Ok(()), |message| reporter.say_again(&message))?;
            }
            Input::Start(_) | Input::Suite(_) => {}
        }
    }
    let is_whole = ending.is_some();
    let Ending {
        wall,
        grants,
        shared,
        withheld,
        traces,
        recorded,
        gone,
        reruns,
        doctests,
        documentation,
    } = ending.unwrap_or_else(|| Ending { wall: now - begin, ..Ending::default() });
    for (binary, findings, deny) in &shared {
        reporter.take_shared(*binary, findings, *deny);
    }
    reporter.take_grants(grants);
    reporter.take_traces(traces);
    reporter.take_gone(gone);
    reporter.take_recorded(recorded.into_iter().collect());
    reporter.end_after(wall)?;
    reporter.take_withheld(withheld);
    if !documentation.is_empty() {
        let out: &mut dyn Write =
            if reporter.has_messages() { &mut io::stderr() } else { &mut io::stdout() };
        out.write_all(&documentation)?;
        out.flush()?;
    }
    let summary = reporter.finish(reruns, doctests)?;
    Ok((reporter, Replayed { summary, doctests, is_whole }))
}
