//! Search for many words in a program. In this crate, which is optimised in debug builds too: there
//! a program has 50 MB.

use std::io::{self, BufReader, Read};

/// Maximum bytes of a program that are read.
const MAX_BYTES: u64 = 256 << 20;

/// A shorter word stands in every program.
const MIN_WORD: usize = 4;

/// Notes which words stand in what is read.
pub fn search(program: &mut dyn Read, words: &[&str], found: &mut [bool]) -> io::Result<()> {
    let mut by_first: Vec<Vec<usize>> = vec![Vec::new(); 256];
    for (place, word) in words.iter().enumerate() {
        if word.len() >= MIN_WORD && !found[place] {
            by_first[usize::from(word.as_bytes()[0])].push(place);
        }
    }
    let longest = words.iter().map(|word| word.len()).max().unwrap_or_default();
    let mut program = BufReader::new(program.take(MAX_BYTES));
    let (mut buffer, mut kept) = (vec![0; (1 << 20) + longest], 0);
    loop {
        let read = program.read(&mut buffer[kept..])?;
        let filled = &buffer[..kept + read];
        for (at, byte) in filled.iter().enumerate() {
            for &place in &by_first[usize::from(*byte)] {
                found[place] |= filled[at..].starts_with(words[place].as_bytes());
            }
        }
        if read == 0 {
            return Ok(());
        }
        // What may be the first part of a word.
        let rest = filled.len().saturating_sub(longest);
        kept = filled.len() - rest;
        buffer.copy_within(rest..rest + kept, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_wherever_it_stands() {
        let words = ["API_URL", "OTHER_URL", "ABC", "LAST_ONE"];
        let mut program = vec![b'x'; (1 << 20) - 3];
        program.extend_from_slice(b"API_URLcalled ABC\0");
        program.extend_from_slice(&vec![b'L'; 2 << 20]);
        program.extend_from_slice(b"LAST_ONE");
        let mut found = vec![false; words.len()];
        search(&mut &*program, &words, &mut found).expect("memory can be read");
        assert_eq!(found, [true, false, false, true]);
    }
}
