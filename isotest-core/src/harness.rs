//! Reads what libtest itself prints around one test: `BIN --exact NAME --nocapture`.
//!
//! Pure. The test and its harness write to the same stream; [`strip`] takes the harness's lines
//! out and says what they were. A result counts only as the harness's own where the name, the
//! counts and the number of tests left out are right, so that a test that merely prints
//! "test result: ok" has not passed.

use memchr::memmem;

use crate::outcome::Captured;

/// What the harness reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the test passed.
    pub passed: bool,
    /// What stands behind the name, `" - should panic"` for example.
    pub mode: String,
}

const HEADER: &[u8] = b"\nrunning 1 test\n";
const SUMMARY: &[u8] = b"test result: ";
const DOTS: &[u8] = b" ... ";

/// What the harness has said around a test.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// Whether it was going to run one test.
    pub begun: bool,
    /// Its result.
    pub report: Option<Report>,
}

/// Takes the harness's lines out of `output`. There is no report where there is no result of its own
/// for the test `name`; the header is taken out all the same.
pub fn strip(output: &mut Captured, name: &str, filtered_out: usize) -> Said {
    let begun = strip_header(&mut output.head);
    let part = if output.cut > 0 { &mut output.tail } else { &mut output.head };
    Said { begun, report: strip_result(part, name, filtered_out) }
}

/// Takes the first header out. Returns whether there was one.
pub fn strip_header(bytes: &mut Vec<u8>) -> bool {
    let header = memmem::find(bytes, HEADER);
    if let Some(at) = header {
        bytes.drain(at..at + HEADER.len());
    }
    header.is_some()
}

/// Takes the result out, wherever it stands: a process that outlives the test may write behind
/// it.
pub fn strip_result(bytes: &mut Vec<u8>, name: &str, filtered_out: usize) -> Option<Report> {
    let summary = memmem::rfind(bytes, SUMMARY)?;
    let line_end = summary + memmem::find(bytes.get(summary..)?, b"\n")?;
    let passed = read_summary(bytes.get(summary..line_end)?, filtered_out)?;
    // The summary is followed by an empty line.
    let end = (line_end + 2).min(bytes.len());
    let line = name_line(bytes.get(..summary)?, name)?;
    let word: &[u8] = if passed { b"ok" } else { b"FAILED" };
    let after_name = bytes.get(line.end..summary)?;
    // With several threads the word follows the name at once. With one thread the name is
    // printed before the test runs, and its output stands between.
    let word_at = if after_name.starts_with(word) {
        line.end
    } else {
        let block = [word, if passed { b"\n\n" } else { b"\n\nfailures:\n" }].concat();
        line.end + memmem::rfind(after_name, &block)?
    };
    let note = failure_note(bytes.get(word_at..summary)?, name);
    let between = bytes.get(line.end..word_at)?.to_vec();
    let rest = bytes.get(end..)?.to_vec();
    bytes.truncate(line.start);
    bytes.extend(between);
    if !passed {
        place_unfinished_line(bytes, name);
    }
    bytes.extend([rest, note].concat());
    Some(Report { passed, mode: line.mode })
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

/// What stands between a name and the dots, where the harness could have put it there.
fn mode(after_name: &[u8]) -> Option<&str> {
    let mode = after_name.get(..memmem::find(after_name, DOTS)?)?;
    let mode = std::str::from_utf8(mode).ok()?;
    (mode.is_empty() || (mode.starts_with(" - ") && !mode.contains('\n'))).then_some(mode)
}

/// Reads `test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; N filtered out; …`.
fn read_summary(line: &[u8], filtered_out: usize) -> Option<bool> {
    let line = std::str::from_utf8(line).ok()?;
    let tail = format!("0 ignored; 0 measured; {filtered_out} filtered out; finished in ");
    let said = |head: &str| line.strip_prefix(head).is_some_and(|rest| rest.starts_with(&tail));
    if said("test result: ok. 1 passed; 0 failed; ") {
        Some(true)
    } else if said("test result: FAILED. 0 passed; 1 failed; ") {
        Some(false)
    } else {
        None
    }
}

/// What libtest itself has to say about a failure ("note: test did not panic as expected"): it
/// prints it in the failures section even where the output is not captured.
fn failure_note(result: &[u8], name: &str) -> Vec<u8> {
    let header = format!("---- {name} stdout ----\n");
    let list = format!("\n\nfailures:\n    {name}\n");
    let note = memmem::find(result, header.as_bytes()).and_then(|at| {
        let section = result.get(at + header.len()..)?;
        section.get(..memmem::rfind(section, list.as_bytes())?)
    });
    note.unwrap_or_default().to_vec()
}

/// What of a stream can be passed on while the harness may still speak in it: all but the header,
/// and what may turn out to be the harness's last words.
#[derive(Debug, Default)]
pub struct Passage {
    /// What the harness's last words begin with: `test NAME`.
    lead: Vec<u8>,
    header_seen: bool,
    held: Vec<u8>,
}

/// How much is held back at the most, twice. The harness's last words fit in it, unless the
/// message of a `#[should_panic]` test is longer.
const HELD: usize = 64 << 10;

/// How the harness goes on behind the name.
const WORDS: [&[u8]; 2] = [b"ok\n\ntest result: ", b"FAILED\n\nfailures:\n"];

impl Passage {
    /// For the output of the test `name`.
    pub fn new(name: &str) -> Passage {
        Passage { lead: format!("test {name}").into_bytes(), ..Passage::default() }
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
        // With one thread the harness prints the name before the test runs, and its word behind
        // what the test prints.
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

    /// Whether the harness was going to run one test.
    pub fn has_begun(&self) -> bool {
        self.header_seen
    }

    /// What has not been passed on: the harness's last words are in it.
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

/// What stands before the name of a test that has ended; one that starts has its `event` there.
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

/// Where `wanted` begins in `bytes`, or might begin with what follows; their length where it
/// cannot.
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
        let said = strip(&mut output, name, 3);
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

    /// What is passed on of a stream that arrives byte by byte, and what is held to its end.
    fn passed(stream: &str, name: &str) -> (String, Option<Report>) {
        let mut passage = Passage::new(name);
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
        assert_eq!((output.as_str(), report.is_some()), ("one\nok\n\ntwo\n|", true));
        assert_eq!(passed("no harness\nat all\n", "a").0, "no harness\nat all|\n");
    }

    #[test]
    fn a_stream_that_looks_like_the_harness_is_not_kept_for_ever() {
        for start in ["", "test a", "test a ... ", "test a ... ok\n\ntest result: "] {
            let mut passage = Passage::new("a");
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
