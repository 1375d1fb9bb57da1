//! One run of tests of a binary in one process.

use std::io;
use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::schedule;

use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::run::together::{Taken, TestResults, Together, TogetherOptions, TogetherRuns};
use crate::sandbox::factory::SandboxFactory;
use crate::sandbox::jobs;

/// Runs these tests, at least one, of one binary of libtest's. It is ended after `limit`, where there is
/// one. `None` if it has no result.
pub fn run_in_one_process(
    (context, cases): (Context<'_>, Cases<'_>),
    factory: &mut SandboxFactory,
    members: &[Member],
    options: TogetherOptions,
    limit: Option<Duration>,
) -> io::Result<Option<TestResults>> {
    let Some(first) = members.first() else { return Ok(None) };
    let selected = &cases.selected[first.index.binary];
    let provided = cases.provision.give(&first.terms.needs);
    let together = Together::new(factory, selected, members.iter().collect(), provided);
    let mut runs = TogetherRuns::default();
    let run = CaseIndex { binary: 0, case: 0 };
    let job = together.job(factory, run, options, &mut runs);
    let mut results = None;
    jobs::run(
        vec![(&mut factory.warden, vec![job])],
        schedule::Options { timeout: limit, ..schedule::Options::of(1) },
        context.signals,
        Vec::new(),
        |events| {
            for event in events {
                if let Taken::Ended(result) = runs.take(event) {
                    results = Some(result.tests);
                }
            }
        },
    )?;
    Ok(results)
}
