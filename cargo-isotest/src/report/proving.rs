//! The line before new tests are run many times.

use std::io::{self, Write};

use isotest_core::escape::escape;

use super::words::counted;

/// Tells how many tests a base run does not have, and how often each is run.
pub fn proving(tests: usize, runs: u32, base: &str, quiet: bool) -> io::Result<()> {
    if quiet {
        return Ok(());
    }
    let base = escape(base);
    let mut err = anstream::stderr().lock();
    match tests {
        0 => writeln!(err, "     Proving no test: run {base} has all")?,
        tests => {
            let (tests, runs) = (counted(tests, "test"), counted(runs as usize, "time"));
            writeln!(err, "     Proving {tests} that run {base} does not have, each {runs}")?;
        }
    }
    err.flush()
}
