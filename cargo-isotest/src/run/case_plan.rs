//! Plans: the set-up that the cases of a binary share, and the plan of each case.

use std::ffi::OsStr;
use std::sync::Arc;

use isotest_core::case::{Case, Ignore};
use isotest_core::plan::{HarnessProcess, Plan, SandboxSpec, StartBy, VerdictSource};
use isotest_core::policy::{Guard, Limits, Root};

use crate::config::machine::Variable;
use crate::discover::list::NEXTEST_ENVIRONMENT;
use crate::discover::{Binary, BuildOrigin, Harness};
use crate::sandbox::early_code;
use crate::sandbox::factory::{SandboxFactory, c_string};
use crate::sandbox::fork_server;
use crate::sandbox::provision::CaseProvision;
use crate::select::selected::Selected;

/// The set-up that all cases of a binary share which need the same.
pub fn spec(
    factory: &SandboxFactory,
    selected: &Selected,
    mut provided: CaseProvision,
) -> Arc<SandboxSpec> {
    let binary = &selected.binary;
    let mut arguments: Vec<&OsStr> = Vec::new();
    if selected.harness == Harness::Libtest {
        // `--include-ignored`: whether it runs was decided when it was selected.
        arguments.extend(["--exact", "--include-ignored"].map(OsStr::new));
        // For the one test that will run, on another thread than `main`: who exits tells who has
        // ended. It also saves libtest asking how many processors there are, which is a tenth of a
        // short case.
        arguments.push(OsStr::new("--test-threads=2"));
    }
    if selected.harness == Harness::Foreign {
        let added = NEXTEST_ENVIRONMENT.map(|(name, value)| (name.into(), value.into()));
        provided.variables.extend(added);
    }
    let start_by = match selected.harness {
        Harness::Libtest | Harness::Foreign => StartBy::ForkServer
            .or_exec(fork_server::unsuitable(binary.executable.as_std_path()))
            .or_exec(distrusted(factory, binary, &provided.variables)),
        Harness::None => StartBy::Exec("not a test harness"),
    };
    spec_with(factory, binary, &arguments, provided, start_by)
}

/// Reason why the guard or root allows no fork server: code of the build may run in it, confined less
/// than a case. `None` if it may have one.
fn distrusted(
    factory: &SandboxFactory,
    binary: &Binary,
    provided: &[Variable],
) -> Option<&'static str> {
    let policy = &factory.policy;
    let by_root = !factory.host.settings.is_empty();
    if !by_root && policy.guard != Guard::Strict {
        return None;
    }
    match (binary.origin, &policy.root) {
        (BuildOrigin::Elsewhere, _) if by_root => Some("built elsewhere and started by root"),
        (BuildOrigin::Elsewhere, _) => Some("built elsewhere, with `--guard strict`"),
        (BuildOrigin::Here, Root::Directory(_)) if by_root => {
            Some("dynamic loader of another root filesystem, started by root")
        }
        (BuildOrigin::Here, Root::Directory(_)) => {
            Some("dynamic loader of another root filesystem, with `--guard strict`")
        }
        (BuildOrigin::Here, Root::Host) => {
            let libraries = factory.library_directories(binary, provided);
            let directory = binary.working_directory.as_std_path();
            early_code::found(binary.executable.as_std_path(), &libraries, directory)
        }
    }
}

/// The set-up for a binary with what its tests need.
pub fn spec_with(
    factory: &SandboxFactory,
    binary: &Binary,
    arguments: &[&OsStr],
    provided: CaseProvision,
    start_by: StartBy,
) -> Arc<SandboxSpec> {
    let (program, mut words) = binary.command();
    words.extend(arguments);
    let start_by = match binary.runner.is_empty() {
        true => start_by,
        false => StartBy::Exec("started by a runner"),
    };
    let directory = binary.working_directory.as_std_path();
    let variables = [factory.environment_of(binary), provided.variables].concat();
    let spec = factory.spec(program, &words, directory, &variables, start_by);
    match provided.services {
        services if services.is_empty() => spec,
        services => Arc::new(Arc::unwrap_or_clone(spec).with_services(services)),
    }
}

/// Arguments that nextest gives a harness for one case, in its order, and the passed options after
/// them; a name that could be a flag stands behind `--`.
fn as_nextest<'a>(case: &'a Case, passed_on: &[&'a str]) -> Vec<&'a str> {
    let name = case.selector();
    let ignored = (case.mark != Ignore::No).then_some("--ignored");
    let before = ["--nocapture"].into_iter().chain(ignored).chain(passed_on.iter().copied());
    match name.starts_with('-') {
        false => ["--exact", name].into_iter().chain(before).collect(),
        true => ["--exact"].into_iter().chain(before).chain(["--", name]).collect(),
    }
}

/// Arguments for one case, behind those of all cases of its binary.
pub fn arguments<'a>(selected: &'a Selected, case: &'a Case) -> Vec<&'a str> {
    let passed_on: Vec<&str> = selected.passed_on.iter().map(String::as_str).collect();
    match selected.harness {
        // `--nocapture` stands last: rusty-fork, which starts the program again for a test, takes
        // what follows it for its value and leaves it out.
        Harness::Libtest => vec![case.called(), "--nocapture"],
        Harness::Foreign => as_nextest(case, &passed_on),
        Harness::None => passed_on,
    }
}

/// The plan of one case, which these limits hold for.
pub fn plan_of(
    factory: &SandboxFactory,
    spec: &Arc<SandboxSpec>,
    selected: &Selected,
    case: &Case,
    limits: &Limits,
) -> Plan {
    let name = case.called().to_owned();
    let process = match selected.binary.runner.is_empty() {
        true => HarnessProcess::First,
        false => HarnessProcess::Wrapped,
    };
    let verdict_source = match selected.harness {
        Harness::Libtest => {
            VerdictSource::Libtest { name, filtered_out: selected.listed - 1, process }
        }
        Harness::Foreign => VerdictSource::Foreign { name },
        Harness::None => VerdictSource::ExitCode,
    };
    let arguments = arguments(selected, case);
    let arguments = arguments.into_iter().map(|text| c_string(OsStr::new(text))).collect();
    Plan {
        spec: Arc::clone(spec),
        arguments,
        environment: factory.own_environment(),
        verdict_source,
        timeout: limits.timeout,
        slow_timeout: limits.slow_timeout,
        output_limit: limits.output,
        memory_share: None,
        write_back: factory.write_back.clone(),
        watched: Some(Arc::clone(&factory.watched)),
        scratch_reader: None,
        weakened: factory.policy.weakened.clone(),
        seed: 0,
    }
}
