//! One execution of a program in a sandbox.

use std::ffi::CString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::spec::SandboxSpec;
use crate::changes::Watched;
use crate::finding::Finding;
use crate::policy::Weakened;
use crate::untrusted::Dir;
use crate::write_back::WriteBack;

/// Source of the verdict of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerdictSource {
    /// libtest's: the harness must have printed its own result line for this test.
    Libtest {
        /// The test's name.
        name: String,
        /// Number of other tests that the harness will report as filtered out.
        filtered_out: usize,
        /// Process of the harness.
        process: HarnessProcess,
    },
    /// Another harness's: the exit code is the verdict, which libtest's words refine where the
    /// harness prints them ([`foreign`](crate::foreign)).
    Foreign {
        /// The test's name, as the harness prints it.
        name: String,
    },
    /// No harness: the exit code is the verdict.
    ExitCode,
    /// A whole binary of libtest's, which prints results in JSON: the exit code is its verdict, and
    /// those of its tests are read by whoever hears its output. Each of so many results begins its
    /// time anew.
    Suite {
        /// Number of tests that it runs.
        tests: usize,
    },
}

/// Process of a case that is the harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HarnessProcess {
    /// The one that the case is started as: how it exits tells of the harness.
    First,
    /// One that another program has started, or has become: its words alone tell of the harness.
    Wrapped,
}

/// Reads the scratch of a case after its end, while nothing else is done.
pub trait ScratchReader: fmt::Debug + Send + Sync {
    /// Reads it after an attempt, which may have failed.
    fn read(&self, scratch: &Dir, has_failed: bool);
}

/// Everything needed to run one case.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The sandbox, which it shares with others.
    pub spec: Arc<SandboxSpec>,
    /// Arguments behind those of the specification.
    pub arguments: Vec<CString>,
    /// Variables added to those of the specification.
    pub environment: Vec<CString>,
    /// The source of its verdict.
    pub verdict_source: VerdictSource,
    /// After this long it is killed; time in which a perturbation has it stopped does not count
    /// ([`Plan::time_limit`]).
    pub timeout: Option<Duration>,
    /// After this long, and each time that it has passed again, it is reported as slow.
    pub slow_timeout: Option<Duration>,
    /// Maximum bytes of output that are kept.
    pub output_limit: u64,
    /// Bytes of memory that it has if as many tests as run at once use the same; nothing where that
    /// is not known.
    pub memory_share: Option<u64>,
    /// Files that are copied out of its throwaway layers afterwards.
    pub write_back: Option<Arc<WriteBack>>,
    /// Where its changes are found afterwards.
    pub watched: Option<Arc<Watched>>,
    /// Reads its scratch afterwards.
    pub scratch_reader: Option<Arc<dyn ScratchReader>>,
    /// The layers that it shares with the host since this machine refuses others.
    pub weakened: Vec<Weakened>,
    /// What its [perturbations](crate::perturbation) follow from, where they differ from run to run.
    pub seed: u64,
}

impl Plan {
    /// A plan for a program that is no test: no limit in time, all output kept.
    pub fn of(spec: Arc<SandboxSpec>) -> Plan {
        Plan {
            spec,
            arguments: Vec::new(),
            environment: Vec::new(),
            verdict_source: VerdictSource::ExitCode,
            timeout: None,
            slow_timeout: None,
            output_limit: u64::MAX,
            memory_share: None,
            write_back: None,
            watched: None,
            scratch_reader: None,
            weakened: Vec::new(),
            seed: 0,
        }
    }

    /// Time on the clock after which it is killed.
    pub fn time_limit(&self) -> Option<Duration> {
        self.timeout.map(|limit| self.spec.perturbations.prolonged(limit))
    }

    /// What its changes are findings of.
    pub fn changes(&self, scratch: Option<&Dir>) -> Vec<Finding> {
        let Some((watched, scratch)) = self.watched.as_ref().zip(scratch) else {
            return Vec::new();
        };
        let is_copied = |path: &Path| self.write_back.as_ref().is_some_and(|it| it.copies(path));
        let left = watched.shared_memory(scratch);
        let left = (!left.is_empty()).then_some(Finding::IpcLeft(left));
        left.into_iter().chain(watched.outside(scratch, is_copied)).collect()
    }
}
