//! `.config/isotest-baseline.toml`: findings that are known, which are not denied.
//!
//! Sorted, an entry for each test and code, so that two versions of the file differ in lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use isotest_core::escape::is_deceptive;
use isotest_core::finding::{Code, Codes};
use toml::de::{DeTable, DeValue};

use super::contents::Contents;
use super::document::{Node, Reader};
use super::error::{ConfigError, LoadError, nearest};
use crate::config::machine::Machine;

/// Path of the file below the workspace root.
pub const PATH: &str = ".config/isotest-baseline.toml";

/// The version of the format.
const VERSION: &str = "1";

/// The first lines of the file.
const HEAD: &str = "\
# Known findings of tests. With `--deny` or `deny`, other findings fail a test, these do not.
# `cargo isotest baseline` writes this file. Lines may be removed by hand; comments are not kept.
# An entry without `test` is of a whole binary, which ran with `--unit binary`.
";

/// Findings that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    binaries: BTreeMap<String, OfBinary>,
}

/// Those of one binary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfBinary {
    /// Of the binary, whose tests shared a sandbox.
    whole: Codes,
    tests: BTreeMap<String, Codes>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The id of the binary.
    pub binary: String,
    /// The test; none where the finding is one of the binary.
    pub test: Option<String>,
    /// The code.
    pub code: Code,
}

impl Baseline {
    /// The codes that are known of a test, or of a binary whose tests share a sandbox.
    pub fn codes(&self, binary: &str, test: Option<&str>) -> Codes {
        let binary = self.binaries.get(binary);
        let codes = binary.and_then(|binary| match test {
            Some(test) => binary.tests.get(test).copied(),
            None => Some(binary.whole),
        });
        codes.unwrap_or_default()
    }

    /// Knows these codes, and no others, of a test or a binary.
    pub fn set(&mut self, binary: &str, test: Option<&str>, codes: Codes) {
        let of_binary = self.binaries.entry(binary.to_owned()).or_default();
        match test {
            None => of_binary.whole = codes,
            Some(test) if codes.is_empty() => {
                of_binary.tests.remove(test);
            }
            Some(test) => {
                of_binary.tests.insert(test.to_owned(), codes);
            }
        }
    }

    /// Forgets the tests of a binary that are not among these.
    pub fn retain(&mut self, binary: &str, is_there: impl Fn(&str) -> bool) {
        if let Some(of_binary) = self.binaries.get_mut(binary) {
            of_binary.tests.retain(|test, _| is_there(test));
        }
    }

    /// All entries, sorted.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.binaries.iter().flat_map(|(binary, of_binary)| {
            let tests = of_binary.tests.iter().map(|(test, codes)| (Some(test), *codes));
            let all = [(None, of_binary.whole)].into_iter().chain(tests);
            all.flat_map(move |(test, codes)| {
                codes.iter().map(move |code| Entry {
                    binary: binary.clone(),
                    test: test.cloned(),
                    code,
                })
            })
        })
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}version = {VERSION}\nfindings = [\n");
        for Entry { binary, test, code } in self.entries() {
            let test = test.map_or(String::new(), |test| format!("test = {}, ", quoted(&test)));
            let binary = quoted(&binary);
            writeln!(text, "    {{ binary = {binary}, {test}code = \"{code}\" }},")
                .expect("a String takes all");
        }
        text + "]\n"
    }

    /// Reads the text of a file that goes by `name`.
    pub fn read(name: &str, text: &str) -> Result<Baseline, ConfigError> {
        Reader { name, text }.baseline()
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Entry { binary, test, code } = self;
        match test {
            Some(test) => write!(f, "{binary}::{test}: {code}"),
            None => write!(f, "a test of {binary}: {code}"),
        }
    }
}

/// A basic string of TOML in which nothing is invisible.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if is_deceptive(character) => {
                write!(quoted, "\\U{:08X}", u32::from(character)).expect("a String takes all");
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// The baseline of a workspace; an empty one where it has none.
pub fn read_baseline(root: &Path, machine: &Machine) -> Result<Baseline, LoadError> {
    let path = root.join(PATH);
    if !path.is_file() {
        return Ok(Baseline::default());
    }
    let name = machine.shown(&path).to_string_lossy().into_owned();
    let contents = Contents::read(&path, &name, root)?;
    Baseline::read(&name, &contents.text).map_err(|error| contents.fault(error.into()))
}

impl<'t> Reader<'t> {
    fn baseline(&self) -> Result<Baseline, ConfigError> {
        let hint = "remove it, and `cargo isotest baseline` writes another";
        let table = DeTable::parse(self.text).map_err(|error| {
            let end = self.text.len();
            self.error(error.message(), error.span().unwrap_or(end..end)).hint(Some(hint))
        })?;
        // First of all: a newer file may have other keys.
        match table.get_ref().iter().find(|(key, _)| key.get_ref() == "version") {
            None => {
                let what = "it is no baseline of findings: `version` is missing";
                return Err(self.error(what, 0..0).hint(Some(hint)));
            }
            Some((_, value)) if self.scalar(value).as_deref() != Some(VERSION) => {
                let what = format!("it is not of version {VERSION}");
                let hint = "use the isotest that has written it, or remove it and write another";
                return Err(self.error(what, value.span()).hint(Some(hint)));
            }
            Some(_) => {}
        }
        let mut baseline = Baseline::default();
        for (key, value) in table.get_ref() {
            match key.get_ref().as_ref() {
                "version" => {}
                "findings" => {
                    let DeValue::Array(entries) = value.get_ref() else {
                        return Err(self.wrong_type("findings", "a list of tables", value));
                    };
                    for entry in entries.iter() {
                        let Entry { binary, test, code } = self.known(entry)?;
                        let codes = baseline.codes(&binary, test.as_deref());
                        let codes = codes.iter().chain([code]).collect();
                        baseline.set(&binary, test.as_deref(), codes);
                    }
                }
                _ => {
                    let known = ["version", "findings"].into_iter();
                    return Err(self.unknown(key, "a baseline", known));
                }
            }
        }
        Ok(baseline)
    }

    fn known(&self, value: &Node<'t>) -> Result<Entry, ConfigError> {
        let table = self.table(value, "an entry must be a table: `{ binary = …, code = … }`")?;
        let (mut binary, mut test, mut code) = (None, None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "binary" => binary = Some(self.string(value)?.text),
                "test" => test = Some(self.string(value)?.text),
                "code" => {
                    let name = self.string(value)?.text;
                    let known = || Code::ALL.into_iter().map(Code::name);
                    code = Some(Code::of_name(&name).ok_or_else(|| {
                        let hint = match nearest(&name, known()) {
                            Some(meant) => format!("did you mean `{meant}`?"),
                            None => format!("codes: {}", known().collect::<Vec<_>>().join(", ")),
                        };
                        let what = format!("unknown code `{name}`");
                        self.error(what, value.span()).hint(Some(hint))
                    })?);
                }
                _ => {
                    let known = ["binary", "test", "code"].into_iter();
                    return Err(self.unknown(key, "an entry", known));
                }
            }
        }
        let missing = |key| self.error(format!("missing `{key}` in an entry"), value.span());
        Ok(Entry {
            binary: binary.ok_or_else(|| missing("binary"))?,
            test,
            code: code.ok_or_else(|| missing("code"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_sorted() {
        let codes: Codes = [Code::Memory, Code::NetAttempt].into_iter().collect();
        let mut baseline = Baseline::default();
        baseline.set("b::it", Some("z \"\\\u{202e}\n"), codes);
        baseline.set("a", Some("t"), codes);
        baseline.set("a", None, [Code::LeavesIpc].into_iter().collect());
        let text = baseline.text();
        let entries: Vec<&str> = text.lines().filter(|line| line.starts_with("    ")).collect();
        let expected = [
            r#"    { binary = "a", code = "leaves-ipc" },"#,
            r#"    { binary = "a", test = "t", code = "net-attempt" },"#,
            r#"    { binary = "a", test = "t", code = "memory" },"#,
            r#"    { binary = "b::it", test = "z \"\\\U0000202E\U0000000A", code = "net-attempt" },"#,
            r#"    { binary = "b::it", test = "z \"\\\U0000202E\U0000000A", code = "memory" },"#,
        ];
        assert_eq!(entries, expected);
        let read = Baseline::read("b.toml", &text).expect("it is right");
        assert_eq!((&read, read.text()), (&baseline, text));
        baseline.set("a", Some("t"), Codes::default());
        baseline.retain("b::it", |_| false);
        assert_eq!(baseline.entries().count(), 1);
    }

    #[test]
    fn what_is_no_baseline_is_said() {
        for (text, wanted) in [
            ("[profile.default]\n", "it is no baseline of findings: `version` is missing"),
            ("version = 2\nnew = 1\n", "it is not of version 1\n --> b.toml:1:11"),
            ("version = 1\nfindings = [", "hint: remove it, and `cargo isotest baseline` writes"),
            ("version = 1\nfinding = []\n", "did you mean `findings`?"),
            ("version = 1\nfindings = [{ binary = \"b\" }]\n", "missing `code` in an entry"),
            (
                "version = 1\nfindings = [{ binary = \"b\", code = \"leaves-proces\" }]\n",
                "did you mean `leaves-process`?",
            ),
            ("version = 1\nfindings = [{ cod = \"b\" }]\n", "did you mean `code`?"),
        ] {
            let error = Baseline::read("b.toml", text).expect_err(text).to_string();
            assert!(error.starts_with("cannot read `b.toml`: "), "{error}");
            assert!(error.contains(wanted), "{error}");
        }
    }
}
