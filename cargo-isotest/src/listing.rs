//! Asks every binary for its list of tests, each in a sandbox: a list is project code too, and a
//! `harness = false` program that knows no `--list` runs its tests when it is asked.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::sync::mpsc;
use std::thread;

use isotest_core::case::{Case, CaseIndex, Ignore, Kind};
use isotest_core::collect::Capture;
use isotest_core::outcome::{Captured, NotRun, Verdict, signal_name};
use isotest_core::plan::{Plan, Protocol};
use isotest_core::policy::{Limits, Policy, Root};
use isotest_core::retry::Retries;
use isotest_core::sandbox::SandboxError;
use isotest_core::schedule::{self, Claim, Event, Interruption, Job, Stream};
use isotest_core::signals::Signals;

use crate::discover::list::{self, ListError};
use crate::discover::{Binary, Project};
use crate::error::Error;
use crate::remembered::Lists;
use crate::sandboxes::{Sandboxes, c_string};

/// What a binary holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its cases.
    pub cases: Vec<Case>,
    /// Whether it is a test harness; otherwise it is one case itself.
    pub harness: bool,
}

/// A binary that could not list its tests.
#[derive(Debug)]
pub struct ListingError {
    binary: String,
    arguments: String,
    cause: Cause,
    stderr: String,
}

#[derive(Debug)]
enum Cause {
    NotRun(SandboxError),
    Ended(String),
    /// It wrote more than may be kept.
    TooLong(u64),
    List(ListError),
}

impl ListingError {
    /// Whether there is a list, which cannot be used.
    fn is_of_a_list(&self) -> bool {
        matches!(self.cause, Cause::TooLong(_) | Cause::List(ListError::Control(_)))
    }

    /// Whether its sandbox could not be set up.
    pub fn is_sandbox(&self) -> bool {
        matches!(self.cause, Cause::NotRun(_))
    }
}

impl fmt::Display for ListingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot list the tests of `{}`: ", self.binary)?;
        match &self.cause {
            Cause::NotRun(error) => return write!(f, "{error}"),
            Cause::Ended(how) => write!(f, "with `{}` it {how}", self.arguments)?,
            Cause::TooLong(limit) => {
                return write!(
                    f,
                    "with `{}` it wrote more than {limit} bytes; raise the limit with \
                     `--output-limit`",
                    self.arguments
                );
            }
            Cause::List(error) => write!(f, "{error}")?,
        }
        if !self.stderr.is_empty() {
            write!(f, "\nits stderr: {}", self.stderr.trim_end())?;
        }
        write!(f, "\nhint: {}", hint(&self.stderr))
    }
}

/// What mends it. The dynamic loader says itself what it has not found (ld.so(8)).
fn hint(stderr: &str) -> &'static str {
    if stderr.contains("version `GLIBC_") {
        return "it was built for a newer C library than that of this root filesystem; build it \
                there, or where the C library is older";
    }
    match stderr.contains("error while loading shared libraries") {
        true => {
            "a library that it needs is not shown in the sandbox; `--ro DIRECTORY` shows a directory \
             of `LD_LIBRARY_PATH`"
        }
        false => {
            "a target without libtest needs `harness = false` in its manifest, or must answer \
             `--list --format terse`"
        }
    }
}

impl std::error::Error for ListingError {}

/// How many bytes of a list are kept. Who wants less of the output of tests still wants all of
/// their names.
fn longest(policy: &Policy) -> u64 {
    policy.limits.output.max(Limits::default().output)
}

/// What one run of a binary for its list came to.
struct Answer {
    verdict: Verdict,
    stdout: Captured,
    stderr: Captured,
}

/// The lists of all binaries of a project, in their order. What libtest has answered is
/// remembered; whether a binary runs in another root filesystem is not.
pub fn list(
    sandboxes: &mut Sandboxes,
    project: &Project,
    jobs: usize,
    signals: &Signals,
) -> Result<Vec<Listed>, Error> {
    let binaries = &project.binaries;
    let mut lists = (sandboxes.policy.root == Root::Host).then(|| Lists::read(project));
    let mut listed = BTreeMap::new();
    let (mut harnesses, mut programs) = (Vec::new(), Vec::new());
    for (index, binary) in binaries.iter().enumerate().filter(|(_, binary)| binary.harness) {
        match lists.as_ref().and_then(|lists| lists.of(binary.executable.as_std_path())) {
            Some(cases) => {
                listed.insert(index, Listed { cases, harness: true });
            }
            None => harnesses.push(index),
        }
    }
    programs.extend((0..binaries.len()).filter(|index| !binaries[*index].harness));
    let limit = longest(&sandboxes.policy);
    let mut ask = |which: &[usize], arguments: &[&str], json| {
        ask(sandboxes, binaries, which, arguments, json, jobs, signals)
    };
    let mut unknown = programs;
    for (index, answer) in ask(&harnesses, list::JSON_ARGUMENTS, true)? {
        let whole = answer.verdict == Verdict::Passed && answer.stdout.cut == 0;
        let cases = whole.then(|| list::parse_json(&answer.stdout.head).ok()).flatten();
        match cases {
            Some(cases) => {
                if let Some(lists) = &mut lists {
                    lists.note(binaries[index].executable.as_std_path(), &cases);
                }
                listed.insert(index, Listed { cases, harness: true });
            }
            // An old libtest, or one without unstable options: it knows the terse list.
            None => unknown.push(index),
        }
    }
    if let Some(lists) = lists {
        lists.write();
    }
    let all = ask(&unknown, list::TERSE_ARGUMENTS, false)?;
    // Of a list that is not whole nothing more is wanted.
    unknown.retain(|index| all.get(index).is_some_and(|answer| answer.stdout.cut == 0));
    let ignored = ask(&unknown, list::TERSE_IGNORED_ARGUMENTS, false)?;
    for (index, answer) in all {
        let binary = &binaries[index];
        let parsed = parse_terse(binary, &answer, ignored.get(&index), limit);
        listed.insert(index, accept(binary, parsed)?);
    }
    Ok(listed.into_values().collect())
}

/// A harness must list; a program that does not is one case, named after its target.
fn accept(binary: &Binary, parsed: Result<Vec<Case>, Box<ListingError>>) -> Result<Listed, Error> {
    match parsed {
        Ok(cases) if binary.harness || !cases.is_empty() => Ok(Listed { cases, harness: true }),
        Err(error) if binary.harness || error.is_of_a_list() => Err(error.into()),
        Ok(_) | Err(_) => {
            let name = binary.target_name.clone();
            let case = Case { name, kind: Kind::Test, ignore: Ignore::No };
            Ok(Listed { cases: vec![case], harness: false })
        }
    }
}

fn parse_terse(
    binary: &Binary,
    all: &Answer,
    ignored: Option<&Answer>,
    limit: u64,
) -> Result<Vec<Case>, Box<ListingError>> {
    let error = |answer: &Answer, cause| {
        Box::new(ListingError {
            binary: binary.id.clone(),
            arguments: list::TERSE_ARGUMENTS.join(" "),
            cause,
            stderr: String::from_utf8_lossy(&answer.stderr.to_bytes()).into_owned(),
        })
    };
    for answer in [Some(all), ignored].into_iter().flatten() {
        // What a program without a harness floods is no list; it need not be kept.
        if answer.stdout.cut > 0 && (binary.harness || list::begins(&answer.stdout.head)) {
            return Err(error(answer, Cause::TooLong(limit)));
        }
        if let Some(cause) = trouble(&answer.verdict) {
            return Err(error(answer, cause));
        }
    }
    let ignored = ignored.map_or(&[][..], |answer| &answer.stdout.head);
    list::parse_terse(&all.stdout.head, ignored).map_err(|cause| error(all, Cause::List(cause)))
}

fn trouble(verdict: &Verdict) -> Option<Cause> {
    Some(match verdict {
        Verdict::Passed | Verdict::Flaky => return None,
        Verdict::NotRun(NotRun::Sandbox(error)) => Cause::NotRun(error.clone()),
        Verdict::Failed { code } | Verdict::ExitedEarly { code } => {
            Cause::Ended(format!("exited with code {code}"))
        }
        Verdict::Signalled { signal } => {
            Cause::Ended(format!("was killed by {}", signal_name(*signal)))
        }
        Verdict::TimedOut { limit } => {
            Cause::Ended(format!("did not end within {}", humantime::format_duration(*limit)))
        }
        Verdict::Ignored
        | Verdict::NotRun(
            NotRun::Service(_) | NotRun::Cancelled | NotRun::WardenDied | NotRun::ProcessEnded,
        ) => Cause::Ended("did not run to its end".to_owned()),
    })
}

/// Runs some of the binaries, each in a sandbox.
fn ask(
    sandboxes: &mut Sandboxes,
    binaries: &[Binary],
    which: &[usize],
    arguments: &[&str],
    json: bool,
    jobs: usize,
    signals: &Signals,
) -> Result<BTreeMap<usize, Answer>, Error> {
    let plans = which.iter().map(|&index| {
        let binary = &binaries[index];
        let mut variables = binary.environment.clone();
        if json {
            let (name, value) = list::JSON_ENVIRONMENT;
            variables.push((name.into(), value.into()));
        }
        let directory = binary.working_directory.as_std_path();
        Job {
            index: CaseIndex { binary: index, case: 0 },
            plan: Plan {
                setup: sandboxes.setup(
                    binary.executable.as_os_str(),
                    &[],
                    directory,
                    &variables,
                    Some("it is asked for its list"),
                ),
                arguments: arguments.iter().map(|text| c_string(OsStr::new(text))).collect(),
                environment: sandboxes.own_environment(),
                protocol: Protocol::ExitCode,
                timeout: sandboxes.policy.limits.timeout,
                slow_timeout: None,
                output_limit: sandboxes.policy.limits.output,
                write_back: sandboxes.write_back.clone(),
                weakened: sandboxes.policy.weakened.clone(),
            },
            pass_through: true,
            retries: Retries::default(),
            claim: Claim::default(),
        }
    });
    let plans: Vec<Job> = plans.collect();
    let (events, heard) = mpsc::sync_channel(schedule::BACKLOG);
    let options = schedule::Options::of(jobs);
    let limit = longest(&sandboxes.policy);
    let warden = &mut sandboxes.warden;
    thread::scope(|scope| {
        let reader = scope.spawn(move || gather(heard, limit));
        let run = schedule::run(warden, plans, options, signals, &events);
        // The reader ends where there are no more events.
        drop(events);
        let answers = reader.join().expect("the reader has no panic path");
        run.map_err(Error::Host)?;
        answers
    })
}

/// The answer of a binary while it comes in.
struct Gathering {
    verdict: Verdict,
    stdout: Capture,
    stderr: Capture,
}

impl Gathering {
    fn new(limit: u64) -> Gathering {
        let capture = || Capture::new(limit);
        let verdict = Verdict::NotRun(NotRun::Cancelled);
        Gathering { verdict, stdout: capture(), stderr: capture() }
    }

    fn finish(self) -> Answer {
        let Gathering { verdict, stdout, stderr } = self;
        Answer { verdict, stdout: stdout.finish(), stderr: stderr.finish() }
    }
}

fn gather(heard: mpsc::Receiver<Event>, limit: u64) -> Result<BTreeMap<usize, Answer>, Error> {
    let mut answers: BTreeMap<usize, Gathering> = BTreeMap::new();
    for event in heard {
        match event {
            Event::Started(index) => {
                answers.insert(index.binary, Gathering::new(limit));
            }
            Event::Output(index, stream, bytes) => {
                if let Some(answer) = answers.get_mut(&index.binary) {
                    match stream {
                        Stream::Stdout => answer.stdout.push(&bytes),
                        Stream::Stderr => answer.stderr.push(&bytes),
                    }
                }
            }
            Event::Finished(index, outcome) => {
                if let Some(answer) = answers.get_mut(&index.binary) {
                    answer.verdict = outcome.verdict;
                }
            }
            Event::Interrupted(Interruption::Signal(signal)) => {
                return Err(Error::Interrupted(signal));
            }
            // Each has a limit of its own, and all together none.
            Event::Interrupted(Interruption::Timeout(_)) => {}
            Event::Slow(..) | Event::Retried(..) | Event::Running(_) | Event::Resumed(_) => {}
        }
    }
    Ok(answers.into_iter().map(|(index, answer)| (index, answer.finish())).collect())
}
