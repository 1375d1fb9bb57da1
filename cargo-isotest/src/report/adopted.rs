//! What `cargo isotest adopt` prints.

use std::io::{self, Write};

use isotest_core::escape::escape;
use isotest_core::outcome::Verdict;

use super::paint::{GOOD, STRONG, WARNING};
use super::words::{self, counted, more};

/// Maximum number of tests that the question names.
const NAMED: usize = 10;

/// Grants of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The test.
    pub label: String,
    /// Its grants, as keys of the configuration.
    pub grants: Vec<String>,
    /// The reason.
    pub reason: String,
}

/// A test whose results differ. Of its runs, those that passed, and all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlakyTest {
    /// The test.
    pub label: String,
    /// Isolated.
    pub isolated: (u32, u32),
    /// Outside.
    pub outside: (u32, u32),
}

/// A test that fails only isolated, and nobody knows why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// The test.
    pub label: String,
    /// Its last verdict isolated.
    pub verdict: Option<Verdict>,
    /// Paths of this machine that it missed.
    pub missed: Vec<String>,
    /// Grants with which it has passed once, and then not.
    pub unsteady: Vec<String>,
    /// Grants with which it passes, and that pass a variable that may hold a secret.
    pub secret: Vec<String>,
}

/// What became of the tests that failed isolated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdoptedReport {
    /// Number of tests that passed isolated, always.
    pub passed: usize,
    /// Those that pass with grants.
    pub granted: Vec<Told>,
    /// Those that fail outside as well.
    pub fail_outside: Vec<String>,
    /// Flaky ones.
    pub flaky: Vec<FlakyTest>,
    /// Those that cannot run outside, since they have services, or layers made once.
    pub with_services: Vec<String>,
    /// Those without an explanation.
    pub unexplained: Vec<Unexplained>,
    /// Those whose names cannot stand in a file that people read.
    pub unprintable: Vec<String>,
}

/// Tells that the tests run isolated.
pub fn observing(tests: usize, runs: u32) {
    let tests = counted(tests, "test");
    anstream::eprintln!("{GOOD}{:>12}{GOOD:#} {tests} {runs} times, isolated", "Running");
}

/// Asks whether tests may run outside of every sandbox.
pub fn ask_outside(labels: &[String], runs: u32) -> io::Result<()> {
    let mut err = anstream::stderr().lock();
    let (tests, fail) =
        (counted(labels.len(), "test"), if labels.len() == 1 { "fails" } else { "fail" });
    writeln!(err, "\n{tests} {fail} isolated:")?;
    write_labels(&mut err, labels)?;
    writeln!(
        err,
        "\nTo find out why, isotest runs each {runs} times {STRONG}outside of every sandbox{STRONG:#}: with your \
         files, your network and\nyour processes, as cargo test does. It may then run them with single \
         layers of this machine."
    )?;
    write!(err, "Run them? [y/N] ")?;
    err.flush()
}

fn write_labels(out: &mut dyn Write, labels: &[String]) -> io::Result<()> {
    for label in labels.iter().take(NAMED) {
        writeln!(out, "    {}", escape(label))?;
    }
    match more(labels.len().saturating_sub(NAMED)) {
        Some(more) => writeln!(out, "    {more}"),
        None => Ok(()),
    }
}

/// Warns that tests run outside of every sandbox, and tells that grants are searched for.
pub fn adopting(outside: usize, runs: u32) {
    let tests = counted(outside, "test");
    anstream::eprintln!(
        "{WARNING}{:>12}{WARNING:#} {tests} {runs} times outside of every sandbox, with your files, \
         network and processes",
        "Running"
    );
}

impl AdoptedReport {
    /// Writes what became of the tests.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let title = |out: &mut dyn Write, count: usize, one: &str, many: &str| {
            let verb = if count == 1 { one } else { many };
            writeln!(out, "{} {verb}", counted(count, "test"))
        };
        title(out, self.passed, "passes isolated", "pass isolated")?;
        if !self.granted.is_empty() {
            let (one, many) = ("passes isolated with grants", "pass isolated with grants");
            title(out, self.granted.len(), one, many)?;
            for (grants, reason, labels) in self.by_grants() {
                writeln!(out, "    {} ({})", escape(&grants.join(", ")), escape(reason))?;
                labels.iter().try_for_each(|label| writeln!(out, "        {}", escape(label)))?;
            }
        }
        self.write_rest(out, title)?;
        if !self.unexplained.is_empty() {
            let (one, many) =
                ("passes outside and fails isolated", "pass outside and fail isolated");
            let unexplained =
                format!("{}, unexplained", if self.unexplained.len() == 1 { one } else { many });
            writeln!(out, "{} {unexplained}", counted(self.unexplained.len(), "test"))?;
        }
        for Unexplained { label, verdict, missed, unsteady, secret } in &self.unexplained {
            let words = verdict.as_ref().and_then(words::explain);
            let words = words.map_or(String::new(), |words| format!(": {words}"));
            writeln!(out, "    {}{}", escape(label), escape(&words))?;
            if !missed.is_empty() {
                writeln!(out, "        it missed {}", escape(&missed.join(", ")))?;
            }
            if !unsteady.is_empty() {
                let grants = unsteady.join(", ");
                writeln!(out, "        passed once with {}, and then not", escape(&grants))?;
            }
            if !secret.is_empty() {
                writeln!(
                    out,
                    "        it passes with {}, which may be a secret: write an override by hand to \
                     pass it",
                    escape(&secret.join(", "))
                )?;
            }
        }
        if !self.unexplained.is_empty() {
            writeln!(out, "    `cargo isotest trace CASE` prints what a test asks the kernel for")?;
        }
        Ok(())
    }

    /// The tests that pass with the same grants, for the same reason.
    fn by_grants(&self) -> Vec<(&[String], &str, Vec<&str>)> {
        let mut groups: Vec<(&[String], &str, Vec<&str>)> = Vec::new();
        for Told { label, grants, reason } in &self.granted {
            let same = groups.iter_mut().find(|(known, why, _)| known == grants && why == reason);
            match same {
                Some((.., labels)) => labels.push(label),
                None => groups.push((grants, reason, vec![label])),
            }
        }
        groups
    }

    /// Those that get no grant and are no difference.
    fn write_rest(
        &self,
        out: &mut dyn Write,
        title: impl Fn(&mut dyn Write, usize, &str, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        let lists = [
            (&self.fail_outside, "fails outside as well", "fail outside as well"),
            (
                &self.with_services,
                "fails isolated, and cannot be compared: it has services or layers made once",
                "fail isolated, and cannot be compared: they have services or layers made once",
            ),
            (
                &self.unprintable,
                "needs grants, but its name has invisible characters: write an override by hand",
                "need grants, but their names have invisible characters: write overrides by hand",
            ),
        ];
        for (labels, one, many) in lists.into_iter().filter(|(labels, ..)| !labels.is_empty()) {
            title(out, labels.len(), one, many)?;
            for label in labels {
                writeln!(out, "    {}", escape(label))?;
            }
        }
        if !self.flaky.is_empty() {
            title(
                out,
                self.flaky.len(),
                "is flaky, and gets no grant",
                "are flaky, and get no grant",
            )?;
            for FlakyTest { label, isolated: (isolated, all), outside: (outside, of) } in
                &self.flaky
            {
                let label = escape(label);
                writeln!(
                    out,
                    "    {label}: passed {isolated} of {all} isolated, {outside} of {of} outside"
                )?;
            }
        }
        Ok(())
    }
}

/// What became of the file.
pub struct FileChanges<'a> {
    /// Its path.
    pub path: &'a str,
    /// Number of new overrides, of removed ones, of those that stay.
    pub overrides: (usize, usize, usize),
    /// Tests and what they have not, or no longer need.
    pub missing: &'a [String],
    /// The same of what is no longer needed.
    pub unneeded: &'a [String],
    /// Places of overrides that select no test of this build.
    pub idle: &'a [String],
    /// True if nothing is written.
    pub is_check: bool,
}

/// Prints what became of the tests, and of the file.
pub fn adoption(report: &AdoptedReport, file: &FileChanges<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    report.write(&mut out)?;
    let FileChanges { path, overrides: (added, removed, kept), missing, unneeded, idle, is_check } =
        file;
    for place in *idle {
        writeln!(out, "{}: the override selects no test of this build; it stays", escape(place))?;
    }
    let path = escape(path);
    let overrides = |count: usize| counted(count, "override");
    if *is_check {
        for (sign, lines) in [('+', missing), ('-', unneeded)] {
            for line in *lines {
                writeln!(out, "{sign} {}", escape(line))?;
            }
        }
        match (missing.len(), unneeded.len()) {
            (0, 0) => writeln!(out, "`{path}` is up to date: {} of adopt", overrides(*kept)),
            (missing, unneeded) => writeln!(
                out,
                "`{path}` would change: {} to add, {} no longer needed",
                counted(missing, "grant"),
                counted(unneeded, "grant")
            ),
        }?;
    } else {
        match (added, removed) {
            (0, 0) => writeln!(out, "`{path}` stays as it is: {} of adopt", overrides(*kept)),
            (added, removed) => writeln!(
                out,
                "wrote `{path}`: {} added, {removed} removed, {kept} as before",
                overrides(*added)
            ),
        }?;
    }
    out.flush()
}

/// Prints a list of tests for a package.
pub fn skip_list(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Tells that no test needs the network.
pub fn nothing_to_skip() {
    anstream::eprintln!("{STRONG}note{STRONG:#}: no test needs the network");
}
