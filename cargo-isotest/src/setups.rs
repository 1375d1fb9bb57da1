//! How a binary and its cases are run: the set-up that cases share, and the plan of each.

use std::ffi::OsStr;
use std::sync::Arc;

use isotest_core::case::Case;
use isotest_core::plan::{Plan, Protocol, Setup};
use isotest_core::policy::Limits;

use crate::discover::Binary;
use crate::fork_server;
use crate::prepare::Selected;
use crate::provision::Provided;
use crate::sandboxes::{Sandboxes, c_string};

/// The set-up that all cases of a binary share which need the same.
pub fn setup(
    sandboxes: &Sandboxes,
    selected: &Selected,
    single_threaded: bool,
    provided: Provided,
) -> Arc<Setup> {
    let binary = &selected.binary;
    let mut arguments: Vec<&OsStr> = Vec::new();
    if selected.harness {
        // `--include-ignored`: whether it runs was decided when it was selected.
        arguments.extend(["--exact", "--nocapture", "--include-ignored"].map(OsStr::new));
        if binary.harness {
            // For the one test that will run, on another thread than `main`: who exits tells who has
            // ended. It also saves libtest asking how many processors there are, which is a tenth of a
            // short case.
            arguments.push(OsStr::new("--test-threads=2"));
        } else if single_threaded {
            arguments.push(OsStr::new("--test-threads=1"));
        }
    }
    let executed = match selected.harness {
        true => fork_server::unsuitable(binary.executable.as_std_path()),
        false => Some("it is no test harness"),
    };
    set_up(sandboxes, binary, &arguments, provided, executed)
}

/// The set-up for a binary with what its tests need.
pub fn set_up(
    sandboxes: &Sandboxes,
    binary: &Binary,
    arguments: &[&OsStr],
    provided: Provided,
    executed: Option<&'static str>,
) -> Arc<Setup> {
    let program = binary.executable.as_os_str();
    let directory = binary.working_directory.as_std_path();
    let variables = [binary.environment.as_slice(), &provided.variables].concat();
    let setup = sandboxes.setup(program, arguments, directory, &variables, executed);
    match provided.services {
        services if services.is_empty() => setup,
        services => Arc::new(Arc::unwrap_or_clone(setup).with_services(services)),
    }
}

/// The plan of one case, which these limits hold for.
pub fn plan_of(
    sandboxes: &Sandboxes,
    setup: &Arc<Setup>,
    selected: &Selected,
    case: &Case,
    limits: &Limits,
) -> Plan {
    let (arguments, protocol) = if selected.harness {
        let protocol =
            Protocol::Libtest { name: case.name.clone(), filtered_out: selected.listed - 1 };
        (vec![c_string(OsStr::new(&case.name))], protocol)
    } else {
        (Vec::new(), Protocol::ExitCode)
    };
    Plan {
        setup: Arc::clone(setup),
        arguments,
        environment: sandboxes.own_environment(),
        protocol,
        timeout: limits.timeout,
        slow_timeout: limits.slow_timeout,
        output_limit: limits.output,
        write_back: sandboxes.write_back.clone(),
        weakened: sandboxes.policy.weakened.clone(),
    }
}
