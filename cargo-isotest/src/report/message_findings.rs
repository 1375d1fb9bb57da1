//! Findings as `--message-format` tells of them.

use isotest_core::finding::{self, Leftover};
use isotest_core::wait_status::signal_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that is not hermetic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its kind.
    #[serde(flatten)]
    pub kind: FindingKind,
    /// The same in words.
    pub text: String,
}

/// The kinds of findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "finding", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum FindingKind {
    /// Processes outlived the test and were killed.
    ProcessesLeft {
        /// Their names.
        processes: Vec<String>,
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
    /// A limit was reached.
    LimitReached {
        /// The flag that raises it.
        flag: String,
    },
    /// A limit may have been reached.
    LimitSuspected {
        /// The flag that raises it.
        flag: String,
    },
    /// Processes were killed since the machine had no memory left.
    OutOfMemory {
        /// Number of processes.
        processes: u64,
    },
    /// It tried to reach the network.
    NetworkTried {
        /// Number of packets without a route.
        packets: u64,
    },
    /// It sent packets to a multicast group or to all, which nobody else has heard.
    SentToMany {
        /// Number of packets.
        packets: u64,
    },
    /// It wrote words that a test writes where it has no network, and failed.
    NetworkSuspected {
        /// The words.
        words: String,
    },
    /// It failed and was refused io_uring.
    IoUringRefused,
    /// It failed and named paths of this machine that tests do not see.
    NotShown {
        /// The paths.
        paths: Vec<String>,
    },
    /// It failed and named variables that are set and do not reach tests.
    NotPassed {
        /// Their names.
        names: Vec<String>,
    },
    /// PID 1 sent itself a signal that the kernel discarded.
    SignalDiscarded {
        /// Its name.
        signal: String,
    },
}

/// Message of a finding.
pub fn finding(finding: &finding::Finding) -> Finding {
    let path = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
    let kind = match finding {
        finding::Finding::ProcessesLeft(processes) => {
            let name = |process: &Leftover| process.name.clone();
            FindingKind::ProcessesLeft { processes: processes.iter().map(name).collect() }
        }
        finding::Finding::WrittenBack(files) => {
            FindingKind::WrittenBack { files: files.iter().map(path).collect() }
        }
        finding::Finding::WriteBackFailed(file, _) => {
            FindingKind::WriteBackFailed { file: path(file) }
        }
        finding::Finding::LimitReached(_, flag) => {
            FindingKind::LimitReached { flag: flag.clone().into_owned() }
        }
        finding::Finding::LimitSuspected(_, _, flag) => {
            FindingKind::LimitSuspected { flag: flag.clone().into_owned() }
        }
        finding::Finding::OutOfMemory(processes) => {
            FindingKind::OutOfMemory { processes: *processes }
        }
        finding::Finding::NetworkTried(packets) => FindingKind::NetworkTried { packets: *packets },
        finding::Finding::SentToMany(packets) => FindingKind::SentToMany { packets: *packets },
        finding::Finding::NetworkSuspected(words) => {
            FindingKind::NetworkSuspected { words: words.clone().into_owned() }
        }
        finding::Finding::IoUringRefused => FindingKind::IoUringRefused,
        finding::Finding::NotShown(paths) => {
            FindingKind::NotShown { paths: paths.iter().map(path).collect() }
        }
        finding::Finding::NotPassed(names) => FindingKind::NotPassed { names: names.clone() },
        finding::Finding::SignalDiscarded(signal) => {
            FindingKind::SignalDiscarded { signal: signal_name(*signal) }
        }
    };
    Finding { kind, text: finding.to_string() }
}
