//! Cases that have failed or were retried run once more, traced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use isotest_core::case::CaseIndex;
use isotest_core::policy::{Guard, Policy};
use isotest_core::trace::Trace;
use twox_hash::XxHash64;

use crate::cli::TraceWhen;
use crate::report::{self, Reporter, RerunProgress};
use crate::run::again::{MAX_FAILURES, again, is_isolated, uncounted};
use crate::run::batch::Batch;
use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::sandbox::factory::SandboxBuilder;
use crate::select::selected::Selected;

/// Hashes of the binaries, where cases are traced: XXH64 of the contents.
pub fn hashes(when: TraceWhen, selected: &[Selected]) -> Vec<Option<String>> {
    if when == TraceWhen::Never {
        return Vec::new();
    }
    // A binary that cannot be read has none.
    selected.iter().map(|it| binary_hash(it.binary.executable.as_std_path()).ok()).collect()
}

/// The hash of a binary: XXH64 of its contents.
pub fn binary_hash(program: &Path) -> io::Result<String> {
    use std::hash::Hasher;
    let (mut file, mut hash) = (File::open(program)?, XxHash64::with_seed(0));
    let mut part = vec![0; 1 << 16];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(format!("{:016x}", hash.finish())),
            length => hash.write(&part[..length]),
        }
    }
}

/// Traces of cases that have failed once more.
pub type FailedTraces = BTreeMap<CaseIndex, Trace>;

/// Runs the cases once more that `--trace` asks for, and gives the report their traces. Returns
/// those of the cases that failed again.
pub fn trace_again(
    context: Context<'_>,
    reporter: &mut Reporter,
    batches: &[Batch],
    cases: Cases<'_>,
    progress: &mut RerunProgress,
) -> io::Result<FailedTraces> {
    let mut failed = FailedTraces::new();
    let asked: Vec<CaseIndex> = match context.settings.trace {
        TraceWhen::Never | TraceWhen::Always => return Ok(failed),
        TraceWhen::OnFailure => reporter.failed(),
        TraceWhen::OnRetry => reporter.retried_cases().to_vec(),
    };
    let mut left = MAX_FAILURES;
    for Batch { factory, members } in batches {
        let policy = &factory.policy;
        // A test that could have an effect outside is not run twice.
        if policy.guard == Guard::NoListener || !is_isolated(policy) {
            continue;
        }
        let members = members.iter().filter(|member| asked.contains(&member.index));
        let members: Vec<Member> = members.take(left).cloned().collect();
        left -= members.len();
        if members.is_empty() {
            continue;
        }
        let policy = Policy { trace: true, ..policy.clone() };
        let machine = uncounted(context.machine);
        let built =
            SandboxBuilder::start(policy).and_then(|it| it.build(&machine, factory.project()));
        let Ok(mut factory) = built else {
            report::warning(&"cannot trace tests once more: their sandbox was refused");
            continue;
        };
        progress.begin("traced", members.len());
        let outcomes = again(&mut factory, cases, &members, context.signals, progress)?;
        for (index, mut outcome) in outcomes {
            if let Some(trace) = outcome.trace.take() {
                reporter.take_trace(index, &trace, Instant::now())?;
                if outcome.verdict.is_failure() {
                    failed.insert(index, *trace);
                }
            }
        }
    }
    Ok(failed)
}
