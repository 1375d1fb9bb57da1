//! Findings by their code, as the closing block lists them.

use std::io::{self, Write};

use isotest_core::finding::Code;

use super::paint::{self, WARNING};
use super::words::{counted, more};

/// Maximum number of cases that are listed for one kind of finding.
pub const FINDINGS: usize = 10;

/// The findings of one code: how many, and the first lines.
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

/// Title of the findings of one code, in so many cases, with the flag that helps.
pub fn title(code: Code, count: usize) -> String {
    let tests = counted(count, "test");
    let what = match code {
        Code::NetAttempt => "tried to reach the network; `--net host` allows it",
        Code::DnsAttempt => "tried to resolve host names; `--net host` allows it",
        Code::SendsMulticast => "sent packets that stay on the loopback interface",
        Code::NetSuspected => "failed and may need the network; `--net host` may help",
        Code::ListensFixedPort => "still listened on a fixed port at the end",
        Code::LeavesProcess => "left processes behind",
        Code::LeavesThread => "left threads behind",
        Code::LeavesIpc => "left IPC objects behind",
        Code::WritesOutside => "changed files outside of /tmp and the target directory",
        Code::SignalDiscarded => "sent a signal that the kernel discarded",
        Code::LimitHit => "reached a limit",
        Code::LimitSuspected => "may have reached a limit",
        Code::Memory => "used much memory",
        Code::OutOfMemory => "lost processes because memory ran out",
        Code::IoUringRefused => "failed and were refused io_uring; `--guard io-uring` may help",
        Code::PathNotShown => "failed and named a path that tests do not see; `--ro PATH` may help",
        Code::VariableNotPassed => {
            "failed and named a variable that does not reach tests; `--pass-env NAME` may help"
        }
        Code::WrittenBack => "wrote files that were copied into the project",
        Code::WriteBackFailed => "wrote files that could not be copied out",
    };
    format!("{tests} {what}")
}

/// Writes the number of entries that are not listed.
pub fn write_more(count: usize, err: &mut dyn Write) -> io::Result<()> {
    match more(count) {
        None => Ok(()),
        Some(more) => writeln!(err, "    {more}"),
    }
}
