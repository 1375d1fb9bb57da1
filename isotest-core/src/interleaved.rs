//! Finds what one writer has written to a stream, piece by piece, where others wrote between.
//!
//! Pure. A write to a pipe is not torn where it is short (pipe(7), PIPE_BUF), so that pieces stay
//! whole and in their order.

use std::ops::Range;

use memchr::memmem;

/// Positions of the pieces in `bytes`: in their order, as late as possible, with as few gaps
/// between them as possible, which are whole lines if possible; but the first at the very
/// beginning, if it is there. `None` if a piece is missing.
pub fn find(bytes: &[u8], pieces: &[&[u8]]) -> Option<Vec<Range<usize>>> {
    let places = pieces.len().checked_sub(1)?;
    // Cheap, and mostly enough to know that they are not.
    memmem::rfind(bytes, pieces.last()?)?;
    let mut cuts: Vec<u32> = (0..1 << places).collect();
    cuts.sort_by_key(|cuts| cuts.count_ones());
    let mut best: Option<(usize, Vec<Range<usize>>)> = None;
    for cuts in cuts {
        let gaps = cuts.count_ones() as usize;
        if best.as_ref().is_some_and(|(cost, _)| gaps >= *cost) {
            break;
        }
        let Some(found) = find_groups(bytes, pieces, cuts) else { continue };
        let ends = std::iter::once(0).chain(found.iter().map(|group| group.end));
        let between = ends.zip(&found).filter_map(|(end, group)| bytes.get(end..group.start));
        // Others mostly write whole lines.
        let cost = between.map(|gap| match gap {
            [] => 0,
            [.., b'\n'] => 1,
            _ => 3,
        });
        let cost: usize = cost.sum();
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, found));
        }
    }
    best.map(|(_, found)| found)
}

/// The pieces as groups without gaps: a new one begins behind each piece whose bit is set.
fn find_groups(bytes: &[u8], pieces: &[&[u8]], cuts: u32) -> Option<Vec<Range<usize>>> {
    let mut groups = vec![Vec::new()];
    for (piece, at) in pieces.iter().zip(0_u32..) {
        groups.last_mut()?.extend_from_slice(piece);
        if cuts.checked_shr(at).is_some_and(|rest| rest & 1 == 1) {
            groups.push(Vec::new());
        }
    }
    let mut end = bytes.len();
    let mut found = Vec::new();
    for (before, group) in groups.iter().enumerate().rev() {
        let rest = bytes.get(..end)?;
        let at_line = || memmem::rfind(rest, &[b"\n", group.as_slice()].concat());
        let start = match before {
            0 if rest.starts_with(group) => 0,
            // Behind whole lines of others.
            _ if !found.is_empty() => match at_line() {
                Some(newline) => newline + 1,
                None => memmem::rfind(rest, group)?,
            },
            _ => memmem::rfind(rest, group)?,
        };
        found.push(start..start + group.len());
        // A gap is not empty.
        end = start.saturating_sub(1);
    }
    found.reverse();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECES: [&[u8]; 5] = [b"ok", b"\n", b"\n", b"result: ", b"ok."];

    /// Rest of `text` without the pieces.
    fn left(text: &str) -> Option<String> {
        let mut rest = text.as_bytes().to_vec();
        for range in find(text.as_bytes(), &PIECES)?.into_iter().rev() {
            rest.drain(range);
        }
        Some(String::from_utf8(rest).expect("text"))
    }

    #[test]
    fn whole_lines_of_others_stay_wherever_they_stand() {
        for place in 0..PIECES.len() {
            for other in ["x\n", "ok\n", "a\nb\n"] {
                let mut pieces: Vec<&str> =
                    PIECES.iter().map(|piece| std::str::from_utf8(piece).expect("text")).collect();
                pieces.insert(place, other);
                let text = pieces.concat();
                assert_eq!(left(&text).as_deref(), Some(other), "{text:?}");
            }
        }
        assert_eq!(left("ok1\n\n2\n\nresult: 3\nok.4\n").as_deref(), Some("1\n2\n3\n4\n"));
    }

    #[test]
    fn every_piece_may_have_a_neighbour() {
        let text: String = PIECES
            .iter()
            .map(|piece| format!("-\n{}", std::str::from_utf8(piece).expect("text")))
            .collect();
        assert_eq!(left(&text).map(|rest| rest.len()), Some(2 * PIECES.len()));
    }

    #[test]
    fn what_lacks_a_piece_is_not_there() {
        assert_eq!(find(b"ok\n\nresult: ok", &PIECES), None);
        assert_eq!(find(b"", &PIECES), None);
        assert_eq!(find(b"ok.", &[]), None);
        assert_eq!(find(b"result: ok.ok\n\n", &PIECES), None);
    }
}
