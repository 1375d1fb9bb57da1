//! The lists that test binaries print.
//!
//! Pure: bytes in, cases out. Two forms are read: libtest's JSON discovery events, which carry the
//! reasons of `#[ignore]` and are unstable (see [`JSON_ARGUMENTS`]), and the terse lists that every
//! harness can print. A list must hold nothing but a list: what cannot be read is an error and
//! never left out, since a case that is left out is a test that silently does not run.

use std::collections::HashSet;
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

/// Why a list cannot be read.
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
    /// The list of ignored cases names one that the whole list does not.
    UnknownIgnored(String),
    /// A name that is more than a name where it is printed.
    Control(String),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot read the list of tests: ")?;
        match self {
            ListError::NotUtf8(cause) => write!(f, "{cause}"),
            ListError::UnexpectedLine(line) => write!(
                f,
                "unexpected line `{}`\nhint: asked with `--list`, a test binary must print its \
                 tests and nothing else",
                line.escape_debug()
            ),
            ListError::Incomplete { named, counted: Some(counted) } => {
                write!(f, "it names {named} tests and counts {counted}")
            }
            ListError::Incomplete { named, counted: None } => {
                write!(f, "it ends after {named} tests without its last line")
            }
            ListError::UnknownIgnored(name) => {
                write!(f, "`{name}` is listed with `--ignored` but not without")
            }
            ListError::Control(name) => write!(
                f,
                "`{}` has control characters, which could pass for lines of other tests",
                name.escape_debug()
            ),
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
    check_names(cases)
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
    Case { name: event.name, kind, ignore }
}

/// Blames the first line that is no event: noise after an event was taken for a part of it.
fn unexpected(record: &str) -> ListError {
    let is_event = |line: &&str| serde_json::from_str::<Event>(line).is_ok();
    let noise = record.lines().find(|line| !is_event(line));
    ListError::UnexpectedLine(noise.unwrap_or(record).to_owned())
}

/// Reads a terse list of all cases and one of the ignored ones.
pub fn parse_terse(all: &[u8], ignored: &[u8]) -> Result<Vec<Case>, ListError> {
    let mut cases = parse_terse_lines(all)?;
    let mut ignored: HashSet<String> =
        parse_terse_lines(ignored)?.into_iter().map(|case| case.name).collect();
    for case in &mut cases {
        if ignored.remove(&case.name) {
            case.ignore = Ignore::Yes;
        }
    }
    match ignored.into_iter().min() {
        Some(name) => Err(ListError::UnknownIgnored(name)),
        None => check_names(cases),
    }
}

/// Fails where a name could pass for something else on a terminal or in a log.
fn check_names(cases: Vec<Case>) -> Result<Vec<Case>, ListError> {
    match cases.iter().find(|case| case.name.contains(char::is_control)) {
        Some(case) => Err(ListError::Control(case.name.clone())),
        None => Ok(cases),
    }
}

/// Whether what could be the first part of a terse list is one.
pub fn begins(output: &[u8]) -> bool {
    let whole = output.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    parse_terse_lines(&output[..whole]).is_ok_and(|cases| !cases.is_empty())
}

fn parse_terse_lines(output: &[u8]) -> Result<Vec<Case>, ListError> {
    let text = std::str::from_utf8(output).map_err(ListError::NotUtf8)?;
    text.lines().map(parse_terse_line).collect()
}

fn parse_terse_line(line: &str) -> Result<Case, ListError> {
    let (name, kind) = line.rsplit_once(": ").ok_or_else(|| unexpected(line))?;
    let kind = match kind {
        "test" => Kind::Test,
        "benchmark" => Kind::Benchmark,
        _ => return Err(unexpected(line)),
    };
    Ok(Case { name: name.to_owned(), kind, ignore: Ignore::No })
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
        Case { name: name.to_owned(), kind, ignore }
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

    #[test]
    fn terse_lists_are_put_together() {
        let all = b"a: test\nm::b: test\nsrc/lib.rs - x (line 3): test\nbb: benchmark\n";
        assert_eq!(
            parse_terse(all, b"m::b: test\n"),
            Ok(vec![
                listed("a", Kind::Test, Ignore::No),
                listed("m::b", Kind::Test, Ignore::Yes),
                listed("src/lib.rs - x (line 3)", Kind::Test, Ignore::No),
                listed("bb", Kind::Benchmark, Ignore::No),
            ])
        );
    }

    #[test]
    fn terse_lists_hold_nothing_else() {
        for noise in ["running", "", "a: bench", "1 test, 0 benchmarks"] {
            let output = format!("a: test\n{noise}\n");
            let error = parse_terse(output.as_bytes(), b"").expect_err("noise");
            assert_eq!(error, ListError::UnexpectedLine(noise.to_owned()));
        }
        assert!(matches!(parse_terse(b"\xff: test\n", b""), Err(ListError::NotUtf8(_))));
        assert_eq!(
            parse_terse(b"a: test\n", b"b: test\n"),
            Err(ListError::UnknownIgnored("b".to_owned()))
        );
    }

    #[test]
    fn a_name_is_one_line_and_no_command() {
        for name in ["a\nb ... ok", "\u{1b}[2Ja", "a\r", "\u{9b}a"] {
            let listed = JSON.replacen("\"a\"", &serde_json::json!(name).to_string(), 1);
            assert_eq!(parse_json(listed.as_bytes()), Err(ListError::Control(name.to_owned())));
        }
        let name = "\u{1b}[2Ja".to_owned();
        let terse = format!("b: test\n{name}: test\n");
        assert_eq!(parse_terse(terse.as_bytes(), b""), Err(ListError::Control(name)));
    }

    #[test]
    fn an_error_quotes_the_line() {
        let text = ListError::UnexpectedLine("hi\t".to_owned()).to_string();
        assert!(text.starts_with("cannot read the list of tests: unexpected line `hi\\t`\nhint:"));
    }
}
