//! Runs the cases of all batches: what is planned, in which order, and how its events get to the report.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::outcome::{Gate, Outcome, Verdict};
use isotest_core::plan::{Plan, SandboxSpec};
use isotest_core::sandbox::Warden;
use isotest_core::schedule::{self, Event, Job};
use isotest_core::terminal::Keyboard;
use twox_hash::XxHash64;

use crate::cli::Unit;
use crate::config::Needs;
use crate::config::settings::Settings;
use crate::discover::Harness;
use crate::report::{self, Report};
use crate::run::batch::Batch;
use crate::run::case_plan::{plan_of, spec};
use crate::run::context::{Cases, Context};
use crate::run::gates::Gates;
use crate::run::mentioned::Mentioned;
use crate::run::policies::{Member, Terms};
use crate::run::whole_binary::{self, WholeBinaries};
use crate::sandbox::jobs;
use crate::select::selected::{Selected, case};
use crate::store::Durations;

/// The run could not go on.
#[derive(Debug)]
pub enum ExecuteError {
    /// The schedule could not wait for what runs.
    Host(io::Error),
    /// The report could not be written.
    Report(io::Error),
}

/// Cases that are not run at all, and the plans of the rest.
fn plan(
    context: Context<'_>,
    batch: &Batch,
    cases: Cases<'_>,
    whole_binaries: &mut WholeBinaries,
) -> (Vec<CaseIndex>, Vec<Job>) {
    let Context { settings, config, .. } = context;
    let (mut ignored, mut jobs) = (Vec::new(), Vec::new());
    let mut whole: BTreeMap<(usize, &Needs), Vec<&Member>> = BTreeMap::new();
    let factory = &batch.factory;
    let mut specs: BTreeMap<(usize, &Needs), Arc<SandboxSpec>> = BTreeMap::new();
    for member @ Member { index, terms } in &batch.members {
        let Terms { limits, needs, rules } = &**terms;
        let listed = case(cases.selected, *index);
        let selected = &cases.selected[index.binary];
        // Another harness than libtest need not know its JSON.
        let is_whole = settings.unit == Unit::Binary && selected.harness == Harness::Libtest;
        if is_whole && listed.ignore == Ignore::No {
            whole.entry((index.binary, needs)).or_default().push(member);
            continue;
        }
        let provided = || cases.provision.give(needs);
        let make = || spec(factory, selected, provided());
        let spec = specs.entry((index.binary, needs)).or_insert_with(make);
        match listed.ignore {
            Ignore::No => {
                let claim = rules.claim(settings);
                let slots = (claim.threads, settings.jobs);
                let memory_share = memory_share(factory.host.memory, slots, limits.memory);
                let scratch_reader = cases.kept.map(|kept| {
                    let label = format!("{} {}", selected.binary.id, listed.name);
                    kept.reader(&factory.watched, label)
                });
                let plan = plan_of(factory, spec, selected, listed, limits);
                jobs.push(Job {
                    index: *index,
                    plan: Plan { memory_share, scratch_reader, ..plan },
                    pass_through: settings.pass_through || selected.harness == Harness::None,
                    retries: rules.retries(settings),
                    gate: cases.gates.of(config, cases.selected, *index, rules.deny),
                    claim,
                });
            }
            Ignore::Yes | Ignore::Because(_) => ignored.push(*index),
        }
    }
    let whole = whole.into_iter().filter_map(|((binary, needs), members)| {
        let (selected, provided) = (&cases.selected[binary], cases.provision.give(needs));
        let deny = members.iter().map(|member| member.terms.rules.deny);
        let deny = Gates::of_binary(config, &selected.binary.id, deny);
        let job =
            whole_binary::job(settings, factory, selected, provided, &members, whole_binaries)?;
        Some(Job { gate: Gate { deny, ..Gate::default() }, ..job })
    });
    jobs.extend(whole);
    jobs.sort_by_key(|job| job.index);
    (ignored, jobs)
}

/// Memory that a case has if as many as run at once use the same; it takes so many of all slots.
/// `None` where the machine's memory is not known, and there is no limit.
fn memory_share(memory: u64, (taken, all): (usize, usize), limit: Option<u64>) -> Option<u64> {
    let (taken, all) = (taken.clamp(1, all.max(1)) as u64, all.max(1) as u64);
    let share = (memory > 0).then_some(memory / all * taken);
    share.into_iter().chain(limit).min()
}

/// Puts jobs into an order that depends on the seed and on nothing else: what is left out does not
/// change the order of the rest.
fn shuffle(jobs: &mut [Job], selected: &[Selected], seed: u64) {
    jobs.sort_by_cached_key(|Job { index, .. }| {
        let (binary, case) = name(selected, *index);
        (XxHash64::oneshot(seed, format!("{binary} {case}").as_bytes()), *index)
    });
}

/// Stages run one after the other: the one with the highest priority first, else in their order.
fn by_priority(batches: &mut [Batch]) {
    let highest =
        |batch: &Batch| batch.members.iter().map(|member| member.terms.rules.priority).max();
    batches.sort_by_cached_key(|batch| Reverse(highest(batch)));
}

/// Everything that runs, and in which order.
#[derive(Default)]
struct Queue<'a> {
    /// The jobs of each batch, in the order of their starts.
    jobs: Vec<(&'a mut Warden, Vec<Job>)>,
    /// Cases that do not run, and are reported first.
    ignored: Vec<CaseIndex>,
    /// Cases that do not run, and are reported between the others.
    between: IgnoredInOrder,
}

/// Plans the batches, one after the other.
fn queue<'a>(
    context: Context<'_>,
    batches: &'a mut [Batch],
    cases: Cases<'_>,
    durations: &Durations,
    whole_binaries: &mut WholeBinaries,
) -> Queue<'a> {
    let settings = context.settings;
    if settings.unit == Unit::Test {
        by_priority(batches);
    }
    let mut queue = Queue::default();
    for batch in batches {
        let (left_out, mut planned) = plan(context, batch, cases, whole_binaries);
        put_in_order(&mut planned, settings, batch, cases.selected, durations);
        if settings.single_threaded {
            let runs = |member: &&Member| case(cases.selected, member.index).ignore == Ignore::No;
            let order: Vec<CaseIndex> = match settings.unit {
                Unit::Test => planned.iter().map(|job| job.index).collect(),
                Unit::Binary => batch.members.iter().filter(runs).map(|one| one.index).collect(),
            };
            queue.between.place(left_out, &order);
        } else {
            queue.ignored.extend(left_out);
        }
        queue.jobs.push((&mut batch.factory.warden, planned));
    }
    queue
}

/// Puts the jobs of a batch into the order in which they start.
fn put_in_order(
    planned: &mut [Job],
    settings: &Settings,
    batch: &Batch,
    selected: &[Selected],
    durations: &Durations,
) {
    if settings.unit == Unit::Binary {
        // One after the other, as cargo's: each has all threads.
        return;
    }
    if let Some(seed) = settings.shuffle {
        shuffle(planned, selected, seed);
    } else if !settings.single_threaded {
        // A long case that starts last keeps everybody waiting.
        planned.sort_by_cached_key(|job| {
            let (binary, case) = name(selected, job.index);
            Reverse(durations.of(binary, case))
        });
    }
    planned.sort_by_cached_key(|job| Reverse(batch.priority(job.index)));
}

/// The schedule's part of the settings.
fn options(settings: &Settings) -> schedule::Options {
    let (jobs, spare) = match settings.unit {
        Unit::Test => (settings.jobs, settings.spare),
        Unit::Binary => (1, 0),
    };
    schedule::Options {
        jobs,
        spare,
        max_fail: settings.max_fail,
        timeout: settings.global_timeout,
        repeat: settings.repeat,
        stacks: settings.stacks.clone(),
        served_from: schedule::WORTH_A_SERVER,
        most_passed: None,
    }
}

/// Runs all cases and reports their events.
pub fn execute<R: Report>(
    context: Context<'_>,
    batches: &mut [Batch],
    cases: Cases<'_>,
    durations: &mut Durations,
    reporter: R,
) -> Result<R, ExecuteError> {
    let Context { settings, signals, .. } = context;
    let mut whole_binaries = WholeBinaries::default();
    let mentioned = Mentioned::new(batches, cases.selected, context.machine);
    let Queue { jobs, ignored, mut between } =
        queue(context, batches, cases, durations, &mut whole_binaries);
    let ignored = ignored.into_iter().map(not_run).collect();
    let keyboard = settings.keys.then(Keyboard::open).flatten();
    let mut note = |index, took| {
        let (binary, case) = name(cases.selected, index);
        durations.note_own(binary, case, took);
    };
    let mut tick = || {
        let keys = keyboard.as_ref().map_or_else(Vec::new, Keyboard::pressed);
        if keys.iter().any(|key| matches!(key, b't' | b'\n')) {
            signals.ask_for_snapshots();
        }
    };
    let mut translate = |event| {
        let events = whole_binaries.translate(event).into_iter();
        let events = events.map(|event| mentioned.note(in_quarantine(event, cases)));
        between.translate(events.collect())
    };
    let reported = jobs::run(jobs, options(settings), signals, ignored, |events| {
        let reported = report::follow(reporter, events, &mut translate, &mut note, &mut tick);
        if reported.is_err() {
            signals.tell_broken_pipe();
        }
        reported
    });
    let reported = reported.map_err(ExecuteError::Host)?;
    let mut reporter = reported.map_err(ExecuteError::Report)?;
    for event in between.rest() {
        reporter.event(event).map_err(ExecuteError::Report)?;
    }
    for (binary, (findings, deny)) in whole_binaries.findings() {
        reporter.take_shared(binary, findings, deny);
    }
    Ok(reporter)
}

/// The event, with the entry by which its case may fail: the cases of a whole binary have no gate of
/// their own.
fn in_quarantine(mut event: Event, cases: Cases<'_>) -> Event {
    if let Event::Finished(index, outcome) = &mut event {
        outcome.quarantine = cases.gates.quarantine.get(index).cloned();
    }
    event
}

/// The event of a case that is ignored.
fn not_run(index: CaseIndex) -> Event {
    Event::Finished(index, Box::new(Outcome::without_run(Verdict::Ignored)))
}

/// Ignored cases in their places among the others, as libtest reports them, if one case runs at a
/// time.
#[derive(Default)]
struct IgnoredInOrder {
    /// The cases that are ignored, by the case that starts behind them.
    before: BTreeMap<CaseIndex, Vec<CaseIndex>>,
    /// Ignored cases behind the last one.
    rest: Vec<CaseIndex>,
}

impl IgnoredInOrder {
    /// Gives what is ignored, in the order of the list, its place among the others in their order:
    /// before the first one that stands behind it in the list.
    fn place(&mut self, ignored: Vec<CaseIndex>, order: &[CaseIndex]) {
        let mut ignored = ignored.into_iter().peekable();
        for next in order {
            let before: Vec<CaseIndex> =
                std::iter::from_fn(|| ignored.next_if(|index| index < next)).collect();
            if !before.is_empty() {
                self.before.insert(*next, before);
            }
        }
        self.rest.extend(ignored);
    }

    /// The events, and before the first one of a case what stands before it.
    fn translate(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut all = Vec::with_capacity(events.len());
        for event in events {
            let before = match &event {
                Event::Started(index) | Event::Finished(index, _) => self.before.remove(index),
                Event::Output(..)
                | Event::Slow(..)
                | Event::Retried(..)
                | Event::Running(_)
                | Event::Resumed(_)
                | Event::Interrupted(_) => None,
            };
            all.extend(before.into_iter().flatten().map(not_run));
            all.push(event);
        }
        all
    }

    /// Events of the ignored cases that are left.
    fn rest(&mut self) -> impl Iterator<Item = Event> {
        let left = std::mem::take(&mut self.before).into_values().flatten();
        left.chain(std::mem::take(&mut self.rest)).map(not_run)
    }
}

/// The id of a case's binary, and its name.
fn name(selected: &[Selected], index: CaseIndex) -> (&str, &str) {
    let binary = &selected[index.binary];
    (&binary.binary.id, &case(selected, index).name)
}
