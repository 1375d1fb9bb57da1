//! Reads what libtest itself prints around one test: `BIN --exact NAME --nocapture`.
//!
//! Pure. The test and its harness write to the same stream; [`strip`] takes the harness's lines
//! out and says what they were. A result counts only as the harness's own where the name, the
//! counts and the number of tests left out are right, so that a test that merely prints
//! "test result: ok" has not passed.

use std::ops::Range;

use memchr::memmem;

use crate::capture::Captured;
use crate::interleaved;

/// Result that the harness reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The test passed.
    pub passed: bool,
    /// Text behind the name, `" - should panic"` for example.
    pub mode: String,
}

const HEADER: &[u8] = b"\nrunning 1 test\n";
const FAILURES: &str = "\nfailures:\n";
const DOTS: &[u8] = b" ... ";
/// Number of lines with the name of the test that are read, the last ones: the test may print some,
/// too.
const LINES: usize = 16;

/// Output of the harness around a test.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HarnessReport {
    /// It was going to run one test.
    pub begun: bool,
    /// Its result.
    pub report: Option<Report>,
}

/// Takes the harness's lines out of `output`. `results` are those that it can have had, by the end of
/// its process: no other is looked for. The header is taken out in any case.
pub fn strip(
    output: &mut Captured,
    name: &str,
    filtered_out: usize,
    results: &[bool],
) -> HarnessReport {
    let begun = strip_header(&mut output.head);
    let part = if output.cut > 0 { &mut output.tail } else { &mut output.head };
    let mut results = results.iter();
    let report = results.find_map(|passed| strip_result(part, name, filtered_out, *passed));
    HarnessReport { begun, report }
}

/// Takes the first header out. Returns whether there was one.
pub fn strip_header(bytes: &mut Vec<u8>) -> bool {
    let header = memmem::find(bytes, HEADER);
    if let Some(at) = header {
        bytes.drain(at..at + HEADER.len());
    }
    header.is_some()
}

/// Takes the result out, wherever it stands: a process that outlives the test may write behind it,
/// and others between its words.
fn strip_result(
    bytes: &mut Vec<u8>,
    name: &str,
    filtered_out: usize,
    passed: bool,
) -> Option<Report> {
    let (line, words) = result(bytes, name, filtered_out, passed)?;
    let mut rest = bytes.get(..line.start)?.to_vec();
    let mut at = line.end;
    let (mut place, mut note_end) = (true, 0);
    for own in &words {
        let gap = bytes.get(at..own.start)?;
        match without_heading(gap, name) {
            Some(note) => {
                rest.extend(note);
                note_end = rest.len();
            }
            None => rest.extend(gap),
        }
        if std::mem::take(&mut place) && !passed {
            place_unfinished_line(&mut rest, name);
        }
        at = own.end;
    }
    rest.extend(bytes.get(at..)?);
    if note_end == rest.len() && rest.ends_with(b"\n") {
        rest.pop();
    }
    *bytes = rest;
    Some(Report { passed, mode: line.mode })
}

/// The line with the name of the test, and the words of the harness behind it.
fn result(
    bytes: &[u8],
    name: &str,
    filtered_out: usize,
    passed: bool,
) -> Option<(NameLine, Vec<Range<usize>>)> {
    let list = format!("    {name}\n");
    let (word, counts) = match passed {
        true => ("ok", "1 passed; 0 failed"),
        false => ("FAILED", "0 passed; 1 failed"),
    };
    let counts = format!(". {counts}; 0 ignored; 0 measured; {filtered_out} filtered out");
    let failures: &[&str] = if passed { &[] } else { &[FAILURES, FAILURES, &list] };
    let ends = [&["\n", "test result: ", word, &counts][..], &["; finished in "]].concat();
    // As libtest writes them, each at once.
    let pieces = [&[word, "\n"], failures, &ends].concat();
    let pieces: Vec<&[u8]> = pieces.into_iter().map(str::as_bytes).collect();
    let mut upto = bytes.len();
    for _ in 0..LINES {
        let line = name_line(bytes.get(..upto)?, name)?;
        let behind = bytes.get(line.end..)?;
        upto = line.start;
        let Some(found) = interleaved::find(behind, &pieces) else { continue };
        let mut words: Vec<Range<usize>> =
            found.into_iter().map(|own| own.start + line.end..own.end + line.end).collect();
        let last = words.last_mut()?;
        let time = bytes.get(last.end..)?;
        let digits = time.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b's'));
        last.end += digits.count();
        // An empty line follows at once, or behind what others have written.
        let behind = bytes.get(last.end..)?;
        if let Some(at) = memmem::find(behind, b"\n\n").or((behind == b"\n").then_some(0)) {
            let start = last.end + at;
            words.push(start..(start + 2).min(bytes.len()));
        }
        return Some((line, words));
    }
    None
}

/// Text of libtest about a failure ("note: test did not panic as expected"), without its heading:
/// it prints it in the failures section even where the output is not captured.
fn without_heading(section: &[u8], name: &str) -> Option<Vec<u8>> {
    let heading = format!("\n---- {name} stdout ----\n");
    let at = memmem::find(section, heading.as_bytes())?;
    let note = section.get(at + heading.len()..)?;
    Some([section.get(..at)?, note].concat())
}

/// A test's stdout is buffered by the line, its stderr is not: what it printed last without a
/// newline comes out behind its panic message, with the harness's own words. libtest's capture
/// has it before the message, where it was printed; so it goes there. Which of the two came first
/// is not known for certain, but who panics seldom prints afterwards.
fn place_unfinished_line(bytes: &mut [u8], name: &str) {
    let line = memmem::rfind(bytes, b"\n").map_or(0, |at| at + 1);
    // With one thread the harness runs the test on its own.
    let headers = [format!("\nthread '{name}' "), "\nthread 'main' ".to_owned()];
    let complete = bytes.get(..line).unwrap_or_default();
    let message =
        headers.iter().filter_map(|header| memmem::rfind(complete, header.as_bytes())).max();
    let length = bytes.len() - line;
    if let Some(behind) = message.and_then(|message| bytes.get_mut(message..)) {
        behind.rotate_right(length);
    }
}

/// `test NAME - MODE ... `: where it starts and ends.
struct NameLine {
    start: usize,
    end: usize,
    mode: String,
}

fn name_line(bytes: &[u8], name: &str) -> Option<NameLine> {
    let lead = format!("test {name}");
    let mut upto = bytes.len();
    while let Some(start) = memmem::rfind(bytes.get(..upto)?, lead.as_bytes()) {
        if let Some(mode) = mode(bytes.get(start + lead.len()..)?) {
            let end = start + lead.len() + mode.len() + DOTS.len();
            return Some(NameLine { start, end, mode: mode.to_owned() });
        }
        upto = start;
    }
    None
}

/// Text between a name and the dots, if it can be the harness's.
fn mode(after_name: &[u8]) -> Option<&str> {
    let mode = after_name.get(..memmem::find(after_name, DOTS)?)?;
    let mode = std::str::from_utf8(mode).ok()?;
    (mode.is_empty() || (mode.starts_with(" - ") && !mode.contains('\n'))).then_some(mode)
}

/// Filter that passes a stream on while the harness may still write to it: all but the header, and
/// bytes that may turn out to be the harness's last words.
#[derive(Debug, Default)]
pub struct PassThrough {
    /// Beginning of the harness's last words: `test NAME`.
    lead: Vec<u8>,
    header_seen: bool,
    held: Vec<u8>,
}

/// Half of the maximum of bytes that are held back. The harness's last words fit in it, unless the
/// message of a `#[should_panic]` test is longer.
const HELD: usize = 64 << 10;

/// Words of the harness behind the name.
const WORDS: [&[u8]; 2] = [b"ok", b"FAILED"];

impl PassThrough {
    /// For the output of the test `name`.
    pub fn new(name: &str) -> PassThrough {
        PassThrough { lead: format!("test {name}").into_bytes(), ..PassThrough::default() }
    }

    /// Takes more of the stream; returns what can be passed on now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut ready = Vec::new();
        if !self.header_seen {
            let header = first_possible(&self.held, HEADER);
            ready.extend(self.held.drain(..header));
            if !self.held.starts_with(HEADER) {
                return ready;
            }
            self.held.drain(..HEADER.len());
            self.header_seen = true;
        }
        let end = first_possible(&self.held, &self.lead);
        ready.extend(self.held.drain(..end));
        // Others may write between the name and the word, and between what follows.
        let line = name_line_at_start(&self.held, &self.lead).unwrap_or(0);
        if line > 0 {
            let output = self.held.get(line..).unwrap_or_default();
            let end = WORDS.map(|word| first_possible(output, word)).into_iter().min().unwrap_or(0);
            ready.extend(self.held.drain(line..line + end));
        }
        if self.held.len() > 2 * HELD {
            ready.extend(self.held.drain(line..self.held.len() - HELD));
        }
        ready
    }

    /// True if the harness was going to run one test.
    pub fn has_begun(&self) -> bool {
        self.header_seen
    }

    /// Bytes that were not passed on: the harness's last words are in them.
    pub fn finish(self) -> Vec<u8> {
        self.held
    }
}

/// The results that libtest prints in JSON, as far as it matters that there is one more: a whole
/// binary that goes on is not stuck.
#[derive(Debug)]
pub struct Results {
    left: usize,
    /// The end of what was read, in which a result may begin.
    tail: Vec<u8>,
}

/// Text before the name of a test that has ended; one that starts has its `event` there.
const RESULT: &[u8] = b"{ \"type\": \"test\", \"name\": \"";

impl Results {
    /// So many are to come.
    pub fn new(tests: usize) -> Results {
        Results { left: tests, tail: Vec::new() }
    }

    /// Takes more of the stream; returns whether there is a result in it that was still to come.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.tail.extend_from_slice(bytes);
        let found = memmem::find_iter(&self.tail, RESULT).count().min(self.left);
        self.left -= found;
        self.tail.drain(..self.tail.len().saturating_sub(RESULT.len() - 1));
        found > 0
    }
}

/// The length of the line `LEAD - MODE ... ` that `bytes` begin with.
fn name_line_at_start(bytes: &[u8], lead: &[u8]) -> Option<usize> {
    let after = bytes.strip_prefix(lead)?;
    mode(after).map(|mode| lead.len() + mode.len() + DOTS.len())
}

/// Position where `wanted` begins in `bytes`, or might begin with the next bytes; the length of
/// `bytes` where it cannot.
pub fn first_possible(bytes: &[u8], wanted: &[u8]) -> usize {
    memmem::find(bytes, wanted).unwrap_or_else(|| {
        // Only the last bytes can be the beginning of one that is not whole.
        let first = bytes.len().saturating_sub(wanted.len());
        let begins = |at: &usize| bytes.get(*at..).is_some_and(|rest| wanted.starts_with(rest));
        (first..bytes.len()).find(begins).unwrap_or(bytes.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_counts_once_and_no_more_than_there_are_tests() {
        let line = br#"{ "type": "test", "name": "a", "event": "ok" }"#;
        let mut results = Results::new(2);
        assert!(!results.push(br#"{ "type": "test", "event": "started", "name": "a" }"#));
        let (first, second) = line.split_at(9);
        assert!(!results.push(first) && results.push(second));
        assert!(results.push(line));
        assert!(!results.push(line), "there are but two");
    }

    fn stripped(text: &str, name: &str) -> (String, Option<Report>) {
        let mut output = Captured { head: text.as_bytes().to_vec(), ..Captured::default() };
        let said = strip(&mut output, name, 3, &[true, false]);
        (String::from_utf8(output.head).unwrap(), said.report)
    }

    const OK: &str = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; \
                      3 filtered out; finished in 0.00s\n\n";
    const FAILED: &str = "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; \
                          3 filtered out; finished in 0.00s\n\n";

    #[test]
    fn the_harness_lines_of_a_pass_are_taken_out() {
        let text = format!("\nrunning 1 test\nhellotest a::b ... ok\n\n{OK}");
        let (output, report) = stripped(&text, "a::b");
        assert_eq!(output, "hello");
        assert_eq!(report, Some(Report { passed: true, mode: String::new() }));
    }

    /// Writes of libtest for a test that passes, and for one that fails with a note.
    const PASS: [&str; 9] = [
        "test a ... ",
        "ok",
        "\n",
        "\n",
        "test result: ",
        "ok",
        ". 1 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out",
        "; finished in 0.00s",
        "\n\n",
    ];
    const FAIL: [&str; 14] = [
        "test a - should panic ... ",
        "FAILED",
        "\n",
        "\nfailures:\n",
        "\n",
        "---- a stdout ----\nnote: test did not panic\n",
        "\nfailures:\n",
        "    a\n",
        "\n",
        "test result: ",
        "FAILED",
        ". 0 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out",
        "; finished in 0.00s",
        "\n\n",
    ];

    #[test]
    fn others_may_write_between_any_two_words() {
        let with = |words: &[&str], places: &[usize], line: &str| {
            let word = |(at, word): (usize, &&str)| match places.contains(&at) {
                true => format!("{line}{word}"),
                false => word.to_string(),
            };
            let words: String = words.iter().enumerate().map(word).collect();
            stripped(&format!("\nrunning 1 test\n{words}"), "a")
        };
        for line in ["x\n", "it is ok\n", "two\nlines\n"] {
            for first in 0..PASS.len() {
                for second in first..PASS.len() {
                    let places = [first, second];
                    let (left, report) = with(&PASS, &places, line);
                    assert!(report.is_some_and(|report| report.passed), "{line:?} at {places:?}");
                    let lines = if first == second { 1 } else { 2 };
                    assert_eq!(left, line.repeat(lines), "{line:?} at {places:?}");
                }
            }
            for place in (0..FAIL.len()).filter(|place| *place != 5) {
                let (left, report) = with(&FAIL, &[place], line);
                assert!(report.is_some_and(|report| !report.passed), "{line:?} at {place}");
                let (mut left, mut all): (Vec<&str>, Vec<&str>) =
                    (left.lines().collect(), line.lines().collect());
                all.push("note: test did not panic");
                left.sort_unstable();
                all.sort_unstable();
                assert_eq!(left, all, "{line:?} at {place}");
            }
        }
        let everywhere: Vec<usize> = (0..PASS.len()).collect();
        assert_eq!(with(&PASS, &everywhere, "x\n").0, "x\n".repeat(PASS.len()));
    }

    #[test]
    fn with_one_thread_the_output_stands_inside_the_line() {
        let text = format!("\nrunning 1 test\ntest a::b ... hello\nok\n\n{OK}");
        let (output, report) = stripped(&text, "a::b");
        assert_eq!(output, "hello\n");
        assert!(report.unwrap().passed);
    }

    #[test]
    fn the_note_of_a_failure_is_kept() {
        let text = format!(
            "\nrunning 1 test\nx\ntest a - should panic ... FAILED\n\nfailures:\n\n\
             ---- a stdout ----\nnote: test did not panic as expected at src/lib.rs:1:2\n\n\
             failures:\n    a\n\n{FAILED}"
        );
        let (output, report) = stripped(&text, "a");
        assert_eq!(output, "x\nnote: test did not panic as expected at src/lib.rs:1:2");
        assert_eq!(report, Some(Report { passed: false, mode: " - should panic".to_owned() }));
    }

    #[test]
    fn a_failure_without_a_note_leaves_the_output_alone() {
        let text = format!(
            "\nrunning 1 test\nboom\ntest a ... FAILED\n\nfailures:\n\nfailures:\n    a\n\n{FAILED}"
        );
        let (output, report) = stripped(&text, "a");
        assert_eq!((output.as_str(), report.unwrap().passed), ("boom\n", false));
    }

    #[test]
    fn an_unfinished_line_stands_before_the_panic() {
        let text = format!(
            "\nrunning 1 test\none\n\nthread 'a' (2) panicked at x:1:2:\nboom\nunfinished\
             test a ... FAILED\n\nfailures:\n\nfailures:\n    a\n\n{FAILED}"
        );
        let (output, _) = stripped(&text, "a");
        assert_eq!(output, "one\nunfinished\nthread 'a' (2) panicked at x:1:2:\nboom\n");
    }

    #[test]
    fn a_result_with_other_counts_is_not_the_harness_own() {
        let forged = "\nrunning 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; \
                      0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";
        assert_eq!(stripped(forged, "a").1, None);
        assert_eq!(stripped("\nrunning 1 test\nhello", "a"), ("hello".to_owned(), None));
    }

    #[test]
    fn what_a_daemon_writes_behind_the_result_is_output() {
        let text = format!("\nrunning 1 test\ntest a ... ok\n\n{OK}late\n");
        let (output, report) = stripped(&text, "a");
        assert_eq!((output.as_str(), report.is_some()), ("late\n", true));
    }

    /// Output passed on from a stream that arrives byte by byte, and the result held to its end.
    fn passed(stream: &str, name: &str) -> (String, Option<Report>) {
        let mut passage = PassThrough::new(name);
        let mut passed = Vec::new();
        for byte in stream.as_bytes() {
            passed.extend(passage.push(&[*byte]));
        }
        let (rest, report) = stripped(&String::from_utf8(passage.finish()).unwrap(), name);
        (String::from_utf8(passed).unwrap() + "|" + &rest, report)
    }

    #[test]
    fn output_is_passed_on_as_it_comes_and_the_harness_is_not() {
        let text = format!("\nrunning 1 test\none\ntest\ntest a ... ok\n\n{OK}");
        let (output, report) = passed(&text, "a");
        assert_eq!((output.as_str(), report.is_some()), ("one\ntest\n|", true));
        let text = format!("\nrunning 1 test\ntest a ... one\nok\n\ntwo\nok\n\n{OK}");
        let (output, report) = passed(&text, "a");
        assert_eq!((output.as_str(), report.is_some()), ("one\n|ok\n\ntwo\n", true));
        assert_eq!(passed("no harness\nat all\n", "a").0, "no harness\nat all|\n");
    }

    #[test]
    fn a_stream_that_looks_like_the_harness_is_not_kept_for_ever() {
        for start in ["", "test a", "test a ... ", "test a ... ok\n\ntest result: "] {
            let mut passage = PassThrough::new("a");
            let header = [HEADER, start.as_bytes()].concat();
            let mut passed = passage.push(&header).len();
            for _ in 0..64 {
                passed += passage.push(&[b'x'; HELD]).len();
            }
            let held = passage.finish().len();
            assert!(held <= 2 * HELD, "{start:?}: {held}");
            assert_eq!(passed + held, start.len() + 64 * HELD);
        }
    }
}
