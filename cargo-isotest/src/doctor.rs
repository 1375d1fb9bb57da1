//! `cargo isotest doctor`: tries each kernel feature for real.
//!
//! A check is a case like any other, under a policy that isolates one layer and shares the rest;
//! what it runs is this very program. So a check that works is no promise but an observation, and
//! a refusal has the step and the errno of the real sequence.

use std::env;
use std::fs;
use std::path::Path;

use isotest_core::collect;
use isotest_core::host::Host;
use isotest_core::outcome::{NotRun, Verdict, signal_name};
use isotest_core::plan::{self, Access, Exposure, Plan, Project};
use isotest_core::policy::{Directory, Guard, Init, Namespace, Net, Policy, User, Uts, Workspace};
use isotest_core::sandbox::{Notice, SandboxError, Warden};

use crate::cli::{DoctorCommand, ReportFormat};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Check};
use crate::sandboxes::c_string;
use crate::settings::Machine;

/// A layer to try: its name, what it is good for, and the policy that isolates it alone.
struct Trial {
    feature: &'static str,
    purpose: &'static str,
    policy: Policy,
}

/// Tries everything and prints it.
pub fn doctor(command: &DoctorCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let mut checks: Vec<Check> = trials().iter().map(|trial| check(trial, machine)).collect();
    checks.push(check_listener());
    let facts = facts();
    let printed = match command.format {
        ReportFormat::Human => report::diagnosis_for_people(&checks, &facts),
        ReportFormat::Json => report::diagnosis_for_programs(&checks, &facts),
    };
    printed.map_err(Error::Report)?;
    let isolated = checks.iter().all(|check| check.works || !check.required);
    Ok(if isolated { ExitCode::Passed } else { ExitCode::SandboxFailed })
}

/// Shares what can be shared.
fn open() -> Policy {
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

fn trials() -> Vec<Trial> {
    let trial = |feature, purpose, policy| Trial { feature, purpose, policy };
    vec![
        trial("user + mnt namespaces, root", "a root filesystem of its own", open()),
        trial(
            "pid namespace, proc",
            "the test is PID 1, nothing outlives it",
            Policy { pid: Namespace::New, ..open() },
        ),
        trial(
            "net namespace, loopback",
            "every port is free, no way out",
            Policy { net: Net::Loopback, ..open() },
        ),
        trial(
            "ipc namespace, mqueue",
            "no shared memory, queues or semaphores",
            Policy { ipc: Namespace::New, ..open() },
        ),
        trial("uts namespace", "a host name of its own", Policy { uts: Uts::default(), ..open() }),
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
        trial("all layers together", "the default", Policy::default()),
    ]
}

fn check(trial: &Trial, machine: &Machine) -> Check {
    let error = attempt(&trial.policy, machine).err();
    Check {
        feature: trial.feature,
        required: true,
        works: error.is_none(),
        detail: match &error {
            None => trial.purpose.to_owned(),
            Some(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        },
        hint: error.and_then(|error| error.hint),
    }
}

/// Runs this program, asking for its version, under a policy.
fn attempt(policy: &Policy, machine: &Machine) -> Result<(), SandboxError> {
    let refused = |act: &str| SandboxError { act: act.to_owned(), errno: None, hint: None };
    let program = env::current_exe().map_err(|_| refused("find this program"))?;
    let host = Host::read(Path::new("/")).map_err(|_| refused("read /proc/self"))?;
    let project = Project {
        exposures: exposures(&program, machine),
        home: machine.home(),
        ..Project::default()
    };
    let mut warden = Warden::start(&host, policy)?;
    warden.build(&plan::template(&host, &project, policy))?;
    let command = plan::Command {
        program: c_string(program.as_os_str()),
        arguments: vec![c_string(program.as_os_str()), c"--version".to_owned()],
        environment: Vec::new(),
        executed: None,
        directory: c"/".to_owned(),
    };
    let plan = Plan::of(plan::setup(&host, &project, policy, command).into());
    run(&mut warden, &plan)
}

fn run(warden: &mut Warden, plan: &Plan) -> Result<(), SandboxError> {
    use std::os::fd::AsFd;
    let refused = |act: String| SandboxError { act, errno: None, hint: None };
    let null = fs::File::options().write(true).open("/dev/null");
    let null = null.map_err(|_| refused("open `/dev/null`".to_owned()))?;
    let spawned = warden.spawn(&plan.setup, plan.start(0), &[null.as_fd(), null.as_fd()]);
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

/// This program's directory, and the working directory, as a project would be shown.
fn exposures(program: &Path, machine: &Machine) -> Vec<Exposure> {
    let program = program.parent().unwrap_or(Path::new("/"));
    let expose = |path: &Path, access, what: &str| Exposure {
        path: path.to_owned(),
        directory: true,
        access,
        what: what.to_owned(),
    };
    let directory = machine.directory.as_path();
    let mut all = vec![expose(program, Access::ReadOnly, "the program")];
    if directory.parent().is_some() {
        all.push(expose(directory, Access::Workspace, "the working directory"));
    }
    all
}

/// Whether the guard can tell the true signal of a PID 1's death.
fn check_listener() -> Check {
    let host = Host::read(Path::new("/")).ok();
    let warden = host.and_then(|host| Warden::start(&host, &Policy::default()).ok());
    let works = warden.is_some_and(|warden| warden.is_listening());
    Check {
        feature: "seccomp listener",
        required: false,
        works,
        detail: match works {
            true => "abort() of PID 1 is told as SIGABRT, leftovers are listed",
            false => "abort() of PID 1 is told as SIGSEGV, leftovers are not listed",
        }
        .to_owned(),
        hint: (!works).then(|| {
            "this is itself a sandbox with a seccomp listener, or the kernel is older than 5.5; \
             `--init reaper` tells the true signal here too"
                .to_owned()
        }),
    }
}

/// What is known to refuse namespaces, where it can be read.
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
