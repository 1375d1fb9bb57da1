//! The answer of a binary that is asked for its list.

use isotest_core::capture::Captured;
use isotest_core::outcome::{NotRun, Verdict};
use isotest_core::wait_status::signal_name;

use super::error::{Cause, MOST_LINES};
use crate::discover::list::{self, ListError, Note};

/// What one run of a binary for its list came to.
pub struct Answer {
    pub verdict: Verdict,
    pub stdout: Captured,
    pub stderr: Captured,
}

impl Answer {
    /// Whether the program has refused to answer.
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }

    /// Why there is no list in it, and no error of a harness either.
    pub fn trouble(&self, limit: u64) -> Option<Cause> {
        if self.stdout.cut > 0 || self.stderr.cut > 0 {
            return Some(Cause::TooLong(limit));
        }
        if self.stdout.head.iter().filter(|byte| **byte == b'\n').count() > MOST_LINES {
            return Some(Cause::TooMany);
        }
        trouble(&self.verdict)
    }

    /// What can be told of a list in it that cannot be read; nothing where it is no list at all.
    pub fn note(&self, cause: &Cause, reads_arguments: bool) -> Option<Note> {
        let lines = list::lines_of_a_list(&self.stdout.head);
        let among = match lines {
            0 => String::new(),
            _ => format!(", with {} of a list", counted_lines(lines)),
        };
        let why = match cause {
            Cause::NotRun(_) => return None,
            // Who refuses knows no lists.
            Cause::Ended(_) if self.is_refused() && lines == 0 => return None,
            Cause::Ended(how) => format!("it {how}{among}"),
            Cause::TooLong(limit) => format!("it wrote more than {limit} bytes{among}"),
            Cause::TooMany => format!("it wrote more than {MOST_LINES} lines{among}"),
            Cause::List(_) if lines == 0 && !reads_arguments => return None,
            Cause::List(ListError::NotUtf8(cause)) => format!("{cause}{among}"),
            Cause::List(ListError::UnexpectedLine(line)) => {
                format!("unexpected line `{}`{among}", shortened(line))
            }
            Cause::List(error @ ListError::Incomplete { .. }) => error.to_string(),
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
    const MOST: usize = 80;
    let shown: String = line.chars().take(MOST).flat_map(char::escape_debug).collect();
    if line.chars().nth(MOST).is_some() { shown + "…" } else { shown }
}

fn trouble(verdict: &Verdict) -> Option<Cause> {
    Some(match verdict {
        Verdict::Passed | Verdict::Flaky => return None,
        Verdict::NotRun(NotRun::Sandbox(error)) => Cause::NotRun(error.clone()),
        Verdict::Failed { code } | Verdict::ExitedEarly { code } => {
            Cause::Ended(format!("exited with code {code}"))
        }
        Verdict::Signalled { signal } => {
            Cause::Ended(format!("was killed by {}", signal_name(*signal)))
        }
        Verdict::TimedOut { limit } => {
            Cause::Ended(format!("did not end within {}", humantime::format_duration(*limit)))
        }
        Verdict::Ignored
        | Verdict::NothingRun
        | Verdict::NotRun(
            NotRun::Service(_)
            | NotRun::Cancelled
            | NotRun::WardenDied
            | NotRun::WardenSilent
            | NotRun::ProcessEnded,
        ) => Cause::Ended("did not run to its end".to_owned()),
    })
}
