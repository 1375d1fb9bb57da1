//! Trials: whether this machine lets a sandbox be what a policy wants.
//!
//! A trial is a case like any other; what it runs is this very program. So what works is no promise
//! but an observation, and a refusal has the step and the errno of the real sequence.

use std::env;
use std::fs;
use std::path::Path;

use isotest_core::collect;
use isotest_core::host::Host;
use isotest_core::outcome::{NotRun, Verdict};
use isotest_core::plan::{self, Plan, StartBy};
use isotest_core::policy::{Directory, Guard, Namespace, Net, Policy, Uts, Weakened, Workspace};
use isotest_core::refusal::SandboxError;
use isotest_core::sandbox::{Notice, Start, Warden};
use isotest_core::wait_status::signal_name;

use crate::config::machine::Machine;
use crate::report;
use crate::sandbox::exposures;
use crate::sandbox::factory::c_string;
use crate::sandbox::owners::Scan;

/// Shares what can be shared.
pub fn open() -> Policy {
    Policy {
        pid: Namespace::Host,
        net: Net::Host,
        ipc: Namespace::Host,
        uts: Uts::Host,
        workspace: Workspace::Shared,
        tmp: Directory::Host,
        home: Directory::Host,
        guard: Guard::Basic,
        ..Policy::default()
    }
}

/// Shares the layers of `allowed` with the host that the policy wants for itself and this machine
/// refuses; each is told of on stderr. Where a layer can be had nothing is changed, nor where
/// something else is refused than the layer: the refusal is an error then as at any other time.
pub fn weaken(policy: Policy, allowed: &[Weakened], machine: &Machine) -> Policy {
    let mut weaker = policy;
    // The pid namespace first: the others are tried with the /proc that they will have.
    let mut layers = allowed.to_vec();
    layers.sort();
    layers.dedup();
    for layer in layers {
        let pid = if layer == Weakened::Pid { Namespace::Host } else { weaker.pid };
        let others = Policy { pid, weakened: weaker.weakened.clone(), ..open() };
        let Some((trial, shared)) = values(layer, &weaker, &others) else { continue };
        let Some(error) = attempt(&trial, machine).err().filter(SandboxError::is_refusal) else {
            continue;
        };
        if attempt(&others, machine).is_err() {
            return weaker;
        }
        weaker = shared;
        weaker.weakened.push(layer);
        report::weakened(layer, &error);
    }
    weaker
}

/// Two policies: `others` with the layer as `policy` wants it, and `policy` with the host's. `None`
/// where it wants the host's already.
fn values(layer: Weakened, policy: &Policy, others: &Policy) -> Option<(Policy, Policy)> {
    let (policy, others) = (policy.clone(), others.clone());
    let is_host = match layer {
        Weakened::Pid => policy.pid == Namespace::Host,
        Weakened::Ipc => policy.ipc == Namespace::Host,
        Weakened::Uts => policy.uts == Uts::Host,
        Weakened::Net => policy.net == Net::Host,
    };
    if is_host {
        return None;
    }
    Some(match layer {
        Weakened::Pid => {
            (Policy { pid: Namespace::New, ..others }, Policy { pid: Namespace::Host, ..policy })
        }
        Weakened::Ipc => {
            (Policy { ipc: Namespace::New, ..others }, Policy { ipc: Namespace::Host, ..policy })
        }
        Weakened::Uts => {
            (Policy { uts: policy.uts.clone(), ..others }, Policy { uts: Uts::Host, ..policy })
        }
        Weakened::Net => {
            (Policy { net: Net::Loopback, ..others }, Policy { net: Net::Host, ..policy })
        }
    })
}

/// Runs this program, asking for its version, under a policy.
pub fn attempt(policy: &Policy, machine: &Machine) -> Result<(), SandboxError> {
    // A home that is not there cannot be shared, and a run has one of its own.
    let has_home = machine.home().is_none_or(|home| home.is_dir());
    let home = if has_home { policy.home } else { Directory::Fresh };
    let policy = &Policy { home, ..policy.clone() };
    let refused = |act: &str| SandboxError { act: act.to_owned(), errno: None, hint: None };
    let program = env::current_exe().map_err(|_| refused("find this program"))?;
    let host = Host::read(Path::new("/")).map_err(|_| refused("read /proc/self"))?;
    let project = exposures::of_command(machine, &host, policy, &program, Scan::Short);
    let project = project.map_err(|error| refused(&format!("show the project ({error})")))?;
    let mut warden = Warden::start(&host, policy)?;
    warden.build(&plan::template(&host, &project, policy), None)?;
    let command = plan::CommandSpec {
        program: c_string(program.as_os_str()),
        arguments: vec![c_string(program.as_os_str()), c"--version".to_owned()],
        environment: Vec::new(),
        start_by: StartBy::ForkServer,
        directory: c"/".to_owned(),
    };
    let plan = Plan::of(plan::sandbox_spec(&host, &project, policy, command).into());
    run(&mut warden, &plan)
}

fn run(warden: &mut Warden, plan: &Plan) -> Result<(), SandboxError> {
    use std::os::fd::AsFd;
    let refused = |act: String| SandboxError { act, errno: None, hint: None };
    let null = fs::File::options().write(true).open("/dev/null");
    let null = null.map_err(|_| refused("open `/dev/null`".to_owned()))?;
    let spawned = warden.spawn(&plan.spec, Start::of(plan, 0), &[null.as_fd(), null.as_fd()]);
    spawned
        .map_err(|errno| SandboxError { errno: Some(errno), ..refused("ask the warden".into()) })?;
    let Some(Notice::Ended(end, _)) = warden.notice(true) else {
        return Err(refused("keep the warden alive".to_owned()));
    };
    match collect::verdict_of_program(plan, &end) {
        Verdict::Passed => Ok(()),
        Verdict::NotRun(NotRun::Sandbox(error)) => Err(error),
        Verdict::Signalled { signal } => {
            Err(refused(format!("run a program: it died by {}", signal_name(signal))))
        }
        other => Err(refused(format!("run a program: {other:?}"))),
    }
}
