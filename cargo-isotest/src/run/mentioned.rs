//! Paths and variables in the output of a failed case that the host has and the case lacks.
//!
//! The text is the case's own, so nothing is believed of it: only so much of it is read, and of the
//! few paths that are asked for at all nothing but whether they are there (lstat(2), readlink(2)).
//! What may hold secrets is never named, nor is a link that leads to it, so that nobody shows it to
//! tests by pasting a flag.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anstream::adapter::strip_str;
use isotest_core::capture::Captured;
use isotest_core::case::CaseIndex;
use isotest_core::finding::Finding;
use isotest_core::host::Host;
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::plan::{Visible, normalised};
use isotest_core::schedule::Event;

use crate::config::machine::Machine;
use crate::run::batch::Batch;
use crate::run::outside::Real;
use crate::run::path_words::paths;
use crate::run::private_path::is_private;
use crate::sandbox::environment;
use crate::select::selected::Selected;

/// Maximum bytes of each part of the output that are read, from its end.
const READ: usize = 256 << 10;
/// Maximum number of paths of one case that are looked up.
const LOOKED_FOR: usize = 32;
/// Maximum number of paths and variables of one case that are named.
const NAMED: usize = 3;
/// A shorter name of a variable is a word like others.
const MIN_NAME: usize = 4;

/// Paths and variables that the cases of one batch lack.
struct Missing {
    visible: Visible,
    host: Host,
    /// Names of variables that are set and do not reach the cases.
    variables: BTreeSet<String>,
}

/// Paths and variables that the cases of a run lack.
pub struct Mentioned<'a> {
    batches: Vec<Missing>,
    /// The batch of each case.
    of: BTreeMap<CaseIndex, usize>,
    selected: &'a [Selected],
    home: Option<PathBuf>,
}

impl<'a> Mentioned<'a> {
    /// Of the cases of these batches.
    pub fn new(batches: &[Batch], selected: &'a [Selected], machine: &Machine) -> Mentioned<'a> {
        let missing = |Batch { factory, .. }: &Batch| {
            let variables = environment::withheld(&machine.variables, &factory.policy);
            let variables = variables.into_iter().filter(|name| name.len() >= MIN_NAME);
            Missing {
                visible: Visible::new(&factory.host, &factory.project, &factory.policy),
                host: factory.host.clone(),
                variables: variables.map(str::to_owned).collect(),
            }
        };
        let members = batches.iter().zip(0..);
        let members = members.flat_map(|(batch, at)| batch.members.iter().map(move |it| (it, at)));
        Mentioned {
            batches: batches.iter().map(missing).collect(),
            of: members.map(|(member, at)| (member.index, at)).collect(),
            selected,
            home: machine.home(),
        }
    }

    /// Adds to the end of a failed case what it has written of.
    pub fn note(&self, mut event: Event) -> Event {
        if let Event::Finished(index, outcome) = &mut event
            && outcome.verdict.is_failure()
            && !matches!(outcome.verdict, Verdict::Denied(_) | Verdict::Unproven { .. })
            && let Some(batch) = self.of.get(index)
        {
            self.note_missing(*index, &self.batches[*batch], outcome);
        }
        event
    }

    fn note_missing(&self, index: CaseIndex, missing: &Missing, outcome: &mut Outcome) {
        let directory = self.selected[index.binary].binary.working_directory.as_std_path();
        let text = last_words(&outcome.output);
        let is_hidden =
            |path: &PathBuf| missing.visible.hides(path) && !is_private(path, self.home.as_deref());
        let mut seen = BTreeSet::new();
        let paths: Vec<PathBuf> = paths(&text)
            .filter_map(|path| resolve(path, directory, self.home.as_deref()))
            .filter(|path| is_hidden(path) && seen.insert(path.clone()))
            .take(LOOKED_FOR)
            .filter(|path| {
                let found = Real::find(path, &missing.visible, &missing.host, self.home.as_deref());
                found.is_some_and(|found| found.is_ok())
            })
            .take(NAMED)
            .collect();
        let is_part = |character: char| character == '_' || character.is_ascii_alphanumeric();
        let words: BTreeSet<&str> = text
            .split(|character| !is_part(character))
            .filter(|word| missing.variables.contains(*word))
            .collect();
        let names: Vec<String> = words.into_iter().take(NAMED).map(str::to_owned).collect();
        if !paths.is_empty() {
            outcome.findings.push(Finding::NotShown(paths));
        }
        if !names.is_empty() {
            outcome.findings.push(Finding::NotPassed(names));
        }
    }
}

/// The last part of the output, where a test says why it has failed, without colours.
fn last_words(output: &Captured) -> String {
    let last = |part: &[u8]| {
        let part = part.get(part.len().saturating_sub(READ)..).unwrap_or_default();
        String::from_utf8_lossy(part).into_owned()
    };
    let text = format!("{}\n{}", last(&output.head), last(&output.tail));
    strip_str(&text).to_string()
}

/// The absolute path that is meant, as it reads.
fn resolve(path: &str, directory: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let path: Cow<'_, Path> = match path.strip_prefix("~/") {
        Some(rest) => home?.join(rest).into(),
        None => Path::new(path).into(),
    };
    normalised(&directory.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_both_parts_are_read_without_colours() {
        let head = [vec![b'x'; READ], b"\x1b[1m/srv/a\x1b[0m".to_vec()].concat();
        let text = last_words(&Captured { head, cut: 7, tail: b"\xFF/srv/b".to_vec() });
        assert!(text.ends_with("x/srv/a\n\u{fffd}/srv/b") && text.len() < READ + 20);
    }

    #[test]
    fn a_path_is_what_is_meant() {
        let (directory, home) = (Path::new("/w/project/crate"), Some(Path::new("/home/me")));
        let meant = |path| resolve(path, directory, home);
        assert_eq!(meant("../../up.txt"), Some("/w/up.txt".into()));
        assert_eq!(meant("~/x"), Some("/home/me/x".into()));
        assert_eq!(meant("/a/../b"), Some("/b".into()));
        assert_eq!(resolve("~/x", directory, None), None);
    }
}
