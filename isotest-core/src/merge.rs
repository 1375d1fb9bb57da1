//! A three-way merge by lines: what two writers made of the same text, in one.
//!
//! Exact or none: lines that one has changed must be untouched by the other, and where both have
//! put something into the same place it must be the end of the text.

use std::ops::Range;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// After so long a difference is reported as larger than it is; it stays right.
const LIMIT: Duration = Duration::from_millis(500);

/// Lines of the original, and what stands in their place.
struct Hunk<'a> {
    replaced: Range<usize>,
    lines: &'a [&'a [u8]],
}

/// Changes of two writers to the original, merged; `None` where both changed the same lines.
pub fn merge(original: &[u8], one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let [original, one, other] = [original, one, other].map(lines);
    let (one, other) = (hunks(&original, &one), hunks(&original, &other));
    let end = original.len();
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    let (mut merged, mut at) = (Vec::new(), 0);
    let mut take = |hunk: Hunk<'_>| {
        let before = original.get(at..hunk.replaced.start).unwrap_or_default();
        merged.extend(before.iter().chain(hunk.lines).flat_map(|line| line.iter().copied()));
        at = hunk.replaced.end;
    };
    loop {
        let hunk = match (one.peek(), other.peek()) {
            (None, None) => break,
            (Some(a), Some(b)) if a.replaced == b.replaced && a.lines == b.lines => {
                other.next();
                one.next()
            }
            (Some(a), Some(b)) if a.replaced == b.replaced && a.replaced == (end..end) => {
                take(one.next()?);
                other.next()
            }
            (Some(a), Some(b)) if is_before(&a.replaced, &b.replaced) => one.next(),
            (Some(a), Some(b)) if is_before(&b.replaced, &a.replaced) => other.next(),
            (Some(_), Some(_)) => return None,
            (Some(_), None) => one.next(),
            (None, Some(_)) => other.next(),
        };
        take(hunk?);
    }
    take(Hunk { replaced: end..end, lines: &[] });
    Some(merged)
}

/// Length in bytes of the common beginning, in whole lines.
pub fn common_start(one: &[u8], other: &[u8]) -> usize {
    let pairs = lines(one).into_iter().zip(lines(other));
    pairs.take_while(|(a, b)| a == b).map(|(line, _)| line.len()).sum()
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// True if one range ends before the other begins; insertions beside it have no certain order.
fn is_before(one: &Range<usize>, other: &Range<usize>) -> bool {
    let touches = one.end == other.start;
    one.end < other.start || touches && !one.is_empty() && !other.is_empty()
}

fn hunks<'a>(original: &[&[u8]], changed: &'a [&'a [u8]]) -> Vec<Hunk<'a>> {
    let deadline = Some(Instant::now() + LIMIT);
    let all = capture_diff_slices_deadline(Algorithm::Myers, original, changed, deadline);
    let mut hunks: Vec<Hunk<'a>> = Vec::new();
    let mut taken = 0;
    for change in all.iter().filter(|change| !matches!(change, DiffOp::Equal { .. })) {
        let (replaced, new) = (change.old_range(), change.new_range());
        match hunks.last_mut() {
            // One change, told as two.
            Some(last) if last.replaced.end == replaced.start && taken == new.start => {
                let start = new.start - last.lines.len();
                last.replaced.end = replaced.end;
                last.lines = changed.get(start..new.end).unwrap_or_default();
            }
            Some(_) | None => {
                let lines = changed.get(new.clone()).unwrap_or_default();
                hunks.push(Hunk { replaced, lines });
            }
        }
        taken = new.end;
    }
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(original: &str, one: &str, other: &str, expected: Option<&str>) {
        let text = |merged: Option<Vec<u8>>| merged.map(|bytes| String::from_utf8(bytes).unwrap());
        let merge = |one: &str, other: &str| {
            text(merge(original.as_bytes(), one.as_bytes(), other.as_bytes()))
        };
        assert_eq!(merge(one, other).as_deref(), expected);
        assert_eq!(merge(other, one).is_some(), expected.is_some());
    }

    #[test]
    fn changes_of_different_lines_are_both_kept() {
        check("a\nb\nc\n", "A\nA\nb\nc\n", "a\nb\nC\n", Some("A\nA\nb\nC\n"));
        check("a\nb\n", "A\nb\n", "a\nB\n", Some("A\nB\n"));
        check("x\nx\nx\n", "x\n1\n2\nx\n", "x\nx\n3\n", Some("x\n1\n2\n3\n"));
        check("a\nb\nc", "b\nc", "a\nb\nC", Some("b\nC"));
        check("a\n", "a\n", "b\n", Some("b\n"));
    }

    #[test]
    fn what_both_append_is_kept_and_what_both_say_is_said_once() {
        check("a\n", "a\nb\n", "a\nc\n", Some("a\nb\nc\n"));
        check("", "b\n", "c\n", Some("b\nc\n"));
        check("a\n", "a\nb\n", "a\nb\n", Some("a\nb\n"));
        check("a\nb\n", "A\nb\n", "A\nB\n", None);
    }

    #[test]
    fn changes_of_the_same_lines_are_not_merged() {
        check("a\nb\n", "A\nb\n", "1\nb\n", None);
        check("a\nb\n", "a\n1\nb\n", "a\n2\nb\n", None);
        check("a\nb\n", "b\n", "A\nb\n", None);
        check("a", "a\nb", "a\nc", None);
        check("a\nb\n", "a\nx\nb\n", "a\nB\n", None);
    }

    #[test]
    fn eight_writers_of_one_file_lose_nothing() {
        let line = |number: usize, text: &str| format!("fn t{number}() {{\n{text}\n}}\n");
        let all = |changed: &dyn Fn(usize) -> bool| -> String {
            let text = |number| if changed(number) { "new\nwords" } else { "old" };
            (0..8).map(|number| line(number, text(number))).collect()
        };
        let original = all(&|_| false);
        let merged = (0..8).fold(original.clone().into_bytes(), |merged, writer| {
            let theirs = all(&|number| number == writer);
            merge(original.as_bytes(), &merged, theirs.as_bytes()).expect("no line is common")
        });
        assert_eq!(String::from_utf8(merged).unwrap(), all(&|_| true));
    }
}
