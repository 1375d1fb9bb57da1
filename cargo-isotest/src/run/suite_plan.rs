//! The plan of a test binary that runs as a whole: tests of it in one process, which prints libtest's
//! JSON.

use std::ffi::{CString, OsString};
use std::sync::Arc;
use std::time::Duration;

use isotest_core::case::Ignore;
use isotest_core::plan::{Plan, StartBy, VerdictSource};

use crate::run::case_plan::spec_with;
use crate::run::policies::Member;
use crate::sandbox::factory::{SandboxFactory, c_string};
use crate::sandbox::provision::CaseProvision;
use crate::select::selected::Selected;

/// The variable that makes a stable libtest print JSON. Compilers and cargo, which tests may start,
/// take such a value for the name of a crate that may use unstable features, of which there is none.
const UNSTABLE: (&str, &str) = ("RUSTC_BOOTSTRAP", "isotest-unit-binary");

/// Options of libtest for the tests of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LibtestOptions {
    /// `--test-threads`.
    pub threads: usize,
    /// `--nocapture`.
    pub pass_through: bool,
    /// `--show-output`.
    pub show_output: bool,
    /// `--shuffle-seed`.
    pub shuffle_seed: Option<u64>,
}

/// The plan of a process for these tests of a binary, without [`arguments`] for libtest.
pub fn plan(
    factory: &SandboxFactory,
    selected: &Selected,
    mut provided: CaseProvision,
    members: &[&Member],
) -> Plan {
    provided.variables.push((UNSTABLE.0.into(), UNSTABLE.1.into()));
    let start_by = StartBy::Exec("the whole binary runs in one sandbox");
    let spec = spec_with(factory, &selected.binary, &[], provided, start_by);
    Plan {
        environment: factory.own_environment(),
        verdict_source: VerdictSource::Suite { tests: members.len() },
        // Each result begins it anew, so it is the limit of the test that takes longest.
        timeout: longest(members),
        // libtest says it of each test.
        slow_timeout: None,
        write_back: factory.write_back.clone(),
        watched: Some(Arc::clone(&factory.watched)),
        weakened: factory.policy.weakened.clone(),
        ..Plan::of(spec)
    }
}

/// The longest time that one of them may take; `None` where one has no limit.
fn longest(members: &[&Member]) -> Option<Duration> {
    let limits = members.iter().map(|member| member.terms.limits.timeout);
    limits.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Arguments for libtest, by which it runs these tests.
pub fn arguments(
    options: &LibtestOptions,
    selected: &Selected,
    members: &[&Member],
) -> Vec<CString> {
    let words = ["--format", "json", "-Z", "unstable-options", "--report-time"];
    let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    arguments.push(format!("--test-threads={}", options.threads).into());
    let flags = [("--nocapture", options.pass_through), ("--show-output", options.show_output)];
    arguments.extend(flags.iter().filter(|(_, given)| *given).map(|(flag, _)| flag.into()));
    if let Some(seed) = options.shuffle_seed {
        arguments.push(format!("--shuffle-seed={seed}").into());
    }
    arguments.extend(selection(selected, members));
    arguments.iter().map(|argument| c_string(argument)).collect()
}

/// Arguments that select tests. What `#[ignore]` leaves out, libtest leaves out by itself.
fn selection(selected: &Selected, members: &[&Member]) -> Vec<OsString> {
    let selection = &selected.selection;
    let runs = selection.cases.iter().filter(|case| case.ignore == Ignore::No).count();
    let is_whole = selection.filtered_out == 0 && runs == members.len();
    if is_whole && runs < selection.cases.len() {
        return Vec::new();
    }
    let mut arguments = vec!["--include-ignored".into()];
    if !is_whole {
        arguments.push("--exact".into());
        let names = members.iter().map(|member| &selection.cases[member.index.case].name);
        arguments.extend(names.map(OsString::from));
    }
    arguments
}
