//! The order of blocks: those of two binaries never interleave.
//!
//! Binaries run in one pool, so their events come mixed. Those of the binary whose turn it is pass
//! at once; those of others are held. What a passed test wrote is dropped on arrival unless it will
//! be shown, so what is held stays small: for each case its outcome, and what failed ones wrote,
//! which libtest itself keeps until the end of a block.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use isotest_core::capture::Captured;
use isotest_core::case::CaseIndex;
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::schedule::{Event, Stream};

use super::suite::Suite;

/// Event of one case of a block.
#[derive(Debug)]
pub enum CaseEvent {
    /// It was started.
    Started,
    /// It wrote, and its output is passed through.
    Output(Stream, Vec<u8>),
    /// It is slow, and has not been reported before.
    Slow,
    /// It ended.
    Finished(Box<Outcome>),
}

/// The next thing to print.
#[derive(Debug)]
pub enum BlockEvent {
    /// The block of a binary starts.
    Open(usize),
    /// Something happened in the open block.
    Case(CaseIndex, CaseEvent),
    /// The open block ends; how long its cases took from the first event to the last.
    Close(usize, Duration),
}

/// Order of the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Order {
    /// As cargo runs the binaries: the first that has not ended.
    #[default]
    Cargo,
    /// As they end: no binary waits for a slow one. Only the last that has not ended has its turn
    /// before it ends.
    ByCompletion,
}

/// Holds events until their block has its turn.
#[derive(Debug)]
pub struct Blocks {
    binaries: Vec<Block>,
    order: Order,
    /// The binary whose block is open.
    open: Option<usize>,
    cancelled: bool,
    show_output: bool,
}

#[derive(Debug)]
struct Block {
    harness: bool,
    empty: bool,
    /// True after its block was printed or left out.
    is_past: bool,
    left: usize,
    held: VecDeque<(CaseIndex, CaseEvent)>,
    span: Option<(Instant, Instant)>,
}

impl Blocks {
    /// No event yet; `show_output` keeps what passed tests wrote.
    pub fn new(suites: &[Suite], show_output: bool, order: Order) -> Self {
        let binary = |suite: &Suite| Block {
            harness: suite.harness,
            empty: suite.cases.is_empty(),
            is_past: false,
            left: suite.cases.len(),
            held: VecDeque::new(),
            span: None,
        };
        Blocks {
            binaries: suites.iter().map(binary).collect(),
            order,
            open: None,
            cancelled: false,
            show_output,
        }
    }

    /// Takes an event that came at `now`.
    pub fn push(&mut self, event: Event, now: Instant) {
        let (index, news) = match event {
            Event::Started(index) => (index, CaseEvent::Started),
            Event::Output(index, stream, bytes) => (index, CaseEvent::Output(stream, bytes)),
            Event::Slow(index, _, 1) => (index, CaseEvent::Slow),
            Event::Finished(index, outcome) => {
                (index, CaseEvent::Finished(self.trimmed(index, outcome)))
            }
            // They are reported at once, in no block.
            Event::Slow(..) | Event::Retried(..) | Event::Running(_) => return,
            Event::Resumed(stopped) => {
                let spans = self.binaries.iter_mut().filter_map(|binary| binary.span.as_mut());
                return spans.for_each(|(first, last)| {
                    *first += stopped;
                    *last += stopped;
                });
            }
            Event::Interrupted(_) => {
                self.cancelled = true;
                return;
            }
        };
        self.cancelled |= is_cancelled(&news);
        self.binaries[index.binary].take(index, news, now);
    }

    /// The outcome without what will not be shown.
    fn trimmed(&self, index: CaseIndex, mut outcome: Box<Outcome>) -> Box<Outcome> {
        let keep = self.show_output || !self.binaries[index.binary].harness;
        if outcome.verdict == Verdict::Passed && !keep {
            outcome.output = Captured::default();
        }
        outcome
    }

    /// The next event that can be printed; `None` until the next one is pushed.
    pub fn next_event(&mut self) -> Option<BlockEvent> {
        while let Some(current) = self.open.or_else(|| self.next()) {
            let binary = &mut self.binaries[current];
            if self.open.is_none() && binary.may_open(self.cancelled) {
                self.open = Some(current);
                return Some(BlockEvent::Open(current));
            }
            match binary.held.pop_front() {
                Some((index, news)) if self.open.is_some() => {
                    return Some(BlockEvent::Case(index, news));
                }
                Some(_) => continue,
                None if binary.left > 0 => return None,
                None => {}
            }
            binary.is_past = true;
            let closed = BlockEvent::Close(current, binary.elapsed());
            if self.open.take().is_some() {
                return Some(closed);
            }
        }
        None
    }

    /// The binary whose turn it is where no block is open.
    fn next(&self) -> Option<usize> {
        let mut waiting = self.binaries.iter().enumerate().filter(|(_, binary)| !binary.is_past);
        match self.order {
            Order::Cargo => waiting.next().map(|(index, _)| index),
            Order::ByCompletion => {
                let (first, more) = (waiting.next()?, waiting.clone().next().is_some());
                let ended = [first].into_iter().chain(waiting).find(|(_, binary)| binary.left == 0);
                ended.or((!more).then_some(first)).map(|(index, _)| index)
            }
        }
    }
}

impl Block {
    fn take(&mut self, index: CaseIndex, news: CaseEvent, now: Instant) {
        let first = self.span.map_or(now, |(first, _)| first);
        self.span = Some((first, now));
        self.left -= usize::from(matches!(news, CaseEvent::Finished(_)));
        self.held.push_back((index, news));
    }

    /// True if there is something to show. A binary of which nothing was run before the run was
    /// cancelled gets no block, as `cargo test` would not have come to it.
    fn may_open(&self, cancelled: bool) -> bool {
        match self.held.front() {
            Some((_, news)) => !is_cancelled(news),
            None => self.empty && !cancelled,
        }
    }

    fn elapsed(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

fn is_cancelled(news: &CaseEvent) -> bool {
    match news {
        CaseEvent::Finished(outcome) => outcome.verdict == Verdict::NotRun(NotRun::Cancelled),
        CaseEvent::Started | CaseEvent::Output(..) | CaseEvent::Slow => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::suite::example;

    fn finished(binary: usize, case: usize, verdict: Verdict) -> Event {
        Event::Finished(CaseIndex { binary, case }, Box::new(Outcome::without_run(verdict)))
    }

    fn turns(blocks: &mut Blocks) -> String {
        let mut text = String::new();
        while let Some(turn) = blocks.next_event() {
            text += &match turn {
                BlockEvent::Open(binary) => format!("({binary}"),
                BlockEvent::Case(index, _) => format!(" {}", index.case),
                BlockEvent::Close(..) => ")".to_owned(),
            };
        }
        text
    }

    #[test]
    fn events_of_later_binaries_wait_for_their_turn() {
        let suites = [example(&["a", "b"]), example(&[]), example(&["c"])];
        let mut blocks = Blocks::new(&suites, false, Order::Cargo);
        let now = Instant::now();
        blocks.push(finished(2, 0, Verdict::Passed), now);
        assert_eq!(turns(&mut blocks), "");
        blocks.push(finished(0, 1, Verdict::Passed), now);
        assert_eq!(turns(&mut blocks), "(0 1");
        blocks.push(finished(0, 0, Verdict::Passed), now);
        assert_eq!(turns(&mut blocks), " 0)(1)(2 0)");
    }

    #[test]
    fn by_completion_no_binary_waits_for_a_slow_one() {
        let suites = [example(&["a", "b"]), example(&["c", "d"]), example(&[]), example(&["e"])];
        let mut blocks = Blocks::new(&suites, false, Order::ByCompletion);
        let now = Instant::now();
        assert_eq!(turns(&mut blocks), "(2)");
        blocks.push(Event::Started(CaseIndex { binary: 0, case: 0 }), now);
        blocks.push(finished(1, 0, Verdict::Passed), now);
        assert_eq!(turns(&mut blocks), "");
        blocks.push(finished(3, 0, Verdict::Passed), now);
        assert_eq!(turns(&mut blocks), "(3 0)");
        blocks.push(finished(0, 1, Verdict::Passed), now);
        blocks.push(finished(1, 1, Verdict::Passed), now);
        // The last one is reported while it runs.
        assert_eq!(turns(&mut blocks), "(1 0 1)(0 0 1");
        blocks.push(finished(0, 0, Verdict::Passed), now);
        assert_eq!(turns(&mut blocks), " 0)");
    }

    #[test]
    fn a_binary_of_which_nothing_was_run_has_no_block() {
        let suites = [example(&["a", "b"]), example(&["c"]), example(&[])];
        let mut blocks = Blocks::new(&suites, false, Order::Cargo);
        let now = Instant::now();
        blocks.push(finished(0, 0, Verdict::Failed { code: 101 }), now);
        blocks.push(finished(0, 1, Verdict::NotRun(NotRun::Cancelled)), now);
        blocks.push(finished(1, 0, Verdict::NotRun(NotRun::Cancelled)), now);
        assert_eq!(turns(&mut blocks), "(0 0 1)");
    }

    #[test]
    fn what_a_passed_test_wrote_is_dropped_unless_it_is_shown() {
        let mut outcome = Outcome::without_run(Verdict::Passed);
        outcome.output.head = b"text".to_vec();
        let index = CaseIndex { binary: 0, case: 0 };
        for (show, kept) in [(false, 0), (true, 4)] {
            let blocks = Blocks::new(&[example(&["a"])], show, Order::Cargo);
            let trimmed = blocks.trimmed(index, Box::new(outcome.clone()));
            assert_eq!(trimmed.output.head.len(), kept);
        }
    }
}
