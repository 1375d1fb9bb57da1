//! Findings by their kind, as the closing block lists them.

use std::io::{self, Write};

use isotest_core::finding::Finding;

use super::paint::{self, WARNING};
use super::words::{counted, more};

/// Maximum number of cases that are listed for one kind of finding.
pub const FINDINGS: usize = 10;

/// The kinds of findings, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingGroup {
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
pub struct GroupLines {
    /// Number of findings.
    pub count: usize,
    /// The first of them.
    pub lines: Vec<String>,
}

impl GroupLines {
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

impl FindingGroup {
    /// Group of a finding.
    pub fn of(finding: &Finding) -> Self {
        match finding {
            Finding::ProcessesLeft(_) => FindingGroup::ProcessesLeft,
            Finding::SignalDiscarded(_) => FindingGroup::SignalDiscarded,
            Finding::LimitReached(..) => FindingGroup::LimitReached,
            Finding::LimitSuspected(..) => FindingGroup::LimitSuspected,
            Finding::OutOfMemory(_) => FindingGroup::OutOfMemory,
            Finding::NetworkTried(_) | Finding::SentToMany(_) => FindingGroup::NetworkTried,
            Finding::NetworkSuspected(_) => FindingGroup::NetworkSuspected,
            Finding::IoUringRefused => FindingGroup::IoUringRefused,
            Finding::NotShown(_) => FindingGroup::NotShown,
            Finding::NotPassed(_) => FindingGroup::NotPassed,
            Finding::WrittenBack(_) => FindingGroup::WrittenBack,
            Finding::WriteBackFailed(..) => FindingGroup::WriteBackFailed,
        }
    }

    /// Title of a group with so many findings, with the flag that helps.
    pub fn title(self, count: usize) -> String {
        let tests = counted(count, "test");
        match self {
            FindingGroup::ProcessesLeft => format!("{tests} left processes behind"),
            FindingGroup::SignalDiscarded => {
                format!("{tests} sent a signal that the kernel discarded")
            }
            FindingGroup::LimitReached => format!("{tests} reached a limit"),
            FindingGroup::LimitSuspected => format!("{tests} may have reached a limit"),
            FindingGroup::OutOfMemory => format!("{tests} lost processes because memory ran out"),
            FindingGroup::NetworkTried => {
                format!("{tests} tried to reach the network and failed; `--net host` allows it")
            }
            FindingGroup::NetworkSuspected => {
                format!("{tests} failed and may need the network; `--net host` may help")
            }
            FindingGroup::IoUringRefused => {
                format!("{tests} failed and were refused io_uring; `--guard io-uring` may help")
            }
            FindingGroup::NotShown => format!(
                "{tests} failed and named a path that tests do not see; `--ro PATH` may help"
            ),
            FindingGroup::NotPassed => format!(
                "{tests} failed and named a variable that does not reach tests; `--pass-env NAME` may \
                 help"
            ),
            FindingGroup::WrittenBack => {
                format!("{tests} wrote files that were copied into the project")
            }
            FindingGroup::WriteBackFailed => {
                format!("{tests} wrote files that could not be copied out")
            }
        }
    }
}

/// Writes the number of entries that are not listed.
pub fn write_more(count: usize, err: &mut dyn Write) -> io::Result<()> {
    match more(count) {
        None => Ok(()),
        Some(more) => writeln!(err, "    {more}"),
    }
}
