//! Codes of the causes of a flaky test.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// Cause of a flaky test. Its code is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CauseCode {
    HashSeed,
    RandomSeed,
    FloatOrder,
    SharedVariable,
    WorkingDirectory,
    ProcessLimit,
    SharedProcess,
    InProcessOrder,
    Brittle,
    PortCollision,
    FreePortRace,
    AbstractSocket,
    MulticastPeer,
    SharedFile,
    SharedIpc,
    ArtefactReplaced,
    OtherProcess,
    NonIdempotent,
    ReadsHome,
    ReadsUndeclared,
    WritesOutside,
    NetAttempt,
    DnsAttempt,
    Resolver,
    AsyncWait,
    TimingTooStrict,
    Race,
    Deadlock,
    PipeClosed,
    ExecBusy,
    ClockMix,
    TimestampGranularity,
    Clock,
    TimeBomb,
    Countdown,
    Zone,
    Locale,
    User,
    Umask,
    DirectoryOrder,
    OpenFiles,
    Disk,
    Memory,
    CpuCount,
    HostName,
    Pid1,
    Pid,
    Terminal,
    Addresses,
    Uptime,
    SharedHost,
}

/// Each cause with its code.
const CODES: [(CauseCode, &str); 51] = [
    (CauseCode::HashSeed, "depends-seed/hash"),
    (CauseCode::RandomSeed, "depends-seed/rng"),
    (CauseCode::FloatOrder, "float-order"),
    (CauseCode::SharedVariable, "shared-process/env"),
    (CauseCode::WorkingDirectory, "shared-process/cwd"),
    (CauseCode::ProcessLimit, "shared-process/limit"),
    (CauseCode::SharedProcess, "shared-process"),
    (CauseCode::InProcessOrder, "order/in-process"),
    (CauseCode::Brittle, "order/brittle"),
    (CauseCode::PortCollision, "port-collision"),
    (CauseCode::FreePortRace, "port-collision/toctou"),
    (CauseCode::AbstractSocket, "port-collision/abstract-unix"),
    (CauseCode::MulticastPeer, "multicast-peer"),
    (CauseCode::SharedFile, "shared-file"),
    (CauseCode::SharedIpc, "shared-ipc"),
    (CauseCode::ArtefactReplaced, "artefact-replaced"),
    (CauseCode::OtherProcess, "other-process"),
    (CauseCode::NonIdempotent, "non-idempotent"),
    (CauseCode::ReadsHome, "reads-home"),
    (CauseCode::ReadsUndeclared, "reads-undeclared"),
    (CauseCode::WritesOutside, "writes-outside"),
    (CauseCode::NetAttempt, "net-attempt"),
    (CauseCode::DnsAttempt, "dns-attempt"),
    (CauseCode::Resolver, "depends-resolver"),
    (CauseCode::AsyncWait, "async-wait"),
    (CauseCode::TimingTooStrict, "timing-too-strict"),
    (CauseCode::Race, "race"),
    (CauseCode::Deadlock, "deadlock"),
    (CauseCode::PipeClosed, "pipe-closed"),
    (CauseCode::ExecBusy, "exec-busy"),
    (CauseCode::ClockMix, "clock-mix"),
    (CauseCode::TimestampGranularity, "depends-mtime-granularity"),
    (CauseCode::Clock, "depends-clock"),
    (CauseCode::TimeBomb, "time-bomb"),
    (CauseCode::Countdown, "countdown"),
    (CauseCode::Zone, "depends-tz"),
    (CauseCode::Locale, "depends-locale"),
    (CauseCode::User, "depends-uid"),
    (CauseCode::Umask, "depends-umask"),
    (CauseCode::DirectoryOrder, "depends-dir-order"),
    (CauseCode::OpenFiles, "resource-limit/fds"),
    (CauseCode::Disk, "resource-limit/disk"),
    (CauseCode::Memory, "resource-limit/memory"),
    (CauseCode::CpuCount, "depends-cpu-count"),
    (CauseCode::HostName, "depends-hostname"),
    (CauseCode::Pid1, "pid1-artefact"),
    (CauseCode::Pid, "depends-pid"),
    (CauseCode::Terminal, "depends-tty"),
    (CauseCode::Addresses, "depends-addresses"),
    (CauseCode::Uptime, "depends-uptime"),
    (CauseCode::SharedHost, "shared-host"),
];

impl CauseCode {
    /// All causes.
    #[cfg(test)]
    pub fn all() -> impl Iterator<Item = CauseCode> {
        CODES.iter().map(|(cause, _)| *cause)
    }

    /// The code, in JSON and in tables.
    pub fn code(self) -> &'static str {
        let known = CODES.iter().find(|(code, _)| *code == self);
        known.map_or("unattributed", |(_, code)| code)
    }
}

impl Serialize for CauseCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl JsonSchema for CauseCode {
    fn schema_name() -> Cow<'static, str> {
        "CauseCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<&str> = CODES.iter().map(|(_, code)| *code).collect();
        json_schema!({ "type": "string", "enum": codes })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cause_has_one_code() {
        let causes: BTreeSet<CauseCode> = CODES.iter().map(|(cause, _)| *cause).collect();
        let codes: BTreeSet<&str> = CODES.iter().map(|(_, code)| *code).collect();
        assert_eq!((causes.len(), codes.len()), (CODES.len(), CODES.len()));
        let last = CauseCode::SharedHost as usize + 1;
        assert_eq!(last, CODES.len());
    }
}
