//! Stable codes of findings.

use std::fmt;

/// Some of the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Codes(u32);

impl Codes {
    /// All of them.
    pub fn all() -> Codes {
        Code::ALL.into_iter().collect()
    }

    /// True if there is none.
    pub fn is_empty(self) -> bool {
        self == Codes::default()
    }

    /// True if this one is among them.
    pub fn contains(self, code: Code) -> bool {
        self.0 & (1 << code as u32) != 0
    }

    /// Those that the others are not among.
    pub fn without(self, others: Codes) -> Codes {
        Codes(self.0 & !others.0)
    }

    /// Those that are among the others, too.
    pub fn and(self, others: Codes) -> Codes {
        Codes(self.0 & others.0)
    }

    /// Each, in the order in which they are reported.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        Code::ALL.into_iter().filter(move |code| self.contains(*code))
    }
}

impl FromIterator<Code> for Codes {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Codes {
        Codes(codes.into_iter().fold(0, |all, code| all | 1 << code as u32))
    }
}

/// The kind of a finding. Its name in configurations and reports is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// It tried to reach the network.
    NetAttempt,
    /// It tried to resolve a host name.
    DnsAttempt,
    /// It sent multicast or broadcast packets, which stay in its network.
    SendsMulticast,
    /// It failed with words for a network that is not there.
    NetSuspected,
    /// It still received at a port that it had chosen itself.
    ListensFixedPort,
    /// Processes outlived it.
    LeavesProcess,
    /// Threads outlived it.
    LeavesThread,
    /// Objects of interprocess communication outlived it.
    LeavesIpc,
    /// It changed files outside of `/tmp` and the target directory.
    WritesOutside,
    /// PID 1 sent itself a signal that the kernel discarded.
    SignalDiscarded,
    /// It reached a limit.
    LimitHit,
    /// It failed with words for a limit that it may have reached.
    LimitSuspected,
    /// Its memory does not suffice for as many tests as run at once.
    Memory,
    /// Processes of it were killed because memory ran out.
    OutOfMemory,
    /// It failed and was refused io_uring.
    IoUringRefused,
    /// It failed and named a path that tests do not see.
    PathNotShown,
    /// It failed and named a variable that does not reach tests.
    VariableNotPassed,
    /// Files of it were copied into the project, as was asked for.
    WrittenBack,
    /// A file of it could not be copied into the project.
    WriteBackFailed,
}

impl Code {
    /// All codes, in the order in which they are reported.
    pub const ALL: [Code; 19] = [
        Code::NetAttempt,
        Code::DnsAttempt,
        Code::SendsMulticast,
        Code::NetSuspected,
        Code::ListensFixedPort,
        Code::LeavesProcess,
        Code::LeavesThread,
        Code::LeavesIpc,
        Code::WritesOutside,
        Code::SignalDiscarded,
        Code::LimitHit,
        Code::LimitSuspected,
        Code::Memory,
        Code::OutOfMemory,
        Code::IoUringRefused,
        Code::PathNotShown,
        Code::VariableNotPassed,
        Code::WrittenBack,
        Code::WriteBackFailed,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Code::NetAttempt => "net-attempt",
            Code::DnsAttempt => "dns-attempt",
            Code::SendsMulticast => "sends-multicast",
            Code::NetSuspected => "net-suspected",
            Code::ListensFixedPort => "listens-fixed-port",
            Code::LeavesProcess => "leaves-process",
            Code::LeavesThread => "leaves-thread",
            Code::LeavesIpc => "leaves-ipc",
            Code::WritesOutside => "writes-outside",
            Code::SignalDiscarded => "signal-discarded",
            Code::LimitHit => "limit-hit",
            Code::LimitSuspected => "limit-suspected",
            Code::Memory => "memory",
            Code::OutOfMemory => "out-of-memory",
            Code::IoUringRefused => "io-uring-refused",
            Code::PathNotShown => "path-not-shown",
            Code::VariableNotPassed => "variable-not-passed",
            Code::WrittenBack => "written-back",
            Code::WriteBackFailed => "write-back-failed",
        }
    }

    /// What a case did that has such a finding: a sentence.
    pub fn description(self) -> &'static str {
        match self {
            Code::NetAttempt => "It tried to reach the network.",
            Code::DnsAttempt => "It tried to resolve a host name.",
            Code::SendsMulticast => {
                "It sent multicast or broadcast packets, which stay in its network."
            }
            Code::NetSuspected => "It failed with words for a network that is not there.",
            Code::ListensFixedPort => "It still received at a port that it had chosen itself.",
            Code::LeavesProcess => "Processes outlived it.",
            Code::LeavesThread => "Threads outlived it.",
            Code::LeavesIpc => "Objects of interprocess communication outlived it.",
            Code::WritesOutside => "It changed files outside of `/tmp` and the target directory.",
            Code::SignalDiscarded => "PID 1 sent itself a signal that the kernel discarded.",
            Code::LimitHit => "It reached a limit.",
            Code::LimitSuspected => "It failed with words for a limit that it may have reached.",
            Code::Memory => "Its memory does not suffice for as many tests as run at once.",
            Code::OutOfMemory => "Processes of it were killed because memory ran out.",
            Code::IoUringRefused => "It failed and was refused io_uring.",
            Code::PathNotShown => "It failed and named a path that tests do not see.",
            Code::VariableNotPassed => "It failed and named a variable that does not reach tests.",
            Code::WrittenBack => "Files of it were copied into the project, as was asked for.",
            Code::WriteBackFailed => "A file of it could not be copied into the project.",
        }
    }

    /// What to do about such a finding: a sentence or two.
    pub fn help(self) -> &'static str {
        match self {
            Code::NetAttempt => {
                "Let the test use a server on 127.0.0.1, or allow the network with `--net host`."
            }
            Code::DnsAttempt => {
                "Let the test use an address or `localhost`, or allow the network with `--net host`."
            }
            Code::SendsMulticast => {
                "Nothing, if nobody else must hear it; else allow the network with `--net host`."
            }
            Code::NetSuspected => "Allow the network with `--net host`, if the test needs it.",
            Code::ListensFixedPort => {
                "Bind port 0 and ask the socket for its port: two tests that share a network cannot \
                 both have a fixed one."
            }
            Code::LeavesProcess => {
                "Kill the process and wait for it, also where the test fails, as a guard does that \
                 is dropped."
            }
            Code::LeavesThread => "Join the thread before the test ends.",
            Code::LeavesIpc => "Remove the object before the test ends, also where it fails.",
            Code::WritesOutside => "Write to a temporary directory, or below the target directory.",
            Code::SignalDiscarded => "Give the test an init as PID 1: `--init reaper`.",
            Code::LimitHit => "Raise the limit with the flag that the finding names.",
            Code::LimitSuspected => {
                "If the limit is the cause, raise it with the flag that the finding names."
            }
            Code::Memory => {
                "Let fewer tests run with it: `threads-required` in an override, or `--test-threads`."
            }
            Code::OutOfMemory => "Let fewer tests run at once: `--test-threads`.",
            Code::IoUringRefused => "Allow it with `--guard io-uring`, if the test needs it.",
            Code::PathNotShown => "Show the path to tests with `--ro PATH`, if they need it.",
            Code::VariableNotPassed => {
                "Pass the variable to tests with `--pass-env NAME`, if they need it."
            }
            Code::WrittenBack => "Review the files in the project.",
            Code::WriteBackFailed => "See the reason in the finding.",
        }
    }

    /// True if a test may fail because of it: it misses something.
    pub fn may_be_the_reason(self) -> bool {
        match self {
            Code::NetAttempt
            | Code::DnsAttempt
            | Code::SendsMulticast
            | Code::NetSuspected
            | Code::SignalDiscarded
            | Code::LimitHit
            | Code::LimitSuspected
            | Code::OutOfMemory
            | Code::IoUringRefused
            | Code::PathNotShown
            | Code::VariableNotPassed => true,
            Code::ListensFixedPort
            | Code::LeavesProcess
            | Code::LeavesThread
            | Code::LeavesIpc
            | Code::WritesOutside
            | Code::Memory
            | Code::WrittenBack
            | Code::WriteBackFailed => false,
        }
    }

    /// The code of that name.
    pub fn of_name(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.name() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_a_name_of_its_own_and_is_found_by_it() {
        for code in Code::ALL {
            assert_eq!(Code::of_name(code.name()), Some(code));
            assert!(code.description().ends_with('.') && code.help().ends_with('.'));
        }
        assert_eq!(Code::of_name("leaves"), None);
        assert_eq!(Codes::all().iter().count(), Code::ALL.len());
        let two: Codes = [Code::Memory, Code::NetAttempt].into_iter().collect();
        let one: Codes = [Code::Memory].into_iter().collect();
        assert_eq!(two.iter().collect::<Vec<_>>(), [Code::NetAttempt, Code::Memory]);
        assert_eq!((two.without(two.without(one)), two.and(one)), (one, one));
        assert!(two.without(two).is_empty() && !one.contains(Code::NetAttempt));
    }
}
