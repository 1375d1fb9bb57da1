//! Words of isotest for verdicts that libtest has no words for.
//!
//! One line, without the `isotest: ` that stands before it on stdout. A failure inside the test is
//! never worded here: the test's own output says it.

use std::fmt;
use std::io::{self, Write};

use isotest_core::capture::Captured;
use isotest_core::case::{Case, Ignore};
use isotest_core::escape::escape;
use isotest_core::outcome::ServiceOutput;
use isotest_core::outcome::{NotRun, Outcome, Quarantine, Verdict};
use isotest_core::plan::Uncopied;
use isotest_core::schedule::Interruption;
use isotest_core::wait_status::signal_name;

/// `… and 3 more`, where so many are not shown.
pub fn more(hidden: usize) -> Option<String> {
    (hidden > 0).then(|| format!("… and {hidden} more"))
}

/// The first of these lines, for an error: each indented, and how many more there are.
pub fn first_lines(lines: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 10;
    let more = more(lines.len().saturating_sub(SHOWN));
    lines.take(SHOWN).chain(more).map(|line| format!("\n    {line}")).collect()
}

/// True if the case has written that something does not exist: ENOENT of strerror(3) and of the
/// standard library, and the message of shells for a missing program.
pub fn lacks(output: &Captured) -> bool {
    ["No such file or directory", "NotFound", "not found"]
        .iter()
        .any(|words| output.contains(words))
}

/// The verdict, if libtest's own words do not say it.
pub fn explain(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Passed | Verdict::Ignored | Verdict::Failed { .. } => None,
        Verdict::Signalled { signal } => Some(format!("killed by {}", signal_name(*signal))),
        Verdict::TimedOut { limit } => {
            Some(format!("timed out after {limit:?}; every process of the test was killed"))
        }
        Verdict::ExitedEarly { code } => {
            Some(format!("exited with code {code} before the harness reported a result"))
        }
        Verdict::NothingRun => {
            Some("the harness ran nothing: it counted no test and exited with code 0".to_owned())
        }
        Verdict::Denied(findings) => {
            let findings = findings.iter().map(|it| format!("{it} [{}]", it.code()));
            Some(format!("denied: {}", findings.collect::<Vec<_>>().join("; ")))
        }
        Verdict::Unproven { failures, runs } => Some(format!(
            "a new test, which failed in {failures} of {runs} runs before this one (`--prove-new`)"
        )),
        Verdict::Flaky => Some(
            "passed only on a retry, which counts as a failure (`flaky-result` is `fail`)"
                .to_owned(),
        ),
        Verdict::NotRun(reason) => Some(format!("not run: {}", not_run(reason))),
    }
}

/// Reason why a case is ignored, if its harness gives one in its list or when it runs.
pub fn ignore_reason<'a>(case: &'a Case, outcome: &'a Outcome) -> Option<&'a str> {
    match &case.ignore {
        Ignore::Because(reason) => Some(reason),
        Ignore::No | Ignore::Yes => outcome.reason.as_deref(),
    }
}

/// Reason why a case was not run, in one line. The closing block has the hint of the error.
pub fn not_run(reason: &NotRun) -> String {
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    match reason {
        NotRun::Sandbox(error) => first(error.to_string()),
        NotRun::Service(error) => first(error.to_string()),
        NotRun::Cancelled => "the run ended first".to_owned(),
        NotRun::WardenDied => "the warden died".to_owned(),
        NotRun::WardenSilent => "the warden did not answer and was killed".to_owned(),
        NotRun::ProcessEnded => "the process of its binary had ended".to_owned(),
    }
}

/// The cause that ended a run early, and a hint if there is a remedy.
pub fn interruption(cause: Interruption) -> (String, &'static str) {
    match cause {
        Interruption::Signal(signal) => (format!("interrupted by {}", signal_name(signal)), ""),
        Interruption::Timeout(limit) => (
            format!("the run took longer than {}", humantime::format_duration(limit)),
            "\nhint: `global-timeout`, a key of the profile and a flag, gives it more time; \
             `--partition` splits it",
        ),
    }
}

/// Output of a case, and the line that explains its verdict. If it was retried, the same of each
/// failed attempt comes first.
pub fn failure_text(outcome: &Outcome) -> Vec<u8> {
    let mut text = Vec::new();
    for (earlier, number) in outcome.earlier.iter().zip(1_usize..) {
        own_line(&mut text, format_args!("attempt {number} of {} failed", outcome.attempts));
        push_reason(&mut text, earlier);
    }
    if !outcome.earlier.is_empty() {
        let (number, most) = (outcome.attempt(), outcome.attempts);
        let end = if outcome.is_flaky() { "passed" } else { "failed" };
        own_line(&mut text, format_args!("attempt {number} of {most} {end}"));
    }
    push_reason(&mut text, outcome);
    text
}

/// Output of the services of a case that has not passed, each below a line of isotest's own.
pub fn services(outputs: &[ServiceOutput]) -> Vec<u8> {
    let mut text = Vec::new();
    for ServiceOutput { name, output, ended } in outputs {
        let ended = ended.as_ref().map_or(String::new(), |ended| format!(", which {ended}"));
        match output.is_empty() {
            true => own_line(&mut text, format_args!("service `{name}`{ended}: wrote nothing")),
            false => own_line(&mut text, format_args!("service `{name}`{ended}: wrote")),
        }
        text.extend_from_slice(&output.to_bytes());
    }
    text
}

/// Output of a case; if it has not passed, the output of its services follows.
pub fn written(outcome: &Outcome) -> Vec<u8> {
    let mut text = outcome.output.to_bytes();
    if outcome.verdict != Verdict::Passed && !outcome.services.is_empty() {
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend_from_slice(&services(&outcome.services));
    }
    text
}

fn push_reason(text: &mut Vec<u8>, outcome: &Outcome) {
    text.extend_from_slice(&written(outcome));
    if let Some(explanation) = explanation(outcome) {
        own_line(text, format_args!("{explanation}"));
    }
    if let Some(hint) = hint(&outcome.verdict) {
        own_line(text, format_args!("hint: {hint}"));
    }
}

/// The verdict in words, and the stacks of the threads if they are known.
pub fn explanation(outcome: &Outcome) -> Option<String> {
    let explanation = explain(&outcome.verdict)?;
    Some(match outcome.stacks.trim_end() {
        "" => explanation,
        stacks => format!("{explanation}. Its threads at that time:\n{stacks}"),
    })
}

/// A flag that may help.
fn hint(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::TimedOut { .. } => Some("`--timeout`, or the key `timeout`, gives it more time"),
        Verdict::Denied(_) => Some(
            "the test itself passed; `cargo isotest baseline` accepts the findings of today, \
             `deny = [\"none\"]` in an override exempts a test",
        ),
        Verdict::Passed
        | Verdict::Unproven { .. }
        | Verdict::Ignored
        | Verdict::Failed { .. }
        | Verdict::Signalled { .. }
        | Verdict::ExitedEarly { .. }
        | Verdict::NothingRun
        | Verdict::Flaky
        | Verdict::NotRun(_) => None,
    }
}

/// Adds a line of isotest's own.
fn own_line(text: &mut Vec<u8>, line: fmt::Arguments<'_>) {
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(format!("isotest: {line}\n").as_bytes());
}

/// `quarantined until 2026-12-31: REASON`, of a case that may fail.
pub fn quarantine(outcome: &Outcome) -> Option<String> {
    let Quarantine { reason, until, .. } = &**outcome.quarantine.as_ref()?;
    Some(format!("quarantined until {}: {}", escape(until), escape(reason)))
}

/// `FLAKY 2/3`: passed at the second attempt of three at the most.
pub fn flaky(outcome: &Outcome) -> Option<String> {
    outcome.is_flaky().then(|| format!("FLAKY {}/{}", outcome.attempt(), outcome.attempts))
}

/// The failure in the test's own words: its first panic, or the error that it returned. `None` if
/// it has neither.
pub fn failure(output: &str) -> Option<String> {
    let is_panic = |line: &str| line.starts_with("thread '") && line.contains(" panicked at ");
    let is_start = |line: &&str| is_panic(line) || line.starts_with("Error: ");
    let is_end = |line: &&str| {
        line.starts_with("note: run with `RUST_BACKTRACE=") || *line == "stack backtrace:"
    };
    let lines = output.lines().skip_while(|line| !is_start(line)).take_while(|line| !is_end(line));
    let text = lines.collect::<Vec<_>>().join("\n");
    Some(text).filter(|text| !text.is_empty())
}

/// File and line of the first panic in an output, as rustc has named the file. A test may write any
/// such line.
pub fn panic_place(output: &str) -> Option<(&str, u32)> {
    let mut lines = output.lines().filter(|line| line.starts_with("thread '"));
    let (_, place) = lines.find_map(|line| line.rsplit_once(" panicked at "))?;
    let mut parts = place.trim_end_matches(':').rsplitn(3, ':');
    let (_column, line, file) = (parts.next()?, parts.next()?, parts.next()?);
    Some((file, line.parse().ok()?))
}

/// True if a process of the case ran to an end, so that its duration means something.
pub fn was_run(verdict: &Verdict) -> bool {
    verdict.is_failure() || *verdict == Verdict::Passed
}

/// The line on stdout before what runs in one of several root filesystems; nothing where there is
/// but one.
pub fn root_line(root: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    root.map_or(Ok(()), |root| writeln!(out, "\nroot: {root}"))
}

/// ` (shuffle seed: 5)`, as libtest tells it; nothing where there is none.
pub fn shuffle_seed(seed: Option<u64>) -> String {
    seed.map_or(String::new(), |seed| format!(" (shuffle seed: {seed})"))
}

/// `1 test`, `2 tests`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// `12.3 MiB`.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Remedy for [`uncopied`] files.
pub const TO_OWN: &str = "make it yours (`chown`, `chgrp`, or a copy in its place), or use \
                          `--workspace shared`";

/// The largest of the files of others that tests cannot change in place, and how many more there
/// are; `None` where there are none.
pub fn uncopied(files: &[Uncopied]) -> Option<String> {
    let Uncopied { path, size, uid, gid } = files.iter().max_by_key(|file| file.size)?;
    let more = match files.len() - 1 {
        0 => String::new(),
        more => format!(", as are {} of others", counted(more, "more file")),
    };
    Some(format!(
        "`{}` ({}) belongs to {uid}:{gid} and is not copied{more}: tests that change it in place \
         get EOVERFLOW",
        path.display().to_string().escape_debug(),
        mebibytes(*size)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_explanation_is_a_line_of_its_own() {
        let mut killed = Outcome::without_run(Verdict::Signalled { signal: 6 });
        killed.output.head = b"half a line".to_vec();
        assert_eq!(failure_text(&killed), b"half a line\nisotest: killed by SIGABRT\n");
        let limit = Duration::from_secs(60);
        let text = failure_text(&Outcome::without_run(Verdict::TimedOut { limit }));
        let expected = "isotest: timed out after 60s; every process of the test was killed\n\
                        isotest: hint: `--timeout`, or the key `timeout`, gives it more time\n";
        assert_eq!(text, expected.as_bytes());
    }
    #[test]
    fn every_attempt_of_a_retried_case_is_told() {
        let failed = |text: &str| {
            let mut outcome = Outcome::without_run(Verdict::Failed { code: 101 });
            outcome.output.head = text.as_bytes().to_vec();
            outcome
        };
        let mut outcome = Outcome::without_run(Verdict::Passed);
        (outcome.earlier, outcome.attempts) = (vec![failed("one\n"), failed("two")], 4);
        let expected = "isotest: attempt 1 of 4 failed\none\nisotest: attempt 2 of 4 failed\ntwo\n\
                        isotest: attempt 3 of 4 passed\n";
        assert_eq!(String::from_utf8_lossy(&failure_text(&outcome)), expected);
        assert_eq!(flaky(&outcome).as_deref(), Some("FLAKY 3/4"));
        assert_eq!(flaky(&failed("")), None);
    }
    #[test]
    fn a_failure_is_what_the_panic_or_the_error_says() {
        let panicked = "before\nthread 't::a' (7) panicked at src/lib.rs:3:5:\none\ntwo\n\
                        note: run with `RUST_BACKTRACE=1` environment variable to display\n";
        let said = "thread 't::a' (7) panicked at src/lib.rs:3:5:\none\ntwo";
        assert_eq!(failure(panicked).as_deref(), Some(said));
        assert_eq!(failure("x\nError: \"bad\"\n").as_deref(), Some("Error: \"bad\""));
        assert_eq!(failure("nothing\n"), None);
    }
}
