//! The lists that test binaries print.
//!
//! Pure: bytes in, cases out. Two forms are read: libtest's JSON discovery events, which carry the
//! reasons of `#[ignore]` and are unstable (see [`JSON_ARGUMENTS`]), and the terse lists that every
//! harness can print. A list must hold nothing but a list: what cannot be read is an error and
//! never left out, since a case that is left out is a test that silently does not run.

use std::collections::HashMap;
use std::fmt;
use std::str::Utf8Error;

use isotest_core::case::{Case, Ignore, Kind};
use serde::Deserialize;

/// Asks libtest for its JSON list. A stable toolchain refuses unless [`JSON_ENVIRONMENT`] is set.
pub const JSON_ARGUMENTS: &[&str] = &["--list", "--format", "json", "-Z", "unstable-options"];

/// The variable, for the list process alone, that makes a stable libtest accept
/// [`JSON_ARGUMENTS`].
pub const JSON_ENVIRONMENT: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// Asks any harness for all its cases.
pub const TERSE_ARGUMENTS: &[&str] = &["--list", "--format", "terse"];

/// Asks any harness for those of its cases that are ignored.
pub const TERSE_IGNORED_ARGUMENTS: &[&str] = &["--list", "--format", "terse", "--ignored"];

/// Variables that nextest sets for a list of tests and for a run. Harnesses rely on them: divan
/// lists its benchmarks one by one only then.
pub const NEXTEST_ENVIRONMENT: [(&str, &str); 2] =
    [("NEXTEST", "1"), ("NEXTEST_EXECUTION_MODE", "process-per-test")];

/// Remark on the list of a binary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Note {
    /// It cannot be read, for this reason: the binary is one case.
    Unreadable(String),
    /// The list of ignored cases cannot be read, for this reason: none is ignored.
    UnreadableIgnored(String),
    /// So many cases have this name: they are one.
    Repeated(String, usize),
    /// It has no case.
    Empty,
}

/// A list cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListError {
    /// The output is not UTF-8.
    NotUtf8(Utf8Error),
    /// A line that does not belong to a list.
    UnexpectedLine(String),
    /// The JSON list ends before its last event, or counts other cases than it names.
    Incomplete {
        /// Cases named.
        named: usize,
        /// Cases counted by the last event, if there is one.
        counted: Option<usize>,
    },
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot read the list of tests: ")?;
        match self {
            ListError::NotUtf8(cause) => write!(f, "{cause}"),
            ListError::UnexpectedLine(line) => write!(
                f,
                "unexpected line `{}`\nhint: with `--list`, a test binary must print its \
                 tests and nothing else",
                line.escape_debug()
            ),
            ListError::Incomplete { named, counted: Some(counted) } => {
                write!(f, "it names {named} tests and counts {counted}")
            }
            ListError::Incomplete { named, counted: None } => {
                write!(f, "it ends after {named} tests without its last line")
            }
        }
    }
}

impl std::error::Error for ListError {}

/// One line of libtest's JSON list.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    event: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ignore: bool,
    #[serde(default)]
    ignore_message: String,
    #[serde(default)]
    total: Option<usize>,
}

/// True if an output has an event of libtest's JSON list, whatever else is in it.
pub fn has_json(output: &[u8]) -> bool {
    let text = String::from_utf8_lossy(output);
    let is_discovery = |line: &str| {
        let event = serde_json::from_str::<Event>(line);
        event.is_ok_and(|it| matches!(it.event.as_str(), "discovery" | "discovered" | "completed"))
    };
    text.lines().any(is_discovery)
}

/// Reads libtest's JSON list.
pub fn parse_json(output: &[u8]) -> Result<Vec<Case>, ListError> {
    let text = std::str::from_utf8(output).map_err(ListError::NotUtf8)?;
    let mut cases = Vec::new();
    let mut counted = None;
    for record in records(text) {
        let event = read_event(record).ok_or_else(|| unexpected(record))?;
        match (event.r#type.as_str(), event.event.as_str()) {
            ("suite", "discovery") => {}
            ("suite", "completed") => counted = event.total,
            ("test", "discovered") => cases.push(case(event, Kind::Test)),
            ("benchmark", "discovered") => cases.push(case(event, Kind::Benchmark)),
            _ => return Err(unexpected(record)),
        }
    }
    if counted != Some(cases.len()) {
        return Err(ListError::Incomplete { named: cases.len(), counted });
    }
    Ok(cases)
}

const RECORD_START: &str = "{ \"type\": \"";
const MESSAGE_START: &str = "\"ignore_message\": \"";
const MESSAGE_END: &str = "\", \"source_path\": \"";

/// Splits the list into its events. A line that starts no event belongs to the one before it:
/// libtest 1.95 writes the reason of `#[ignore]` as it stands, newlines and quotes included
/// (`write_test_discovered` in its json.rs).
fn records(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.match_indices('\n').map(|(at, _)| at).find(|at| {
            let next = &rest[at + 1..];
            next.is_empty() || (next.starts_with(RECORD_START) && rest[..*at].ends_with(" }"))
        });
        let record = &rest[..end.unwrap_or(rest.len())];
        rest = end.map_or("", |at| &rest[at + 1..]);
        Some(record)
    })
}

/// Reads one event; where it is no JSON because of its reason, the reason is taken out first.
fn read_event(record: &str) -> Option<Event> {
    if let Ok(event) = serde_json::from_str(record) {
        return Some(event);
    }
    let start = record.find(MESSAGE_START)? + MESSAGE_START.len();
    let end = start + record[start..].rfind(MESSAGE_END)?;
    let without = format!("{}{}", &record[..start], &record[end..]);
    let mut event: Event = serde_json::from_str(&without).ok()?;
    event.ignore_message = record[start..end].to_owned();
    Some(event)
}

fn case(event: Event, kind: Kind) -> Case {
    let ignore = match (event.ignore, event.ignore_message) {
        (false, _) => Ignore::No,
        (true, reason) if reason.is_empty() => Ignore::Yes,
        (true, reason) => Ignore::Because(reason),
    };
    Case::listed(event.name, kind, ignore)
}

/// Blames the first line that is no event: noise after an event was taken for a part of it.
fn unexpected(record: &str) -> ListError {
    let is_event = |line: &&str| serde_json::from_str::<Event>(line).is_ok();
    let noise = record.lines().find(|line| !is_event(line));
    ListError::UnexpectedLine(noise.unwrap_or(record).to_owned())
}

/// Reads a terse list of all cases.
pub fn parse_terse(output: &[u8]) -> Result<Vec<Case>, ListError> {
    parse_terse_lines(output)
}

/// Reads a list in the form that a libtest without JSON prints when it is asked for JSON: behind a
/// terse list it counts.
pub fn parse_counted(output: &[u8]) -> Result<Vec<Case>, ListError> {
    let is_count = |line: &[u8]| line.ends_with(b" benchmarks") || line.ends_with(b" benchmark");
    let trimmed = output.trim_ascii_end();
    let list = match trimmed.iter().rposition(|byte| *byte == b'\n') {
        Some(end) if is_count(trimmed) => &output[..end],
        None if is_count(trimmed) => &[],
        Some(_) | None => output,
    };
    parse_terse_lines(list.strip_suffix(b"\n").unwrap_or(list))
}

/// Marks those of the cases that a terse list of the ignored ones names; as many of a name as it
/// names.
pub fn mark_ignored(cases: &mut Vec<Case>, output: &[u8]) -> Result<(), ListError> {
    for ignored in parse_terse_lines(output)? {
        let is_it = |case: &&mut Case| case.name == ignored.name && case.mark == Ignore::No;
        match cases.iter_mut().find(is_it) {
            Some(case) => (case.mark, case.ignore) = (Ignore::Yes, Ignore::Yes),
            None => {
                let ignored = Case { mark: Ignore::Yes, ignore: Ignore::Yes, ..ignored };
                cases.push(ignored);
            }
        }
    }
    Ok(())
}

/// The name without libtest-mimic's kind, which it prints as `[KIND] NAME`.
pub fn without_kind(name: &str) -> Option<&str> {
    Some(name.strip_prefix('[')?.split_once("] ")?.1)
}

/// Makes one case of those that have the same name: a harness that is asked for one runs them all.
/// Returns the names, each with how many cases have it.
pub fn unite(cases: &mut Vec<Case>) -> Vec<(String, usize)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let (mut united, mut counts): (Vec<Case>, Vec<usize>) = Default::default();
    for case in cases.drain(..) {
        match places.get(&case.name) {
            Some(&place) => {
                counts[place] += 1;
                // It runs where one of them does.
                if case.ignore == Ignore::No {
                    united[place] = case;
                }
            }
            None => {
                places.insert(case.name.clone(), united.len());
                united.push(case);
                counts.push(1);
            }
        }
    }
    let several = united.iter().zip(counts).filter(|(_, count)| *count > 1);
    let several = several.map(|(case, count)| (case.name.clone(), count)).collect();
    *cases = united;
    several
}

/// Number of lines of an output that could be those of a terse list.
pub fn lines_of_a_list(output: &[u8]) -> usize {
    let text = String::from_utf8_lossy(output);
    text.lines().filter(|line| parse_terse_line(line).is_ok()).count()
}

fn parse_terse_lines(output: &[u8]) -> Result<Vec<Case>, ListError> {
    let text = std::str::from_utf8(output).map_err(ListError::NotUtf8)?;
    // Not `lines()`: a name may end in a carriage return.
    text.split_terminator('\n').map(parse_terse_line).collect()
}

fn parse_terse_line(line: &str) -> Result<Case, ListError> {
    let (name, kind) = line.rsplit_once(": ").ok_or_else(|| unexpected(line))?;
    let kind = match kind {
        "test" => Kind::Test,
        // `bench` is libtest-mimic's and divan's.
        "benchmark" | "bench" => Kind::Benchmark,
        _ => return Err(unexpected(line)),
    };
    Ok(Case::listed(name.to_owned(), kind, Ignore::No))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{ "type": "suite", "event": "discovery" }
{ "type": "test", "event": "discovered", "name": "a", "ignore": false, "ignore_message": "", "source_path": "b.rs", "start_line": 8, "start_col": 12, "end_line": 8, "end_col": 13 }
{ "type": "benchmark", "event": "discovered", "name": "bi", "ignore": true, "ignore_message": "", "source_path": "b.rs", "start_line": 4, "start_col": 23, "end_line": 4, "end_col": 25 }
{ "type": "test", "event": "discovered", "name": "ig", "ignore": true, "ignore_message": "needs "db"
and é", "source_path": "b.rs", "start_line": 5, "start_col": 44, "end_line": 5, "end_col": 46 }
{ "type": "suite", "event": "completed", "tests": 2, "benchmarks": 1, "total": 3, "ignored": 2 }
"#;

    fn listed(name: &str, kind: Kind, ignore: Ignore) -> Case {
        Case::listed(name.to_owned(), kind, ignore)
    }

    #[test]
    fn a_json_list_is_read_with_its_unescaped_reasons() {
        let because = Ignore::Because("needs \"db\"\nand é".to_owned());
        assert_eq!(
            parse_json(JSON.as_bytes()),
            Ok(vec![
                listed("a", Kind::Test, Ignore::No),
                listed("bi", Kind::Benchmark, Ignore::Yes),
                listed("ig", Kind::Test, because),
            ])
        );
    }

    #[test]
    fn a_json_list_that_stops_early_is_an_error() {
        let cut = JSON.rsplit_once("{ ").expect("a last event").0;
        let error = parse_json(cut.as_bytes()).expect_err("an incomplete list");
        assert_eq!(error, ListError::Incomplete { named: 3, counted: None });
    }

    #[test]
    fn other_output_in_a_json_list_is_quoted() {
        let error = parse_json(b"starting up\n").expect_err("no list");
        assert_eq!(error, ListError::UnexpectedLine("starting up".to_owned()));
        let noisy = JSON.replacen('\n', "\nhello\n", 1);
        let error = parse_json(noisy.as_bytes()).expect_err("noise");
        assert_eq!(error, ListError::UnexpectedLine("hello".to_owned()));
    }

    #[test]
    fn an_empty_json_list_is_complete_only_with_its_last_event() {
        assert!(parse_json(b"").is_err());
        let empty = "{ \"type\": \"suite\", \"event\": \"completed\", \"total\": 0 }\n";
        assert_eq!(parse_json(empty.as_bytes()), Ok(Vec::new()));
    }

    /// A list, and one of the ignored cases.
    fn both(all: &[u8], ignored: &[u8]) -> Result<Vec<Case>, ListError> {
        let mut cases = parse_terse(all)?;
        mark_ignored(&mut cases, ignored)?;
        Ok(cases)
    }

    #[test]
    fn terse_lists_are_put_together() {
        let all = b"a: test\nm::b: test\nsrc/lib.rs - x (line 3): test\nbb: benchmark\nd: bench\n";
        assert_eq!(
            both(all, b"m::b: test\n"),
            Ok(vec![
                listed("a", Kind::Test, Ignore::No),
                listed("m::b", Kind::Test, Ignore::Yes),
                listed("src/lib.rs - x (line 3)", Kind::Test, Ignore::No),
                listed("bb", Kind::Benchmark, Ignore::No),
                listed("d", Kind::Benchmark, Ignore::No),
            ])
        );
    }

    #[test]
    fn a_case_that_only_the_list_of_the_ignored_names_is_one() {
        let cases = both(b"a: test\n", b"b: test\n").expect("a list");
        assert_eq!(cases[1], listed("b", Kind::Test, Ignore::Yes));
    }

    #[test]
    fn terse_lists_hold_nothing_else() {
        for noise in ["running", "", "a: tests", "1 test, 0 benchmarks"] {
            let output = format!("a: test\n{noise}\n");
            let error = parse_terse(output.as_bytes()).expect_err("noise");
            assert_eq!(error, ListError::UnexpectedLine(noise.to_owned()));
            assert_eq!(lines_of_a_list(output.as_bytes()), 1);
        }
        assert!(matches!(parse_terse(b"\xff: test\n"), Err(ListError::NotUtf8(_))));
    }

    #[test]
    fn a_libtest_without_json_counts_behind_its_list() {
        let one = Ok(vec![listed("a", Kind::Test, Ignore::No)]);
        assert_eq!(parse_counted(b"a: test\n\n1 test, 0 benchmarks\n"), one);
        assert_eq!(parse_counted(b"a: test\n"), one);
        assert_eq!(parse_counted(b"0 tests, 0 benchmarks\n"), Ok(Vec::new()));
        assert!(parse_counted(b"hello\n").is_err());
    }

    #[test]
    fn cases_of_one_name_are_one() {
        let mut cases =
            both(b"a: test\nb: test\na: test\na: test\n", b"a: test\n").expect("a list");
        assert_eq!(unite(&mut cases), [("a".to_owned(), 3)]);
        let names: Vec<(&str, &Ignore)> =
            cases.iter().map(|case| (case.name.as_str(), &case.ignore)).collect();
        assert_eq!(names, [("a", &Ignore::No), ("b", &Ignore::No)]);
    }

    #[test]
    fn a_name_is_one_line_and_no_command() {
        let table = [
            ("a\nb ... ok", r"a\nb ... ok"),
            ("\u{1b}[2Ja", r"\u{1b}[2Ja"),
            ("a\r", r"a\r"),
            ("\u{9b}a\tü", r"\u{9b}a\tü"),
        ];
        for (name, shown) in table {
            let json = JSON.replacen("\"a\"", &serde_json::json!(name).to_string(), 1);
            let case = parse_json(json.as_bytes()).expect("a list").remove(0);
            assert_eq!((case.name.as_str(), case.called()), (shown, name));
        }
        let terse = parse_terse(b"b: test\na\r: test\n").expect("a list");
        assert_eq!((terse[1].name.as_str(), terse[1].called()), (r"a\r", "a\r"));
    }

    #[test]
    fn an_error_quotes_the_line() {
        let text = ListError::UnexpectedLine("hi\t".to_owned()).to_string();
        assert!(text.starts_with("cannot read the list of tests: unexpected line `hi\\t`\nhint:"));
    }
}
