//! The answer of a binary that is asked for its list.

use isotest_core::capture::Captured;
use isotest_core::outcome::{NotRun, Verdict};
use isotest_core::wait_status::signal_name;

use super::error::{ListCause, MAX_LINES};
use crate::discover::list::{self, ListError, Note};

/// Output of a binary that was asked for its list.
pub struct ListOutput {
    pub verdict: Verdict,
    pub stdout: Captured,
    pub stderr: Captured,
}

impl ListOutput {
    /// True if the program has refused to answer.
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }

    /// Reason why it has no list, if it is no error of a harness either.
    pub fn trouble(&self, limit: u64) -> Option<ListCause> {
        if self.stdout.cut > 0 || self.stderr.cut > 0 {
            return Some(ListCause::TooLong(limit));
        }
        if self.stdout.head.iter().filter(|byte| **byte == b'\n').count() > MAX_LINES {
            return Some(ListCause::TooMany);
        }
        trouble(&self.verdict)
    }

    /// Remark on a list in it that cannot be read; `None` if it has no list at all.
    pub fn note(&self, cause: &ListCause, reads_arguments: bool) -> Option<Note> {
        let lines = list::lines_of_a_list(&self.stdout.head);
        let among = match lines {
            0 => String::new(),
            _ => format!(", with {} of a list", counted_lines(lines)),
        };
        let why = match cause {
            ListCause::NotRun(_) => return None,
            // A program that refuses knows no lists.
            ListCause::Ended(_) if self.is_refused() && lines == 0 => return None,
            ListCause::Ended(how) => format!("it {how}{among}"),
            ListCause::TooLong(limit) => format!("it wrote more than {limit} bytes{among}"),
            ListCause::TooMany => format!("it wrote more than {MAX_LINES} lines{among}"),
            ListCause::List(_) if lines == 0 && !reads_arguments => return None,
            ListCause::List(ListError::NotUtf8(cause)) => format!("{cause}{among}"),
            ListCause::List(ListError::UnexpectedLine(line)) => {
                format!("unexpected line `{}`{among}", shortened(line))
            }
            ListCause::List(error @ ListError::Incomplete { .. }) => error.to_string(),
        };
        Some(Note::Unreadable(why))
    }
}

/// `1 line`, `2 lines`.
fn counted_lines(lines: usize) -> String {
    format!("{lines} line{}", if lines == 1 { "" } else { "s" })
}

/// The beginning of a line, without control characters.
pub fn shortened(line: &str) -> String {
    const MAX_CHARS: usize = 80;
    let shown: String = line.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    if line.chars().nth(MAX_CHARS).is_some() { shown + "…" } else { shown }
}

fn trouble(verdict: &Verdict) -> Option<ListCause> {
    Some(match verdict {
        Verdict::Passed | Verdict::Flaky => return None,
        Verdict::NotRun(NotRun::Sandbox(error)) => ListCause::NotRun(error.clone()),
        Verdict::Failed { code } | Verdict::ExitedEarly { code } => {
            ListCause::Ended(format!("exited with code {code}"))
        }
        Verdict::Signalled { signal } => {
            ListCause::Ended(format!("was killed by {}", signal_name(*signal)))
        }
        Verdict::TimedOut { limit } => {
            ListCause::Ended(format!("did not end within {}", humantime::format_duration(*limit)))
        }
        Verdict::Ignored
        | Verdict::Denied(_)
        | Verdict::Unproven { .. }
        | Verdict::NothingRun
        | Verdict::NotRun(
            NotRun::Service(_)
            | NotRun::Cancelled
            | NotRun::WardenDied
            | NotRun::WardenSilent
            | NotRun::ProcessEnded,
        ) => ListCause::Ended("did not run to its end".to_owned()),
    })
}
