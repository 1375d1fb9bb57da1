//! What isotest says about a verdict that libtest has no words for.
//!
//! One line, without the `isotest: ` that stands before it on stdout. What went wrong inside the
//! test is never worded here: the test's own output says it.

use std::io::{self, Write};

use isotest_core::outcome::{NotRun, Verdict, signal_name};

/// What became of the case, where libtest's own words do not say it.
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
        Verdict::NotRun(reason) => Some(format!("not run: {}", not_run(reason))),
    }
}

/// Why a case was not run, in one line. The hint of a sandbox error stands in the closing block.
pub fn not_run(reason: &NotRun) -> String {
    match reason {
        NotRun::Sandbox(error) => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        }
        NotRun::Cancelled => "the run ended first".to_owned(),
        NotRun::WardenDied => "the warden died".to_owned(),
    }
}

/// The output of a case, and behind it the line that explains its verdict.
pub fn with_explanation(mut output: Vec<u8>, verdict: &Verdict) -> Vec<u8> {
    if let Some(text) = explain(verdict) {
        if !output.is_empty() && !output.ends_with(b"\n") {
            output.push(b'\n');
        }
        output.extend_from_slice(format!("isotest: {text}\n").as_bytes());
    }
    output
}

/// Whether a process of the case ran to an end, so that its duration means something.
pub fn was_run(verdict: &Verdict) -> bool {
    verdict.is_failure() || *verdict == Verdict::Passed
}

/// The line on stdout before what runs in one of several root filesystems; nothing where there is
/// but one.
pub fn root_line(root: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    root.map_or(Ok(()), |root| writeln!(out, "\nroot: {root}"))
}

/// `1 test`, `2 tests`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_explanation_is_a_line_of_its_own() {
        let killed = Verdict::Signalled { signal: 6 };
        let text = with_explanation(b"half a line".to_vec(), &killed);
        assert_eq!(text, b"half a line\nisotest: killed by SIGABRT\n");
        let limit = Duration::from_secs(60);
        let text = with_explanation(Vec::new(), &Verdict::TimedOut { limit });
        let expected = "isotest: timed out after 60s; every process of the test was killed\n";
        assert_eq!(text, expected.as_bytes());
    }
}
