//! The isolated runs of all selected tests, and what each of them has shown.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;

use isotest_core::case::CaseIndex;
use isotest_core::finding::{Codes, Finding};
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::schedule::{Event, Repeat};

use crate::config::settings::Settings;
use crate::report::Report;
use crate::run::batch::Batch;
use crate::run::context::{Cases, Context};
use crate::run::execute::{ExecuteError, execute};
use crate::store::Durations;

/// The runs of one test.
#[derive(Debug, Default)]
pub struct Observed {
    /// Number of runs that passed.
    pub passed: u32,
    /// Number of runs that failed.
    pub failed: u32,
    /// The last verdict of a run that failed.
    pub verdict: Option<Verdict>,
    /// The findings of that run.
    pub findings: Vec<Finding>,
    /// Reason why a run was none.
    pub not_run: Option<NotRun>,
}

impl Observed {
    /// Takes the outcome of one run.
    pub fn take(&mut self, outcome: Outcome) {
        match outcome.verdict {
            // What a configuration denies is no difference between the surroundings.
            Verdict::Passed | Verdict::Denied(_) => self.passed += 1,
            Verdict::Ignored => {}
            Verdict::NotRun(reason) => self.not_run = Some(reason),
            verdict => {
                self.failed += 1;
                self.verdict = Some(verdict);
                self.findings = outcome.findings;
            }
        }
    }
}

/// Runs all cases this many times, isolated as their policies say.
pub fn observe(
    context: Context<'_>,
    batches: &mut [Batch],
    cases: Cases<'_>,
    runs: NonZeroU32,
) -> Result<BTreeMap<CaseIndex, Observed>, ExecuteError> {
    let repeat = Repeat::Times(runs);
    let limits = (None, None);
    let (max_fail, global_timeout) = limits;
    let settings = Settings { repeat, max_fail, global_timeout, ..context.settings.clone() };
    let context = Context { settings: &settings, ..context };
    let collected =
        execute(context, batches, cases, &mut Durations::default(), Collected::default())?;
    Ok(collected.0)
}

/// Keeps what the runs have shown, and reports nothing.
#[derive(Default)]
struct Collected(BTreeMap<CaseIndex, Observed>);

impl Report for Collected {
    fn event(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Finished(index, outcome) => self.0.entry(index).or_default().take(*outcome),
            Event::Started(_)
            | Event::Output(..)
            | Event::Slow(..)
            | Event::Retried(..)
            | Event::Running(_)
            | Event::Resumed(_)
            | Event::Interrupted(_) => {}
        }
        Ok(())
    }

    fn take_shared(&mut self, _binary: usize, _findings: &[Finding], _deny: Codes) {}

    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }
}
