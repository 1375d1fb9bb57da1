//! `cargo isotest exec`: any command in a sandbox.

use std::ffi::{OsStr, OsString};

use isotest_core::plan::StartBy;
use isotest_core::signals::Signals;

use crate::cli::ExecCommand;
use crate::commands::build::policy;
use crate::commands::find_program::find_program;
use crate::commands::foreground::{run_foreground, timeout_of};
use crate::config::Config;
use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;
use crate::sandbox::exposures;
use crate::sandbox::factory::SandboxBuilder;
use crate::sandbox::owners::Scan;

/// Runs any command in a sandbox.
pub fn exec(command: &ExecCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let signals = Signals::listen().map_err(Error::Host)?;
    let layers = Config::without_file(&command.layers, machine)?.layers();
    let policy = policy(&layers, machine, false)?;
    let program = find_program(&command.command, &policy, machine)?;
    let builder = SandboxBuilder::start(policy)?;
    let shown =
        exposures::of_command(machine, builder.host(), builder.policy(), &program, Scan::Short)?;
    report::uncopied(&shown.uncopied);
    let mut factory = builder.build(machine, shown)?;
    let rest: Vec<&OsStr> = command.command.iter().skip(1).map(OsString::as_os_str).collect();
    let program = program.as_os_str();
    let spec =
        factory.spec(program, &rest, &machine.directory, &[], StartBy::Exec("a single command"));
    run_foreground(&mut factory, spec, timeout_of(&layers), &signals)
}
