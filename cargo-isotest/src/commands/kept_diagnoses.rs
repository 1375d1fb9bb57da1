//! Diagnoses that are kept for later commands, and the tokens that these find among them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use isotest_core::case::CaseIndex;

use crate::commands::suite::Suite;
use crate::diagnose::Token;
use crate::error::Error;
use crate::report::{self, Diagnosed, KnownDiagnosis};
use crate::run::context::Context;
use crate::run::traced::binary_hash;
use crate::select::selected::{Selected, case};
use crate::store::{Diagnoses, StoreError};

/// Keeps diagnoses, if runs are recorded. Returns true if all are kept; what cannot be is warned of.
pub fn keep<'a>(context: Context<'_>, diagnosed: impl IntoIterator<Item = &'a Diagnosed>) -> bool {
    if !context.settings.record {
        return false;
    }
    let diagnoses = Diagnoses::of(context.project.target_directory.as_std_path());
    // What was interrupted must not hide an earlier answer.
    let is_answer = |one: &&Diagnosed| !one.is_interrupted || !one.causes.is_empty();
    for one in diagnosed.into_iter().filter(is_answer) {
        if let Err(error) = diagnoses.keep(one, SystemTime::now()) {
            report::diagnosis_not_kept(diagnoses.path(), &error);
            return false;
        }
    }
    true
}

/// The token of the latest diagnosis of a test that has one. Tells which it is.
pub fn latest_token(suite: &Suite<'_>, test: CaseIndex) -> Result<Token, Error> {
    let Suite { context, cases, .. } = suite;
    let diagnoses = Diagnoses::of(context.project.target_directory.as_std_path());
    let binary = &cases.selected[test.binary].binary.id;
    let name = &case(cases.selected, test).name;
    let kept = diagnoses.of_test(binary, name);
    let latest = kept.iter().find_map(|kept| Some((kept, kept.diagnosis.token.as_ref()?)));
    let Some((kept, token)) = latest else {
        let named = report::quoted(&format!("{binary} {name}"));
        return Err(StoreError::NoToken(named, diagnoses.path().to_owned()).into());
    };
    if !context.settings.report.quiet {
        let (colour, cause) = (context.settings.report.style.stderr_colour, &kept.diagnosis.cause);
        report::token_found(&kept.time, cause.as_deref(), colour).map_err(Error::Report)?;
    }
    Ok(Token::read(token)?)
}

/// What diagnoses of these very binaries have found of tests that were seen to fail: the latest of each.
pub fn known_diagnoses(
    context: Context<'_>,
    selected: &[Selected],
) -> BTreeMap<CaseIndex, KnownDiagnosis> {
    let diagnoses = Diagnoses::of(context.project.target_directory.as_std_path()).all();
    let mut known = BTreeMap::new();
    for (binary, one) in selected.iter().enumerate() {
        let mut kept = diagnoses.iter().filter(|it| it.binary == one.binary.id).peekable();
        // Binaries are large: only those are read of which something is known.
        if kept.peek().is_none() {
            continue;
        }
        let Ok(hash) = binary_hash(one.binary.executable.as_std_path()) else { continue };
        let mut seen = BTreeSet::new();
        for kept in kept.filter(|it| it.binary_hash == hash) {
            let case = one.selection.cases.iter().position(|case| case.name == kept.test);
            let Some(case) = case.filter(|case| seen.insert(*case)) else { continue };
            if kept.diagnosis.is_of_flaky() {
                known.insert(CaseIndex { binary, case }, kept.diagnosis.clone());
            }
        }
    }
    known
}
