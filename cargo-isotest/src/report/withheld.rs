//! Variables that did not reach the tests, in the closing block of a run in which one failed.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::paint::{self, HINT};
use super::words::{counted, more};

/// Maximum number of names of each kind that are listed.
const NAMES: usize = 10;

/// Names of variables that are set and did not reach the tests.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Withheld {
    /// Names that the program of a failed test contains.
    pub named: Vec<String>,
    /// The others.
    pub others: Vec<String>,
}

impl Withheld {
    /// The same without these.
    pub fn without(mut self, reported: &BTreeSet<String>) -> Withheld {
        for names in [&mut self.named, &mut self.others] {
            names.retain(|name| !reported.contains(name));
        }
        self
    }

    /// Writes them, where there are any.
    pub fn write(&self, colour: bool, err: &mut dyn Write) -> io::Result<()> {
        let Withheld { named, others } = self;
        let count = named.len() + others.len();
        if count == 0 {
            return Ok(());
        }
        let note = paint::styled(colour, HINT, "note");
        let variables = counted(count, "variable");
        let verb = if count == 1 { "does" } else { "do" };
        writeln!(
            err,
            "\n{note}: {variables} of your environment {verb} not reach tests; `--pass-env NAME` \
             passes one"
        )?;
        write_names("named in the program of a failed test", named, err)?;
        write_names(if named.is_empty() { "set" } else { "also set" }, others, err)
    }
}

/// One line of names, where there are any.
fn write_names(title: &str, names: &[String], err: &mut dyn Write) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let first: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
    let more = more(names.len() - first.len()).map_or(String::new(), |more| format!(" {more}"));
    writeln!(err, "    {title}: {}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_names_comes_first_and_lists_have_a_limit() {
        let written = |named: &[&str], others: usize| {
            let withheld = Withheld {
                named: named.iter().map(|name| (*name).to_owned()).collect(),
                others: (0..others).map(|number| format!("V{number}")).collect(),
            };
            let mut text = Vec::new();
            withheld.write(false, &mut text).expect("memory takes it");
            String::from_utf8(text).expect("it is text")
        };
        assert_eq!(written(&[], 0), "");
        let one = "\nnote: 1 variable of your environment does not reach tests; `--pass-env NAME` \
                   passes one\n    set: V0\n";
        assert_eq!(written(&[], 1), one);
        let many = written(&["API_URL"], 12);
        let names = "    named in the program of a failed test: API_URL\n    also set: V0, V1, V2, V3, \
                     V4, V5, V6, V7, V8, V9 … and 2 more\n";
        assert!(many.starts_with("\nnote: 13 variables") && many.ends_with(names), "{many}");
    }
}
