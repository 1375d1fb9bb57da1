//! Findings by their kind, as the closing block lists them.

use std::io::{self, Write};

use isotest_core::finding::Finding;

use super::paint::{self, WARNING};
use super::words::{counted, more};

/// How many cases of one kind of finding are listed.
pub const FINDINGS: usize = 10;

/// The kinds of findings, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    LimitReached,
    LimitSuspected,
    OutOfMemory,
    ProcessesLeft,
    NetworkTried,
    NetworkSuspected,
    IoUringRefused,
    NotShown,
    NotPassed,
    SignalDiscarded,
    WrittenBack,
    WriteBackFailed,
}

/// The findings of one kind: how many, and the first lines.
#[derive(Debug, Default)]
pub struct Group {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub lines: Vec<String>,
}

impl Group {
    /// Takes one more.
    pub fn add(&mut self, line: impl FnOnce() -> String) {
        self.count += 1;
        if self.lines.len() < FINDINGS {
            self.lines.push(line());
        }
    }

    /// Writes them below a title.
    pub fn write(&self, title: &str, colour: bool, err: &mut dyn Write) -> io::Result<()> {
        let warning = paint::styled(colour, WARNING, "warning");
        writeln!(err, "\n{warning}: {title}")?;
        for line in &self.lines {
            writeln!(err, "    {line}")?;
        }
        write_more(self.count - self.lines.len(), err)
    }
}

impl Kind {
    /// That of a finding.
    pub fn of(finding: &Finding) -> Self {
        match finding {
            Finding::ProcessesLeft(_) => Kind::ProcessesLeft,
            Finding::SignalDiscarded(_) => Kind::SignalDiscarded,
            Finding::LimitReached(..) => Kind::LimitReached,
            Finding::LimitSuspected(..) => Kind::LimitSuspected,
            Finding::OutOfMemory(_) => Kind::OutOfMemory,
            Finding::NetworkTried(_) | Finding::SentToMany(_) => Kind::NetworkTried,
            Finding::NetworkSuspected(_) => Kind::NetworkSuspected,
            Finding::IoUringRefused => Kind::IoUringRefused,
            Finding::NotShown(_) => Kind::NotShown,
            Finding::NotPassed(_) => Kind::NotPassed,
            Finding::WrittenBack(_) => Kind::WrittenBack,
            Finding::WriteBackFailed(..) => Kind::WriteBackFailed,
        }
    }

    /// What so many of the kind have in common, and the flag that mends it.
    pub fn title(self, count: usize) -> String {
        let tests = counted(count, "test");
        match self {
            Kind::ProcessesLeft => format!("{tests} left processes behind"),
            Kind::SignalDiscarded => format!("{tests} sent a signal that the kernel discarded"),
            Kind::LimitReached => format!("{tests} reached a limit"),
            Kind::LimitSuspected => format!("{tests} may have reached a limit"),
            Kind::OutOfMemory => format!("{tests} lost processes for want of memory"),
            Kind::NetworkTried => {
                format!("{tests} tried to reach the network and failed; `--net host` lets them")
            }
            Kind::NetworkSuspected => {
                format!("{tests} failed and may want the network; `--net host` may mend it")
            }
            Kind::IoUringRefused => format!(
                "{tests} failed and asked for io_uring in vain; `--guard io-uring` may mend it"
            ),
            Kind::NotShown => format!(
                "{tests} failed and wrote of a path that tests are not shown; `--ro PATH` may mend it"
            ),
            Kind::NotPassed => format!(
                "{tests} failed and wrote of a variable that does not reach tests; `--pass-env NAME` may \
                 mend it"
            ),
            Kind::WrittenBack => format!("{tests} wrote files that were copied into the project"),
            Kind::WriteBackFailed => format!("{tests} wrote files that could not be copied out"),
        }
    }
}

/// How many are not listed.
pub fn write_more(count: usize, err: &mut dyn Write) -> io::Result<()> {
    match more(count) {
        None => Ok(()),
        Some(more) => writeln!(err, "    {more}"),
    }
}
