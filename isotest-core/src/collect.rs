//! A running case becomes an outcome: its output is kept within bounds, its end is judged.
//!
//! The judge looks at the wait status first and at the harness's own words second; the table of
//! `judge` is all there is to a verdict.

use std::time::{Duration, Instant};

use crate::capture::Captured;
use crate::finding::Finding;
use crate::foreign::{self, Summary};
use crate::harness::{self, HarnessReport};
use crate::outcome::{NotRun, Outcome, Usage, Verdict};
use crate::plan::{HarnessProcess, Op, Plan, VerdictSource};
use crate::sandbox::{End, Exit, Fault, GuardRecord, Packets, describe};

/// Action of isotest on a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// Its deadline had passed.
    TimedOut(Duration),
    /// Its deadline had passed, and it was not killed at once: its stacks were read, or it was
    /// asked to end by SIGTERM.
    Terminated(Duration),
    /// The run was ended.
    Cancelled,
}

/// Output of a case, and the part of it that is from its harness.
#[derive(Debug, Default)]
pub struct CaseOutput {
    /// The output, without what was taken out of it.
    pub output: Captured,
    /// The first words of libtest have been taken out.
    pub begun: bool,
    /// Lines of another harness in libtest's words.
    pub said: foreign::ForeignReport,
}

/// Makes the outcome of a case from its end and what it wrote.
pub fn outcome(
    plan: &Plan,
    mut end: End,
    CaseOutput { mut output, begun, said: foreign }: CaseOutput,
    killed: Option<Killed>,
    started: Instant,
) -> Outcome {
    if let VerdictSource::Libtest { process: HarnessProcess::Wrapped, .. } = plan.verdict_source {
        end.seen.exit = Exit::Unknown;
    }
    let mut said = match &plan.verdict_source {
        VerdictSource::Libtest { name, filtered_out, .. } => {
            end.seen.threads.iter_mut().for_each(|thread| clear_inherited(thread, name));
            harness::strip(&mut output, name, *filtered_out, results(&end))
        }
        VerdictSource::Foreign { .. } | VerdictSource::ExitCode | VerdictSource::Suite { .. } => {
            HarnessReport::default()
        }
    };
    said.begun |= begun;
    let mut verdict = judge(plan, &end, killed, &said);
    if let (VerdictSource::Foreign { .. }, Verdict::Passed) = (&plan.verdict_source, &verdict) {
        verdict = refined(&foreign);
    }
    let was_run = !matches!(verdict, Verdict::NotRun(_));
    let weakened = if was_run { plan.weakened.clone() } else { Vec::new() };
    let mut limits = limits_reached(plan, &end, &output);
    if verdict.is_failure() {
        limits.extend(limits_suspected(plan, &end, &output));
        limits.extend(network_suspected(plan, &end, &output));
        limits.extend(end.seen.io_uring.then_some(Finding::IoUringRefused));
    }
    limits.extend(memory_used(plan, &end));
    Outcome {
        verdict,
        mode: said.report.map(|report| report.mode).unwrap_or_default(),
        reason: match foreign.summary {
            Summary::Ignored(reason) => reason,
            Summary::Run | Summary::Empty | Summary::Missing => None,
        },
        output,
        duration: started.elapsed(),
        services: Vec::new(),
        usage: Usage {
            memory_peak: end.group.and_then(|group| group.memory_peak),
            own_max_rss: end.seen.own_max_rss,
            ..end.usage
        },
        findings: limits.into_iter().chain(observed(*end.seen)).collect(),
        weakened,
        stacks: String::new(),
        trace: end.trace,
        holds: end.holds,
        earlier: Vec::new(),
        attempts: 1,
        quarantine: None,
    }
}

/// Clears the name of a thread that has only that of the test, whose thread has made it: libtest names
/// that thread, of which prctl(2), PR_SET_NAME, keeps 15 bytes.
fn clear_inherited(thread: &mut String, test: &str) {
    let kept = test.as_bytes().get(..15).unwrap_or(test.as_bytes());
    if *thread == String::from_utf8_lossy(kept) {
        thread.clear();
    }
}

/// What the guard has seen.
pub fn observed(seen: GuardRecord) -> Vec<Finding> {
    fn some<T>(list: Vec<T>, finding: fn(Vec<T>) -> Finding) -> Option<Finding> {
        (!list.is_empty()).then(|| finding(list))
    }
    let Packets { unrouted, to_many, to_no_server } = seen.packets;
    let network = match (unrouted, to_many) {
        (0, 0) => None,
        (0, to_many) => Some(Finding::SentToMany(to_many)),
        (unrouted, _) => Some(Finding::NetworkTried(unrouted)),
    };
    // A resolver asks for addresses of both kinds, or again. One packet is something else.
    let resolves = to_no_server > 1 || !seen.names.is_empty();
    let findings = [
        some(seen.leftovers, Finding::ProcessesLeft),
        some(seen.threads, Finding::ThreadsLeft),
        some(seen.objects, Finding::IpcLeft),
        some(seen.listening, Finding::FixedPorts),
        network,
        resolves.then_some(Finding::DnsTried(seen.names, to_no_server)),
    ];
    let discarded = seen.discarded.into_iter().map(Finding::SignalDiscarded);
    findings.into_iter().flatten().chain(discarded).collect()
}

/// Memory of which as many tests as run at once cannot have as much.
fn memory_used(plan: &Plan, end: &End) -> Option<Finding> {
    let peak = end.usage.max_rss.max(end.seen.own_max_rss.unwrap_or(0));
    let share = plan.memory_share.filter(|share| peak > *share)?;
    Some(Finding::MemoryUsed(peak, share))
}

/// The limits of the policy that the case ran into, as far as its end shows.
fn limits_reached(plan: &Plan, end: &End, output: &Captured) -> Vec<Finding> {
    let killed = libc::WIFSIGNALED(end.status) && !end.seen.aborted;
    let used = end.usage.user + end.usage.system;
    // The kernel counts in ticks and is ahead of what wait4(2) tells.
    let is_spent = |limit: Duration| killed && used + limit / 10 >= limit;
    let group = end.group.unwrap_or_default();
    // The thread of a test that has failed has ended when its process does.
    let crowded = |limit| end.seen.held.is_some_and(|held| held.processes + 1 >= limit);
    let is_crowded = || limit_of(plan, libc::RLIMIT_NPROC).is_some_and(crowded);
    let cpu_time = limit_of(plan, libc::RLIMIT_CPU).map(Duration::from_secs);
    let file_size = limit_of(plan, libc::RLIMIT_FSIZE).is_some();
    let is_too_long = killed && libc::WTERMSIG(end.status) == libc::SIGXFSZ;
    let limits = [
        (cpu_time.is_some_and(is_spent), "processor time", "--cpu-time"),
        (file_size && is_too_long, "the size of a file", "--file-size"),
        (output.cut > 0, "output that is kept", "--output-limit"),
        (end.seen.scratch_full, "what a test may write", "--tmp-size"),
        (group.memory_refused > 0, "memory", "--memory"),
        (group.forks_refused > 0 || is_crowded(), "processes and threads", "--processes"),
    ];
    let reached = limits.into_iter().filter(|(reached, ..)| *reached);
    let mut findings: Vec<Finding> =
        reached.map(|(_, what, flag)| Finding::LimitReached(what.into(), flag.into())).collect();
    if end.seen.scratch_lost && plan.write_back.is_some() {
        let cause = "tests, or others, have too many descriptors in flight; run this test again";
        findings.push(Finding::WriteBackFailed(".".into(), cause.to_owned()));
    }
    if group.memory_kills > 0 && group.memory_refused == 0 {
        findings.push(Finding::OutOfMemory(group.memory_kills));
    }
    findings
}

/// Limits whose end is seen by no trace of its own: descriptors are closed and memory is given
/// back before a failed test ends. Only where the kernel's figures allow it, its words are reported.
fn limits_suspected(plan: &Plan, end: &End, output: &Captured) -> Vec<Finding> {
    const FILES: &str = "Too many open files";
    // EFBIG, which is all that PID 1 hears; a child that SIGXFSZ has killed, in the words of a
    // shell and of the standard library.
    const SIZE: [&str; 4] =
        ["File too large", "File size limit exceeded", "SIGXFSZ", "unix_wait_status(25)"];
    // The standard library's, and strerror(3)'s.
    const MEMORY: [&str; 2] = ["memory allocation of", "Cannot allocate memory"];
    let wrote = |words: &&str| output.contains(words);
    let fits = |room: u64, limit: u64| room == 0 || room >= limit;
    let held = end.seen.held.unwrap_or_default();
    let files = limit_of(plan, libc::RLIMIT_NOFILE)
        .filter(|limit| fits(held.descriptor_room, *limit) && wrote(&FILES))
        .map(|limit| (FILES, format!("{limit} open files"), "--open-files"));
    let memory = limit_of(plan, libc::RLIMIT_AS)
        .and_then(|limit| Some((limit, MEMORY.into_iter().find(|words| wrote(words))?)))
        .map(|(limit, words)| {
            let used = match held.address_space {
                0 => String::new(),
                used => format!(", of which it had used {used}"),
            };
            (words, format!("{limit} bytes of address space{used}"), "--address-space")
        });
    let size = limit_of(plan, libc::RLIMIT_FSIZE)
        .and_then(|limit| Some((limit, SIZE.into_iter().find(|words| wrote(words))?)))
        .map(|(limit, words)| (words, format!("{limit} bytes in a file"), "--file-size"));
    let suspected = files.into_iter().chain(memory).chain(size);
    let finding = |(words, limit, flag): (&'static str, String, &'static str)| {
        Finding::LimitSuspected(words.into(), limit, flag.into())
    };
    suspected.map(finding).collect()
}

/// The network, where packets do not tell: the kernel has refused before there were any, or an
/// interface or an address is not there.
fn network_suspected(plan: &Plan, end: &End, output: &Captured) -> Option<Finding> {
    // strerror(3)'s, gai_strerror(3)'s, and the standard library's names of kinds of errors.
    const WORDS: [&str; 10] = [
        "Network is unreachable",
        "NetworkUnreachable",
        "No route to host",
        "HostUnreachable",
        "Temporary failure in name resolution",
        "Name or service not known",
        "failed to lookup address",
        "Cannot assign requested address",
        "AddrNotAvailable",
        "No such device",
    ];
    let is_own = plan.spec.namespaces & libc::CLONE_NEWNET as u64 != 0;
    let is_told = end.seen.packets != Packets::default() || !end.seen.names.is_empty();
    let mut words = WORDS.into_iter().filter(|words| output.contains(words));
    words.next().filter(|_| is_own && !is_told).map(|words| Finding::NetworkSuspected(words.into()))
}

/// The limit that the plan sets for a resource, setrlimit(2).
fn limit_of(plan: &Plan, wanted: u32) -> Option<u64> {
    plan.spec.steps.iter().find_map(|step| match step.op {
        Op::Limit { resource, soft, .. } if resource == wanted => Some(soft),
        _ => None,
    })
}

/// The verdict of a program that nobody has killed, by its wait status alone.
pub fn verdict_of_program(plan: &Plan, end: &End) -> Verdict {
    judge(plan, end, None, &HarnessReport::default())
}

/// Results that libtest can have printed for a test whose process ended so: `true` for passed.
fn results(end: &End) -> &'static [bool] {
    match (libc::WIFEXITED(end.status), end.seen.exit, libc::WEXITSTATUS(end.status)) {
        // What looks like it is what the test has written itself.
        (false, ..) | (true, Exit::Early, _) => &[],
        (true, Exit::Returned | Exit::MainThread | Exit::Unknown, 0) => &[true],
        (true, Exit::Returned | Exit::MainThread | Exit::Unknown, FAILED) => &[false],
        (true, Exit::Returned | Exit::MainThread | Exit::Unknown, _) => &[true, false],
    }
}

/// The verdict.
fn judge(plan: &Plan, end: &End, killed: Option<Killed>, said: &HarnessReport) -> Verdict {
    let exited = libc::WIFEXITED(end.status).then(|| libc::WEXITSTATUS(end.status));
    match (end.fault, killed, exited) {
        // Nothing has refused its set-up.
        (Some(Fault { errno: 0, .. }), Some(Killed::Cancelled), _) => {
            Verdict::NotRun(NotRun::Cancelled)
        }
        (Some(fault), ..) => {
            let program = plan.spec.program.to_string_lossy();
            let directory = plan.spec.directory.to_string_lossy();
            let error = describe(fault, &plan.spec.steps, &program, &directory);
            Verdict::NotRun(NotRun::Sandbox(error))
        }
        (None, Some(Killed::Terminated(limit)), _) => Verdict::TimedOut { limit },
        // It may have ended by itself just before it was killed: its end counts then.
        (None, _, Some(code)) => match &plan.verdict_source {
            VerdictSource::Libtest { .. } => verdict_of_libtest(end.seen.exit, code, said),
            VerdictSource::Foreign { .. }
            | VerdictSource::ExitCode
            | VerdictSource::Suite { .. } => match code {
                0 => Verdict::Passed,
                code => Verdict::Failed { code },
            },
        },
        (None, Some(Killed::TimedOut(limit)), None) => Verdict::TimedOut { limit },
        (None, Some(Killed::Cancelled), None) => Verdict::NotRun(NotRun::Cancelled),
        (None, None, None) if end.seen.aborted => Verdict::Signalled { signal: libc::SIGABRT },
        (None, None, None) => Verdict::Signalled { signal: libc::WTERMSIG(end.status) },
    }
}

/// libtest's exit code where a test has failed.
const FAILED: i32 = 101;

/// The verdict of a test that has exited, with libtest around it. What is known of how it came to
/// exit is certain; where that is not known, libtest's own words decide.
fn verdict_of_libtest(exit: Exit, code: i32, said: &HarnessReport) -> Verdict {
    let passed = said.report.as_ref().map(|report| report.passed);
    match (exit, code, passed) {
        (Exit::Early, code, _) => Verdict::ExitedEarly { code },
        // Without its first words libtest may have run nothing at all.
        (Exit::Returned, 0, _) if said.begun => Verdict::Passed,
        (Exit::Returned | Exit::MainThread | Exit::Unknown, 0, Some(true)) => Verdict::Passed,
        (Exit::Returned | Exit::MainThread | Exit::Unknown, 0, _) => Verdict::ExitedEarly { code },
        (Exit::Returned | Exit::MainThread, code @ FAILED, _) if said.begun => {
            Verdict::Failed { code }
        }
        // With another code than libtest's a runtime ends that has checked something at last.
        (_, code, Some(_)) => Verdict::Failed { code },
        (_, code, None) => Verdict::ExitedEarly { code },
    }
}

/// The verdict of a test whose harness, which is not libtest, has exited with 0.
fn refined(said: &foreign::ForeignReport) -> Verdict {
    match (said.running, &said.summary) {
        (_, Summary::Ignored(_)) => Verdict::Ignored,
        (Some(0), Summary::Empty | Summary::Missing) | (None, Summary::Empty) => {
            Verdict::NothingRun
        }
        (Some(1), Summary::Missing) => Verdict::ExitedEarly { code: 0 },
        (_, Summary::Run | Summary::Empty | Summary::Missing) => Verdict::Passed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Report;
    use crate::outcome::Usage;
    use crate::perturbation::Perturbations;
    use crate::plan::{SandboxSpec, ScratchMount, StartBy};

    /// The end of a case that was killed at the first step of its set-up.
    fn killed_in_set_up(errno: i32) -> End {
        End {
            case: 0,
            status: libc::SIGKILL,
            usage: Usage::default(),
            fault: Some(Fault { step: 0, errno }),
            seen: Box::new(GuardRecord::default()),
            group: None,
            traced: false,
            trace: None,
            holds: Vec::new(),
        }
    }

    #[test]
    fn a_case_that_is_cancelled_while_it_is_set_up_was_refused_nothing() {
        let spec = SandboxSpec {
            program: c"/bin/true".to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: c"/".to_owned(),
            steps: Vec::new(),
            namespaces: 0,
            shared_namespaces: 0,
            sealed: false,
            reaper: false,
            id_maps: None,
            scratch: ScratchMount::Disk,
            group: Default::default(),
            start_by: StartBy::ForkServer,
            server: Vec::new(),
            interposed: None,
            services: Vec::new(),
            perturbations: Perturbations::default(),
        };
        let plan = Plan::of(spec.into());
        let verdict = |errno, killed| {
            judge(&plan, &killed_in_set_up(errno), killed, &HarnessReport::default())
        };
        let cancelled = Verdict::NotRun(NotRun::Cancelled);
        assert_eq!(verdict(0, Some(Killed::Cancelled)), cancelled);
        assert_ne!(verdict(0, None), cancelled);
        assert_ne!(verdict(libc::EPERM, Some(Killed::Cancelled)), cancelled);
    }

    #[test]
    fn how_the_process_exits_is_asked_before_what_was_written() {
        let verdict = |exit, code, passed: Option<bool>| {
            let report = passed.map(|passed| Report { passed, mode: String::new() });
            verdict_of_libtest(exit, code, &HarnessReport { begun: true, report })
        };
        for passed in [None, Some(true), Some(false)] {
            assert_eq!(verdict(Exit::Returned, 0, passed), Verdict::Passed);
            assert_eq!(verdict(Exit::Early, 0, passed), Verdict::ExitedEarly { code: 0 });
            assert_eq!(verdict(Exit::Early, 101, passed), Verdict::ExitedEarly { code: 101 });
            assert_eq!(verdict(Exit::MainThread, 101, passed), Verdict::Failed { code: 101 });
        }
        for exit in [Exit::MainThread, Exit::Unknown] {
            assert_eq!(verdict(exit, 0, Some(true)), Verdict::Passed);
            assert_eq!(verdict(exit, 0, Some(false)), Verdict::ExitedEarly { code: 0 });
            assert_eq!(verdict(exit, 0, None), Verdict::ExitedEarly { code: 0 });
            assert_eq!(verdict(exit, 23, Some(true)), Verdict::Failed { code: 23 });
            assert_eq!(verdict(exit, 23, None), Verdict::ExitedEarly { code: 23 });
        }
        assert_eq!(verdict(Exit::Unknown, 101, Some(false)), Verdict::Failed { code: 101 });
        assert_eq!(verdict(Exit::Unknown, 101, None), Verdict::ExitedEarly { code: 101 });
    }

    #[test]
    fn libtest_that_has_run_nothing_has_passed_nothing() {
        let nothing = HarnessReport::default();
        let verdict = |exit, code| verdict_of_libtest(exit, code, &nothing);
        assert_eq!(verdict(Exit::Returned, 0), Verdict::ExitedEarly { code: 0 });
        assert_eq!(verdict(Exit::MainThread, 101), Verdict::ExitedEarly { code: 101 });
    }
}
