//! `--prove-new`: runs new cases many times, several copies at once, before they count.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;

use isotest_core::case::CaseIndex;
use isotest_core::finding::{Codes, Finding};
use isotest_core::outcome::Proof;
use isotest_core::schedule::{Event, Interruption, Repeat};

use crate::config::settings::Settings;
use crate::report::Report;
use crate::run::batch::Batch;
use crate::run::context::{Cases, Context};
use crate::run::execute::{ExecuteError, execute};
use crate::store::Durations;

/// What the runs of new cases have come to.
#[derive(Default)]
pub struct Proofs {
    /// The cases that failed in some of their runs.
    pub failed: BTreeMap<CaseIndex, Arc<Proof>>,
    /// The cause that ended the runs early.
    pub interrupted: Option<Interruption>,
}

/// Runs these cases so often.
pub fn prove(
    context: Context<'_>,
    batches: &mut [Batch],
    cases: Cases<'_>,
    durations: &mut Durations,
    (new, runs): (&BTreeSet<CaseIndex>, NonZeroU32),
) -> Result<Proofs, ExecuteError> {
    let repeat = Repeat::Times(runs);
    let settings = Settings { repeat, max_fail: None, ..context.settings.clone() };
    let context = Context { settings: &settings, ..context };
    let members: Vec<_> = batches.iter().map(|batch| batch.members.clone()).collect();
    for batch in &mut *batches {
        batch.members.retain(|member| new.contains(&member.index));
    }
    let counted = execute(context, batches, cases, durations, Counted::default());
    for (batch, members) in batches.iter_mut().zip(members) {
        batch.members = members;
    }
    let Counted { runs, interrupted } = counted?;
    let failed = runs.into_iter().filter(|(_, proof)| proof.failures > 0);
    let failed = failed.map(|(index, proof)| (index, Arc::new(proof))).collect();
    Ok(Proofs { failed, interrupted })
}

/// Counts the runs, and reports nothing.
#[derive(Default)]
struct Counted {
    runs: BTreeMap<CaseIndex, Proof>,
    interrupted: Option<Interruption>,
}

impl Report for Counted {
    fn event(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Finished(index, outcome) => {
                let proof = self.runs.entry(index).or_insert_with(|| Proof {
                    failures: 0,
                    runs: 0,
                    output: Default::default(),
                });
                proof.runs += 1;
                if outcome.verdict.is_failure() {
                    if proof.failures == 0 {
                        proof.output = outcome.output;
                    }
                    proof.failures += 1;
                }
            }
            Event::Interrupted(cause) => self.interrupted = Some(cause),
            Event::Started(_)
            | Event::Output(..)
            | Event::Slow(..)
            | Event::Retried(..)
            | Event::Running(_)
            | Event::Resumed(_) => {}
        }
        Ok(())
    }

    // The run that follows reports findings.
    fn take_shared(&mut self, _binary: usize, _findings: &[Finding], _deny: Codes) {}

    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }
}
