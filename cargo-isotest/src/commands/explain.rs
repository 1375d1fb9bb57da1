//! `cargo isotest explain`: prints the plan of one case.

use isotest_core::plan;
use isotest_core::policy::Policy;

use crate::archive;
use crate::cli::ExplainCommand;
use crate::commands::one_case::{Case, Named, prepare_case};
use crate::config::machine::Machine;
use crate::config::{self, Source};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Explanation};
use crate::run::case_plan;
use crate::sandbox::provision::Provision;

/// Prints the plan of one case.
pub fn explain(command: &ExplainCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let opened = archive::open(&command.reuse, machine, command.cargo.quiet)?;
    let given = Named { case: &command.case, layers: &command.layers, config: &command.config };
    let tests = (&command.cargo, opened.as_ref().map(|opened| &opened.build));
    let Case { factory, selected, case, sources, limits, config, needs, .. } =
        prepare_case(given, tests, machine)?;
    let provided = Provision::of(&config).give(&needs);
    let spec = case_plan::spec(&factory, &selected, provided);
    let sources: Vec<&Source> = sources.iter().collect();
    let explanation = Explanation {
        id: &selected.binary.id,
        case: &case.name,
        plan: &case_plan::plan_of(&factory, &spec, &selected, &case, &limits),
        template: &plan::template(&factory.host, &factory.project, &factory.policy),
        layers: &config::rows(&Policy { limits, ..factory.policy.clone() }, &sources),
        course: &config::case_rows(&sources),
    };
    report::explain(&explanation).map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}
