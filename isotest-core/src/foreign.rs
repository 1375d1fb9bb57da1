//! Reads what a harness that is not libtest prints around a test: `BIN --exact NAME --nocapture`.
//!
//! Pure. Such a harness need not print anything: its exit code is the verdict. If it prints what
//! libtest prints, [`HarnessFilter`] takes it out of the output while it comes in, and
//! [`ForeignReport`] refines the verdict. Every other byte stays. `ok` and `FAILED` do not count.

use memchr::memmem;

use crate::harness::first_possible;

/// Output of a harness about one test, in libtest's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignReport {
    /// Number of tests in its first header: `running 1 test`.
    pub running: Option<usize>,
    /// Counts of its last summary.
    pub summary: Summary,
}

/// Counts of the last summary of a harness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Summary {
    /// There was none.
    #[default]
    Missing,
    /// Tests that ran; or others have written into it, and nobody knows.
    Run,
    /// Ignored tests and no other; why, where the harness says it.
    Ignored(Option<String>),
    /// No test.
    Empty,
}

const HEADER: &[u8] = b"\nrunning ";
const SUMMARY: &[u8] = b"test result: ";
/// An empty line stands before it.
const BELOW: &[u8] = b"\ntest result: ";
const DOTS: &[u8] = b"... ";

/// Words of a result, behind a name that was printed before the test ran.
const WORDS: [&[u8]; 3] =
    [b"ok\n\ntest result: ", b"FAILED\n\nfailures:\n", b"FAILED\n\ntest result: "];

/// Parts of a summary; two of them are proof enough of one.
const PARTS: [&[u8]; 5] =
    [b"test result: ", b" passed; ", b" failed; ", b" ignored; ", b" filtered out"];

/// Maximum length in bytes of a line that may be the harness's.
const LINE: usize = 64 << 10;

/// Half of the maximum of bytes that are held back, since they may be the harness's last words.
const HELD: usize = 1 << 20;

/// Takes a stream while it comes in.
#[derive(Debug)]
pub struct HarnessFilter {
    name: String,
    /// A line begins with what comes next.
    fresh: bool,
    running: Option<usize>,
    /// The harness has printed the name, and not yet how the test has ended.
    named: bool,
    parts: [bool; PARTS.len()],
    /// The end of what was searched for parts.
    searched: Vec<u8>,
    held: Vec<u8>,
    /// Its last words have begun.
    ends: bool,
}

/// Beginning of the held bytes.
enum Scanned {
    /// Perhaps a line of the harness's, when it is whole.
    Incomplete,
    /// So many bytes of the harness's own.
    Own(usize),
    /// Its last words.
    End,
    /// Something else.
    Other,
}

impl HarnessFilter {
    /// Listens for what is said of the test `name`.
    pub fn new(name: &str) -> HarnessFilter {
        HarnessFilter {
            name: name.to_owned(),
            fresh: true,
            running: None,
            named: false,
            parts: [false; PARTS.len()],
            searched: Vec::new(),
            held: Vec::new(),
            ends: false,
        }
    }

    /// Takes more of the stream; returns what is not the harness's own.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.search(bytes);
        self.held.extend_from_slice(bytes);
        let mut ready = Vec::new();
        while !self.ends {
            self.release(self.next_possible(), &mut ready);
            if self.held.is_empty() {
                return ready;
            }
            match self.look() {
                Scanned::Incomplete if self.held.len() <= LINE => return ready,
                Scanned::Own(length) => {
                    self.held.drain(..length);
                    self.fresh = true;
                }
                Scanned::End => self.ends = true,
                Scanned::Incomplete | Scanned::Other => self.release(1, &mut ready),
            }
        }
        if self.held.len() > 2 * HELD {
            self.release(self.held.len() - HELD, &mut ready);
        }
        ready
    }

    /// The stream has ended: what is left of it, and what was said.
    pub fn finish(mut self) -> (Vec<u8>, ForeignReport) {
        let summary = memmem::rfind(&self.held, SUMMARY)
            .and_then(|at| Some((at, Counts::read(first_line(self.held.get(at..)?))?)));
        let counts = summary.map(|(_, counts)| counts);
        let reason = self.result(self.held.len()).and_then(|result| result.reason);
        if self.ends {
            self.take_out_end(summary.map(|(at, _)| at));
        }
        let summary = match counts {
            Some(Counts { passed: 0, failed: 0, ignored: 0, measured: 0 }) => Summary::Empty,
            Some(Counts { passed: 0, failed: 0, measured: 0, .. }) => Summary::Ignored(reason),
            Some(_) => Summary::Run,
            None => match self.parts {
                // So ui_test says it, which leaves out what it counts none of.
                [true, false, false, false, true] => Summary::Empty,
                parts if parts.iter().filter(|part| **part).count() > 1 => Summary::Run,
                _ => Summary::Missing,
            },
        };
        (self.held, ForeignReport { running: self.running, summary })
    }

    /// Looks for parts of a summary, wherever they stand: what others write may stand between.
    fn search(&mut self, bytes: &[u8]) {
        self.searched.extend_from_slice(bytes);
        for (seen, part) in self.parts.iter_mut().zip(PARTS) {
            *seen |= memmem::find(&self.searched, part).is_some();
        }
        let longest = PARTS.iter().map(|part| part.len()).max().unwrap_or(0);
        self.searched.drain(..self.searched.len().saturating_sub(longest - 1));
    }

    fn release(&mut self, length: usize, ready: &mut Vec<u8>) {
        if let Some(last) = length.checked_sub(1).and_then(|last| self.held.get(last)) {
            self.fresh = *last == b'\n';
        }
        ready.extend(self.held.drain(..length));
    }

    /// Position where words of the harness begin, or might begin with the next bytes.
    fn next_possible(&self) -> usize {
        let lead = format!("test {}", self.name);
        let mut first = first_possible(&self.held, lead.as_bytes());
        let mut also = |wanted| first = first.min(first_possible(&self.held, wanted));
        also(SUMMARY);
        also(BELOW);
        if self.running.is_none() {
            also(HEADER);
            let header = &HEADER[1..];
            if self.fresh && (self.held.starts_with(header) || header.starts_with(&self.held)) {
                return 0;
            }
        }
        if self.named {
            WORDS.iter().for_each(|word| also(word));
        }
        first
    }

    fn look(&mut self) -> Scanned {
        let held = self.held.as_slice();
        let starts = |wanted: &[u8]| held.starts_with(wanted) || wanted.starts_with(held);
        let newline = usize::from(held.first() == Some(&b'\n'));
        if self.running.is_none() && starts(&HEADER[1 - newline..]) {
            return match whole_line(held.get(newline..).unwrap_or_default()) {
                None => Scanned::Incomplete,
                Some(line) => match read_header(line) {
                    // It ends a line of somebody else's.
                    Some(_) if newline == 1 && !self.fresh => Scanned::Other,
                    Some(running) => {
                        let length = newline + line.len() + 1;
                        self.running = Some(running);
                        Scanned::Own(length)
                    }
                    None => Scanned::Other,
                },
            };
        }
        if newline == 1 && !self.fresh {
            // It ends a line of somebody else's.
            return Scanned::Other;
        }
        if starts(&BELOW[1 - newline..]) {
            return match whole_line(held.get(newline..).unwrap_or_default()).map(Counts::read) {
                None => Scanned::Incomplete,
                Some(Some(_)) => Scanned::End,
                Some(None) => Scanned::Other,
            };
        }
        if self.named {
            let fits = |word: &&&[u8]| starts(word);
            if let Some(word) = WORDS.iter().find(fits) {
                return if held.starts_with(word) { Scanned::End } else { Scanned::Incomplete };
            }
        }
        let Some(line) = whole_line(held) else { return Scanned::Incomplete };
        match behind_name(line, &self.name) {
            None => Scanned::Other,
            Some(at) if Word::read(line.get(at..).unwrap_or_default()).is_some() => Scanned::End,
            Some(at) => {
                self.named = true;
                Scanned::Own(at)
            }
        }
    }

    /// The last result in the held bytes before `end`.
    fn result(&self, end: usize) -> Option<Found> {
        let held = self.held.get(..end)?;
        let lead = format!("test {}", self.name);
        let lines = memmem::rfind_iter(held, lead.as_bytes()).find_map(|start| {
            let line = first_line(held.get(start..)?);
            let word = Word::read(line.get(behind_name(line, &self.name)?..)?)?;
            Some(Found { start, end: (start + line.len() + 1).min(end), reason: word.reason })
        });
        lines.or_else(|| {
            let words = WORDS.iter().filter(|_| self.named);
            let start = words.filter_map(|word| memmem::rfind(&self.held, word)).max()?;
            let line = first_line(self.held.get(start..)?);
            Some(Found { start, end: start + line.len() + 1, reason: None })
        })
    }

    /// Takes the harness's last words out: the result, the sections of failures, the summary.
    fn take_out_end(&mut self, summary: Option<usize>) {
        let end = summary.unwrap_or(self.held.len());
        let found = self.result(end);
        let held = std::mem::take(&mut self.held);
        let before = |end: usize| held.get(..end).unwrap_or_default().to_vec();
        let mut kept = match found {
            Some(Found { start, end: result_end, .. }) => {
                let between = held.get(result_end..end).unwrap_or_default();
                let kept = if summary.is_some() { failure(between, &self.name) } else { between };
                [before(start).as_slice(), kept].concat()
            }
            None => {
                let mut kept = before(end);
                if summary.is_some() && (kept == b"\n" || kept.ends_with(b"\n\n")) {
                    kept.pop();
                }
                kept
            }
        };
        if let Some(rest) = summary.and_then(|at| held.get(at..)) {
            let behind = rest.get(first_line(rest).len() + 1..).unwrap_or_default();
            kept.extend_from_slice(behind.strip_prefix(b"\n").unwrap_or(behind));
        }
        self.held = kept;
    }
}

/// A result line: where it starts, where what follows it starts, and why the test was ignored.
struct Found {
    start: usize,
    end: usize,
    reason: Option<String>,
}

/// Text between a result and the summary, without the harness's own headings.
fn failure<'a>(between: &'a [u8], name: &str) -> &'a [u8] {
    // libtest-mimic's kind, `[kind] name`, stands in the list alone.
    let names = [name, name.split_once("] ").map_or(name, |(_, short)| short)];
    let mut text = between;
    for name in names {
        let list = format!("\nfailures:\n    {name}\n");
        let at = memmem::rfind(text, list.as_bytes());
        let is_last = |at: &usize| text[at + list.len()..].iter().all(|byte| *byte == b'\n');
        if let Some(at) = at.filter(is_last) {
            text = &text[..at];
            break;
        }
    }
    text = text.strip_prefix(b"\nfailures:\n").unwrap_or(text);
    for name in names {
        for heading in [format!("\n---- {name} ----\n"), format!("\n---- {name} stdout ----\n")] {
            text = text.strip_prefix(heading.as_bytes()).unwrap_or(text);
        }
    }
    match text.iter().rposition(|byte| *byte != b'\n') {
        Some(last) => text.get(..last + 2).unwrap_or(text),
        None => b"",
    }
}

/// The first line, without its end.
fn first_line(bytes: &[u8]) -> &[u8] {
    whole_line(bytes).unwrap_or(bytes)
}

/// The first line without its end, where it has one.
fn whole_line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..memchr::memchr(b'\n', bytes)?)
}

/// Position behind the dots of a line `test NAME ... `. A name may be padded, and followed by a
/// mode.
fn behind_name(line: &[u8], name: &str) -> Option<usize> {
    let behind = line.strip_prefix(b"test ")?.strip_prefix(name.as_bytes())?;
    let dots = memmem::find(behind, DOTS)?;
    let between = behind.get(..dots)?;
    let is_own = between.iter().all(|byte| *byte == b' ') || between.starts_with(b" - ");
    (is_own && between.ends_with(b" ")).then_some(line.len() - behind.len() + dots + DOTS.len())
}

/// Reads `running 3 tests`.
fn read_header(line: &[u8]) -> Option<usize> {
    let line = plain(line);
    let (count, noun) = line.strip_prefix("running ")?.split_once(' ')?;
    let noun = noun.split(" (shuffle seed: ").next()?;
    matches!(noun.trim_end(), "test" | "tests").then(|| count.parse().ok())?
}

/// The word of a result.
struct Word {
    reason: Option<String>,
}

impl Word {
    /// Reads `ok`, `FAILED`, `ignored`, `ignored, REASON` and libtest-mimic's `ignored (REASON)`.
    fn read(text: &[u8]) -> Option<Word> {
        let text = plain(text);
        let text = text.trim_end();
        if let Some(behind) = text.strip_prefix("ignored") {
            let bracketed = || behind.strip_prefix(" (")?.strip_suffix(')');
            let reason = behind.strip_prefix(", ").or_else(bracketed);
            return (behind.is_empty() || reason.is_some())
                .then(|| Word { reason: reason.map(str::to_owned) });
        }
        let is_word = |word: &str| {
            text.strip_prefix(word)
                .is_some_and(|behind| behind.is_empty() || behind.starts_with(" <"))
        };
        ["ok", "FAILED"].into_iter().any(is_word).then_some(Word { reason: None })
    }
}

/// Counts of a summary.
#[derive(Debug, Clone, Copy)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
    measured: usize,
}

impl Counts {
    /// Reads `test result: ok. 1 passed; 0 failed; 0 ignored; …`.
    fn read(line: &[u8]) -> Option<Counts> {
        let line = plain(line);
        let counts = line.strip_prefix("test result: ")?;
        let count = |noun: &str| {
            let before = counts.get(..counts.find(noun)?)?;
            before.rsplit([' ', '.']).next()?.parse().ok()
        };
        Some(Counts {
            passed: count(" passed")?,
            failed: count(" failed")?,
            ignored: count(" ignored").unwrap_or(0),
            measured: count(" measured").unwrap_or(0),
        })
    }
}

/// A line without its colours (the CSI sequences of ECMA-48).
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        let end = part.find(|character: char| ('@'..='~').contains(&character));
        plain + end.map_or("", |end| &part[end + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIMIC_FAILED: &str = "\nrunning 1 test\nbefore\ntest a ... FAILED\n\nfailures:\n\n\
        ---- a ----\na message\n\nof two parts\n\n\nfailures:\n    a\n\ntest result: FAILED. 0 passed; \
        1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.00s\n\n";

    fn summary(counts: &str) -> String {
        format!("\ntest result: ok. {counts}; 0 measured; 3 filtered out; finished in 0.00s\n\n")
    }

    /// Rest of a stream that comes in whole, and byte by byte.
    #[track_caller]
    fn heard(stream: &str, name: &str) -> (String, ForeignReport) {
        let by_bytes = |size: usize| {
            let mut listener = HarnessFilter::new(name);
            let chunks = stream.as_bytes().chunks(size);
            let mut output: Vec<u8> = chunks.flat_map(|bytes| listener.push(bytes)).collect();
            let (rest, said) = listener.finish();
            output.extend(rest);
            (String::from_utf8(output).expect("text"), said)
        };
        let (whole, bytes) = (by_bytes(usize::MAX), by_bytes(1));
        assert_eq!(whole, bytes);
        whole
    }

    #[test]
    fn the_words_of_a_pass_are_taken_out() {
        let words = summary("1 passed; 0 failed; 0 ignored");
        for line in ["test a ... ok", "test a      ... ok", "test a ... \x1b[32mok\x1b[0m"] {
            let (output, said) = heard(&format!("\nrunning 1 test\nhello\n{line}\n{words}"), "a");
            assert_eq!(output, "hello\n", "{line}");
            assert_eq!(said, ForeignReport { running: Some(1), summary: Summary::Run });
        }
    }

    #[test]
    fn a_name_before_its_output_is_taken_out() {
        let words = summary("1 passed; 0 failed; 0 ignored");
        let (output, said) = heard(&format!("running 1 test\ntest a ... hello\nok\n{words}"), "a");
        assert_eq!((output.as_str(), said.summary), ("hello\n", Summary::Run));
    }

    #[test]
    fn the_message_of_a_failure_is_kept() {
        let (output, said) = heard(MIMIC_FAILED, "a");
        assert_eq!(output, "before\na message\n\nof two parts\n");
        assert_eq!(said.summary, Summary::Run);
        let kind = MIMIC_FAILED.replace("test a ", "test [k] a ");
        assert_eq!(heard(&kind, "[k] a").0, output);
    }

    #[test]
    fn a_message_that_looks_like_a_heading_is_kept() {
        let text = "failures:\n    a\nand more";
        let (output, _) = heard(&MIMIC_FAILED.replace("of two parts", text), "a");
        assert_eq!(output, format!("before\na message\n\n{text}\n"));
    }

    #[test]
    fn what_says_nothing_of_libtests_is_kept() {
        for text in [
            "",
            "x",
            "test\n",
            "{ \"type\": \"test\" }\n",
            "✓ a\n",
            "running wild\ntest b ... ok\n",
        ] {
            assert_eq!(heard(text, "a"), (text.to_owned(), ForeignReport::default()));
        }
        let cut = "before\nrunning 1 test\nhello";
        let (output, said) = heard(cut, "a");
        assert_eq!((output.as_str(), said.running), ("before\nhello", Some(1)));
        assert_eq!(said.summary, Summary::Missing);
    }

    #[test]
    fn a_test_that_is_ignored_when_it_runs_has_its_reason() {
        let words = summary("0 passed; 0 failed; 1 ignored");
        let ignored = |line: &str| {
            let (output, said) = heard(&format!("\nrunning 1 test\n{line}\n{words}"), "a");
            assert_eq!(output, "");
            said.summary
        };
        assert_eq!(ignored("test a ... ignored"), Summary::Ignored(None));
        let with_reason = Summary::Ignored(Some("no db".to_owned()));
        assert_eq!(ignored("test a ... ignored (no db)"), with_reason);
        assert_eq!(ignored("test a ... ignored, no db"), with_reason);
        let (_, said) = heard("test result: ok. 0 passed; 0 failed; 1 ignored\n", "a");
        assert_eq!(said.summary, Summary::Ignored(None));
    }

    #[test]
    fn the_first_header_counts() {
        let nothing = summary("0 passed; 0 failed; 0 ignored");
        let (output, said) = heard(&format!("\nrunning 0 tests\n{nothing}"), "a");
        assert_eq!(output, "");
        assert_eq!(said, ForeignReport { running: Some(0), summary: Summary::Empty });
        let child = format!("\nrunning 1 test\n\nrunning 0 tests\n{nothing}test a ... ok\n");
        assert_eq!(heard(&child, "a").1.running, Some(1));
    }

    #[test]
    fn a_summary_that_another_process_has_written_into_is_one() {
        let text = "running 1 test\ntest xx\na ... ok\n\ntest res xx\nult: ok. 1 passed; 0 failed; \
                    0 ignored; 0 meas xx\nured; 0 filtered out\n";
        assert_eq!(heard(text, "a").1.summary, Summary::Run);
        let text = "running 1 test\n3 passed; I think\n";
        assert_eq!(heard(text, "a").1.summary, Summary::Missing);
    }

    #[test]
    fn a_summary_of_filtered_tests_alone_is_empty_and_kept() {
        let summary = |text: &str| {
            let (output, said) = heard(text, "a");
            assert_eq!(output, text);
            said.summary
        };
        assert_eq!(summary("\ntest result: ok. 2 filtered out\n\n"), Summary::Empty);
        assert_eq!(summary("\ntest result: ok. 1 passed; 2 filtered out\n\n"), Summary::Run);
        assert_eq!(summary("\ntest result: ok. 1 passed\n\n"), Summary::Missing);
    }

    #[test]
    fn a_stream_that_looks_like_the_harness_is_not_kept_for_ever() {
        for start in ["test a", "test a ... ok\n", "test result: ok. 1 passed; 0 failed\n"] {
            let mut listener = HarnessFilter::new("a");
            let mut passed = listener.push(start.as_bytes()).len();
            for _ in 0..8 {
                passed += listener.push(&[b'x'; HELD]).len();
            }
            assert!(listener.held.len() <= 2 * HELD, "{start:?}");
            assert!(passed >= 6 * HELD, "{start:?}");
        }
    }
}
