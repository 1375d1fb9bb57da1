//! The running cases, on request during a run: on stderr, whatever the format of stdout.

use std::io::{self, Write};

use isotest_core::snapshot::Snapshot;

use super::paint::{self, GOOD, STRONG};
use super::suite::{self, Suite};
use super::words::counted;

/// Tells of all that runs; `ended` is how many have.
pub fn write(
    suites: &[Suite],
    running: &[Snapshot],
    ended: usize,
    colour: bool,
    err: &mut dyn Write,
) -> io::Result<()> {
    let verb = paint::verb(colour, GOOD, "Running");
    let tests = counted(running.len(), "test");
    writeln!(err, "{verb} {tests}; {ended} ended before")?;
    running.iter().try_for_each(|snapshot| write_one(suites, snapshot, colour, err))
}

fn write_one(
    suites: &[Suite],
    snapshot: &Snapshot,
    colour: bool,
    err: &mut dyn Write,
) -> io::Result<()> {
    let label = paint::styled(colour, STRONG, suite::label(suites, snapshot.index));
    let elapsed = snapshot.elapsed.as_secs_f64();
    match snapshot.processes.first() {
        Some(leader) => writeln!(err, "\n---- {label}, {elapsed:.1}s, pid {} ----", leader.pid)?,
        None => writeln!(err, "\n---- {label}, {elapsed:.1}s, being started ----")?,
    }
    for process in &snapshot.processes {
        write!(err, "{process}")?;
    }
    if !snapshot.output.is_empty() {
        writeln!(err, "last output:")?;
        for line in String::from_utf8_lossy(&snapshot.output).lines() {
            writeln!(err, "    {line}")?;
        }
    }
    Ok(())
}
