//! Cases that have failed or were retried run once more, traced.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use isotest_core::case::CaseIndex;
use isotest_core::policy::{Guard, Policy};
use twox_hash::XxHash64;

use crate::cli::TraceWhen;
use crate::report::{self, Reporter};
use crate::run::batch::Batch;
use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::run::rerun_variants::{MAX_FAILURES, again, is_isolated};
use crate::sandbox::environment::PROFILE;
use crate::sandbox::factory::SandboxBuilder;
use crate::select::selected::Selected;

/// Hashes of the binaries, where cases are traced: XXH64 of the contents.
pub fn hashes(when: TraceWhen, selected: &[Selected]) -> Vec<Option<String>> {
    if when == TraceWhen::Never {
        return Vec::new();
    }
    // A binary that cannot be read has none.
    selected.iter().map(|it| hash(it.binary.executable.as_std_path()).ok()).collect()
}

fn hash(program: &Path) -> io::Result<String> {
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

/// Runs the cases once more that `--trace` asks for, and gives the report their traces.
pub fn trace_again(
    context: Context<'_>,
    reporter: &mut Reporter,
    batches: &[Batch],
    cases: Cases<'_>,
) -> io::Result<()> {
    let asked: Vec<CaseIndex> = match context.settings.trace {
        TraceWhen::Never | TraceWhen::Always => return Ok(()),
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
        // What is run twice must not be counted twice.
        let mut machine = context.machine.clone();
        machine.variables.retain(|(name, _)| name != PROFILE);
        machine.profiles = None;
        let policy = Policy { trace: true, ..policy.clone() };
        let built =
            SandboxBuilder::start(policy).and_then(|it| it.build(&machine, factory.project()));
        let Ok(mut factory) = built else {
            report::warning(&"cannot trace tests once more: their sandbox was refused");
            continue;
        };
        for (index, outcome) in again(&mut factory, cases, &members, context.signals)? {
            if let Some(trace) = &outcome.trace {
                reporter.take_trace(index, trace, Instant::now())?;
            }
        }
    }
    Ok(())
}
