//! libtest's JSON format: an object for each event, as it happens.
//!
//! Keys, their order and the spaces as `formatters/json.rs` (Rust 1.95) has them. A verdict that
//! libtest does not know is `failed` with a `message`, the field libtest uses for the failures it
//! words itself. A case that was not run is `ignored` with a `message`, in a suite that `failed`
//! and has one more key, `not_run`: readers know no other event for a test that did not run. Where a
//! run has several root filesystems each event of a suite has one more key, `root`; the result of a
//! test that shared layers with the host, because the machine refuses others, has `weakened`; that of a
//! test that was retried has `attempt`, `attempts` and `failed_attempts`.

use std::collections::HashSet;
use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::time::Duration;

use isotest_core::case::Case;
use isotest_core::outcome::{Outcome, Verdict};

use super::category::Category;
use super::format::Format;
use super::options::{FormatName, Options};
use super::suite::Suite;
use super::tally::Tally;
use super::words;

/// libtest's notes when a `#[should_panic]` test fails. The pretty format shows them after the
/// test's own output; in JSON they are a field of their own.
const NOTES: [&str; 3] = [
    "note: test did not panic as expected",
    "note: panic did not contain expected string",
    "note: expected panic with string value",
];

/// The JSON format.
pub struct Json {
    show_output: bool,
    report_time: bool,
    shuffle_seed: Option<u64>,
    /// True if the events of a suite have nextest's fields.
    plus: bool,
    /// The names of the cases that are running.
    running: HashSet<String>,
}

impl Json {
    /// The format as the options want it.
    pub fn new(options: &Options) -> Self {
        Json {
            show_output: options.show_output,
            report_time: options.report_time,
            shuffle_seed: options.shuffle_seed,
            plus: options.format == FormatName::JsonPlus,
            running: HashSet::new(),
        }
    }

    /// The keys of a suite that libtest's events do not have: its root filesystem, where a run has
    /// several, and nextest's `nextest` of its `libtest-json-plus`.
    fn more(&self, suite: &Suite) -> String {
        let mut more = String::new();
        if let Some(root) = &suite.root {
            add(&mut more, format_args!(r#", "root": "{}""#, Escaped(root)));
        }
        if self.plus {
            let (package, target, kind) = (&suite.package, &suite.target, &suite.kind);
            add(
                &mut more,
                format_args!(
                    r#", "nextest": {{ "crate": "{}", "test_binary": "{}", "kind": "{kind}" }}"#,
                    Escaped(package),
                    Escaped(target)
                ),
            );
        }
        more
    }

    /// The line of a case that has ended.
    fn result(&self, case: &Case, event: &str, outcome: &Outcome) -> String {
        let name = Escaped(&case.name);
        let mut line = format!(r#"{{ "type": "test", "name": "{name}", "event": "{event}""#);
        if self.report_time && words::was_run(&outcome.verdict) {
            let seconds = outcome.duration.as_secs_f64();
            add(&mut line, format_args!(r#", "exec_time": {seconds}"#));
        }
        let shown = self.show_output || outcome.verdict != Verdict::Passed;
        add_texts(&mut line, case, outcome, shown);
        self.add_attempts(&mut line, case, outcome);
        if !outcome.weakened.is_empty() {
            let names: Vec<&str> = outcome.weakened.iter().map(|layer| layer.name()).collect();
            add(&mut line, format_args!(r#", "weakened": {names:?}"#));
        }
        line.push_str(" }\n");
        line
    }

    /// Adds the attempts of a retried case: their number and maximum, and those that failed.
    fn add_attempts(&self, line: &mut String, case: &Case, outcome: &Outcome) {
        if outcome.earlier.is_empty() {
            return;
        }
        let (attempt, most) = (outcome.attempt(), outcome.attempts);
        add(
            line,
            format_args!(r#", "attempt": {attempt}, "attempts": {most}, "failed_attempts": ["#),
        );
        for (earlier, number) in outcome.earlier.iter().zip(1_usize..) {
            let comma = if number == 1 { "" } else { "," };
            add(line, format_args!(r#"{comma} {{ "attempt": {number}"#));
            if self.report_time {
                let seconds = earlier.duration.as_secs_f64();
                add(line, format_args!(r#", "exec_time": {seconds}"#));
            }
            add_texts(line, case, earlier, true);
            line.push_str(" }");
        }
        line.push_str(" ]");
    }
}

/// Adds the output of an attempt, if it is shown, and the message.
fn add_texts(line: &mut String, case: &Case, outcome: &Outcome, shown: bool) {
    let (stdout, message) = texts(case, outcome);
    if shown && !stdout.is_empty() {
        add(line, format_args!(r#", "stdout": "{}""#, Escaped(&stdout)));
    }
    if let Some(message) = message {
        add(line, format_args!(r#", "message": "{}""#, Escaped(&message)));
    }
}

fn add(line: &mut String, text: fmt::Arguments<'_>) {
    line.write_fmt(text).expect("a String takes all");
}

/// libtest's word for a verdict; `None` where libtest has no event for what became of the case.
fn event(outcome: &Outcome) -> Option<&'static str> {
    match Category::of(outcome) {
        Category::Passed => Some("ok"),
        Category::Failed => Some("failed"),
        Category::Ignored | Category::Quarantined | Category::NotRun => Some("ignored"),
        Category::Cancelled => None,
    }
}

/// The fields `stdout` and `message`.
fn texts(case: &Case, outcome: &Outcome) -> (String, Option<String>) {
    let bytes = words::written(outcome);
    let output = String::from_utf8_lossy(&bytes).into_owned();
    if outcome.is_quarantined() {
        return (output, words::quarantine(outcome));
    }
    match &outcome.verdict {
        Verdict::Passed => (output, None),
        Verdict::Failed { .. } if !outcome.mode.is_empty() => without_note(output),
        Verdict::Failed { .. } => (output, None),
        Verdict::Signalled { .. }
        | Verdict::TimedOut { .. }
        | Verdict::ExitedEarly { .. }
        | Verdict::NothingRun
        | Verdict::Denied(_)
        | Verdict::Unproven { .. }
        | Verdict::Flaky
        | Verdict::NotRun(_) => {
            let message = words::explanation(outcome).map(|text| format!("isotest: {text}"));
            (output, message)
        }
        Verdict::Ignored => (output, words::ignore_reason(case, outcome).map(str::to_owned)),
    }
}

/// Takes the last of libtest's notes from the end of an output.
fn without_note(mut output: String) -> (String, Option<String>) {
    match NOTES.iter().filter_map(|note| output.rfind(note)).max() {
        Some(start) => {
            let message = output[start + "note: ".len()..].to_owned();
            output.truncate(start);
            (output, Some(message))
        }
        None => (output, None),
    }
}

impl Format for Json {
    fn open(&mut self, suite: &Suite, out: &mut dyn Write) -> io::Result<()> {
        self.running.clear();
        let (count, more) = (suite.cases.len(), self.more(suite));
        let seed =
            self.shuffle_seed.map_or(String::new(), |seed| format!(r#", "shuffle_seed": {seed}"#));
        writeln!(
            out,
            r#"{{ "type": "suite", "event": "started", "test_count": {count}{seed}{more} }}"#
        )
    }

    fn started(&mut self, case: &Case, out: &mut dyn Write) -> io::Result<()> {
        self.running.insert(case.name.clone());
        let name = Escaped(&case.name);
        writeln!(out, r#"{{ "type": "test", "event": "started", "name": "{name}" }}"#)
    }

    fn slow(&mut self, case: &Case, out: &mut dyn Write) -> io::Result<()> {
        let name = Escaped(&case.name);
        writeln!(out, r#"{{ "type": "test", "event": "timeout", "name": "{name}" }}"#)
    }

    fn finished(&mut self, case: &Case, outcome: Outcome, out: &mut dyn Write) -> io::Result<()> {
        let Some(event) = event(&outcome) else {
            return Ok(());
        };
        // libtest starts ignored tests too; a run does not.
        if !self.running.remove(&case.name) {
            self.started(case, out)?;
            self.running.remove(&case.name);
        }
        out.write_all(self.result(case, event, &outcome).as_bytes())
    }

    fn close(
        &mut self,
        suite: &Suite,
        tally: &Tally,
        elapsed: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Tally { passed, failed, not_run, .. } = tally;
        let ignored = tally.ignored + tally.quarantined;
        let event = if tally.is_clean() { "ok" } else { "failed" };
        let filtered_out = suite.filtered_out;
        let not_run = match not_run {
            0 => String::new(),
            count => format!(r#", "not_run": {count}"#),
        };
        let (seconds, more) = (elapsed.as_secs_f64(), self.more(suite));
        writeln!(
            out,
            r#"{{ "type": "suite", "event": "{event}", "passed": {passed}, "failed": {failed}, "ignored": {ignored}, "measured": 0, "filtered_out": {filtered_out}{not_run}, "exec_time": {seconds}{more} }}"#
        )
    }
}

/// A text between the quotes of a JSON string, with libtest's choice of escapes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\x08' => f.write_str("\\b")?,
                '\t' => f.write_str("\\t")?,
                '\n' => f.write_str("\\n")?,
                '\x0c' => f.write_str("\\f")?,
                '\r' => f.write_str("\\r")?,
                '\0'..='\x1f' | '\x7f' => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}
