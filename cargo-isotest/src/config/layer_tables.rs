//! `[[profile.NAME.layer]]`: directories that a command makes once, and of which each test has a copy.
//!
//! They are read here, by the reader of the file. `docs/made-once.md` describes them.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use toml::de::DeValue;

use super::document::{Node, Reader, SpannedText};
use super::error::ConfigError;
use crate::discover::filterset::Expression;

/// Keys of a layer.
const KEYS: [&str; 6] = ["name", "run", "inputs", "at", "filter", "timeout"];
/// Default time limit of its command.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A directory that a command makes once, in a sandbox; each test has a copy-on-write view of it
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Layer")]
pub struct LayerTable {
    /// Its name
    pub name: String,
    /// The command that fills it: a text is run by `/bin/sh`, a list is a program and its arguments
    pub run: RunTable,
    /// Globs of files of the workspace: it is made anew when one of them changes
    #[schemars(with = "Vec<String>")]
    pub inputs: Vec<InputGlob>,
    /// Absolute path at which the command and the tests see it
    #[schemars(with = "String")]
    pub at: SpannedText,
    /// The tests that see it, as a filter expression; all tests if it is left out
    #[schemars(with = "Option<String>")]
    pub filter: Option<SpannedText>,
    /// Time limit of the command: `5m` by default, or `none`
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
    /// The line that it starts in.
    #[schemars(skip)]
    pub line: usize,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged, rename = "Run")]
pub enum RunTable {
    /// A script for `/bin/sh`
    Script(String),
    /// A program and its arguments
    Words(Vec<String>),
}

/// A glob of files of the workspace.
#[derive(Debug, Clone)]
pub struct InputGlob {
    /// The glob, as it is written.
    pub text: String,
    /// Its first components that have no wildcard: the file or directory below which it matches.
    pub base: PathBuf,
    /// Matches paths that are relative to the root of the workspace.
    pub matcher: GlobMatcher,
}

impl PartialEq for InputGlob {
    fn eq(&self, other: &InputGlob) -> bool {
        self.text == other.text
    }
}

impl Eq for InputGlob {}

/// A layer in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeOnce {
    /// Its name.
    pub name: String,
    /// Its command.
    pub run: RunTable,
    /// Files of the workspace that it is made of.
    pub inputs: Vec<InputGlob>,
    /// Its path in the sandbox.
    pub at: PathBuf,
    /// Time limit of the command.
    pub timeout: Option<Duration>,
    /// The tests that see it.
    pub tests: Expression,
    /// Its filter expression.
    pub filter: String,
    /// Its profile, file and line.
    pub place: String,
}

impl<'t> Reader<'t> {
    /// Layers of a profile.
    pub(super) fn layers(&self, value: &Node<'t>) -> Result<Vec<LayerTable>, ConfigError> {
        let DeValue::Array(entries) = value.get_ref() else {
            let what = "layers must be tables: `[[profile.NAME.layer]]`";
            return Err(self.error(what, value.span()));
        };
        let mut layers: Vec<LayerTable> = Vec::new();
        for entry in entries.iter() {
            let layer = self.layer(entry)?;
            if let Some(first) = layers.iter().find(|first| first.name == layer.name) {
                let what = format!("a second layer `{}`", layer.name);
                let hint = format!("the first is in line {}", first.line);
                return Err(self.error(what, entry.span()).hint(Some(&hint)));
            }
            layers.push(layer);
        }
        Ok(layers)
    }

    fn layer(&self, value: &Node<'t>) -> Result<LayerTable, ConfigError> {
        let table = self.table(value, "a layer must be a table: `[[profile.NAME.layer]]`")?;
        let (mut name, mut run, mut inputs, mut at) = (None, None, None, None);
        let (mut filter, mut timeout) = (None, Some(TIMEOUT));
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.filled(value)?),
                "run" => run = Some(self.command(value)?),
                "inputs" => inputs = Some(self.inputs(value)?),
                "at" => at = Some(self.inner_path(value)?),
                "filter" => filter = Some(self.string(value)?),
                "timeout" => timeout = self.time(value)?,
                _ => return Err(self.unknown(key, "a layer", KEYS.into_iter())),
            }
        }
        let missing = |key, hint: &str| {
            let what = format!("missing `{key}` in a layer");
            self.error(what, value.span()).hint(Some(hint))
        };
        Ok(LayerTable {
            name: name.ok_or_else(|| missing("name", "`name = \"database\"`"))?,
            run: run.ok_or_else(|| missing("run", "`run = \"scripts/make-database\"`"))?,
            inputs: inputs.ok_or_else(|| {
                let hint = "files of the workspace that it is made of: `inputs = \
                     [\"migrations/**\"]`; `[]` if there is none";
                missing("inputs", hint)
            })?,
            at: at.ok_or_else(|| missing("at", "`at = \"/srv/database\"`"))?,
            filter,
            timeout,
            line: self.line(value.span().start),
        })
    }

    /// A script, or a list of words.
    fn command(&self, value: &Node<'t>) -> Result<RunTable, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                Err(self.error("the command is empty", value.span()))
            }
            DeValue::String(text) if text.contains('\0') => {
                Err(self.error("a command must not contain a NUL character", value.span()))
            }
            DeValue::String(text) => Ok(RunTable::Script(text.to_string())),
            _ => self.words(value).map(RunTable::Words),
        }
    }

    fn inputs(&self, value: &Node<'t>) -> Result<Vec<InputGlob>, ConfigError> {
        let globs = self.names(value)?;
        globs
            .into_iter()
            .map(|SpannedText { text, span }| {
                input_glob(&text).map_err(|cause| {
                    let what = format!("cannot use `{text}` as an input: {cause}");
                    let hint =
                        "globs are relative to the root of the workspace: `\"migrations/**\"`";
                    self.error(what, span).hint(Some(hint))
                })
            })
            .collect()
    }

    /// An absolute path without `.` and `..`.
    fn inner_path(&self, value: &Node<'t>) -> Result<SpannedText, ConfigError> {
        let SpannedText { text, span } = self.string(value)?;
        let path = Path::new(&text);
        let is_plain =
            |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        let is_usable = path.is_absolute()
            && path.parent().is_some()
            && path.components().all(is_plain)
            && !text.contains('\0');
        match is_usable {
            // As the sandbox compares it: without a slash at its end or two in a row.
            true => {
                let text = path.components().collect::<PathBuf>().to_string_lossy().into_owned();
                Ok(SpannedText { text, span })
            }
            false => {
                let hint = "an absolute path without `..`: `at = \"/srv/database\"`";
                Err(self.error("`at` is not such a path", span).hint(Some(hint)))
            }
        }
    }
}

/// Reads a glob of files of the workspace; an error says why it is none.
pub fn input_glob(text: &str) -> Result<InputGlob, String> {
    let path = Path::new(text);
    if path.is_absolute() {
        return Err("it is an absolute path".to_owned());
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("`..` leads out of the workspace".to_owned());
    }
    let clean: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if clean.as_os_str().is_empty() {
        return Err("it is empty".to_owned());
    }
    let clean = clean.to_string_lossy().into_owned();
    let glob = GlobBuilder::new(&clean).literal_separator(true).build();
    let glob = glob.map_err(|error| error.kind().to_string())?;
    let is_literal = |part: &Component<'_>| {
        !part.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[]{}\\!".contains(byte))
    };
    let base = Path::new(&clean).components().take_while(is_literal).collect();
    Ok(InputGlob { text: text.to_owned(), base, matcher: glob.compile_matcher() })
}

#[cfg(test)]
mod tests {
    use super::super::file::read;
    use super::*;

    const WHOLE: &str =
        "name = \"db\"\nrun = \"make it\"\ninputs = [\"sql/**\"]\nat = \"/srv/db\"\n";

    fn refused(lines: &str) -> String {
        let text = format!("[[profile.default.layer]]\n{lines}");
        read("c.toml", &text).expect_err(lines).to_string()
    }

    #[test]
    fn a_layer_is_read() {
        let more = "[[profile.ci.layer]]\nname = \"b\"\nrun = [\"a\", \"b c\"]\ninputs = []\n\
                    at = \"//srv//b/\"\nfilter = \"test(a)\"\ntimeout = \"none\"\n";
        let text = format!("[[profile.ci.layer]]\n{WHOLE}{more}");
        let file = read("c.toml", &text).expect("it is right");
        let [one, other] = &file.profile["ci"].layers[..] else { panic!("two layers") };
        assert_eq!(one.run, RunTable::Script("make it".to_owned()));
        assert_eq!((one.name.as_str(), one.timeout, one.line), ("db", Some(TIMEOUT), 1));
        assert_eq!(one.inputs[0].base, Path::new("sql"));
        assert_eq!(other.run, RunTable::Words(vec!["a".to_owned(), "b c".to_owned()]));
        assert_eq!((other.at.text.as_str(), other.timeout), ("/srv/b", None));
        assert_eq!(other.filter.as_ref().map(|filter| filter.text.as_str()), Some("test(a)"));
    }

    #[test]
    fn what_is_wrong_with_a_layer_is_pointed_at() {
        let without = |key: &str| -> String {
            WHOLE
                .lines()
                .filter(|line| !line.starts_with(key))
                .map(|line| format!("{line}\n"))
                .collect()
        };
        for (text, wanted) in [
            (without("name"), ["missing `name` in a layer", "c.toml:1:"]),
            (without("run"), ["missing `run` in a layer", "scripts/make-database"]),
            (without("inputs"), ["missing `inputs` in a layer", "migrations/**"]),
            (without("at"), ["missing `at` in a layer", "/srv/database"]),
            (WHOLE.replace("\"make it\"", "\" \""), ["the command is empty", "c.toml:3:7"]),
            (WHOLE.replace("\"make it\"", "[]"), ["the command is empty", "c.toml:3:7"]),
            (WHOLE.replace("/srv/db", "srv/db"), ["`at` is not such a path", "c.toml:5:6"]),
            (WHOLE.replace("/srv/db", "/srv/../db"), ["`at` is not such a path", "c.toml:5:6"]),
            (WHOLE.replace("/srv/db", "/"), ["`at` is not such a path", "c.toml:5:6"]),
            (WHOLE.replace("sql/**", "../x"), ["`..` leads out of the workspace", "c.toml:4:11"]),
            (WHOLE.replace("sql/**", "/x"), ["it is an absolute path", "c.toml:4:11"]),
            (WHOLE.replace("sql/**", "."), ["it is empty", "c.toml:4:11"]),
            (WHOLE.replace("sql/**", "a[b"), ["as an input", "c.toml:4:11"]),
            (format!("{WHOLE}tiemout = 1\n"), ["unknown key `tiemout`", "did you mean `timeout`?"]),
            (
                format!("{WHOLE}[[profile.default.layer]]\n{WHOLE}"),
                ["a second layer `db`", "the first is in line 1"],
            ),
        ] {
            let error = refused(&text);
            wanted.iter().for_each(|part| assert!(error.contains(part), "{text}\n{error}"));
        }
    }

    #[test]
    fn a_glob_has_the_directory_that_it_matches_below() {
        let base = |text| input_glob(text).expect("a glob").base;
        assert_eq!(base("migrations/**/*.sql"), Path::new("migrations"));
        assert_eq!(base("./Cargo.lock"), Path::new("Cargo.lock"));
        assert_eq!(base("**/*.sql"), Path::new(""));
        assert_eq!(base("a/b{c,d}/e"), Path::new("a"));
        assert!(input_glob("a/*/c").expect("a glob").matcher.is_match("a/b/c"));
        assert!(!input_glob("a/*").expect("a glob").matcher.is_match("a/b/c"));
    }
}
