//! Remarks of the closing block on the lists of binaries: those that cannot be read, those that
//! name a test more than once, those without a test.

use std::io::{self, Write};

use crate::discover::list::Note;

use super::groups::write_more;
use super::paint::{self, HINT, WARNING};
use super::suite::Suite;

/// Maximum number of lines of one kind.
const MAX_LINES: usize = 10;

/// A kind of notes: its title, and what can be done, as a line of its own.
struct Topic {
    title: fn(usize) -> String,
    help: &'static str,
    line: fn(&Note) -> Option<String>,
}

const TOPICS: [Topic; 4] = [
    Topic {
        title: |count| {
            let runs = if count == 1 { "runs" } else { "each run" };
            let list = if count == 1 { "its list" } else { "their lists" };
            format!(
                "{} {runs} as one test, in one sandbox: {list} of tests cannot be read",
                binaries(count)
            )
        },
        help: "with `--list --format terse`, a harness must print a line `NAME: test` for each \
               test on stdout and nothing else; messages belong on stderr",
        line: |note| match note {
            Note::Unreadable(why) => Some(why.clone()),
            Note::UnreadableIgnored(_) | Note::Repeated(..) | Note::Empty => None,
        },
    },
    Topic {
        title: |count| {
            format!("the ignored tests of {} are run: their list cannot be read", binaries(count))
        },
        help: "with `--list --format terse --ignored`, a harness must print only the ignored \
               tests",
        line: |note| match note {
            Note::UnreadableIgnored(why) => Some(why.clone()),
            Note::Unreadable(_) | Note::Repeated(..) | Note::Empty => None,
        },
    },
    Topic {
        title: |count| {
            let name = if count == 1 { "name is" } else { "names are" };
            format!("{count} {name} listed more than once: all tests of a name run as one")
        },
        help: "the harness cannot run one of them by name; give each test its own \
               name",
        line: |note| match note {
            Note::Repeated(name, times) => Some(format!("{name}, {times} times")),
            Note::Unreadable(_) | Note::UnreadableIgnored(_) | Note::Empty => None,
        },
    },
    Topic {
        title: |count| format!("{} without a test: nothing is listed", binaries(count)),
        help: "",
        line: |note| match note {
            Note::Empty => Some(String::new()),
            Note::Unreadable(_) | Note::UnreadableIgnored(_) | Note::Repeated(..) => None,
        },
    },
];

fn binaries(count: usize) -> String {
    match count {
        1 => "1 binary".to_owned(),
        _ => format!("{count} binaries"),
    }
}

/// True if there is a remark.
pub fn any(suites: &[Suite]) -> bool {
    let is_serious = |note: &Note| match note {
        Note::Unreadable(_) | Note::UnreadableIgnored(_) | Note::Repeated(..) => true,
        Note::Empty => false,
    };
    suites.iter().flat_map(|suite| &suite.notes).any(is_serious)
}

/// Prints the remarks on binaries that are run without a report.
pub fn tell(suites: &[Suite], colour: bool) {
    let mut text = Vec::new();
    write(suites, colour, &mut text).expect("a Vec takes all");
    let _ = io::stderr().write_all(&text);
}

/// Writes the remarks.
pub fn write(suites: &[Suite], colour: bool, err: &mut dyn Write) -> io::Result<()> {
    for Topic { title, help, line } in TOPICS {
        let of_suite = |suite: &Suite| {
            let told: Vec<String> = suite.notes.iter().filter_map(line).collect();
            let label = match &suite.root {
                None => suite.id.clone(),
                Some(root) => format!("{} in {root}", suite.id),
            };
            told.into_iter().map(move |line| match line.as_str() {
                "" => label.clone(),
                line => format!("{label}: {line}"),
            })
        };
        let lines: Vec<String> = suites.iter().flat_map(of_suite).collect();
        if lines.is_empty() {
            continue;
        }
        let warning = paint::styled(colour, WARNING, "warning");
        writeln!(err, "\n{warning}: {}", title(lines.len()))?;
        for line in lines.iter().take(MAX_LINES) {
            writeln!(err, "    {line}")?;
        }
        write_more(lines.len().saturating_sub(MAX_LINES), err)?;
        if !help.is_empty() {
            writeln!(err, "{}: {help}", paint::styled(colour, HINT, "help"))?;
        }
    }
    Ok(())
}
