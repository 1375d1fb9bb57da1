//! The bound for all outputs that a report keeps in memory: those of failed tests, until the block of
//! their binary ends, or the JUnit report is written.

use isotest_core::capture::Captured;
use isotest_core::outcome::{Outcome, Verdict};

/// The most bytes that are kept unshortened.
const MOST: u64 = 256 << 20;
/// The most bytes that are kept of each stream beyond that.
const SHORT: usize = 16 << 10;

/// The outputs that are kept, in bytes.
#[derive(Debug)]
pub struct Kept {
    most: u64,
    total: u64,
    /// Of each binary.
    binaries: Vec<u64>,
}

impl Kept {
    /// Nothing is kept yet.
    pub fn new(binaries: usize) -> Kept {
        Kept { most: MOST, total: 0, binaries: vec![0; binaries] }
    }

    /// Counts the outputs of a case that has ended. They are shortened if too much is kept.
    pub fn add(&mut self, binary: usize, outcome: &mut Outcome) {
        let outputs = outcome.earlier.iter_mut().flat_map(outputs_of);
        let outputs: Vec<&mut Captured> = outputs.collect();
        for output in outputs {
            self.count(binary, output);
        }
        for output in outputs_of(outcome) {
            self.count(binary, output);
        }
    }

    fn count(&mut self, binary: usize, output: &mut Captured) {
        let left = self.most.saturating_sub(self.total);
        if output.kept() as u64 > left {
            output.shorten(SHORT);
        }
        let kept = output.kept() as u64;
        self.total += kept;
        self.binaries[binary] += kept;
    }

    /// The outputs of a binary have been printed and are not kept any longer.
    pub fn release(&mut self, binary: usize) {
        self.total -= std::mem::take(&mut self.binaries[binary]);
    }
}

/// The outputs of one attempt.
fn outputs_of(outcome: &mut Outcome) -> impl Iterator<Item = &mut Captured> {
    let services = outcome.services.iter_mut().map(|service| &mut service.output);
    [&mut outcome.output].into_iter().chain(services)
}

/// True if the output of a case that has ended so is kept.
pub fn is_kept(outcome: &Outcome, show_output: bool) -> bool {
    show_output || outcome.verdict != Verdict::Passed || !outcome.earlier.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(length: usize) -> Outcome {
        let mut outcome = Outcome::without_run(Verdict::Failed { code: 101 });
        outcome.output.head = vec![b'x'; length];
        outcome
    }

    #[test]
    fn what_is_kept_beyond_the_bound_is_shortened_with_a_notice() {
        let mut kept = Kept { most: 100_000, ..Kept::new(2) };
        let mut lengths = |binary, lengths: [usize; 2]| {
            let mut outcome = failed(lengths[0]);
            outcome.earlier = vec![failed(lengths[1])];
            kept.add(binary, &mut outcome);
            let text = String::from_utf8(outcome.output.to_bytes()).expect("it is text");
            let is_told = text.contains("bytes of output cut here");
            (outcome.output.kept(), outcome.earlier[0].output.kept(), is_told)
        };
        assert_eq!(lengths(0, [60_000, 30_000]), (60_000, 30_000, false));
        assert_eq!(lengths(1, [50_000, 20_000]), (SHORT, SHORT, true));
        assert_eq!(lengths(1, [40_000, 100]), (SHORT, 100, true));
        kept.release(0);
        let mut outcome = failed(30_000);
        kept.add(1, &mut outcome);
        assert_eq!(outcome.output.kept(), 30_000);
    }
}
