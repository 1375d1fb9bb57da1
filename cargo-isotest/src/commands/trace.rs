//! `cargo isotest trace`: runs one case and prints what it asked the kernel for.

use isotest_core::case::CaseIndex;
use isotest_core::outcome::{Gate, Verdict};
use isotest_core::policy::{Guard, Policy};
use isotest_core::retry::Retries;
use isotest_core::schedule::{self, Claim, Event, Job};

use crate::cli::{ReportFormat, TraceCommand};
use crate::commands::build::Build;
use crate::commands::one_case::{CaseRequest, OneCase};
use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, TracedCase};
use crate::run::case_plan;
use crate::sandbox::factory::SandboxBuilder;
use crate::sandbox::jobs;
use crate::sandbox::provision::Provision;

/// Runs one case and prints its trace. The exit code says whether the case passed.
pub fn trace(command: &TraceCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let build = Build::open(&command.reuse, &command.cargo, machine)?;
    let named =
        CaseRequest { case: &command.case, layers: &command.layers, config: &command.config };
    let OneCase { factory, selected, case, limits, config, needs, project, signals, .. } =
        OneCase::find(&build, &named, machine)?;
    let policy = Policy { trace: true, ..factory.policy.clone() };
    if policy.guard == Guard::NoListener {
        return Err(Error::NotTraced);
    }
    let needed = [(&factory.policy, &needs)].into_iter();
    let provision = Provision::prepare(&config, needed, &project, machine, &signals)?;
    drop(factory);
    let mut factory = SandboxBuilder::start(policy)?.build_for(&project, machine)?;
    let spec = case_plan::spec(&factory, &selected, provision.give(&needs));
    let plan = case_plan::plan_of(&factory, &spec, &selected, &case, &limits);
    let index = CaseIndex { binary: 0, case: 0 };
    let (retries, claim) = (Retries::default(), Claim::default());
    let gate = Gate::default();
    let job = Job { index, plan, pass_through: false, retries, gate, claim };
    let options = schedule::Options::of(1);
    let jobs = vec![(&mut factory.warden, vec![job])];
    let outcome = jobs::run(jobs, options, &signals, Vec::new(), |events| {
        events.into_iter().find_map(|event| match event {
            Event::Finished(_, outcome) => Some(outcome),
            _ => None,
        })
    });
    let outcome = outcome.map_err(Error::Host)?.ok_or(Error::WardenDied)?;
    let home = machine.home();
    let traced = TracedCase {
        id: &selected.binary.id,
        case: &case,
        outcome: &outcome,
        workspace: project.workspace_root.as_std_path(),
        home: home.as_deref(),
        guard: factory.policy.guard,
    };
    let printed = match command.format {
        ReportFormat::Human => report::trace_for_people(&traced, command.full),
        ReportFormat::Json => report::trace_for_programs(&traced),
    };
    printed.map_err(Error::Report)?;
    Ok(match &outcome.verdict {
        Verdict::NotRun(_) => ExitCode::SandboxFailed,
        verdict if verdict.is_failure() => ExitCode::TestsFailed,
        _ => ExitCode::Passed,
    })
}
