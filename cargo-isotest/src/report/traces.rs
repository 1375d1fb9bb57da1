//! Clues in the programs of failed tests to what tests lack, in the closing block.

use std::io::{self, Write};

use super::groups::write_more;
use super::paint::{self, HINT};

/// Maximum number of clues that are listed.
const LISTED: usize = 10;
/// Maximum number of binaries that are named for each.
const BINARIES: usize = 3;

/// Something that programs name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trace {
    /// The thing that tests lack.
    pub what: String,
    /// The flag that shows it to tests.
    pub flag: String,
    /// The ids of the binaries.
    pub binaries: Vec<String>,
}

/// Writes them, where there are any.
pub fn write(traces: &[Trace], colour: bool, err: &mut dyn Write) -> io::Result<()> {
    if traces.is_empty() {
        return Ok(());
    }
    let help = paint::styled(colour, HINT, "help");
    writeln!(err, "\n{help}: failed tests may need what their programs name")?;
    for Trace { what, flag, binaries } in traces.iter().take(LISTED) {
        let first: Vec<&str> = binaries.iter().take(BINARIES).map(String::as_str).collect();
        let more = match binaries.len() - first.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        writeln!(err, "    {what}: `{flag}` ({}{more})", first.join(", "))?;
    }
    write_more(traces.len().saturating_sub(LISTED), err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_stands_with_its_flag_and_lists_have_a_limit() {
        let trace = |binaries: &[&str]| Trace {
            what: "`/sys`, which tests do not have".into(),
            flag: "--ro /sys".into(),
            binaries: binaries.iter().map(|id| (*id).to_owned()).collect(),
        };
        let written = |traces: &[Trace]| {
            let mut text = Vec::new();
            write(traces, false, &mut text).expect("memory takes it");
            String::from_utf8(text).expect("it is text")
        };
        assert_eq!(written(&[]), "");
        let few = "\nhelp: failed tests may need what their programs name\n    `/sys`, which tests do \
                   not have: `--ro /sys` (a, b)\n";
        assert_eq!(written(&[trace(&["a", "b"])]), few);
        let many = written(&vec![trace(&["a", "b", "c", "d"]); 12]);
        assert!(
            many.contains("(a, b, c and 1 more)") && many.ends_with("    … and 2 more\n"),
            "{many}"
        );
    }
}
