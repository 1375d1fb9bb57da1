//! `cargo isotest baseline`: the findings of a recorded run become known ones.

use std::collections::{BTreeMap, BTreeSet};

use isotest_core::finding::{Code, Codes};
use isotest_core::untrusted::Link;

use crate::cli::BaselineCommand;
use crate::commands::{config_file, recorded};
use crate::config::machine::Machine;
use crate::config::{self, BASELINE, Baseline, BaselineEntry, ConfigError};
use crate::discover;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report::{self, Fact, FindingFact, State};
use crate::store::{Lines, Store, StoreError};

/// Writes the baseline of the project, or tells what would change.
pub fn baseline(command: &BaselineCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let request = recorded::request(&command.project);
    let root = discover::workspace_root(&request)?;
    let store = recorded::store_of(&command.project)?;
    let root = root.as_std_path();
    let before = config::read_baseline(root, machine)?;
    let (after, filtered_out) = known(before.clone(), &store, command.run.as_deref(), machine)?;
    let (before, after_entries) = (entries(&before), entries(&after));
    let added: Vec<String> = after_entries.difference(&before).map(ToString::to_string).collect();
    let removed: Vec<String> = before.difference(&after_entries).map(ToString::to_string).collect();
    let path = root.join(BASELINE);
    let shown = machine.shown(&path).to_string_lossy().into_owned();
    if !command.check {
        config_file::write(root, BASELINE, after.text().as_bytes()).map_err(|cause| {
            let hint = Link::is_cause(&cause).then_some("remove the link");
            ConfigError::new(format!("cannot write `{shown}`: {cause}")).hint(hint)
        })?;
    }
    report::baseline(&shown, &added, &removed, after_entries.len(), command.check)
        .map_err(Error::Report)?;
    if filtered_out > 0 {
        report::filtered_out_of_baseline(filtered_out);
    }
    let changes = !added.is_empty() || !removed.is_empty();
    Ok(if command.check && changes { ExitCode::TestsFailed } else { ExitCode::Passed })
}

fn entries(baseline: &Baseline) -> BTreeSet<BaselineEntry> {
    baseline.entries().collect()
}

/// The baseline after this run, and the number of tests that were filtered out there: what ran in it
/// is as it was there, the rest as before.
fn known(
    mut baseline: Baseline,
    store: &Store,
    run: Option<&str>,
    machine: &Machine,
) -> Result<(Baseline, usize), StoreError> {
    let (file, path) = store.find(run, &machine.directory)?;
    let (_, mut lines) = Lines::facts(file, &path)?;
    // Of all root filesystems together.
    let mut seen: BTreeMap<(String, Option<String>), Codes> = BTreeMap::new();
    let mut add = |binary: &str, test: Option<&str>, codes: Codes| {
        let known = seen.entry((binary.to_owned(), test.map(str::to_owned))).or_default();
        *known = known.iter().chain(codes.iter()).collect();
    };
    let mut shared = BTreeSet::new();
    let mut filtered_out = 0;
    for (_, fact) in &mut lines {
        match fact {
            Fact::Binary(binary) if binary.shared => {
                add(&binary.binary, None, Codes::default());
                shared.insert(binary.binary);
            }
            Fact::Binary(binary) if binary.filtered_out > 0 => filtered_out += binary.filtered_out,
            Fact::Binary(binary) => {
                let tests: BTreeSet<&str> = binary.tests.iter().map(String::as_str).collect();
                baseline.retain(&binary.binary, |test| tests.contains(test));
            }
            Fact::TestFinished(test) if !shared.contains(&test.binary) => match test.state() {
                State::Passed | State::Flaky | State::Failed => {
                    let earlier = test.failed_attempts.iter().map(|attempt| &attempt.findings);
                    let all = earlier.chain([&test.findings]);
                    add(
                        &test.binary,
                        Some(&test.test),
                        all.map(|it| codes(it)).fold(Codes::default(), |all, codes| {
                            all.iter().chain(codes.iter()).collect()
                        }),
                    );
                }
                State::Ignored | State::NotRun => {}
            },
            Fact::RunFinished(end) => {
                for binary in &end.binary_findings {
                    add(&binary.binary, None, codes(&binary.findings));
                }
            }
            Fact::Started(_)
            | Fact::TestStarted(_)
            | Fact::TestRetried(_)
            | Fact::TestFinished(_)
            | Fact::Interrupted
            | Fact::TestTraced(_)
            | Fact::Other => {}
        }
    }
    if let Some(trouble) = lines.trouble() {
        return Err(trouble);
    }
    for ((binary, test), codes) in seen {
        baseline.set(&binary, test.as_deref(), codes);
    }
    Ok((baseline, filtered_out))
}

/// The codes of findings; those of a newer isotest are not known.
fn codes(findings: &[FindingFact]) -> Codes {
    findings.iter().filter_map(|finding| Code::of_name(&finding.finding)).collect()
}
