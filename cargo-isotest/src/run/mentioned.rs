//! Paths and variables in the output of a failed case that the host has and the case lacks.
//!
//! The text is the case's own, so nothing is believed of it: only so much of it is read, and of the
//! few paths that are asked for at all nothing but whether they are there (lstat(2)). What may hold
//! secrets is never named, so that nobody shows it to tests by pasting a flag.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

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
use crate::sandbox::environment;
use crate::select::selected::Selected;

/// Maximum bytes of each part of the output that are read, from its end.
const READ: usize = 256 << 10;
/// Maximum number of paths of one case that are looked up.
const LOOKED_FOR: usize = 32;
/// Maximum number of paths and variables of one case that are named.
const NAMED: usize = 3;
/// No path is longer (`PATH_MAX` of path_resolution(7)).
const PATH_MAX: usize = 4096;
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
        let is_hidden = |path: &PathBuf| {
            missing.visible.hides(path)
                && !missing.host.is_remote(path)
                && !is_private(path, self.home.as_deref())
        };
        let mut seen = BTreeSet::new();
        let paths: Vec<PathBuf> = paths(&text)
            .filter_map(|path| resolve(path, directory, self.home.as_deref()))
            .filter(|path| is_hidden(path) && seen.insert(path.clone()))
            .take(LOOKED_FOR)
            .filter(|path| fs::symlink_metadata(path).is_ok())
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

/// Words that look like an absolute path, one of the home or one above the working directory.
pub fn paths(text: &str) -> impl Iterator<Item = &str> {
    let begins = |at: usize, rest: &str| {
        let before = &text[..at];
        let is_path = ["/", "~/", "../"].iter().any(|start| rest.starts_with(start));
        let stands_alone = before.chars().next_back().is_none_or(|before| {
            before.is_whitespace() || before.is_control() || "\"'`([{<>=:,;|".contains(before)
        });
        // `//` begins what follows the scheme of a URL.
        is_path && !rest.starts_with("//") && (stands_alone || before.ends_with("file://"))
    };
    let starts = text.char_indices().filter(|(_, character)| "/~.".contains(*character));
    starts.filter_map(move |(at, _)| {
        let rest = &text[at..];
        if !begins(at, rest) {
            return None;
        }
        let line = rest.split(char::is_control).next().unwrap_or_default();
        let quote = text[..at].chars().next_back().filter(|before| "\"'`".contains(*before));
        // A name in quotes may have blanks.
        let quoted = quote.and_then(|quote| line.split_once(quote)).map(|(path, _)| path);
        let bare = || {
            let ends = |it: char| it.is_whitespace() || "\"'`()[]{}<>,:;|".contains(it);
            line.split(ends).next().unwrap_or_default().trim_end_matches(['.', '!', '?'])
        };
        let path = quoted.unwrap_or_else(bare).trim_end_matches('\\');
        (path.len() <= PATH_MAX).then_some(path)
    })
}

/// The absolute path that is meant, as it reads.
fn resolve(path: &str, directory: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let path: Cow<'_, Path> = match path.strip_prefix("~/") {
        Some(rest) => home?.join(rest).into(),
        None => Path::new(path).into(),
    };
    normalised(&directory.join(path))
}

/// Names of files and directories that hold keys and logins.
const PRIVATE: [&str; 22] = [
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".m2",
    ".mozilla",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pgpass",
    ".pki",
    ".pypirc",
    ".ssh",
    ".thunderbird",
    ".vault-token",
    ".yarnrc.yml",
    "keyrings",
    "shadow",
];
/// Beginnings and ends of the names of private files.
const KEYS: [&str; 6] = [".key", ".pem", ".p12", ".pfx", ".kdbx", ".gpg"];

/// True if the path may be that of a secret, or holds somebody's whole home.
pub fn is_private(path: &Path, home: Option<&Path>) -> bool {
    let is_home = path.parent() == Some(Path::new("/home"))
        || path == Path::new("/root")
        || home.is_some_and(|home| home.starts_with(path));
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().to_ascii_lowercase()),
        Component::RootDir | Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
            None
        }
    });
    is_home
        || names.any(|name| {
            PRIVATE.contains(&name.as_str())
                || environment::is_secret(&name)
                || name.starts_with("id_")
                || KEYS.iter().any(|end| name.ends_with(end))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_wherever_they_stand() {
        let found = |text: &'static str| paths(text).collect::<Vec<_>>();
        assert_eq!(found("cannot open /srv/data.txt: No such file"), ["/srv/data.txt"]);
        assert_eq!(found("missing \"/srv/a b/c\", and `~/x y`"), ["/srv/a b/c", "~/x y"]);
        assert_eq!(found("say \\\"/srv/a\\\" twice"), ["/srv/a"]);
        assert_eq!(found("at /srv/x.rs:10:5\n(../../up.txt)."), ["/srv/x.rs", "../../up.txt"]);
        assert_eq!(found("PATH=/a/bin:/b/bin."), ["/a/bin", "/b/bin"]);
        assert_eq!(found("file:///srv/page http://host/srv // /"), ["/srv/page", "/"]);
        assert_eq!(found("a/b 1/2 x../y é/z ..."), [""; 0]);
        assert_eq!(found("'/it is not closed"), ["/it"]);
        assert_eq!(found("größe /srv/é"), ["/srv/é"]);
        assert!(paths(&format!("/{}", "x".repeat(PATH_MAX))).next().is_none());
    }

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

    #[test]
    fn secrets_are_not_named() {
        let is_private = |path| is_private(Path::new(path), Some(Path::new("/home/me")));
        let private = [
            "/home/me/.ssh/config",
            "/home/me/.config/gh/hosts.yml",
            "/srv/api-token.txt",
            "/srv/tls/server.key",
            "/srv/id_ed25519",
            "/home/me/.cargo/credentials.toml",
            "/home/you",
            "/home/me",
            "/home",
            "/root",
        ];
        for path in private {
            assert!(is_private(path), "{path}");
        }
        for path in ["/home/me/data", "/srv/keyboard", "/home/you/data", "/home/me/.local/bin/x"] {
            assert!(!is_private(path), "{path}");
        }
    }
}
