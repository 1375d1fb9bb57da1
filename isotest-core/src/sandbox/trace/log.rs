//! The events of a trace, and the holds of calls, in a file in memory: the tracer writes it, isotest reads it when the case has
//! ended.
//!
//! At its start stand two words, the number of dropped events and the gaps as bits; then each event
//! with its length before it. What a killed tracer has begun to write is no event.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::perturbation::Hold;
use crate::trace::{Act, Gap, Trace, TraceEvent};

/// Maximum number of events.
const EVENTS: usize = 20_000;
/// Maximum bytes of all events.
const BYTES: u64 = 8 << 20;
/// Maximum number of holds, which have as much room as all events.
const HOLDS: usize = 10_000;
/// Bytes before the first event.
const HEADER: u64 = 16;

const GAPS: [Gap; 4] = [Gap::Listener, Gap::Stuck, Gap::Mounts, Gap::Memory];

/// What the file holds.
#[derive(Serialize, Deserialize)]
enum Entry {
    Event(TraceEvent),
    Hold(Hold),
}

/// The trace of a case while it runs.
pub struct Log {
    file: File,
    began: Instant,
    /// Hashes of all acts with their processes.
    seen: HashSet<u64>,
    events: usize,
    holds: usize,
    end: u64,
    dropped: u64,
    gaps: u64,
}

impl Log {
    /// Makes the file.
    pub fn make() -> Result<OwnedFd, Errno> {
        memfd_create(c"isotest-trace", MFdFlags::MFD_CLOEXEC)
    }

    /// Writes to that file. Times are since `began`.
    pub fn new(file: OwnedFd, began: Instant) -> Log {
        let file = File::from(file);
        Log {
            file,
            began,
            seen: HashSet::new(),
            events: 0,
            holds: 0,
            end: HEADER,
            dropped: 0,
            gaps: 0,
        }
    }

    /// Writes an event. One that is there already has half of the room.
    pub fn push(&mut self, process: i32, act: Act) {
        let mut hash = DefaultHasher::new();
        (process, &act).hash(&mut hash);
        let is_new = self.seen.insert(hash.finish()) || is_once(&act);
        let event = TraceEvent { at: self.began.elapsed(), process, act };
        let Ok(bytes) = postcard::to_allocvec(&Entry::Event(event)) else { return };
        let share = if is_new { 1 } else { 2 };
        let end = self.end + 4 + bytes.len() as u64;
        if self.events >= EVENTS / share || end > BYTES / share as u64 {
            self.dropped += 1;
            return self.write_header();
        }
        if !self.write(&bytes) {
            self.dropped += 1;
            return self.write_header();
        }
        self.events += 1;
    }

    /// Writes a hold. Those that find no room are not told.
    pub fn hold(&mut self, hold: &Hold) {
        let Ok(bytes) = postcard::to_allocvec(&Entry::Hold(hold.clone())) else { return };
        let has_room = self.holds < HOLDS && self.end + 4 + bytes.len() as u64 <= 2 * BYTES;
        if has_room && self.write(&bytes) {
            self.holds += 1;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        let frame = [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
        let is_written = self.file.write_all_at(&frame, self.end).is_ok();
        if is_written {
            self.end += frame.len() as u64;
        }
        is_written
    }

    /// Notes what the trace does not have.
    pub fn note(&mut self, gap: Gap) {
        let bit = bit_of(gap);
        if self.gaps & bit == 0 {
            self.gaps |= bit;
            self.write_header();
        }
    }

    /// True if this gap was noted.
    pub fn has(&self, gap: Gap) -> bool {
        self.gaps & bit_of(gap) != 0
    }

    fn write_header(&self) {
        let words = [self.dropped.to_le_bytes(), self.gaps.to_le_bytes()].concat();
        // Without room in memory the header stays as it was.
        let _ = self.file.write_all_at(&words, 0);
    }
}

/// True if the act is a fact of its own each time.
fn is_once(act: &Act) -> bool {
    matches!(
        act,
        Act::Printed { .. } | Act::Executed { .. } | Act::Spawned { .. } | Act::Exited { .. }
    )
}

fn bit_of(gap: Gap) -> u64 {
    GAPS.iter().position(|known| *known == gap).map_or(0, |place| 1 << place)
}

/// Notes a gap in the file of a log whose tracer has ended.
pub fn mark(file: &OwnedFd, gap: Gap) {
    let Ok(file) = file.try_clone().map(File::from) else { return };
    let mut word = [0; 8];
    // It is shorter where nothing was written.
    let _ = file.read_exact_at(&mut word, 8);
    let gaps = u64::from_le_bytes(word) | bit_of(gap);
    let _ = file.write_all_at(&gaps.to_le_bytes(), 8);
}

/// Reads the trace and the holds from their file.
pub fn read(file: OwnedFd) -> (Trace, Vec<Hold>) {
    let file = File::from(file);
    let length = file.metadata().map_or(0, |metadata| metadata.len()).min(2 * BYTES);
    let mut bytes = vec![0; length as usize];
    if file.read_exact_at(&mut bytes, 0).is_err() {
        return Default::default();
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> (Trace, Vec<Hold>) {
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or(0);
    let (header, mut rest) = bytes.split_at_checked(HEADER as usize).unwrap_or((&[0; 16], &[]));
    let (dropped, gaps) = header.split_at(8);
    let gaps = word(gaps);
    let (mut events, mut holds) = (Vec::new(), Vec::new());
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let event = after.split_at_checked(length);
        let Some((event, after)) = event.filter(|_| length > 0) else { break };
        rest = after;
        match postcard::from_bytes::<Entry>(event) {
            Ok(Entry::Event(event)) => events.push(event),
            Ok(Entry::Hold(hold)) => holds.push(hold),
            Err(_) => break,
        }
    }
    let gaps = GAPS.into_iter().filter(|gap| gaps & bit_of(*gap) != 0).collect();
    (Trace { events, dropped: word(dropped), gaps }, holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (Log, OwnedFd) {
        let file = Log::make().expect("a file in memory");
        (Log::new(file.try_clone().expect("a descriptor"), Instant::now()), file)
    }

    #[test]
    fn what_is_written_is_read() {
        let (mut log, file) = log();
        log.push(1, Act::HostName);
        log.push(2, Act::Exited { code: 3 });
        log.note(Gap::Mounts);
        let (trace, _) = read(file);
        let acts: Vec<_> = trace.events.into_iter().map(|it| (it.process, it.act)).collect();
        assert_eq!(acts, [(1, Act::HostName), (2, Act::Exited { code: 3 })]);
        assert_eq!((trace.dropped, trace.gaps), (0, vec![Gap::Mounts]));
    }

    #[test]
    fn holds_are_kept_beside_a_full_trace_and_bounded() {
        let (mut log, file) = log();
        let hold = |number| Hold {
            thread: 1,
            number,
            call: "futex".to_owned(),
            held: std::time::Duration::from_millis(2),
            thread_name: "worker".to_owned(),
            code: Vec::new(),
        };
        (0..EVENTS as i32).for_each(|code| log.push(1, Act::Exited { code }));
        (0..HOLDS as u32 + 10).for_each(|number| log.hold(&hold(number)));
        let (trace, holds) = read(file);
        assert_eq!((trace.events.len(), holds.len()), (EVENTS, HOLDS));
        assert_eq!(holds.last(), Some(&hold(HOLDS as u32 - 1)));
    }

    #[test]
    fn repetitions_are_dropped_before_anything_else() {
        let (mut log, file) = log();
        for _ in 0..EVENTS {
            log.push(1, Act::Processors);
        }
        log.push(1, Act::HostName);
        let (trace, _) = read(file);
        assert_eq!(trace.events.len(), EVENTS / 2 + 1);
        assert_eq!(trace.dropped, EVENTS as u64 / 2);
        assert_eq!(trace.events.last().map(|event| &event.act), Some(&Act::HostName));
    }

    #[test]
    fn a_full_trace_stays_bounded() {
        let (mut log, file) = log();
        for code in 0..EVENTS as i32 + 10 {
            log.push(1, Act::Exited { code });
        }
        let (trace, _) = read(file);
        assert_eq!((trace.events.len(), trace.dropped), (EVENTS, 10));
    }

    #[test]
    fn a_cut_or_damaged_file_gives_what_is_whole() {
        let (mut log, file) = log();
        (0..3).for_each(|code| log.push(1, Act::Exited { code }));
        let mut bytes = vec![0; File::from(file).metadata().expect("it is there").len() as usize];
        log.file.read_exact_at(&mut bytes, 0).expect("it can be read");
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).0.events.len() < 3);
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xFF;
            // No number in it is believed.
            parse(&damaged);
        }
    }
}
