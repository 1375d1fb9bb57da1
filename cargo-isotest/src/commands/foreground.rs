//! One command in the foreground, in a sandbox: its plan, and its end as this program's.

use std::sync::Arc;
use std::time::Duration;

use isotest_core::foreground::{self, Conclusion, ForegroundEnd};
use isotest_core::plan::{Plan, SandboxSpec, VerdictSource};
use isotest_core::signals::Signals;
use signal_hook::consts::SIGKILL;

use crate::cli::LayerOptions;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;
use crate::sandbox::factory::SandboxFactory;

/// Time limit of a command: that of `--timeout`, or none.
pub fn timeout_of(layers: &LayerOptions) -> Option<Duration> {
    layers.timeout()
}

/// Runs a set-up in the foreground, for so long at most.
pub fn run_foreground(
    factory: &mut SandboxFactory,
    spec: Arc<SandboxSpec>,
    timeout: Option<Duration>,
    signals: &Signals,
) -> Result<ExitCode, Error> {
    let plan = plan_of(factory, spec, timeout);
    let conclusion = foreground::run(&mut factory.warden, &plan, signals);
    exit_code(conclusion?)
}

/// The plan of one command, for so long at most.
pub fn plan_of(
    factory: &SandboxFactory,
    spec: Arc<SandboxSpec>,
    timeout: Option<Duration>,
) -> Plan {
    Plan {
        spec,
        arguments: Vec::new(),
        environment: factory.own_environment(),
        verdict_source: VerdictSource::ExitCode,
        timeout,
        slow_timeout: None,
        output_limit: factory.policy.limits.output,
        memory_share: None,
        write_back: factory.write_back.clone(),
        watched: None,
        scratch_reader: None,
        weakened: factory.policy.weakened.clone(),
        seed: 0,
    }
}

/// The end of a command as this program's.
pub fn exit_code(conclusion: Conclusion) -> Result<ExitCode, Error> {
    conclusion.not_written.iter().for_each(report::warning);
    match conclusion.ended {
        ForegroundEnd::Exited(code) => Ok(ExitCode::Of(code)),
        ForegroundEnd::Signalled(signal) | ForegroundEnd::Interrupted(signal) => {
            Ok(ExitCode::Signal(signal))
        }
        ForegroundEnd::TimedOut => {
            report::error(
                &"timed out; every process of the command was killed (`--timeout` gives it more)",
            );
            Ok(ExitCode::Signal(SIGKILL))
        }
        ForegroundEnd::NotRun(error) => Err(Error::Sandbox(error)),
        ForegroundEnd::NotServed(error) => {
            report::services(&conclusion.services);
            Err(Error::Service(error))
        }
        ForegroundEnd::WardenDied => Err(Error::WardenDied),
        ForegroundEnd::WardenSilent => Err(Error::WardenSilent),
    }
}
