//! `cargo isotest bisect-order`: the tests that must run before a test in one process to change its outcome.

use std::time::Instant;

use isotest_core::signals::Signals;

use crate::cli::{BisectOrderCommand, ReportFormat};
use crate::commands::suite::{Suite, with_suite};
use crate::config::machine::Machine;
use crate::diagnose::{BisectRefusal, Bisected, OrderAnswer, OrderCause, bisect_order};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, ORDER_FORMAT, OrderFound, Ordered};
use crate::select::selected::case;

/// Searches among the tests of the binary of one test.
pub fn bisect(command: &BisectOrderCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let ordered = with_suite(&command.suite, machine, |suite| ordered(command, &suite))?;
    let printed = match command.format {
        ReportFormat::Human => report::ordered_for_people(&ordered),
        ReportFormat::Json => report::ordered_for_programs(&ordered),
    };
    printed.map_err(Error::Report)?;
    let is_found = matches!(ordered.found, OrderFound::Found { .. });
    Ok(match Signals::asked() {
        Some(signal) => ExitCode::Signal(signal),
        None if is_found => ExitCode::TestsFailed,
        None => ExitCode::Passed,
    })
}

fn ordered(command: &BisectOrderCommand, suite: &Suite<'_>) -> Result<Ordered, Error> {
    let began = Instant::now();
    let (test, policy, others) = suite.find(&command.case)?;
    let surroundings = (suite.context, suite.cases);
    let bisected = bisect_order(surroundings, policy, &test, &others, command.seed);
    let bisected = bisected.map_err(Error::Host)?.map_err(|refusal| match refusal {
        BisectRefusal::Sandbox(error) => error.into(),
        harness @ BisectRefusal::Harness(_) => Error::NotOne(harness.to_string()),
    })?;
    let selected = &suite.cases.selected[test.index.binary];
    let name = case(suite.cases.selected, test.index).name.clone();
    Ok(Ordered {
        format: ORDER_FORMAT,
        binary: selected.binary.id.clone(),
        found: found(suite, &bisected, &selected.binary.rerun_flag, &name),
        test: name,
        runs: bisected.runs,
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn found(suite: &Suite<'_>, it: &Bisected, select: &str, name: &str) -> OrderFound {
    let names = |numbers: &[usize]| -> Vec<String> {
        let index = |number: &usize| it.siblings[*number];
        numbers.iter().map(|it| case(suite.cases.selected, index(it)).name.clone()).collect()
    };
    match &it.answer {
        None => OrderFound::Interrupted,
        Some(OrderAnswer::FlakyAlone) => OrderFound::FlakyAlone,
        Some(OrderAnswer::Unstable) => OrderFound::Unstable,
        Some(OrderAnswer::NoDifference(orders, failed)) => {
            OrderFound::NoDifference { orders: *orders, failed: *failed }
        }
        Some(OrderAnswer::Found(OrderCause { pollutes, tests, order_matters, cleaners })) => {
            let tests = names(tests);
            let all: Vec<String> = tests.iter().cloned().chain([name.to_owned()]).collect();
            OrderFound::Found {
                pollutes: *pollutes,
                command: report::order_command(select, it.seed, &all),
                tests,
                order_matters: *order_matters,
                cleaners: names(cleaners),
                seed: it.seed,
            }
        }
    }
}
