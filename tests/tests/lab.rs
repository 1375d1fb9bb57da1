//! Labs: what the cases of a warden share with each other and not with the host.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use isotest_core::case::CaseIndex;
use isotest_core::host::Host;
use isotest_core::outcome::{NotRun, Verdict};
use isotest_core::plan::{
    self, Access, CommandSpec, Exposure, Plan, Project, SandboxSpec, StartBy,
};
use isotest_core::policy::{
    Directory, Init, Namespace, Net, Policy, Scratch, User, Uts, Workspace,
};
use isotest_core::sandbox::{Disk, End, Notice, Start, Warden};
use isotest_core::schedule::{self, BACKLOG, Event, Interruption, Job, LabRuns, Options};
use isotest_core::signals::Signals;
use isotest_tests::refused;
use tempfile::TempDir;

const COMPANION: &str = env!("CARGO_BIN_EXE_companion");

/// A layer that may be a lab's, and the things that companions have in common then.
struct Shared {
    things: &'static [&'static str],
    share: fn(&mut Policy),
}

const SHARED: [Shared; 6] = [
    Shared { things: &["port", "abstract-socket"], share: |policy| policy.net = Net::Lab },
    Shared {
        things: &["shm", "queue", "shared-memory"],
        share: |policy| policy.ipc = Namespace::Lab,
    },
    Shared { things: &["process"], share: |policy| policy.pid = Namespace::Lab },
    Shared { things: &["tmp", "var-tmp", "run"], share: |policy| policy.tmp = Directory::Lab },
    Shared { things: &["home"], share: |policy| policy.home = Directory::Lab },
    Shared { things: &["workspace"], share: |policy| policy.workspace = Workspace::Lab },
];

/// A policy with the lab's value in all layers but those of this place among [`SHARED`].
fn sharing_all_but(private: Option<usize>) -> Policy {
    let mut policy = Policy::default();
    for (_, shared) in SHARED.iter().enumerate().filter(|(place, _)| Some(*place) != private) {
        (shared.share)(&mut policy);
    }
    policy
}

/// Directories of a host that cases see.
struct Places {
    home: TempDir,
    workspace: TempDir,
}

impl Places {
    fn new() -> Places {
        // Not below the sandbox's own /tmp.
        let make = || TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("it is writable");
        Places { home: make(), workspace: make() }
    }

    fn project(&self) -> Project {
        let exposure = |path: &Path, directory, access| Exposure {
            path: path.canonicalize().expect("it is there"),
            directory,
            access,
            what: "for the test".to_owned(),
            propagation: Default::default(),
        };
        Project {
            exposures: vec![
                exposure(self.workspace.path(), true, Access::Workspace),
                exposure(Path::new(COMPANION), false, Access::ReadOnly),
            ],
            home: Some(self.home.path().canonicalize().expect("it is there")),
            ..Project::default()
        }
    }
}

/// A warden with a lab.
struct Lab {
    host: Host,
    project: Project,
    policy: Policy,
    warden: Warden,
    started: u64,
}

/// A case in flight.
struct Running {
    case: u64,
    stdin: Option<PipeWriter>,
    stdout: PipeReader,
}

impl Lab {
    fn new(places: &Places, policy: Policy) -> Lab {
        Lab::with_disk(places, policy, None)
    }

    fn with_disk(places: &Places, policy: Policy, disk: Option<(&Path, Disk)>) -> Lab {
        let host = Host::read(Path::new("/")).expect("the machine can be looked at");
        let (path, disk) = disk.unzip();
        let project = Project { scratch: path.map(Path::to_owned), ..places.project() };
        let mut warden = Warden::start(&host, &policy).expect("a warden starts");
        let template = plan::template(&host, &project, &policy);
        warden.build(&template, disk).expect("the template and the lab are made");
        Lab { host, project, policy, warden, started: 0 }
    }

    fn spec(&self, words: &[&str], start_by: StartBy) -> Arc<SandboxSpec> {
        let companion = Path::new(COMPANION).canonicalize().expect("it is there");
        self.set_up(companion.as_os_str(), words, start_by)
    }

    fn spec_of(&self, program: &str, words: &[&str]) -> Arc<SandboxSpec> {
        self.set_up(program.as_ref(), words, StartBy::Exec("one command"))
    }

    fn set_up(&self, program: &OsStr, words: &[&str], start_by: StartBy) -> Arc<SandboxSpec> {
        let text = |text: &OsStr| CString::new(text.as_encoded_bytes()).expect("no NUL byte");
        let workspace = self.project.exposures.first().expect("it is the first");
        let home = self.project.home.as_ref().expect("it is set");
        let words = words.iter().map(|word| text(word.as_ref()));
        let command = CommandSpec {
            program: text(program),
            arguments: [text(program)].into_iter().chain(words).collect(),
            environment: vec![
                text(format!("HOME={}", home.display()).as_ref()),
                c"PATH=/usr/bin:/bin".to_owned(),
            ],
            directory: text(workspace.path.as_os_str()),
            start_by,
        };
        Arc::new(plan::sandbox_spec(&self.host, &self.project, &self.policy, command))
    }

    fn start(&mut self, spec: &Arc<SandboxSpec>) -> Running {
        let (stdin, ours) = pipe().expect("a pipe can be made");
        let (stdout, theirs) = pipe().expect("a pipe can be made");
        self.started += 1;
        let start = Start::of(&Plan::of(Arc::clone(spec)), self.started);
        let stdio = [stdin.as_fd(), theirs.as_fd(), theirs.as_fd()];
        self.warden.spawn(spec, start, &stdio).expect("the warden listens");
        Running { case: self.started, stdin: Some(ours), stdout }
    }

    /// The end of a case, and what is left of its output.
    fn end(&mut self, mut running: Running) -> (End, String) {
        drop(running.stdin.take());
        let mut text = String::new();
        running.stdout.read_to_string(&mut text).expect("it is text");
        loop {
            match self.warden.notice(true) {
                Some(Notice::Ended(end, _)) if end.case == running.case => return (end, text),
                Some(Notice::Ended(..)) => {}
                other => panic!("the warden has ended: {other:?}"),
            }
        }
    }

    fn end_of(&mut self, words: &[&str]) -> (End, String) {
        let spec = self.spec(words, StartBy::Exec("one command"));
        let running = self.start(&spec);
        self.end(running)
    }

    #[track_caller]
    fn run(&mut self, words: &[&str]) -> String {
        let (end, text) = self.end_of(words);
        assert!(end.fault.is_none() && end.status == 0, "{words:?}: {text}{end:?}");
        text
    }

    #[track_caller]
    fn shell(&mut self, script: &str) -> String {
        let spec = self.spec_of("/bin/sh", &["-c", script]);
        let running = self.start(&spec);
        let (end, text) = self.end(running);
        assert!(end.fault.is_none() && end.status == 0, "{script}: {text}{end:?}");
        text
    }

    /// Runs a case without stdin, as tests have none.
    #[track_caller]
    fn exit_code(&mut self, spec: &Arc<SandboxSpec>) -> i32 {
        let null = fs::File::options().write(true).open("/dev/null").expect("it is there");
        self.started += 1;
        let start = Start::of(&Plan::of(Arc::clone(spec)), self.started);
        let started = self.warden.spawn(spec, start, &[null.as_fd(), null.as_fd()]);
        started.expect("the warden listens");
        let Some(Notice::Ended(end, _)) = self.warden.notice(true) else {
            panic!("the warden has ended")
        };
        assert!(end.fault.is_none() && libc::WIFEXITED(end.status), "{end:?}");
        libc::WEXITSTATUS(end.status)
    }

    /// A case that has made a thing, and keeps it.
    #[track_caller]
    fn make(&mut self, thing: &str) -> Running {
        let spec = self.spec(&["make", thing], StartBy::Exec("one command"));
        let mut running = self.start(&spec);
        let mut text = [0; 5];
        let read = running.stdout.read_exact(&mut text);
        if read.is_err() {
            panic!("no {thing} is made: {:?}", self.end(running));
        }
        assert_eq!(&text, b"made\n");
        running
    }

    /// True if a case finds a thing while another one has it.
    #[track_caller]
    fn meets(&mut self, thing: &str) -> bool {
        let maker = self.make(thing);
        let found = self.run(&["find", thing]);
        let (end, _) = self.end(maker);
        assert!(end.fault.is_none() && end.status == 0, "{thing}: {end:?}");
        found == "met\n"
    }
}

#[test]
fn companions_share_what_a_layer_of_a_lab_holds_and_nothing_else() {
    if refused() {
        return;
    }
    let places = Places::new();
    let users = [User::Same, User::Root, User::Nobody];
    let users = users.map(|user| (user, Init::None)).into_iter();
    for (user, init) in users.chain([(User::Same, Init::Reaper), (User::Root, Init::Reaper)]) {
        for (place, shared) in SHARED.iter().enumerate() {
            let mut alone = Policy { user, init, ..Policy::default() };
            (shared.share)(&mut alone);
            let mut lab = Lab::new(&places, alone);
            let mut others =
                Lab::new(&places, Policy { user, init, ..sharing_all_but(Some(place)) });
            for thing in shared.things {
                assert!(lab.meets(thing), "{user:?}, {init:?}: companions do not share `{thing}`");
                assert!(
                    !others.meets(thing),
                    "{user:?}, {init:?}: `{thing}` is shared without its layer"
                );
            }
        }
    }
}

#[test]
fn a_layer_of_a_lab_is_not_the_hosts() {
    if refused() {
        return;
    }
    let places = Places::new();
    let host = |words: &[&str]| {
        let mut command = Command::new(COMPANION);
        command.args(words).current_dir(places.workspace.path()).env("HOME", places.home.path());
        command
    };
    let mut lab = Lab::new(&places, sharing_all_but(None));
    // What lies at fixed places of the host may be there for another run of these tests.
    for thing in ["home", "workspace"] {
        let maker = lab.make(thing);
        let found = host(&["find", thing]).output().expect("it runs");
        assert_eq!(found.stdout, b"alone\n", "`{thing}` of a lab is seen outside");
        lab.end(maker);
        let made = host(&["once", thing]).status().expect("it runs");
        assert!(made.success(), "`{thing}`");
    }
    let mut lab = Lab::new(&places, sharing_all_but(None));
    assert_eq!(lab.run(&["find", "home"]), "alone\n");
    // An overlay shows what is below it.
    assert_eq!(lab.run(&["find", "workspace"]), "met\n");
    let mut outside = host(&["make", "process"]);
    let mut outside =
        outside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut made = [0; 5];
    outside.stdout.take().expect("it is piped").read_exact(&mut made).expect("it writes");
    assert_eq!(lab.run(&["find", "process"]), "alone\n");
    drop(outside.stdin.take());
    outside.wait().expect("it ends");
    for directory in ["/tmp", "/var/tmp", "/run", "/dev/shm", "/dev/mqueue"] {
        let own = places.home.path().file_name().expect("it has a name");
        let name = format!("{directory}/{}", own.display());
        lab.shell(&format!(": > {name}"));
        assert!(!Path::new(&name).exists(), "{name} of a lab is the host's");
    }
}

#[test]
fn the_host_name_of_a_lab_is_that_of_the_policy_and_no_case_may_change_it() {
    if refused() {
        return;
    }
    let places = Places::new();
    for user in [User::Same, User::Root] {
        let uts = Uts::Lab("laboratory".to_owned());
        let mut lab = Lab::new(&places, Policy { user, uts, ..Policy::default() });
        assert_eq!(lab.shell("uname -n; cat /etc/hostname"), "laboratory\nlaboratory\n");
        let (end, _) = lab.end_of(&["rename"]);
        assert_eq!(libc::WEXITSTATUS(end.status), 1, "{user:?}: {end:?}");
        let mut own = Lab::new(&places, Policy { user, ..Policy::default() });
        let (end, _) = own.end_of(&["rename"]);
        assert_eq!(libc::WEXITSTATUS(end.status), i32::from(user == User::Same), "{end:?}");
    }
}

#[test]
fn a_lab_that_is_made_anew_has_nothing_of_the_one_before() {
    if refused() {
        return;
    }
    let places = Places::new();
    let mut lab = Lab::new(&places, sharing_all_but(None));
    let mut alone = Lab::new(&places, Policy::default());
    alone.warden.renew_lab().expect("without a lab there is nothing to do");
    for _ in 0..3 {
        for thing in ["tmp", "var-tmp", "run", "shm", "queue", "home", "workspace"] {
            lab.run(&["once", thing]);
            assert_eq!(lab.run(&["find", thing]), "met\n", "{thing}");
            let (end, _) = lab.end_of(&["once", thing]);
            assert_eq!(libc::WEXITSTATUS(end.status), 1, "`{thing}` was made twice: {end:?}");
        }
        assert!(lab.meets("shared-memory"));
        assert_eq!(lab.run(&["find", "shared-memory"]), "met\n", "it outlives its maker");
        lab.run(&["leave"]);
        assert_eq!(lab.shell(LEFT), "1\n");
        lab.warden.renew_lab().expect("no case is in flight");
        assert_eq!(lab.shell(LEFT), "0\n");
        assert_eq!(lab.run(&["find", "shared-memory"]), "alone\n");
    }
    let running = lab.make("port");
    let error = lab.warden.renew_lab().expect_err("a case is in flight").to_string();
    assert!(error.starts_with("cannot end what is left in the lab of the cases: "), "{error}");
    assert!(error.contains("(EBUSY)"), "{error}");
    let (end, _) = lab.end(running);
    assert!(end.fault.is_none() && end.status == 0, "{end:?}");
}

/// Prints the number of processes that were left behind.
const LEFT: &str = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'companion [l]eave' | wc -l";

#[test]
fn a_process_that_is_left_in_a_lab_ends_with_its_warden_at_the_latest() {
    if refused() {
        return;
    }
    let places = Places::new();
    let mut lab = Lab::new(&places, Policy { pid: Namespace::Lab, ..Policy::default() });
    let mark = places.home.path().to_str().expect("it is text").to_owned();
    lab.run(&["leave", &mark]);
    let left = || {
        let entries = fs::read_dir("/proc").expect("it is there").flatten();
        let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.windows(mark.len()).any(|part| part == mark.as_bytes())).count()
    };
    assert_eq!(left(), 1);
    drop(lab);
    isotest_tests::until("the process that was left has ended", || (left() == 0).then_some(()));
}

#[test]
fn a_case_that_is_killed_takes_its_process_group_along_and_no_companion() {
    if refused() {
        return;
    }
    let places = Places::new();
    let mut lab = Lab::new(&places, Policy { pid: Namespace::Lab, ..Policy::default() });
    let companion = lab.make("process");
    let spec = lab.spec_of("/bin/sh", &["-c", "sleep 600 & echo made; wait"]);
    let mut running = lab.start(&spec);
    running.stdout.read_exact(&mut [0; 5]).expect("it writes");
    lab.warden.kill(running.case);
    // The pipe ends when the last process of the group has.
    let (end, text) = lab.end(running);
    assert_eq!((libc::WTERMSIG(end.status), text.as_str()), (libc::SIGKILL, ""));
    assert_eq!(lab.run(&["find", "process"]), "met\n");
    let (end, _) = lab.end(companion);
    assert!(end.fault.is_none() && end.status == 0, "{end:?}");
}

#[test]
fn fork_servers_start_the_cases_of_a_lab() {
    if refused() {
        return;
    }
    let places = Places::new();
    let mut lab = Lab::new(&places, sharing_all_but(None));
    for _ in 0..2 {
        let spec = lab.spec(&["once", "tmp"], StartBy::ForkServer);
        assert_eq!(spec.start_by, StartBy::ForkServer);
        lab.warden.prepare(&spec, Some(4)).expect("the warden listens");
        let codes: Vec<i32> = (0..4).map(|_| lab.exit_code(&spec)).collect();
        assert_eq!(codes, [0, 1, 1, 1]);
        lab.warden.renew_lab().expect("no case is in flight");
        // What comes is started by another server, in the lab that stands now.
        assert_eq!(lab.exit_code(&spec), 0);
        lab.warden.renew_lab().expect("no case is in flight");
    }
}

#[test]
fn directories_of_a_lab_may_lie_on_disk() {
    if refused() {
        return;
    }
    let (places, disk) = (Places::new(), TempDir::new().expect("it is writable"));
    let disk = disk.path().canonicalize().expect("it is there");
    let metadata = disk.metadata().expect("it is there");
    let policy = Policy { scratch: Scratch::Disk, ..sharing_all_but(None) };
    let path = CString::new(disk.as_os_str().as_encoded_bytes()).expect("no NUL byte");
    let own = Disk { path, identity: (metadata.dev(), metadata.ino()) };
    let mut lab = Lab::with_disk(&places, policy, Some((&disk, own)));
    for _ in 0..2 {
        for thing in ["tmp", "home", "workspace", "shm"] {
            assert!(lab.meets(thing), "{thing}");
        }
        lab.warden.renew_lab().expect("no case is in flight");
    }
    for lab in ["lab1", "lab2"] {
        assert!(disk.join(lab).join("tmp/isotest-companion").exists(), "{lab}");
    }
    assert!(!disk.join("lab3/tmp/isotest-companion").exists());
}

/// The signals, which this process has once.
static SIGNALS: LazyLock<Mutex<Signals>> =
    LazyLock::new(|| Mutex::new(Signals::listen().expect("signals can be taken over")));

/// The jobs of one run of a lab, of which `run` is the number.
fn jobs(specs: &[Arc<SandboxSpec>], run: usize) -> Vec<Job> {
    let job = |(case, spec): (usize, &Arc<SandboxSpec>)| {
        Job::once(CaseIndex { binary: run, case }, Plan::of(Arc::clone(spec)))
    };
    specs.iter().enumerate().map(job).collect()
}

/// The events of runs.
fn events(groups: Vec<LabRuns<'_>>, options: Options, before: impl FnOnce(&Signals)) -> Vec<Event> {
    let signals = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    before(&signals);
    let (sender, heard) = sync_channel(BACKLOG);
    thread::scope(|scope| {
        let reader = scope.spawn(move || heard.iter().collect());
        schedule::run_labs(groups, options, &signals, &sender).expect("they run");
        drop(sender);
        reader.join().expect("it reads")
    })
}

/// The verdicts of each run. Every job has ended exactly once.
fn verdicts(events: &[Event], expected: usize) -> BTreeMap<usize, Vec<Verdict>> {
    let mut all: BTreeMap<CaseIndex, Verdict> = BTreeMap::new();
    for event in events {
        if let Event::Finished(index, outcome) = event {
            let before = all.insert(*index, outcome.verdict.clone());
            assert_eq!(before, None, "{index:?} has ended twice");
        }
    }
    assert_eq!(all.len(), expected);
    let mut runs: BTreeMap<usize, Vec<Verdict>> = BTreeMap::new();
    for (index, verdict) in all {
        runs.entry(index.binary).or_default().push(verdict);
    }
    runs
}

#[test]
fn jobs_of_a_run_are_in_one_lab_and_each_run_has_another() {
    if refused() {
        return;
    }
    const RUNS: usize = 20;
    let places = Places::new();
    let mut shared = [0; 2].map(|_| Lab::new(&places, sharing_all_but(None)));
    let mut private = Lab::new(&places, Policy::default());
    let once = |lab: &Lab| [0; 2].map(|_| lab.spec(&["once", "tmp"], StartBy::ForkServer));
    let of = |lab: &Lab, runs: std::ops::Range<usize>| {
        runs.map(|run| jobs(&once(lab), run)).collect::<Vec<_>>()
    };
    let (runs, alone) = (of(&shared[0], 0..RUNS), of(&private, RUNS..2 * RUNS));
    let groups = vec![
        LabRuns { wardens: shared.iter_mut().map(|lab| &mut lab.warden).collect(), runs },
        LabRuns { wardens: vec![&mut private.warden], runs: alone },
    ];
    let events = events(groups, Options::of(1), |_| {});
    // Three wardens begin at once, with both jobs of a run.
    let begun = events.iter().take_while(|event| matches!(event, Event::Started(_))).count();
    assert!(begun >= 6, "{begun} were started before one had ended");
    let failed = Verdict::Failed { code: 1 };
    for (run, verdicts) in verdicts(&events, 4 * RUNS) {
        let failures = verdicts.iter().filter(|verdict| **verdict == failed).count();
        assert_eq!(failures, usize::from(run < RUNS), "run {run}: {verdicts:?}");
    }
}

#[test]
fn runs_of_labs_end_early_with_an_end_of_every_job() {
    if refused() {
        return;
    }
    let places = Places::new();
    let mut lab = Lab::new(&places, sharing_all_but(None));
    let spec = lab.spec_of("/bin/sh", &["-c", "sleep 600"]);
    let mut end = |timeout: Option<Duration>, before: fn(&Signals)| {
        let runs = (0..3).map(|run| jobs(&[Arc::clone(&spec), Arc::clone(&spec)], run)).collect();
        let groups = vec![LabRuns { wardens: vec![&mut lab.warden], runs }];
        let events = events(groups, Options { timeout, ..Options::of(1) }, before);
        let cancelled = Verdict::NotRun(NotRun::Cancelled);
        for (run, verdicts) in verdicts(&events, 6) {
            assert_eq!(verdicts, [cancelled.clone(), cancelled.clone()], "run {run}");
        }
        let is_interrupted = |event: &Event| match event {
            Event::Interrupted(interruption) => Some(*interruption),
            _ => None,
        };
        events.iter().filter_map(is_interrupted).collect::<Vec<_>>()
    };
    let second = Duration::from_secs(1);
    assert_eq!(end(Some(second), |_| {}), [Interruption::Timeout(second)]);
    assert_eq!(end(None, Signals::tell_broken_pipe), []);
}
