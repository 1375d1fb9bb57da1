//! Requests for lists: which binary is asked, with which arguments, in which order.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use isotest_core::case::{Case, CaseIndex};
use isotest_core::plan::{Plan, StartBy, VerdictSource};
use isotest_core::policy::{Limits, Policy, Root};
use isotest_core::schedule::{self, Job};
use isotest_core::signals::Signals;

use super::collect::collect;
use super::error::ListingError;
use super::output::ListOutput;
use super::reply::{
    BinaryList, ListReply, mark_ignored, names, read_json, read_terse, selects_without_kind,
};
use crate::discover::list::{self, Note};
use crate::discover::{Binary, Declared, Harness, Project};
use crate::sandbox::factory::{SandboxFactory, c_string};
use crate::sandbox::jobs;
use crate::select::arguments;
use crate::select::stored::StoredLists;

/// Time limit for the list of a binary whose tests have none.
const LIST_TIMEOUT: Duration = Duration::from_secs(600);

/// Maximum number of bytes that are kept of a list. A lower limit for the
/// output of tests does not apply to their names.
fn longest(policy: &Policy) -> u64 {
    policy.limits.output.max(Limits::default().output)
}

/// The lists of all binaries of a project, in their order. What libtest has answered is
/// remembered; whether a binary runs in another root filesystem is not.
///
/// A program that does not answer with a list is not asked again: it may run its tests each time.
pub fn list(
    factory: &mut SandboxFactory,
    project: &Project,
    at_once: usize,
    signals: &Signals,
) -> Result<Vec<BinaryList>, ListingError> {
    let mut lists = (factory.policy.root == Root::Host).then(|| StoredLists::read(project));
    let limit = longest(&factory.policy);
    let binaries = &project.binaries;
    let (listed, unmarked) = (BTreeMap::new(), BTreeMap::new());
    let mut listing = Listing { factory, binaries, at_once, signals, limit, listed, unmarked };
    let (for_json, for_terse) = listing.take_known(lists.as_ref());
    let refused = listing.ask_for_json(&for_json, lists.as_mut())?;
    if let Some(lists) = lists {
        lists.write();
    }
    listing.ask_for_terse(&refused, &for_terse)?;
    listing.ask_for_ignored()?;
    Ok(listing.listed.into_values().collect())
}

/// The lists of all binaries while they come in.
struct Listing<'a> {
    factory: &'a mut SandboxFactory,
    binaries: &'a [Binary],
    /// Number of binaries that are asked at a time.
    at_once: usize,
    signals: &'a Signals,
    /// Maximum number of bytes of an answer.
    limit: u64,
    /// The lists of binaries that need not be asked any more.
    listed: BTreeMap<usize, BinaryList>,
    /// Lists without marks of ignored cases.
    unmarked: BTreeMap<usize, Vec<Case>>,
}

impl Listing<'_> {
    /// Takes the lists that are remembered. Returns the binaries that are to be asked: those that may
    /// be libtest's, and those that are not.
    fn take_known(&mut self, lists: Option<&StoredLists>) -> (Vec<usize>, Vec<usize>) {
        let (mut for_json, mut for_terse) = (Vec::new(), Vec::new());
        for (index, binary) in self.binaries.iter().enumerate() {
            let known = || lists?.of(binary.executable.as_std_path());
            match binary.declared {
                Declared::NoHarness => for_terse.push(index),
                Declared::Harness | Declared::Unknown => match known() {
                    Some(cases) => {
                        self.listed.insert(index, BinaryList::of(Harness::Libtest, cases));
                    }
                    None => for_json.push(index),
                },
            }
        }
        (for_json, for_terse)
    }

    /// Asks for libtest's JSON, and notes what libtest answers. Returns the binaries that have
    /// refused.
    fn ask_for_json(
        &mut self,
        which: &[usize],
        mut lists: Option<&mut StoredLists>,
    ) -> Result<Vec<usize>, ListingError> {
        let mut refused = Vec::new();
        for (index, answer) in self.ask(which, list::JSON_ARGUMENTS, &[list::JSON_ENVIRONMENT])? {
            let binary = &self.binaries[index];
            let reply = read_json(binary, &answer, self.limit)?;
            if let (Some(lists), ListReply::Complete(list)) = (&mut lists, &reply)
                && list.harness == Harness::Libtest
            {
                lists.note(binary.executable.as_std_path(), &list.cases);
            }
            refused.extend(self.take(index, reply));
        }
        Ok(refused)
    }

    /// Asks for the list that every harness knows: those that have refused JSON, and those that were
    /// not asked for it.
    fn ask_for_terse(&mut self, refused: &[usize], others: &[usize]) -> Result<(), ListingError> {
        let asked = [refused, others].concat();
        let environment = &list::NEXTEST_ENVIRONMENT;
        for (index, answer) in self.ask(&asked, list::TERSE_ARGUMENTS, environment)? {
            let binary = &self.binaries[index];
            let reads_arguments = || {
                let program = binary.executable.as_std_path();
                refused.contains(&index) || arguments::reads_arguments(program)
            };
            let reply = read_terse(binary, &answer, reads_arguments, self.limit)?;
            self.take(index, reply);
        }
        Ok(())
    }

    /// Asks which cases of terse lists are ignored.
    fn ask_for_ignored(&mut self) -> Result<(), ListingError> {
        let which: Vec<usize> = self.unmarked.keys().copied().collect();
        let environment = &list::NEXTEST_ENVIRONMENT;
        for (index, answer) in self.ask(&which, list::TERSE_IGNORED_ARGUMENTS, environment)? {
            let mut cases = self.unmarked.remove(&index).unwrap_or_default();
            let mut notes = Vec::new();
            if let Err(why) = mark_ignored(&mut cases, &answer, self.limit) {
                notes.push(Note::UnreadableIgnored(why));
            }
            let repeated = list::unite(&mut cases).into_iter();
            notes.extend(repeated.map(|(name, count)| Note::Repeated(name, count)));
            if selects_without_kind(&cases, |name| self.has(index, name))? {
                for case in &mut cases {
                    case.selector = list::without_kind(case.called()).map(str::to_owned);
                }
            }
            let harness = Harness::Foreign;
            self.listed.insert(index, BinaryList { cases, harness, notes });
        }
        Ok(())
    }

    /// The binary lists a test of exactly this name.
    fn has(&mut self, index: usize, name: &str) -> Result<bool, ListingError> {
        let arguments = [list::TERSE_ARGUMENTS, &["--exact", name]].concat();
        let answer = self.ask(&[index], &arguments, &list::NEXTEST_ENVIRONMENT)?.remove(&index);
        Ok(answer.is_some_and(|answer| names(&answer, self.limit)))
    }

    /// Takes the list in a reply. Returns the binary where it has refused.
    fn take(&mut self, index: usize, reply: ListReply) -> Option<usize> {
        match reply {
            ListReply::Complete(list) => {
                self.listed.insert(index, list);
                None
            }
            ListReply::WithoutIgnored(cases) => {
                self.unmarked.insert(index, cases);
                None
            }
            ListReply::Refused => Some(index),
        }
    }

    /// Runs some of the binaries, each in a sandbox.
    fn ask(
        &mut self,
        which: &[usize],
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<BTreeMap<usize, ListOutput>, ListingError> {
        let jobs = which.iter().map(|&index| Job {
            pass_through: true,
            ..Job::once(
                CaseIndex { binary: index, case: 0 },
                self.plan(&self.binaries[index], arguments, environment),
            )
        });
        let jobs: Vec<Job> = jobs.collect();
        let limit = self.limit;
        let at_once = schedule::Options::of(self.at_once);
        let options = schedule::Options { most_passed: Some(limit), ..at_once };
        let jobs = vec![(&mut self.factory.warden, jobs)];
        let collect = |events| collect(events, limit);
        let answers = jobs::run(jobs, options, self.signals, Vec::new(), collect);
        answers.map_err(ListingError::Host)?
    }

    /// The plan of one binary that is asked for its list.
    fn plan(&self, binary: &Binary, arguments: &[&str], environment: &[(&str, &str)]) -> Plan {
        let factory = &*self.factory;
        let mut variables = factory.environment_of(binary);
        variables.extend(environment.iter().map(|(name, value)| (name.into(), value.into())));
        let directory = binary.working_directory.as_std_path();
        let (program, words) = binary.command();
        let start_by = StartBy::Exec("it lists its tests");
        Plan {
            spec: factory.spec(program, &words, directory, &variables, start_by),
            arguments: arguments.iter().map(|text| c_string(OsStr::new(text))).collect(),
            environment: factory.own_environment(),
            verdict_source: VerdictSource::ExitCode,
            timeout: factory.policy.limits.timeout.or(Some(LIST_TIMEOUT)),
            slow_timeout: None,
            output_limit: factory.policy.limits.output,
            memory_share: None,
            write_back: factory.write_back.clone(),
            watched: None,
            scratch_reader: None,
            weakened: factory.policy.weakened.clone(),
            seed: 0,
        }
    }
}
