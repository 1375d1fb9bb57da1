//! Perturbations as steps of a case.

use std::path::Path;

use super::builder::Steps;
use super::etc::loopback_hosts;
use super::layout::SCRATCH;
use super::steps::Op;
use crate::host::Host;
use crate::perturbation::Localhost;
use crate::policy::{Guard, Init, Namespace, Net, Policy, Uts};

/// Refuses what cannot be had together with the rest of the policy, before anything is set up.
pub fn refuse(steps: &mut Steps, host: &Host, policy: &Policy) {
    for (act, hint) in unsupported(host, policy) {
        steps.add("the policy contradicts itself", Op::Unsupported { act, hint });
    }
}

fn unsupported(host: &Host, policy: &Policy) -> Vec<(&'static str, &'static str)> {
    let wanted = &policy.perturbations;
    let orders = wanted.localhost != Localhost::Default;
    let cycle = wanted.duty_cycle;
    let refusals = [
        (
            orders && policy.net == Net::Host,
            "choose the address of `localhost` in the host's network",
            "its `/etc/hosts` is the host's; give the test a network of its own",
        ),
        (
            wanted.localhost == Localhost::Ipv6 && !host.has_ipv6,
            "have `localhost` found as `::1` first",
            "this kernel has no IPv6",
        ),
        (
            wanted.process_id.is_some()
                && (policy.init != Init::Reaper || policy.pid != Namespace::New),
            "choose the process id of the test",
            "the test is PID 1 without a reaping init: it takes `--init reaper` and a pid namespace of its own",
        ),
        (
            wanted.umask.is_some_and(|mask| mask > 0o777),
            "set the file mode creation mask",
            "it is 0777 at most",
        ),
        (
            cycle.is_some_and(|it| it.running.is_zero() || it.stopped.is_zero()),
            "stop and continue the test in turn",
            "both times of a duty cycle are longer than 0",
        ),
        (
            wanted.holds.is_some() && policy.guard == Guard::NoListener,
            "hold system calls of the test",
            "it takes a seccomp listener, which `--guard no-listener` leaves to the test",
        ),
        (
            cycle.is_some() && policy.pid == Namespace::Host,
            "stop and continue the test in turn",
            "its processes are found by a pid namespace of its own, which it must have",
        ),
    ];
    let refused = refusals.into_iter().filter(|(refused, ..)| *refused);
    refused.map(|(_, act, hint)| (act, hint)).collect()
}

/// Covers `/etc/hosts` where another address of `localhost` is to be found first.
pub fn show_hosts(steps: &mut Steps, host: &Host, policy: &Policy) {
    let first = policy.perturbations.localhost;
    if first == Localhost::Default {
        return;
    }
    let name = match &policy.uts {
        Uts::Name(name) | Uts::Lab(name) => name,
        Uts::Host => &host.name,
    };
    let hosts = Path::new(SCRATCH).join("hosts");
    steps.file(&hosts, loopback_hosts(name, first).as_bytes(), 0o644, "asked for");
    steps.bind_read_only(&hosts, Path::new("/etc/hosts"), "asked for");
}

/// Lets the next process that is forked, which is the test below its init, have the process id that is
/// asked for: pid_namespaces(7), `ns_last_pid`. Ids go on behind the last one.
pub fn choose_process_id(steps: &mut Steps, policy: &Policy) {
    if let Some(last) = policy.perturbations.process_id.and_then(|id| id.checked_sub(1)) {
        steps.write("/proc/sys/kernel/ns_last_pid", &last.to_string(), "asked for");
    }
}

/// What changes the process itself, and is inherited.
pub fn process(steps: &mut Steps, policy: &Policy) {
    if policy.perturbations.one_processor {
        steps.add("asked for", Op::OneProcessor);
    }
    let uptime = policy.perturbations.uptime;
    if !uptime.is_zero() {
        let (seconds, nanoseconds) = (uptime.as_secs(), uptime.subsec_nanos());
        let line = |clock: &str| format!("{clock} {seconds} {nanoseconds}\n");
        let offsets = (line("monotonic") + &line("boottime")).into_bytes();
        steps.add("asked for", Op::LaterClocks { offsets });
    }
    if policy.perturbations.fixed_addresses {
        steps.add("asked for", Op::FixedAddresses);
    }
}
