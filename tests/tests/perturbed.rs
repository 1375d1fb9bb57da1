//! Perturbations: each takes effect in its case, and the next case of the same warden has none of it.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Read, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use isotest_core::host::Host;
use isotest_core::perturbation::{
    DutyCycle, HeldCalls, Hold, Holds, Localhost, Perturbations, Stdin, Time,
};
use isotest_core::plan::{CommandSpec, Project, SandboxSpec, StartBy, sandbox_spec, template};
use isotest_core::policy::{Guard, Init, Net, Policy};
use isotest_core::sandbox::{End, Notice, Start, Warden, describe};
use isotest_core::trace::{Act, ProcessProperty};
use isotest_tests::processes::{Process, read, status};
use isotest_tests::{refused, skipped, until};

/// Way in which a case is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Server,
    Exec,
}

/// One warden, for cases of several policies.
struct Arms {
    host: Host,
    warden: Warden,
    next: u64,
    /// Seed of the next cases.
    seed: u64,
}

/// A case in flight.
struct Running {
    spec: Arc<SandboxSpec>,
    output: PipeReader,
}

impl Arms {
    fn new() -> Arms {
        Arms::of(&Policy::default())
    }

    /// One that is started with this policy.
    fn of(policy: &Policy) -> Arms {
        let host = Host::read(Path::new("/")).expect("the machine can be looked at");
        let mut warden = Warden::start(&host, policy).expect("a warden starts");
        let template = template(&host, &Project::default(), policy);
        warden.build(&template, None).expect("the template can be built");
        Arms { host, warden, next: 1, seed: 0 }
    }

    /// Starts a script of sh(1).
    fn start(&mut self, policy: &Policy, by: By, script: &str) -> Running {
        let c_string = |text: &str| CString::new(text).expect("it has no NUL byte");
        let command = CommandSpec {
            program: c"/bin/sh".to_owned(),
            arguments: ["sh", "-c", script].map(c_string).to_vec(),
            environment: ["PATH=/usr/bin:/bin", "A=a"].map(c_string).to_vec(),
            directory: c"/".to_owned(),
            start_by: StartBy::ForkServer,
        };
        let spec = Arc::new(sandbox_spec(&self.host, &Project::default(), policy, command));
        let served = (by == By::Server).then_some(2);
        self.warden.prepare(&spec, served).expect("the warden is alive");
        let (output, write) = pipe().expect("a pipe");
        let start = Start {
            case: self.next,
            setup: 0,
            arguments: vec![],
            environment: vec![],
            terminal: false,
            seed: self.seed,
        };
        self.next += 1;
        let sent = self.warden.spawn(&spec, start, &[write.as_fd(), write.as_fd()]);
        sent.expect("the warden is alive");
        Running { spec, output }
    }

    fn end(&mut self) -> End {
        match self.warden.notice(true) {
            Some(Notice::Ended(end, _)) => end,
            other => panic!("{other:?}"),
        }
    }

    /// Runs a script to its end, and returns what it wrote.
    #[track_caller]
    fn output(&mut self, policy: &Policy, by: By, script: &str) -> String {
        let Running { spec, mut output } = self.start(policy, by, script);
        let end = self.end();
        if let Some(fault) = end.fault {
            panic!("{}", describe(fault, &spec.steps, "sh", "/"));
        }
        let mut text = String::new();
        output.read_to_string(&mut text).expect("it is text");
        text
    }

    /// The id of PID 1 of the case that was started last, and that of the warden.
    fn leader(&mut self) -> (i32, i32) {
        until("a case that was cloned", || {
            let found = self.warden.find(self.next - 1)?;
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", found.as_raw_fd()));
            let info = info.expect("it is there");
            let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
            let pid = pid.trim().parse().expect("a number");
            Some((pid, status(pid, "PPid")? as i32))
        })
    }

    /// The words for what keeps a case from being set up.
    #[track_caller]
    fn refusal(&mut self, policy: &Policy) -> String {
        let Running { spec, .. } = self.start(policy, By::Exec, "echo");
        let fault = self.end().fault.expect("it is refused");
        describe(fault, &spec.steps, "sh", "/").to_string()
    }
}

/// The living children of a process.
fn children(process: i32) -> Vec<Process> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace().filter_map(|id| read(Path::new("/proc").join(id))).collect()
}

/// The competitors that a warden has started.
fn rivals(warden: i32) -> Vec<Process> {
    children(warden).into_iter().filter(|child| child.name == "isotest-rival").collect()
}

/// The one of them, once it has its name.
#[track_caller]
fn rival(warden: i32) -> Process {
    let rival = until("a competitor", || rivals(warden).pop());
    assert_eq!(rivals(warden).len(), 1);
    rival
}

fn with(perturbations: Perturbations) -> Policy {
    Policy { perturbations, ..Policy::default() }
}

/// Checks what a script writes, with perturbations and without, for each way of starting a case.
#[track_caller]
fn check(perturbations: &Perturbations, script: &str, [perturbed, plain]: [&str; 2]) {
    if refused() {
        return;
    }
    let mut arms = Arms::new();
    for by in [By::Server, By::Exec] {
        for init in [Init::None, Init::Reaper] {
            let policy = |perturbations| Policy { init, ..with(perturbations) };
            let text = arms.output(&policy(perturbations.clone()), by, script);
            assert_eq!(text, perturbed, "{by:?} {init:?}");
            let text = arms.output(&policy(Perturbations::default()), by, script);
            assert_eq!(text, plain, "{by:?} {init:?}");
        }
    }
}

/// Without this the checks of fork servers would check nothing.
#[test]
fn a_script_can_be_started_by_a_fork_server() {
    if refused() {
        return;
    }
    let mut arms = Arms::new();
    // `PF_FORKNOEXEC` of linux/sched.h.
    let script = "read -r _ _ _ _ _ _ _ _ flags _ < /proc/self/stat; echo $((flags & 64))";
    assert_eq!(arms.output(&Policy::default(), By::Server, script), "64\n");
    assert_eq!(arms.output(&Policy::default(), By::Exec, script), "0\n");
}

#[test]
fn a_test_has_another_umask() {
    let perturbations = Perturbations { umask: Some(0o077), ..Perturbations::default() };
    check(&perturbations, "umask", ["0077\n", "0022\n"]);
}

#[test]
fn a_test_has_one_processor_and_cases_at_once_have_different_ones() {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let perturbations = Perturbations { one_processor: true, ..Perturbations::default() };
    check(&perturbations, "nproc", ["1\n", &format!("{all}\n")]);
    if refused() {
        return;
    }
    let (mut arms, policy) = (Arms::new(), with(perturbations));
    let script = "grep Cpus_allowed_list: /proc/self/status; read line < /dev/null; sleep 1000";
    let mut seen = Vec::new();
    for _ in 0..all {
        let mut running = arms.start(&policy, By::Exec, script);
        let mut line = [0; 64];
        let length = running.output.read(&mut line).expect("it writes");
        seen.push(String::from_utf8_lossy(&line[..length]).into_owned());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all, "{seen:?}");
}

/// The addresses of the program, its libraries, heap and stack.
#[test]
fn addresses_are_the_same_in_every_case() {
    if refused() {
        return;
    }
    let mut arms = Arms::new();
    let script =
        "while read -r line; do echo $line; done < /proc/self/maps; exec cat /proc/self/maps";
    let addresses = |text: String| {
        let lines = text.lines().filter(|line| line.ends_with(']') || line.contains("/lib"));
        let addresses = lines.filter_map(|line| line.split(' ').next());
        addresses.map(str::to_owned).collect::<Vec<_>>()
    };
    let fixed = with(Perturbations { fixed_addresses: true, ..Perturbations::default() });
    for by in [By::Server, By::Exec] {
        // Each has a set-up, and with it a server, of its own.
        let [first, second] = [(); 2].map(|()| addresses(arms.output(&fixed, by, script)));
        assert!(first.len() > 5, "{first:?}");
        assert_eq!(first, second, "{by:?}");
        let [first, second] =
            [(); 2].map(|()| addresses(arms.output(&Policy::default(), by, script)));
        assert_ne!(first, second, "{by:?}");
    }
}

#[test]
fn the_address_of_localhost_that_is_found_first() {
    if refused() {
        return;
    }
    if !Path::new("/proc/net/if_inet6").exists() {
        return skipped("this kernel has no IPv6");
    }
    let script = "getent ahosts localhost | cut -d' ' -f1 | uniq | head -1; head -1 /etc/hosts";
    for (localhost, found) in [
        (Localhost::Ipv4, "127.0.0.1\n127.0.0.1 localhost isotest\n"),
        (Localhost::Ipv6, "::1\n::1 localhost ip6-localhost ip6-loopback isotest\n"),
    ] {
        let perturbations = Perturbations { localhost, ..Perturbations::default() };
        check(&perturbations, script, [found, "::1\n127.0.0.1 localhost isotest\n"]);
    }
    let perturbations = Perturbations { localhost: Localhost::Ipv4, ..Perturbations::default() };
    let policy = Policy { net: Net::Host, ..with(perturbations) };
    let error = Arms::new().refusal(&policy);
    assert!(error.starts_with("cannot choose the address of `localhost` in the host's network: "));
    assert!(
        error.ends_with(
            "\nhint: its `/etc/hosts` is the host's; give the test a network of its own"
        )
    );
}

#[test]
fn standard_input_is_a_terminal_at_which_nobody_types() {
    let perturbations = Perturbations { stdin: Stdin::Terminal, ..Perturbations::default() };
    // A terminal that has hung up is none: TCGETS gives EIO.
    let script = "tty; stty -a 2>&1 | grep -c baud; for fd in /proc/self/fd/*; do [ -e $fd ] && echo ${fd##*/}; done";
    check(&perturbations, script, ["/dev/pts/0\n1\n0\n1\n2\n", "not a tty\n0\n0\n1\n2\n"]);
}

#[test]
fn a_terminal_that_a_test_executes_does_not_become_that_of_the_warden() {
    if refused() {
        return;
    }
    let perturbations = Perturbations { stdin: Stdin::Terminal, ..Perturbations::default() };
    // A library is preloaded, so that the warden looks at what is executed.
    let time = Time { is_frozen: true, ..Time::default() };
    let policy = Policy { time, ..with(perturbations) };
    let mut arms = Arms::of(&policy);
    let script = "exec 2>&1; $(tty); echo executed; sleep 1000";
    let running = arms.start(&policy, By::Exec, script);
    let lines = BufReader::new(running.output).lines().map(|line| line.expect("it is text"));
    let told: Vec<String> = lines.take_while(|line| line != "executed").collect();
    assert!(told.iter().any(|line| line.contains("/dev/pts/0")), "{told:?}");
    let (_, warden) = arms.leader();
    // proc_pid_stat(5): the seventh field is the controlling terminal, the fourth behind the name.
    let stat = fs::read_to_string(format!("/proc/{warden}/stat")).expect("it lives");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let terminal = fields.split_whitespace().nth(4).expect("it has seven fields");
    assert_eq!(terminal, "0", "{stat}");
}

#[test]
fn values_that_the_kernel_does_not_have_are_refused() {
    if refused() {
        return;
    }
    let mut arms = Arms::new();
    let umask = Perturbations { umask: Some(0o1000), ..Perturbations::default() };
    let error = arms.refusal(&with(umask));
    assert!(error.contains("cannot set the file mode creation mask: "), "{error}");
    assert!(error.contains("\nhint: it is 0777 at most"), "{error}");
}

/// 0.5 ms of every 30.5 ms.
fn duty_cycled() -> Perturbations {
    let (running, stopped) = (Duration::from_micros(500), Duration::from_millis(30));
    Perturbations { duty_cycle: Some(DutyCycle { running, stopped }), ..Perturbations::default() }
}

/// A script that is let go on counts it: the loops end only where somebody does.
#[test]
fn a_test_and_its_children_are_stopped_and_continued() {
    let count = "n=0; trap 'n=$((n+1))' CONT; i=0; while [ $n -lt 3 ] && [ $i -lt 300000 ]; \
                 do i=$((i+1)); done; echo $((n >= 3))";
    check(&duty_cycled(), count, ["1\n", "0\n"]);
    check(&duty_cycled(), &format!("({count}) & wait $!; {count}"), ["1\n1\n", "0\n0\n"]);
}

#[test]
fn a_test_that_is_stopped_can_be_killed() {
    if refused() {
        return;
    }
    let mut arms = Arms::new();
    let stopped = Duration::from_secs(1000);
    let cycle = DutyCycle { running: Duration::from_millis(1), stopped };
    let policy = with(Perturbations { duty_cycle: Some(cycle), ..Perturbations::default() });
    for by in [By::Exec, By::Server] {
        let running = arms.start(&policy, by, "while :; do :; done & while :; do :; done");
        let (leader, _) = arms.leader();
        until("all processes of the case to be stopped", || {
            let family = children(leader).into_iter().chain(read(format!("/proc/{leader}").into()));
            let states: Vec<char> = family.map(|process| process.state).collect();
            states.iter().all(|state| *state == 'T').then_some(())
        });
        arms.warden.kill(arms.next - 1);
        assert_eq!(arms.end().status, libc::SIGKILL, "{by:?}");
        drop(running);
    }
    // One that ends by itself leaves nothing behind that is no more than stopped.
    let end = |arms: &mut Arms| {
        let running = arms.start(&with(duty_cycled()), By::Exec, "echo $(echo a | cat)");
        let end = arms.end();
        drop(running);
        end
    };
    for _ in 0..20 {
        let end = end(&mut arms);
        assert_eq!((end.status, end.seen.leftovers), (0, vec![]));
    }
}

#[test]
fn duty_cycles_that_cannot_be_are_refused() {
    if refused() {
        return;
    }
    let never = DutyCycle { running: Duration::ZERO, stopped: Duration::from_millis(1) };
    let policy = with(Perturbations { duty_cycle: Some(never), ..Perturbations::default() });
    let error = Arms::new().refusal(&policy);
    assert!(error.starts_with("cannot stop and continue the test in turn: "), "{error}");
    assert!(error.ends_with("hint: both times of a duty cycle are longer than 0"), "{error}");
}

/// It is none of the processes that the case sees, and it is gone with it.
#[test]
fn a_competitor_runs_on_the_processor_of_its_case() {
    if refused() {
        return;
    }
    let mut arms = Arms::new();
    let perturbations =
        Perturbations { competitor: true, one_processor: true, ..Perturbations::default() };
    let script = "set -- /proc/[0-9]*; echo $#; while :; do :; done";
    for by in [By::Exec, By::Server] {
        let mut running = arms.start(&with(perturbations.clone()), by, script);
        let mut line = [0; 2];
        running.output.read_exact(&mut line).expect("it writes");
        assert_eq!(&line, b"1\n");
        let (case, warden) = arms.leader();
        let rival = rival(warden);
        let processors = |pid: i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            status.lines().find(|line| line.starts_with("Cpus_allowed:")).map(str::to_owned)
        };
        until("a rival that has its processor", || {
            (processors(rival.pid) == processors(case)).then_some(())
        });
        arms.warden.kill(arms.next - 1);
        arms.end();
        until("the end of the competitor", || rivals(warden).is_empty().then_some(()));
    }
    let _running = arms.start(&with(perturbations), By::Exec, script);
    let (_, warden) = arms.leader();
    let rival = rival(warden);
    drop(arms);
    let left = || read(format!("/proc/{}", rival.pid).into()).is_none_or(|it| it.state == 'Z');
    assert!(left(), "it is left behind by its warden");
}

fn holding(holds: Holds) -> Policy {
    with(Perturbations { holds: Some(holds), ..Perturbations::default() })
}

/// Runs a script to its end, and returns what it wrote and the calls that waited.
#[track_caller]
fn held(arms: &mut Arms, policy: &Policy, script: &str) -> (String, Vec<Hold>) {
    let Running { spec, mut output } = arms.start(policy, By::Exec, script);
    let end = arms.end();
    if let Some(fault) = end.fault {
        panic!("{}", describe(fault, &spec.steps, "sh", "/"));
    }
    let mut text = String::new();
    output.read_to_string(&mut text).expect("it is text");
    (text, end.holds)
}

/// What a hold is, without its place.
fn short(holds: &[Hold]) -> Vec<(u32, u32, String, Duration)> {
    holds.iter().map(|it| (it.thread, it.number, it.call.clone(), it.held)).collect()
}

/// The parent writes while its child, which would write first, is on its way to its program.
#[test]
fn the_time_between_fork_and_exec_can_be_stretched() {
    if refused() {
        return;
    }
    let held_for = Duration::from_millis(1500);
    let policy = holding(Holds::Each(vec![HeldCalls::Execute], held_for));
    let mut arms = Arms::of(&policy);
    let script =
        "/bin/echo child & i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; echo parent; wait";
    for init in [Init::None, Init::Reaper] {
        let (text, holds) = held(&mut arms, &Policy { init, ..policy.clone() }, script);
        assert_eq!(text, "parent\nchild\n", "{init:?}");
        let [hold] = &holds[..] else { panic!("{holds:?}") };
        assert_eq!((&*hold.call, hold.held), ("execve", held_for));
        assert_eq!((&*hold.thread_name, hold.thread), ("sh", 1));
        // The shell's own code, and that of its C library.
        let files: Vec<&str> = hold.code.iter().map(|place| &*place.file).collect();
        assert!(files.len() > 1 && files[0].contains("libc"), "{files:?}");
        assert!(files[1..].iter().all(|file| file.ends_with("/dash")), "{files:?}");
        // It is undone in the next case of the same warden.
        let plain = Policy { init, ..Policy::default() };
        assert_eq!(held(&mut arms, &plain, script).1, []);
    }
}

/// Calls of several threads wait at once: what each waits for is more than the time of all.
#[test]
fn many_calls_wait_at_once_and_others_go_on() {
    if refused() {
        return;
    }
    let held_for = Duration::from_millis(400);
    let policy = holding(Holds::Each(vec![HeldCalls::Sleep], held_for));
    let mut arms = Arms::of(&policy);
    let script =
        "for i in 1 2 3 4 5 6 7 8; do sleep 0.01 & done; cat /etc/hostname; wait; echo end";
    let begun = std::time::Instant::now();
    let (text, holds) = held(&mut arms, &policy, script);
    let took = begun.elapsed();
    assert_eq!((&*text, holds.len()), ("isotest\nend\n", 8));
    assert!(took >= held_for, "{took:?}");
    assert!(holds.iter().all(|hold| hold.call == "clock_nanosleep"), "{holds:?}");
    let mut threads: Vec<u32> = holds.iter().map(|hold| hold.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    assert_eq!(threads.len(), 8);
}

#[test]
fn a_starved_run_can_be_made_again_by_its_seed_and_by_its_log() {
    if refused() {
        return;
    }
    let policy = holding(Holds::Starvation);
    let mut arms = Arms::of(&policy);
    // One thread: its calls are the same each time.
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do read line < /etc/hostname; done; echo $line";
    let mut kinds = [0, 0];
    for seed in 0..12 {
        arms.seed = seed;
        let (text, holds) = held(&mut arms, &policy, script);
        assert_eq!(text, "isotest\n");
        kinds[usize::from(!holds.is_empty())] += 1;
        let (_, again) = held(&mut arms, &policy, script);
        assert_eq!(short(&again), short(&holds), "{seed}");
        if holds.is_empty() {
            continue;
        }
        arms.seed = 99;
        // Half of them: a diagnosis looks for the smallest set that matters.
        let half = holds[..holds.len().div_ceil(2)].to_vec();
        let (_, replayed) = held(&mut arms, &holding(Holds::Replay(half.clone())), script);
        assert_eq!(short(&replayed), short(&half), "{seed}");
    }
    // By the choices of these seeds, which never change.
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

#[test]
fn a_case_whose_calls_wait_can_be_killed_and_exits_at_once() {
    if refused() {
        return;
    }
    let policy = holding(Holds::Each(vec![HeldCalls::Sleep], Duration::from_secs(3000)));
    let mut arms = Arms::of(&policy);
    for init in [Init::None, Init::Reaper] {
        let policy = Policy { init, ..policy.clone() };
        let mut running = arms.start(&policy, By::Exec, "echo begun; sleep 1000 & sleep 1000");
        running.output.read_exact(&mut [0; 6]).expect("it writes");
        arms.warden.kill(arms.next - 1);
        let end = arms.end();
        assert_eq!((end.status, end.fault), (libc::SIGKILL, None));
        let (text, holds) = held(&mut arms, &policy, "sleep 1000 & echo $(echo end)");
        assert_eq!(text, "end\n");
        assert!(holds.len() < 2, "{holds:?}");
    }
}

#[test]
fn holds_and_a_trace_go_together() {
    if refused() {
        return;
    }
    let held_for = Duration::from_millis(2);
    let holds = Holds::Each(vec![HeldCalls::File], held_for);
    let policy = Policy { trace: true, ..holding(holds) };
    let mut arms = Arms::of(&policy);
    let running = arms.start(&policy, By::Exec, "cat /etc/hostname");
    let end = arms.end();
    drop(running);
    let trace = end.trace.expect("it is traced");
    assert!(format!("{trace:?}").contains("/etc/hostname"), "{trace:?}");
    assert!(end.holds.iter().any(|hold| hold.call == "openat"), "{:?}", end.holds);
    // Without a trace there is none.
    let policy = holding(Holds::Starvation);
    let mut arms = Arms::of(&policy);
    let running = arms.start(&policy, By::Exec, "cat /etc/hostname");
    assert_eq!(arms.end().trace, None);
    drop(running);
}

#[test]
fn what_follows_a_change_of_the_process_waits_and_nothing_else() {
    if refused() {
        return;
    }
    let policy = holding(Holds::AfterChanges(Duration::from_millis(1)));
    let mut arms = Arms::of(&policy);
    let changes =
        "i=0; while [ $i -lt 40 ]; do cd /tmp; read line < /etc/hostname; i=$((i+1)); done";
    let mut reads_held = |script: &str| {
        let (_, holds) = held(&mut arms, &policy, script);
        holds.iter().filter(|hold| hold.call == "openat").count()
    };
    // By the choices of this seed, which never change; a half of 40 are 20.
    assert!((8..=32).contains(&reads_held(changes)));
    // The shell asks for its directory when it starts.
    assert!(reads_held(&changes.replace("cd /tmp", ":")) <= 1);
}

#[test]
fn variables_that_programs_read_and_change_are_told_where_that_is_asked_for() {
    if refused() {
        return;
    }
    for told_variables in [true, false] {
        let perturbations = Perturbations { told_variables, ..Perturbations::default() };
        let policy = Policy { trace: true, ..with(perturbations) };
        let mut arms = Arms::of(&policy);
        let running = arms.start(&policy, By::Exec, "env APP_HOME=/srv ls /etc/hostname");
        let trace = arms.end().trace.expect("it is traced");
        drop(running);
        let changed = Act::ProcessChanged(ProcessProperty::Variable("APP_HOME".to_owned()));
        let read = Act::VariableRead { name: "QUOTING_STYLE".to_owned() };
        for act in [changed, read] {
            let is_told = trace.events.iter().any(|event| event.act == act);
            assert_eq!(is_told, told_variables, "{act:?} {trace:?}");
        }
    }
}

#[test]
fn holds_that_cannot_be_are_refused() {
    if refused() {
        return;
    }
    let policy = Policy { guard: Guard::NoListener, ..holding(Holds::Starvation) };
    let error = Arms::of(&policy).refusal(&policy);
    assert!(error.starts_with("cannot hold system calls of the test: "), "{error}");
    assert!(
        error.contains("hint: it takes a seccomp listener, which `--guard no-listener` leaves")
    );
    // The warden of other cases has a listener of its own.
    let error = Arms::new().refusal(&holding(Holds::Starvation));
    assert!(error.starts_with("cannot trace the test's system calls: "), "{error}");
    assert!(error.contains("hint: no case of this warden has a tracer; start one with a policy"));
}

#[test]
fn the_clocks_since_boot_are_later() {
    let uptime = Duration::from_secs(400 * 86400);
    let perturbations = Perturbations { uptime, ..Perturbations::default() };
    // Nobody's machine is up for 300 days and runs this.
    let script = "read -r up _ < /proc/uptime; echo $((${up%.*} > 300 * 86400))";
    check(&perturbations, script, ["1\n", "0\n"]);
}

#[test]
fn a_process_id_is_that_of_the_test_below_its_init() {
    if refused() {
        return;
    }
    let mut arms = Arms::new();
    for by in [By::Server, By::Exec] {
        let policy = |perturbations| Policy { init: Init::Reaper, ..with(perturbations) };
        let chosen = Perturbations { process_id: Some(777), ..Perturbations::default() };
        assert_eq!(arms.output(&policy(chosen), by, "echo $$"), "777\n", "{by:?}");
        let plain = policy(Perturbations::default());
        assert_eq!(arms.output(&plain, by, "echo $$"), "2\n", "{by:?}");
    }
}

#[test]
fn a_process_id_takes_a_reaping_init() {
    if refused() {
        return;
    }
    let policy = with(Perturbations { process_id: Some(77), ..Perturbations::default() });
    let error = Arms::new().refusal(&policy);
    assert!(error.starts_with("cannot choose the process id of the test: "), "{error}");
}
