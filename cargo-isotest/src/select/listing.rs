//! Asks every binary for its list of tests, each in a sandbox: a list is project code too, and a
//! `harness = false` program that knows no `--list` runs its tests when it is asked.

mod gathering;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::time::Duration;

use isotest_core::capture::Captured;
use isotest_core::case::{Case, CaseIndex, Ignore, Kind};
use isotest_core::outcome::{NotRun, Verdict};
use isotest_core::plan::{Plan, StartBy, VerdictSource};
use isotest_core::policy::{Limits, Policy, Root};
use isotest_core::refusal::SandboxError;
use isotest_core::retry::Retries;
use isotest_core::schedule::{self, Claim, Job};
use isotest_core::signals::Signals;
use isotest_core::wait_status::signal_name;

use crate::discover::list::{self, ListError, Note};
use crate::discover::{Binary, Declared, Harness, Project};
use crate::sandbox::factory::{SandboxFactory, c_string};
use crate::sandbox::jobs;
use crate::select::arguments;
use crate::select::remembered::Lists;

/// What a binary holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its cases.
    pub cases: Vec<Case>,
    /// Its harness; where it has none it is one case itself.
    pub harness: Harness,
    /// What is to be told of its list.
    pub notes: Vec<Note>,
}

impl Listed {
    fn of(harness: Harness, cases: Vec<Case>) -> Listed {
        Listed { cases, harness, notes: Vec::new() }
    }

    /// A program without a list is one case, named after its target.
    fn program(binary: &Binary, note: Option<Note>) -> Listed {
        let case = Case::listed(binary.target_name.clone(), Kind::Test, Ignore::No);
        let notes = note.into_iter().collect();
        Listed { cases: vec![case], harness: Harness::None, notes }
    }
}

/// The tests could not be listed.
#[derive(Debug)]
pub enum ListingError {
    /// A binary could not list its tests.
    Binary(Box<BinaryListError>),
    /// The machine could not be looked at.
    Host(io::Error),
    /// A signal ended the listing.
    Interrupted(i32),
}

/// A binary that could not list its tests.
#[derive(Debug)]
pub struct BinaryListError {
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
    /// It has more lines than anybody's list.
    TooMany,
    List(ListError),
}

impl BinaryListError {
    fn of(binary: &Binary, arguments: &[&str], answer: &Answer, cause: Cause) -> ListingError {
        let error = BinaryListError {
            binary: binary.id.clone(),
            arguments: arguments.join(" "),
            cause,
            stderr: String::from_utf8_lossy(&answer.stderr.to_bytes()).into_owned(),
        };
        ListingError::Binary(Box::new(error))
    }

    /// Whether its sandbox could not be set up.
    pub fn is_sandbox(&self) -> bool {
        matches!(self.cause, Cause::NotRun(_))
    }
}

impl fmt::Display for BinaryListError {
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
            Cause::TooMany => {
                return write!(
                    f,
                    "with `{}` it wrote more than {MOST_LINES} lines",
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

impl std::error::Error for BinaryListError {}

/// How many lines a list may have: ten times those of the largest that are known.
const MOST_LINES: usize = 500_000;

/// How long a binary may take for its list where its tests may take for ever.
const PATIENCE: Duration = Duration::from_secs(600);

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

impl Answer {
    /// Whether the program has refused to answer.
    fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }

    /// Why there is no list in it, and no error of a harness either.
    fn trouble(&self, limit: u64) -> Option<Cause> {
        if self.stdout.cut > 0 || self.stderr.cut > 0 {
            return Some(Cause::TooLong(limit));
        }
        if self.stdout.head.iter().filter(|byte| **byte == b'\n').count() > MOST_LINES {
            return Some(Cause::TooMany);
        }
        trouble(&self.verdict)
    }

    /// What can be told of a list in it that cannot be read; nothing where it is no list at all.
    fn note(&self, cause: &Cause, reads_arguments: bool) -> Option<Note> {
        let lines = list::lines_of_a_list(&self.stdout.head);
        let among = match lines {
            0 => String::new(),
            _ => format!(", with {} of a list", counted_lines(lines)),
        };
        let why = match cause {
            Cause::NotRun(_) => return None,
            // Who refuses knows no lists.
            Cause::Ended(_) if self.is_refused() && lines == 0 => return None,
            Cause::Ended(how) => format!("it {how}{among}"),
            Cause::TooLong(limit) => format!("it wrote more than {limit} bytes{among}"),
            Cause::TooMany => format!("it wrote more than {MOST_LINES} lines{among}"),
            Cause::List(_) if lines == 0 && !reads_arguments => return None,
            Cause::List(ListError::NotUtf8(cause)) => format!("{cause}{among}"),
            Cause::List(ListError::UnexpectedLine(line)) => {
                format!("unexpected line `{}`{among}", shortened(line))
            }
            Cause::List(error @ ListError::Incomplete { .. }) => error.to_string(),
        };
        Some(Note::Unreadable(why))
    }
}

/// `1 line`, `2 lines`.
fn counted_lines(lines: usize) -> String {
    format!("{lines} line{}", if lines == 1 { "" } else { "s" })
}

/// The beginning of a line, without control characters.
fn shortened(line: &str) -> String {
    const MOST: usize = 80;
    let shown: String = line.chars().take(MOST).flat_map(char::escape_debug).collect();
    if line.chars().nth(MOST).is_some() { shown + "…" } else { shown }
}

/// The lists of all binaries of a project, in their order. What libtest has answered is
/// remembered; whether a binary runs in another root filesystem is not.
///
/// A program that does not answer with a list is not asked again: it may run its tests each time.
pub fn list(
    factory: &mut SandboxFactory,
    project: &Project,
    jobs: usize,
    signals: &Signals,
) -> Result<Vec<Listed>, ListingError> {
    let binaries = &project.binaries;
    let mut lists = (factory.policy.root == Root::Host).then(|| Lists::read(project));
    let mut listed = BTreeMap::new();
    let (mut for_json, mut for_terse) = (Vec::new(), Vec::new());
    for (index, binary) in binaries.iter().enumerate() {
        let known = || lists.as_ref()?.of(binary.executable.as_std_path());
        match binary.declared {
            Declared::NoHarness => for_terse.push(index),
            Declared::Harness | Declared::Unknown => match known() {
                Some(cases) => {
                    listed.insert(index, Listed::of(Harness::Libtest, cases));
                }
                None => for_json.push(index),
            },
        }
    }
    let limit = longest(&factory.policy);
    let mut ask = |which: &[usize], arguments: &[&str], json| {
        ask(factory, binaries, which, arguments, json, jobs, signals)
    };
    let mut found = BTreeMap::new();
    let mut take = |index, reply, for_terse: &mut Vec<usize>| match reply {
        Reply::Listed(list) => {
            listed.insert(index, list);
        }
        Reply::List(cases) => {
            found.insert(index, cases);
        }
        Reply::Refused => for_terse.push(index),
    };
    let declared = for_terse.len();
    for (index, answer) in ask(&for_json, list::JSON_ARGUMENTS, true)? {
        let binary = &binaries[index];
        let reply = read_json(binary, &answer, limit)?;
        if let (Some(lists), Reply::Listed(list)) = (&mut lists, &reply)
            && list.harness == Harness::Libtest
        {
            lists.note(binary.executable.as_std_path(), &list.cases);
        }
        take(index, reply, &mut for_terse);
    }
    if let Some(lists) = lists {
        lists.write();
    }
    let (refused, mut none) = (for_terse.split_off(declared), Vec::new());
    let asked = [refused.as_slice(), &for_terse].concat();
    for (index, answer) in ask(&asked, list::TERSE_ARGUMENTS, false)? {
        let reads_arguments = || {
            let program = binaries[index].executable.as_std_path();
            refused.contains(&index) || arguments::reads_arguments(program)
        };
        take(index, read_terse(&binaries[index], &answer, reads_arguments, limit)?, &mut none);
    }
    let which: Vec<usize> = found.keys().copied().collect();
    for (index, answer) in ask(&which, list::TERSE_IGNORED_ARGUMENTS, false)? {
        let mut cases = found.remove(&index).unwrap_or_default();
        let mut notes = Vec::new();
        if let Err(why) = mark_ignored(&mut cases, &answer, limit) {
            notes.push(Note::UnreadableIgnored(why));
        }
        let repeated = list::unite(&mut cases).into_iter();
        notes.extend(repeated.map(|(name, count)| Note::Repeated(name, count)));
        if selects_without_kind(&cases, |name| {
            let arguments = [list::TERSE_ARGUMENTS, &["--exact", name]].concat();
            let answer = ask(&[index], &arguments, false)?.remove(&index);
            Ok(answer.is_some_and(|answer| names(&answer, limit)))
        })? {
            for case in &mut cases {
                case.selector = list::without_kind(case.called()).map(str::to_owned);
            }
        }
        listed.insert(index, Listed { cases, harness: Harness::Foreign, notes });
    }
    Ok(listed.into_values().collect())
}

/// Whether a harness lists its tests with their kinds, but selects them by what follows: so does
/// libtest-mimic before 0.7. `lists` tells whether it has tests of exactly this name.
fn selects_without_kind(
    cases: &[Case],
    mut lists: impl FnMut(&str) -> Result<bool, ListingError>,
) -> Result<bool, ListingError> {
    let of_a_kind = cases.iter().map(Case::called);
    let mut of_a_kind = of_a_kind.filter_map(|name| Some((name, list::without_kind(name)?)));
    match of_a_kind.next() {
        Some((name, short)) => Ok(!lists(name)? && lists(short)?),
        None => Ok(false),
    }
}

/// Whether an answer is a list with a test in it.
fn names(answer: &Answer, limit: u64) -> bool {
    let list = list::parse_terse(&answer.stdout.head);
    answer.trouble(limit).is_none() && list.is_ok_and(|cases| !cases.is_empty())
}

/// What an answer is.
enum Reply {
    /// All that is to be known.
    Listed(Listed),
    /// A terse list, of which it is not known what is ignored.
    List(Vec<Case>),
    /// None: the arguments are not understood.
    Refused,
}

/// Reads the answer to a request for JSON. Nothing but libtest prints its events; what else prints a
/// list is another harness.
fn read_json(binary: &Binary, answer: &Answer, limit: u64) -> Result<Reply, ListingError> {
    let output = &answer.stdout.head;
    let error = |cause| Err(BinaryListError::of(binary, list::JSON_ARGUMENTS, answer, cause));
    let is_declared = binary.declared == Declared::Harness;
    match answer.trouble(limit) {
        Some(cause @ Cause::NotRun(_)) => return error(cause),
        // An old libtest, one without unstable options, or another harness.
        Some(_) if answer.is_refused() => return Ok(Reply::Refused),
        Some(cause) if is_declared || list::has_json(output) => return error(cause),
        Some(cause) => {
            let note = answer.note(&cause, false);
            return Ok(Reply::Listed(Listed::program(binary, note)));
        }
        None => {}
    }
    match list::parse_json(output) {
        Ok(cases) => return Ok(Reply::Listed(Listed::of(Harness::Libtest, cases))),
        Err(cause) if list::has_json(output) => return error(Cause::List(cause)),
        Err(_) => {}
    }
    let reads_arguments = || arguments::reads_arguments(binary.executable.as_std_path());
    let is_counted = !output.is_empty();
    Ok(match list::parse_counted(output) {
        Ok(cases) if !cases.is_empty() => Reply::List(cases),
        Ok(_) if is_counted => Reply::Listed(Listed::of(Harness::Foreign, Vec::new())),
        Ok(_) => Reply::Listed(without_tests(binary, reads_arguments())),
        Err(cause) => {
            let note = answer.note(&Cause::List(cause), reads_arguments());
            Reply::Listed(Listed::program(binary, note))
        }
    })
}

/// Reads the answer to a request for a terse list.
fn read_terse(
    binary: &Binary,
    answer: &Answer,
    reads_arguments: impl Fn() -> bool,
    limit: u64,
) -> Result<Reply, ListingError> {
    let output = &answer.stdout.head;
    let cause = match answer.trouble(limit) {
        None => match list::parse_terse(output) {
            Ok(cases) if cases.is_empty() => {
                return Ok(Reply::Listed(without_tests(binary, reads_arguments())));
            }
            Ok(cases) => return Ok(Reply::List(cases)),
            Err(cause) => Cause::List(cause),
        },
        Some(cause) => cause,
    };
    // What a program without a harness floods is no list; it need not be kept.
    let is_wanted = match &cause {
        Cause::TooLong(_) | Cause::TooMany => {
            binary.declared == Declared::Harness || list::lines_of_a_list(output) > 0
        }
        Cause::NotRun(_) | Cause::Ended(_) => binary.declared == Declared::Harness,
        Cause::List(_) => false,
    };
    if is_wanted {
        return Err(BinaryListError::of(binary, list::TERSE_ARGUMENTS, answer, cause));
    }
    let note = answer.note(&cause, reads_arguments());
    Ok(Reply::Listed(Listed::program(binary, note)))
}

/// A binary that has printed nothing: a harness without tests, or a program that does not know that
/// it was asked.
fn without_tests(binary: &Binary, reads_arguments: bool) -> Listed {
    match reads_arguments {
        true => Listed { notes: vec![Note::Empty], ..Listed::of(Harness::Foreign, Vec::new()) },
        false => Listed::program(binary, None),
    }
}

/// Marks the ignored cases.
fn mark_ignored(cases: &mut Vec<Case>, answer: &Answer, limit: u64) -> Result<(), String> {
    match answer.trouble(limit) {
        Some(Cause::Ended(how)) => return Err(format!("it {how}")),
        Some(Cause::TooLong(limit)) => return Err(format!("it wrote more than {limit} bytes")),
        Some(Cause::TooMany) => return Err(format!("it wrote more than {MOST_LINES} lines")),
        Some(Cause::NotRun(error)) => return Err(error.to_string()),
        Some(Cause::List(_)) | None => {}
    }
    list::mark_ignored(cases, &answer.stdout.head).map_err(|error| match error {
        ListError::UnexpectedLine(line) => format!("unexpected line `{}`", shortened(&line)),
        ListError::NotUtf8(_) | ListError::Incomplete { .. } => error.to_string(),
    })
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
        | Verdict::NothingRun
        | Verdict::NotRun(
            NotRun::Service(_)
            | NotRun::Cancelled
            | NotRun::WardenDied
            | NotRun::WardenSilent
            | NotRun::ProcessEnded,
        ) => Cause::Ended("did not run to its end".to_owned()),
    })
}

/// Runs some of the binaries, each in a sandbox.
fn ask(
    factory: &mut SandboxFactory,
    binaries: &[Binary],
    which: &[usize],
    arguments: &[&str],
    json: bool,
    at_once: usize,
    signals: &Signals,
) -> Result<BTreeMap<usize, Answer>, ListingError> {
    let jobs = which.iter().map(|&index| {
        let binary = &binaries[index];
        let mut variables = factory.environment_of(binary);
        let added: &[(&str, &str)] = match json {
            true => &[list::JSON_ENVIRONMENT],
            false => &list::NEXTEST_ENVIRONMENT,
        };
        variables.extend(added.iter().map(|(name, value)| (name.into(), value.into())));
        let directory = binary.working_directory.as_std_path();
        let (program, words) = binary.command();
        Job {
            index: CaseIndex { binary: index, case: 0 },
            plan: Plan {
                spec: factory.spec(
                    program,
                    &words,
                    directory,
                    &variables,
                    StartBy::Exec("it is asked for its list"),
                ),
                arguments: arguments.iter().map(|text| c_string(OsStr::new(text))).collect(),
                environment: factory.own_environment(),
                verdict_source: VerdictSource::ExitCode,
                timeout: factory.policy.limits.timeout.or(Some(PATIENCE)),
                slow_timeout: None,
                output_limit: factory.policy.limits.output,
                write_back: factory.write_back.clone(),
                weakened: factory.policy.weakened.clone(),
            },
            pass_through: true,
            retries: Retries::default(),
            claim: Claim::default(),
        }
    });
    let jobs: Vec<Job> = jobs.collect();
    let limit = longest(&factory.policy);
    let options = schedule::Options { most_passed: Some(limit), ..schedule::Options::of(at_once) };
    let jobs = vec![(&mut factory.warden, jobs)];
    let answers =
        jobs::run(jobs, options, signals, Vec::new(), |heard| gathering::gather(heard, limit));
    answers.map_err(ListingError::Host)?
}
