//! `cargo isotest doctor`: tries each kernel feature for real.
//!
//! A check is a [trial](crate::sandbox::trial) of a policy that isolates one layer and shares the rest.

use std::env;
use std::fs;
use std::path::Path;

use isotest_core::host::Host;
use isotest_core::policy::{
    Directory, Init, Limits, Namespace, Net, Policy, User, Uts, Weakened, Workspace,
};
use isotest_core::refusal::SandboxError;
use isotest_core::sandbox::Warden;

use crate::cli::{DoctorCommand, ReportFormat};
use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Check};
use crate::sandbox::exposures;
use crate::sandbox::owners::Scan;
use crate::sandbox::trial::{attempt, open};

/// A layer to try: its name, what it is good for, and the policy that isolates it alone.
struct Trial {
    feature: &'static str,
    purpose: &'static str,
    policy: Policy,
    /// True if it counts for full isolation.
    required: bool,
    /// The layer that it isolates, where `--allow-weaker` knows it.
    layer: Option<Weakened>,
}

/// The trial of a sandbox as a run has it.
const TOGETHER: &str = "all layers together";

/// Tries everything and prints it.
pub fn doctor(command: &DoctorCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let mut checks: Vec<Check> = Vec::new();
    for trial in trials() {
        // Nothing is the matter with one layer alone where not even the others work.
        let others_work = checks.first().is_some_and(|check| check.works);
        checks.push(check(&trial, others_work, machine));
    }
    // A layer alone shares with the host what no run shares: a refusal counts only if all of them
    // together are refused too.
    if checks.iter().any(|check| check.feature == TOGETHER && check.works) {
        checks.iter_mut().filter(|check| !check.works).for_each(|check| check.required = false);
    }
    checks.push(check_listener());
    checks.extend(check_owners(machine));
    let facts = facts();
    let printed = match command.format {
        ReportFormat::Human => report::diagnosis_for_people(&checks, &facts),
        ReportFormat::Json => report::diagnosis_for_programs(&checks, &facts),
    };
    printed.map_err(Error::Report)?;
    let isolated = checks.iter().all(|check| check.works || !check.required);
    Ok(if isolated { ExitCode::Passed } else { ExitCode::SandboxFailed })
}

fn trials() -> Vec<Trial> {
    let trial = |feature, purpose, policy| {
        let (required, layer) = (true, None);
        Trial { feature, purpose, policy, required, layer }
    };
    let memory = Limits { memory: Some(1 << 30), ..Limits::default() };
    let of = |layer, trial| Trial { layer: Some(layer), ..trial };
    vec![
        trial("user + mnt namespaces, root", "a root filesystem of its own", open()),
        of(
            Weakened::Pid,
            trial(
                "pid namespace, proc",
                "the test is PID 1, nothing outlives it",
                Policy { pid: Namespace::New, ..open() },
            ),
        ),
        of(
            Weakened::Net,
            trial(
                "net namespace, loopback",
                "every port is free, no way out",
                // The host's /proc/sys may be read-only, and a run has its own.
                Policy { net: Net::Loopback, weakened: vec![Weakened::Pid], ..open() },
            ),
        ),
        of(
            Weakened::Ipc,
            trial(
                "ipc namespace, mqueue",
                "no shared memory, queues or semaphores",
                Policy { ipc: Namespace::New, ..open() },
            ),
        ),
        of(
            Weakened::Uts,
            trial(
                "uts namespace",
                "a host name of its own",
                Policy { uts: Uts::default(), ..open() },
            ),
        ),
        trial(
            "overlay with userxattr",
            "writes to the project are thrown away",
            Policy { workspace: Workspace::Overlay, ..open() },
        ),
        trial(
            "tmpfs",
            "fresh /tmp and home",
            Policy { tmp: Directory::Fresh, home: Directory::Fresh, ..open() },
        ),
        trial("root in the user namespace", "`--user root`", Policy { user: User::Root, ..open() }),
        trial(
            "reaping init",
            "`--init reaper`",
            Policy { pid: Namespace::New, init: Init::Reaper, ..open() },
        ),
        trial(TOGETHER, "the default", Policy::default()),
        Trial {
            required: false,
            ..trial(
                "cgroup v2, delegated",
                "`--memory`, peak memory, `--processes` for root too",
                Policy { limits: memory, ..Policy::default() },
            )
        },
    ]
}

fn check(trial: &Trial, others_work: bool, machine: &Machine) -> Check {
    let error = attempt(&trial.policy, machine).err();
    let weaker =
        trial.layer.filter(|_| others_work && error.as_ref().is_some_and(SandboxError::is_refusal));
    Check {
        feature: trial.feature,
        required: trial.required,
        works: error.is_none(),
        detail: match &error {
            None => trial.purpose.to_owned(),
            Some(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        },
        hint: joined(error.and_then(|error| error.hint), weaker),
    }
}

/// A remedy, and the way to go on without it.
fn joined(remedy: Option<String>, weaker: Option<Weakened>) -> Option<String> {
    let weaker = weaker.map(|layer| {
        let name = layer.name();
        format!("`--allow-weaker {name}` runs tests without the layer `{name}`, and marks them")
    });
    let texts: Vec<String> = remedy.into_iter().chain(weaker).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// Tests that the guard can read the signal which killed a PID 1.
fn check_listener() -> Check {
    let host = Host::read(Path::new("/")).ok();
    let warden = host.and_then(|host| Warden::start(&host, &Policy::default()).ok());
    let listening = warden.map(|warden| warden.is_listening());
    let detail = match listening {
        Some(true) => "abort() of PID 1 is reported as SIGABRT, leftovers are listed",
        Some(false) => "abort() of PID 1 is reported as SIGSEGV, leftovers are not listed",
        None => "not tried: there is no process to install it in",
    };
    let hint = "this is itself a sandbox with a seccomp listener, or the kernel is older than 5.5; \
                `--init reaper` reports the true signal here too";
    Check {
        feature: "seccomp listener",
        required: false,
        works: listening == Some(true),
        detail: detail.to_owned(),
        hint: (listening == Some(false)).then(|| hint.to_owned()),
    }
}

/// Tests that a case may change files of other owners in the project; `None` if this machine cannot
/// show it.
fn check_owners(machine: &Machine) -> Option<Check> {
    let host = Host::read(Path::new("/")).ok()?;
    let program = env::current_exe().ok()?;
    let policy = Policy::default();
    let project = exposures::of_command(machine, &host, &policy, &program, Scan::Long).ok()?;
    let copied: usize = project.foreign.iter().map(|(_, pieces)| pieces.len()).sum();
    let refused = report::what_is_uncopied(&project.uncopied);
    Some(Check {
        feature: "files of others",
        required: false,
        works: refused.is_none(),
        detail: refused.clone().unwrap_or_else(|| match copied {
            0 => "none that tests may write to".to_owned(),
            _ => format!("tests may write to them: {copied} are copied for each run"),
        }),
        hint: refused.map(|_| report::TO_OWN.to_owned()),
    })
}

/// Settings of the machine that are known to refuse namespaces.
fn facts() -> Vec<(&'static str, String)> {
    let files = [
        ("kernel", "/proc/sys/kernel/osrelease"),
        ("AppArmor restricts userns", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        ("unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone"),
        ("max_user_namespaces", "/proc/sys/user/max_user_namespaces"),
        ("max_net_namespaces", "/proc/sys/user/max_net_namespaces"),
        ("LSM label", "/proc/self/attr/current"),
    ];
    let read = files.iter().filter_map(|(name, path)| {
        let value = fs::read_to_string(path).ok()?;
        Some((*name, value.trim_matches(['\n', '\0', ' ']).to_owned()))
    });
    let mut facts: Vec<_> = read.filter(|(_, value)| !value.is_empty()).collect();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let fields =
        [("capabilities", "CapEff:"), ("no_new_privs", "NoNewPrivs:"), ("seccomp", "Seccomp:")];
    facts.extend(fields.iter().filter_map(|(name, field)| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some((*name, line.trim().to_owned()))
    }));
    let markers = ["/.dockerenv", "/run/.containerenv"];
    let container = markers.iter().find(|marker| Path::new(marker).exists());
    facts.extend(container.map(|marker| ("container", format!("yes (`{marker}`)"))));
    facts
}
