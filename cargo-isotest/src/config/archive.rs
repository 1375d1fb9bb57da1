//! `archive.include` of a profile: what archives have beside the tests, in nextest's words.

use camino::{Utf8Component, Utf8PathBuf};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::document::{Node, Reader, SpannedText};
use super::error::ConfigError;

/// nextest's.
const DEPTH: u32 = 16;

/// Files that archives of the tests include
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, default, rename = "Archive")]
pub struct ArchiveTable {
    /// Files and directories
    pub include: Vec<Include>,
}

/// A file or a directory that archives have
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Include {
    /// Its path
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// The directory that the path is relative to
    pub relative_to: RelativeTo,
    /// Maximum depth of its files if it is a directory: 1 is the directory itself; `16`, the
    /// default, or `infinite`
    #[schemars(schema_with = "depth_schema", default)]
    pub depth: Depth,
    /// What to do if it does not exist: `warn` by default
    #[schemars(default)]
    pub on_missing: OnMissing,
}

/// Base of a path of [`Include`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum RelativeTo {
    /// The target directory
    Target,
}

/// Maximum depth of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth(pub u32);

impl Default for Depth {
    fn default() -> Self {
        Depth(DEPTH)
    }
}

/// Effect of a path that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum OnMissing {
    /// There is no archive
    Error,
    /// Warn
    #[default]
    Warn,
    /// Nothing
    Ignore,
}

fn depth_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "enum": ["infinite"] }] })
}

impl<'t> Reader<'t> {
    /// The table `archive` of a profile.
    pub fn archive(&self, value: &Node<'t>) -> Result<ArchiveTable, ConfigError> {
        let table = self.table(value, "`archive` must be a table: `archive.include = […]`")?;
        let mut archive = ArchiveTable::default();
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("include", DeValue::Array(values)) => {
                    let values = values.iter().map(|value| self.include(value));
                    archive.include = values.collect::<Result<_, _>>()?;
                }
                ("include", _) => {
                    let wanted = self.error("`include` must be a list of tables", value.span());
                    return Err(wanted.hint(Some(INCLUDE)));
                }
                _ => return Err(self.unknown(key, "`archive`", ["include"].into_iter())),
            }
        }
        Ok(archive)
    }

    fn include(&self, value: &Node<'t>) -> Result<Include, ConfigError> {
        let table = self.table(value, "`include` must be a list of tables")?;
        let (mut path, mut relative_to) = (None, None);
        let (mut depth, mut on_missing) = (Depth::default(), OnMissing::default());
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "path" => path = Some(self.path_inside(value)?),
                "relative-to" => {
                    relative_to = Some(self.one_of(value, &[("target", RelativeTo::Target)])?);
                }
                "depth" => depth = self.depth(value)?,
                "on-missing" => {
                    let words = [
                        ("error", OnMissing::Error),
                        ("warn", OnMissing::Warn),
                        ("ignore", OnMissing::Ignore),
                    ];
                    on_missing = self.one_of(value, &words)?;
                }
                _ => {
                    let known = ["path", "relative-to", "depth", "on-missing"];
                    return Err(self.unknown(key, "`archive.include`", known.into_iter()));
                }
            }
        }
        let without = |key: &str| {
            let what = format!("missing `{key}` in a path of an archive");
            self.error(what, value.span()).hint(Some(INCLUDE))
        };
        Ok(Include {
            path: path.ok_or_else(|| without("path"))?,
            relative_to: relative_to.ok_or_else(|| without("relative-to"))?,
            depth,
            on_missing,
        })
    }

    /// A path that leads nowhere else than downwards.
    fn path_inside(&self, value: &Node<'t>) -> Result<Utf8PathBuf, ConfigError> {
        let SpannedText { text, span } = self.string(value)?;
        let path = Utf8PathBuf::from(text);
        let mut parts = path.components().peekable();
        let is_inside =
            parts.peek().is_some() && parts.all(|part| matches!(part, Utf8Component::Normal(_)));
        match is_inside {
            true => Ok(path),
            false => Err(self.error("expected a path below the target directory", span)),
        }
    }

    fn depth(&self, value: &Node<'t>) -> Result<Depth, ConfigError> {
        match self.scalar(value).as_deref() {
            Some("infinite") => Ok(Depth(u32::MAX)),
            text => text.and_then(|text| text.parse().ok()).map(Depth).ok_or_else(|| {
                self.error("`depth` takes a number or `\"infinite\"`", value.span())
            }),
        }
    }

    fn one_of<T: Copy>(&self, value: &Node<'t>, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let SpannedText { text, span } = self.string(value)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, meant)| *meant).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.error(
                format!("invalid value `{text}` (expected one of: {})", words.join(", ")),
                span,
            )
        })
    }
}

const INCLUDE: &str = "`include = [{ path = \"data\", relative-to = \"target\" }]`";

#[cfg(test)]
mod tests {
    use super::super::file::read;
    use super::*;

    fn included(text: &str) -> Result<Vec<Include>, String> {
        let file = read("c.toml", &format!("[profile.default]\narchive.include = {text}\n"));
        let mut file = file.map_err(|error| error.to_string())?;
        let profile = file.profile.remove("default").expect("it is there");
        Ok(profile.archive.expect("it is given").include)
    }

    #[test]
    fn nextests_words_are_read() {
        let target = |path: &str, depth, on_missing| Include {
            path: path.into(),
            relative_to: RelativeTo::Target,
            depth,
            on_missing,
        };
        let text = r#"[
            { path = "a/b", relative-to = "target" },
            { path = "c", relative-to = "target", depth = "infinite", on-missing = "error" },
            { path = "d", relative-to = "target", depth = 0, on-missing = "ignore" },
        ]"#;
        let expected = [
            target("a/b", Depth(16), OnMissing::Warn),
            target("c", Depth(u32::MAX), OnMissing::Error),
            target("d", Depth(0), OnMissing::Ignore),
        ];
        assert_eq!(included(text).expect("it is right"), expected);
        assert_eq!(included("[]").expect("it is right"), []);
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        let refused = |text: &str| included(text).expect_err("it is wrong");
        for path in ["/a", "../a", "a/../../b", ".", ""] {
            let error = refused(&format!("[{{ path = \"{path}\", relative-to = \"target\" }}]"));
            assert!(error.contains("expected a path below the target directory"), "{error}");
        }
        let error = refused("[{ path = \"a\" }]");
        assert!(error.contains("missing `relative-to` in a path of an archive"), "{error}");
        assert!(error.contains("hint: `include = [{ path = \"data\""), "{error}");
        let error = refused("[{ path = \"a\", relative-to = \"workspace\" }]");
        assert!(error.contains("invalid value `workspace` (expected one of: `target`)"), "{error}");
        let error = refused("[{ path = \"a\", relative-to = \"target\", depth = -1 }]");
        assert!(error.contains("`depth` takes a number or `\"infinite\"`"), "{error}");
        let error = refused("[{ path = \"a\", relative-to = \"target\", deep = 1 }]");
        assert!(error.contains("unknown key `deep` in `archive.include`"), "{error}");
        assert!(refused("\"a\"").contains("`include` must be a list of tables"));
    }
}
