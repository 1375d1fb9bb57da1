//! Runs that the search for an order asks for: tests of one binary in one process, one after the other.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::time::Instant;

use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::policy::Policy;
use isotest_core::signals::Signals;

use super::libtest_order::seed_for;
use super::one_process::run_in_one_process;
use super::order::{OrderAnswer, OrderRun, OrderSearch, OrderSeen};
use crate::discover::Harness;
use crate::report::{OrderLine, OrderStanding};
use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::run::together::TogetherOptions;
use crate::sandbox::factory::{FactoryError, SandboxBuilder, SandboxFactory};
use crate::select::selected::case;

/// Seeds that are tried for an order, if libtest does not run the tests in the one that was computed.
const TRIES: u64 = 24;

/// An order could not be searched for.
#[derive(Debug)]
pub enum BisectRefusal {
    /// The harness of the binary is not libtest's.
    Harness(String),
    /// The sandbox could not be set up.
    Sandbox(FactoryError),
}

impl fmt::Display for BisectRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BisectRefusal::Harness(binary) => write!(
                f,
                "cannot choose the order of the tests of `{binary}`: its harness is not libtest's\n\
                 hint: `cargo isotest diagnose` finds other causes"
            ),
            BisectRefusal::Sandbox(_) => write!(f, "cannot set up the sandbox of the process"),
        }
    }
}

impl std::error::Error for BisectRefusal {}

/// What the search has come to.
#[derive(Debug)]
pub struct Bisected {
    /// The answer; `None` if it was interrupted.
    pub answer: Option<OrderAnswer>,
    /// The other tests, by their numbers in the answer.
    pub siblings: Vec<CaseIndex>,
    /// Seed of the order in which the tests of the answer have their effect; `None` if it is that of their
    /// names.
    pub seed: Option<u64>,
    /// Runs.
    pub runs: u32,
}

/// Searches for the tests of its binary that change the outcome of a test.
pub fn bisect_order(
    (context, cases): (Context<'_>, Cases<'_>),
    policy: Policy,
    test: &Member,
    others: &[Member],
    seed: u64,
) -> io::Result<Result<Bisected, BisectRefusal>> {
    let selected = &cases.selected[test.index.binary];
    if selected.harness != Harness::Libtest {
        return Ok(Err(BisectRefusal::Harness(selected.binary.id.clone())));
    }
    let policy = Policy { trace: false, write_back: Vec::new(), ..policy };
    let built = SandboxBuilder::start(policy)
        .and_then(|builder| builder.build_for(context.project, context.machine));
    let factory = match built {
        Ok(factory) => factory,
        Err(error) => return Ok(Err(BisectRefusal::Sandbox(error))),
    };
    let is_sibling = |it: &&Member| {
        it.index.binary == test.index.binary
            && it.terms.needs == test.terms.needs
            && case(cases.selected, it.index).ignore == Ignore::No
    };
    let siblings: Vec<Member> = others.iter().filter(is_sibling).cloned().collect();
    let mut bench = OrderBench { context, cases, factory, test: test.clone(), siblings, runs: 0 };
    let mut search = OrderSearch::new(bench.siblings.len(), seed);
    let name = case(cases.selected, test.index).name.clone();
    let mut line = OrderLine::new(context.settings.report.style, &name);
    let began = Instant::now();
    while let Some(run) = search.next() {
        if Signals::asked().is_some() {
            break;
        }
        let ran = bench.run(&run)?;
        search.tell(ran.map(|(seen, _)| seen));
        line.show(&OrderStanding { runs: bench.runs, tests: run.tests(), took: began.elapsed() });
    }
    drop(line);
    let answer = search.answer().cloned();
    let seed = match &answer {
        Some(OrderAnswer::Found(cause)) => bench.run_before(&cause.tests)?,
        _ => None,
    };
    let seed = seed.and_then(|(_, seed)| seed);
    let siblings = bench.siblings.iter().map(|it| it.index).collect();
    Ok(Ok(Bisected { answer, siblings, seed, runs: bench.runs }))
}

struct OrderBench<'a> {
    context: Context<'a>,
    cases: Cases<'a>,
    factory: SandboxFactory,
    test: Member,
    siblings: Vec<Member>,
    runs: u32,
}

impl OrderBench<'_> {
    /// Makes a run. Returns what was seen, and the seed of its order; `None` if the order could not be had.
    fn run(&mut self, run: &OrderRun) -> io::Result<Option<(OrderSeen, Option<u64>)>> {
        match run {
            OrderRun::All(seed) => {
                let all: Vec<usize> = (0..self.siblings.len()).collect();
                Ok(self.run_once(&all, *seed)?.map(|seen| (seen, *seed)))
            }
            OrderRun::Before(before) => self.run_before(before),
        }
    }

    /// Runs these tests before the test. Whether they ran so is read from what libtest says, since another
    /// libtest may have another order.
    fn run_before(&mut self, before: &[usize]) -> io::Result<Option<(OrderSeen, Option<u64>)>> {
        let mut names: Vec<&str> = before.iter().map(|it| self.name(&self.siblings[*it])).collect();
        names.push(self.name(&self.test));
        let computed = seed_for(&names).into_iter();
        let tried = computed.chain((1..=TRIES).map(Some));
        let wanted: BTreeSet<usize> = before.iter().copied().collect();
        for seed in tried {
            let Some(seen) = self.run_once(before, seed)? else { return Ok(None) };
            if seen.before.iter().copied().collect::<BTreeSet<_>>() == wanted {
                return Ok(Some((seen, seed)));
            }
            if Signals::asked().is_some() {
                break;
            }
        }
        Ok(None)
    }

    fn run_once(&mut self, others: &[usize], seed: Option<u64>) -> io::Result<Option<OrderSeen>> {
        let mut members: Vec<Member> = others.iter().map(|it| self.siblings[*it].clone()).collect();
        members.push(self.test.clone());
        members.sort_by_key(|member| member.index);
        let options = TogetherOptions { threads: 1, shuffle_seed: seed };
        let cases = (self.context, self.cases);
        let results = run_in_one_process(cases, &mut self.factory, &members, options, None)?;
        self.runs += 1;
        let Some(results) = results else { return Ok(None) };
        let Some(place) = results.order.iter().position(|it| *it == self.test.index) else {
            return Ok(None);
        };
        let Some(outcome) = results.outcomes.get(&self.test.index) else { return Ok(None) };
        let number = |index: &CaseIndex| self.siblings.iter().position(|it| it.index == *index);
        let before = results.order[..place].iter().filter_map(number).collect();
        Ok(Some(OrderSeen { before, failed: outcome.verdict.is_failure() }))
    }

    fn name(&self, member: &Member) -> &str {
        &case(self.cases.selected, member.index).name
    }
}
