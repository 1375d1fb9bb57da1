//! Explanations of failures: what running failed cases once more shows, and what their programs
//! name that cases have not.

use std::collections::BTreeSet;

use isotest_core::policy::Policy;

use crate::cli::{ExplainFailures, Unit};
use crate::config::machine::Machine;
use crate::report::{Reporter, RerunProgress, Reruns, Trace, Withheld};
use crate::run::batch::Batch;
use crate::run::context::{Cases, Context};
use crate::run::execute::ExecuteError;
use crate::run::rerun_variants::{Known, rerun_variants};
use crate::run::traced::trace_again;
use crate::run::traces::{Unexplained, traces};
use crate::run::withheld::withheld;
use crate::select::selected::Selected;

/// Gives the report what the programs of failed cases name, and runs those cases once more.
pub fn explain(
    context: Context<'_>,
    reporter: &mut Reporter,
    batches: Vec<Batch>,
    cases: Cases<'_>,
) -> Result<Reruns, ExecuteError> {
    let Context { settings, machine, .. } = context;
    let named = named_by(reporter, cases.selected, &batches, machine);
    let mut progress = RerunProgress::new(reporter, &reporter.failed());
    let traces = trace_again(context, reporter, &batches, cases, &mut progress);
    let traces = traces.map_err(ExecuteError::Host)?;
    let reruns = match settings.unit {
        _ if settings.explain == ExplainFailures::Never => Reruns::default(),
        Unit::Test => {
            let (failed, named) = (reporter.failed(), reporter.named());
            let known = Known { named, traces };
            let reruns = rerun_variants(context, batches, cases, &failed, &known, &mut progress);
            reruns.map_err(ExecuteError::Host)?
        }
        // Alone a test passes that another one of its process makes fail.
        Unit::Binary => Reruns::default(),
    };
    reporter.take_traces(still_unexplained(named, reporter, &reruns));
    reporter.take_withheld(missed(reporter, cases.selected, &settings.policy, machine));
    Ok(reruns)
}

/// Clues in the programs whose failed tests have no explanation.
fn named_by(
    reporter: &Reporter,
    selected: &[Selected],
    batches: &[Batch],
    machine: &Machine,
) -> Vec<Trace> {
    let unexplained = reporter.unexplained().map(|(place, lacks)| {
        let binary = &selected[place].binary;
        Unexplained { id: &binary.id, program: binary.executable.as_std_path(), lacks }
    });
    let unexplained: Vec<Unexplained<'_>> = unexplained.collect();
    // Of several policies the first: it is that of the command line.
    batches
        .first()
        .map_or_else(Vec::new, |Batch { factory, .. }| traces(factory, machine, &unexplained))
}

/// Those of binaries of which a failed case passes with no other value.
fn still_unexplained(traces: Vec<Trace>, reporter: &Reporter, reruns: &Reruns) -> Vec<Trace> {
    let is_explained = |index| reruns.hints.iter().any(|hint| hint.cases.contains(index));
    let failed = reporter.failed();
    let left = failed.iter().filter(|index| !is_explained(index));
    let left: BTreeSet<&str> =
        left.map(|index| reporter.suites()[index.binary].id.as_str()).collect();
    let traces = traces.into_iter().map(|trace| {
        let binaries = trace.binaries.into_iter().filter(|id| left.contains(id.as_str()));
        Trace { binaries: binaries.collect(), ..trace }
    });
    traces.filter(|trace| !trace.binaries.is_empty()).collect()
}

/// The variables that a failed test may have missed.
fn missed(
    reporter: &Reporter,
    selected: &[Selected],
    policy: &Policy,
    machine: &Machine,
) -> Withheld {
    let programs = reporter.failed_binaries();
    let programs = programs.map(|place| selected[place].binary.executable.as_std_path());
    match programs.collect::<Vec<_>>().as_slice() {
        [] => Withheld::default(),
        programs => withheld(machine, policy, programs),
    }
}
