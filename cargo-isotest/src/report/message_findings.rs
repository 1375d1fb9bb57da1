//! Findings as `--message-format` tells of them.

use isotest_core::finding::{self, Codes};
use isotest_core::outcome;
use isotest_core::wait_status::signal_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::suite::Suite;

/// Something that is not hermetic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its code.
    #[serde(flatten)]
    pub kind: FindingKind,
    /// The same in words.
    pub text: String,
}

/// The codes of findings, and what each has beside its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "finding", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum FindingKind {
    /// It tried to reach the network.
    NetAttempt {
        /// Number of packets without a route.
        packets: u64,
    },
    /// It tried to resolve host names.
    DnsAttempt {
        /// The names, as far as they are known.
        names: Vec<String>,
        /// Number of packets for a closed UDP port of the name server's address.
        queries: u64,
    },
    /// It sent packets to a multicast group or to all, which nobody else has heard.
    SendsMulticast {
        /// Number of packets.
        packets: u64,
    },
    /// It wrote words that a test writes where it has no network, and failed.
    NetSuspected {
        /// The words.
        words: String,
    },
    /// It still received at ports that the kernel had not chosen.
    ListensFixedPort {
        /// Protocol and address of each: `tcp 127.0.0.1:8080`.
        sockets: Vec<String>,
    },
    /// Processes outlived the test and were killed.
    LeavesProcess {
        /// The processes.
        processes: Vec<Process>,
    },
    /// Threads outlived the test.
    LeavesThread {
        /// Their names; empty where it is only that of the test's thread.
        threads: Vec<String>,
    },
    /// Objects of interprocess communication outlived the test.
    LeavesIpc {
        /// Kind and name of each: `shared memory segment key 0x2a`.
        objects: Vec<String>,
    },
    /// It made, changed or deleted files outside of `/tmp` and the target directory.
    WritesOutside {
        /// The first of them.
        changes: Vec<Change>,
        /// Number of all.
        all: u64,
    },
    /// PID 1 sent itself a signal that the kernel discarded.
    SignalDiscarded {
        /// Its name.
        signal: String,
    },
    /// A limit was reached.
    LimitHit {
        /// The flag that raises it.
        flag: String,
    },
    /// A limit may have been reached.
    LimitSuspected {
        /// The flag that raises it.
        flag: String,
    },
    /// It used more memory than as many tests as run at once have each.
    Memory {
        /// The most that a process of it used, in bytes.
        peak: u64,
        /// What each has, in bytes.
        share: u64,
    },
    /// Processes were killed since the machine had no memory left.
    OutOfMemory {
        /// Number of processes.
        processes: u64,
    },
    /// It failed and was refused io_uring.
    IoUringRefused,
    /// It failed and named paths of this machine that tests do not see.
    PathNotShown {
        /// The paths.
        paths: Vec<String>,
    },
    /// It failed and named variables that are set and do not reach tests.
    VariableNotPassed {
        /// Their names.
        names: Vec<String>,
    },
    /// Files were copied out of the sandbox, as was asked for.
    WrittenBack {
        /// Their paths, relative to the project.
        files: Vec<String>,
    },
    /// A file could not be copied out.
    WriteBackFailed {
        /// Its path, relative to the project.
        file: String,
    },
}

/// A process that outlived its test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Process {
    /// Its id in the sandbox.
    pub pid: i32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its command line, cut.
    pub command_line: String,
    /// The names of its ancestors, its parent first, PID 1 last.
    pub ancestors: Vec<String>,
}

/// A file that a test made, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// `A` added, `C` changed, `D` deleted.
    pub kind: char,
    /// Its path, relative to the project or absolute.
    pub path: String,
    /// Its size afterwards, in bytes.
    pub size: u64,
}

/// Findings of a binary whose tests share a sandbox. Which test has them is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BinaryFindings {
    /// The id of the binary.
    pub binary: String,
    /// The root filesystem that it ran in, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The findings.
    pub findings: Vec<Finding>,
    /// The codes of those that are denied.
    pub denied: Vec<String>,
}

/// The entry of the configuration by which a test may fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Quarantine {
    /// The reason.
    pub reason: String,
    /// Its last day.
    pub until: String,
    /// Its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Its standing for this test.
    pub standing: Standing,
}

/// Standing of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The test may fail: the run does not fail with it.
    Holds,
    /// Its last day is over.
    Expired,
    /// The test has always failed in the last runs.
    Broken,
}

/// Message of an entry.
pub fn quarantine(entry: &outcome::Quarantine) -> Quarantine {
    Quarantine {
        reason: entry.reason.clone(),
        until: entry.until.clone(),
        token: entry.token.clone(),
        standing: match entry.standing {
            outcome::Standing::Holds => Standing::Holds,
            outcome::Standing::Expired => Standing::Expired,
            outcome::Standing::Broken(_) => Standing::Broken,
        },
    }
}

/// Messages of the findings of binaries, with the codes that are denied.
pub fn of_binaries(
    suites: &[Suite],
    shared: &[(usize, Vec<finding::Finding>, Codes)],
) -> Vec<BinaryFindings> {
    let of_binary = |(binary, findings, deny): &(usize, Vec<finding::Finding>, Codes)| {
        let denied: Codes = findings.iter().map(finding::Finding::code).collect();
        BinaryFindings {
            binary: suites[*binary].id.clone(),
            root: suites[*binary].root.clone(),
            findings: findings.iter().map(self::finding).collect(),
            denied: denied.and(*deny).iter().map(|code| code.name().to_owned()).collect(),
        }
    };
    shared.iter().map(of_binary).collect()
}

/// Message of a finding.
pub fn finding(finding: &finding::Finding) -> Finding {
    Finding { kind: kind(finding), text: finding.to_string() }
}

fn kind(finding: &finding::Finding) -> FindingKind {
    use finding::Finding as Of;
    let path = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
    match finding {
        Of::NetworkTried(packets) => FindingKind::NetAttempt { packets: *packets },
        Of::DnsTried(names, queries) => {
            FindingKind::DnsAttempt { names: names.clone(), queries: *queries }
        }
        Of::SentToMany(packets) => FindingKind::SendsMulticast { packets: *packets },
        Of::NetworkSuspected(words) => {
            FindingKind::NetSuspected { words: words.clone().into_owned() }
        }
        Of::FixedPorts(sockets) => {
            let text = |it: &finding::Listening| format!("{} {}", it.protocol, it.address);
            FindingKind::ListensFixedPort { sockets: sockets.iter().map(text).collect() }
        }
        Of::ProcessesLeft(processes) => {
            FindingKind::LeavesProcess { processes: processes.iter().map(process).collect() }
        }
        Of::ThreadsLeft(threads) => FindingKind::LeavesThread { threads: threads.clone() },
        Of::IpcLeft(objects) => {
            let text = |it: &finding::IpcObject| format!("{} {}", it.kind, it.name);
            FindingKind::LeavesIpc { objects: objects.iter().map(text).collect() }
        }
        Of::WroteOutside(changes, all) => {
            FindingKind::WritesOutside { changes: changes.iter().map(change).collect(), all: *all }
        }
        Of::SignalDiscarded(signal) => {
            FindingKind::SignalDiscarded { signal: signal_name(*signal) }
        }
        Of::LimitReached(_, flag) => FindingKind::LimitHit { flag: flag.clone().into_owned() },
        Of::LimitSuspected(_, _, flag) => {
            FindingKind::LimitSuspected { flag: flag.clone().into_owned() }
        }
        Of::MemoryUsed(peak, share) => FindingKind::Memory { peak: *peak, share: *share },
        Of::OutOfMemory(processes) => FindingKind::OutOfMemory { processes: *processes },
        Of::IoUringRefused => FindingKind::IoUringRefused,
        Of::NotShown(paths) => {
            FindingKind::PathNotShown { paths: paths.iter().map(path).collect() }
        }
        Of::NotPassed(names) => FindingKind::VariableNotPassed { names: names.clone() },
        Of::WrittenBack(files) => {
            FindingKind::WrittenBack { files: files.iter().map(path).collect() }
        }
        Of::WriteBackFailed(file, _) => FindingKind::WriteBackFailed { file: path(file) },
    }
}

fn process(process: &finding::Leftover) -> Process {
    Process {
        pid: process.pid,
        name: process.name.clone(),
        command_line: process.command_line.clone(),
        ancestors: process.ancestors.clone(),
    }
}

/// Message of a changed file.
pub fn change(change: &finding::FileChange) -> Change {
    Change {
        kind: change.kind.letter(),
        path: change.path.to_string_lossy().into_owned(),
        size: change.size,
    }
}

#[cfg(test)]
mod tests {
    use isotest_core::finding::Code;

    use super::*;

    /// One finding of each code.
    fn all() -> Vec<finding::Finding> {
        use finding::Finding as Of;
        vec![
            Of::NetworkTried(1),
            Of::DnsTried(Vec::new(), 1),
            Of::SentToMany(1),
            Of::NetworkSuspected("".into()),
            Of::FixedPorts(Vec::new()),
            Of::ProcessesLeft(Vec::new()),
            Of::ThreadsLeft(Vec::new()),
            Of::IpcLeft(Vec::new()),
            Of::WroteOutside(Vec::new(), 0),
            Of::SignalDiscarded(6),
            Of::LimitReached("".into(), "".into()),
            Of::LimitSuspected("".into(), String::new(), "".into()),
            Of::MemoryUsed(2, 1),
            Of::OutOfMemory(1),
            Of::IoUringRefused,
            Of::NotShown(Vec::new()),
            Of::NotPassed(Vec::new()),
            Of::WrittenBack(Vec::new()),
            Of::WriteBackFailed("".into(), String::new()),
        ]
    }

    #[test]
    fn a_message_has_the_code_of_its_finding() {
        let all = all();
        let codes: Vec<Code> = all.iter().map(finding::Finding::code).collect();
        assert_eq!(codes, Code::ALL);
        for found in all {
            let told = serde_json::to_value(finding(&found)).expect("plain data");
            assert_eq!(told["finding"], found.code().name());
        }
    }
}
