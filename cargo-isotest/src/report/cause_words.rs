//! Words for the causes of a flaky test: one sentence that says why, and one fix. They are in
//! `causes.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::cause_code::CauseCode;
use super::diagnosed::{Fix, OtherParty};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Words {
    why: String,
    why_machine: Option<String>,
    fix: String,
    #[serde(default)]
    code: Vec<String>,
}

static WORDS: LazyLock<BTreeMap<String, Words>> =
    LazyLock::new(|| toml::from_str(include_str!("causes.toml")).expect("a test has read it"));

fn words(cause: CauseCode) -> &'static Words {
    WORDS.get(cause.code()).expect("a test has looked for each cause")
}

/// The sentence that says why a test fails.
pub fn why(cause: CauseCode, other: Option<&OtherParty>) -> &'static str {
    let words = words(cause);
    let machine = words.why_machine.as_ref().filter(|_| other == Some(&OtherParty::ThisMachine));
    machine.unwrap_or(&words.why)
}

/// The fix of a cause.
pub fn fix(cause: CauseCode) -> Fix {
    let Words { fix, code, .. } = words(cause);
    Fix { text: fix.clone(), code: code.clone(), tools: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_words_and_no_other_has() {
        for cause in CauseCode::all() {
            assert!(why(cause, None).ends_with('.'), "{}", cause.code());
            assert!(!fix(cause).text.is_empty());
        }
        assert_eq!(WORDS.len(), CauseCode::all().count());
    }

    #[test]
    fn the_machine_may_be_the_other_party() {
        let machine = why(CauseCode::PortCollision, Some(&OtherParty::ThisMachine));
        assert_ne!(machine, why(CauseCode::PortCollision, Some(&OtherParty::EarlierRun)));
    }
}
