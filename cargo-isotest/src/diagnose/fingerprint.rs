//! Fingerprints: failures that differ only in numbers, addresses and paths are the same.

use std::hash::Hasher;

use isotest_core::outcome::{Outcome, Verdict};
use twox_hash::XxHash64;

/// Maximum bytes of a message that are told.
const MESSAGE: usize = 400;

/// How a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The same for failures of one kind.
    pub fingerprint: u64,
    /// The place of the panic, `src/lib.rs:12`; empty if the test did not panic.
    pub place: String,
    /// The message, or words for the end.
    pub message: String,
}

impl Failure {
    /// The failure of a run that has failed.
    pub fn of(outcome: &Outcome) -> Failure {
        let text = outcome.output.to_bytes();
        let text = String::from_utf8_lossy(&text);
        let (place, message) = match &outcome.verdict {
            Verdict::TimedOut { .. } => (String::new(), "timed out".to_owned()),
            Verdict::Signalled { signal } => (String::new(), format!("ended by signal {signal}")),
            Verdict::ExitedEarly { code } => (String::new(), format!("exited early with {code}")),
            verdict => panic_of(&text).unwrap_or_else(|| (String::new(), ended(verdict, &text))),
        };
        let mut hash = XxHash64::with_seed(0);
        hash.write(normalized(&format!("{place}\n{message}")).as_bytes());
        // Another function's panic with the same words is another failure; a column is not.
        hash.write(place.as_bytes());
        Failure { fingerprint: hash.finish(), place, message: shortened(&message) }
    }
}

fn ended(verdict: &Verdict, text: &str) -> String {
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    match verdict {
        Verdict::Failed { code } => format!("exit code {code}: {}", last.trim()),
        _ => last.trim().to_owned(),
    }
}

/// Place and message of the last panic of the test's thread. Other threads' panics come before it.
fn panic_of(text: &str) -> Option<(String, String)> {
    const PANICKED: &str = " panicked at ";
    let (at, _) = text.match_indices(PANICKED).next()?;
    let rest = &text[at + PANICKED.len()..];
    let (place, message) = rest.split_once('\n')?;
    let place = place.trim_end_matches(':');
    // Without the column.
    let place = place.rsplit_once(':').map_or(place, |(place, _)| place);
    let ends =
        ["\nnote: run with `RUST_BACKTRACE", "\nstack backtrace:", "\n\nthread '", "\nnote: "];
    let end = ends.iter().filter_map(|end| message.find(end)).min().unwrap_or(message.len());
    Some((place.to_owned(), message[..end].trim().to_owned()))
}

/// The text with every number, hexadecimal number and path replaced.
pub(super) fn normalized(text: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "._-/".contains(letter);
    let mut words = String::new();
    let mut word = String::new();
    for letter in text.chars().chain([' ']) {
        match is_part(letter) {
            true => word.push(letter),
            false => {
                words.push_str(replaced(&word));
                words.push(letter);
                word.clear();
            }
        }
    }
    words
}

fn replaced(word: &str) -> &str {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    match word {
        _ if word.starts_with('/') && word.len() > 1 => "PATH",
        _ if digits > 0 => "N",
        _ => word,
    }
}

fn shortened(message: &str) -> String {
    match message.char_indices().map(|(at, _)| at).find(|at| *at >= MESSAGE) {
        Some(at) => format!("{}…", &message[..at]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use isotest_core::capture::Capture;

    use super::*;

    fn failed(output: &str) -> Outcome {
        let mut outcome = Outcome::without_run(Verdict::Failed { code: 101 });
        let mut capture = Capture::new(1 << 16);
        capture.push(output.as_bytes());
        outcome.output = capture.finish();
        outcome
    }

    #[test]
    fn failures_that_differ_in_numbers_and_paths_are_the_same() {
        let one = "\nthread 'a' (7) panicked at src/lib.rs:3:9:\nport 8080 of /tmp/x1: 0x7f00\nnote: run with `RUST_BACKTRACE=1`";
        let other = "\nthread 'a' (91) panicked at src/lib.rs:3:17:\nport 81 of /tmp/other: 0x12\nnote: run with `RUST_BACKTRACE=1`";
        let (one, other) = (Failure::of(&failed(one)), Failure::of(&failed(other)));
        assert_eq!(one.fingerprint, other.fingerprint);
        assert_eq!(
            (one.place.as_str(), one.message.as_str()),
            ("src/lib.rs:3", "port 8080 of /tmp/x1: 0x7f00")
        );
    }

    #[test]
    fn another_line_or_message_is_another_failure() {
        let at = |line: u32, message: &str| {
            let text = format!("\nthread 'a' (7) panicked at src/lib.rs:{line}:9:\n{message}\n");
            Failure::of(&failed(&text)).fingerprint
        };
        assert_ne!(at(3, "left"), at(4, "left"));
        assert_ne!(at(3, "left"), at(3, "right"));
        let timed_out =
            Outcome::without_run(Verdict::TimedOut { limit: std::time::Duration::from_secs(1) });
        assert_ne!(Failure::of(&timed_out).fingerprint, at(3, "left"));
    }
}
