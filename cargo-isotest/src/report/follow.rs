//! The loop that hands a run's events to its report.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::schedule::Event;

use super::run_report::Report;

/// Reports events until there are no more, each as what `translate` makes of it; `note` hears how
/// long each case took, and `tick` is
/// called whenever no event is waiting, about ten times a second at the least. The receiver is
/// dropped where stdout is closed, which ends the run.
pub fn follow<R: Report>(
    mut reporter: R,
    events: Receiver<Event>,
    translate: &mut dyn FnMut(Event) -> Vec<Event>,
    note: &mut dyn FnMut(CaseIndex, Duration),
    tick: &mut dyn FnMut(),
) -> io::Result<R> {
    const TICK: Duration = Duration::from_millis(100);
    loop {
        match events.recv_timeout(TICK) {
            Ok(event) => {
                let events = [event].into_iter().chain(events.try_iter());
                for event in events.flat_map(&mut *translate) {
                    if let Event::Finished(index, outcome) = &event
                        && !outcome.duration.is_zero()
                    {
                        note(*index, outcome.duration);
                    }
                    reporter.event(event)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(reporter),
        }
        reporter.idle()?;
        tick();
    }
}
