//! The formats against what libtest itself printed: `testdata/libtest` holds the tests and the
//! output of the real harness, and here the same outcomes go through the formats. Behind them
//! stands what libtest cannot say.

use std::time::Duration;

use isotest_core::case::{Case, Ignore, Kind};
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::refusal::SandboxError;
use nix::errno::Errno;

use super::formats;
use super::options::{FormatName, Options};
use super::suite::{Suite, TerminalStyle, example};
use super::tally::Tally;

const NOTE: &str = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
const FAILED: Verdict = Verdict::Failed { code: 101 };

/// The times of the eight tests that ran, in nanoseconds, and of both runs, as `json.txt` and
/// `json-show-output.txt` have them.
const TIMES: [u64; 8] = [1_749, 39_405, 9_637, 670, 18_606, 4_049, 8_153, 541];
const JSON_TIME: Duration = Duration::from_nanos(2_514_377);
const JSON_SHOW_OUTPUT_TIME: Duration = Duration::from_nanos(10_957_356);

fn ended(verdict: Verdict, mode: &str, output: &str, nanos: u64) -> Outcome {
    let mut outcome = Outcome::without_run(verdict);
    outcome.mode = mode.to_owned();
    outcome.output.head = output.as_bytes().to_vec();
    outcome.duration = Duration::from_nanos(nanos);
    outcome
}

/// The tests of `testdata/libtest/lib.rs` and what becomes of them; the durations are those of
/// the JSON report.
fn demo() -> (Suite, Vec<Outcome>) {
    let table = [
        ("t::a_ok", ended(Verdict::Passed, "", "out-a\n", TIMES[0])),
        ("t::b_fail", ended(FAILED, "", &panicked("b_fail", "13:9", "boom", "out-b\n"), TIMES[1])),
        ("t::c_ignored", ended(Verdict::Ignored, "", "", 0)),
        ("t::d_ignored", ended(Verdict::Ignored, "", "", 0)),
        ("t::e_panics", should_panic(Verdict::Passed, &panicked("e_panics", "24:9", "x", ""), 2)),
        ("t::f_does_not_panic", should_panic(FAILED, DID_NOT_PANIC, 3)),
        ("t::g_panics_otherwise", should_panic(FAILED, &panicked_otherwise(), 4)),
        (
            "t::h_error",
            ended(FAILED, "", "\t\u{1b}[31m\u{7f}\u{8}\u{b}ä\\\u{1}\nError: \"bad\"\n", TIMES[5]),
        ),
        ("t::i_fails_silently", ended(FAILED, "", "", TIMES[6])),
        ("t::j_half_a_line", ended(Verdict::Passed, "", "no newline", TIMES[7])),
    ];
    let mut suite = example(&table.each_ref().map(|(name, _)| *name));
    suite.cases[2].ignore = Ignore::Yes;
    suite.cases[3].ignore = Ignore::Because("needs \"db\"".to_owned());
    (suite, table.into_iter().map(|(_, outcome)| outcome).collect())
}

const DID_NOT_PANIC: &str = "note: test did not panic as expected at src/lib.rs:28:8";

/// Output of a panic. Only the first of a process is followed by the note on backtraces.
fn panicked(test: &str, place: &str, text: &str, before: &str) -> String {
    let panic =
        format!("{before}\nthread 't::{test}' (7) panicked at src/lib.rs:{place}:\n{text}\n");
    if test == "b_fail" { format!("{panic}{NOTE}\n") } else { panic }
}

fn panicked_otherwise() -> String {
    panicked("g_panics_otherwise", "32:9", "xyz", "")
        + "note: panic did not contain expected string\n"
        + "      panic message: \"xyz\"\n expected substring: \"abc\""
}

fn should_panic(verdict: Verdict, output: &str, time: usize) -> Outcome {
    ended(verdict, " - should panic", output, TIMES[time])
}

/// The whole block of one binary.
fn block(options: Options, suite: &Suite, outcomes: Vec<Outcome>, elapsed: Duration) -> String {
    let mut format = formats::choose(&options);
    let mut out = Vec::new();
    let mut tally = Tally::default();
    format.open(suite, &mut out).expect("a Vec takes all");
    for (case, outcome) in suite.cases.iter().zip(outcomes) {
        tally.count(&outcome);
        format.finished(case, outcome, &mut out).expect("a Vec takes all");
    }
    format.close(suite, &tally, elapsed, &mut out).expect("a Vec takes all");
    String::from_utf8(out).expect("text")
}

fn demo_in(options: Options, elapsed: Duration) -> String {
    let (suite, outcomes) = demo();
    block(options, &suite, outcomes, elapsed)
}

macro_rules! libtest {
    ($file:literal) => {
        include_str!(concat!("../../testdata/libtest/", $file, ".txt"))
    };
}

#[test]
fn pretty_is_libtests_byte_for_byte() {
    let text = demo_in(Options::default(), Duration::ZERO);
    assert_eq!(text, libtest!("pretty"));
}

#[test]
fn pretty_in_colour_with_the_output_of_all_is_libtests() {
    let style = TerminalStyle { stdout_colour: true, ..TerminalStyle::default() };
    let options = Options { style, show_output: true, ..Options::default() };
    let text = demo_in(options, Duration::ZERO);
    assert_eq!(text, libtest!("pretty-show-output-colour"));
}

#[test]
fn terse_is_libtests_byte_for_byte() {
    let options = Options { format: FormatName::Terse, ..Options::default() };
    assert_eq!(demo_in(options, Duration::ZERO), libtest!("terse"));
}

#[test]
fn a_terse_line_ends_where_libtests_does() {
    let mut names: Vec<String> = (0..100).map(|number| format!("t{number:03}")).collect();
    names.insert(96, "t095x".to_owned());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut outcomes = vec![Outcome::without_run(Verdict::Passed); 101];
    let panic = "\nthread 't095x' (7) panicked at tests/dots.rs:3:22:\nno\n";
    outcomes[96] = ended(FAILED, "", &format!("{panic}{NOTE}\n"), 0);
    let options = Options { format: FormatName::Terse, ..Options::default() };
    let text = block(options, &example(&names), outcomes, Duration::ZERO);
    assert_eq!(text, libtest!("terse-long"));
}

#[test]
fn a_single_ignored_test_tells_its_reason_in_terse() {
    let reason = Ignore::Because("needs a\ndb".to_owned());
    let case = Case::listed("d".to_owned(), Kind::Test, reason);
    let suite = Suite { cases: vec![case], ..example(&[]) };
    let options = Options { format: FormatName::Terse, ..Options::default() };
    let outcomes = vec![Outcome::without_run(Verdict::Ignored)];
    let text = block(options, &suite, outcomes, Duration::ZERO);
    assert!(text.starts_with("\nrunning 1 test\ni\ntest result: ok. 0 passed;"));
    assert!(text.ends_with("finished in 0.00s\n\ntest: d, ignore_message: needs a\ndb\n\n"));
}

#[test]
fn json_is_libtests_byte_for_byte() {
    let options = Options { format: FormatName::Json, ..Options::default() };
    assert_eq!(demo_in(options, JSON_TIME), libtest!("json"));
}

#[test]
fn json_with_outputs_and_times_is_libtests() {
    let options = Options {
        format: FormatName::Json,
        show_output: true,
        report_time: true,
        ..Options::default()
    };
    assert_eq!(demo_in(options, JSON_SHOW_OUTPUT_TIME), libtest!("json-show-output"));
}

/// Two cases with verdicts that libtest does not know.
fn beyond_libtest(format: FormatName) -> String {
    let error = SandboxError {
        act: "mount proc on `/proc`".to_owned(),
        errno: Some(Errno::EPERM),
        hint: Some("type this".to_owned()),
    };
    let outcomes = vec![
        ended(Verdict::Signalled { signal: 6 }, "", "half", 0),
        ended(Verdict::NotRun(NotRun::Sandbox(error)), "", "", 0),
        ended(Verdict::NotRun(NotRun::Cancelled), "", "", 0),
    ];
    let options = Options { format, ..Options::default() };
    block(options, &example(&["a", "b", "c"]), outcomes, Duration::ZERO)
}

#[test]
fn what_libtest_does_not_know_is_explained_behind_the_output() {
    let expected = "
running 3 tests
test a ... FAILED
test b ... NOT RUN

failures:

---- a stdout ----
half
isotest: killed by SIGABRT


failures:
    a

not run:

---- b stdout ----
isotest: not run: cannot mount proc on `/proc`: Operation not permitted (EPERM)


not run:
    b

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

";
    assert_eq!(beyond_libtest(FormatName::Pretty), expected);
}

#[test]
fn what_libtest_does_not_know_is_a_message_in_json() {
    let text = beyond_libtest(FormatName::Json);
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is an object");
    }
    let a =
        r#""a", "event": "failed", "stdout": "half", "message": "isotest: killed by SIGABRT" }"#;
    assert!(text.contains(a));
    assert!(text.contains(r#""name": "b", "event": "ignored", "message": "isotest: not run: "#));
    assert!(text.contains(r#""filtered_out": 0, "not_run": 1, "exec_time": 0 }"#));
    assert!(!text.contains(r#""name": "c""#));
}
