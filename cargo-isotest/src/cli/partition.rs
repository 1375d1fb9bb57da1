//! `--partition`: which part of the selected tests a run has.
//!
//! Text in, value out; the wording of the errors is clap's, which puts flag and value before it.

use std::fmt;
use std::num::NonZeroU64;

/// The value of `--partition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// The part that the CI system's variables name.
    Auto,
    /// A part that is named.
    Part(Part),
}

/// One part of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Distribution of tests.
    pub scheme: Scheme,
    /// Number of the part, from 1.
    pub number: NonZeroU64,
    /// Of how many.
    pub total: NonZeroU64,
}

/// Distribution of tests among the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In turn, over the tests of all binaries.
    Slice,
    /// By the hash of their names.
    Hash,
    /// In turn, starting anew with each binary.
    Count,
}

impl Part {
    /// Part `number` of `total`, both from 1.
    pub fn new(scheme: Scheme, number: u64, total: u64) -> Result<Part, String> {
        match (NonZeroU64::new(number), NonZeroU64::new(total)) {
            (Some(number), Some(total)) if number <= total => Ok(Part { scheme, number, total }),
            (_, None) => Err("there must be one part or more".to_owned()),
            (None | Some(_), Some(total)) => {
                Err(format!("there is no part {number} of {total}: they are numbered from 1"))
            }
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Slice => "slice",
            Scheme::Hash => "hash",
            Scheme::Count => "count",
        };
        write!(f, "{scheme}:{}/{}", self.number, self.total)
    }
}

/// Reads `slice:M/N`, `hash:M/N`, `count:M/N` and `auto`.
pub(super) fn partition(text: &str) -> Result<Partition, String> {
    const FORMS: &str = "try `slice:1/2`, `hash:1/2` or `auto`";
    if text == "auto" {
        return Ok(Partition::Auto);
    }
    let (scheme, part) = text.split_once(':').ok_or(FORMS)?;
    let scheme = match scheme {
        "slice" => Scheme::Slice,
        "hash" => Scheme::Hash,
        "count" => Scheme::Count,
        other => return Err(format!("unknown partition scheme `{other}`; {FORMS}")),
    };
    let (number, total) = part.split_once('/').ok_or(FORMS)?;
    let read = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
    Part::new(scheme, read(number)?, read(total)?).map(Partition::Part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_of_those_there_are() {
        let part = Part::new(Scheme::Hash, 2, 3).expect("there is one");
        assert_eq!(partition("hash:2/3"), Ok(Partition::Part(part)));
        assert_eq!(partition("auto"), Ok(Partition::Auto));
        for (text, said) in [
            ("slice:4/3", "there is no part 4 of 3: they are numbered from 1"),
            ("slice:0/3", "there is no part 0 of 3: they are numbered from 1"),
            ("count:1/0", "there must be one part or more"),
            ("slice:1", "try `slice:1/2`"),
            ("slice:a/2", "`a` is not a number"),
            ("deck:1/2", "unknown partition scheme `deck`"),
        ] {
            let error = partition(text).expect_err(text);
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
