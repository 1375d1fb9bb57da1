//! What `bisect-order` has found, printed for people and for programs; and the line while it runs.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use indicatif::ProgressBar;
use isotest_core::escape::escape;
use serde::Serialize;

use super::paint::{ERROR, GOOD, STRONG, WARNING};
use super::plain_json;
use super::progress::spinner;
use super::rerun;
use super::suite::TerminalStyle;
use super::words::{counted, more};

/// The version of the JSON.
pub const FORMAT: u32 = 1;

const DIM: Style = Style::new().dimmed();
/// Maximum number of tests that are listed.
const LISTED: usize = 20;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum OrderFound {
    /// The test alone passes and fails.
    FlakyAlone,
    /// No order changes the outcome.
    NoDifference {
        /// Number of orders that were tried.
        orders: u64,
        /// The test failed in all of them.
        failed: bool,
    },
    /// The same order does not have the same outcome twice.
    Unstable,
    /// It was interrupted.
    Interrupted,
    /// These tests change the outcome.
    Found {
        /// The test fails after them; otherwise it passes only after them.
        pollutes: bool,
        /// The tests, in their order.
        tests: Vec<String>,
        /// They have no effect in the opposite order.
        order_matters: bool,
        /// Tests that undo it, if they run in between.
        cleaners: Vec<String>,
        /// Seed of that order; `None` if it is that of the names.
        seed: Option<u64>,
        /// The command that runs them again.
        command: String,
    },
}

/// What `bisect-order` has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ordered {
    /// The version of this format.
    pub format: u32,
    /// The id of the binary.
    pub binary: String,
    /// The test.
    pub test: String,
    /// The answer.
    #[serde(flatten)]
    pub found: OrderFound,
    /// Runs.
    pub runs: u32,
    /// Time in all.
    pub seconds: f64,
}

/// The command that runs tests in one process, one after the other, in the order of a seed.
pub fn order_command(select: &str, seed: Option<u64>, tests: &[String]) -> String {
    let shuffle = seed.map_or(String::new(), |seed| format!(" --shuffle={seed}"));
    let select = format!("{select} --unit binary{shuffle}");
    rerun::command(select.trim(), &["--test-threads=1".to_owned()], &[], tests)
}

/// Prints it as one line of JSON.
pub fn ordered_for_programs(ordered: &Ordered) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    plain_json::write(&mut out, ordered)?;
    writeln!(out)
}

/// Prints it.
pub fn ordered_for_people(ordered: &Ordered) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    write(&mut out, ordered)
}

fn write(out: &mut impl Write, it: &Ordered) -> io::Result<()> {
    let name = format!("{STRONG}{}{STRONG:#}  ({})", escape(&it.test), escape(&it.binary));
    let named = rerun::quoted(&format!("{} {}", it.binary, it.test));
    match &it.found {
        OrderFound::FlakyAlone => writeln!(
            out,
            "{WARNING}FLAKY ALONE{WARNING:#}  {name}\n  It passes and fails without any other test: the \
             order is not the cause.\n  `cargo isotest diagnose {named}` finds it."
        )?,
        OrderFound::NoDifference { orders: 0, .. } => {
            writeln!(out, "{GOOD}NO DIFFERENCE{GOOD:#}  {name}\n  Its binary has no other test.")?;
        }
        OrderFound::NoDifference { orders, failed } => {
            let ends = if *failed { "fails" } else { "passes" };
            writeln!(
                out,
                "{GOOD}NO DIFFERENCE{GOOD:#}  {name}\n  It {ends} alone and in {orders} orders of all \
                 tests of its binary."
            )?;
        }
        OrderFound::Unstable => writeln!(
            out,
            "{WARNING}UNSTABLE{WARNING:#}  {name}\n  The same tests in the same order do not have the \
             same outcome twice.\n  `cargo isotest diagnose {named}` looks for other causes."
        )?,
        OrderFound::Interrupted => {
            writeln!(out, "{WARNING}INTERRUPTED{WARNING:#}  {name}\n  There is no answer yet.")?;
        }
        OrderFound::Found { .. } => write_found(out, &name, &it.found)?,
    }
    let runs = counted(it.runs as usize, "run");
    writeln!(out, "  {DIM}{runs} in {:.1} s{DIM:#}", it.seconds)
}

fn write_found(out: &mut impl Write, name: &str, found: &OrderFound) -> io::Result<()> {
    let OrderFound::Found { pollutes, tests, order_matters, cleaners, command, .. } = found else {
        return Ok(());
    };
    let (what, says) = match pollutes {
        true => ("POLLUTED", "It passes alone, and fails after"),
        false => ("BRITTLE", "It fails alone, and passes after"),
    };
    writeln!(out, "{ERROR}{what}{ERROR:#}  {name}")?;
    let order = if *order_matters { ", in this order" } else { "" };
    writeln!(out, "  {says} {}{order}:", counted(tests.len(), "test"))?;
    write_names(out, tests)?;
    if !cleaners.is_empty() {
        let undo = if cleaners.len() == 1 { "undoes" } else { "undo" };
        let cleaners_counted = counted(cleaners.len(), "test");
        writeln!(out, "  {cleaners_counted} {undo} it, run in between:")?;
        write_names(out, cleaners)?;
    }
    writeln!(out, "\n{STRONG}AGAIN{STRONG:#}  {}", escape(command))
}

fn write_names(out: &mut impl Write, names: &[String]) -> io::Result<()> {
    for name in names.iter().take(LISTED) {
        writeln!(out, "     {}", escape(name))?;
    }
    match more(names.len().saturating_sub(LISTED)) {
        Some(more) => writeln!(out, "     {more}"),
        None => Ok(()),
    }
}

/// Where the search stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderStanding {
    /// Runs so far.
    pub runs: u32,
    /// Number of tests that ran before the test; `None` for all.
    pub tests: Option<usize>,
    /// Time so far.
    pub took: Duration,
}

/// The line on stderr. It is taken off the screen when this is dropped.
pub struct OrderLine {
    bar: Option<ProgressBar>,
    name: String,
}

impl OrderLine {
    /// A line, where stderr is a terminal.
    pub fn new(style: TerminalStyle, name: &str) -> OrderLine {
        let bar = style.progress.then(|| spinner("Bisecting", style.stderr_colour));
        OrderLine { bar, name: escape(name).into_owned() }
    }

    /// Shows where the search stands.
    pub fn show(&mut self, standing: &OrderStanding) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!(" {}: {}", self.name, message(standing)));
            bar.tick();
        }
    }
}

impl Drop for OrderLine {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn message(it: &OrderStanding) -> String {
    let runs = counted(it.runs as usize, "run");
    match it.tests {
        None => format!("{runs}; all tests in another order"),
        Some(0) => format!("{runs}; alone"),
        Some(tests) => format!("{runs}; after {}", counted(tests, "test")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(found: OrderFound) -> String {
        let (binary, test) = ("demo::it".to_owned(), "a::victim".to_owned());
        let ordered = Ordered { format: FORMAT, binary, test, found, runs: 31, seconds: 0.5 };
        let mut out = Vec::new();
        write(&mut out, &ordered).expect("memory takes it");
        anstream::adapter::strip_str(&String::from_utf8_lossy(&out)).to_string()
    }

    #[test]
    fn polluters_are_told_with_their_cleaners_and_a_command() {
        let tests = ["a::z", "a::victim"].map(str::to_owned);
        let command = order_command("-p demo --test it", Some(7), &tests);
        let found = OrderFound::Found {
            pollutes: true,
            tests: tests[..1].to_vec(),
            order_matters: false,
            cleaners: vec!["a::c".to_owned()],
            seed: Some(7),
            command,
        };
        let expected = "\
POLLUTED  a::victim  (demo::it)
  It passes alone, and fails after 1 test:
     a::z
  1 test undoes it, run in between:
     a::c

AGAIN  cargo isotest -p demo --test it --unit binary --shuffle=7 -- --test-threads=1 --exact a::z a::victim
  31 runs in 0.5 s
";
        assert_eq!(printed(found), expected);
    }

    #[test]
    fn an_order_that_is_no_cause_is_told_with_what_to_do() {
        let text = printed(OrderFound::NoDifference { orders: 40, failed: false });
        assert!(text.contains("It passes alone and in 40 orders of all tests"), "{text}");
        let text = printed(OrderFound::FlakyAlone);
        assert!(text.contains("`cargo isotest diagnose 'demo::it a::victim'` finds it"), "{text}");
    }
}
