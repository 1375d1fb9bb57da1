//! `cargo isotest explain`: prints the plan of one case.

use isotest_core::plan;
use isotest_core::policy::Policy;

use crate::cli::ExplainCommand;
use crate::commands::build::Build;
use crate::commands::one_case::{CaseRequest, OneCase};
use crate::config::machine::Machine;
use crate::config::{self, Source};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Explanation};
use crate::run::case_plan;
use crate::sandbox::provision::Provision;

/// Prints the plan of one case.
pub fn explain(command: &ExplainCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let build = Build::open(&command.reuse, &command.cargo, machine)?;
    let named =
        CaseRequest { case: &command.case, layers: &command.layers, config: &command.config };
    let OneCase { factory, selected, case, sources, limits, config, needs, layers: shown, .. } =
        OneCase::find(&build, &named, machine)?;
    let provided = Provision::of(&config).give(&needs);
    let spec = case_plan::spec(&factory, &selected, provided);
    let sources: Vec<&Source> = sources.iter().collect();
    let plan = case_plan::plan_of(&factory, &spec, &selected, &case, &limits);
    let mut layers = config::rows(&Policy { limits, ..factory.policy.clone() }, &sources);
    layers.extend(shown.iter().map(|place| config::layer_row(&config.made_once[*place])));
    let explanation = Explanation {
        id: &selected.binary.id,
        case: &case.name,
        plan: &plan,
        template: &plan::template(&factory.host, &factory.project, &factory.policy).steps,
        layers: &layers,
        run_options: &config::case_rows(&sources),
    };
    report::explain(&explanation).map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}
